"""The server's side of PEP 3333: start_response(), write() and the iterable, sent by way of an
exchange.

Rules: the head (status and headers) is sent with the first block that is not empty, or at the end
of the iterable, and never before. Each block is sent when it comes. A list or a tuple is complete
already, so head and body go out in one send, with a Content-Length. An application that breaks a
rule of PEP 3333 gets a Violation, at the call that broke it where that is possible. A response that
cannot be completed ends with ABORT, so that the client sees that it is broken. close() of the
iterable is not called here but by the worker, which calls it exactly once.

The end of the response goes with the block that completes the Content-Length, in one send: nobody
waits for what the application does after it, and httpd hears of it once. Whatever the application
produces or raises after that reaches only the log. If a part of the request has not been received
yet, the connection is still needed, and the end follows when the iterable is exhausted.

States: HEADLESS (start_response() has not been called) -> HELD (called, nothing sent: exc_info may
replace it) -> SENT -> COMPLETE (by its Content-Length; the application still runs) -> ENDED. Some
may be left out; none comes again.
"""

from __future__ import annotations

from pywsgid.daemon.cpython import has_gil
from pywsgid.daemon.transport.peer import PeerGone
from pywsgid.daemon.wsgi import file_wrapper
from pywsgid.daemon.wsgi.rules import (
    HOP_BY_HOP,
    SPECIFICATION,
    START_RESPONSE,
    WRITE,
    CalledAgain,
    LengthMismatch,
    Violation,
    check_block,
    check_headers,
    check_status,
    not_iterable,
)
from pywsgid.wire import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from pywsgid.daemon.interfaces import Exchange, ExcInfo, Headers, Parts

    # A checked head: Content-Length, whether the status has no body, and the encoded bytes.
    CheckedHead = tuple[int | None, bool, bytes | None]

HEADLESS, HELD, SENT, COMPLETE, ENDED = range(5)

BODILESS = ("204", "304")  # RFC 9110, 6.4.1; 1xx is not a final status

# The blocks of a list are joined, unless it has more than JOINED_MAX bytes and its blocks have
# SEPARATE_MIN on average: copying those would cost more than a frame for each.
JOINED_MAX = protocol.MAX_DATA
SEPARATE_MIN = 16 * 1024
# An application has few different heads, or one for each response; the latter must not fill the
# memory.
HEADS_REMEMBERED = 200
HEAD_REMEMBERED_MAX = 1024  # bytes


class Known:
    """Names and heads that have been checked before."""

    __slots__ = ("names", "heads")

    def __init__(self) -> None:
        self.names: dict[str, str] = {}  # header name -> its lower case
        self.heads: dict[tuple[Any, ...], CheckedHead] = {}  # (status, *headers) -> the head


_shared = Known()


def known() -> Known:
    """The Known of a worker: one for all. Without a GIL each worker has its own, as get() of a dict
    that other threads have filled is slow there (see logs.request_mark()).
    """
    return _shared if has_gil() else Known()


