"""The wire protocol between httpd and a daemon, version 2: the twin of apxs/common/wire.c
(docs/design.md).

Bytes in, tuples out and the other way round, one frame at a time: no socket, no thread, no clock,
no state in this file. Which frame may follow which is seen to where frames are read and sent;
tests/wire/conversation.py, the judge of both sides in the tests, has it as a table.

Rules. A frame is a plain tuple, no class. What the peer did wrong is a RemoteProtocolError: the
connection must be closed. What we were about to do wrong is a LocalProtocolError: nothing has been
sent, so something else may be. Lengths are checked before bytes are awaited. The order of the
checks (type, flags, reserved, length, payload) is that of wire.c, so that both name the same fault.
"""

from struct import Struct

VERSION = 2
HEADER_SIZE = 8

# Frame types. 0x40 to 0x7f are reserved for upgraded streams.
REQUEST = 0x01
BODY = 0x02
CREDIT = 0x10
RESPONSE = 0x11
DATA = 0x12
FILE = 0x13
INTERIM = 0x14
LOG = 0x15
RETRY = 0x16
ABORT = 0x17
STARTED = 0x18

# Flags.
END = 0x01
ON_DEMAND = 0x02

# Maxima, in bytes; wire.h has the reasons.
MAX_ENVIRON = 1024 * 1024
MAX_START = 64 * 1024
MAX_BODY = 256 * 1024
MAX_HEAD = 256 * 1024
MAX_DATA = 1024 * 1024
MAX_TEXT = 32 * 1024

REQUEST_PREFIX = 24
RESPONSE_PREFIX = 4
FILE_SIZE = 16
STARTED_SIZE = 8

MAX_CREDIT = 0xFFFFFFFF  # of one grant: it is a u32
MAX_WAITED = 0xFFFFFFFF  # microseconds, likewise
MAX_OFFSET = 0x7FFFFFFFFFFFFFFF  # an off_t: where a file may end
MAX_LEVEL = 15  # httpd's trace8
ABORT_STATUSES = frozenset((500, 502, 503, 504))

# Who speaks.
FROM_HTTPD = 0
FROM_DAEMON = 1

# What can be wrong: wsgid_wire_error_e, and what only a whole conversation can show.
OK = 0
BAD_TYPE = 1
BAD_FLAGS = 2
BAD_RESERVED = 3
TOO_LONG = 4
TOO_SHORT = 5
BAD_PAYLOAD = 6
OUT_OF_ORDER = 7
OVER_CREDIT = 8
CUT_OFF = 9

ERROR_TEXT = {
    OK: "no error",
    BAD_TYPE: "unexpected frame type",
    BAD_FLAGS: "unknown flags",
    BAD_RESERVED: "reserved field is not zero",
    TOO_LONG: "payload too long",
    TOO_SHORT: "payload too short",
    BAD_PAYLOAD: "malformed payload",
    OUT_OF_ORDER: "frame out of order",
    OVER_CREDIT: "more body than was granted",
    CUT_OFF: "connection closed inside a frame",
}

# Of each type: name, who sends it, the flags that it may have, shortest and longest payload.
FRAMES = {
    REQUEST: (
        "REQUEST",
        FROM_HTTPD,
        END | ON_DEMAND,
        REQUEST_PREFIX,
        REQUEST_PREFIX + MAX_ENVIRON + MAX_START,
    ),
    BODY: ("BODY", FROM_HTTPD, END, 0, MAX_BODY),
    CREDIT: ("CREDIT", FROM_DAEMON, 0, 4, 4),
    RESPONSE: (
        "RESPONSE",
        FROM_DAEMON,
        END,
        RESPONSE_PREFIX + 1,
        RESPONSE_PREFIX + MAX_HEAD + MAX_DATA,
    ),
    DATA: ("DATA", FROM_DAEMON, END, 0, MAX_DATA),
    FILE: ("FILE", FROM_DAEMON, END, FILE_SIZE, FILE_SIZE),
    INTERIM: ("INTERIM", FROM_DAEMON, 0, 1, MAX_HEAD),
    LOG: ("LOG", FROM_DAEMON, 0, 1, 1 + MAX_TEXT),
    RETRY: ("RETRY", FROM_DAEMON, 0, 0, 0),
    ABORT: ("ABORT", FROM_DAEMON, 0, 2, 2 + MAX_TEXT),
    STARTED: ("STARTED", FROM_DAEMON, 0, STARTED_SIZE, STARTED_SIZE),
}
EMPTY_ONLY_AT_END = frozenset((BODY, DATA))

