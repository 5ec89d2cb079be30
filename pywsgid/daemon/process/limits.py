"""Recycling: a process that has reached one of its limits wishes for a successor. Imported only if
there is a limit.

Each limit is an object with look(now), which gives why the process is to be replaced, or None, and
when to look again. Nothing stops by a wish: the process goes beyond its limit until its successor
is there.
"""

import os
import threading
import time

from pywsgid.daemon import logs
from pywsgid.wire import process_abi

AGAIN = 1.0  # seconds until a wish that was not granted is made again
MEMORY_INTERVAL = 1.0
PART = 4  # how often in its time inactivity is looked for
NEVER = float("inf")


def resident():
    """This process's resident memory in bytes."""
    with open("/proc/self/statm", "rb", buffering=0) as file:
        return int(file.read(256).split()[1]) * os.sysconf("SC_PAGE_SIZE")


def megabytes(size):
    """As the option is written: 100M."""
    return "%.4gM" % (size / (1 << 20))


class Requests:
    """maximum-requests, with this process's own share of maximum-requests-jitter. Workers count."""

    reason = process_abi.REPLACE_REQUESTS

    def __init__(self, most, jitter, wake):
        # `random` would be 3 ms, for a number that nobody must be unable to guess.
        self.most = most + int.from_bytes(os.urandom(8), "little") % (jitter + 1)
        self._lock = threading.Lock()
        self._count = 0
        self._wake = wake

    def count(self):
        """A request has been served."""
        with self._lock:
            self._count += 1
            is_last = (
                self._count == self.most
            )  # by another thread's count it may be passed a moment later
        if is_last:
            self._wake()

    def look(self, now):
        if self._count < self.most:
            return None, NEVER
        return "it has served %d requests (maximum-requests)" % self._count, NEVER


class Interval:
    """restart-interval."""

    reason = process_abi.REPLACE_INTERVAL

    def __init__(self, seconds, now):
        self._seconds = seconds
        self._end = now + seconds

    def look(self, now):
        if now < self._end:
            return None, self._end
        return "it has served for %g s (restart-interval)" % self._seconds, NEVER


class Inactivity:
    """inactivity-timeout. A process that nobody has ever asked for anything is as good as its
    successor.
    """

    reason = process_abi.REPLACE_INACTIVITY

    def __init__(self, seconds, page, now):
        self._seconds = seconds
        self._page = page
        self._since = now  # nothing was running then, and nothing has been since
        self._finished = 0

    def look(self, now):
        started, finished = self._page.counts()
        if started != finished or finished != self._finished:
            self._since, self._finished = now, finished
        if finished and now >= self._since + self._seconds:
            return "it has had nothing to do for %g s (inactivity-timeout)" % self._seconds, NEVER
        return None, now + self._seconds / PART


class Memory:
    """maximum-rss. Looked at once a second: reading it is cheap, and nothing tells when it
    grows."""

    reason = process_abi.REPLACE_MEMORY

    def __init__(self, most, log, now):
        self._most = most
        self._is_pointless = False
        size = resident()
        if size >= most:
            self._is_pointless = True
            log.write(
                logs.WARN,
                "WSGID0357: group %r: maximum-rss=%s is less than what the process needs to begin with, %s: it is "
                "ignored; make it larger" % (log.group, megabytes(most), megabytes(size)),
            )

    def look(self, now):
        if self._is_pointless:
            return None, NEVER
        size = resident()
        if size < self._most:
            return None, now + MEMORY_INTERVAL
        return "its resident memory is %s (maximum-rss=%s)" % (
            megabytes(size),
            megabytes(self._most),
        ), NEVER


class Limits:
    """The keeper of the limits that the configuration sets."""

    def __init__(self, log, life, page, configuration):
        now = time.monotonic()
        self._life = life
        self._limits = []
        self.due = 0.0
        self.requests = None  # Requests
        if configuration.maximum_requests:
            jitter = configuration.maximum_requests_jitter
            self.requests = Requests(configuration.maximum_requests, jitter, life.wake)
            self._limits.append(self.requests)
        if configuration.restart_interval:
            self._limits.append(Interval(configuration.restart_interval, now))
        if configuration.inactivity_timeout:
            self._limits.append(Inactivity(configuration.inactivity_timeout, page, now))
        if configuration.maximum_rss:
            self._limits.append(Memory(configuration.maximum_rss, log, now))

    def look(self, now):
        due = NEVER
        for limit in self._limits:
            why, again = limit.look(now)
            if why is not None:
                self._life.request_replacement(limit.reason, why)
                again = now + AGAIN
            due = min(due, again)
        return due
