"""Frames, valid and invalid, with the expected result of each: shared by the tests of both codecs.

They are written down byte by byte, without either codec, so that an error in both codecs cannot
hide. A value is the content of the frame as codecs.py reads it: (id, sent, line, pairs, body) for
REQUEST, (status line, pairs, body) for RESPONSE, and so on.
"""

from struct import pack
from typing import NamedTuple

from pywsgid.wire import table

HTTPD, DAEMON = 0, 1
REQUEST, BODY, CREDIT, RESPONSE, DATA = 0x01, 0x02, 0x10, 0x11, 0x12
FILE, INTERIM, LOG, RETRY, ABORT, STARTED = 0x13, 0x14, 0x15, 0x16, 0x17, 0x18
OVERLOADED = 0x19
END, ON_DEMAND = 1, 2
BAD_TYPE, BAD_FLAGS, BAD_RESERVED, TOO_LONG, TOO_SHORT, BAD_PAYLOAD = 1, 2, 3, 4, 5, 6

KIB = 1024
MIB = 1024 * 1024


class Good(NamedTuple):
    name: str
    side: int
    data: bytes
    type: int
    flags: int
    value: object


class Bad(NamedTuple):
    name: str
    side: int
    data: bytes  # as much of the frame as is needed to detect the error
    error: int
    by_header: bool  # 8 bytes are enough to detect it


def frame(type_, flags, payload, reserved=0, length=None):
    return (
        pack("<BBHI", type_, flags, reserved, len(payload) if length is None else length) + payload
    )


def request(block, body=b"", flags=0, size=None, request_id=1, sent=2, line=3):
    prefix = pack("<QQII", request_id, sent, line, len(block) if size is None else size)
    return frame(REQUEST, flags, prefix + block + body)


def request_value(pairs, body=b""):
    """The value of request(), with its default numbers."""
    return 1, 2, 3, pairs, body


def response(head, body=b"", flags=0, size=None):
    return frame(RESPONSE, flags, pack("<I", len(head) if size is None else size) + head + body)


LARGE_ENVIRON = b"K\0" + b"v" * (MIB - 3) + b"\0"
LARGE_HEAD = b"200 OK\0X\0" + b"v" * (256 * KIB - 10) + b"\0"

