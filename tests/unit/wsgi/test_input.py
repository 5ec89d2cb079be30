"""wsgi/input.py: reading the body against credit, from a simulated exchange."""

from __future__ import annotations

import io

import pytest

from pywsgid.daemon.transport.peer import PeerGone, PeerSilent
from pywsgid.daemon.wsgi.input import WINDOW, Input, InputLost
from pywsgid.wire.protocol import BAD_TYPE, RemoteProtocolError

TEXT = b"first\nsecond line\n\nlast without an end"


class Exchange:
    """Delivers `pieces` one by one against credit; raises an exception among them."""

    def __init__(self, body=b"", pieces=(), complete=False):
        self.body, self.complete = body, complete
        self.pieces = list(pieces)
        self.granted = self.credit = 0
        self.dropped = False

    def grant(self, size):
        assert size > 0
        self.granted += size
        self.credit += size

    def receive(self):
        if not self.pieces:
            self.complete = True
            return b""
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        assert len(piece) <= self.credit, "more than was granted"
        self.credit -= len(piece)
        return piece

    def drop(self):
        self.dropped = True


def whole():
    return Input(Exchange(TEXT, complete=True))


def cut(size):
    """TEXT in pieces of that size, the first of them within the request."""
    pieces = [TEXT[at : at + size] for at in range(0, len(TEXT), size)]
    return Input(Exchange(pieces[0], pieces[1:]))


every_cut = pytest.mark.parametrize(
    "make",
    [whole, lambda: cut(1), lambda: cut(4), lambda: cut(7), lambda: Input(Exchange(b"", [TEXT]))],
)


@every_cut
@pytest.mark.parametrize("size", [-1, None, -7, 1 << 40, len(TEXT)])
def test_read_all(make, size):
    source = make()
    assert source.read(size) == TEXT
    assert source.read(size) == b""


@every_cut
def test_read_without_a_size_reads_all(make):
    assert make().read() == TEXT


@every_cut
@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 30])
def test_read_returns_exactly_the_requested_size_until_the_end(make, size):
    source = make()
    pieces = list(iter(lambda: source.read(size), b""))
    assert b"".join(pieces) == TEXT
    assert all(len(piece) == size for piece in pieces[:-1])


@every_cut
def test_lines_are_those_of_a_file(make):
    expected = io.BytesIO(TEXT).readlines()
    assert make().readlines() == expected
    assert list(make()) == expected
    source = make()
    assert list(iter(source.readline, b"")) == expected
    assert source.readline() == b""


@every_cut
@pytest.mark.parametrize("size", [0, 1, 3, 6, 7, 100, -1, None])
def test_readline_with_a_size_is_that_of_a_file(make, size):
    source, file = make(), io.BytesIO(TEXT)
    for _ in range(8):
        assert source.readline(size) == file.readline(-1 if size is None else size)


@every_cut
@pytest.mark.parametrize("hint", [None, -1, 0, 1, 6, 7, 1000])
def test_readlines_with_a_hint_is_that_of_a_file(make, hint):
    assert make().readlines(hint) == io.BytesIO(TEXT).readlines(hint)


@every_cut
def test_ways_of_reading_can_be_mixed(make):
    source, file = make(), io.BytesIO(TEXT)
    for step in (
        lambda f: f.read(3),
        lambda f: f.readline(),
        lambda f: f.read(1),
        lambda f: next(f),
        lambda f: f.read(),
    ):
        assert step(source) == step(file)


@every_cut
def test_the_io_module_can_wrap_it(make):
    assert io.BufferedReader(make()).read() == TEXT
    assert io.TextIOWrapper(
        io.BufferedReader(make()), encoding="ascii"
    ).readlines() == TEXT.decode().splitlines(True)


def test_read1_returns_what_has_arrived_without_waiting():
    source = cut(4)
    assert source.read1() == TEXT[:4]
    assert source.read1(2) == TEXT[4:6]
    assert source.read1(0) == b""


def test_no_credit_is_granted_before_the_first_read():
    exchange = Exchange(b"abc", [b"def"])
    source = Input(exchange)
    assert source.read(3) == b"abc"
    assert exchange.granted == 0
    source.read(1)
    assert exchange.granted == WINDOW


def test_a_read_of_0_bytes_grants_no_credit():
    exchange = Exchange(b"", [b"abc"])
    assert Input(exchange).read(0) == b""
    assert exchange.granted == 0


def test_no_more_credit_than_the_window_is_granted():
    piece = b"x" * 10000
    exchange = Exchange(b"", [piece] * 200)
    source = Input(exchange)
    for _ in range(2000):
        source.read(1000)
        assert exchange.credit <= WINDOW
    assert source.read() == b""


@pytest.mark.parametrize("error", [PeerGone(), PeerSilent("httpd sent nothing for socket-timeout")])
def test_a_body_that_breaks_off_raises_an_os_error(error):
    source = Input(Exchange(b"abc", [b"def", error]))
    with pytest.raises(InputLost, match="broke off after 6 bytes") as caught:
        source.read()
    assert isinstance(caught.value, OSError)
    assert caught.value.errno


def test_a_violation_is_reported_and_the_connection_dropped():
    reported = []
    exchange = Exchange(b"", [RemoteProtocolError(BAD_TYPE)])
    with pytest.raises(InputLost):
        Input(exchange, reported.append).read()
    assert len(reported) == 1
    assert exchange.dropped


def test_after_the_request_only_buffered_data_can_be_read():
    source = Input(Exchange(b"abc", [b"def"]))
    source.detach()
    assert source.read(3) == b"abc"
    with pytest.raises(InputLost, match="has ended"):
        source.read(1)
