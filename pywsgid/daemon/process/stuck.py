"""Requests that run for too long: slow-request, request-timeout, interrupt-timeout. Imported only
if one is set.

Each worker has a Guard, which knows what runs and since when; the Watch is a keeper that looks at
all of them. It sleeps until the next limit of a request that runs, or until the first at which one
that begins meanwhile could reach its own: exact, and no request has to wake anybody.

A request over request-timeout: 1. pywsgid.RequestTimeout is raised in its thread, where Python runs
next. Most applications let it through, which
   gives 504 and a thread that is as good as new. Not with interrupt-timeout=0.
2. When it has not ended interrupt-timeout later (it waits in C, or has caught the exception), it is
abandoned: the
   client is answered without it, the stacks of all threads are logged, a successor is wished for, and the process
   leaves without the thread.

The rule that makes 1. safe: the exception is set with the guard's lock held and a call running
under it, and whoever ends the call takes the lock and then takes back an exception that has not
come up yet. So it can be raised under Guard.run() and nowhere else, once for each call. What of
ours runs under it must stand an exception at any point: a connection on which a frame was cut short
is given up (transport.py), and wsgi.input cannot be read any more, as nobody knows what of it was
on its way to the application.

CPython 3.14 (its issue 148874) can raise an exception when `with` has taken a lock and not yet
begun its body, and then nobody ever gives the lock back, ours or the application's. So no exception
is set while a thread is about to take one: it is looked at again soon. Without a GIL nobody can
know that; there only the guard's own lock is safe (_end).
"""

import sys
import threading
import time

from pywsgid import RequestTimeout
from pywsgid.daemon import logs
from pywsgid.daemon.interpreter import is_free_threaded
from pywsgid.daemon.process import stacks
from pywsgid.daemon.wsgi import environ
from pywsgid.wire import process_abi, protocol

AGAIN = 1.0  # seconds until a wish that was not granted is made again
SOON = 0.01  # seconds until a thread is looked at again that was about to take a lock
WITH_LOSES_LOCKS = sys.version_info[:2] == (3, 14)


def _is_taking_a_lock(identity):
    """Whether a thread is in the call that a `with` begins with: if that takes a lock, perhaps for
    long.
    """
    if not WITH_LOSES_LOCKS or is_free_threaded:
        return False
    try:
        import ctypes  # noqa: F401  what comes next needs it, and nothing is to run between this look and that
    except ImportError:
        return False
    from opcode import opmap

    frame = sys._current_frames().get(identity)
    at = (
        frame.f_lasti - 2 if frame is not None else -1
    )  # the code unit, of two bytes, that stands before the call
    return at >= 0 and frame.f_code.co_code[at] == opmap["LOAD_SPECIAL"]


def _set_exception(identity, exception):
    """PyThreadState_SetAsyncExc; None takes back one that has not been raised yet."""
    import ctypes  # 4 ms, which nobody pays before a request is stuck

    # Not ctypes.pythonapi.NAME, which threads share: several workers may come here at once, to
    # describe and to call it.
    call = ctypes.pythonapi["PyThreadState_SetAsyncExc"]
    call.argtypes = (ctypes.c_ulong, ctypes.py_object)
    call(identity, ctypes.py_object() if exception is None else exception)


class Guard:
    """What a worker runs: `environ` and `since` (monotonic) of the call, None and 0.0 if there is
    none.
    """

    def __init__(self, worker, exchange):
        self.worker = worker
        self._exchange = exchange
        self.lock = threading.RLock()  # whoever has it decides what becomes of the call
        self.environ = None
        self._input = None  # wsgi.input, as we gave it
        self.since = 0.0
        # `since` of the last call that was told to be slow: it may be told when another has begun
        self.told = 0.0
        self.interrupted_at = 0.0  # monotonic; 0.0: it was not
        self.is_abandoned = False

    def run(self, environ, stream, call):
        """Calls `call` as a part of a request; RequestTimeout may come up in it, and does not after
        it.

        `stream` is the request's Input: what stands in environ as wsgi.input is the application's
        to change.
        """
        try:
            try:
                self._begin(environ, stream)
                call()
            finally:
                self._end()
        except RequestTimeout:
            self._end()  # it may have come up within _end(), and does not come again
            raise

    def _begin(self, environ, stream):
        self.since = time.monotonic()
        self.is_abandoned = False
        self.interrupted_at = 0.0
        self._input = stream
        self.environ = environ

    def _end(self):
        with self.lock:
            self.environ = self._input = None
            self.is_abandoned = False
        if self.interrupted_at:
            _set_exception(self.worker.thread.ident, None)
            try:
                self.lock.release()  # which the `with` of another _end() has lost
            except RuntimeError:
                pass  # it has not

    def _is_running(self, since):
        return self.environ is not None and self.since == since

    def interrupt(self, since, now):
        """Raises RequestTimeout in the call that began at `since`. False: it has ended, or takes a
        lock just now.
        """
        with self.lock:
            if not self._is_running(since) or _is_taking_a_lock(self.worker.thread.ident):
                return False
            self.interrupted_at = now
            self._input.detach()
            try:
                _set_exception(self.worker.thread.ident, RequestTimeout)
            except ImportError:
                pass  # an interpreter without ctypes: it will be abandoned
            return True

    def abandon(self, since, frame):
        """Gives up the call that began at `since`: its client gets `frame`. False: it has ended."""
        with self.lock:
            if not self._is_running(since):
                return False
            self.is_abandoned = True
            self._exchange.cut(self._exchange.id, (frame,))
            return True


