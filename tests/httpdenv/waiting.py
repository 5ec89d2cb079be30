"""Waiting for a predicate, with a limit: tests use this in place of a sleep.

The few tests that sleep nevertheless check what does not happen meanwhile, or let a limit of the
application pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Short compared with what tests wait for (httpd starts in 15 ms), and long enough not to take the
# CPU that the servers need.
INTERVAL = 0.01


def wait_until(
    predicate: Callable[[], T], what: str | Callable[[], str], timeout: float = 15.0
) -> T:
    """Returns the first true value of `predicate`. Raises AssertionError naming `what` after
    `timeout` seconds without one.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(
                f"waited {timeout} s for {what() if callable(what) else what}: it did not happen"
            )
        time.sleep(INTERVAL)
