"""The main thread's life: boot, serve, drain, leave.

Rules: a signal handler only notes; the loop in Lifecycle.run acts. Whatever asks for the end (leash, signal, a failed
script) gets the same drain; they differ in how long it may take. Each bound is kept: a request, a thread or an atexit
handler that does not come to an end is told in the log and left behind.

    what            bound
    leash pulled    graceful-timeout (a successor has taken over)
    HUP, USR1       graceful-timeout
    TERM, INT       shutdown-timeout
    httpd has died  shutdown-timeout

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

from . import bell, handover, logs

LOOK = 0  # what a thread writes to the signal pipe to have the loop look around: no signal has this number
UNBOUNDED = float("inf")
EXIT_GRACE_LEAST = 1.0  # seconds that atexit handlers and threads of the application have at least
HUNG_BEHIND = 5.0  # seconds after startup-timeout until the C-level watchdog ends a process that holds the GIL

# signal -> its name, the option that bounds the drain
DRAIN_SIGNALS = {
    _signal.SIGTERM: ("SIGTERM", "shutdown_timeout"),
    _signal.SIGINT: ("SIGINT", "shutdown_timeout"),
    _signal.SIGHUP: ("SIGHUP", "graceful_timeout"),
    _signal.SIGUSR1: ("SIGUSR1", "graceful_timeout"),
}


def _note(number, frame):
    """The signal's number is in the pipe already (set_wakeup_fd)."""


class BootWatch:
    """While the main thread imports the application: startup-timeout, and the leash."""

    def __init__(self, log, timeout, leash):
        self._log = log
        self._timeout = timeout
        self._leash = leash
        self._stop = os.eventfd(0)
        if timeout:
            # Needs no GIL, for an import that hangs in C; its exit code is the interpreter's own, so it comes second.
            faulthandler.dump_traceback_later(timeout + HUNG_BEHIND, exit=True, file=2)
        self._thread = threading.Thread(target=self._run, name="wsgid-boot", daemon=True)
        self._thread.start()

    def stop(self):
        if self._timeout:
            faulthandler.cancel_dump_traceback_later()
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._stop)

    def _run(self):
        poll = select.poll()
        poll.register(self._stop, select.POLLIN)
        poll.register(self._leash, select.POLLIN)
        events = dict(poll.poll(self._timeout * 1000 if self._timeout else None))
        if self._stop in events:
            return
        if events:
            self._log.write(
                logs.INFO, "WSGID0309: group %r: not wanted any more while it was starting; leaving" % self._log.group
            )
            os._exit(0)
        self._log.write(
            logs.ERROR,
            "WSGID0304: group %r: not ready within startup-timeout=%g: what its import was doing stands "
            "below; make it faster or the limit larger" % (self._log.group, self._timeout),
        )
        faulthandler.dump_traceback(file=2, all_threads=True)
        os._exit(handover.EXIT_LOAD)


