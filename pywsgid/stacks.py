"""What every thread is doing, as lines for the log. Imported only when somebody asks: traceback costs milliseconds."""

import sys
import threading
import time
import traceback

from . import logs
from .environ import request_line


def describe_worker(worker):
    """`GET /path, for 1.234 s`, or None if the worker is idle."""
    environ = worker.environ
    if environ is None:
        return None
    return "%s, for %.3f s" % (request_line(environ), time.monotonic() - worker.since)


def stack_text(identity, idle=False):
    """A thread's stack, without what it begins with: threading's frames and ours, unless there are no others. Of those
    of an idle thread only the innermost is told: where it waits."""
    frame = sys._current_frames().get(identity)
    if frame is None:
        return "  (it has ended)\n"
    frames = list(traceback.walk_stack(frame))[::-1]
    none = len(frames) - 1 if idle else 0
    foreign = next((number for number, (frame, _) in enumerate(frames) if not _is_ours(frame.f_globals)), none)
    return "".join(traceback.StackSummary.extract(frames[foreign:]).format())


def _is_ours(names):
    return names.get("__package__") == __package__ or names.get("__name__") == "threading"


def texts(workers):
    """Of every thread: its name and what it runs, and its stack; those that run a request first."""
    running = {worker.thread.ident: describe_worker(worker) for worker in workers}
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    order = sorted(sys._current_frames(), key=lambda identity: (not running.get(identity), identity in running))
    return [
        (
            "thread %s: %s" % (names.get(identity, identity), running.get(identity) or "no request"),
            stack_text(identity, identity in running and not running[identity]),
        )
        for identity in order
    ]


def dump_all(log, workers):
    """Every thread's stack, with the request that it runs."""
    for what, stack in texts(workers):
        log.write(logs.NOTICE, "WSGID0314: group %r: %s\n%s" % (log.group, what, stack))


def dump_running(log, workers):
    """The requests that are still running, each with its stack."""
    for worker in workers:
        what = describe_worker(worker)
        if what is not None:
            stack = stack_text(worker.thread.ident)
            log.write(logs.WARN, "WSGID0313: group %r: cut off: %s\n%s" % (log.group, what, stack), worker.environ)
