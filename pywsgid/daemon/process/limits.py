"""Recycling: a process that has reached one of its limits asks to be replaced. Imported only if
there is a limit.

Each limit is an object whose check(now) returns (why the process is to be replaced, or None; when
to check again), in seconds of time.monotonic(). Nothing stops when a limit is reached: the process
exceeds it until its replacement is ready.
"""

from __future__ import annotations

from pywsgid.daemon import logs
from pywsgid.daemon.system import _thread, os, time
from pywsgid.wire import process_abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pywsgid.daemon.configuration import Configuration
    from pywsgid.daemon.interfaces import Life, Page

RETRY_INTERVAL = 1.0  # seconds until a request for a replacement is repeated
MEMORY_INTERVAL = 1.0  # seconds between two measurements of memory
INACTIVITY_CHECKS = 4  # how often inactivity is checked within its timeout
NEVER = float("inf")


def resident() -> int:
    """This process's resident memory in bytes."""
    with open("/proc/self/statm", "rb", buffering=0) as file:
        return int(file.read(256).split()[1]) * os.sysconf("SC_PAGE_SIZE")


def megabytes(size: float) -> str:
    """Bytes in the form of the option: 100M."""
    return "%.4gM" % (size / (1 << 20))


class Requests:
    """maximum-requests, plus this process's random share of maximum-requests-jitter. `wake` is
    called by the worker whose request is the last one.
    """

    reason = process_abi.REPLACE_REQUESTS

    def __init__(self, most: int, jitter: int, wake: Callable[[], None]) -> None:
        # `random` would take 3 ms to import, for a number that may be guessed.
        self.most = most + int.from_bytes(os.urandom(8), "little") % (jitter + 1)
        self._lock = _thread.allocate_lock()
        self._count = 0
        self._wake = wake

    def count(self) -> None:
        """A request has been served. For workers."""
        with self._lock:
            self._count += 1
            # Decided within the lock: a moment later another thread may have counted on.
            is_last = self._count == self.most
        if is_last:
            self._wake()

    def check(self, now: float) -> tuple[str | None, float]:
        if self._count < self.most:
            return None, NEVER
        return "it has served %d requests (maximum-requests)" % self._count, NEVER


class Interval:
    """restart-interval, in seconds from `now`."""

    reason = process_abi.REPLACE_INTERVAL

    def __init__(self, seconds: float, now: float) -> None:
        self._seconds = seconds
        self._end = now + seconds

    def check(self, now: float) -> tuple[str | None, float]:
        if now < self._end:
            return None, self._end
        return "it has served for %g s (restart-interval)" % self._seconds, NEVER


class Inactivity:
    """inactivity-timeout, in seconds. A process that never had a request is as good as a new one:
    it stays.
    """

    reason = process_abi.REPLACE_INACTIVITY

    def __init__(self, seconds: float, page: Page, now: float) -> None:
        self._seconds = seconds
        self._page = page
        self._since = now  # no request has run since then
        self._finished = 0

    def check(self, now: float) -> tuple[str | None, float]:
        started, finished = self._page.counts()
        if started != finished or finished != self._finished:
            self._since, self._finished = now, finished
        if finished and now >= self._since + self._seconds:
            return "it has had no request for %g s (inactivity-timeout)" % self._seconds, NEVER
        return None, now + self._seconds / INACTIVITY_CHECKS


class Memory:
    """maximum-rss, in bytes. Measured once a second: that is cheap, and nothing reports growth."""

    reason = process_abi.REPLACE_MEMORY

    def __init__(self, most: int, log: logs.Log, now: float) -> None:
        self._most = most
        self._is_pointless = False
        size = resident()
        if size >= most:
            self._is_pointless = True
            log.write(
                logs.WARN,
                "WSGID0357: group %r: maximum-rss=%s is ignored, because the process already needs "
                "%s when it starts: raise "
                "maximum-rss=" % (log.group, megabytes(most), megabytes(size)),
            )

    def check(self, now: float) -> tuple[str | None, float]:
        if self._is_pointless:
            return None, NEVER
        size = resident()
        if size < self._most:
            return None, now + MEMORY_INTERVAL
        most = megabytes(self._most)
        return "its resident memory is %s (maximum-rss=%s)" % (megabytes(size), most), NEVER


class Limits:
    """The periodic task that checks the limits of the configuration. `requests` is None without
    maximum-requests; else workers call its count().
    """

    def __init__(self, log: logs.Log, life: Life, page: Page, configuration: Configuration) -> None:
        now = time.monotonic()
        self._life = life
        self._limits: list[Requests | Interval | Inactivity | Memory] = []
        self.due = 0.0
        self.requests: Requests | None = None
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

    def poll(self, now: float) -> float:
        due = NEVER
        for limit in self._limits:
            why, again = limit.check(now)
            if why is not None:
                self._life.request_replacement(limit.reason, why)
                again = now + RETRY_INTERVAL
            due = min(due, again)
        return due