_HEADER = Struct("<BBHI")
_REQUEST = Struct("<BBHIQQII")
_REQUEST_PREFIX = Struct("<QQII")
_RESPONSE = Struct("<BBHII")
_U16 = Struct("<H")
_U32 = Struct("<I")
_CREDIT = Struct("<BBHII")
_FILE = Struct("<BBHIQQ")
_FILE_PAYLOAD = Struct("<QQ")
_LOG = Struct("<BBHIB")
_ABORT = Struct("<BBHIH")
_STARTED = Struct("<BBHIII")
_STARTED_PAYLOAD = Struct("<II")

_unpack_header = _HEADER.unpack_from
_unpack_request_prefix = _REQUEST_PREFIX.unpack_from
_pack_header = _HEADER.pack
_pack_response = _RESPONSE.pack

RETRY_FRAME = _pack_header(RETRY, 0, 0, 0)


class ProtocolError(Exception):
    """A violation. 'error' is its code, 'status' the HTTP status for a client who has had no answer
    yet.
    """

    status = 500

    def __init__(self, error, detail=""):
        super().__init__(f"{ERROR_TEXT[error]}: {detail}" if detail else ERROR_TEXT[error])
        self.error = error


class LocalProtocolError(ProtocolError):
    """We were about to break the protocol: nothing has been sent."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol: believe nothing more of what it sends."""

    status = 502


def type_name(type_):
    frame = FRAMES.get(type_)
    return frame[0] if frame else "unknown"


# -------- headers

# For each side (type, flags) to (shortest, longest): all that a good header can begin with, checked
# by one look-up.
_BOUNDS = ({}, {})


def _fill_bounds():
    for type_, (_, side, allowed, shortest, longest) in FRAMES.items():
        for flags in range(allowed + 1):
            if not flags & ~allowed:
                least = 1 if type_ in EMPTY_ONLY_AT_END and not flags & END else shortest
                _BOUNDS[side][type_, flags] = (least, longest)


_fill_bounds()


def parse_header(data, offset=0, side=FROM_HTTPD):
    """(type, flags, payload length) of the frame whose 8 header bytes, sent by 'side', are at
    offset.
    """
    type_, flags, reserved, length = _unpack_header(data, offset)
    bounds = _BOUNDS[side].get((type_, flags))
    if bounds is None or reserved or not bounds[0] <= length <= bounds[1]:
        raise _header_error(side, type_, flags, reserved, length, bounds)
    return type_, flags, length


def _header_error(side, type_, flags, reserved, length, bounds):
    frame = FRAMES.get(type_)
    if frame is None or frame[1] != side:
        return RemoteProtocolError(BAD_TYPE, f"0x{type_:02x} {type_name(type_)}")
    if bounds is None:
        return RemoteProtocolError(BAD_FLAGS, f"{frame[0]} with 0x{flags:02x}")
    if reserved:
        return RemoteProtocolError(BAD_RESERVED, f"{frame[0]} with 0x{reserved:04x}")
    fault = TOO_LONG if length > bounds[1] else TOO_SHORT
    return RemoteProtocolError(
        fault, f"{frame[0]} of {length} bytes, {bounds[0]} to {bounds[1]} are allowed"
    )


# -------- payloads
# Each takes the whole payload of a frame whose header was good, as bytes or memoryview; slices keep that type.


def parse_request(payload):
    """(request id, sent, line, environ block, start of the body).

    The block is as it came: parse_environ checks and reads it. sent: when its dispatch began, in
    microseconds since the epoch; line: where in the block REQUEST_METHOD stands, and REQUEST_URI
    behind it, for parse_line(), which checks it.
    """
    total = len(payload)
    if total < REQUEST_PREFIX:
        raise RemoteProtocolError(TOO_SHORT, f"REQUEST of {total} bytes")
    request_id, sent, line, size = _unpack_request_prefix(payload)
    end = REQUEST_PREFIX + size
    if end > total:
        raise RemoteProtocolError(BAD_PAYLOAD, f"environ of {size} bytes in a REQUEST of {total}")
    if size > MAX_ENVIRON or total - end > MAX_START:
        raise RemoteProtocolError(
            TOO_LONG, f"REQUEST with an environ of {size} and a body of {total - end} bytes"
        )
    return request_id, sent, line, payload[REQUEST_PREFIX:end], payload[end:]


def parse_line(block, line, longest):
    """b"GET /path?query", cut to `longest` bytes; b"" if REQUEST_METHOD and REQUEST_URI do not
    stand at `line`.
    """
    strings = bytes(block[line:]).split(b"\0", 3)
    if len(strings) < 4 or strings[0] != b"REQUEST_METHOD" or strings[2] != b"REQUEST_URI":
        return b""
    return (strings[1] + b" " + strings[3].partition(b"\0")[0])[:longest]


