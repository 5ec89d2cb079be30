"""Watches over the process as a whole, by faulthandler's C thread, which needs no GIL: a start that
takes too long, and a process in which no Python runs any more. Both end with the stacks of all
threads in the log.

What is about single requests is in stuck.py.
"""

import faulthandler
import os
import select
import threading
import time

from pywsgid.daemon import logs

SLOW = 10.0  # seconds of loading after which the log says what is being done
# seconds after startup-timeout until the C-level watchdog ends a process that holds the GIL
HUNG_BEHIND = 5.0
# the deadlock watchdog is armed anew four times in its time: seldom, and it is late by no more than
# a quarter
PART = 4


class BootWatch:
    """While the main thread imports the application: startup-timeout, and the lifeline; and a line
    where it takes long.
    """

    def __init__(self, log, life, page, timeout, lifeline):
        self._log = log
        self._page = page
        self._life = life
        self._timeout = timeout
        self._lifeline = lifeline
        self._stop = os.eventfd(0)
        if timeout:
            # For an import that hangs in C; its exit code is the interpreter's own, so it comes
            # second.
            faulthandler.dump_traceback_later(timeout + HUNG_BEHIND, exit=True, file=2)
            page.watchdog(time.monotonic() + timeout + HUNG_BEHIND)
        self._thread = threading.Thread(target=self._run, name="wsgid-boot", daemon=True)
        self._thread.start()

    def stop(self):
        if self._timeout:
            faulthandler.cancel_dump_traceback_later()
            self._page.watchdog(0)
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._stop)

    def _run(self):
        poll = select.poll()
        poll.register(self._stop, select.POLLIN)
        poll.register(self._lifeline, select.POLLIN)
        slow = min(SLOW, self._timeout or SLOW)
        events = dict(poll.poll(slow * 1000))
        if not events and slow != self._timeout:
            self._tell_what_takes_long()
            events = dict(poll.poll((self._timeout - slow) * 1000 if self._timeout else None))
        if self._stop in events:
            return
        if events:
            self._life.step("replaced" if events[self._lifeline] & select.POLLIN else "orphaned")
        self._log.write(
            logs.ERROR,
            "WSGID0304: group %r: not ready within startup-timeout=%g: what its import was doing stands "
            "below; make it faster or the limit larger" % (self._log.group, self._timeout),
        )
        faulthandler.dump_traceback(file=2, all_threads=True)
        self._life.step("late")

    def _tell_what_takes_long(self):
        from pywsgid.daemon.process import stacks

        self._log.write(
            logs.WARN,
            "WSGID0371: group %r: not ready after %g s: what its import is doing stands below\n%s"
            % (self._log.group, SLOW, stacks.stack_text(threading.main_thread().ident)),
        )


class Deadlock:
    """A keeper. Ends the process when the main thread could not run Python for deadlock-timeout."""

    def __init__(self, timeout, page):
        self._timeout = timeout
        self._page = page
        self.due = 0.0

    def look(self, now):
        period = self._timeout / PART
        try:
            faulthandler.dump_traceback_later(self._timeout + period, exit=True, file=2)
            self._page.watchdog(now + self._timeout + period)
        except RuntimeError:
            pass  # no thread for it, for want of memory: next time
        return now + period
