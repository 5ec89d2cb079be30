"""`logging` in a daemon: its records become lines of the log, at their own levels, unless the
application has set up something else. logging_import.py imports this file right after `logging`, so
that a process without `logging` does not pay for it.

Rules: what the application sets up is what it gets, and nothing is logged twice.
- The handler is above the root logger (its parent), not on it. So logging.basicConfig(), which
  checks the root's handlers, works at any time, and records of loggers whose only handlers are
  elsewhere (Django's mail_admins) are not lost.
- Once the root logger has a handler, the application has decided, and ours is silent.
  logging.info() and its like call basicConfig() by themselves if the root has none; that is not a
  decision, so it does nothing.
- A record that a StreamHandler has written to sys.stderr, sys.stdout or wsgi.errors is in the log
  already.
- As long as the application sets no level, LogLevel decides: the root logger passes on what httpd
  would log.

Levels: 50 crit, 40 error, 30 warn, 20 info, 10 debug, anything lower trace1. What a StreamHandler
writes has the level of its stream, or a more severe one if the record has that.
"""

from __future__ import annotations

import functools
import logging
import weakref

from pywsgid.daemon import cpython, logs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    WriteLines = Callable[[int, Sequence[str]], None]  # Log.write_lines or the like

# (from this level of `logging` on, httpd's level)
LEVELS = ((50, logs.CRIT), (40, logs.ERROR), (30, logs.WARN), (20, logs.INFO), (10, logs.DEBUG))
FINEST = 8  # trace1
CLIENT_GONE = "the client has gone while it sent the request"
EMIT = logging.StreamHandler.emit.__code__


def level_of(levelno: int) -> int:
    """httpd's level for one of `logging`."""
    return next((level for least, level in LEVELS if levelno >= least), FINEST)


def least_of(level: int) -> int:
    """The lowest level of `logging` that httpd would log at this LogLevel."""
    if level >= FINEST:
        return 1
    return min((least for least, ours in LEVELS if ours <= level), default=50)


class Handler(logging.Handler):
    """Logs records as lines of the application.

    Other handlers hold their lock in handle(); this one holds none. A line needs no lock, and one
    that is sent to httpd may have to wait for a slow client, which must not keep other threads from
    logging.
    """

    def __init__(self, log: logs.Log, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._log = log
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        self._root_formatter = logging.Formatter()

    def handle(self, record: logging.LogRecord) -> Any:
        found = self.filter(record)
        if found:
            self.emit(found if isinstance(found, logging.LogRecord) else record)
        return found

    def emit(self, record: logging.LogRecord) -> None:
        level, text = level_of(record.levelno), ""
        if record.exc_info and logs.is_disconnect(record.exc_info[1]):
            level = max(level, logs.INFO)
            text = "%s: %s (%s)" % (record.name, record.getMessage(), CLIENT_GONE)
        if self._log.may_want(level):
            self._log.application(level, logs.record_lines(text or self._text(record)))

    def format(self, record: logging.LogRecord) -> str:
        if record.name == "root":
            return self._root_formatter.format(record)
        return super().format(record)

    def _text(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:
            # Arguments that do not match the format must not harm the caller.
            return "%s: unformattable log record %r: %s" % (
                record.name,
                record.msg,
                logs.describe(error),
            )


class DefaultHandler(Handler):
    """The handler above the root logger."""

    is_silent = False  # the application has decided

    def emit(self, record: logging.LogRecord) -> None:
        was_silent, self.is_silent = self.is_silent, bool(logging.root.handlers)
        if self.is_silent:
            if not was_silent:
                # Makes loggers forget which levels they were allowed before.
                logging.root.setLevel(logging.root.level)
        elif _last_written() is not record:
            super().emit(record)


class AboveRoot(logging.Logger):
    """The parent of the root logger. Its level counts for all loggers that have none of their own,
    since adopt() leaves the root without one.
    """

    def __init__(self, handler: logging.Handler, least: int) -> None:
        super().__init__("wsgid")
        self._least = least
        self.addHandler(handler)

    @property
    def level(self) -> int:
        return logging.WARNING if logging.root.handlers else self._least

    @level.setter
    def level(self, level: int) -> None:
        pass


class ExplicitHandler(Handler):
    """mod_wsgi.LogHandler: a Handler that the application adds to a logger itself."""

    log: logs.Log

    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(self.log, level)
        self.setFormatter(None)

    def format(self, record: logging.LogRecord) -> str:
        return logging.Handler.format(self, record)

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        logs.current.written = weakref.ref(record)


def explicit_handler(log: logs.Log) -> type[ExplicitHandler]:
    """mod_wsgi.LogHandler."""
    return type("LogHandler", (ExplicitHandler,), {"__module__": "mod_wsgi", "log": log})


def adopt(log: logs.Log) -> None:
    """Puts our handler in its place, once for each process."""
    least = least_of(log.request_level)
    if least < logging.root.level:
        logging.root.setLevel(logging.NOTSET)
    logging.root.parent = AboveRoot(DefaultHandler(log), min(least, logging.WARNING))
    # For a logger that does not propagate and has no handler.
    logging.lastResort = Handler(log, logging.WARNING)
    setattr(logging, "basicConfig", _basic_config(logging.basicConfig))  # noqa: B010
    logs.current_record = written_by


def _basic_config(original: Callable[..., None]) -> Callable[..., None]:
    """A logging.basicConfig() that does nothing if `logging` calls it by itself."""

    @functools.wraps(original)
    def basicConfig(**options: Any) -> None:
        if options or cpython.caller_globals(0) is not vars(logging):
            original(**options)

    return basicConfig


# -------- what a StreamHandler writes


def _nothing() -> None:
    return None


def _last_written() -> logging.LogRecord | None:
    """The record that a StreamHandler has written last in this thread."""
    record: logging.LogRecord | None = getattr(logs.current, "written", _nothing)()
    return record


class Written:
    """A record that a StreamHandler is writing at the moment."""

    def __init__(self, record: logging.LogRecord) -> None:
        self._record = record

    def log(self, write_lines: WriteLines, level: int, text: str) -> None:
        """Logs it as `text`, at `level`, the stream's, or at its own if that is more severe."""
        logs.current.written = weakref.ref(self._record)
        write_lines(min(level, level_of(self._record.levelno)), logs.record_lines(text))


def written_by() -> Written | None:
    """For write() of a stream: the record that its caller, a StreamHandler, is writing; None if
    something else calls.
    """
    record = cpython.caller_local(1, EMIT, "record")
    return Written(record) if record is not None else None