def parse_environ(block):
    """The dict of an environ block, decoded as latin-1, as PEP 3333 wants it. Of a key given twice
    the last counts.
    """
    strings = str(block, "latin-1").split("\0")
    if strings.pop() or len(strings) & 1:
        raise RemoteProtocolError(
            BAD_PAYLOAD, "environ block without its last NUL, or with a key and no value"
        )
    each = iter(strings)
    environ = dict(zip(each, each, strict=True))
    if "" in environ:
        raise RemoteProtocolError(BAD_PAYLOAD, "environ block with an empty name")
    return environ


def parse_credit(payload):
    (amount,) = _U32.unpack(payload)
    if not amount:
        raise RemoteProtocolError(BAD_PAYLOAD, "CREDIT of nothing")
    return amount


def parse_response(payload):
    """(head, first bytes of the body). parse_head checks and reads the head."""
    total = len(payload)
    if total < RESPONSE_PREFIX:
        raise RemoteProtocolError(TOO_SHORT, f"RESPONSE of {total} bytes")
    (size,) = _U32.unpack_from(payload)
    end = RESPONSE_PREFIX + size
    if not size or end > total:
        raise RemoteProtocolError(BAD_PAYLOAD, f"head of {size} bytes in a RESPONSE of {total}")
    if size > MAX_HEAD or total - end > MAX_DATA:
        raise RemoteProtocolError(
            TOO_LONG, f"RESPONSE with a head of {size} and a body of {total - end} bytes"
        )
    return payload[RESPONSE_PREFIX:end], payload[end:]


def parse_head(head):
    """(status line, [(name, value), ...]) of the head of a RESPONSE or INTERIM, decoded as
    latin-1."""
    strings = str(head, "latin-1").split("\0")
    if strings.pop() or not len(strings) & 1:
        raise RemoteProtocolError(
            BAD_PAYLOAD, "head without its last NUL, or with a name and no value"
        )
    names = strings[1::2]
    if "" in names:
        raise RemoteProtocolError(BAD_PAYLOAD, "head with an empty name")
    return strings[0], list(zip(names, strings[2::2], strict=True))


def parse_file(payload):
    """(offset, length)."""
    offset, length = _FILE_PAYLOAD.unpack(payload)
    if offset + length > MAX_OFFSET:
        raise RemoteProtocolError(
            BAD_PAYLOAD, f"FILE from {offset} for {length} bytes: beyond the end of any file"
        )
    return offset, length


def parse_log(payload):
    """(level, text)."""
    if payload[0] > MAX_LEVEL:
        raise RemoteProtocolError(BAD_PAYLOAD, f"LOG of level {payload[0]}")
    return payload[0], str(payload[1:], "utf-8", "replace")


def parse_abort(payload):
    """(HTTP status, reason)."""
    (status,) = _U16.unpack_from(payload)
    if status not in ABORT_STATUSES:
        raise RemoteProtocolError(BAD_PAYLOAD, f"ABORT with status {status}")
    return status, str(payload[2:], "utf-8", "replace")


def parse_started(payload):
    """(pid, microseconds that the request has waited)."""
    return _STARTED_PAYLOAD.unpack(payload)


# -------- encoding
# What may hold a body gives a list of buffers, ready for sendmsg; all others give bytes. Bodies are bytes or
# memoryviews of bytes, and are not copied. Those of BODY, RESPONSE and DATA may be of any size: more frames follow.


def encode_strings(strings):
    """The block 'a NUL b NUL ...' of an environ or a head."""
    block = "\0".join(strings) + "\0" if strings else ""
    if block.count("\0") != len(strings):
        raise LocalProtocolError(BAD_PAYLOAD, "a NUL inside a string")
    try:
        return block.encode("latin-1")
    except UnicodeEncodeError as error:
        raise LocalProtocolError(BAD_PAYLOAD, f"not latin-1: {block[error.start]!a}") from None


def _encode_pairs(strings, pairs):
    for pair in pairs:
        if not pair[0]:
            raise LocalProtocolError(BAD_PAYLOAD, "an empty name")
        strings += pair
    return encode_strings(strings)


def encode_environ(environ):
    """The environ block of a dict of native strings."""
    return _encode_pairs([], environ.items())


def encode_head(status, headers):
    """The head of a RESPONSE or INTERIM. That status and headers are good HTTP has been seen to by
    the caller.
    """
    head = _encode_pairs([status], headers)
    if len(head) > MAX_HEAD:
        raise LocalProtocolError(
            TOO_LONG, f"status line and headers of {len(head)} bytes, {MAX_HEAD} are allowed"
        )
    return head


def _buffers(prefix, body):
    return (
        [prefix, body] if body else [prefix]
    )  # measured: joining them gains nothing, not even for small bodies