class Response:
    """One response by way of `exchange`; `method` is REQUEST_METHOD."""

    __slots__ = (
        *("state", "_exchange", "_length", "_sent", "_head_only", "_lengthless", "_bodiless"),
        *("left_out", "_given", "_checked", "_declared", "_encoded", "_added", "_known"),
    )

    def __init__(self, exchange: Exchange, method: str | None, known: Known = _shared) -> None:
        self.state = HEADLESS
        self.left_out: list[str] = []  # the names of the application's headers that are not sent
        self._known = known
        self._exchange: Any = exchange  # an Exchange; None once the request has ended
        self._lengthless = False  # a status that has no body
        self._added = b""  # the Content-Length that we add to the head
        self._length: int | None = None  # Content-Length, or what is known of the length otherwise
        self._sent = 0  # body bytes that the application has produced
        self._head_only = method == "HEAD"
        self._bodiless = False  # no body is sent, whatever the application produces

    # ---- what the application calls

    def start_response(
        self, status: str, headers: Headers, exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """PEP 3333, "The start_response() Callable"; returns write(). Violation if it is used
        wrongly; the exception of exc_info if the head has been sent.
        """
        if exc_info is not None:
            try:
                self._replace(exc_info)
            finally:
                exc_info = None  # breaks the reference cycle through the traceback
        elif self.state != HEADLESS:
            raise CalledAgain("start_response() was called again without exc_info", START_RESPONSE)
        found: CheckedHead | None = None
        self._given: tuple[Any, ...] | None = None  # the key in Known.heads
        if isinstance(headers, list):
            try:
                found = self._known.heads.get(given := (status, *headers))
                self._given = given
            except TypeError:
                pass  # something is not hashable: in most cases the checks below will name it
        if found is None:
            status = check_status(status)
            sent, length = check_headers(headers, self._known.names)
            if len(sent) < len(headers):
                self.left_out = [name for name, _ in headers if name.lower() in HOP_BY_HOP]
            self._checked = status, sent
            found = length, status[:3] in BODILESS, None
        self._declared, self._lengthless, self._encoded = found
        self._length = self._declared
        self._bodiless = self._head_only or self._lengthless
        self.state = HELD
        return self.write

    def _replace(self, exc_info: Any) -> None:
        """start_response() with exc_info: raises its exception if the head has been sent."""
        if type(exc_info) is not tuple or len(exc_info) != 3:
            raise Violation(
                "exc_info must be a tuple of three, as sys.exc_info() returns it", START_RESPONSE
            )
        if self.state >= SENT:
            try:
                raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None

    def write(self, data: bytes) -> None:
        """PEP 3333, "The write() Callable": sends a block at once. Violation, PeerGone."""
        check_block(data, "the argument of write()")
        if self.state == ENDED:
            raise Violation("write() was called after the end of the response", WRITE)
        self._block(data)

    def early_hints(self, headers: Headers) -> None:
        """environ["wsgi.early_hints"]: sends a 103 with these headers at once. Only for the thread
        that runs the request. Does nothing once the response has begun or the client has gone.
        """
        if self.state >= SENT:
            return
        sent, _ = check_headers(headers, self._known.names)
        try:
            self._exchange.send(
                (protocol.encode_interim(protocol.encode_head("103 Early Hints", sent)),)
            )
        except PeerGone:
            pass  # the next block will raise it again

    def client_gone(self) -> bool:
        """environ["wsgid.client_gone"]: whether the client has gone or the request has ended. For
        any thread; never waits.

        After the block that completes the Content-Length: whether httpd could not take the
        response. It has the connection back then, and says nothing more about the client.
        """
        exchange = self._exchange
        if self.state == COMPLETE:
            return bool(exchange.gone)
        return exchange is None or exchange.is_hung_up()

    @property
    def sent(self) -> int:
        """How many bytes of the body have been sent."""
        return 0 if self._bodiless else self._sent

    # ---- what the worker calls

    def run(self, result: Any) -> None:
        """Sends what the application has returned, up to its end. The last frames are only handed
        to the exchange (finish()), which sends them later. Violation, PeerGone, and whatever the
        iterable raises.
        """
        kind = type(result)
        if (kind is list or kind is tuple) and self.state == HELD:
            self._send_whole(result)
            return
        if kind is file_wrapper.FileWrapper and self._send_file(result):
            return
        if isinstance(result, (bytes, str)):
            raise Violation(
                "the application returned a %s instead of an iterable of blocks: return a list of "
                "bytes, such as %s"
                % (
                    type(result).__name__,
                    '[text.encode("utf-8")]' if isinstance(result, str) else "[body]",
                ),
                SPECIFICATION,
            )
        try:
            blocks = iter(result)
        except TypeError:
            raise Violation(not_iterable(result), SPECIFICATION) from None
        self._send_blocks(blocks)

    def fail(self, status: int, reason: str) -> None:
        """Ends a response that cannot be completed. The client gets `status` if nothing has been
        sent to it, else a response that breaks off; httpd logs `reason`. Does nothing if the
        response is complete.
        """
        if self.state != COMPLETE:
            self._exchange.finish((protocol.encode_abort(status, reason),), False)
        self.state = ENDED

    def detach(self) -> None:
        """The request ends: write() and the callables in the environ do no harm any more."""
        self.state = ENDED
        self._exchange = None

    # ---- inside

    def _send_blocks(self, blocks: Iterable[bytes]) -> None:
        for block in blocks:
            if type(block) is not bytes:
                check_block(block)
            try:
                self._block(block)
            except LengthMismatch:
                self._send_rest(block)
                raise
            if self._bodiless and self.state >= SENT:
                break  # the rest would not be sent anyway
        self._end()

    def _send_rest(self, block: bytes) -> None:
        """The body is longer than its Content-Length: the client gets as much as that says, and
        only the log the error (PEP 3333, "Handling the Content-Length Header").
        """
        assert self._length is not None
        rest = block[: self._length - self._sent]
        if rest:
            self._block(rest)
        if self.state != COMPLETE:
            self._end()
            self.state = COMPLETE

    def _send_whole(self, blocks: list[bytes] | tuple[bytes, ...]) -> None:
        """A complete body: one send. If it is too short, nothing is sent."""
        total = 0
        for block in blocks:
            check_block(block)
            total += len(block)
        if self._length is not None and total > self._length and not self._bodiless:
            self._send_blocks(blocks)
            return
        self._sent = total
        if self._length != total:
            if self._length is None and not self._lengthless and (total or not self._head_only):
                self._add_length(total)
            self._check_end()
        self.state = ENDED
        head = self._head()
        parts: Parts
        if self._bodiless:
            parts = protocol.encode_response(head, b"", True)
        elif len(blocks) == 1:
            parts = protocol.encode_response(head, blocks[0], True)
        elif total <= JOINED_MAX or total < SEPARATE_MIN * len(blocks):
            parts = protocol.encode_response(head, b"".join(blocks), True)
        else:
            parts = [*protocol.encode_response(head)]
            for block in blocks:
                parts += protocol.encode_data(block)
            parts += protocol.encode_data(b"", True)
        self._exchange.finish(parts, True)

    def _send_file(self, wrapper: file_wrapper.FileWrapper) -> bool:
        """Hands the file to the exchange, from its position up to Content-Length or its end. False:
        it must be read.
        """
        if self.state == HEADLESS:
            return False
        found = file_wrapper.region(wrapper)
        if found is None:
            wrapper.limit = None if self._length is None else self._length - self._sent
            return False
        descriptor, position, rest = found
        wanted = self._wanted_of(rest)
        self._sent += wanted
        if self._bodiless or not wanted:
            self._end()
            return True
        parts = protocol.encode_response(self._head()) if self.state == HELD else ()
        self.state = ENDED
        self._exchange.finish(parts, True, (descriptor, position, wanted))
        return True

    def _wanted_of(self, rest: int) -> int:
        """How many bytes are to be sent of a file that has `rest` left. Without a Content-Length,
        all of them, and that is the Content-Length.
        """
        if self._length is None:
            if not self._lengthless:
                self._add_length(rest)  # has no effect after write(), as the head has been sent
            self._length = self._sent + rest
        wanted = self._length - self._sent
        if wanted > rest and not self._bodiless:
            raise LengthMismatch(
                "the file has %d bytes left, but its Content-Length asks for %d" % (rest, wanted)
            )
        return wanted

    def _add_length(self, length: int) -> None:
        self._added = b"Content-Length\0%d\0" % length

    def _head(self) -> bytes:
        """The encoded head."""
        encoded = self._encoded
        if encoded is None:
            encoded = protocol.encode_head(*self._checked)
            heads = self._known.heads
            is_small = len(encoded) <= HEAD_REMEMBERED_MAX and len(heads) < HEADS_REMEMBERED
            if is_small and self._given is not None:
                heads[self._given] = self._declared, self._lengthless, encoded
        return encoded + self._added

    def _block(self, block: bytes) -> None:
        """Sends a block, with the head if that has not been sent."""
        state = self.state
        if not block:
            if state < COMPLETE:
                self._check_client()
            return
        if state == HEADLESS:
            raise Violation(
                "the application produced its first block before it called start_response(): call "
                "start_response(status, headers) first",
                START_RESPONSE,
            )
        sent, length = self._sent + len(block), self._length
        if length is not None and sent > length and not self._bodiless:
            raise LengthMismatch("the body is longer than its Content-Length, %d bytes" % length)
        self._sent = sent
        if sent == length and not self._bodiless and self._exchange.complete:
            self._complete(block)
        elif state == HELD:
            head = self._head()
            self.state = SENT
            self._exchange.send(protocol.encode_response(head, b"" if self._bodiless else block))
        elif not self._bodiless:
            self._exchange.send_block(block)

    def _complete(self, block: bytes) -> None:
        """Sends the block that completes the Content-Length, and with it the end."""
        if self.state == HELD:
            parts = protocol.encode_response(self._head(), block, True)
        else:
            parts = protocol.encode_data(block, True)
        self._exchange.finish(parts, True)
        self.state = COMPLETE  # not before: until then fail() can replace the last frames
        self._exchange.flush()

    def _check_client(self) -> None:
        """Raises PeerGone if the client has gone: an application that yields empty blocks would not
        notice otherwise.
        """
        if self._exchange.is_hung_up():
            self._exchange.gone = True
            raise PeerGone()

    def _check_end(self) -> None:
        """Whether the body that has ended is as long as its Content-Length."""
        if self._length is None or self._bodiless or self._sent == self._length:
            return
        raise LengthMismatch(
            "the body has %d bytes, but its Content-Length is %d" % (self._sent, self._length)
        )

    def _end(self) -> None:
        """The iterable is exhausted."""
        if self.state == HEADLESS:
            raise Violation(
                "the application never called start_response(): call it before the response ends",
                START_RESPONSE,
            )
        self._check_end()
        if self.state == COMPLETE:
            self.state = ENDED
            return
        if self.state == SENT:
            self.state = ENDED
            self._exchange.finish(protocol.encode_data(b"", True), True)
            return
        if self._length is None and not self._bodiless:
            self._add_length(0)  # exhausted without a block: the body is empty
        head = self._head()
        self.state = ENDED
        self._exchange.finish(protocol.encode_response(head, b"", True), True)
