"""Requests that run for too long: slow-request, request-timeout, interrupt-timeout. Imported only
if one of them is set.

Each worker has a Guard, which knows what runs and since when. The Watch is the periodic task that
checks all guards. It is due when the next limit of a running request is reached, or when a request
that begins right now could reach its first one. So limits are exact, and no request has to wake the
main thread.

A request that exceeds request-timeout:
1. pywsgid.RequestTimeout is raised in its thread, where that runs Python code next. Most
   applications let it pass, which gives 504 and a thread that is as good as new. Not with
   interrupt-timeout=0.
2. If the request has not ended interrupt-timeout later (it waits in C, or has caught the
   exception), it is abandoned: the client gets an answer without it, the stacks of all threads are
   logged, the process asks to be replaced and leaves without the thread.

The rule that makes step 1 safe: the exception is set while the guard's lock is held and a call runs
under the guard. Whatever ends the call takes the lock and then takes back an exception that has not
been raised yet. So it is raised within Guard.run() and nowhere else, once for each call. Our own
code that runs there must survive an exception at any point: a connection on which a frame was cut
short is closed (transport/), and wsgi.input can no longer be read, as nobody knows which bytes were
on their way to the application.

CPython 3.14 can lose a lock that way (cpython.is_entering_with()). No exception is set while a
thread is in danger of that; the request is checked again soon. A free-threaded 3.14 cannot be
asked; there only the guard's own lock is safe (Guard._end).
"""

from __future__ import annotations

from pywsgid import RequestTimeout
from pywsgid.daemon import cpython, logs
from pywsgid.daemon.process import stacks
from pywsgid.daemon.request_info import request_line
from pywsgid.daemon.system import _thread, time
from pywsgid.wire import process_abi, protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pywsgid.daemon.configuration import Configuration
    from pywsgid.daemon.interfaces import Environ, Exchange, Input, Life, Page, Worker

RETRY_INTERVAL = 1.0  # seconds until a request for a replacement is repeated
WITH_INTERVAL = 0.01  # seconds until a thread is checked again that was about to take a lock


class Guard:
    """What a worker runs at the moment: `environ` and `since` (time.monotonic()) of the call; None
    and 0.0 if it runs nothing.
    """

    def __init__(self, worker: Worker, exchange: Exchange) -> None:
        self.worker = worker
        self._exchange = exchange
        self.lock = _thread.RLock()  # its holder decides what becomes of the call
        self.environ: Environ | None = None
        self._input: Input | None = None  # wsgi.input, as we made it
        self.since = 0.0
        # `since` of the last call that was logged as slow.
        self.slow_logged = 0.0
        self.interrupted_at = 0.0  # monotonic; 0.0: it was not
        self.is_abandoned = False

    def run(self, environ: Environ, stream: Input, call: Callable[[], object]) -> None:
        """Runs `call` as a part of a request. RequestTimeout may be raised in it, and not after it.

        `stream` is the request's Input; the application may have changed environ["wsgi.input"].
        """
        try:
            try:
                self._begin(environ, stream)
                call()
            finally:
                self._end()
        except RequestTimeout:
            self._end()  # the exception may have come within _end(), and does not come again
            raise

    def _begin(self, environ: Environ, stream: Input) -> None:
        self.since = time.monotonic()
        self.is_abandoned = False
        self.interrupted_at = 0.0
        self._input = stream
        self.environ = environ

    def _end(self) -> None:
        with self.lock:
            self.environ = self._input = None
            self.is_abandoned = False
        if self.interrupted_at:
            cpython.raise_in_thread(self.worker.identity, None)
            try:
                self.lock.release()  # which the `with` of an interrupted _end() has lost
            except RuntimeError:
                pass  # it has not

    def _is_running(self, since: float) -> bool:
        return self.environ is not None and self.since == since

    def interrupt(self, since: float, now: float) -> bool:
        """Raises RequestTimeout in the call that began at `since`. False: the call has ended, or
        its thread is about to take a lock.
        """
        with self.lock:
            identity = self.worker.identity
            if not self._is_running(since) or cpython.is_entering_with(identity):
                return False
            self.interrupted_at = now
            assert self._input is not None
            self._input.detach()
            # An interpreter that cannot raise it: the request will be abandoned.
            cpython.raise_in_thread(identity, RequestTimeout)
            return True

    def abandon(self, since: float, frame: bytes) -> bool:
        """Gives up the call that began at `since`: its client gets `frame`. False: it has ended."""
        with self.lock:
            if not self._is_running(since):
                return False
            self.is_abandoned = True
            self._exchange.cut(self._exchange.id, (frame,))
            return True