def _pieces(type_, body, end, longest):
    """Frames of one type that hold the whole body; END, if any, is on the last one."""
    if len(body) <= longest:
        if not body and not end:
            return []
        return _buffers(_pack_header(type_, END if end else 0, 0, len(body)), body)
    buffers = []
    view = memoryview(body)
    for start in range(0, len(view), longest):
        piece = view[start : start + longest]
        last = end and start + longest >= len(view)
        buffers += _buffers(_pack_header(type_, END if last else 0, 0, len(piece)), piece)
    return buffers


def encode_request(request_id, block, body=b"", flags=0, sent=0, line=0):
    """One REQUEST frame; body is at most MAX_START bytes."""
    if len(block) > MAX_ENVIRON or len(body) > MAX_START:
        raise LocalProtocolError(
            TOO_LONG, f"REQUEST with an environ of {len(block)} and a body of {len(body)} bytes"
        )
    if flags & ~(END | ON_DEMAND):
        raise LocalProtocolError(BAD_FLAGS, f"REQUEST with 0x{flags:02x}")
    length = REQUEST_PREFIX + len(block) + len(body)
    return _buffers(
        _REQUEST.pack(REQUEST, flags, 0, length, request_id, sent, line, len(block)) + block, body
    )


def encode_body(body, end=False):
    """BODY frames. Nothing at all for no bytes without END."""
    return _pieces(BODY, body, end, MAX_BODY)


def encode_credit(amount):
    if not 0 < amount <= MAX_CREDIT:
        raise LocalProtocolError(BAD_PAYLOAD, f"CREDIT of {amount}")
    return _CREDIT.pack(CREDIT, 0, 0, 4, amount)


def encode_response(head, body=b"", end=False):
    """RESPONSE, followed by DATA frames if the body is too long for one. head comes from
    encode_head.
    """
    size = len(head)
    if not 0 < size <= MAX_HEAD:
        raise LocalProtocolError(
            TOO_LONG if size else TOO_SHORT, f"RESPONSE with a head of {size} bytes"
        )
    if len(body) > MAX_DATA:
        view = memoryview(body)
        return encode_response(head, view[:MAX_DATA]) + encode_data(view[MAX_DATA:], end)
    length = RESPONSE_PREFIX + size + len(body)
    return _buffers(_pack_response(RESPONSE, END if end else 0, 0, length, size) + head, body)


def encode_data(body, end=False):
    """DATA frames. Nothing at all for no bytes without END."""
    return _pieces(DATA, body, end, MAX_DATA)


def encode_file(offset, length, end=False):
    """FILE; the descriptor goes out with this frame's first byte."""
    if offset < 0 or length < 0 or offset + length > MAX_OFFSET:
        raise LocalProtocolError(BAD_PAYLOAD, f"FILE from {offset} for {length} bytes")
    return _FILE.pack(FILE, END if end else 0, 0, FILE_SIZE, offset, length)


def encode_interim(head):
    """A 1xx answer; head comes from encode_head."""
    size = len(head)
    if not 0 < size <= MAX_HEAD:
        raise LocalProtocolError(
            TOO_LONG if size else TOO_SHORT, f"INTERIM with a head of {size} bytes"
        )
    return _pack_header(INTERIM, 0, 0, size) + head


def encode_log(level, text):
    """LOG. The text is made to fit: one line, cut at MAX_TEXT; splitting it nicely is the caller's
    business.
    """
    if not 0 <= level <= MAX_LEVEL:
        raise LocalProtocolError(BAD_PAYLOAD, f"LOG of level {level}")
    line = _one_line(text)
    return _LOG.pack(LOG, 0, 0, 1 + len(line), level) + line


def encode_retry():
    return RETRY_FRAME


def encode_abort(status, reason):
    """ABORT. The reason begins with its WSGIDnnnn code, and is made to fit as for LOG."""
    if status not in ABORT_STATUSES:
        raise LocalProtocolError(BAD_PAYLOAD, f"ABORT with status {status}")
    line = _one_line(reason)
    return _ABORT.pack(ABORT, 0, 0, 2 + len(line), status) + line


def encode_started(pid, waited):
    """STARTED. waited, in microseconds, is made to fit."""
    return _STARTED.pack(STARTED, 0, 0, STARTED_SIZE, pid, min(max(waited, 0), MAX_WAITED))


_BREAKS = str.maketrans("\r\n\0", "   ")


def _one_line(text):
    line = text.translate(_BREAKS).encode("utf-8", "backslashreplace")
    if len(line) <= MAX_TEXT:
        return line
    return (
        line[:MAX_TEXT].decode("utf-8", "ignore").encode("utf-8")
    )  # without half a character at the end
