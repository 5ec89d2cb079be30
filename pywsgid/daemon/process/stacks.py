"""What every thread is doing, as lines for the log.

Without a GIL the other threads run on while we look, and to follow their frames crashes the process
(Python's own documentation of free threading says so). faulthandler stops them; what it tells of at
most 100 threads is read back. No file is opened for that, neither sources nor modules: to close one
takes 3.13t a second while more threads compute than there are processors.
"""

import faulthandler
import os
import sys
import threading
import time

import pywsgid
from pywsgid.daemon import logs
from pywsgid.daemon.interpreter import is_free_threaded
from pywsgid.daemon.wsgi.environ import request_line

OUR_FILES = os.path.abspath(pywsgid.__path__[0]) + os.sep


def describe_worker(worker):
    """`GET /path, for 1.234 s`, or None if the worker is idle."""
    environ = worker.environ
    if environ is None:
        return None
    return "%s, for %.3f s" % (request_line(environ), time.monotonic() - worker.since)


def stack_text(identity):
    """A thread's stack, as text_of() gives it."""
    return text_of(take().get(identity))


def take():
    """{identity: stack} of every thread: a frame; without a GIL, (path, text) of each frame, the
    innermost last.
    """
    if not is_free_threaded:  # not has_gil(): an import may have one for a moment
        return sys._current_frames()
    descriptor = os.memfd_create("stacks")
    try:
        faulthandler.dump_traceback(file=descriptor, all_threads=True)
        return parse(
            os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode("ascii", "replace")
        )
    finally:
        os.close(descriptor)


def parse(text):
    """The stacks in what faulthandler has written: `Thread 0x7f00 (...)`, then `  File "app.py",
    line 1 in run`.
    """
    stacks, stack = {}, []
    for line in text.splitlines():
        if line.startswith(("Thread 0x", "Current thread 0x")):
            stack = stacks[int(line.partition("0x")[2].split()[0], 16)] = []
        elif line.startswith('  File "'):
            path, _, place = line[8:].partition('", line ')
            stack.insert(
                0, (path, '  File "%s", line %s\n' % (path, place.replace(" in ", ", in ", 1)))
            )
    return stacks


def text_of(stack, idle=False):
    """A stack without what it begins with: threading's frames and ours, unless there are no others.
    Of those of an idle thread only the innermost is told: where it waits."""
    if not stack:
        return "  (it has ended, or cannot be seen)\n"
    if isinstance(stack, list):
        return "".join(text for _, text in stack[_begin([path for path, _ in stack], idle) :])
    import traceback  # milliseconds

    frames = traceback.StackSummary.extract(list(traceback.walk_stack(stack))[::-1])
    told = frames[_begin([frame.filename for frame in frames], idle) :]
    return "".join(traceback.StackSummary.from_list(told).format())


def _begin(paths, idle):
    none = len(paths) - 1 if idle else 0
    return next((number for number, path in enumerate(paths) if not _is_ours(path)), none)


def _is_ours(path):
    return path.startswith(OUR_FILES) or path == threading.__file__


def texts(workers):
    """Of every thread: its name and what it runs, and its stack; those that run a request first."""
    running = {worker.thread.ident: describe_worker(worker) for worker in workers}
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    stacks = take()
    order = sorted(stacks, key=lambda identity: (not running.get(identity), identity in running))
    return [
        (
            "thread %s: %s"
            % (names.get(identity, identity), running.get(identity) or "no request"),
            text_of(stacks[identity], identity in running and not running[identity]),
        )
        for identity in order
    ]


def dump_all(log, workers):
    """Every thread's stack, with the request that it runs."""
    for what, stack in texts(workers):
        log.write(logs.NOTICE, "WSGID0314: group %r: %s\n%s" % (log.group, what, stack))


def dump_running(log, workers):
    """The requests that are still running, each with its stack."""
    stacks = take()
    for worker in workers:
        what = describe_worker(worker)
        if what is not None:
            stack = text_of(stacks.get(worker.thread.ident))
            log.write(
                logs.WARN,
                "WSGID0313: group %r: cut off: %s\n%s" % (log.group, what, stack),
                worker.environ,
            )
