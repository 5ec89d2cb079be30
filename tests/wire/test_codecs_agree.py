"""The codec in C against the one in Python: the same constants, results and values for all
bytes.
"""

import os
from struct import pack, unpack

import pytest
from hypothesis import example, given, settings, strategies as st
from wire import extension as native
from wire.codecs import as_dict, c_reads, python_reads, verdict
from wire.vectors import GOOD

from pywsgid.native.build import CDEF
from pywsgid.wire import hotpath_abi, protocol, table

SMALL = [vector for vector in GOOD if len(vector.data) < 4096]
SIDES = st.sampled_from([protocol.FROM_HTTPD, protocol.FROM_DAEMON])
# `make fuzz` multiplies the examples, and takes other ones each time.
EFFORT = int(os.environ.get("WSGID_FUZZ", "1"))
FUZZ = settings(max_examples=300 * EFFORT, deadline=None, derandomize=EFFORT == 1)

# Bytes that mean something to the codecs.
MEANINGFUL = st.sampled_from([0, 1, 2, 3, 4, 0x10, 0x11, 0x17, 0x40, 0x7F, 0x80, 0xFF])
STRING = st.sampled_from([b"\0", b"A\0", b"bc\0", b"\xff\0"])
BLOCK = st.lists(STRING, max_size=7).map(b"".join)
CUT_BLOCK = st.builds(lambda block, tail: block + tail, BLOCK, st.sampled_from([b"", b"", b"x"]))
OFF = st.sampled_from([0, 0, 0, 1, -1, 2**31])


@st.composite
def mutated(draw):
    """(side, data): a valid frame with some bytes changed, inserted or removed."""
    vector = draw(st.sampled_from(SMALL))
    data = bytearray(vector.data)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        if draw(st.booleans()):
            data[at : at + 1] = bytes([draw(MEANINGFUL)])
        else:
            data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return draw(st.sampled_from([vector.side, vector.side, vector.side, 1 - vector.side])), bytes(
        data
    )


@st.composite
def near_misses(draw):
    """(side, data): frames with blocks and inner lengths that are right, or slightly wrong."""
    block, body = draw(CUT_BLOCK), draw(st.binary(max_size=5))
    size = (len(block) + draw(OFF)) % 2**32
    kind = draw(st.sampled_from([protocol.REQUEST, protocol.RESPONSE, protocol.INTERIM]))
    prefixes = {protocol.REQUEST: pack("<QQII", 7, 8, 9, size), protocol.RESPONSE: pack("<I", size)}
    payload = prefixes.get(kind, b"") + block + body
    length = max(0, len(payload) + draw(st.sampled_from([0, 0, 0, 1, -1])))
    return protocol.FRAMES[kind][1], pack(
        "<BBHI", kind, draw(st.integers(0, 1)), 0, length
    ) + payload


def assert_same(side, data):
    assert verdict(c_reads, side, data) == verdict(python_reads, side, data)


@FUZZ
@given(SIDES, st.binary(max_size=64))
@example(protocol.FROM_HTTPD, bytes(8))
def test_random_bytes_have_the_same_result(side, data):
    assert_same(side, data)


@FUZZ
@given(
    SIDES,
    st.sampled_from(sorted(protocol.FRAMES)),
    MEANINGFUL,
    st.integers(0, 40),
    st.binary(max_size=40),
)
def test_random_payloads_of_valid_types_have_the_same_result(side, type_, flags, length, payload):
    assert_same(side, pack("<BBHI", type_, flags & 3, 0, length) + payload)


@FUZZ
@given(mutated())
def test_mutated_frames_have_the_same_result(case):
    assert_same(*case)


@FUZZ
@given(near_misses())
def test_slightly_wrong_frames_have_the_same_result(case):
    assert_same(*case)


@FUZZ
@given(
    SIDES,
    st.integers(0, 255),
    st.integers(0, 255),
    st.sampled_from([0, 0, 0, 1, 0x100]),
    st.integers(0, 2**32 - 1),
)
def test_headers_have_the_same_result(side, type_, flags, reserved, length):
    assert_same(side, pack("<BBHI", type_, flags, reserved, length))