class Watch:
    """The keeper of the guards. `life` is the Lifecycle, `page` the statistics page."""

    def __init__(self, log, life, configuration, page):
        self._log = log
        self._page = page
        self._life = life
        self._slow = configuration.slow_request or float("inf")
        self._limit = configuration.request_timeout or float("inf")
        self._grace = configuration.interrupt_timeout
        self._first = min(
            self._slow, self._limit
        )  # what a request that has not begun can reach next
        self._guards = []
        self.due = 0.0

    def guard(self, worker, exchange):
        guard = Guard(worker, exchange)
        self._guards.append(guard)
        return guard

    def look(self, now):
        due = now + self._first
        for guard in self._guards:
            running = (
                guard.environ
            )  # read before `since`: an old environ with a new `since` is nothing to act on
            if running is not None:
                due = min(due, self._look_at(guard, running, guard.since, now))
        if any(guard.is_abandoned for guard in self._guards):
            self._life.request_replacement(
                process_abi.REPLACE_STUCK, "a request is stuck and cannot be interrupted"
            )
            due = min(due, now + AGAIN)
        return due

    def _look_at(self, guard, running, since, now):
        """Does what is due for one request; when the next thing is."""
        if guard.told != since and now >= since + self._slow:
            guard.told = since
            self._tell_slow(guard, running, now - since)
        if guard.is_abandoned:
            return now + self._first
        due = since + self._limit
        if now >= due and self._grace and not guard.interrupted_at:
            self._interrupt(guard, running, since, now)
            if not guard.interrupted_at and now < due + self._grace:
                return now + SOON
        if guard.interrupted_at:
            due = guard.interrupted_at + self._grace
        if now >= due:
            self._abandon(guard, running, since, now)
            return now + self._first
        return due if guard.told == since else min(due, since + self._slow)

    def _tell_slow(self, guard, running, lasted):
        self._log.write(
            logs.WARN,
            "WSGID0352: group %r: slow: %s has run for %.3f s (slow-request=%g) and goes on; its thread:\n%s"
            % (
                self._log.group,
                environ.request_line(running),
                lasted,
                self._slow,
                stacks.stack_text(guard.worker.thread.ident),
            ),
            running,
        )

    def _interrupt(self, guard, running, since, now):
        if guard.interrupt(since, now):
            self._log.write(
                logs.WARN,
                "WSGID0353: group %r: %s has run for %.3f s, longer than request-timeout=%g: pywsgid.RequestTimeout is "
                "raised in its thread"
                % (self._log.group, environ.request_line(running), now - since, self._limit),
                running,
            )

    def _abandon(self, guard, running, since, now):
        reason = (
            "WSGID0355: no answer within request-timeout=%g, and the request cannot be interrupted"
            % self._limit
        )
        if guard.abandon(since, protocol.encode_abort(504, reason)):
            self._page.error()
            self._log.write(
                logs.ERROR,
                "WSGID0354: group %r: stuck: %s has run for %.3f s, longer than request-timeout=%g, and cannot be "
                "interrupted; its client is answered without it, and the process leaves as soon as it has a successor. "
                "All threads:"
                % (self._log.group, environ.request_line(running), now - since, self._limit),
                running,
            )
            stacks.dump_all(self._log, [guard.worker for guard in self._guards])
