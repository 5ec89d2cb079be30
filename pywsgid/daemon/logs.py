"""Lines for the ErrorLog, in its own form; print() and sys.stderr become such lines.

Where a line goes: records of `logging` from the thread that runs a request, and wsgi.errors, are
sent to httpd, which logs them against the request (errors.py): in the ErrorLog of its virtual host,
filtered by the LogLevel that holds there. Everything else is written here, to descriptor 2, the
ErrorLog of the group: one line, one os.write, so that lines of several processes never mix, and
nothing is lost with a request that is cut off, or by a crash behind it. A thread that the
application has started belongs to no request.

What a line looks like: messages of ours begin with their WSGIDnnnn code; lines of the application
in the group's log carry the group's name instead. `[request ID]` stands before both in what is
about a request; where httpd logs it, it puts that there. A record (a message of ours, one of
`logging`, a traceback) is one line if it has one; each further one begins with `| `, behind the
code if the record has one: so no text can pass for a line of its own, and who looks for a request
or a code finds all of it.

Levels of the application's lines: sys.stdout is `notice`, which httpd always logs; sys.stderr is
`warn`: it is shown at httpd's default LogLevel, yet what writes there is mostly warnings and
progress, and an administrator who watches for `error` must not be woken by them. `logging` has
levels of its own: records.py.
"""

import io
import os
import sys
import time
from _thread import _local, get_native_id

# Callers say logs.WARN: for most of them this is the module of log lines.
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

DEFAULT_LEVEL = WARN  # httpd's own, until the configuration has been read

# strftime would speak the application's locale.
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# httpd's own longest line is 8192 bytes, with its time, the client and the rest; and it escapes
# what is not ASCII, four bytes for one. A longer line is continued on the next one.
LINE_MAX = 7168
CONTINUED = "| "  # what a further line of a record begins with
REQUEST_ID = "mod_wsgi.request_id"  # key of environ

ZONE = os.environ.get("TZ")  # before the application can change it
_known_zone = None  # tzinfo of ZONE, once it is needed

current = _local()  # .worker: the Worker whose thread this is
record_behind = None  # records.written_by(), once `logging` is there


def local_time(seconds):
    """In httpd's zone, as its own lines: the application may have one for itself (Django sets
    TIME_ZONE's).
    """
    if os.environ.get("TZ") == ZONE:
        return time.localtime(seconds)
    try:
        from datetime import datetime  # milliseconds, all of this

        return datetime.fromtimestamp(seconds, _zone()).timetuple()
    except (
        ImportError,
        MemoryError,
    ):  # at the end of the interpreter, or of memory; the line matters more
        return time.localtime(seconds)


def _zone():
    global _known_zone
    if _known_zone is None:
        from datetime import timezone
        from zoneinfo import ZoneInfo

        try:
            if ZONE is None:
                with open("/etc/localtime", "rb") as file:
                    _known_zone = ZoneInfo.from_file(file)
            else:
                _known_zone = ZoneInfo(ZONE.lstrip(":"))
        except (OSError, ValueError, KeyError):  # the last, where there is no zone of that name
            _known_zone = timezone.utc
    return _known_zone


def timestamp(now=None):
    """`Mon Nov 23 08:20:19.123456 2026`."""
    now = time.time() if now is None else now
    seconds = int(now)
    at = local_time(seconds)
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


def split_lines(text):
    """The lines of `text`, without their ends. Only line feeds end a line; a carriage return before
    one is dropped.
    """
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return [line[:-1] if line.endswith("\r") else line for line in lines]


def pieces(line):
    """A printable line in pieces that no log cuts."""
    if len(line) * 16 <= LINE_MAX:  # the most that one character can become
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


def code_of(text):
    """`WSGID0340`; "" if the text does not begin with a code."""
    return text[:9] if text.startswith("WSGID") else ""


def loose_lines(text):
    """What was written without being a record, as lines for the log."""
    return marked(split_lines(text), "", CONTINUED)


def record_lines(text, code=""):
    """A record as lines for the log. With a `code` it belongs to another one, and all its lines say
    so.
    """
    if code:
        return marked(split_lines(text), code + " " + CONTINUED)
    mark = (code_of(text) + " " + CONTINUED).lstrip()
    first, *others = split_lines(text) or [""]
    return marked([first], "", mark) + marked(others, mark)


def marked(lines, mark, next_mark=""):
    """Lines for the log, each begun with `mark`; what is too long goes on behind `next_mark`."""
    found = []
    for line in lines:
        first, *others = pieces(printable(line))
        found.append(mark + first)
        found += [(next_mark or mark) + piece for piece in others]
    return found


