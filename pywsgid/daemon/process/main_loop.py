"""What the main thread does while the process serves: it sleeps until a signal comes, the lifeline
or an administrator has something to say, or a periodic task is due.

Rules: this loop only finds out what has happened; what that means for the process is decided by
Lifecycle.step(). Nothing here waits for a worker. A periodic task (interfaces.PeriodicTask) has
the time at which it is due; the loop sleeps until the first of them, for ever if there is none.
"""

from __future__ import annotations

from pywsgid.daemon import logs
from pywsgid.daemon.process import descriptors, lifecycle
from pywsgid.daemon.process.signals import DRAIN_SIGNALS, STACKS_SIGNAL, WAKE
from pywsgid.daemon.system import os, select, time
from pywsgid.wire import process_abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pywsgid.daemon.configuration import Configuration
    from pywsgid.daemon.interfaces import PeriodicTask
    from pywsgid.daemon.process.control import Control
    from pywsgid.daemon.process.signals import SignalPipe

RECOVERY = 0.05  # seconds of rest when memory or descriptors have run out
ORPHAN_INTERVAL = 1.0  # seconds between two looks whether httpd still waits
RETRY_INTERVAL = 1.0  # seconds until a task without a descriptor runs again


class Orphan:
    """A periodic task once the guardian has ended. Another guardian may be there soon, but nobody
    if all of httpd has been killed: when httpd waits for none of the requests any more, they have
    `bound` seconds.
    """

    due = 0.0

    def __init__(self, life: lifecycle.Lifecycle, bound: float) -> None:
        self._life, self._bound = life, bound
        self._is_deserted = False

    def poll(self, now: float) -> float:
        """See interfaces.PeriodicTask."""
        if self._is_deserted:
            return lifecycle.NEVER
        running = [worker for worker in self._life.workers if worker.environ is not None]
        if not all(worker.is_deserted for worker in running):
            return now + ORPHAN_INTERVAL
        self._is_deserted = True
        self._life.step("orphaned", lifecycle.GUARDIAN_HAS_ENDED, self._bound)
        return lifecycle.NEVER


class MainLoop:
    """The daemon adds the `tasks` before it calls run(). `lifeline` is a descriptor."""

    def __init__(
        self,
        log: logs.Log,
        configuration: Configuration,
        life: lifecycle.Lifecycle,
        pipe: SignalPipe,
        lifeline: int,
    ) -> None:
        self.tasks: list[PeriodicTask] = []
        self._log = log
        self._configuration = configuration
        self._life = life
        self._pipe = pipe
        self._lifeline = lifeline
        self._control: Control | None = None

    def run(self, control: Control) -> None:
        """Returns when the process has nothing more to do than to end."""
        poll = select.poll()
        poll.register(self._pipe.descriptor, select.POLLIN)
        poll.register(self._lifeline, select.POLLIN)
        poll.register(control.descriptor, select.POLLIN)
        self._control = control
        while self._life.state != "ending":
            try:
                self._turn(poll)
            except MemoryError:
                # Another thread may give some back; and without this loop nobody reads signals.
                time.sleep(RECOVERY)
            except OSError as error:
                if not descriptors.are_missing(error):
                    raise
                time.sleep(RECOVERY)

    def _turn(self, poll: select.poll) -> None:
        self._run_tasks(False)
        for descriptor, _ in poll.poll(self._sleep()):
            if descriptor == self._pipe.descriptor:
                self._read_signals()
            elif descriptor == self._lifeline:
                if not self._read_lifeline():
                    poll.unregister(self._lifeline)
            elif self._control is not None:
                self._control.answer()
        self._life.advance()
        if self._control is not None and not self._life.takes_requests:
            # Administrators ask the process that serves the slot now.
            poll.unregister(self._control.descriptor)
            self._control = None

    def _sleep(self) -> float | None:
        """Milliseconds until something is due; None: nothing is."""
        tasks_due = min((task.due for task in self.tasks), default=lifecycle.NEVER)
        due = min(self._life.deadline, tasks_due)
        return None if due == lifecycle.NEVER else max(0.0, (due - time.monotonic()) * 1000)

    def _run_tasks(self, all_of_them: bool) -> None:
        """Runs the periodic tasks that are due, or all of them."""
        now = time.monotonic()
        for task in self.tasks[:]:
            if all_of_them or task.due <= now:
                try:
                    task.due = task.poll(now)
                except Exception as error:
                    if isinstance(error, OSError) and descriptors.are_missing(error):
                        task.due = now + RETRY_INTERVAL
                        continue
                    # Ours. The process must still hear of signals and of its lifeline.
                    self.tasks.remove(task)
                    self._log.write(
                        logs.CRIT,
                        "WSGID0325: group %r: internal error in mod_wsgid, please report it:\n%s"
                        % (self._log.group, logs.traceback_text(error, whole=True)),
                    )

    def _read_lifeline(self) -> bool:
        """False: nothing more comes from the lifeline. Whoever writes "leave" closes it, which does
        not mean that the guardian has ended.
        """
        try:
            message = os.read(self._lifeline, 1)
        except OSError:
            message = b""
        if message and message[0] == process_abi.LIFELINE_FAILED:
            self._life.step("refused")
            return True
        if message:
            bound = self._configuration.graceful_timeout
            self._life.step("replaced", "httpd does not need this process any more", bound)
        else:
            bound = self._configuration.graceful_timeout
            self._life.step("orphaned", lifecycle.GUARDIAN_HAS_ENDED, bound)
            self.tasks.append(Orphan(self._life, self._configuration.shutdown_timeout))
        return False

    def _read_signals(self) -> None:
        for number in self._pipe.read():
            if number in DRAIN_SIGNALS:
                name, option = DRAIN_SIGNALS[number]
                bound = getattr(self._configuration, option)
                self._life.step("asked", "it has received " + name, bound)
            elif number == STACKS_SIGNAL:
                from pywsgid.daemon.process import stacks

                stacks.dump_all(self._log, self._life.workers)
                if self._life.at_signal is not None:
                    self._life.at_signal("SIGUSR2", number)
            elif number == WAKE:
                self._run_tasks(True)
