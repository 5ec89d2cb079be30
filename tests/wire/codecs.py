"""Reads frames into plain values with either codec, so that a test can compare the codecs with each
other and with the vectors.

A reader takes (side, data) and returns (type, flags, value, bytes used), or None if data is too
short; it may raise RemoteProtocolError. The pairs of an environ are a list in C and a dict in
Python: as_dict() removes that difference.
"""

from wire import extension as native

from pywsgid.wire import protocol

# How to read the payloads that wire.c leaves to its callers.
PLAIN = {
    protocol.BODY: bytes,
    protocol.CREDIT: protocol.parse_credit,
    protocol.DATA: bytes,
    protocol.FILE: protocol.parse_file,
    protocol.LOG: protocol.parse_log,
    protocol.RETRY: lambda payload: None,
    protocol.OVERLOADED: lambda payload: None,
    protocol.ABORT: protocol.parse_abort,
    protocol.STARTED: protocol.parse_started,
}


def _python_request(payload):
    *numbers, block, body = protocol.parse_request(payload)
    return *numbers, protocol.parse_environ(block), bytes(body)


def _python_response(payload):
    head, body = protocol.parse_response(payload)
    return (*protocol.parse_head(head), bytes(body))


PYTHON = PLAIN | {
    protocol.REQUEST: _python_request,
    protocol.RESPONSE: _python_response,
    protocol.INTERIM: protocol.parse_head,
}


def _pairs(strings):
    texts = [string.decode("latin-1") for string in strings]
    return list(zip(texts[::2], texts[1::2], strict=True))


def _c_request(payload):
    *numbers, block, body = native.parse_request(payload)
    return *numbers, _pairs(native.strings(block)), body


def _c_head(head):
    native.check_head(head)
    first, *others = native.strings(head)
    return first.decode("latin-1"), _pairs(others)


def _c_response(payload):
    head, body = native.parse_response(payload)
    return (*_c_head(head), body)


C = PLAIN | {
    protocol.REQUEST: _c_request,
    protocol.RESPONSE: _c_response,
    protocol.INTERIM: _c_head,
}


def _read(parse_header, payloads, side, data):
    if len(data) < protocol.HEADER_SIZE:
        return None
    type_, flags, length = parse_header(data, 0, side)
    used = protocol.HEADER_SIZE + length
    if len(data) < used:
        return None
    return type_, flags, payloads[type_](data[protocol.HEADER_SIZE : used]), used


def python_reads(side, data):
    return _read(protocol.parse_header, PYTHON, side, data)


def c_reads(side, data):
    return _read(native.parse_header, C, side, data)


def as_dict(frame):
    """The same frame with the pairs of an environ as a dict."""
    if frame is None or frame[0] != protocol.REQUEST:
        return frame
    type_, flags, (*numbers, environ, body), used = frame
    return type_, flags, (*numbers, dict(environ), body), used


def verdict(reader, side, data):
    """The frame that a reader finds, or its fault, in a form that can be compared."""
    try:
        return as_dict(reader(side, data))
    except protocol.RemoteProtocolError as error:
        return "fault", error.error