class Log:
    """The process's log. `level` is httpd's LogLevel for the module where the group is defined,
    `request_level` the most verbose one that any request can have, `group` names the daemon
    group."""

    __slots__ = ("level", "request_level", "group", "_descriptor")

    def __init__(self, level=DEFAULT_LEVEL, group="", descriptor=2):
        self.level = self.request_level = level
        self.group = group
        self._descriptor = descriptor

    def wants(self, level):
        return level <= self.level or level == NOTICE  # httpd, too, always logs notices

    def may_want(self, level):
        """Whether a line of this level about a request may be logged: httpd has the last word."""
        return level <= self.request_level or level == NOTICE

    def write(self, level, text, environ=None):
        """Logs a record of ours; about the request of `environ`, or of this thread."""
        if self.wants(level):
            self._write(level, request_mark(environ), record_lines(text))

    def application(self, level, lines):
        """Logs lines of the application, from record_lines(), against the request that this thread
        runs, if it does.
        """
        worker = getattr(current, "worker", None)
        if worker is None or worker.errors is None or not worker.errors.send(level, lines):
            self.say(level, lines)

    def say(self, level, lines):
        """Logs lines of the application in the process's own log."""
        if self.wants(level):
            self._write(level, "[group " + self.group + "] " + request_mark(), lines)

    def _write(self, level, mark, lines):
        head = "[%s] [wsgid:%s] [pid %d:tid %d] " % (
            timestamp(),
            LEVEL_NAMES[level],
            os.getpid(),
            get_native_id(),
        )
        head += mark
        for line in lines:
            try:
                os.write(self._descriptor, (head + line + "\n").encode("utf-8", "backslashreplace"))
            except OSError:
                return  # the log's disk is full or its pipe is gone: nobody can be told


def request_mark(environ=None):
    """`[request ID] ` of a request, that of this thread if none is given; "" if there is none."""
    if environ is None:
        environ = getattr(getattr(current, "worker", None), "environ", None)
    # A copy, as it may be another thread's: to find what another thread has made, get() of Python
    # 3.13t waits for a lock that it has itself, up to a second while more threads compute than
    # there are processors.
    name = dict(environ).get(REQUEST_ID) if environ else None
    return "[request " + printable(str(name)) + "] " if name else ""


class Stream(io.TextIOBase):
    """sys.stdout or sys.stderr: text whose lines become log lines. Each thread has a line of its
    own in the making.
    """

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    mode = "w"
    # any thread has ever left a line unfinished: only then it is worth a look after a request
    has_begun = False

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
        record = record_behind() if record_behind is not None else None
        if record is not None:
            record.log(self._log.say, self._level, text)
        else:
            self._write(text)
        return len(text)

    def _write(self, text):
        started = self._started
        whole = getattr(started, "text", "") + text
        if "\n" in whole:
            whole, _, started.text = whole.rpartition("\n")
            self._log.say(self._level, loose_lines(whole + "\n"))
        elif len(whole) >= LINE_MAX:
            started.text = ""
            self._log.say(self._level, loose_lines(whole))
        else:
            started.text = whole
        if started.text:
            self.has_begun = True

    def flush(self):
        text = getattr(self._started, "text", "")
        if text:
            self._started.text = ""
            self._log.say(self._level, loose_lines(text))

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


def capture_streams(log):
    """print() and sys.stderr become lines of the log. Gives the two streams."""
    sys.stdout = Stream(log, NOTICE, "<stdout>", 1)
    sys.stderr = Stream(log, WARN, "<stderr>", 2)
    return sys.stdout, sys.stderr


def is_ours(package):
    """Whether a package, by its name or None, is part of pywsgid."""
    return package == "pywsgid" or (package or "").startswith("pywsgid.")


def application_trace(error):
    """The traceback of an exception without its first frames that are ours; None if all of them
    are.
    """
    trace = error.__traceback__
    while trace is not None and is_ours(trace.tb_frame.f_globals.get("__package__")):
        trace = trace.tb_next
    return trace


def traceback_text(error, whole=False):
    """An exception with its traceback as text, without our own first frames unless `whole`."""
    import traceback  # milliseconds, and only needed when something has gone wrong

    trace = error.__traceback__ if whole else application_trace(error)
    try:
        return "".join(traceback.format_exception(type(error), error, trace))
    except Exception as broken:  # an exception whose __str__ raises
        return "%s (its traceback cannot be shown: %s)" % (
            type(error).__name__,
            type(broken).__name__,
        )


def describe(error):
    """`ValueError: boom`, on one line, never failing."""
    try:
        text = str(error)
    except Exception:
        text = "(no text: its __str__ failed)"
    text = " ".join(text.split())
    return type(error).__name__ + ": " + text if text else type(error).__name__
