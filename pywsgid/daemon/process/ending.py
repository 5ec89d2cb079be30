"""The end of a process that has finished its requests: the application's threads and its atexit
handlers get some time, and then the process exits.

Python is not finalized: that would do nothing useful for anybody any more, while extension modules
and threads that are still in C crash in it often enough. Never returns; imported by lifecycle.py
alone.
"""

from __future__ import annotations

import faulthandler
import sys

from pywsgid.daemon import cpython, logs
from pywsgid.daemon.system import _thread, os, time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

# How long threads and atexit handlers may take: what is left of the time limit of the drain, but
# at least and at most so many seconds.
GRACE_LEAST, GRACE_MOST = 1.0, 15.0
# Seconds after that until faulthandler's C thread ends a process in which no Python can run.
HUNG_AFTER = 5.0


def end_process(
    log: logs.Log,
    left: float,
    code: int,
    give_up: Callable[[float], None],
    at_end: Callable[[], None] | None = None,
) -> NoReturn:
    """Calls `at_end`, joins threads, runs atexit handlers, flushes the streams and exits with
    `code`.

    `left` is what remains of the time limit, in seconds. If that is not enough, give_up(seconds
    that were granted) is called in another thread and has to end the process.
    """
    grace = max(GRACE_LEAST, min(left, GRACE_MOST))
    _thread.start_new_thread(_give_up_after, (grace, give_up))
    faulthandler.dump_traceback_later(grace + HUNG_AFTER, exit=True, file=2)
    if at_end is not None:
        at_end()
    for finish in (cpython.join_threads, cpython.run_exit_handlers):
        try:
            finish()
        except BaseException as error:
            log.write(
                logs.WARN,
                "WSGID0374: group %r: the process exits without waiting for threads and atexit "
                "handlers of the application, which has replaced parts of threading: %s; see "
                "that these work at the end of the process" % (log.group, logs.describe(error)),
            )
    flush_streams(log)
    os._exit(code)


def flush_streams(log: logs.Log) -> None:
    """Flushes what the application has in place of sys.stdout and sys.stderr."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception as error:  # the application has replaced it
            log.write(
                logs.WARN,
                "WSGID0316: group %r: the object that the application has put in place of "
                "sys.stdout or sys.stderr cannot be flushed at the end: %s; what it still held is "
                "lost: fix its flush()" % (log.group, logs.describe(error)),
            )


def _give_up_after(grace: float, give_up: Callable[[float], None]) -> None:
    time.sleep(grace)
    give_up(grace)
