"""Clients of HTTP/2 that cancel what they have begun, send what is ambiguous, or flood the server."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable

import h2.exceptions
import hpack
import pytest
from h2.errors import ErrorCodes
from httpdenv import http2, processes, wait_until
from httpdenv.versions import HOSTS, MODULES

CONFIGURATION = (
    """
WSGIDaemonProcess app threads=8
WSGIProcessName app
WSGIChunkedRequest On
WSGIScriptAlias /leaving ${APPS}/leaving.wsgi
WSGIScriptAlias /hello ${APPS}/hello.wsgi
WSGIScriptAlias /echo ${APPS}/echo.wsgi
"""
    + HOSTS
)
WITHIN = 3.0


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION, modules=MODULES)


def is_served(httpd) -> None:
    assert httpd.get("/hello", timeout=WITHIN).status_code == 200


# ---- cancelled uploads


@pytest.mark.parametrize("length", [None, 100_000])
@pytest.mark.parametrize("code", [ErrorCodes.NO_ERROR, ErrorCodes.CANCEL])
def test_a_cancelled_upload_never_looks_complete(httpd, code, length):
    """Four at the same moment, again and again: mod_http2 is busy with the others, then."""
    headers = [("content-length", str(length))] if length else []
    for number in range(20):
        names = [f"cancelled-{code}-{length}-{number}-{stream}" for stream in range(4)]
        exchange, since = http2.Exchange(httpd.ports["PORT"]), httpd.log.mark()
        with exchange.socket, httpd.log.allows("WSGID03.*upload", "Traceback", "InputLost"):
            for name in names:
                exchange.begin("POST", f"/leaving/upload?{name}", headers)
                exchange.connection.send_data(exchange.stream, b"u" * 10)
                exchange.flush()
                httpd.log.wait_for(f"started {name}", since)
            for stream in range(1, 8, 2):
                exchange.connection.reset_stream(stream, code)
            exchange.flush()
            for name in names:
                line = httpd.log.wait_for(f"(lost|read) {name}", since, WITHIN)
                assert "OSError" in line.text
    is_served(httpd)


def test_an_upload_without_a_length_that_ends_is_complete(httpd):
    exchange = http2.Exchange(httpd.ports["PORT"])
    with exchange.socket:
        for size in (0, 1, 16_000):
            answer = exchange.begin("POST", "/echo", [])
            exchange.connection.send_data(exchange.stream, b"u" * size, end_stream=True)
            exchange.flush()
            while not answer.is_over:
                exchange.take()
            assert (answer.status, answer.body) == (200, b"u" * size)


# ---- frames


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(6, 10)
END_STREAM, END_HEADERS = 1, 4


def outcome(exchange: http2.Exchange) -> int:
    """The status of the first stream; 0 if the server has reset it or ends the connection."""
    with exchange.socket.makefile("rb") as frames:
        while head := frames.read(9):
            payload = frames.read(int.from_bytes(head[:3], "big"))
            if head[3] in (RST_STREAM, GOAWAY):
                return 0
            if head[3] == HEADERS:
                return int(dict(hpack.Decoder().decode(payload))[":status"])
    return 0


# ---- requests that a server of HTTP/1.1 would read differently

PSEUDO = {
    ":method": "POST",
    ":scheme": "http",
    ":authority": "localhost",
    ":path": "/leaving/started?bad",
}
BAD = {
    "a transfer coding": [*PSEUDO.items(), ("transfer-encoding", "chunked")],
    "a connection header": [*PSEUDO.items(), ("connection", "close")],
    "a line end in a value": [*PSEUDO.items(), ("x", "y\r\nz: 1")],
    "a line feed in a value": [*PSEUDO.items(), ("x", "y\nz: 1")],
    "a NUL in a value": [*PSEUDO.items(), ("x", "y\0z")],
    "a line end in a name": [*PSEUDO.items(), ("x: y\r\nz", "1")],
    "a colon in a name": [*PSEUDO.items(), ("x: y", "1")],
    "an upper-case name": [*PSEUDO.items(), ("X", "y")],
    "a second path": [*PSEUDO.items(), (":path", "/hello")],
    "a pseudo-header behind a header": [("x", "y"), *PSEUDO.items()],
    "an unknown pseudo-header": [*PSEUDO.items(), (":x", "y")],
    "a path with a line end": [*(PSEUDO | {":path": "/leaving/started?bad\r\nX: y"}).items()],
    "a path with a blank": [*(PSEUDO | {":path": "/leaving/started?bad HTTP/1.1"}).items()],
    "a method with a blank": [*(PSEUDO | {":method": "GET /leaving/started?bad"}).items()],
    "no path": [(name, value) for name, value in PSEUDO.items() if name != ":path"],
    "a host of its own": [*PSEUDO.items(), ("host", "other"), ("host", "another")],
    "two lengths": [*PSEUDO.items(), ("content-length", "3"), ("content-length", "4")],
    "a length with a sign": [*PSEUDO.items(), ("content-length", "+3")],
    "less than its length": [*PSEUDO.items(), ("content-length", "4")],
    "more than its length": [*PSEUDO.items(), ("content-length", "2")],
}


@pytest.mark.parametrize("what", BAD)
def test_an_ambiguous_request_is_refused(httpd, what):
    since = httpd.log.mark()
    exchange = http2.Exchange(httpd.ports["PORT"])
    with exchange.socket, httpd.log.allows("AH", "WSGID0171"):
        exchange.flush()
        block = hpack.Encoder().encode(BAD[what], huffman=False)
        exchange.socket.sendall(
            frame(HEADERS, block, END_HEADERS, 1) + frame(DATA, b"abc", END_STREAM, 1)
        )
        assert outcome(exchange) in (0, 400)
    is_served(httpd)
    assert not httpd.log.find("started bad", since)


# ---- floods: httpd's own limits hold, and the group stays free


def rapid_reset(exchange: http2.Exchange) -> None:
    exchange.begin("GET", "/leaving/work?flood", [], ended=True)
    exchange.connection.reset_stream(exchange.stream)


def reset_upload(exchange: http2.Exchange) -> None:
    exchange.begin("POST", "/leaving/upload?flood", [])
    exchange.connection.send_data(exchange.stream, b"u")
    exchange.connection.reset_stream(exchange.stream)


def raw(data: bytes, first: bytes = b"") -> Callable[[http2.Exchange], None]:
    """Sends these frames a hundred times; `first` once, before them."""

    def send(exchange: http2.Exchange) -> None:
        before, exchange.stream = exchange.stream, 1
        exchange.socket.sendall((first if before < 0 else b"") + data * 100)

    return send


HEAD = hpack.Encoder().encode((PSEUDO | {":path": "/leaving/upload?flood"}).items())
LARGE = hpack.Encoder().encode([("x-large", "y" * 4000)], huffman=False)
FLOODS = {
    "rapid resets": (3000, rapid_reset),
    "rapid resets of uploads": (3000, reset_upload),
    "pings": (300, raw(frame(PING, b"12345678"))),
    "settings": (300, raw(frame(SETTINGS))),
    "priorities": (300, raw(frame(PRIORITY, struct.pack(">IB", 0, 1), stream=3))),
    "windows": (300, raw(frame(WINDOW_UPDATE, struct.pack(">I", 1)))),
    "empty data": (
        300,
        raw(frame(DATA, stream=1), first=frame(HEADERS, HEAD, END_HEADERS, 1)),
    ),
    "continuations": (
        300,
        raw(frame(CONTINUATION, LARGE, stream=1), first=frame(HEADERS, HEAD, 0, 1)),
    ),
}


def flood(exchange: http2.Exchange, count: int, send: Callable[[http2.Exchange], None]) -> None:
    """Until all is sent, or the server ends the connection or reads no more."""
    try:
        exchange.flush()
        for _ in range(count):
            send(exchange)
            exchange.flush()
    except (OSError, h2.exceptions.ProtocolError):
        pass


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_stops_nobody_else_and_takes_no_memory(httpd, kind):
    since, children, daemons = httpd.log.mark(), httpd.children(), httpd.daemons()
    before = resident(httpd)
    exchanges = [http2.Exchange(httpd.ports["PORT"], timeout=5) for _ in range(4)]
    floods = [threading.Thread(target=flood, args=(one, *FLOODS[kind])) for one in exchanges]
    with httpd.log.allows("WSGID03.*flood", "Traceback", "InputLost", "AH03", "AH1"):
        for thread in floods:
            thread.start()
        while any(thread.is_alive() for thread in floods):
            is_served(httpd)
        assert resident(httpd) < before + 50_000
        for exchange in exchanges:
            exchange.socket.close()
        is_served(httpd)
        assert (httpd.children(), httpd.daemons()) == (children, daemons)
        wait_until(lambda: not running(httpd, since), "the end of the flood's requests")


def resident(httpd) -> int:
    """Of all children of httpd, in kB."""
    return sum(int(processes.status(pid)["VmRSS"].split()[0]) for pid in httpd.children())


def running(httpd, since: int) -> int:
    """How many of the flood's requests have begun and not ended."""
    begun = len(httpd.log.find("started flood", since))
    return begun - len(httpd.log.find("(noticed|finished|read|lost) flood", since))
