"""The main thread's life, by the table in states.py: serve, wish for a successor, drain, leave.

Rules: a signal handler only notes; the loop in Lifecycle.run acts. Lifecycle.step() is the one
place where the state changes, from any thread; what it does on the way never waits. Whatever asks
for the end (lifeline, signal, a failed script) gets the same drain; they differ in how long it may
take. Each bound is kept: a request, a thread or an atexit handler that does not come to an end is
told in the log and left behind.

    what            bound
    lifeline pulled    graceful-timeout (a successor has taken over)
    HUP, USR1       graceful-timeout
    TERM, INT       shutdown-timeout
    httpd has died  shutdown-timeout

Whoever finds that the process should be replaced calls wish(). Nothing stops by that: the process
serves as before until its successor is ready and pulls the lifeline, or until httpd says that it
cannot take over (LIFELINE_FAILED).

What has to be looked at now and then is a keeper: an object with `due`, the monotonic time of its
next look, and look(now), which gives the time of the one after that. The main thread sleeps in
between, for ever if none is due.

Until the process is ready, signals have their default effect: there is nothing to finish.
"""

import _signal
import _thread
import faulthandler
import os
import select
import sys
import threading
import time

from pywsgid.daemon import logs
from pywsgid.daemon.process import forks, wakeup
from pywsgid.daemon.process.states import TRANSITIONS
from pywsgid.wire import process_abi

# nobody hears the wake-up pipe; and the one who sleeps on it must find out by itself
# (apxs/supervisor/wakeup.c)
GONE = "httpd has gone"
# what a thread writes to the signal pipe to have the loop look around: no signal has this number
LOOK = 0
NEVER = float("inf")
# What threads and atexit handlers of the application have at the end: what is left of the bound, at
# least and at most.
EXIT_GRACE_LEAST, EXIT_GRACE_MOST = 1.0, 15.0
HUNG_BEHIND = 5.0  # seconds after that until the C-level watchdog ends a process that holds the GIL
REQUEST_AGAIN_FIRST, REQUEST_AGAIN_MOST = (
    1.0,
    60.0,
)  # seconds after a wish that was refused, doubled each time
RECOVERY = 0.05  # seconds of rest when memory has run out
IMPOSSIBLE = object()

# signal -> its name, the option that bounds the drain
DRAIN_SIGNALS = {
    _signal.SIGTERM: ("SIGTERM", "shutdown_timeout"),
    _signal.SIGINT: ("SIGINT", "shutdown_timeout"),
    _signal.SIGHUP: ("SIGHUP", "graceful_timeout"),
    _signal.SIGUSR1: ("SIGUSR1", "graceful_timeout"),
}


def log_too_few_threads(log, number, wanted, error):
    """Only `number` of the `wanted` worker threads can be made."""
    log.write(
        logs.CRIT,
        "WSGID0319: group %r: only %d of %d threads can be started (%s): the limits of this "
        "process are too low (memory-limit=, virtual-memory-limit=, ulimit -u), or stack-size= "
        "or threads= too large" % (log.group, number, wanted, error),
    )


def _note(number, frame):
    """The signal's number is in the pipe already (set_wakeup_fd)."""


