"""Random conversations with the transport. tests/wire/conversation.py and the codec in Python are
the oracle: from the same bytes, the transport in C must read the same requests and bodies and find
the same violations.
"""

from __future__ import annotations

import fcntl
import os
import queue
import socket
import struct
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from daemonenv import Client
from hypothesis import example, given, settings, strategies as st
from transportenv import LocalTransport
from wire.conversation import Connection, Parser

from pywsgid.wire import protocol

EFFORT = int(os.environ.get("WSGID_FUZZ", "1"))
GRANT = 1000  # body bytes that the worker grants httpd at a time
ENVIRON = protocol.encode_environ({"REQUEST_METHOD": "POST", "REQUEST_URI": "/"})
HEAD = protocol.encode_head("200 OK", [])
PATTERN = bytes(range(256)) * 8


class Serving:
    """A worker that echoes bodies. `violations` holds the violations that it logged."""

    def __init__(self, directory) -> None:
        self.violations: queue.Queue[str] = queue.Queue()
        log = SimpleNamespace(group="site", write=lambda level, text: self.violations.put(text))
        self.local = LocalTransport(directory, log)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while self.local.next():
            exchange = self.local.exchange
            try:
                body = exchange.body + b"".join(iter(self._receive, b""))
                exchange.finish(protocol.encode_response(HEAD, body, True), True)
            except protocol.ProtocolError as error:
                self.local.transport.report_violation(error)
                exchange.drop()
            except OSError:
                exchange.drop()

    def _receive(self) -> bytes:
        exchange = self.local.exchange
        if not exchange.complete and not exchange.credit:
            exchange.grant(GRANT)
        return exchange.receive()

    def close(self) -> None:
        self.local.transport.drain()
        self.thread.join(5)
        assert not self.thread.is_alive()


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    serving = Serving(tmp_path_factory.mktemp("transport"))
    yield serving
    serving.close()


@dataclass
class Expected:
    """The oracle's reading of the bytes: a body, complete or not, or a violation."""

    body: bytes = b""
    has_begun: bool = False
    is_complete: bool = False
    violation: protocol.RemoteProtocolError | None = None


def expect(data: bytes) -> Expected:
    """Reads the bytes as the worker above does, which grants more when no credit is left."""
    expected = Expected()
    connection = Connection(protocol.FROM_DAEMON)
    try:
        for kind, flags, payload in Parser(protocol.FROM_HTTPD).feed(data):
            connection.received(kind, flags, len(payload))
            if kind == protocol.REQUEST:
                expected.has_begun = True
                connection.sent(protocol.STARTED)
                payload = protocol.parse_request(payload)[4]
            expected.body += payload
            expected.is_complete = bool(flags & protocol.END)
            if not expected.is_complete and not connection.credit:
                connection.sent(protocol.CREDIT, 0, GRANT)
    except protocol.RemoteProtocolError as error:
        expected.violation = error
    return expected


def frame(kind: int, flags: int, payload: bytes, reserved: int = 0, length: int = -1) -> bytes:
    """A frame, possibly an invalid one. `length` is the payload's by default."""
    length = len(payload) if length < 0 else length
    return struct.pack("<BBHI", kind, flags, reserved, length) + payload


def request_of(body: bytes, flags: int) -> bytes:
    return b"".join(protocol.encode_request(1, ENVIRON, body, flags))


requests = st.builds(request_of, st.binary(max_size=300), st.sampled_from([0, 0, 0, protocol.END]))
bodies = st.builds(
    frame,
    st.just(protocol.BODY),
    st.sampled_from([0, 0, 0, protocol.END]),
    st.integers(0, 700).map(lambda size: PATTERN[:size]),
)
wrong = st.builds(
    frame,
    st.sampled_from([*protocol.FRAMES, 0, 0x7F, 0xFF]),
    st.integers(0, 255) | st.sampled_from([0, protocol.END]),
    st.binary(max_size=40),
    st.sampled_from([0, 0, 1, 0xFFFF]),
    st.sampled_from([-1, -1, 0, 2**20, 2**31, 2**32 - 1]),
)
chunk_sizes = st.lists(st.integers(1, 400), min_size=1, max_size=20)


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """The data in pieces of these sizes, repeated as needed."""
    at = number = 0
    while at < len(data):
        size = sizes[number % len(sizes)]
        yield data[at : at + size]
        at, number = at + size, number + 1