class Lifecycle:
    """From ready to the end of the process. `transport` and `workers` are what it drains."""

    def __init__(self, log, configuration, page, leash):
        self._log = log
        self._configuration = configuration
        self._page = page
        self._leash = leash
        self._transport = None
        self._workers = ()
        self._lock = threading.Lock()
        self._left = 0  # workers that have ended
        self._deadline = None  # monotonic; None: serving
        self._code = 0
        self._pipe, self._pipe_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    # ---- from any thread

    def worker_left(self):
        with self._lock:
            self._left += 1
        self._wake()

    def drain(self, why, bound, code=0):
        """Begins to leave: no more requests from now on. `bound` in seconds; 0: as long as it takes."""
        now = time.monotonic()
        deadline = now + bound if bound else UNBOUNDED
        with self._lock:
            first = self._deadline is None
            self._deadline = deadline if first else min(self._deadline, deadline)
            self._code = code if first else self._code
        if first:
            self._page.set_state(handover.PAGE_DRAINING)
            bell.ring()
            self._transport.drain()
            self._log.write(
                logs.INFO,
                "WSGID0310: group %r: leaving because %s: finishes what it has read%s"
                % (self._log.group, why, ", at most %g s" % bound if bound else ""),
            )
        self._wake()

    def _wake(self):
        try:
            os.write(self._pipe_end, bytes((LOOK,)))
        except OSError:
            pass  # full: then it wakes up anyway

    # ---- the main thread

    def take_signals(self):
        """From here on signals drain. Only in the main thread."""
        _signal.set_wakeup_fd(self._pipe_end, warn_on_full_buffer=False)
        for number in DRAIN_SIGNALS:
            _signal.signal(number, _note)
        _signal.signal(_signal.SIGUSR2, _note)

    def run(self, transport, workers):
        """Serves until it is to leave, and ends the process."""
        self._transport = transport
        self._workers = workers
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        poll.register(self._leash, select.POLLIN)
        for worker in workers:
            worker.start()
        transport.open()
        while not self._is_over():
            for descriptor, _ in poll.poll(self._patience()):
                if descriptor == self._leash:
                    poll.unregister(self._leash)
                    self._leash_moved()
                else:
                    self._read_notes()
        self._leave()

    def _patience(self):
        """How long to wait for events, in milliseconds; None: for ever."""
        if self._deadline is None or self._deadline == UNBOUNDED:
            return None
        return max(0, (self._deadline - time.monotonic()) * 1000 + 1)

    def _is_over(self):
        if self._deadline is None:
            return False
        return self._left == len(self._workers) or time.monotonic() >= self._deadline

    def _leash_moved(self):
        try:
            pulled = os.read(self._leash, 1)
        except OSError:
            pulled = b""
        if pulled:
            self.drain("its leash was pulled", self._configuration.graceful_timeout)
        else:
            self.drain("httpd has gone", self._configuration.shutdown_timeout)

    def _read_notes(self):
        try:
            notes = os.read(self._pipe, 4096)
        except BlockingIOError:
            return
        for number in set(notes):
            if number in DRAIN_SIGNALS:
                name, option = DRAIN_SIGNALS[number]
                self.drain("of " + name, getattr(self._configuration, option))
            elif number == _signal.SIGUSR2:
                from . import stacks

                stacks.dump_all(self._log, self._workers)

    # ---- the end

    def _leave(self):
        running = [worker for worker in self._workers if worker.environ is not None]
        if self._left != len(self._workers):
            from . import stacks

            self._log.write(
                logs.WARN,
                "WSGID0312: group %r: time is up with %d requests still running; leaving without them: a "
                "larger graceful-timeout= or shutdown-timeout= gives them more" % (self._log.group, len(running)),
            )
            stacks.dump_running(self._log, running)
            os._exit(self._code)
        self._log.write(logs.INFO, "WSGID0311: group %r: finished, leaving" % self._log.group)
        self._end()

    def _end(self):
        """Joins the application's threads and runs its atexit handlers, not for ever, and then ends the process.

        The interpreter is not finalized: nothing is left that it could do for anybody, while extension modules and
        threads that are still in C crash in it often enough.
        """
        import atexit

        bound = max(EXIT_GRACE_LEAST, min(self._deadline, time.monotonic() + 3600) - time.monotonic())
        _thread.start_new_thread(self._exit_anyway, (bound,))
        threading._shutdown()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception as error:  # the application has put one of its own in its place
                self._log.write(logs.WARN, "WSGID0316: group %r: sys.stdout or sys.stderr cannot be flushed: %s"
                                % (self._log.group, logs.describe(error)))
        os._exit(self._code)

    def _exit_anyway(self, bound):
        time.sleep(bound)
        self._log.write(
            logs.WARN,
            "WSGID0315: group %r: a thread or an atexit handler of the application did not end within %.1f s; "
            "leaving without it: make it a daemon thread, or end it in an atexit handler" % (self._log.group, bound),
        )
        os._exit(self._code)
