"""wsgi.errors (PEP 3333, "Input and Error Streams"), and all other lines about a request that runs.

They are sent to httpd in LOG frames. httpd writes them to the ErrorLog of the request's own virtual
host, with the client's address and the other context of the request.

Rules: a frame is a whole line; an unfinished line is sent by flush() or at the end of the request.
After the request has ended (in a thread that lives on, in close() of the response) lines go to the
process's own log. Any thread may write.
"""

from __future__ import annotations

from pywsgid.daemon import logs, streams
from pywsgid.daemon.system import _thread
from pywsgid.wire import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from pywsgid.daemon.interfaces import Exchange

PARTIAL_MAX = logs.LINE_MAX  # characters of an unfinished line: an endless one is sent in pieces


class Errors:
    """The wsgi.errors of one request."""

    __slots__ = ("_exchange", "_locks", "_log", "_partial")

    name = "<wsgi.errors>"
    encoding = "utf-8"
    errors = "backslashreplace"
    closed = False

    def __init__(self, exchange: Exchange, log: logs.Log) -> None:
        self._exchange: Exchange | None = exchange
        self._log = log
        self._partial = ""  # the unfinished line
        self._locks: list[Any] = []

    def send(self, level: int, lines: Sequence[str]) -> bool:
        """Sends lines (logs.record_lines()) to httpd, to be logged for this request. False: the
        request has ended.
        """
        exchange = self._exchange
        if exchange is None:
            return False
        request = exchange.id
        if self._exchange is None:  # it ended meanwhile, and the id may be that of the next request
            return False
        if self._log.may_want(level):
            try:
                exchange.log(request, [protocol.encode_log(level, line) for line in lines])
            except OSError:  # PeerGone, or no memory to send: the caller could do nothing about it
                return False
        return True

    def _lock(self) -> Any:
        """The lock of the unfinished line, made when it is first needed. If several threads make
        one at once, the first in the list counts. Reentrant, as a __del__ may write meanwhile.
        """
        if not self._locks:
            self._locks.append(_thread.RLock())
        return self._locks[0]

    def record(self, level: int, text: str, code: str) -> None:
        """Logs a record of ours, whose lines all begin with `code`: that of the message that it
        belongs to.
        """
        self.application(level, logs.record_lines(text, code))

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError("wsgi.errors.write() argument must be str, not " + type(text).__name__)
        record = logs.current_record() if logs.current_record is not None else None
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

    def application(self, level: int, lines: Sequence[str]) -> None:
        """Logs lines of the application (logs.record_lines())."""
        if not self.send(level, lines):
            self._log.write_lines(level, lines)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._lock():
            text, self._partial = self._partial, ""
        if text:
            self.application(logs.ERROR, logs.loose_lines(text))

    def end(self) -> None:
        """The request ends: sends the unfinished line. Later lines go to the process's log."""
        if self._partial:
            self.flush()
        self._exchange = None

    @property
    def buffer(self) -> streams.Bytes:
        return streams.Bytes(self)

    def detach(self) -> streams.Bytes:
        """The buffer; the stream itself can be used as before."""
        return self.buffer

    def fileno(self) -> int:
        return 2

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def close(self) -> None:
        """Only flushes. PEP 3333 does not give wsgi.errors a close(), but applications call it."""
        self.flush()
