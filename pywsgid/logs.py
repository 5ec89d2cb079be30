"""Lines for the group's ErrorLog, in its own form; print(), sys.stderr and `logging` become such lines.

Rules: one line, one os.write to descriptor 2, so that lines of several processes never mix. Messages of ours begin
with their WSGIDnnnn code; lines of the application carry the group's name instead. What belongs to a request's own
virtual host (wsgi.errors) is not written here but sent to httpd: errors.py.

Levels of the application's lines: sys.stdout is `notice`, which httpd always logs; sys.stderr is `warn`: it is shown
at httpd's default LogLevel, yet what writes there is mostly warnings and progress, and an administrator who watches
for `error` must not be woken by them.

`logging` is not imported for its own sake. Once the application has imported it, records that no handler of the
application takes (logging.lastResort) get their own level. A handler on the root logger would do the same but turn
the application's later logging.basicConfig() into a no-op.
"""

import io
import os
import sys
import time
from _thread import _local, get_native_id

EMERG, ALERT, CRIT, ERROR, WARN, NOTICE, INFO, DEBUG = range(8)
LEVEL_NAMES = ("emerg", "alert", "crit", "error", "warn", "notice", "info", "debug") + tuple(
    "trace%d" % number for number in range(1, 9)
)
DEFAULT_LEVEL = WARN  # httpd's own, until the configuration has been read

# strftime would speak the application's locale.
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

LINE_MAX = 8192  # httpd's own longest log line; a longer text is continued on the next one


def timestamp(now=None):
    """`Mon Nov 23 08:20:19.123456 2026`."""
    now = time.time() if now is None else now
    seconds = int(now)
    at = time.localtime(seconds)
    return "%s %s %02d %02d:%02d:%02d.%06d %d" % (
        DAYS[at.tm_wday],
        MONTHS[at.tm_mon - 1],
        at.tm_mday,
        at.tm_hour,
        at.tm_min,
        at.tm_sec,
        int((now - seconds) * 1000000),
        at.tm_year,
    )


def printable(text):
    """`text` as bytes for one log line: no control byte can forge a line or drive a terminal; never fails."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode("ascii") for c in text)
    return text.encode("utf-8", "backslashreplace")


def split_lines(text):
    """The lines of `text`, without their ends. Only line feeds end a line; a carriage return before one is dropped."""
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return [line[:-1] if line.endswith("\r") else line for line in lines]


class Log:
    """The process's log. `level` is httpd's effective LogLevel for the module; `group` names the daemon group."""

    __slots__ = ("level", "group", "_descriptor")

    def __init__(self, level=DEFAULT_LEVEL, group="", descriptor=2):
        self.level = level
        self.group = group
        self._descriptor = descriptor

    def wants(self, level):
        return level <= self.level or level == NOTICE  # httpd, too, always logs notices

    def write(self, level, text):
        """Logs each line of `text`."""
        if self.wants(level):
            for line in split_lines(text):
                self._line(level, printable(line))

    def application(self, level, line):
        """Logs one line that the application wrote."""
        if self.wants(level):
            self._line(level, b"[group " + self.group.encode("utf-8", "replace") + b"] " + printable(line))

    def _line(self, level, text):
        head = "[%s] [wsgid:%s] [pid %d:tid %d] " % (timestamp(), LEVEL_NAMES[level], os.getpid(), get_native_id())
        head = head.encode("ascii")
        for start in range(0, len(text) or 1, LINE_MAX):
            try:
                os.write(self._descriptor, head + text[start : start + LINE_MAX] + b"\n")
            except OSError:
                return  # the log's disk is full or its pipe is gone: nobody can be told


class Stream(io.TextIOBase):
    """sys.stdout or sys.stderr: text whose lines become log lines. Each thread has a line of its own in the making."""

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    mode = "w"
    has_begun = False  # any thread has ever left a line unfinished: only then it is worth a look after a request

    def __init__(self, log, level, name, descriptor):
        self._log = log
        self._level = level
        self._descriptor = descriptor
        self._started = _local()
        self.name = name
        self.buffer = _Bytes(self)

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not " + type(text).__name__)
        started = self._started
        whole = getattr(started, "text", "") + text
        if "\n" in whole:
            whole, _, rest = whole.rpartition("\n")
            started.text = rest
            for line in split_lines(whole + "\n"):
                self._log.application(self._level, line)
        elif len(whole) >= LINE_MAX:
            started.text = ""
            self._log.application(self._level, whole)
        else:
            started.text = whole
        if started.text:
            self.has_begun = True
        return len(text)

    def flush(self):
        text = getattr(self._started, "text", "")
        if text:
            self._started.text = ""
            self._log.application(self._level, text)

    def close(self):
        """Only flushes: the interpreter and the next print() still need it."""
        self.flush()

    def fileno(self):
        return self._descriptor

    def isatty(self):
        return False

    def writable(self):
        return True

    def reconfigure(self, **_):
        """For programs that ask sys.stdout for UTF-8 or line buffering: it has both."""


class _Bytes:
    """Stream.buffer."""

    def __init__(self, stream):
        self._stream = stream
        self.raw = self

    def write(self, data):
        self._stream.write(str(data, "utf-8", "backslashreplace"))
        return len(data)

    def __getattr__(self, name):
        return getattr(self._stream, name)


class LastResort:
    """What stands in for logging.lastResort: the record's own level in place of sys.stderr's."""

    level = 30  # logging.WARNING, as the original's

    def __init__(self, log):
        self._log = log
        self._formatter = sys.modules["logging"].Formatter()

    def handle(self, record):
        try:
            text = self._formatter.format(record)
        except Exception as error:  # a record whose arguments do not fit its format must not hurt who logs it
            text = "unformattable log record %r: %s" % (record.msg, error)
        if record.name != "root":
            text = record.name + ": " + text
        for line in split_lines(text):
            self._log.application(level_of_record(record.levelno), line)


def level_of_record(levelno):
    """httpd's level for one of `logging`: 50 crit, 40 error, 30 warn, 20 info, below debug."""
    for least, level in ((50, CRIT), (40, ERROR), (30, WARN), (20, INFO)):
        if levelno >= least:
            return level
    return DEBUG


def adopt_logging(log):
    """Gives `logging` its last resort, if the application has imported it and has not set one itself."""
    module = sys.modules.get("logging")
    original = getattr(module, "_defaultLastResort", None)
    if original is not None and module.lastResort is original:
        module.lastResort = LastResort(log)


def capture_streams(log):
    """print() and sys.stderr become lines of the log. Gives the two streams."""
    sys.stdout = Stream(log, NOTICE, "<stdout>", 1)
    sys.stderr = Stream(log, WARN, "<stderr>", 2)
    return sys.stdout, sys.stderr


def application_trace(error):
    """The traceback of an exception without its first frames that are ours; None if all of them are."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__package__") == __package__:
        trace = trace.tb_next
    return trace


def traceback_text(error, whole=False):
    """An exception with its traceback as text, without our own first frames unless `whole`."""
    import traceback  # milliseconds, and only needed when something has gone wrong

    trace = error.__traceback__ if whole else application_trace(error)
    try:
        return "".join(traceback.format_exception(type(error), error, trace))
    except Exception as broken:  # an exception whose __str__ raises
        return "%s (its traceback cannot be shown: %s)" % (type(error).__name__, type(broken).__name__)


def describe(error):
    """`ValueError: boom`, on one line, never failing."""
    try:
        text = str(error)
    except Exception:
        text = "(no text: its __str__ failed)"
    text = " ".join(text.split())
    return type(error).__name__ + ": " + text if text else type(error).__name__