GOOD = [
    # --- from httpd
    Good(
        "request, each byte written out",
        HTTPD,
        b"\x01\x01\x00\x00\x22\x00\x00\x00\x08\x07\x06\x05\x04\x03\x02\x01\x18\x17\x16\x15\x14\x13\x12\x11"
        b"\x24\x23\x22\x21\x08\x00\x00\x00A\x00bc\x00D\x00\x00hi",
        REQUEST,
        END,
        (0x0102030405060708, 0x1112131415161718, 0x21222324, [("A", "bc"), ("D", "")], b"hi"),
    ),
    Good("request with nothing in it", HTTPD, request(b""), REQUEST, 0, request_value([])),
    Good(
        "request with a body alone",
        HTTPD,
        request(b"", b"\0\0body"),
        REQUEST,
        0,
        request_value([], b"\0\0body"),
    ),
    Good(
        "request with a highest id",
        HTTPD,
        request(b"", request_id=2**64 - 1),
        REQUEST,
        0,
        (2**64 - 1, 2, 3, [], b""),
    ),
    Good(
        "request with highest numbers",
        HTTPD,
        request(b"", sent=2**64 - 1, line=2**32 - 1),
        REQUEST,
        0,
        (1, 2**64 - 1, 2**32 - 1, [], b""),
    ),
    Good(
        "request on demand",
        HTTPD,
        request(b"A\0b\0", flags=ON_DEMAND),
        REQUEST,
        ON_DEMAND,
        request_value([("A", "b")]),
    ),
    Good(
        "request with both flags",
        HTTPD,
        request(b"A\0b\0", flags=3),
        REQUEST,
        3,
        request_value([("A", "b")]),
    ),
    Good(
        "request with values empty",
        HTTPD,
        request(b"A\0\0B\0\0"),
        REQUEST,
        0,
        request_value([("A", ""), ("B", "")]),
    ),
    Good(
        "request in latin-1",
        HTTPD,
        request(b"A\0\xff\xe9\0"),
        REQUEST,
        0,
        request_value([("A", "\xff\xe9")]),
    ),
    Good(
        "request with its line",
        HTTPD,
        request(b"A\0\0REQUEST_METHOD\0GET\0REQUEST_URI\0/a?b\0"),
        REQUEST,
        0,
        request_value([("A", ""), ("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/a?b")]),
    ),
    Good(
        "request with a key twice",
        HTTPD,
        request(b"A\0b\0A\0c\0"),
        REQUEST,
        0,
        request_value([("A", "b"), ("A", "c")]),
    ),
    Good(
        "request of the largest size",
        HTTPD,
        request(LARGE_ENVIRON, b"s" * 64 * KIB, END),
        REQUEST,
        END,
        request_value([("K", "v" * (MIB - 3))], b"s" * 64 * KIB),
    ),
    Good("body", HTTPD, b"\x02\x00\x00\x00\x03\x00\x00\x00abc", BODY, 0, b"abc"),
    Good("body at its end", HTTPD, frame(BODY, END, b"x"), BODY, END, b"x"),
    Good("body that ends with nothing", HTTPD, frame(BODY, END, b""), BODY, END, b""),
    Good(
        "body of the largest size",
        HTTPD,
        frame(BODY, 0, b"b" * 256 * KIB),
        BODY,
        0,
        b"b" * 256 * KIB,
    ),
    # --- from the daemon
    Good("credit", DAEMON, b"\x10\x00\x00\x00\x04\x00\x00\x00\x00\x00\x01\x00", CREDIT, 0, 65536),
    Good("credit of the most", DAEMON, frame(CREDIT, 0, b"\xff\xff\xff\xff"), CREDIT, 0, 2**32 - 1),
    Good(
        "response, each byte written out",
        DAEMON,
        b"\x11\x01\x00\x00\x12\x00\x00\x00\x0c\x00\x00\x00200 OK\x00A\x00bc\x00hi",
        RESPONSE,
        END,
        ("200 OK", [("A", "bc")], b"hi"),
    ),
    Good(
        "response without a body",
        DAEMON,
        response(b"204 None\0"),
        RESPONSE,
        0,
        ("204 None", [], b""),
    ),
    Good(
        "response with a NUL in its body",
        DAEMON,
        response(b"200\0", b"\0"),
        RESPONSE,
        0,
        ("200", [], b"\0"),
    ),
    # An empty status line is well formed. response.c must reject it as an invalid status line, like
    # any other.
    Good("response with an empty status line", DAEMON, response(b"\0"), RESPONSE, 0, ("", [], b"")),
    Good(
        "response with an empty value",
        DAEMON,
        response(b"200\0A\0\0"),
        RESPONSE,
        0,
        ("200", [("A", "")], b""),
    ),
    Good(
        "response with a header twice",
        DAEMON,
        response(b"200\0A\x001\0A\x002\0"),
        RESPONSE,
        0,
        ("200", [("A", "1"), ("A", "2")], b""),
    ),
    Good(
        "response of the largest size",
        DAEMON,
        response(LARGE_HEAD, b"d" * MIB, END),
        RESPONSE,
        END,
        ("200 OK", [("X", "v" * (256 * KIB - 10))], b"d" * MIB),
    ),
    Good("data", DAEMON, frame(DATA, 0, b"\0\1\2"), DATA, 0, b"\0\1\2"),
    Good("data at its end", DAEMON, frame(DATA, END, b"x"), DATA, END, b"x"),
    Good("data that ends with nothing", DAEMON, frame(DATA, END, b""), DATA, END, b""),
    Good("data of the largest size", DAEMON, frame(DATA, 0, b"d" * MIB), DATA, 0, b"d" * MIB),
    Good("file", DAEMON, frame(FILE, END, pack("<QQ", 5, 7)), FILE, END, (5, 7)),
    Good("file of nothing", DAEMON, frame(FILE, 0, pack("<QQ", 0, 0)), FILE, 0, (0, 0)),
    Good(
        "file at the end of the world",
        DAEMON,
        frame(FILE, 0, pack("<QQ", 2**63 - 2, 1)),
        FILE,
        0,
        (2**63 - 2, 1),
    ),
    Good(
        "interim",
        DAEMON,
        frame(INTERIM, 0, b"103 Early Hints\0Link\0<a>\0"),
        INTERIM,
        0,
        ("103 Early Hints", [("Link", "<a>")]),
    ),
    Good(
        "interim of the largest size",
        DAEMON,
        frame(INTERIM, 0, LARGE_HEAD),
        INTERIM,
        0,
        ("200 OK", [("X", "v" * (256 * KIB - 10))]),
    ),
    Good("log", DAEMON, frame(LOG, 0, b"\x03caf\xc3\xa9"), LOG, 0, (3, "caf\xe9")),
    Good("log of nothing", DAEMON, frame(LOG, 0, b"\x00"), LOG, 0, (0, "")),
    Good("log that is not UTF-8", DAEMON, frame(LOG, 0, b"\x0f\xff"), LOG, 0, (15, "\ufffd")),
    Good(
        "log of the largest size",
        DAEMON,
        frame(LOG, 0, b"\x07" + b"t" * 32 * KIB),
        LOG,
        0,
        (7, "t" * 32 * KIB),
    ),
    Good(
        "started",
        DAEMON,
        b"\x18\x00\x00\x00\x08\x00\x00\x00\x04\x03\x02\x01\x14\x13\x12\x11",
        STARTED,
        0,
        (0x01020304, 0x11121314),
    ),
    Good(
        "started of the most",
        DAEMON,
        frame(STARTED, 0, b"\xff" * 8),
        STARTED,
        0,
        (2**32 - 1, 2**32 - 1),
    ),
    Good("retry", DAEMON, b"\x16\x00\x00\x00\x00\x00\x00\x00", RETRY, 0, None),
    Good("overloaded", DAEMON, b"\x19\x00\x00\x00\x00\x00\x00\x00", OVERLOADED, 0, None),
    Good(
        "abort", DAEMON, frame(ABORT, 0, b"\xf4\x01WSGID0300: x"), ABORT, 0, (500, "WSGID0300: x")
    ),
    Good("abort without a reason", DAEMON, frame(ABORT, 0, b"\xf8\x01"), ABORT, 0, (504, "")),
    Good(
        "abort of the largest size",
        DAEMON,
        frame(ABORT, 0, b"\xf6\x01" + b"t" * 32 * KIB),
        ABORT,
        0,
        (502, "t" * 32 * KIB),
    ),
]


