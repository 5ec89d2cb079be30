"""wsgi.input: the request's body, read from httpd only when the application asks for it.

Rules: httpd sends body bytes only against credit, and credit is granted only while somebody reads,
so a body that nobody reads blocks nobody. The end is httpd's END, with or without a Content-Length
(wsgi.input_terminated): reading at the end gives b"", for ever. A body that breaks off raises
InputLost, an OSError: never a silent short read.

A plain class, not an io class: those cost a finalizer for each request. It has what
io.BufferedReader and werkzeug ask for.
"""

import errno
from io import BytesIO

from pywsgid.daemon.transport.peer import PeerGone
from pywsgid.wire.protocol import ProtocolError

# Credit that is out at once, topped up at half, so that httpd need not stop to wait for the next
# grant. What a UNIX socket's buffer (208 KiB by default) does not hold waits at the client all the
# same: a larger window only takes fewer grants, each of which wakes httpd.
WINDOW = 384 * 1024
LARGE = 1024 * 1024  # a read of more is put together in place: twice its memory would be too much


class InputLost(OSError):
    """The rest of the request's body will never come."""


class Input:
    """Reads the body of an exchange."""

    __slots__ = ("_exchange", "_data", "_position", "_count", "_ended", "_report")

    closed = False

    def __init__(self, exchange, report_violation=None):
        self._exchange = exchange
        self._data = exchange.body  # received and not read; what is before _position has been read
        self._position = 0
        self._count = len(self._data)
        self._ended = False
        self._report = report_violation

    # ---- what there is

    def _more(self):
        """Receives once, when all that was there has been read; False at the end of the body."""
        if self._ended:
            return False
        exchange = self._exchange
        if exchange is None:
            raise InputLost(
                errno.ECONNABORTED, "the request is over: its body cannot be read any more"
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

    def _lost(self, error):
        reason = error.strerror if isinstance(error, OSError) else "connection to httpd broken"
        return InputLost(
            errno.ECONNRESET,
            "the request's body broke off after %d bytes: %s" % (self._count, reason),
        )

    def _take(self, size):
        """At most `size` of the bytes that are there."""
        start = self._position
        if not start and size >= len(self._data):
            data, self._data = self._data, b""
            return data
        data = self._data[start : start + size]
        self._position = start + len(data)
        return data

    def _available(self):
        return len(self._data) - self._position

    # ---- PEP 3333

    def read(self, size=-1):
        """Exactly `size` bytes, fewer only at the end of the body; all that is left for None or a
        negative size.
        """
        if size is None or size < 0:
            size = 1 << 62
        if size <= self._available() or self._ended:
            return self._take(size)
        if size > LARGE:
            whole = BytesIO()
            for piece in self._pieces(size):
                whole.write(piece)
            return whole.getvalue()  # not copied, as nobody else has it
        pieces = list(self._pieces(size))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _pieces(self, size):
        """As they come, `size` bytes or up to the end of the body."""
        while size and (self._available() or self._more()):
            piece = self._take(size)
            size -= len(piece)
            yield piece

    def read1(self, size=-1):
        """What is there, at most `size`; waits only if there is nothing."""
        if size is None or size < 0:
            size = 1 << 62
        if not size or not self._available() and not self._more():
            return b""
        return self._take(size)

    def readinto(self, buffer):
        view = memoryview(buffer).cast("B")
        filled = 0
        for piece in self._pieces(len(view)):
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        return filled

    def readline(self, size=-1):
        """A line with its end, at most `size` bytes of it; b"" at the end of the body."""
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

    def readlines(self, hint=-1):
        """Lines to the end of the body, or until they hold `hint` bytes."""
        lines = []
        total = 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint <= total:
                break
        return lines

    def __iter__(self):
        return self

    def __next__(self):
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    # ---- what wrappers ask for

    def readable(self):
        return True

    def writable(self):
        return False

    def seekable(self):
        return False

    def isatty(self):
        return False

    def flush(self):
        """For io.BufferedRandom and the like; there is nothing to flush."""

    def close(self):
        """PEP 3333 forbids applications to call it; one that does only loses the bytes that it has
        not read.
        """

    def detach(self):
        """The request ends: nobody may read from the connection any more."""
        self._exchange = None
