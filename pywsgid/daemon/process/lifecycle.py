"""The life of the process, by the table in states.py: serve, ask to be replaced, drain, end.

Rules: Lifecycle.step() is the only place where the state changes. Any thread may call it, and
nothing that it does on the way waits. Whatever ends the process (the lifeline, a signal, a script
that failed) leads to the same drain; only the time limit differs. A request, a thread or an atexit
handler that exceeds its limit is logged and left behind.

    cause                                      time limit
    the lifeline says "not needed any more"    graceful-timeout (a replacement serves)
    SIGHUP, SIGUSR1, pywsgid restart           graceful-timeout
    SIGTERM, SIGINT                            shutdown-timeout
    its guardian has ended                     graceful-timeout
    and httpd has hung up on all requests      shutdown-timeout

Whatever finds that the process should be replaced calls request_replacement(). The process then
serves as before, until its replacement is ready and httpd says so through the lifeline, or until
httpd says that the replacement could not start.

What the main thread waits for, and in which order it acts, is in main_loop.py.
"""

from __future__ import annotations

from pywsgid.daemon import logs
from pywsgid.daemon.process import ending, wakeup
from pywsgid.daemon.process.states import TRANSITIONS
from pywsgid.daemon.system import _thread, os, time
from pywsgid.wire import process_abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from pywsgid.daemon.configuration import Configuration
    from pywsgid.daemon.interfaces import Page, Transport, Worker

# Why the process leaves: its guardian has ended. Nobody reads the wake-up pipe then.
GUARDIAN_HAS_ENDED = "its guardian has ended"
NEVER = float("inf")
# Seconds from a refused request for a replacement to the next one, doubled each time.
BACKOFF_FIRST, BACKOFF_MOST = 1.0, 60.0
IMPOSSIBLE = object()


def log_too_few_threads(log: logs.Log, number: int, wanted: int, error: Exception) -> None:
    """Only `number` of the `wanted` worker threads can be started."""
    log.write(
        logs.CRIT,
        "WSGID0319: group %r: only %d of %d threads can be started (%s), so the process exits: "
        "raise the limits of the process (memory-limit=, virtual-memory-limit=, ulimit -u), or "
        "lower threads= or stack-size=" % (log.group, number, wanted, error),
    )


