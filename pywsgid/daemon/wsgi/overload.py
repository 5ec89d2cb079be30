"""Overload: which requests are refused because they have waited too long for a thread.

A queue that is always long makes every request slow and none of them faster. So a process in which
*every* request has waited long, for a whole while, refuses those that have waited for more than a
short time, until the waits are short again (after CoDel, RFC 8289: a queue is judged by its
shortest wait). A queue that becomes short now and then is only a burst, and is served.

    normal      -> overloaded: for WINDOW, each request has waited too long
    overloaded  -> trial:      after TRIAL_AFTER, and then twice, four times ... as much
    trial       -> overloaded: a request has waited too long
    overloaded, trial -> normal: no request had to wait for IDLE, or none was refused for QUIET

"Too long" is `limit`, a second or more. While overloaded, what has waited longer than `patience`,
a tenth of a second or more, is refused; during a trial only what has waited too long. Without
trials, 64 clients that each send the next request at once could be refused for ever, although all
of them can be served within a third of a second.

A wait has two parts. The request waits for a thread of httpd first, then for one of ours. Both
together are what its client notices; but where the second is short, another group is to blame, and
refusing would help nobody. So a request counts, and is refused, only if it has waited here for half
of the patience, too. The first part is known only while there are waits here
(apxs/request/arrival.c). Requests that came before this process was ready do not count.

Rules: a request that waits for less than some tens of milliseconds does not come here; the
statistics page tells whether there were such requests.
"""

from __future__ import annotations

from pywsgid.daemon import logs
from pywsgid.daemon.system import _thread, time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pywsgid.daemon.interfaces import Page

# Seconds.
LIMIT = 1.0  # what people notice; 64 clients and a view of 5 ms wait for 0.3
WINDOW = 1.0  # so a burst that is served within a second loses nothing
WINDOW_PROCESS = 3.0  # more for each process that an elastic pool may get meanwhile,
WINDOW_MOST = 12.0  # but no more than that in all
PATIENCE = 0.1  # enough requests for the threads to be always busy, and hardly noticed
IDLE = 2.0  # a process that just cannot serve all has a queue at all times
QUIET = 10.0
TRIAL_AFTER = 60.0
TRIAL_AFTER_MOST = 960.0
NEVER = float("inf")

# A slow application needs more.
PATIENCE_REQUESTS = 3  # as long as it takes to finish so many: else its threads might have none
LIMIT_PATIENCES = 2  # the limit is so many times the patience, at least,
LIMIT_SERVICES = 2  # and so many times what a request takes
WINDOW_REQUESTS = 10  # that are finished in a WINDOW; else it is longer
IDLE_PATIENCES = QUIET_PATIENCES = 5


