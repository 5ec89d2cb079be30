"""Random frames from a daemon, valid or not: httpd survives (`make test-sanitized` runs this with
ASan), what looks whole to the client is whole, and the next answer on its connection is its own.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

import pytest
from httpdenv import machine
from httpdenv.client import request
from httpdenv.frames import STARTED, frame, response
from hypothesis import given, settings, strategies as st

from pywsgid.wire import protocol

CONFIGURATION = """
WSGIDaemonProcess app threads=1
WSGIProcessName app
WSGIDaemonProcess other
WSGIScriptAlias /hostile ${APPS}/hostile.wsgi
WSGIScriptAlias /hello ${APPS}/hello.wsgi process-name=other
ThreadsPerChild 16
MaxRequestWorkers 16
ServerLimit 1
"""
# About a minute with sanitizers.
EXAMPLES = int(os.environ.get("WSGID_FUZZ", "1")) * (3000 if machine.sanitized() else 300)
END = protocol.END
HELLO = b"Hello World!\n"


@dataclass
class Piece:
    """A frame: what it adds to the body; if it begins a response, its Content-Length (-1: none);
    and whether it has END.
    """

    data: bytes
    body: bytes = b""
    declared: int | None = None
    ends: bool = False


def of_response(status: str, declared: int | None, body: bytes, ends: bool) -> Piece:
    strings = [status] if declared is None else [status, "Content-Length", str(declared)]
    data = response(*strings, body=body, flags=END if ends else 0)
    return Piece(data, body, -1 if declared is None else declared, ends)


def of_data(body: bytes, ends: bool) -> Piece:
    return Piece(frame(protocol.DATA, body, END if ends else 0), body, None, ends)


def of_file(offset: int, length: int, ends: bool) -> Piece:
    with open("/etc/hostname", "rb") as file:
        body = file.read()[offset : offset + length]
    data = frame(protocol.FILE, struct.pack("<QQ", offset, length), END if ends else 0)
    return Piece(data, body, None, ends)


bodies = st.one_of(
    st.sampled_from([b"", b"o", b"ok", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]),
    st.integers(0, 1200).map(lambda size: b"b" * size),
)
statuses = st.sampled_from(["200 OK", "206 Part", "204 None", "304 Same", "404 No", "999 Odd"])
numbers = st.one_of(st.integers(0, 3), st.sampled_from([2**32, 2**63 - 1, 2**63, 2**64 - 1]))
responses = st.builds(
    of_response, statuses, st.one_of(st.none(), st.integers(0, 5)), bodies, st.booleans()
)
rest = st.one_of(
    st.builds(of_data, bodies, st.booleans()),
    st.builds(of_file, numbers, numbers, st.booleans()),
    st.builds(lambda text: Piece(frame(protocol.LOG, b"\x07" + text)), bodies),
    st.builds(lambda n: Piece(frame(protocol.CREDIT, struct.pack("<I", n))), st.integers(0, 9)),
    st.just(Piece(frame(protocol.INTERIM, b"103 Early Hints\0Link\0</a>\0"))),
    st.builds(
        lambda n, t: Piece(frame(protocol.ABORT, struct.pack("<H", n) + t)),
        numbers.map(lambda n: n % 1000),
        bodies,
    ),
    st.sampled_from([Piece(frame(protocol.OVERLOADED)), Piece(STARTED)]),
    st.builds(lambda junk: Piece(junk), st.binary(max_size=12)),
    responses,
)
conversations = st.tuples(
    st.lists(rest, max_size=2), st.lists(responses, min_size=0, max_size=1), st.lists(rest)
).map(lambda parts: sum(parts, []))


@pytest.fixture(scope="module")
def httpd(make_httpd):
    server = make_httpd(CONFIGURATION)
    assert server.get("/hello").content == HELLO
    return server


def whole_body(pieces: list[Piece]) -> bytes:
    """What a client may take for a whole response."""
    first = next(n for n, piece in enumerate(pieces) if piece.declared is not None)
    last = next((n for n, piece in enumerate(pieces) if piece.ends and n >= first), len(pieces))
    body = b"".join(piece.body for piece in pieces[first : last + 1])
    declared = pieces[first].declared
    return body if declared == -1 else body[:declared]


def check(httpd, method: str, pieces: list[Piece], cut: tuple[int, int], kind: str) -> None:
    data = STARTED + b"".join(piece.data for piece in pieces)
    at = sorted(place % (len(data) + 1) for place in cut)
    parts = data[: at[0]], data[at[0] : at[1]], data[at[1] :]
    text = " ".join(part.hex() for part in parts) if all(parts) else data.hex()
    with httpd.wire() as wire:
        if len(text) < 8000:  # what a header may have
            hostile = request(method, f"/hostile?{kind}&leave", f"X-Frames: {text}")
        else:
            method, length = "POST", f"Content-Length: {len(text)}"
            hostile = request(method, f"/hostile?{kind}&leave", length, body=text.encode())
        wire.send(hostile + request("GET", "/hello"))
        while (answer := wire.read_response(method)).status == 103:
            pass
        if method != "HEAD" and answer.complete and answer.status < 300:
            assert answer.body == whole_body(pieces)
        if answer.complete and "close" not in answer.all("Connection"):
            try:
                assert wire.read_response().body == HELLO
            except ConnectionError:
                pass  # it was cut off behind the last byte of the response
        else:
            assert HELLO not in wire.rest()


@pytest.mark.timeout(0)
@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.sampled_from(["GET", "GET", "POST", "HEAD"]),
    conversations,
    st.tuples(st.integers(0, 4000), st.integers(0, 4000)),
    st.sampled_from(["none", "file"]),
)
def test_random_frames_do_no_harm(httpd, method, pieces, cut, kind):
    before = httpd.children()
    with httpd.log.allows(""):  # what the frames say is logged, too
        check(httpd, method, pieces, cut, kind)
    assert httpd.children() == before, "a child of httpd has crashed"
