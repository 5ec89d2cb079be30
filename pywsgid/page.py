"""The statistics page (handover.h): what this process tells httpd without being asked.

Rules: httpd takes it as hostile input, so a torn value does no harm; counts are exact all the same.
"""

import mmap
import os
import struct
import sys
import threading

from . import handover

_STATE = struct.Struct("<I")
_COUNT = struct.Struct("<Q")
_COUNTS = struct.Struct("<QQ")
_STATE_AT = 4
_STARTED_AT = 8
_FINISHED_AT = 16
_WISHES_AT = 24
_WISH_AT = 28
_WATCHDOG_AT = 32
_CHANGE_AT = 40


def map_page(descriptor):
    """Maps the page that the parent made. Its descriptor is not needed any more."""
    if sys.version_info >= (3, 13):
        memory = mmap.mmap(descriptor, handover.PAGE_SIZE, trackfd=False)
        os.close(descriptor)
        return memory
    # Older ones keep a duplicate: it is to land where the original was, the lowest free number, so that none is added.
    aside = os.dup(descriptor)
    os.close(descriptor)
    try:
        return mmap.mmap(aside, handover.PAGE_SIZE)
    finally:
        os.close(aside)


class Page:
    """`memory` is a writable buffer of PAGE_SIZE bytes. The transport counts requests; that in C does so by itself."""

    def __init__(self, memory):
        self.memory = memory
        self._lock = threading.Lock()
        self._started = 0
        self._finished = 0
        self._wishes = 0
        self._scripts = set()
        self._scripts_end = handover.PAGE_SCRIPTS
        _STATE.pack_into(memory, 0, handover.PAGE_VERSION)
        self.set_state(handover.PAGE_BOOTING)

    def set_state(self, state):
        _STATE.pack_into(self.memory, _STATE_AT, state)

    def request_started(self):
        with self._lock:
            self._started += 1
            _COUNT.pack_into(self.memory, _STARTED_AT, self._started)

    def request_not_started(self):
        """One that was counted too early."""
        with self._lock:
            self._started -= 1
            _COUNT.pack_into(self.memory, _STARTED_AT, self._started)

    def counts(self):
        """How many requests have been started, and how many of them are done."""
        return _COUNTS.unpack_from(self.memory, _STARTED_AT)

    def request_finished(self):
        with self._lock:
            self._finished += 1
            _COUNT.pack_into(self.memory, _FINISHED_AT, self._finished)

    def loaded(self, callable, path):
        """Notes a script that is loaded: a successor must be able to load it, too. What does not fit is not noted."""
        entry = b"%s:%s\0" % (callable.encode("utf-8", "surrogateescape"), path.encode("utf-8", "surrogateescape"))
        with self._lock:
            if entry not in self._scripts and self._scripts_end + len(entry) < handover.PAGE_SCRIPTS_END:
                self.memory[self._scripts_end : self._scripts_end + len(entry)] = entry
                self._scripts_end += len(entry)
                self._scripts.add(entry)

    def watchdog(self, at):
        """Notes when the process is ended by its deadlock watchdog (monotonic), so that httpd can tell why it was."""
        _COUNT.pack_into(self.memory, _WATCHDOG_AT, int(at * 1000))

    def wish(self, reason, change=0):
        """Notes that a successor is wished for, `reason` a handover.WISH_; the bell then has httpd look here."""
        with self._lock:
            self._wishes += 1
            _STATE.pack_into(self.memory, _WISH_AT, reason)
            _COUNT.pack_into(self.memory, _CHANGE_AT, change)
            _STATE.pack_into(self.memory, _WISHES_AT, self._wishes)
