"""Signals: how they reach the main thread, and what they mean in processes that the application
forks.

A handler does nothing. Python writes the number of each signal to the signal pipe
(signal.set_wakeup_fd), on which the main loop sleeps. Other threads wake that loop through the same
pipe.

A forked child (os.fork, multiprocessing) inherits our handlers and the signal pipe. A signal for
the child would then not end it (Process.terminate(), the end of a Pool), and our process would act
on it. So the child goes back to the default effects; and as a signal could come before that,
signals are blocked while a thread forks.

Until the process is ready, signals have their default effects: there is nothing to finish.
"""

from __future__ import annotations

from pywsgid.daemon.cpython import Local, signals
from pywsgid.daemon.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

WAKE = 0  # what a thread writes to wake the main loop: no signal has this number

# Signal -> its name, and the option that limits how long the process may then take to leave.
DRAIN_SIGNALS = {
    int(signals.SIGTERM): ("SIGTERM", "shutdown_timeout"),
    int(signals.SIGINT): ("SIGINT", "shutdown_timeout"),
    int(signals.SIGHUP): ("SIGHUP", "graceful_timeout"),
    int(signals.SIGUSR1): ("SIGUSR1", "graceful_timeout"),
}
STACKS_SIGNAL = int(signals.SIGUSR2)
OWN = (*DRAIN_SIGNALS, STACKS_SIGNAL)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """A handler: the number is in the signal pipe already."""


class SignalPipe:
    """`descriptor` can be read when a signal has come or a thread has called wake()."""

    def __init__(self) -> None:
        self.descriptor, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def take_signals(self) -> None:
        """From now on the signals of OWN arrive here. Only for the main thread."""
        signals.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for number in OWN:
            signals.signal(number, _do_nothing)
        _restore_in_children(OWN)

    def wake(self) -> None:
        """Wakes the main loop. For any thread; never waits."""
        try:
            os.write(self._write_end, bytes((WAKE,)))
        except OSError:
            pass  # the pipe is full, so the loop wakes up anyway

    def read(self) -> set[int]:
        """The numbers that have come since the last call, WAKE among them."""
        try:
            return set(os.read(self.descriptor, 4096))
        except BlockingIOError:
            return set()


def _restore_in_children(numbers: Sequence[int]) -> None:
    """Has forked children begin with the default effects of these signals."""
    blocked = Local()  # .before: the signal mask of a thread that forks

    def block() -> None:
        blocked.before = signals.pthread_sigmask(signals.SIG_BLOCK, numbers)

    def unblock() -> None:
        signals.pthread_sigmask(signals.SIG_SETMASK, blocked.before)

    def restore() -> None:
        signals.set_wakeup_fd(-1)
        for number in numbers:
            signals.signal(number, signals.SIG_DFL)
        unblock()

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=restore)
