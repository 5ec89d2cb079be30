"""`logging` in a daemon: its records become lines of the log, at their own levels, unless the
application has set up something else. Imported at once behind `logging` itself (adoption.py): a
process without it does not pay for it.

Rules. What the application sets up is what it gets, and nothing is logged twice:
- The handler stands above the root logger and not on it. So logging.basicConfig(), which looks at
the root's handlers,
  works at any time, and records of a logger that has only handlers elsewhere (Django's mail_admins) are not lost.
- Once the root logger has a handler, the application has decided, and ours is silent.
logging.info() and its kin call
  basicConfig() by themselves when the root has none; that is no decision, so it does nothing.
- A record that a StreamHandler has written to sys.stderr, sys.stdout or wsgi.errors is in the log
already.
- While the application says nothing of levels, LogLevel does: the root logger lets through what
httpd would log.

Levels: 50 crit, 40 error, 30 warn, 20 info, 10 debug, below trace1. What a StreamHandler writes has
the level of its stream, so that it is shown, but error or crit if the record is that.
"""

import functools
import logging
import sys
import weakref

from pywsgid.daemon import logs

# (from this level of `logging` on, httpd's)
LEVELS = ((50, logs.CRIT), (40, logs.ERROR), (30, logs.WARN), (20, logs.INFO), (10, logs.DEBUG))
FINEST = 8  # trace1
EMIT = logging.StreamHandler.emit.__code__


def level_of(levelno):
    """httpd's level for one of `logging`."""
    return next((level for least, level in LEVELS if levelno >= least), FINEST)


def least_of(level):
    """The least level of `logging` that httpd would log at this LogLevel."""
    return (
        min((least for least, ours in LEVELS if ours <= level), default=50) if level < FINEST else 1
    )


class Handler(logging.Handler):
    """Logs records as lines of the application.

    No lock is held meanwhile, as other handlers hold theirs: a line is whole by itself, and one
    that is sent to httpd may have to wait for a slow client, which must not keep other threads from
    logging.
    """

    def __init__(self, log, level=logging.NOTSET):
        super().__init__(level)
        self._log = log
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        self._of_root = logging.Formatter()

    def handle(self, record):
        found = self.filter(record)
        if found:
            self.emit(found if isinstance(found, logging.LogRecord) else record)
        return found

    def emit(self, record):
        level = level_of(record.levelno)
        if self._log.may_want(level):
            self._log.application(level, logs.record_lines(self._text(record)))

    def _text(self, record):
        try:
            return self._of_root.format(record) if record.name == "root" else self.format(record)
        except (
            Exception
        ) as error:  # a record whose arguments do not fit its format must not hurt who logs it
            return "%s: unformattable log record %r: %s" % (
                record.name,
                record.msg,
                logs.describe(error),
            )


class Default(Handler):
    """The one above the root logger."""

    is_silent = False  # the application has decided

    def emit(self, record):
        was_silent, self.is_silent = self.is_silent, bool(logging.root.handlers)
        if self.is_silent:
            if not was_silent:
                logging.root.setLevel(
                    logging.root.level
                )  # has loggers forget what they were allowed before
        elif _shown() is not record:
            super().emit(record)


class Above(logging.Logger):
    """What stands above the root logger. Its level counts for loggers that are given none, as the
    root is not then.
    """

    def __init__(self, handler, least):
        super().__init__("wsgid")
        self._least = least
        self.addHandler(handler)

    @property
    def level(self):
        return logging.WARNING if logging.root.handlers else self._least

    @level.setter
    def level(self, level):
        pass


def adopt(log):
    """Puts the handler in its place."""
    least = least_of(log.request_level)
    if least < logging.root.level:
        logging.root.setLevel(logging.NOTSET)
    logging.root.parent = Above(Default(log), min(least, logging.WARNING))
    logging.lastResort = Handler(
        log, logging.WARNING
    )  # for a logger that does not propagate and has no handler
    logging.basicConfig = basic_config(logging.basicConfig)
    logs.record_behind = written_by


def basic_config(original):
    """What stands for logging.basicConfig: it does nothing when `logging` calls it by itself."""

    @functools.wraps(original)
    def basicConfig(**options):
        if options or sys._getframe(1).f_globals is not vars(logging):
            original(**options)

    return basicConfig


# -------- what a StreamHandler writes


def _nothing():
    return None


def _shown():
    """The record that this thread has shown last."""
    return getattr(logs.current, "shown", _nothing)()


class Written:
    """A record that a StreamHandler is about to write."""

    def __init__(self, record):
        self._record = record

    def log(self, say, level, text):
        """Logs it as `text`, at the stream's level or above; `say` is Log.say or the like."""
        logs.current.shown = weakref.ref(self._record)
        say(min(level, level_of(self._record.levelno)), logs.record_lines(text))


def written_by():
    """What the caller of our caller, a write(), writes: a Written, or None if that is no record."""
    frame = sys._getframe(1).f_back
    record = frame.f_locals.get("record") if frame is not None and frame.f_code is EMIT else None
    return Written(record) if record is not None else None