class Lifecycle:
    """`state` is a key of TRANSITIONS; `replacement_reason` is the process_abi.REPLACE_ of the
    open request for a replacement. `wake` wakes the main loop.
    """

    def __init__(
        self, log: logs.Log, configuration: Configuration, page: Page, wake: Callable[[], None]
    ) -> None:
        self.state = "booting"
        self.replacement_reason = process_abi.REPLACE_NONE
        self.workers: Sequence[Worker] = ()
        self.deadline = NEVER  # monotonic: the end of the drain
        self.left_because = ""  # `why` of the drain
        # What the application wants to be told (mod_wsgi_api/events.py): in the main thread before
        # it waits for the application's threads; and (name, number) of SIGUSR2.
        self.at_end: Callable[[], None] | None = None
        self.at_signal: Callable[[str, int], None] | None = None
        self.wake = wake
        self._log = log
        self._configuration = configuration
        self._page = page
        self._transport: Transport | None = None
        self._lock = _thread.allocate_lock()
        self._waiting: list[_thread.LockType] = []  # see await_replacement()
        self._ended_workers = 0
        self._exit_code = 0
        self._replacement_requests = 0
        self._backoff = BACKOFF_FIRST
        self._not_before = 0.0  # monotonic: the end of the back-off

    # ---- the state

    def step(self, event: str, *details: Any) -> None:
        """Takes the process to the state that `event` leads to. `details` are the arguments of the
        action on the way. An event that is impossible in this state is logged and ignored.
        """
        with self._lock:
            self._step(event, *details)

    def _step(self, event: str, *details: Any) -> None:
        """step(), for those who hold the lock."""
        before = self.state
        transition: Any = TRANSITIONS[before].get(event, IMPOSSIBLE)
        if transition is None:
            return
        if transition is IMPOSSIBLE:
            self._log.write(
                logs.ERROR,
                "WSGID0318: group %r: the event %r is impossible in the state %r and is "
                "ignored: this is a bug in mod_wsgid, please report "
                "it" % (self._log.group, event, before),
            )
            return
        self.state, action = transition
        self._log.write(
            logs.DEBUG,
            "WSGID0317: group %r: state: was %s, is %s (%s)"
            % (self._log.group, before, self.state, event),
        )
        if action:
            getattr(self, "_" + action)(*details)
        while self._waiting:
            self._waiting.pop().release()

    @property
    def takes_requests(self) -> bool:
        return self.state in ("ready", "replacing")

    # ---- from any thread

    def worker_ended(self) -> None:
        """A worker's thread has ended."""
        with self._lock:
            self._ended_workers += 1
        self.wake()

    def request_replacement(
        self, reason: int, why: str, after_backoff: bool = True, change: int = 0
    ) -> bool:
        """Asks httpd to start a replacement: `reason` is a process_abi.REPLACE_, `why` completes
        "asks to be replaced because".

        `change` identifies a change of scripts: httpd does not try one again that could not be
        loaded. False: not now, since a request is open, or the process leaves, or (with
        `after_backoff`) a replacement failed a short while ago. The caller then tries again later.
        """
        with self._lock:
            if self.state != "ready" or (after_backoff and time.monotonic() < self._not_before):
                return False
            self._step("due", reason, why, change)
            return True

    def await_replacement(self) -> bool:
        """Waits until the open request for a replacement is answered. True: the replacement serves
        and this process leaves. False: this process goes on.
        """
        requests = self._replacement_requests
        answered = _thread.allocate_lock()
        answered.acquire()
        while True:
            with self._lock:
                if self.state != "replacing" or self._replacement_requests != requests:
                    return not self.takes_requests
                self._waiting.append(answered)
            answered.acquire()

    # ---- from the main loop

    def begin(
        self, transport: Transport, workers: Sequence[Worker], announce: Callable[[], None]
    ) -> None:
        """Starts the workers, takes requests and calls `announce`, which informs httpd."""
        self._transport = transport
        self.workers = workers
        self.step("loaded", announce)

    def advance(self) -> None:
        """Takes the steps that follow from the workers and the deadline."""
        busy = len(self.workers) - self._ended_workers
        if not busy and self.takes_requests:
            bound = self._configuration.graceful_timeout
            self.step("unfit", "all of its threads have ended", bound, 1)
        if self.state != "draining":
            return
        stuck = sum(worker.is_abandoned for worker in self.workers)
        if busy <= stuck:
            self._log.write(
                logs.INFO,
                "WSGID0311: group %r: has finished its requests and exits%s"
                % (self._log.group, " (stuck, left behind: %d)" % stuck if stuck else ""),
            )
            self.step("done")
        elif time.monotonic() >= self.deadline:
            self.step("expired")

    def end(self) -> NoReturn:
        """Ends the process, in the state "ending"."""
        left = self.deadline - time.monotonic()
        ending.end_process(
            self._log,
            left,
            self._exit_code,
            lambda grace: self.step("expired", grace),
            self.at_end,
        )

    # ---- the actions of the table, which run with the lock of step()

    def _fail(self) -> None:
        ending.flush_streams(self._log)
        # Without threads and atexit handlers: the application is imported by half.
        os._exit(process_abi.EXIT_LOAD)

    def _withdraw(self) -> None:
        self._log.write(
            logs.INFO,
            "WSGID0309: group %r: exits while its scripts are loading: httpd does not need this "
            "process any more" % self._log.group,
        )
        os._exit(0)

    def _serve(self, announce: Callable[[], None]) -> None:
        """Only when all is ready may `announce` send the process away that this one replaces."""
        for number, worker in enumerate(self.workers):
            try:
                worker.start()
            except (RuntimeError, MemoryError) as error:
                log_too_few_threads(self._log, number, len(self.workers), error)
                self._fail()
        # Before the first request, which may end the process.
        self._page.set_state(process_abi.STATE_READY)
        assert self._transport is not None
        self._transport.open()
        announce()

    def _request_replacement(self, reason: int, why: str, change: int) -> None:
        self.replacement_reason = reason
        self._replacement_requests += 1
        self._log.write(
            logs.INFO,
            "WSGID0350: group %r: asks to be replaced because %s" % (self._log.group, why),
        )
        self._page.request_replacement(reason, change)
        wakeup.wake_guardian()

    def _resume(self) -> None:
        self._not_before = time.monotonic() + self._backoff
        if self.replacement_reason == process_abi.REPLACE_CHANGED:
            again = "when the script changes again"
        else:
            again = "in %g s" % self._backoff
        self._log.write(
            logs.INFO,
            "WSGID0351: group %r: cannot be replaced, since the new process did not become ready: "
            "the messages before this one say why; this process goes on serving with the code that "
            "it has, and asks again %s" % (self._log.group, again),
        )
        self._backoff = min(2 * self._backoff, BACKOFF_MOST)
        self.replacement_reason = process_abi.REPLACE_NONE
        self.wake()

    def _drain(self, why: str, bound: float, code: int = 0) -> None:
        """Takes no more requests. `bound` in seconds; 0: as long as it takes."""
        self.deadline = time.monotonic() + bound if bound else NEVER
        self._exit_code = code
        self.left_because = why
        self._page.set_state(process_abi.STATE_DRAINING)
        if why != GUARDIAN_HAS_ENDED:
            wakeup.wake_guardian()
        assert self._transport is not None
        self._transport.drain()
        self._log.write(
            logs.INFO,
            "WSGID0310: group %r: leaving because %s: takes no more requests and finishes those "
            "that it has%s" % (self._log.group, why, ", within %g s" % bound if bound else ""),
        )
        self.wake()

    def _hasten(self, why: str, bound: float, code: int = 0) -> None:
        """Told to leave once more: the earlier deadline counts."""
        if bound:
            self.deadline = min(self.deadline, time.monotonic() + bound)
        self.wake()

    def _cut_off(self) -> None:
        running = [worker for worker in self.workers if worker.environ is not None]
        self._log.write(
            logs.WARN,
            "WSGID0312: group %r: the time to finish is over, with requests still running: %d. "
            "They are cut off, and the next messages name each; if they need longer, raise "
            "graceful-timeout= or shutdown-timeout=" % (self._log.group, len(running)),
        )
        try:
            from pywsgid.daemon.process import stacks

            stacks.dump_running(self._log, running)
        finally:  # also if no memory or no descriptor is left
            os._exit(self._exit_code)

    def _abandon(self, grace: float) -> None:
        self._log.write(
            logs.WARN,
            "WSGID0315: group %r: a thread or an atexit handler of the application did not end "
            "within %.1f s, and the process exits without it: start the thread with daemon=True, "
            "or stop it in an atexit handler" % (self._log.group, grace),
        )
        os._exit(self._exit_code)
