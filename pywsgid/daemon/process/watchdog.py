"""The watchdogs of the process as a whole: a start that takes too long (BootWatch), and a process
in which no Python code runs any more (Deadlock). Both write the stacks of all threads to the log
before the process ends.

They use faulthandler's C thread, which needs no GIL. What concerns a single request is in stuck.py.
"""

from __future__ import annotations

import faulthandler

from pywsgid.daemon import logs
from pywsgid.daemon.system import _thread, os, select, time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pywsgid.daemon.interfaces import Life, Page

SLOW = 10.0  # seconds of loading until the log says what the import is doing
# Seconds after startup-timeout until faulthandler ends a process in which no Python can run.
HUNG_AFTER = 5.0
# The deadlock watchdog is rearmed so many times within its timeout: that is seldom, and makes it
# late by no more than a quarter.
REARMS = 4


class BootWatch:
    """Watches while the main thread imports the application: ends the process at startup-timeout,
    or when httpd does not need it any more; logs what a slow import is doing.

    `timeout` in seconds, 0: none. `lifeline` is a descriptor. A thread runs until stop().
    """

    def __init__(
        self, log: logs.Log, life: Life, page: Page, timeout: float, lifeline: int
    ) -> None:
        self._log = log
        self._page = page
        self._life = life
        self._timeout = timeout
        self._lifeline = lifeline
        self._stop = os.eventfd(0)
        if timeout:
            # For an import that hangs in C. Its exit code is Python's own, so it comes second.
            faulthandler.dump_traceback_later(timeout + HUNG_AFTER, exit=True, file=2)
            page.watchdog(time.monotonic() + timeout + HUNG_AFTER)
        self._main_thread = _thread.get_ident()
        self._running = _thread.allocate_lock()  # held while the thread runs
        self._running.acquire()
        _thread.start_new_thread(self._run, ())

    def stop(self) -> None:
        """The application is loaded."""
        if self._timeout:
            faulthandler.cancel_dump_traceback_later()
            self._page.watchdog(0)
        os.eventfd_write(self._stop, 1)
        self._running.acquire()
        os.close(self._stop)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._stop, select.POLLIN)
        poll.register(self._lifeline, select.POLLIN)
        slow = min(SLOW, self._timeout or SLOW)
        events = dict(poll.poll(slow * 1000))
        if not events and slow != self._timeout:
            self._log_slow_import()
            events = dict(poll.poll((self._timeout - slow) * 1000 if self._timeout else None))
        if self._stop in events:
            self._running.release()
            return
        if events:
            self._life.step("replaced" if events[self._lifeline] & select.POLLIN else "orphaned")
        self._log.write(
            logs.ERROR,
            "WSGID0304: group %r: its scripts were not loaded within startup-timeout=%g, so the "
            "process exits: the stacks below show what the import was doing; make it faster, or "
            "raise startup-timeout=" % (self._log.group, self._timeout),
        )
        faulthandler.dump_traceback(file=2, all_threads=True)
        self._life.step("late")

    def _log_slow_import(self) -> None:
        from pywsgid.daemon.process import stacks

        self._log.write(
            logs.WARN,
            "WSGID0371: group %r: not ready after %g s, as its scripts are still loading: the "
            "stack below shows what the import is doing\n%s"
            % (self._log.group, SLOW, stacks.stack_text(self._main_thread)),
        )


class Deadlock:
    """A periodic task that ends the process when the main thread could not run for
    deadlock-timeout (`timeout`, in seconds).
    """

    def __init__(self, timeout: float, page: Page) -> None:
        self._timeout = timeout
        self._page = page
        self.due = 0.0

    def poll(self, now: float) -> float:
        period = self._timeout / REARMS
        try:
            faulthandler.dump_traceback_later(self._timeout + period, exit=True, file=2)
            self._page.watchdog(now + self._timeout + period)
        except RuntimeError:
            pass  # no memory for its thread: next time
        return now + period