class Lifecycle:
    """`state` is one of states.STATES. The daemon fills `keepers` before it serves."""

    def __init__(self, log, configuration, page, lifeline):
        self.state = "booting"
        self.keepers = []
        self.replacement_reason = process_abi.REPLACE_NONE  # of the wish that is open
        self._log = log
        self._configuration = configuration
        self._page = page
        self._lifeline = lifeline
        self._transport = None
        self._control = None
        self._workers = ()
        self._moved = (
            threading.Condition()
        )  # its lock may be taken again: an action may take a step itself
        self._left = 0  # workers that have ended
        self._deadline = NEVER  # monotonic: until when it may drain
        self._code = 0
        self._replacement_requests = 0
        self._patience = REQUEST_AGAIN_FIRST
        self._not_before = 0.0  # monotonic: a refused wish is not repeated until then
        self._pipe, self._pipe_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    # ---- the state

    def step(self, event, *details):
        """Takes the process to the state that an event leads to; `details` are for the action on
        the way.
        """
        with self._moved:
            before = self.state
            transition = TRANSITIONS[before].get(event, IMPOSSIBLE)
            if transition is None:
                return
            if transition is IMPOSSIBLE:
                self._log.write(
                    logs.ERROR,
                    "WSGID0318: group %r: a process that is %s cannot be %s: a mistake in mod_wsgid, please report it"
                    % (self._log.group, before, event),
                )
                return
            self.state, action = transition
            self._log.write(
                logs.DEBUG,
                "WSGID0317: group %r: was %s, is %s (%s)"
                % (self._log.group, before, self.state, event),
            )
            if action:
                getattr(self, "_" + action)(*details)
            self._moved.notify_all()

    # ---- from any thread

    def worker_left(self):
        with self._moved:
            self._left += 1
        self.wake()

    def wake(self):
        """Has the main thread look around, and all keepers."""
        try:
            os.write(self._pipe_end, bytes((LOOK,)))
        except OSError:
            pass  # full: then it wakes up anyway

    def request_replacement(self, reason, why, patient=True, change=0):
        """Asks httpd for a successor: `reason` is a process_abi.REPLACE_, `why` completes "wishes for
        a successor because".

        `change` is the number of a change of scripts: one that could not be loaded is not tried by
        every process anew.

        False: not now, as one is on its way or the process leaves; and, if `patient`, as one could
        not take over a short while ago. Then ask again later.
        """
        with self._moved:
            if self.state != "serving" or (patient and time.monotonic() < self._not_before):
                return False
            self.step("due", reason, why, change)
            return True

    def await_successor(self):
        """Waits while a wish is open. True: the process leaves; False: it serves on."""
        with self._moved:
            requests = self._replacement_requests
            while self.state == "replacing" and self._replacement_requests == requests:
                self._moved.wait()
            return self.state not in ("serving", "replacing")

    # ---- the actions of the table, with the lock of step()

    def _fail(self):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(
            process_abi.EXIT_LOAD
        )  # not through threads and atexit handlers of a half-imported application

    def _withdraw(self):
        self._log.write(
            logs.INFO,
            "WSGID0309: group %r: not wanted any more while it was starting; leaving"
            % self._log.group,
        )
        os._exit(0)

    def _serve(self, announce):
        """Only when all is there may `announce` tell the predecessor to leave."""
        for number, worker in enumerate(self._workers):
            try:
                worker.start()
            except (RuntimeError, MemoryError) as error:
                log_too_few_threads(self._log, number, len(self._workers), error)
                self._fail()
        self._page.set_state(
            process_abi.PAGE_READY
        )  # before the first request, which may end the process
        self._transport.open()
        announce()

    def _request_replacement(self, reason, why, change):
        self.replacement_reason = reason
        self._replacement_requests += 1
        self._log.write(
            logs.INFO,
            "WSGID0350: group %r: wishes for a successor because %s" % (self._log.group, why),
        )
        self._page.request_replacement(reason, change)
        wakeup.wake_parent()

    def _resume(self):
        self._not_before = time.monotonic() + self._patience
        self._log.write(
            logs.INFO,
            "WSGID0351: group %r: its successor could not take over, for the reason given above, where one was tried; "
            "this process goes on serving with the code that it has, and %s"
            % (
                self._log.group,
                "asks again when the script changes again"
                if self.replacement_reason == process_abi.REPLACE_CHANGED
                else "asks again in %g s" % self._patience,
            ),
        )
        self._patience = min(2 * self._patience, REQUEST_AGAIN_MOST)
        self.replacement_reason = process_abi.REPLACE_NONE
        self.wake()

    def _drain(self, why, bound, code=0):
        """No more requests from now on. `bound` in seconds; 0: as long as it takes."""
        self._deadline = time.monotonic() + bound if bound else NEVER
        self._code = code
        self._page.set_state(process_abi.PAGE_DRAINING)
        if why != GONE:
            wakeup.wake_parent()
        self._transport.drain()
        self._log.write(
            logs.INFO,
            "WSGID0310: group %r: leaving because %s: finishes what it has read%s"
            % (self._log.group, why, ", at most %g s" % bound if bound else ""),
        )
        self.wake()

    def _hasten(self, why, bound, code=0):
        """Asked again: the stricter bound holds."""
        if bound:
            self._deadline = min(self._deadline, time.monotonic() + bound)
        self.wake()

    def _cut_off(self):
        from pywsgid.daemon.process import stacks

        running = [worker for worker in self._workers if worker.environ is not None]
        self._log.write(
            logs.WARN,
            "WSGID0312: group %r: time is up with %d requests still running; leaving without them: a "
            "larger graceful-timeout= or shutdown-timeout= gives them more"
            % (self._log.group, len(running)),
        )
        stacks.dump_running(self._log, running)
        os._exit(self._code)

    def _abandon(self, bound):
        self._log.write(
            logs.WARN,
            "WSGID0315: group %r: a thread or an atexit handler of the application did not end within %.1f s; "
            "leaving without it: make it a daemon thread, or end it in an atexit handler"
            % (self._log.group, bound),
        )
        os._exit(self._code)

    # ---- the main thread

    def take_signals(self):
        """From here on signals drain. Only in the main thread."""
        _signal.set_wakeup_fd(self._pipe_end, warn_on_full_buffer=False)
        numbers = (*DRAIN_SIGNALS, _signal.SIGUSR2)
        for number in numbers:
            _signal.signal(number, _note)
        forks.release_signals(numbers)

    @property
    def workers(self):
        return self._workers

    def run(self, transport, workers, announce, control):
        """Serves until it is to leave, and ends the process. `announce` is called when it
        serves."""
        self._transport = transport
        self._workers = workers
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        poll.register(self._lifeline, select.POLLIN)
        poll.register(control.descriptor, select.POLLIN)
        self._control = control
        self.step("loaded", announce)
        while self.state != "ending":
            try:
                self._turn(poll)
            except MemoryError:
                time.sleep(
                    RECOVERY
                )  # somebody may give some back; without this loop nobody would hear a signal
        self._end()

    def _turn(self, poll):
        self._keep(False)
        for descriptor, _ in poll.poll(self._sleep()):
            if descriptor == self._pipe:
                self._read_notes()
            elif descriptor == self._lifeline:
                if not self._read_lifeline():
                    poll.unregister(self._lifeline)
            elif self._control is not None:
                self._control.answer()
        self._look_around()
        if self._control is not None and self.state not in ("serving", "replacing"):
            poll.unregister(self._control.descriptor)  # its successor is to be asked
            self._control = None

    def _sleep(self):
        """How long until something is due, in milliseconds; None: for ever."""
        due = min(self._deadline, min((keeper.due for keeper in self.keepers), default=NEVER))
        return None if due == NEVER else max(0.0, (due - time.monotonic()) * 1000)

    def _keep(self, all_of_them):
        """Lets the keepers look that are due, or all."""
        now = time.monotonic()
        for keeper in self.keepers[:]:
            if all_of_them or keeper.due <= now:
                try:
                    keeper.due = keeper.look(now)
                except (
                    Exception
                ) as error:  # ours; the process must still hear of signals and its lifeline
                    self.keepers.remove(keeper)
                    self._log.write(
                        logs.CRIT,
                        "WSGID0325: group %r: an error inside mod_wsgid, please report it:\n%s"
                        % (self._log.group, logs.traceback_text(error, whole=True)),
                    )

    def _look_around(self):
        busy = len(self._workers) - self._left
        if not busy and self.state in ("serving", "replacing"):
            self.step(
                "unfit", "all of its threads have ended", self._configuration.graceful_timeout, 1
            )
        if self.state != "draining":
            return
        stuck = sum(worker.is_abandoned for worker in self._workers)
        if busy <= stuck:
            self._tell_finished(stuck)
            self.step("done")
        elif time.monotonic() >= self._deadline:
            self.step("expired")

    def _tell_finished(self, stuck):
        without = ", without %d requests that are stuck" % stuck if stuck else ""
        self._log.write(
            logs.INFO, "WSGID0311: group %r: finished, leaving%s" % (self._log.group, without)
        )

    def _read_lifeline(self):
        """False: it has nothing more to say. Whoever has pulled it lets go of it, which is no end
        of httpd.
        """
        try:
            word = os.read(self._lifeline, 1)
        except OSError:
            word = b""
        if word and word[0] == process_abi.LIFELINE_FAILED:
            self.step("refused")
            return True
        if word:
            self.step("replaced", "its lifeline was pulled", self._configuration.graceful_timeout)
        else:
            self.step("orphaned", GONE, self._configuration.shutdown_timeout)
        return False

    def _read_notes(self):
        try:
            notes = os.read(self._pipe, 4096)
        except BlockingIOError:
            return
        for number in set(notes):
            if number in DRAIN_SIGNALS:
                name, option = DRAIN_SIGNALS[number]
                self.step("asked", "of " + name, getattr(self._configuration, option))
            elif number == _signal.SIGUSR2:
                from pywsgid.daemon.process import stacks

                stacks.dump_all(self._log, self._workers)
            elif number == LOOK:
                self._keep(True)

    # ---- the end

    def _end(self):
        """Joins the application's threads and runs its atexit handlers, not for ever, and then ends
        the process.

        The interpreter is not finalized: nothing is left that it could do for anybody, while
        extension modules and threads that are still in C crash in it often enough.
        """
        import atexit

        bound = max(EXIT_GRACE_LEAST, min(self._deadline - time.monotonic(), EXIT_GRACE_MOST))
        _thread.start_new_thread(self._exit_anyway, (bound,))
        faulthandler.dump_traceback_later(bound + HUNG_BEHIND, exit=True, file=2)
        threading._shutdown()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception as error:  # the application has put one of its own in its place
                self._log.write(
                    logs.WARN,
                    "WSGID0316: group %r: sys.stdout or sys.stderr cannot be flushed: %s"
                    % (self._log.group, logs.describe(error)),
                )
        os._exit(self._code)

    def _exit_anyway(self, bound):
        time.sleep(bound)
        self.step("expired", bound)
