"""Lines for the ErrorLog.

Where a line goes: records of `logging` from the thread that runs a request, and wsgi.errors, are
sent to httpd, which logs them for the request (wsgi/errors.py): in the ErrorLog of its virtual
host, filtered by the LogLevel that holds there. Everything else is written here, to descriptor 2,
a pipe: the guardian adds the time and the group's name, and writes it into the ErrorLog of the
group (apxs/guardian/output.c). One os.write for each line, which is short enough for the kernel to
write it as a whole: so lines of several processes never mix, and nothing is lost with a request
that is cut off or by a crash that follows. A thread that the application has started belongs to no
request.

What a line looks like: our own messages begin with their WSGIDnnnn code. Before that comes
`[request ID]` if the line is about a request; in lines that httpd logs, httpd puts it there.
A record (a message of ours, one of `logging`, a traceback) may have several lines. The second and
all further ones begin with `| `, after the code if the record has one. So no text can imitate
another line, and a search for a request or a code finds all of it.

Levels of the application's lines: sys.stdout is `notice`, which httpd always logs. sys.stderr is
`warn`: that is shown at httpd's default LogLevel, but what programs write there is mostly warnings
and progress, which must not wake an administrator who watches for `error`. `logging` has levels of
its own: application/log_records.py.
"""

from __future__ import annotations

from pywsgid.daemon.cpython import Local, native_id
from pywsgid.daemon.system import os
from pywsgid.wire import process_abi

