"""The statistics page (process_abi.h): what this process tells httpd without being asked.

Rules: httpd takes it as hostile input, so a torn value does no harm; counts are exact all the same.
What is measured of each request is written by C: pywsgid/native/measure.c.
"""

import mmap
import os
import struct
import sys
import threading
import time

from pywsgid.wire import process_abi

_STATE = struct.Struct("<I")
_COUNT = struct.Struct("<Q")
_COUNTS = struct.Struct("<QQ")
_IDENTITY = struct.Struct("<QII%ds" % process_abi.PAGE_PYTHON)  # since, threads, reserved, python
_TIMES = struct.Struct("<%dQ" % process_abi.PAGE_BUCKETS)


def map_page(descriptor):
    """Maps the page that the parent made. Its descriptor is not needed any more."""
    if sys.version_info >= (3, 13):
        memory = mmap.mmap(descriptor, process_abi.PAGE_SIZE, trackfd=False)
        os.close(descriptor)
        return memory
    # Older ones keep a duplicate: it is to land where the original was, the lowest free number, so
    # that none is added.
    aside = os.dup(descriptor)
    os.close(descriptor)
    try:
        return mmap.mmap(aside, process_abi.PAGE_SIZE)
    finally:
        os.close(aside)


class Page:
    """`memory` is a writable buffer of PAGE_SIZE bytes."""

    def __init__(self, memory, threads):
        self.memory = memory
        self._lock = threading.Lock()
        self._replacement_requests = 0
        self._scripts = set()
        self._scripts_end = process_abi.PAGE_SCRIPTS
        python = sys.version.split()[0].encode("ascii", "replace")[: process_abi.PAGE_PYTHON - 1]
        _IDENTITY.pack_into(memory, process_abi.PAGE_SINCE_AT, _now(), threads, 0, python)
        _STATE.pack_into(memory, 0, process_abi.PAGE_VERSION)
        self.set_state(process_abi.PAGE_BOOTING)

    def set_state(self, state):
        _STATE.pack_into(self.memory, process_abi.PAGE_STATE_AT, state)

    def error(self):
        """Counts a request that is answered with an error of our own."""
        with self._lock:
            (errors,) = _COUNT.unpack_from(self.memory, process_abi.PAGE_ERRORS_AT)
            _COUNT.pack_into(self.memory, process_abi.PAGE_ERRORS_AT, errors + 1)

    def measured(self):
        """How many errors, and the histograms of the time in the queue and of the application's."""
        (errors,) = _COUNT.unpack_from(self.memory, process_abi.PAGE_ERRORS_AT)
        queue, application = (
            _TIMES.unpack_from(self.memory, at)
            for at in (process_abi.PAGE_QUEUE_TIMES_AT, process_abi.PAGE_APPLICATION_TIMES_AT)
        )
        return {"errors": errors, "queue_times": queue, "application_times": application}

    def counts(self):
        """How many requests have been started, and how many of them are done."""
        return _COUNTS.unpack_from(self.memory, process_abi.PAGE_REQUESTS_STARTED_AT)

    def forget(self):
        """In a forked child: what the page tells is its parent's."""
        self.memory = bytearray(process_abi.PAGE_SIZE)
        self._lock = threading.Lock()

    def loaded(self, callable, path):
        """Notes a script that is loaded: a successor must be able to load it, too. What does not
        fit is not noted.
        """
        entry = b"%s:%s\0" % (
            callable.encode("utf-8", "surrogateescape"),
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

    def watchdog(self, at):
        """Notes when the process is ended by its deadlock watchdog (monotonic), so that httpd can
        tell why it was.
        """
        _COUNT.pack_into(self.memory, process_abi.PAGE_WATCHDOG_AT, int(at * 1000))

    def request_replacement(self, reason, change=0):
        """Notes that a successor is wished for, `reason` a process_abi.WISH_; the wake-up pipe then has
        httpd look here.
        """
        with self._lock:
            self._replacement_requests += 1
            _STATE.pack_into(self.memory, process_abi.PAGE_REPLACEMENT_REASON_AT, reason)
            _COUNT.pack_into(self.memory, process_abi.PAGE_CHANGE_AT, change)
            _STATE.pack_into(
                self.memory, process_abi.PAGE_REPLACEMENT_REQUESTS_AT, self._replacement_requests
            )


def _now():
    return time.time_ns() // 1000