class Watch:
    """The periodic task that checks the guards of all workers."""

    def __init__(self, log: logs.Log, life: Life, configuration: Configuration, page: Page) -> None:
        self._log = log
        self._page = page
        self._life = life
        self._slow = configuration.slow_request or float("inf")
        self._limit = configuration.request_timeout or float("inf")
        self._grace = configuration.interrupt_timeout
        # How long after its begin a request reaches its first limit.
        self._first = min(self._slow, self._limit)
        self._guards: list[Guard] = []
        self.due = 0.0

    def guard(self, worker: Worker, exchange: Exchange) -> Guard:
        """The guard of a new worker."""
        guard = Guard(worker, exchange)
        self._guards.append(guard)
        return guard

    def poll(self, now: float) -> float:
        due = now + self._first
        for guard in self._guards:
            # Read before `since`: an old environ with a new `since` leads to nothing.
            running = guard.environ
            if running is not None:
                due = min(due, self._check(guard, running, guard.since, now))
        if any(guard.is_abandoned for guard in self._guards):
            why = "a request is stuck and cannot be interrupted"
            self._life.request_replacement(process_abi.REPLACE_STUCK, why)
            due = min(due, now + RETRY_INTERVAL)
        return due

    def _check(self, guard: Guard, running: Environ, since: float, now: float) -> float:
        """Does what is due for one request; returns when the next thing is."""
        if guard.slow_logged != since and now >= since + self._slow:
            guard.slow_logged = since
            self._log_slow(guard, running, now - since)
        if guard.is_abandoned:
            return now + self._first
        due = since + self._limit
        if now >= due and self._grace and not guard.interrupted_at:
            self._interrupt(guard, running, since, now)
            if not guard.interrupted_at and now < due + self._grace:
                return now + WITH_INTERVAL
        if guard.interrupted_at:
            due = guard.interrupted_at + self._grace
        if now >= due:
            self._abandon(guard, running, since, now)
            return now + self._first
        return due if guard.slow_logged == since else min(due, since + self._slow)

    def _log_slow(self, guard: Guard, running: Environ, lasted: float) -> None:
        self._log.write(
            logs.WARN,
            "WSGID0352: group %r: slow: %s has run for %.3f s (slow-request=%g) and goes on; its "
            "thread:\n%s"
            % (
                self._log.group,
                request_line(running),
                lasted,
                self._slow,
                stacks.stack_text(guard.worker.identity),
            ),
            running,
        )

    def _interrupt(self, guard: Guard, running: Environ, since: float, now: float) -> None:
        if guard.interrupt(since, now):
            self._log.write(
                logs.WARN,
                "WSGID0353: group %r: %s has run for %.3f s, longer than request-timeout=%g, and "
                "is interrupted: pywsgid.RequestTimeout is raised in its thread; make the request "
                "faster, or raise request-timeout="
                % (self._log.group, request_line(running), now - since, self._limit),
                running,
            )

    def _abandon(self, guard: Guard, running: Environ, since: float, now: float) -> None:
        reason = (
            "WSGID0355: no answer within request-timeout=%g, and the request cannot be "
            "interrupted: the group's log shows its stack (WSGID0354)" % self._limit
        )
        if guard.abandon(since, protocol.encode_abort(504, reason)):
            self._page.error()
            self._log.write(
                logs.ERROR,
                "WSGID0354: group %r: stuck: %s has run for %.3f s, longer than "
                "request-timeout=%g, and cannot be interrupted; its client has been answered, and "
                "the process exits as soon as another has taken its place. The stacks below show "
                "what the request waits for: give that a timeout of its own"
                % (self._log.group, request_line(running), now - since, self._limit),
                running,
            )
            stacks.dump_all(self._log, [guard.worker for guard in self._guards])
