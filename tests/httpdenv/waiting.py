"""Waiting for a predicate, with a limit: what tests do in the place of a sleep.

Those that sleep all the same look at what does not happen meanwhile, or let a limit of the
application's pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Short beside what is waited for (httpd starts in 15 ms), long enough not to burn the CPU that the
# servers need.
INTERVAL = 0.01


def wait_until(
    predicate: Callable[[], T], what: str | Callable[[], str], timeout: float = 15.0
) -> T:
    """The first true value of `predicate`; AssertionError naming `what` after `timeout` seconds
    without one.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(
                f"waited {timeout} s in vain for {what() if callable(what) else what}"
            )
        time.sleep(INTERVAL)
