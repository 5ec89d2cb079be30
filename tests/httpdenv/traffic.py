"""Requests that run while a test does something else: many at once, or some that an application
holds until the test releases them.
"""

from __future__ import annotations

import threading

import requests

from httpdenv.server import Httpd
from httpdenv.waiting import wait_until

# Longer than tests/apps/gate.wsgi holds a request.
LIMIT = 40.0


class Crowd:
    """`count` GETs of one path, sent at once; `answers` and `failures` fill up as they arrive."""

    def __init__(self, httpd: Httpd, path: str, count: int = 1) -> None:
        self.answers: list[requests.Response] = []
        self.failures: list[Exception] = []
        self._threads = [
            threading.Thread(target=self._run, args=(httpd, path)) for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, httpd: Httpd, path: str) -> None:
        try:
            self.answers.append(httpd.get(path, timeout=LIMIT))
        except requests.RequestException as error:
            self.failures.append(error)

    def join(self) -> list[requests.Response]:
        """Waits for all answers; AssertionError if a request had none."""
        for thread in self._threads:
            thread.join(LIMIT)
        assert self.failures == []
        return self.answers

    def with_status(self, status: int) -> list[requests.Response]:
        return [answer for answer in self.answers if answer.status_code == status]


class HeldRequests:
    """`count` requests that tests/apps/gate.wsgi, mounted at `mount`, holds in flight until
    release() is called.

    The text of each answer is the pid of the process that ran the request.
    """

    def __init__(self, httpd: Httpd, mount: str, name: str, count: int = 1) -> None:
        self._gate = httpd.files / f"gate-{name}"
        self._crowds: list[Crowd] = []
        since, arrived = httpd.log.mark(), f"at the gate {name}$"
        for number in range(1, count + 1):
            self._crowds.append(Crowd(httpd, f"{mount}{self._gate}?{name}"))
            wait_until(
                lambda n=number: len(httpd.log.find(arrived, since)) >= n,
                f"request {number} at the gate",
            )

    def release(self) -> list[requests.Response]:
        """Releases the requests and returns their answers, in no particular order."""
        self._gate.touch()
        return [answer for crowd in self._crowds for answer in crowd.join()]
