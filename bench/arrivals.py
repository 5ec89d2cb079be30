"""Clients that arrive whether or not earlier ones have been served: what wrk cannot do, as each of
its connections waits for an answer before it sends the next request.

Each client opens a connection, sends one request, and leaves when it has the answer, or after
LEAVES seconds without one.
"""

from __future__ import annotations

import random
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.clients import HOST, get_request

LEAVES = 30.0
POLL = 0.02  # seconds
NO_ANSWER = 0


@dataclass
class Client:
    """Times are seconds since the first client could arrive. `status` is NO_ANSWER until it has
    one.
    """

    arrived: float
    ended: float = 0.0
    status: int = NO_ANSWER
    answer: bytes = b""

    @property
    def took(self) -> float:
        return self.ended - self.arrived


def evenly_random(rate: float, seconds: float) -> Iterator[float]:
    """When clients arrive: so many a second on average, independent of each other (a Poisson
    process). The same times at each call.
    """
    chance = random.Random(1)
    at = chance.expovariate(rate)
    while at < seconds:
        yield at
        at += chance.expovariate(rate)


def at_once(count: int) -> Iterator[float]:
    return iter([0.0] * count)


class Arrivals:
    """Runs the clients; run() returns all of them."""

    def __init__(self, port: int, target: str) -> None:
        self._address = (HOST, port)
        self._request = get_request(target, close=True)
        self._selector = selectors.DefaultSelector()
        self._clients: list[Client] = []
        self._begun = 0.0

    def run(self, times: Iterator[float]) -> list[Client]:
        self._begun = time.monotonic()
        try:
            following = next(times, None)
            while following is not None or self._selector.get_map():
                while following is not None and following <= self._now():
                    self._arrive(following)
                    following = next(times, None)
                self._advance(POLL if following is None else following - self._now())
        finally:
            for key in list(self._selector.get_map().values()):
                key.fileobj.close()
            self._selector.close()
        return self._clients

    def _now(self) -> float:
        return time.monotonic() - self._begun

    def _arrive(self, at: float) -> None:
        client = Client(at)
        self._clients.append(client)
        connection = socket.socket()
        connection.setblocking(False)
        try:
            connection.connect(self._address)
        except BlockingIOError:
            pass
        self._selector.register(connection, selectors.EVENT_WRITE, client)

    def _advance(self, wait: float) -> None:
        for key, events in self._selector.select(min(max(wait, 0), POLL)):
            if events & selectors.EVENT_WRITE:
                self._send(key)
            else:
                self._receive(key)
        self._give_up()

    def _send(self, key: selectors.SelectorKey) -> None:
        try:
            key.fileobj.send(self._request)
            self._selector.modify(key.fileobj, selectors.EVENT_READ, key.data)
        except OSError:
            self._leave(key)

    def _receive(self, key: selectors.SelectorKey) -> None:
        try:
            came = key.fileobj.recv(65536)
        except OSError:
            came = b""
        key.data.answer += came
        if not came:
            self._leave(key)

    def _leave(self, key: selectors.SelectorKey) -> None:
        client = key.data
        client.ended = self._now()
        status = client.answer[9:12]  # behind "HTTP/1.1 "
        client.status = int(status) if status.isdigit() else NO_ANSWER
        self._selector.unregister(key.fileobj)
        key.fileobj.close()

    def _give_up(self) -> None:
        """Of those who have waited too long. The map is in order of arrival."""
        latest = self._now() - LEAVES
        late = []
        for key in self._selector.get_map().values():
            if key.data.arrived > latest:
                break
            late.append(key)
        for key in late:
            self._leave(key)
