"""Clients of our own, on raw sockets, for what wrk does not do: large bodies, and a burst of
simultaneous requests.

They check the answers, so that a server is not fast by being wrong: status 200, and at least the
requested number of bytes.
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from dataclasses import dataclass

HOST = "127.0.0.1"
# Large enough that the client's own system calls do not matter: at 5 GB/s it makes 5,000 of them
# per second.
CHUNK = 1 << 20
# A server that sends nothing for this long has failed.
SILENCE = 20.0
HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
LAST_CHUNK = b"0\r\n\r\n"


class BadAnswer(RuntimeError):
    """The status is not 200, or the answer is incomplete."""


@dataclass(frozen=True)
class Transfer:
    """Payload bytes and the seconds they took. Received bytes include the framing of chunks, sent
    bytes do not.
    """

    size: int
    seconds: float


def get_request(target: str, close: bool = False) -> bytes:
    connection = "Connection: close\r\n" if close else ""
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{connection}\r\n".encode()


def download(port: int, target: str, at_least: int) -> Transfer:
    """Sends a GET on a connection of its own and reads until the server closes it."""
    with _connect(port) as sock:
        begun = time.perf_counter()
        sock.sendall(get_request(target, close=True))
        size, tail, head = _drain(sock)
        seconds = time.perf_counter() - begun
    _check(head, size >= at_least, f"{size} of {at_least} bytes")
    if b"chunked" in head.split(HEAD_END)[0].lower():
        _check(head, tail.endswith(LAST_CHUNK), "no last chunk")
    return Transfer(size, seconds)


def upload(port: int, target: str, size: int) -> Transfer:
    """Posts `size` bytes; the application answers with the number of bytes it has read."""
    block = memoryview(bytes(CHUNK))
    with _connect(port) as sock:
        begun = time.perf_counter()
        head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
        sock.sendall(head.encode())
        for start in range(0, size, CHUNK):
            sock.sendall(block[: size - start])
        _, tail, answer = _drain(sock)
        seconds = time.perf_counter() - begun
    _check(
        answer,
        tail.endswith(b"%d" % size),
        f"the application has read {tail[-20:]!r} of {size} bytes",
    )
    return Transfer(size, seconds)


def burst(port: int, target: str, count: int) -> float:
    """Sends `count` requests at the same time on as many open connections; returns the milliseconds
    until the last answer.

    The answers need a Content-Length, as those of sleep.py have.
    """
    sockets = [_connect(port) for _ in range(count)]
    try:
        for sock in sockets:  # accepted, and known to a worker, before the measurement starts
            sock.sendall(get_request(target.partition("?")[0]))
        _wait_for_all(sockets)
        begun = time.perf_counter()
        for sock in sockets:
            sock.sendall(get_request(target))
        _wait_for_all(sockets)
        return (time.perf_counter() - begun) * 1000
    finally:
        for sock in sockets:
            sock.close()


def is_up(port: int, target: str) -> bool:
    """Whether a request is answered with 200; any other answer, or none, is not an error."""
    try:
        with _connect(port) as sock:
            sock.sendall(get_request(target, close=True))
            return _is_ok(sock.recv(CHUNK))
    except OSError:
        return False


def _connect(port: int) -> socket.socket:
    sock = socket.create_connection((HOST, port), SILENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _drain(sock: socket.socket) -> tuple[int, bytes, bytes]:
    """The size of the body as sent, the end of the data, and its beginning including the whole
    head.
    """
    buffer = bytearray(CHUNK)
    view, total, head, tail = memoryview(buffer), 0, b"", b""
    while count := sock.recv_into(buffer):
        if HEAD_END not in head:
            head += bytes(view[:count])
        total += count
        tail = (tail + bytes(view[max(0, count - 32) : count]))[-32:]
    return total - len(head.partition(HEAD_END)[0]) - len(HEAD_END), tail, head


def _wait_for_all(sockets: list[socket.socket]) -> None:
    """Waits for one complete answer from each."""
    with selectors.DefaultSelector() as waiting:
        for sock in sockets:
            waiting.register(sock, selectors.EVENT_READ, bytearray())
        while waiting.get_map():
            ready = waiting.select(SILENCE)
            if not ready:
                raise BadAnswer(
                    f"{len(waiting.get_map())} requests without an answer after {SILENCE:g} s"
                )
            for key, _ in ready:
                if _take(key.fileobj, key.data):
                    waiting.unregister(key.fileobj)


def _take(sock: socket.socket, answer: bytearray) -> bool:
    """Adds the data that has arrived; returns whether the answer is complete."""
    came = sock.recv(CHUNK)
    answer += came
    _check(bytes(answer), bool(came), "closed in the middle of an answer")
    head, end, body = bytes(answer).partition(HEAD_END)
    return bool(end) and len(body) >= int(LENGTH.search(head)[1])


def _is_ok(head: bytes) -> bool:
    return head.startswith(b"HTTP/1.1 200")


def _check(head: bytes, complete: bool, what: str) -> None:
    if not _is_ok(head):
        raise BadAnswer(f"not a 200: {head[:60]!r}")
    if not complete:
        raise BadAnswer(what)