# Callers write logs.WARN: for most of them this is the module of log lines.
from pywsgid.wire.log_format import (
    ALERT as ALERT,
    CRIT as CRIT,
    DEBUG as DEBUG,
    EMERG as EMERG,
    ERROR as ERROR,
    INFO as INFO,
    LEVEL_NAMES as LEVEL_NAMES,
    NOTICE as NOTICE,
    WARN as WARN,
    printable as printable,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType
    from typing import Any

DEFAULT_LEVEL = WARN  # httpd's own, until the configuration has been read

# The kernel writes up to 4096 bytes (PIPE_BUF) into a pipe as a whole, including the level, the
# group and so on. httpd escapes what is not ASCII, with four bytes for one. A longer line is
# continued on the next one.
LINE_MAX = 3072
MARK = chr(process_abi.OUTPUT_MARK)  # tells the guardian that a line is one of these
CAUSES_MOST = 10  # exceptions that are followed from one to its cause
CONTINUED = "| "  # begins every further line of a record
REQUEST_ID = "mod_wsgi.request_id"  # key of the environ

current = Local()  # .worker: the Worker whose thread this is; .written: see log_records.py
# log_records.written_by(), once `logging` has been imported.
current_record: Callable[[], Any] | None = None


# -------- lines


def split_lines(text: str) -> list[str]:
    """The lines of `text`, without their ends. Only a line feed ends a line; a carriage return
    before it is dropped.
    """
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return [line[:-1] if line.endswith("\r") else line for line in lines]


def pieces(line: str) -> list[str]:
    """A printable line in pieces that no log truncates."""
    if len(line) * 16 <= LINE_MAX:  # 16: the most bytes that one character can become
        return [line]
    found, begin, size = [], 0, 0
    for at, character in enumerate(line):
        more = (
            (2 if character in '\\"' else 1) if character.isascii() else 4 * len(character.encode())
        )
        if size + more > LINE_MAX:
            found.append(line[begin:at])
            begin, size = at, 0
        size += more
    return [*found, line[begin:]]


def code_of(text: str) -> str:
    """The code `WSGID0340` that a text begins with; "" if it does not."""
    return text[:9] if text.startswith("WSGID") else ""


def loose_lines(text: str) -> list[str]:
    """Lines for the log of what was written but is not a record."""
    return marked(split_lines(text), "", CONTINUED)


def record_lines(text: str, code: str = "") -> list[str]:
    """Lines for the log of a record. With a `code` it belongs to another record, and all its lines
    begin with that.
    """
    if code:
        return marked(split_lines(text), code + " " + CONTINUED)
    mark = (code_of(text) + " " + CONTINUED).lstrip()
    first, *others = split_lines(text) or [""]
    return marked([first], "", mark) + marked(others, mark)


def marked(lines: Iterable[str], mark: str, next_mark: str = "") -> list[str]:
    """Printable lines that begin with `mark`. A line that is too long continues on further ones,
    which begin with `next_mark`, by default `mark`.
    """
    found = []
    for line in lines:
        first, *others = pieces(printable(line))
        found.append(mark + first)
        found += [(next_mark or mark) + piece for piece in others]
    return found


# -------- the log


class Log:
    """The process's log.

    `level` is httpd's LogLevel for the module where the group is defined, `request_level` the most
    verbose one that holds for any request, `group` the name of the daemon group.
    """

    __slots__ = ("level", "request_level", "group", "_descriptor")

    def __init__(self, level: int = DEFAULT_LEVEL, group: str = "", descriptor: int = 2) -> None:
        self.level = self.request_level = level
        self.group = group
        self._descriptor = descriptor

    def wants(self, level: int) -> bool:
        """Whether a line of this level is logged here. Notices always are, as by httpd."""
        return level <= self.level or level == NOTICE

    def may_want(self, level: int) -> bool:
        """Whether a line of this level about a request may be logged: httpd decides."""
        return level <= self.request_level or level == NOTICE

    def write(self, level: int, text: str, environ: dict[str, Any] | None = None) -> None:
        """Logs a message of ours: about the request of `environ`, or else of this thread."""
        if self.wants(level):
            self._write(level, request_mark(environ), record_lines(text))

    def application(self, level: int, lines: Sequence[str]) -> None:
        """Logs lines of the application (record_lines()) for the request that this thread runs; in
        the process's own log if it runs none.
        """
        worker = getattr(current, "worker", None)
        if worker is None or worker.errors is None or not worker.errors.send(level, lines):
            self.write_lines(level, lines)

    def write_lines(self, level: int, lines: Sequence[str]) -> None:
        """Logs lines of the application in the process's own log."""
        if self.wants(level):
            self._write(level, request_mark(), lines)

    def _write(self, level: int, mark: str, lines: Sequence[str]) -> None:
        head = MARK + "[wsgid:%s] [pid %d:tid %d] " % (LEVEL_NAMES[level], os.getpid(), native_id())
        head += mark
        for line in lines:
            try:
                os.write(self._descriptor, (head + line + "\n").encode("utf-8", "backslashreplace"))
            except OSError:
                return  # the disk is full or the pipe has closed, and nobody can be informed


def request_mark(environ: dict[str, Any] | None = None) -> str:
    """`[request ID] ` of the request of `environ`, or else of this thread; "" without a request."""
    if environ is None:
        environ = getattr(getattr(current, "worker", None), "environ", None)
    # A copy, as it may belong to another thread. In Python 3.13t, get() of a dict that another
    # thread has filled waits for a lock that it holds itself: up to a second while more threads
    # compute than there are processors.
    name = dict(environ).get(REQUEST_ID) if environ else None
    return "[request " + printable(str(name)) + "] " if name else ""


# -------- exceptions


def is_ours(package: str | None) -> bool:
    """Whether a package of that name is part of pywsgid."""
    return package is not None and (package == "pywsgid" or package.startswith("pywsgid."))


def application_trace(error: BaseException) -> TracebackType | None:
    """The traceback of an exception, without our own frames at its beginning; None if there are no
    others.
    """
    trace = error.__traceback__
    while trace is not None and is_ours(trace.tb_frame.f_globals.get("__package__")):
        trace = trace.tb_next
    return trace


def traceback_text(error: BaseException, whole: bool = False) -> str:
    """An exception with its traceback, without our own frames at its beginning unless `whole`.
    Never raises.
    """
    trace = error.__traceback__ if whole else application_trace(error)
    try:
        import traceback  # milliseconds, and only needed when something has gone wrong

        return "".join(traceback.format_exception(type(error), error, trace))
    except Exception as broken:  # its __str__ raises, or no descriptor is left for the import
        return "%s (its traceback cannot be shown: %s)" % (
            type(error).__name__,
            type(broken).__name__,
        )


def is_disconnect(error: BaseException | None) -> bool:
    """Whether an exception means that the client has gone, or was raised from one that does. That
    is an everyday event, and worth neither an error nor a traceback.
    """
    for _ in range(CAUSES_MOST):
        if error is None or getattr(error, "is_disconnect", False):
            break
        error = error.__cause__
    return bool(getattr(error, "is_disconnect", False))


def describe(error: BaseException) -> str:
    """`ValueError: boom`, on one line. Never raises."""
    try:
        text = str(error)
    except Exception:
        text = "(no text: its __str__ failed)"
    text = " ".join(text.split())
    return type(error).__name__ + ": " + text if text else type(error).__name__
