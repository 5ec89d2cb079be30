"""Processes that the application forks (os.fork, multiprocessing): signals mean to them what they
mean to any process.

They have our handlers and our wakeup descriptor from birth: a signal for one of them
(Process.terminate(), the end of a Pool) would not end it, and would be noted in our pipe, so that
we would leave. Signals are held back while a thread forks, since one may come before the child has
given up what is ours.
"""

import _signal
import os
import threading

_held = threading.local()  # .before: the mask of a thread that forks


def release_signals(numbers):
    """From now on children begin with default handlers for these signals. In a process that has set
    its own.
    """

    def hold():
        _held.before = _signal.pthread_sigmask(_signal.SIG_BLOCK, numbers)

    def release():
        _signal.pthread_sigmask(_signal.SIG_SETMASK, _held.before)

    def release_in_child():
        _signal.set_wakeup_fd(-1)
        for number in numbers:
            _signal.signal(number, _signal.SIG_DFL)
        release()

    os.register_at_fork(before=hold, after_in_parent=release, after_in_child=release_in_child)