def by_header(name, side, error, type_, flags=0, length=0, reserved=0):
    return Bad(name, side, frame(type_, flags, b"", reserved, length), error, True)


def too_long(name, side, type_, longest):
    return by_header(f"{name} one byte too long", side, TOO_LONG, type_, length=longest + 1)


# The codes come from the table, so that a new frame breaks no vector that has nothing to do with it.
FROM_HTTPD = [one.code for one in table.FRAMES if one.sender == "httpd"]
FROM_DAEMON = [one.code for one in table.FRAMES if one.sender == "daemon"]
NO_TYPES = (
    0,
    max(FROM_HTTPD) + 1,
    0x0F,
    max(FROM_DAEMON) + 1,
    0x3F,
    0x40,
    0x7F,
    0x80,
    0xFF,
)

BAD = [
    # --- types: none, reserved for streams, those of the other side
    *(by_header(f"type 0x{t:02x} from httpd", HTTPD, BAD_TYPE, t) for t in NO_TYPES),
    *(by_header(f"type 0x{t:02x} from a daemon", DAEMON, BAD_TYPE, t) for t in NO_TYPES),
    *(
        by_header(f"httpd speaks as a daemon, 0x{t:02x}", HTTPD, BAD_TYPE, t, 0, 16)
        for t in FROM_DAEMON
    ),
    *(
        by_header(f"a daemon speaks as httpd, 0x{t:02x}", DAEMON, BAD_TYPE, t, length=16)
        for t in FROM_HTTPD
    ),
    # --- flags: unknown ones, and known ones on frames that have none
    by_header("request with flag 0x04", HTTPD, BAD_FLAGS, REQUEST, 4, 24),
    by_header("request with all flags", HTTPD, BAD_FLAGS, REQUEST, 0xFF, 24),
    by_header("body on demand", HTTPD, BAD_FLAGS, BODY, ON_DEMAND, 1),
    by_header("credit at its end", DAEMON, BAD_FLAGS, CREDIT, END, 4),
    by_header("response on demand", DAEMON, BAD_FLAGS, RESPONSE, ON_DEMAND, 9),
    by_header("data with flag 0x80", DAEMON, BAD_FLAGS, DATA, 0x81, 1),
    by_header("file on demand", DAEMON, BAD_FLAGS, FILE, 3, 16),
    *(
        by_header(f"END on 0x{t:02x}", DAEMON, BAD_FLAGS, t, END, 2)
        for t in (INTERIM, LOG, RETRY, ABORT, STARTED, OVERLOADED)
    ),
    # --- the reserved field
    by_header("reserved, low byte", HTTPD, BAD_RESERVED, BODY, 0, 1, reserved=1),
    by_header("reserved, high byte", DAEMON, BAD_RESERVED, RETRY, reserved=0x8000),
    # --- lengths
    too_long("request", HTTPD, REQUEST, 24 + MIB + 64 * KIB),
    too_long("body", HTTPD, BODY, 256 * KIB),
    too_long("credit", DAEMON, CREDIT, 4),
    too_long("response", DAEMON, RESPONSE, 4 + 256 * KIB + MIB),
    too_long("data", DAEMON, DATA, MIB),
    too_long("file", DAEMON, FILE, 16),
    too_long("interim", DAEMON, INTERIM, 256 * KIB),
    too_long("log", DAEMON, LOG, 1 + 32 * KIB),
    too_long("retry", DAEMON, RETRY, 0),
    too_long("overloaded", DAEMON, OVERLOADED, 0),
    too_long("started", DAEMON, STARTED, 8),
    too_long("abort", DAEMON, ABORT, 2 + 32 * KIB),
    by_header("request of 4 GiB", HTTPD, TOO_LONG, REQUEST, 0, 2**32 - 1),
    by_header("request without its prefix", HTTPD, TOO_SHORT, REQUEST, 0, 23),
    by_header("empty request", HTTPD, TOO_SHORT, REQUEST, END),
    by_header("empty body before the end", HTTPD, TOO_SHORT, BODY),
    by_header("short credit", DAEMON, TOO_SHORT, CREDIT, 0, 3),
    by_header("response without its prefix", DAEMON, TOO_SHORT, RESPONSE, 0, 3),
    by_header("response without a head", DAEMON, TOO_SHORT, RESPONSE, 0, 4),
    by_header("empty data before the end", DAEMON, TOO_SHORT, DATA),
    by_header("short started", DAEMON, TOO_SHORT, STARTED, 0, 7),
    by_header("empty started", DAEMON, TOO_SHORT, STARTED),
    by_header("short file", DAEMON, TOO_SHORT, FILE, 0, 15),
    by_header("empty interim", DAEMON, TOO_SHORT, INTERIM),
    by_header("log without a level", DAEMON, TOO_SHORT, LOG),
    by_header("abort with half a status", DAEMON, TOO_SHORT, ABORT, 0, 1),
    # --- order in which errors are reported: type, flags, reserved, length
    by_header("all wrong", HTTPD, BAD_TYPE, 0x33, 0xFF, 2**32 - 1, 1),
    by_header("all wrong but the type", HTTPD, BAD_FLAGS, BODY, 0xFF, 2**32 - 1, 1),
    by_header("all wrong but type and flags", HTTPD, BAD_RESERVED, BODY, 0, 2**32 - 1, 1),
    # --- payloads
    Bad("environ longer than its frame", HTTPD, request(b"A\0b\0", size=5), BAD_PAYLOAD, False),
    Bad("environ of 4 GiB", HTTPD, request(b"A\0b\0", size=2**32 - 1), BAD_PAYLOAD, False),
    Bad("environ without its last NUL", HTTPD, request(b"A\0b"), BAD_PAYLOAD, False),
    Bad("environ cut by its length", HTTPD, request(b"A\0b\0", size=3), BAD_PAYLOAD, False),
    Bad("environ with a key alone", HTTPD, request(b"A\0"), BAD_PAYLOAD, False),
    Bad("environ with a last key alone", HTTPD, request(b"A\0b\0C\0"), BAD_PAYLOAD, False),
    Bad("environ of one NUL", HTTPD, request(b"\0"), BAD_PAYLOAD, False),
    Bad("environ with an empty name", HTTPD, request(b"\0b\0"), BAD_PAYLOAD, False),
    Bad("environ with an empty name and value", HTTPD, request(b"A\0b\0\0\0"), BAD_PAYLOAD, False),
    Bad("environ one byte too long", HTTPD, request(LARGE_ENVIRON[:-1] + b"v\0"), TOO_LONG, False),
    Bad(
        "start of the body one byte too long",
        HTTPD,
        request(b"", b"s" * (64 * KIB + 1)),
        TOO_LONG,
        False,
    ),
    Bad("head of nothing", DAEMON, response(b"", b"body"), BAD_PAYLOAD, False),
    Bad("head longer than its frame", DAEMON, response(b"200\0", size=5), BAD_PAYLOAD, False),
    Bad("head of 4 GiB", DAEMON, response(b"200\0", size=2**32 - 1), BAD_PAYLOAD, False),
    Bad("head without its last NUL", DAEMON, response(b"200", b"\0", size=3), BAD_PAYLOAD, False),
    Bad("head with a name alone", DAEMON, response(b"200\0A\0"), BAD_PAYLOAD, False),
    Bad("head with an empty name", DAEMON, response(b"200\0\0b\0"), BAD_PAYLOAD, False),
    Bad(
        "head with an empty name at its end",
        DAEMON,
        response(b"200\0A\0b\0\0\0"),
        BAD_PAYLOAD,
        False,
    ),
    Bad("head one byte too long", DAEMON, response(LARGE_HEAD[:-1] + b"v\0"), TOO_LONG, False),
    Bad(
        "first data one byte too long",
        DAEMON,
        response(b"200\0", b"d" * (MIB + 1)),
        TOO_LONG,
        False,
    ),
    Bad("interim without its last NUL", DAEMON, frame(INTERIM, 0, b"103"), BAD_PAYLOAD, False),
    Bad("interim with a name alone", DAEMON, frame(INTERIM, 0, b"103\0A\0"), BAD_PAYLOAD, False),
    Bad("credit of nothing", DAEMON, frame(CREDIT, 0, bytes(4)), BAD_PAYLOAD, False),
    Bad(
        "file beyond any file",
        DAEMON,
        frame(FILE, 0, pack("<QQ", 2**63 - 1, 1)),
        BAD_PAYLOAD,
        False,
    ),
    Bad(
        "file that wraps around",
        DAEMON,
        frame(FILE, 0, pack("<QQ", 2**64 - 1, 2)),
        BAD_PAYLOAD,
        False,
    ),
    Bad("log of level 16", DAEMON, frame(LOG, 0, b"\x10"), BAD_PAYLOAD, False),
    Bad("abort with status 200", DAEMON, frame(ABORT, 0, b"\xc8\x00"), BAD_PAYLOAD, False),
]


def ids(vectors):
    return [vector.name.replace(" ", "-") for vector in vectors]
