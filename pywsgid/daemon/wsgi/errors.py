"""wsgi.errors, and whatever else is said about one request while it runs: LOG frames, so that httpd
logs it in the ErrorLog of the request's own virtual host, with the client's address and the rest of
the request's context.

Rules: a frame is a whole line; a line in the making is sent by flush() or at the end of the
request. After the request has ended (a thread that lives on, close() of the response) lines go to
the process's own log. Any thread may write.
"""

from _thread import RLock

from pywsgid.daemon import logs
from pywsgid.wire import protocol

PARTIAL_MAX = logs.LINE_MAX  # an endless line is sent in pieces


class Errors:
    """The wsgi.errors of one request."""

    __slots__ = ("_exchange", "_locks", "_log", "_partial")

    encoding = "utf-8"
    errors = "backslashreplace"
    closed = False

    def __init__(self, exchange, log):
        self._exchange = exchange
        self._log = log
        self._partial = ""
        self._locks = []

    def send(self, level, lines):
        """Sends lines (logs.record_lines) as frames against the request. False: that is over."""
        exchange = self._exchange
        if exchange is None:
            return False
        request = exchange.id
        if (
            self._exchange is None
        ):  # over meanwhile: this may be the id of the next one. Else it is ours
            return False
        if self._log.may_want(level):
            try:
                exchange.log(request, [protocol.encode_log(level, line) for line in lines])
            except OSError:  # PeerGone, or no memory for a send: who logs has no use for either
                return False
        return True

    def _lock(self):
        """For the line in the making. Several threads may make it at once: the first in the list is
        it. A __del__ that writes meanwhile may take it again."""
        if not self._locks:
            self._locks.append(RLock())
        return self._locks[0]

    def record(self, level, text, code):
        """Logs a record of ours that belongs to a message of this code."""
        self.application(level, logs.record_lines(text, code))

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("wsgi.errors.write() argument must be str, not " + type(text).__name__)
        record = logs.record_behind() if logs.record_behind is not None else None
        if record is not None:
            record.log(self.application, logs.ERROR, text)
            return len(text)
        with self._lock():
            lines, newline, self._partial = (self._partial + text).rpartition("\n")
            is_long = len(self._partial) > PARTIAL_MAX
        if newline:
            self.application(logs.ERROR, logs.loose_lines(lines + "\n"))
        if is_long:
            self.flush()
        return len(text)

    def application(self, level, lines):
        """Logs lines of the application."""
        if not self.send(level, lines):
            self._log.say(level, lines)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        with self._lock():
            text, self._partial = self._partial, ""
        if text:
            self.application(logs.ERROR, logs.loose_lines(text))

    def detach(self):
        """The request ends: what is still in the making goes out, and later lines to the process's
        log.
        """
        if self._partial:
            self.flush()
        self._exchange = None

    def isatty(self):
        return False

    def writable(self):
        return True

    def readable(self):
        return False

    def close(self):
        """PEP 3333 gives wsgi.errors no close(); an application that calls it all the same does no
        harm.
        """
        self.flush()