@pytest.mark.parametrize("side", [protocol.FROM_HTTPD, protocol.FROM_DAEMON])
@pytest.mark.parametrize("type_", sorted(protocol.FRAMES))
@pytest.mark.parametrize("flags", [0, protocol.END])
def test_lengths_around_every_bound_have_the_same_result(side, type_, flags):
    for bound in protocol.FRAMES[type_][3:]:
        for length in {max(0, bound - 1), bound, bound + 1}:
            header = pack("<BBHI", type_, flags, 0, length)
            assert header_verdict(native, header, side) == header_verdict(protocol, header, side)


def header_verdict(codec, header, side):
    try:
        return codec.parse_header(header, 0, side)
    except protocol.RemoteProtocolError as error:
        return "fault", error.error


STRINGS = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=8)
NAMES = STRINGS.filter(bool)
U32 = st.integers(0, 2**32 - 1)
NUMBERS = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), U32)
PAIRS = st.lists(st.tuples(NAMES, STRINGS), max_size=6)


@FUZZ
@given(NUMBERS, st.dictionaries(NAMES, STRINGS), st.binary(max_size=20), st.integers(0, 3))
def test_c_reads_the_requests_that_python_encodes(numbers, environ, body, flags):
    request_id, sent, line = numbers
    data = b"".join(
        protocol.encode_request(
            request_id, protocol.encode_environ(environ), body, flags, sent, line
        )
    )
    assert as_dict(c_reads(0, data)) == (
        protocol.REQUEST,
        flags,
        (*numbers, environ, body),
        len(data),
    )


@FUZZ
@given(U32, U32)
def test_both_encode_started_alike(pid, waited):
    data = protocol.encode_started(pid, waited)
    assert native.encode_started(pid, waited) == data
    assert c_reads(1, data) == (protocol.STARTED, 0, (pid, waited), len(data))


OFFSETS = st.sampled_from([0, 0, 0, 1, 99])
LINE = b"REQUEST_METHOD\0GET\0REQUEST_URI\0/a?b\0"


@pytest.mark.parametrize("codec", [protocol, native], ids=["python", "c"])
def test_the_line_of_a_request_is_where_the_prefix_says(codec):
    for before in (b"", b"A\0b\0"):
        for behind in (b"", b"C\0d\0"):
            assert codec.parse_line(before + LINE + behind, len(before), 100) == b"GET /a?b"
    for longest in range(12):
        assert codec.parse_line(LINE, 0, longest) == b"GET /a?b"[:longest]
    assert codec.parse_line(b"REQUEST_METHOD\0\0REQUEST_URI\0\0", 0, 100) == b" "


@pytest.mark.parametrize("codec", [protocol, native], ids=["python", "c"])
def test_a_wrong_offset_gives_no_line(codec):
    for line in (1, len(LINE) - 1, len(LINE), len(LINE) + 1, 2**31, 2**32 - 1):
        assert codec.parse_line(LINE, line, 100) == b""
    for block in (
        b"",
        b"REQUEST_METHOD\0GET\0",
        b"REQUEST_METHOD\0GET\0PATH_INFO\0/\0",
        LINE[1:],
        LINE.lower(),
    ):
        assert codec.parse_line(block, 0, 100) == b""


@FUZZ
@given(st.integers(0, 60), st.integers(0, 60), st.binary(max_size=4), OFFSETS, st.integers(0, 99))
def test_both_find_the_same_line_in_any_block(start, end, put, line, longest):
    block = LINE[:start] + put + LINE[end:]
    assert native.parse_line(block, line, longest) == protocol.parse_line(block, line, longest)


@FUZZ
@given(STRINGS, PAIRS, st.binary(max_size=20), st.booleans())
def test_c_reads_the_responses_that_python_encodes(status, headers, body, end):
    data = b"".join(protocol.encode_response(protocol.encode_head(status, headers), body, end))
    assert c_reads(1, data) == (protocol.RESPONSE, int(end), (status, headers, body), len(data))


