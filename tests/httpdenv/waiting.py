"""Waiting for a predicate, with a limit: the only place where the tests sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Short beside what is waited for (httpd starts in 15 ms), long enough not to burn the CPU that the servers need.
INTERVAL = 0.01


def wait_until(predicate: Callable[[], T], what: str | Callable[[], str], timeout: float = 10.0) -> T:
    """The first true value of `predicate`; AssertionError naming `what` after `timeout` seconds without one."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {timeout} s in vain for {what() if callable(what) else what}")
        time.sleep(INTERVAL)