def up_to_the_end(frames: list[bytes]) -> list[bytes]:
    """The frames up to the first one that ends a request or violates the protocol: httpd sends
    nothing more before it has the response. Nothing follows an opening that is not a request.
    """
    for number in range(1, len(frames)):
        expected = expect(b"".join(frames[:number]))
        if not expected.has_begun or expected.is_complete or expected.violation:
            return frames[:number]
    return frames


def send_apart(client: Client, data: bytes, sizes: list[int]) -> None:
    """Sends the data in pieces, each when the transport has received the one before."""
    for piece in cut(data, sizes):
        client.send(piece)
        deadline = time.monotonic() + 5
        while unread(client.socket):
            assert time.monotonic() < deadline
            os.sched_yield()


def unread(sock: socket.socket) -> int:
    """How much of what has been sent on a UNIX socket nobody has received."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0]


def converse(serving: Serving, frames: list[bytes], sizes: list[int]) -> bytes | None:
    """Sends the frames, then closes the sending end if they are not a whole request. Returns the
    body of the response, or None if there was none.
    """
    opening, rest = frames[0], b"".join(frames[1:])
    client = serving.local.connect()
    try:
        send_apart(client, opening, sizes)
        if rest:  # BODY needs credit first
            assert client.frame()[0] == protocol.CREDIT
        send_apart(client, rest, sizes)
        expected = expect(opening + rest)
        if not expected.is_complete and not expected.violation:
            client.socket.shutdown(socket.SHUT_WR)
        reply = client.reply()
        return reply.body if reply.complete else None
    except ConnectionError:
        return None  # closed before our bytes were read
    finally:
        client.close()


LARGEST = frame(protocol.BODY, 0, PATTERN[:GRANT])
# The first piece of it that arrives ends in the middle of the second header.
CUT_HEADER = [frame(protocol.BODY, 0, b"x" * 50), frame(protocol.BODY, protocol.END, b"y" * 51)]
OPEN = request_of(b"", 0)


@settings(max_examples=100 * EFFORT, deadline=None)
@given(
    requests | bodies | wrong,
    st.lists(bodies | bodies | wrong | requests, max_size=6),
    chunk_sizes,
)
@example(OPEN, [LARGEST, frame(protocol.BODY, protocol.END, bytes(GRANT))], [1])
@example(OPEN, [frame(protocol.BODY, 0, bytes(GRANT + 1))], [400])
@example(OPEN, [frame(protocol.BODY, 0, b"x", length=700)], [3])
@example(OPEN, [LARGEST, OPEN], [3])
@example(OPEN, CUT_HEADER, [64])
@example(b"\x01", [], [1])
def test_the_transport_reads_what_the_oracle_reads(serving, opening, rest, sizes):
    frames = up_to_the_end([opening, *rest])
    expected = expect(b"".join(frames))
    body = converse(serving, frames, sizes)
    assert body == (expected.body if expected.is_complete else None)
    if expected.violation is not None:
        line = serving.violations.get(timeout=5)
        assert line.startswith("WSGID0321: ")
        assert protocol.ERROR_TEXT[expected.violation.error] in line
    assert serving.violations.empty()


@settings(max_examples=10 * EFFORT, deadline=None)
@given(
    st.lists(st.tuples(st.binary(max_size=60_000), st.integers(0, 100_000)), min_size=1, max_size=4)
)
def test_one_connection_carries_request_after_request(serving, sizes):
    """Bodies of any size, each complete before the next request."""
    client = serving.local.connect()
    for start, rest in sizes:
        body = os.urandom(rest)
        client.request("", start, end=not body)
        for at in range(0, len(body), GRANT):
            assert client.frame()[0] == protocol.CREDIT
            piece = body[at : at + GRANT]
            client.send(*protocol.encode_body(piece, end=at + GRANT >= len(body)))
        reply = client.reply()
        assert reply.complete
        assert reply.body == start + body
    client.close()
    assert serving.violations.empty()
