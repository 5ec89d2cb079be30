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
from pywsgid.daemon.system import os
from pywsgid.daemon.transport.peer import PeerGone
from pywsgid.daemon.wsgi import file_wrapper
from pywsgid.wire import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from pywsgid.daemon.interfaces import Exchange, ExcInfo, Headers, Parts

    # A checked head: Content-Length, whether the status has no body, and the encoded bytes.
    CheckedHead = tuple[int | None, bool, bytes | None]

HEADLESS, HELD, SENT, COMPLETE, ENDED = range(5)

TOKEN = frozenset(
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)  # RFC 9110, 5.6.2
# The hop-by-hop headers of RFC 2616, 13.5.1, which PEP 3333 forbids, and others that concern only
# one connection. httpd makes its own; these are left out, as recipes for server-sent events and
# views that pass on another server's response have them.
HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "trailers",
        "upgrade",
    )
)
BODILESS = ("204", "304")  # RFC 9110, 6.4.1; 1xx is not a final status
NAMES_REMEMBERED = 1000  # an application that invents names must not fill the memory
START_RESPONSE = "The start_response() Callable"  # sections of PEP 3333
CONTENT_LENGTH = "Handling the Content-Length Header"
SPECIFICATION = "Specification Details"
WRITE = "The write() Callable"
OTHER_HEADERS = "Other HTTP Features"
# The blocks of a list are joined, unless it has more than JOINED_MAX bytes and its blocks have
# SEPARATE_MIN on average: copying those would cost more than a frame for each.
JOINED_MAX = protocol.MAX_DATA
SEPARATE_MIN = 16 * 1024
STRINGS = "A Note On String Types"
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


class Violation(ValueError):
    """The application broke a rule of PEP 3333, which is in its section `section`. `what` says how,
    and what to do.
    """

    def __init__(self, what: str, section: str) -> None:
        super().__init__('%s (PEP 3333, "%s")' % (what, section))


class WrongType(Violation, TypeError):
    """An object of the wrong type."""


class CalledAgain(Violation, RuntimeError):
    """start_response() was called again without exc_info."""


class LengthMismatch(Violation):
    """The body is not as long as its Content-Length."""

    def __init__(self, what: str) -> None:
        super().__init__(what, CONTENT_LENGTH)


# -------- checks: each raises Violation


def text_of(value: str) -> str:
    """A str as such: frameworks give subclasses, whose methods are their own."""
    return value if type(value) is str else str.__str__(value)


def check_status(status: Any) -> str:
    """A final status: three digits from 200 on, a space, a reason. Returns it as a str as such."""
    if not isinstance(status, str):
        raise WrongType(
            'the status must be a str such as "200 OK", not ' + type(status).__name__,
            START_RESPONSE,
        )
    text = text_of(status)
    if len(text) < 4 or text[3] != " " or not (text[:3].isascii() and text[:3].isdigit()):
        raise Violation(
            "the status must be three digits, a space and a reason, not %a" % text[:100],
            START_RESPONSE,
        )
    if text < "2":
        raise Violation(
            "the status %a is not final: use one from 200 on" % text[:100], START_RESPONSE
        )
    check_value(text, "the status")
    return text


def check_value(value: str, what: str, name: str = "") -> None:
    """A header's value or the status: latin-1, without control characters except tabs. `name` is
    for the message.
    """
    if value.isascii() and value.isprintable():
        return
    for character in value:
        if character > "\xff":
            raise Violation(
                "%s%s contains %a, which is not latin-1: encode it, as RFC 8187 or "
                "percent-encoding do" % (what, name, character),
                STRINGS,
            )
        if (character < " " and character != "\t") or character == "\x7f":
            raise Violation(
                "%s%s contains %s: remove it" % (what, name, control_name(character)),
                START_RESPONSE,
            )


def control_name(character: str) -> str:
    """A control character in words, because httpd's log shows the escape "\\n" as "\\\\n"."""
    return "a control character (%s)" % (
        "a line break" if character in "\r\n" else "0x%02x" % ord(character)
    )


def check_name(name: str, names: dict[str, str]) -> str:
    """A header's name; returns it in lower case. `names` is Known.names."""
    if not name or not TOKEN.issuperset(name):
        raise Violation("%a is not a valid name of a header" % name[:100], START_RESPONSE)
    lower = name.lower()
    if lower == "transfer-encoding":
        raise Violation(
            "the header %s would change what the body means; how it is transferred is up to the "
            "server: leave it out" % name,
            OTHER_HEADERS,
        )
    if len(names) < NAMES_REMEMBERED:
        names[name] = lower
    return lower


def check_content_length(value: str, before: int | None) -> int:
    """A Content-Length; returns it. `before` is that of an earlier header of the same name."""
    if not (value.isascii() and value.isdigit()) or len(value) > 18:
        raise Violation("Content-Length is %a, not a number of bytes" % value[:100], CONTENT_LENGTH)
    length = int(value)
    if before is not None and before != length:
        raise Violation("Content-Length is both %d and %d" % (before, length), CONTENT_LENGTH)
    return length


def check_headers(headers: Any, names: dict[str, str]) -> tuple[Headers, int | None]:
    """A list of (name, value); returns (what is sent of it, its Content-Length or None). `names` is
    Known.names.
    """
    if not isinstance(headers, list):
        raise WrongType(
            "the headers must be a list of tuples (name, value), not " + type(headers).__name__,
            START_RESPONSE,
        )
    sent, length, is_file = [], None, False
    for pair in headers:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise WrongType(
                "a header must be a tuple (name, value), not %.100a" % (pair,), START_RESPONSE
            )
        name, value = pair
        if not isinstance(name, str):
            raise WrongType(
                "a header's name must be a str, not " + type(name).__name__, START_RESPONSE
            )
        name = text_of(name)
        lower = names.get(name) or check_name(name, names)
        if not isinstance(value, str):
            raise WrongType(
                "the value of the header %s must be a str, not %s" % (name, type(value).__name__),
                START_RESPONSE,
            )
        value = text_of(value)
        if lower == "content-length":
            length = check_content_length(value, length)
        elif lower == "x-sendfile":
            is_file = True
            value = file_name(value)
        check_value(value, "the header ", name)
        if lower not in HOP_BY_HOP:
            sent.append((name, value))
    if is_file and length is not None:  # it is the file's, and httpd finds that out itself
        sent = [pair for pair in sent if pair[0].lower() != "content-length"]
        length = None
    return sent, length


def file_name(value: str) -> str:
    """The value of X-Sendfile with the bytes of the file system, decoded as latin-1. Applications
    give either these, or the name as open() takes it.
    """
    if value.isascii():
        return value
    try:
        value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return os.fsencode(value).decode("latin-1")
    return value


def check_block(block: Any, what: str = "a block of the response") -> None:
    """A block of the body. `what` is for the message."""
    if not isinstance(block, bytes):
        raise WrongType(
            "%s must be bytes, not %s%s" % (what, type(block).__name__, fix_for(block)),
            SPECIFICATION,
        )


def fix_for(block: Any) -> str:
    """What to do about a block that is a str."""
    return ': encode it, for example with .encode("utf-8")' if isinstance(block, str) else ""


def not_iterable(result: Any) -> str:
    """What to say about a result that is not iterable."""
    if type(result).__name__ == "coroutine":
        return (
            "the application is an async function, as ASGI has it: make it a plain function, or "
            "run it with an ASGI server"
        )
    what = "None" if result is None else "an object of type " + type(result).__name__
    return "the application returned %s, which is not iterable: return a list of bytes" % what


# -------- response


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
