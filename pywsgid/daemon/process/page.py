"""The statistics page (process_abi.h): memory in which this process publishes its state and its
counters for httpd.

Rules: httpd distrusts what it reads there, so a torn value does no harm; counters are exact all the
same. What is measured for each request is written by C: pywsgid/native/measure.c.
"""

from __future__ import annotations

import mmap
import struct
import sys

from pywsgid.daemon.system import _thread, os, time
from pywsgid.wire import process_abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_STATE = struct.Struct("<I")
_COUNT = struct.Struct("<Q")
_COUNTS = struct.Struct("<QQ")
_IDENTITY = struct.Struct("<QII%ds" % process_abi.PAGE_PYTHON)  # since, threads, at once, python
_TIMES = struct.Struct("<%dQ" % process_abi.PAGE_BUCKETS)
SHORT_BUCKETS = 12  # of the queue times: up to PAGE_FIRST << 11, 66 ms
_SHORT_TIMES = struct.Struct("<%dQ" % SHORT_BUCKETS)


def map_page(descriptor: int, offset: int = 0) -> mmap.mmap:
    """Maps the page at `offset` of what httpd's parent has made; closes the descriptor. OSError as
    of mmap(2).
    """
    if sys.version_info >= (3, 13):
        memory = mmap.mmap(descriptor, process_abi.PAGE_SIZE, trackfd=False, offset=offset)
        os.close(descriptor)
        return memory
    # Older Pythons keep a duplicate of the descriptor. It gets the number of the original, which is
    # the lowest free one, so that the process has no descriptor more than the others.
    aside = os.dup(descriptor)
    os.close(descriptor)
    try:
        return mmap.mmap(aside, process_abi.PAGE_SIZE, offset=offset)
    finally:
        os.close(aside)


class Page:
    """`memory` is a writable buffer of PAGE_SIZE bytes. The transport counts requests there."""

    def __init__(self, memory: mmap.mmap | bytearray, threads: int) -> None:
        self.memory = memory
        self._lock = _thread.allocate_lock()
        self._replacement_requests = 0
        self._scripts: set[bytes] = set()
        self._scripts_end = process_abi.PAGE_SCRIPTS
        python = sys.version.split()[0].encode("ascii", "replace")[: process_abi.PAGE_PYTHON - 1]
        _IDENTITY.pack_into(memory, process_abi.PAGE_SINCE_AT, _now(), threads, 0, python)
        _STATE.pack_into(memory, 0, process_abi.PAGE_VERSION)
        self.set_state(process_abi.STATE_BOOTING)

    def set_state(self, state: int) -> None:
        """`state` is a process_abi.PAGE_."""
        _STATE.pack_into(self.memory, process_abi.PAGE_STATE_AT, state)

    def error(self) -> None:
        """Counts a request that mod_wsgid, and not the application, answers with an error."""
        with self._lock:
            (errors,) = _COUNT.unpack_from(self.memory, process_abi.PAGE_ERRORS_AT)
            _COUNT.pack_into(self.memory, process_abi.PAGE_ERRORS_AT, errors + 1)

    def measured(self) -> dict[str, Any]:
        """How many requests run at once at most, the number of errors, and the histograms of the
        time that requests spent in the queue and in the application.
        """
        (errors,) = _COUNT.unpack_from(self.memory, process_abi.PAGE_ERRORS_AT)
        queue, application = (
            _TIMES.unpack_from(self.memory, at)
            for at in (process_abi.PAGE_QUEUE_TIMES_AT, process_abi.PAGE_APPLICATION_TIMES_AT)
        )
        (at_once,) = _STATE.unpack_from(self.memory, process_abi.PAGE_AT_ONCE_AT)
        return {
            "at_once": at_once,
            "errors": errors,
            "queue_times": queue,
            "application_times": application,
        }

    def short_waits(self) -> int:
        """How many requests have waited for a thread for less than some tens of milliseconds."""
        return sum(_SHORT_TIMES.unpack_from(self.memory, process_abi.PAGE_QUEUE_TIMES_AT))

    def served(self) -> tuple[int, float]:
        """How many requests have finished, and how many seconds they took altogether."""
        (finished,) = _COUNT.unpack_from(self.memory, process_abi.PAGE_REQUESTS_FINISHED_AT)
        (spent,) = _COUNT.unpack_from(self.memory, process_abi.PAGE_APPLICATION_TIME_AT)
        return finished, spent / 1000000

    def counts(self) -> tuple[int, int]:
        """How many requests have been started, and how many of them have finished."""
        started, finished = _COUNTS.unpack_from(self.memory, process_abi.PAGE_REQUESTS_STARTED_AT)
        return started, finished

    def forget(self) -> None:
        """For a forked child, which must not change its parent's page."""
        self.memory = bytearray(process_abi.PAGE_SIZE)
        self._lock = _thread.allocate_lock()

    def loaded(self, callable_name: str, path: str) -> None:
        """Notes a script that is loaded, as a replacement must be able to load it, too. Without
        room for it, it is left out.
        """
        entry = b"%s:%s\0" % (
            callable_name.encode("utf-8", "surrogateescape"),
            path.encode("utf-8", "surrogateescape"),
        )
        with self._lock:
            if (
                entry not in self._scripts
                and self._scripts_end + len(entry) < process_abi.PAGE_SCRIPTS_END
            ):
                self.memory[self._scripts_end : self._scripts_end + len(entry)] = entry
                self._scripts_end += len(entry)
                self._scripts.add(entry)

    def watchdog(self, at: float) -> None:
        """Notes when the watchdog will end the process (time.monotonic()), so that httpd can log
        the reason.
        """
        _COUNT.pack_into(self.memory, process_abi.PAGE_WATCHDOG_AT, int(at * 1000))

    def request_replacement(self, reason: int, change: int = 0) -> None:
        """Notes that the process asks to be replaced: `reason` is a process_abi.REPLACE_. httpd
        looks when the wake-up pipe says so.
        """
        with self._lock:
            self._replacement_requests += 1
            _STATE.pack_into(self.memory, process_abi.PAGE_REPLACEMENT_REASON_AT, reason)
            _COUNT.pack_into(self.memory, process_abi.PAGE_CHANGE_AT, change)
            _STATE.pack_into(
                self.memory, process_abi.PAGE_REPLACEMENT_REQUESTS_AT, self._replacement_requests
            )


def _now() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000
