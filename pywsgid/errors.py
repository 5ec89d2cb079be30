"""wsgi.errors: lines that the application writes about one request become LOG frames, so that httpd logs them in the
ErrorLog of the request's own virtual host, with the client's address and the rest of the request's context.

Rules: a frame is a whole line; a line in the making is sent by flush() or at the end of the request. After the
request has ended (a thread that lives on, close() of the response) lines go to the process's own log. Any thread may
write.
"""

from . import logs, protocol
from .peer import PeerGone

PARTIAL_MAX = 8192  # httpd's longest log line: an endless one is sent in pieces


def send_lines(exchange, log, level, text):
    """Sends each line of `text` as a LOG frame against the request, or to the process's log if its time is over."""
    if not log.wants(level):
        return
    frames = [protocol.encode_log(level, logs.printable(line).decode("utf-8")) for line in logs.split_lines(text)]
    try:
        exchange.send(frames)
    except PeerGone:
        log.write(level, text)


class Errors:
    """The wsgi.errors of one request."""

    __slots__ = ("_exchange", "_log", "_partial")

    encoding = "utf-8"
    errors = "backslashreplace"
    closed = False

    def __init__(self, exchange, log):
        self._exchange = exchange
        self._log = log
        self._partial = ""

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("wsgi.errors.write() argument must be str, not " + type(text).__name__)
        whole = self._partial + text
        lines, newline, self._partial = whole.rpartition("\n")
        if newline:
            self._emit(lines + "\n")
        if len(self._partial) > PARTIAL_MAX:
            self.flush()
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        text, self._partial = self._partial, ""
        if text:
            self._emit(text)

    def detach(self):
        """The request ends: what is still in the making goes out, and later lines to the process's log."""
        if self._partial:
            self.flush()
        self._exchange = None

    def _emit(self, text):
        exchange = self._exchange
        if exchange is not None:
            send_lines(exchange, self._log, logs.ERROR, text)
        else:
            for line in logs.split_lines(text):
                self._log.application(logs.ERROR, line)

    def isatty(self):
        return False

    def writable(self):
        return True

    def readable(self):
        return False

    def close(self):
        """PEP 3333 gives wsgi.errors no close(); an application that calls it all the same does no harm."""
        self.flush()