class Overload:
    """Also the periodic task that ends the overload and begins the trials. `wake` makes the main
    thread run its tasks; `ready_at` is when this process became ready, in microseconds since the
    epoch; `more_processes` is how many others the pool may get while requests wait.
    """

    def __init__(
        self,
        log: logs.Log,
        page: Page,
        wake: Callable[[], None],
        ready_at: int,
        more_processes: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.due = NEVER
        self._log = log
        self._wake = wake
        self._ready_at = ready_at
        self._clock = clock
        self._lock = _thread.allocate_lock()
        self._queue = _Queue(page, min(WINDOW + WINDOW_PROCESS * more_processes, WINDOW_MOST))
        self._is_overloaded = False
        self._is_trial = False
        self._since = 0.0
        self._waited_at = self._refused_at = 0.0  # the last one
        self._refused = 0
        self._trial_at = self._trial_after = 0.0

    def refuses(self, sent: int, waited: int, waited_before: int) -> bool:
        """Whether to refuse a request: one that httpd sent at that time, in microseconds since the
        epoch, and that has waited so many microseconds here, and in httpd before.
        """
        with self._lock:
            if sent - waited_before < self._ready_at:
                self._queue.forget()
                return False
            now = self._waited_at = self._clock()
            here, total = waited / 1000000, (waited + waited_before) / 1000000
            begins = not self._is_overloaded and self._queue.is_standing(now, here, total)
            if begins:
                self._begin(now)
            elif not self._is_refused(now, here, total):
                return False
            self._count(now)
        if begins:
            self._log_begin(total)
            self._wake()
        return True

    def _begin(self, now: float) -> None:
        self._is_overloaded = True
        self._since = now
        self._refused = 0
        self._trial_after = TRIAL_AFTER
        self._trial_at = now + TRIAL_AFTER

    def _is_refused(self, now: float, here: float, total: float) -> bool:
        if not self._is_overloaded:
            return False
        if self._is_trial:
            return self._queue.is_too_long(here, total)
        self._queue.measure(now)
        return self._queue.is_impatient(here, total)

    def _count(self, now: float) -> None:
        self._refused += 1
        self._refused_at = now
        if self._is_trial:
            self._is_trial = False
            self._trial_after = min(2 * self._trial_after, TRIAL_AFTER_MOST)
            self._trial_at = now + self._trial_after

    def poll(self, now: float) -> float:
        with self._lock:
            if not self._is_overloaded:
                return NEVER
            patience = self._queue.patience
            ends_at = min(
                self._waited_at + max(IDLE, IDLE_PATIENCES * patience),
                self._refused_at + max(QUIET, QUIET_PATIENCES * patience),
            )
            if now < ends_at:
                self._is_trial = self._is_trial or now >= self._trial_at
                return ends_at if self._is_trial else min(ends_at, self._trial_at)
            self._is_overloaded = self._is_trial = False
            self._queue.forget()
            refused, lasted = self._refused, now - self._since
        self._log_end(refused, lasted)
        return NEVER

    def _log_begin(self, total: float) -> None:
        self._log.write(
            logs.WARN,
            "WSGID0360: group %r: overloaded: for some time every request has waited for a thread "
            "longer than %.3g s, this one for %.3g s. Until the waits are short again, requests "
            "that have waited longer than %.1g s get status 503: raise processes= or threads=, "
            "make the application faster, or set queue-timeout= to let requests wait"
            % (self._log.group, self._queue.limit, total, self._queue.patience),
        )

    def _log_end(self, refused: int, lasted: float) -> None:
        self._log.write(
            logs.NOTICE,
            "WSGID0361: group %r: not overloaded any more, after %.0f s in which %d requests got "
            "status 503 (WSGID0360)" % (self._log.group, lasted, refused),
        )


class _Queue:
    """What is known of the queue of this process: whether it stands, and how fast it moves."""

    def __init__(self, page: Page, window: float) -> None:
        self._window = window
        self.patience = PATIENCE
        self.limit = LIMIT
        self._page = page
        self._is_begun = False  # each request since the window began has waited too long
        self._short = 0
        self._marked_at = 0.0
        self._finished, self._spent = 0, 0.0

    def forget(self) -> None:
        self._is_begun = False
        self.patience = PATIENCE
        self.limit = LIMIT

    def is_impatient(self, here: float, total: float) -> bool:
        return here > self.patience / 2 and total > self.patience

    def is_too_long(self, here: float, total: float) -> bool:
        return here > self.patience / 2 and total > self.limit

    def is_standing(self, now: float, here: float, total: float) -> bool:
        """Whether each request of the last WINDOW has waited too long, this one included."""
        if not self.is_too_long(here, total):
            self.forget()
            return False
        short = self._page.short_waits()
        if not self._is_begun or short != self._short:
            self._is_begun = True
            self._short = short
            self._mark(now, *self._page.served())
            return False
        return self.measure(now) and self.is_too_long(here, total)

    def measure(self, now: float) -> bool:
        """Measures the pace of the application anew if it is time; returns whether it was. To be
        called only while requests wait: then the threads are always busy.
        """
        finished, spent = self._page.served()
        count = finished - self._finished
        if now - self._marked_at < self._window or count < WINDOW_REQUESTS:
            return False
        self.patience = max(PATIENCE, PATIENCE_REQUESTS * (now - self._marked_at) / count)
        service = (spent - self._spent) / count
        self.limit = max(LIMIT, LIMIT_PATIENCES * self.patience, LIMIT_SERVICES * service)
        self._mark(now, finished, spent)
        return True

    def _mark(self, now: float, finished: int, spent: float) -> None:
        self._marked_at = now
        self._finished, self._spent = finished, spent
