"""The codec in C, called through cffi. The functions return the same as those of the same name in
pywsgid.wire.protocol and raise the same errors. `lib` is None where the extension cannot be
imported; `why_not` then holds the reason.
"""

from pywsgid.wire import protocol

try:
    from pywsgid._native import ffi, lib

    why_not = None
except ImportError as error:
    ffi = lib = None
    why_not = str(error)


def _bytes(data):
    return ffi.from_buffer("unsigned char[]", data)


def _check(error):
    if error:
        raise protocol.RemoteProtocolError(error)


def parse_header(data, offset=0, side=protocol.FROM_HTTPD):
    frame = ffi.new("wsgid_wire_frame_t *")
    header = _bytes(memoryview(data)[offset : offset + protocol.HEADER_SIZE])
    _check(lib.wsgid_wire_get_header(frame, header, side))
    return frame.type, frame.flags, frame.length


def parse_request(payload):
    """As in pywsgid.wire.protocol, with the environ block checked."""
    source = _bytes(payload)
    found = ffi.new("wsgid_wire_request_t *")
    _check(lib.wsgid_wire_get_request(source, len(source), found))
    block, body = (
        ffi.buffer(found.environ, found.environ_length)[:],
        ffi.buffer(found.body, found.body_length)[:],
    )
    return found.id, found.sent, found.line, block, body


def parse_line(block, line, longest):
    source = _bytes(block)
    request = ffi.new(
        "wsgid_wire_request_t *", {"environ": source, "environ_length": len(block), "line": line}
    )
    out = ffi.new("char[]", longest + 1)
    return ffi.buffer(out, lib.wsgid_wire_copy_line(request, out, longest + 1))[:]


def encode_started(pid, waited):
    frame = ffi.new("unsigned char[16]")
    lib.wsgid_wire_put_started(frame, pid, waited)
    return bytes(frame)


def parse_response(payload):
    """As in pywsgid.wire.protocol, with the head checked."""
    source = _bytes(payload)
    size = ffi.new("uint32_t *")
    _check(lib.wsgid_wire_get_response(source, len(source), len(source), size))
    end = protocol.RESPONSE_PREFIX + size[0]
    check_head(payload[protocol.RESPONSE_PREFIX : end])
    return payload[protocol.RESPONSE_PREFIX : end], payload[end:]


def check_head(head):
    _check(lib.wsgid_wire_check_head(_bytes(head), len(head)))


def strings(block):
    """The strings of a checked environ block or head, as bytes."""
    source = _bytes(block)
    cursor = ffi.new("const unsigned char **", source)
    size = ffi.new("size_t *")
    found = []
    string = lib.wsgid_wire_next_string(cursor, source + len(block), size)
    while string:
        found.append(ffi.buffer(string, size[0])[:])
        string = lib.wsgid_wire_next_string(cursor, source + len(block), size)
    return found
