"""wsgi.input (PEP 3333, "Input and Error Streams"): the request's body, requested from httpd only
when the application reads it.

Rules: httpd sends body bytes only against credit, and credit is granted only by a read, so a body
that the application does not read holds up nobody. The end is the flag END of httpd's last frame,
with or without a Content-Length (wsgi.input_terminated); a read at the end returns b"", always. A
body that breaks off raises InputLost, an OSError: a read is never shortened silently.

Not an io class, as those cost a finalizer for each request. It has what io.BufferedReader and
werkzeug need.
"""

from __future__ import annotations

import errno
from io import BytesIO

from pywsgid.daemon.transport.peer import PeerGone
from pywsgid.wire.protocol import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pywsgid.daemon.interfaces import Exchange

# Bytes of credit that httpd has at a time. It is raised when half is used up, so that httpd does
# not have to stop and wait for it. More bytes than the buffer of a UNIX socket holds (208 KiB by
# default) wait at the client anyway: a larger window only saves frames, each of which wakes httpd.
WINDOW = 384 * 1024
# A read of more bytes than this is built in place, as joining its pieces takes twice the memory.
LARGE = 1024 * 1024


class InputLost(ConnectionResetError):
    """The rest of the request's body will never come. An OSError is what frameworks take for a
    client that has vanished.
    """

    is_disconnect = False  # see logs.is_disconnect()


class Input:
    """Reads the body of an exchange. `report_violation` is called with a ProtocolError."""

    __slots__ = ("_exchange", "_data", "_position", "_count", "_ended", "_report")

    closed = False

    def __init__(
        self, exchange: Exchange, report_violation: Callable[[ProtocolError], None] | None = None
    ) -> None:
        self._exchange: Exchange | None = exchange
        # What has been received; the bytes before _position have been read.
        self._data = exchange.body
        self._position = 0
        self._count = len(self._data)
        self._ended = False
        self._report = report_violation

    # ---- receiving

    def _more(self) -> bool:
        """Receives once, after everything received before has been read. False: the body has ended.
        InputLost if it breaks off.
        """
        if self._ended:
            return False
        exchange = self._exchange
        if exchange is None:
            raise InputLost(
                errno.ECONNABORTED, "the request has ended: its body can no longer be read"
            )
        if exchange.complete:
            self._ended = True
            return False
        try:
            credit = exchange.credit
            if credit <= WINDOW // 2:
                exchange.grant(WINDOW - credit)
            data = exchange.receive()
        except PeerGone as error:
            raise self._lost(error) from None
        except ProtocolError as error:
            if self._report is not None:
                self._report(error)
            exchange.drop()
            raise self._lost(error) from None
        if not data:
            self._ended = True
            return False
        self._count += len(data)
        self._data = data
        self._position = 0
        return True

    def _lost(self, error: Exception) -> InputLost:
        reason = error.strerror if isinstance(error, OSError) else "the connection to httpd broke"
        lost = InputLost(
            errno.ECONNRESET,
            "the request's body broke off after %d bytes: %s" % (self._count, reason),
        )
        lost.is_disconnect = isinstance(error, PeerGone)
        return lost

    def _take(self, size: int) -> bytes:
        """At most `size` of the received bytes."""
        start = self._position
        if not start and size >= len(self._data):
            data, self._data = self._data, b""
            return data
        data = self._data[start : start + size]
        self._position = start + len(data)
        return data

    def _available(self) -> int:
        return len(self._data) - self._position

    # ---- PEP 3333

    def read(self, size: int | None = -1) -> bytes:
        """Exactly `size` bytes, fewer only at the end of the body; with None or a negative size,
        the rest of the body. InputLost (all methods that read) if the body breaks off.
        """
        if size is None or size < 0:
            size = 1 << 62
        if size <= self._available() or self._ended:
            return self._take(size)
        if size > LARGE:
            whole = BytesIO()
            for piece in self._pieces(size):
                whole.write(piece)
            return whole.getvalue()  # no copy, as it is the only reference
        pieces = list(self._pieces(size))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _pieces(self, size: int) -> Iterator[bytes]:
        """`size` bytes, or those up to the end of the body, as they arrive."""
        while size and (self._available() or self._more()):
            piece = self._take(size)
            size -= len(piece)
            yield piece

    def read1(self, size: int | None = -1) -> bytes:
        """The bytes that have arrived, at most `size`; waits only if there are none."""
        if size is None or size < 0:
            size = 1 << 62
        if not size or not self._available() and not self._more():
            return b""
        return self._take(size)

    def readinto(self, buffer: Any) -> int:
        """Fills a writable buffer; returns how many bytes, fewer only at the end of the body."""
        view = memoryview(buffer).cast("B")
        filled = 0
        for piece in self._pieces(len(view)):
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        return filled

    def readline(self, size: int | None = -1) -> bytes:
        """A line with its line feed, at most `size` bytes of it; b"" at the end of the body."""
        if size is None or size < 0:
            size = 1 << 62
        pieces = []
        while size:
            if not self._available() and not self._more():
                break
            end = self._data.find(b"\n", self._position)
            piece = self._take(size if end < 0 else min(size, end + 1 - self._position))
            size -= len(piece)
            pieces.append(piece)
            if end >= 0 and piece.endswith(b"\n"):
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """The lines up to the end of the body, or until they contain `hint` bytes."""
        lines = []
        total = 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint <= total:
                break
        return lines

    def __iter__(self) -> Input:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    # ---- for wrappers such as io.BufferedReader

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def isatty(self) -> bool:
        return False

    def flush(self) -> None:
        """Does nothing; io.BufferedRandom and others call it."""

    def close(self) -> None:
        """Does nothing. PEP 3333 forbids applications to call it, and some do."""

    def detach(self) -> None:
        """The request ends: a later read raises InputLost."""
        self._exchange = None
