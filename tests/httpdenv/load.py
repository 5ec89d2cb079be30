"""Constant load on keep-alive connections, from a strict client that reads each answer whole and
compares it.

    with Load(httpd, "/path", connections=16) as load:
        httpd.graceful()
    load.assert_nothing_lost()

A request counts as lost if its connection is reset, if the connection ends before the whole answer
has arrived, if the status is not 200, or if the answer belongs to another request. HTTP itself
allows one exception (RFC 9112, 9.5): the server may close an idle connection with a FIN, and the
client notices when it wants to send the next request. The client then sends that request on a new
connection, as every HTTP client does, and counts it in `reconnects`.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time

from httpdenv.server import Httpd
from httpdenv.waiting import wait_until

LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
CLOSES = re.compile(rb"\r\nconnection: close\r\n", re.IGNORECASE)
LIMIT = 60.0  # seconds that one answer may take


class Lost(Exception):
    """The request was lost: its answer is missing, incomplete or wrong."""


class Connection:
    """One keep-alive connection of the load, in a thread of its own."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._number = number
        self._socket: socket.socket | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        count = 0
        while not self._load.over.is_set():
            count += 1
            began = time.monotonic()
            try:
                self._request(f"{self._load.name}{self._number}.{count}")
            except (OSError, Lost) as error:
                self._load.lost.append(
                    f"request {self._load.name}{self._number}.{count}: {error!r}"
                )
                self._close()
            self._load.took.append((began, time.monotonic() - began))
        self._close()

    def _request(self, name: str) -> None:
        fresh = self._socket is None
        answer = self._ask(name)
        if answer is None and not fresh:
            self._load.reconnects.append(name)
            self._close()
            answer = self._ask(name)
        if answer is None:
            raise Lost("the connection was closed without an answer")
        head, body = answer
        if not head.startswith(b"HTTP/1.1 200 "):
            raise Lost(f"answered with {head[:60]!r}")
        if not body.startswith(name.encode("ascii") + b"\n"):
            raise Lost(f"the answer of another request: {body[:60]!r}")
        self._load.bodies.append(body)
        if CLOSES.search(head):
            self._close()

    def _ask(self, name: str) -> tuple[bytes, bytes] | None:
        """Head and body; None if the connection was closed before their first byte."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._load.port), timeout=LIMIT)
        path = f"{self._load.path}{'&' if '?' in self._load.path else '?'}{name}"
        try:
            self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode("ascii"))
        except (BrokenPipeError, ConnectionResetError):
            self._load.resets.append(name)
            return None
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self._receive(name, data)
            if not piece:
                return None
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        length = LENGTH.search(head + b"\r\n")
        if length is None:
            raise Lost(f"no Content-Length: {head!r}")
        while len(body) < int(length[1]):
            piece = self._receive(name, data)
            if not piece:
                raise Lost(f"the answer ends after {len(body)} of {int(length[1])} bytes")
            body += piece
        return head + b"\r\n", body

    def _receive(self, name: str, before: bytes) -> bytes:
        """Receives. A reset before the first byte of an answer is recorded, and the request is sent
        again: the test decides whether it counts as a loss.
        """
        assert self._socket is not None
        try:
            return self._socket.recv(65536)
        except ConnectionResetError:
            if before:
                raise
            self._load.resets.append(name)
            return b""

    def _close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
        self._socket = None


class Load:
    """`connections` connections that request `path` without a pause until the with statement ends.

    The application's answer has to begin with the query and a line feed (tests/apps/counted.wsgi).
    `took` has a pair (begin, duration) for each request, both in seconds; `bodies` holds the
    answers. `name` is the prefix of the requests' names.
    """

    def __init__(self, httpd: Httpd, path: str, connections: int = 16, name: str = "") -> None:
        self.port, self.path, self.name = httpd.ports["PORT"], path, name
        self.over = threading.Event()
        self.lost: list[str] = []
        self.reconnects: list[str] = []
        self.resets: list[str] = []
        self.bodies: list[bytes] = []
        self.took: list[tuple[float, float]] = []
        self._connections = [Connection(self, number) for number in range(connections)]

    def __enter__(self) -> Load:
        for connection in self._connections:
            connection.thread.start()
        self.wait_for_more(len(self._connections))
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for connection in self._connections:
            connection.thread.join(LIMIT)

    def wait_for_more(self, count: int = 50) -> None:
        """Waits until `count` further requests have been answered."""
        target = len(self.bodies) + count
        wait_until(
            lambda: len(self.bodies) >= target,
            lambda: f"{count} more answers; lost: {self.lost[:5]}",
            30.0,
        )

    def longest_pause(self) -> float:
        """The longest time in which no request at all was answered."""
        ends = sorted(begin + duration for begin, duration in self.took)
        return max((later - earlier for earlier, later in zip(ends, ends[1:])), default=0.0)

    def assert_nothing_lost(self) -> None:
        assert self.lost == [], self.lost[:5]
        assert self.resets == []
        assert len(self.bodies) == len(self.took)
