"""Each vector against both codecs: whole, byte by byte, with trailing data, cut short."""

import pytest
from wire.codecs import PYTHON, as_dict, c_reads, python_reads
from wire.conversation import Parser
from wire.vectors import BAD, GOOD, ids

from pywsgid.wire import protocol
from pywsgid.wire.protocol import RemoteProtocolError

READERS = pytest.mark.parametrize("reads", [python_reads, c_reads], ids=["python", "c"])
EVERY_GOOD = pytest.mark.parametrize("vector", GOOD, ids=ids(GOOD))
EVERY_BAD = pytest.mark.parametrize("vector", BAD, ids=ids(BAD))

# Frames up to this size are cut at every byte, larger ones only where a part begins or ends.
SMALL = 4096


def expected(vector):
    return as_dict((vector.type, vector.flags, vector.value, len(vector.data)))


def cuts(data):
    """The lengths to cut data at: every shorter length, or a selection."""
    if len(data) <= SMALL:
        return range(len(data))
    return [*range(32), *range(len(data) - 32, len(data))]


def steps(data):
    """The data in pieces of one byte; of a large frame only the beginning."""
    yield from (data[i : i + 1] for i in range(min(len(data), SMALL)))
    yield from (data[i : i + SMALL - 1] for i in range(SMALL, len(data), SMALL - 1))


def value_of(frame):
    type_, flags, payload = frame
    return type_, flags, PYTHON[type_](payload)


@READERS
@EVERY_GOOD
def test_a_whole_frame_is_read(reads, vector):
    frame = reads(vector.side, vector.data)
    assert as_dict(frame) == expected(vector)
    if reads is c_reads:
        assert frame[2] == vector.value  # the pairs must be in order, too


@READERS
@EVERY_GOOD
def test_trailing_data_is_not_read(reads, vector):
    for trailing in (b"\0", b"\xff" * 9, vector.data):
        assert as_dict(reads(vector.side, vector.data + trailing)) == expected(vector)


@READERS
@EVERY_GOOD
def test_the_rest_of_a_cut_frame_is_awaited(reads, vector):
    for length in cuts(vector.data):
        assert reads(vector.side, vector.data[:length]) is None


@READERS
@EVERY_GOOD
def test_the_other_side_may_not_send_it(reads, vector):
    with pytest.raises(RemoteProtocolError) as caught:
        reads(1 - vector.side, vector.data)
    assert caught.value.error == protocol.BAD_TYPE


@READERS
@EVERY_BAD
def test_a_violation_is_named(reads, vector):
    with pytest.raises(RemoteProtocolError) as caught:
        reads(
            vector.side,
            vector.data if not vector.by_header else vector.data[: protocol.HEADER_SIZE],
        )
    assert caught.value.error == vector.error
    assert caught.value.status == 502


@READERS
@EVERY_BAD
def test_a_violation_is_not_reported_too_early(reads, vector):
    enough = protocol.HEADER_SIZE if vector.by_header else len(vector.data)
    for length in cuts(vector.data[:enough]):
        assert reads(vector.side, vector.data[:length]) is None


@EVERY_GOOD
def test_the_parser_returns_a_frame_once_its_last_byte_has_arrived(vector):
    parser = Parser(vector.side)
    *early, last = steps(vector.data)
    for piece in early:
        assert list(parser.feed(piece)) == []
    assert parser.missing == (len(last) if len(vector.data) > 8 else 1)
    (frame,) = parser.feed(last)
    assert value_of(frame) == expected(vector)[:3]
    parser.eof()


@EVERY_GOOD
def test_the_parser_keeps_trailing_data(vector):
    parser = Parser(vector.side)
    first, second = parser.feed(vector.data * 2 + vector.data[:5])
    assert first == second
    assert value_of(first) == expected(vector)[:3]
    with pytest.raises(RemoteProtocolError) as caught:
        parser.eof()
    assert caught.value.error == protocol.CUT_OFF
    (third,) = parser.feed(vector.data[5:])
    assert third == first


@pytest.mark.parametrize("side", [protocol.FROM_HTTPD, protocol.FROM_DAEMON])
@pytest.mark.parametrize("size", [1, 3, 7, 8, 9, 4093])
def test_the_parser_accepts_a_stream_cut_anywhere(side, size):
    vectors = [vector for vector in GOOD if vector.side == side and len(vector.data) <= SMALL]
    stream = b"".join(vector.data for vector in vectors)
    parser = Parser(side)
    frames = [
        frame
        for i in range(0, len(stream), size)
        for frame in parser.feed(memoryview(stream)[i : i + size])
    ]
    assert [value_of(frame) for frame in frames] == [expected(vector)[:3] for vector in vectors]


@pytest.mark.parametrize(
    "vector", [vector for vector in BAD if vector.by_header], ids=lambda vector: vector.name
)
def test_the_parser_never_continues_after_a_violation(vector):
    parser = Parser(vector.side)
    good = next(other for other in GOOD if other.side == vector.side)
    frames = parser.feed(good.data + vector.data[: protocol.HEADER_SIZE])
    assert value_of(next(frames)) == expected(good)[:3]
    for _ in range(2):
        with pytest.raises(RemoteProtocolError) as caught:
            list(parser.feed(good.data))
        assert caught.value.error == vector.error