@FUZZ
@given(st.integers(0, 2**64 - 1), st.integers(0, 255), st.integers(0, 255))
def test_integers_and_headers_are_little_endian(value, type_, flags):
    out = native.ffi.new("unsigned char[8]")
    for code, bits in (("H", 16), ("I", 32), ("Q", 64)):
        part = value % 2**bits
        getattr(native.lib, f"wsgid_wire_put_u{bits}")(out, part)
        assert unpack("<" + code, bytes(out)[: bits // 8]) == (part,)
        assert getattr(native.lib, f"wsgid_wire_get_u{bits}")(out) == part
    native.lib.wsgid_wire_put_header(out, type_, flags, value % 2**32)
    assert bytes(out) == pack("<BBHI", type_, flags, 0, value % 2**32)


def test_an_invalid_header_can_be_described_in_a_message():
    frame = native.ffi.new("wsgid_wire_frame_t *")
    assert (
        native.lib.wsgid_wire_get_header(frame, b"\x33\x44\x00\x00\x05\x00\x00\x00", 0)
        == protocol.BAD_TYPE
    )
    assert (frame.type, frame.flags, frame.length) == (0x33, 0x44, 5)


def test_a_null_pointer_is_an_empty_block():
    assert native.lib.wsgid_wire_check_environ(native.ffi.NULL, 0) == protocol.OK
    assert native.lib.wsgid_wire_check_head(native.ffi.NULL, 0) == protocol.BAD_PAYLOAD


def test_the_prefix_of_a_response_is_enough_for_its_head_length():
    size = native.ffi.new("uint32_t *")
    prefix = native.ffi.new("unsigned char[4]", pack("<I", 100))
    assert native.lib.wsgid_wire_get_response(prefix, 4, 104, size) == protocol.OK
    assert size[0] == 100
    assert native.lib.wsgid_wire_get_response(prefix, 3, 104, size) == protocol.TOO_SHORT
    assert native.lib.wsgid_wire_get_response(prefix, 4, 3, size) == protocol.TOO_SHORT
    assert native.lib.wsgid_wire_get_response(prefix, 4, 103, size) == protocol.BAD_PAYLOAD
    assert (
        native.lib.wsgid_wire_get_response(native.ffi.new("unsigned char[4]"), 4, 104, size)
        == protocol.BAD_PAYLOAD
    )


def test_a_string_without_its_nul_is_ignored():
    block = native.ffi.new("unsigned char[3]", b"a\0b")
    cursor = native.ffi.new("const unsigned char **", block)
    size = native.ffi.new("size_t *")
    assert native.lib.wsgid_wire_next_string(cursor, block + 3, size) != native.ffi.NULL
    assert native.lib.wsgid_wire_next_string(cursor, block + 3, size) == native.ffi.NULL


def in_python(name):
    """The number that Python has for a name of the extension."""
    if name.startswith("WSGID_WIRE_"):
        return getattr(protocol, name.removeprefix("WSGID_WIRE_"))
    return getattr(hotpath_abi, name.removeprefix("WSGID_"))


def test_every_constant_has_the_same_value():
    names = [line.split()[1] for line in CDEF.splitlines() if line.startswith("#define")]
    assert len(names) > 20
    for name in names:
        assert getattr(native.lib, name) == in_python(name), name


def test_every_outcome_and_fact_has_the_same_number():
    for outcome in table.OUTCOMES:
        name = f"WSGID_{outcome.name}"
        assert getattr(native.lib, name) == in_python(name) == outcome.value
    for number, (fact, _) in enumerate(table.FACTS):
        assert getattr(native.lib, f"FACT_{fact}") == in_python(f"FACT_{fact}") == number
    assert native.lib.FACT_COUNT == len(table.FACTS) <= hotpath_abi.FACTS_SIZE // 8


@pytest.mark.parametrize("enum", ["wsgid_wire_error_e", "wsgid_wire_side_e"])
def test_every_enumeration_has_the_same_values(enum):
    values = dict(native.ffi.typeof(enum).relements)
    assert values.pop("WSGID_WIRE_ERRORS", 0) in (0, len(protocol.ERROR_TEXT))
    assert values == {name: getattr(protocol, name.removeprefix("WSGID_WIRE_")) for name in values}


def test_names_and_texts_are_the_same():
    for type_ in range(256):
        assert native.ffi.string(
            native.lib.wsgid_wire_type_name(type_)
        ).decode() == protocol.type_name(type_)
    for error in range(len(protocol.ERROR_TEXT) + 1):
        text = native.ffi.string(native.lib.wsgid_wire_error_text(error)).decode()
        assert text == protocol.ERROR_TEXT.get(error, "unknown error")
