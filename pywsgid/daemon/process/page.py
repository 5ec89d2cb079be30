"""The statistics page (process_abi.h): what this process tells httpd without being asked.

Rules: httpd takes it as hostile input, so a torn value does no harm; counts are exact all the same.
What is measured of each request is written by Row; where the transport is that in C, by its twin,
pywsgid/native/measure.c.
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
_ROW = struct.Struct(process_abi.PAGE_ROW_FORMAT)
_ROWS = (process_abi.PAGE_SIZE - process_abi.PAGE_ROWS) // process_abi.PAGE_ROW_SIZE


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
    """`memory` is a writable buffer of PAGE_SIZE bytes. The transport counts requests; that in C
    does so by itself.
    """

    def __init__(self, memory, threads):
        self.memory = memory
        self._lock = threading.Lock()
        self._rows = 0
        self._replacement_requests = 0
        self._scripts = set()
        self._scripts_end = process_abi.PAGE_SCRIPTS
        python = sys.version.split()[0].encode("ascii", "replace")[: process_abi.PAGE_PYTHON - 1]
        _IDENTITY.pack_into(memory, process_abi.PAGE_SINCE_AT, _now(), threads, 0, python)
        _STATE.pack_into(memory, 0, process_abi.PAGE_VERSION)
        self.set_state(process_abi.PAGE_BOOTING)

    def set_state(self, state):
        _STATE.pack_into(self.memory, process_abi.PAGE_STATE_AT, state)

    def row(self):
        """The Row of the next thread, the first one's first."""
        number = self._rows
        self._rows += 1
        return Row(
            self,
            process_abi.PAGE_ROWS + number * process_abi.PAGE_ROW_SIZE if number < _ROWS else None,
        )

    def add(self, *changes):
        """Adds to counts, each (where, how much); a count never comes to less than 0."""
        memory = self.memory
        with self._lock:
            for at, much in changes:
                _COUNT.pack_into(memory, at, _COUNT.unpack_from(memory, at)[0] + much)

    def error(self):
        """Counts a request that is answered with an error of our own."""
        self.add((process_abi.PAGE_ERRORS_AT, 1))

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


def bucket_of(microseconds):
    """Which bucket of a histogram counts that time."""
    return min(
        max(0, (microseconds // process_abi.PAGE_FIRST).bit_length()), process_abi.PAGE_BUCKETS - 1
    )


class Row:
    """What is measured of the requests of one thread, and what it runs, in the row at `at`; None:
    it has none.
    """

    __slots__ = ("_page", "_at", "_read_at", "_waited")

    def __init__(self, page, at):
        self._page = page
        self._at = at
        self._read_at = 0  # microseconds: when its request had been read; 0: it has none
        self._waited = 0

    def begin(self, sent, line):
        """A request, sent at `sent`, has been read. How long it waited: less than 0 if the clock
        was set back.
        """
        self._read_at = _now()
        waited = self._read_at - sent
        self._waited = max(waited, 0)
        self._page.add(
            (process_abi.PAGE_REQUESTS_STARTED_AT, 1),
            (process_abi.PAGE_QUEUE_TIME_AT, self._waited),
            (process_abi.PAGE_QUEUE_TIMES_AT + 8 * bucket_of(self._waited), 1),
        )
        if self._at is not None:
            memory = self._page.memory
            requests = _COUNTS.unpack_from(memory, self._at)[1] + 1
            _ROW.pack_into(memory, self._at, 0, requests, line)
            _COUNT.pack_into(memory, self._at, self._read_at)  # the line is there for who sees it
        return waited

    def end(self):
        """The thread is free again."""
        if self._read_at:
            lasted = max(_now() - self._read_at, 0)
            self._page.add(
                (process_abi.PAGE_REQUESTS_FINISHED_AT, 1),
                (process_abi.PAGE_APPLICATION_TIME_AT, lasted),
                (process_abi.PAGE_APPLICATION_TIMES_AT + 8 * bucket_of(lasted), 1),
            )
            self._leave()

    def take_back(self):
        """The request was not started after all: it is not measured."""
        if self._read_at:
            self._page.add(
                (process_abi.PAGE_REQUESTS_STARTED_AT, -1),
                (process_abi.PAGE_QUEUE_TIME_AT, -self._waited),
                (process_abi.PAGE_QUEUE_TIMES_AT + 8 * bucket_of(self._waited), -1),
            )
            self._leave(-1)

    def _leave(self, more=0):
        self._read_at = 0
        if self._at is not None:
            memory = self._page.memory
            _COUNTS.pack_into(memory, self._at, 0, _COUNTS.unpack_from(memory, self._at)[1] + more)
