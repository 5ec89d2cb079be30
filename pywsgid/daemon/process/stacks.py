"""What every thread is doing, as text for the log.

In a free-threaded Python the other threads run on meanwhile, and following their frames would crash
the process (see the documentation of free threading). There, faulthandler writes the stacks of at
most 100 threads, and they are read back from its text. That opens no source file: closing a file
takes 3.13t up to a second while more threads compute than there are processors.
"""

from __future__ import annotations

import faulthandler
import threading

import pywsgid
from pywsgid.daemon import cpython, logs
from pywsgid.daemon.request_info import request_line
from pywsgid.daemon.system import os, time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pywsgid.daemon.interfaces import Stack, Worker

OUR_FILES = os.path.abspath(pywsgid.__path__[0]) + os.sep


def describe_worker(worker: Worker) -> str | None:
    """`GET /path, for 1.234 s`; None if the worker is idle."""
    environ = worker.environ
    if environ is None:
        return None
    return "%s, for %.3f s" % (request_line(environ), time.monotonic() - worker.since)


def stack_text(identity: int | None) -> str:
    """A thread's stack, in the form of text_of(). `identity` is that of _thread.get_ident()."""
    return text_of(take().get(identity or 0))


def take() -> Mapping[int, Stack]:
    """{identity: stack} of every thread."""
    if not cpython.is_free_threaded:  # not has_gil(), which changes while an extension is imported
        return cpython.current_frames()
    descriptor = os.memfd_create("stacks")
    try:
        faulthandler.dump_traceback(file=descriptor, all_threads=True)
        size = os.fstat(descriptor).st_size
        return parse(os.pread(descriptor, size, 0).decode("ascii", "replace"))
    finally:
        os.close(descriptor)


def parse(text: str) -> dict[int, list[tuple[str, str]]]:
    """The stacks in faulthandler's text: `Thread 0x7f00 (...)`, then `  File "app.py", line 1 in
    run` for each frame.
    """
    stacks: dict[int, list[tuple[str, str]]] = {}
    stack: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith(("Thread 0x", "Current thread 0x")):
            stack = stacks[int(line.partition("0x")[2].split()[0], 16)] = []
        elif line.startswith('  File "'):
            path, _, place = line[8:].partition('", line ')
            place = place.replace(" in ", ", in ", 1)
            stack.insert(0, (path, '  File "%s", line %s\n' % (path, place)))
    return stacks


def text_of(stack: Stack | None, idle: bool = False) -> str:
    """A stack in the form of a traceback, without the frames of threading and of pywsgid that it
    begins with, unless there are no others. Of an `idle` thread only the innermost frame is shown:
    where it waits.
    """
    if not stack:
        return "  (the thread has ended, or its stack cannot be read)\n"
    if isinstance(stack, list):
        return "".join(text for _, text in stack[_first_shown([path for path, _ in stack], idle) :])
    import traceback  # milliseconds

    frames = traceback.StackSummary.extract(list(traceback.walk_stack(stack))[::-1])
    shown = frames[_first_shown([frame.filename for frame in frames], idle) :]
    return "".join(traceback.StackSummary.from_list(shown).format())


def _first_shown(paths: list[str], idle: bool) -> int:
    """The index of the first frame to show, by the files of all frames."""
    default = len(paths) - 1 if idle else 0
    return next((number for number, path in enumerate(paths) if not _is_ours(path)), default)


def _is_ours(path: str) -> bool:
    return path.startswith(OUR_FILES) or path == threading.__file__


def texts(workers: Iterable[Worker]) -> list[tuple[str, str]]:
    """(name of the thread and its request, stack) of every thread; those with a request first."""
    running = {worker.identity: describe_worker(worker) for worker in workers}
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


def dump_all(log: logs.Log, workers: Iterable[Worker]) -> None:
    """Logs every thread's stack, with the request that it runs."""
    for what, stack in texts(workers):
        log.write(logs.NOTICE, "WSGID0314: group %r: %s\n%s" % (log.group, what, stack))


def dump_running(log: logs.Log, workers: Iterable[Worker]) -> None:
    """Logs the requests that are still running and will be cut off, each with its stack."""
    stacks = take()
    for worker in workers:
        what = describe_worker(worker)
        if what is not None:
            stack = text_of(stacks.get(worker.identity or 0))
            log.write(
                logs.WARN,
                "WSGID0313: group %r: cut off while it was running: %s\n%s"
                % (log.group, what, stack),
                worker.environ,
            )
