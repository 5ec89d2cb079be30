"""The server's side of PEP 3333: start_response, write() and the iterable, out through an exchange.

Rules: the head leaves with the first block that is not empty, or at the end of the iterable, and
never before. Each block is passed on as it comes; a list or a tuple is all there already, so it
goes out in one send, head and body together, with its Content-Length. What breaks a rule of PEP
3333 raises Violation, at the call that broke it where that is possible. What cannot be completed
ends with ABORT, so that the client sees that it is broken. close() of the iterable is not called
here but by the worker, which is sure to do it once.

A block that completes its Content-Length is not the end: END follows when the iterable is over. It
could save a send, but what comes too much would then meet a response that the client believes
complete; and to hold the block back until the iterable is over would make the client wait for what
the application does after it.

States: HEADLESS (start_response has not been called) -> HELD (called, nothing sent: may be replaced
with exc_info) -> SENT -> ENDED. No other transitions.
"""

from pywsgid.daemon.interpreter import has_gil
from pywsgid.daemon.transport.peer import PeerGone
from pywsgid.daemon.wsgi import file_wrapper
from pywsgid.wire import protocol

HEADLESS, HELD, SENT, ENDED = range(4)

TOKEN = frozenset(
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)  # RFC 9110, 5.6.2
# RFC 2616, 13.5.1, which PEP 3333 refers to, and what is as much about one connection. httpd makes
# its own.
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
        "transfer-encoding",
        "upgrade",
    )
)
BODILESS = ("204", "304")  # RFC 9110, 6.4.1; 1xx is no final status
NAMES_REMEMBERED = 1000  # an application that makes names up must not fill the memory
START_RESPONSE = "The start_response() Callable"  # sections of PEP 3333
CONTENT_LENGTH = "Handling the Content-Length Header"
SPECIFICATION = "Specification Details"
WRITE = "The write() Callable"
OTHER_HEADERS = "Other HTTP Features"
JOINED_MAX = protocol.MAX_DATA  # a list of more is not joined, if its blocks
SEPARATE_MIN = 16 * 1024  # are as large as that: copying them would cost more than their frames
STRINGS = "A Note On String Types"
# An application has few different heads, but for those that differ in each response: these must not
# fill the memory.
HEADS_REMEMBERED = 200
HEAD_REMEMBERED_MAX = 1024  # bytes


class Known:
    """What has been checked before."""

    __slots__ = ("names", "heads")

    def __init__(self):
        self.names = {}  # header name -> its lower case
        # (status, *headers) -> (Content-Length, whether it has no body, the head): checked and
        # encoded
        self.heads = {}


_shared = Known()


def known():
    """For a worker: what all know. Without a GIL each has its own: get() of what others have made
    would be slow there (logs.request_mark)."""
    return _shared if has_gil() else Known()


class Violation(ValueError):
    """The application broke a rule of PEP 3333; `section` names where the rule stands."""

    def __init__(self, what, section):
        super().__init__('%s (PEP 3333, "%s")' % (what, section))


class LengthMismatch(Violation):
    """The body is not as long as its Content-Length."""

    def __init__(self, what):
        super().__init__(what, CONTENT_LENGTH)


# -------- checks


def check_status(status):
    """A final status line: three digits from 200 on, a space, a reason."""
    if type(status) is not str:
        raise Violation("the status must be a str, not " + type(status).__name__, START_RESPONSE)
    if len(status) < 4 or status[3] != " " or not (status[:3].isascii() and status[:3].isdigit()):
        raise Violation(
            "the status must be three digits, a space and a reason, not %a" % status[:100],
            START_RESPONSE,
        )
    if status < "2":
        raise Violation("%a is not a final status" % status[:100], START_RESPONSE)
    check_value("the status", status)


def check_value(name, value):
    """A header's value or the status: latin-1 without control characters, but for tabs."""
    if value.isascii() and value.isprintable():
        return
    for character in value:
        if character > "\xff":
            raise Violation("%s holds %a, which is not latin-1" % (name, character), STRINGS)
        if (character < " " and character != "\t") or character == "\x7f":
            raise Violation("%s holds the control character %a" % (name, character), START_RESPONSE)


def check_name(name, names):
    """Checks a header's name and gives its lower case."""
    if type(name) is not str:
        raise Violation("a header's name must be a str, not " + type(name).__name__, START_RESPONSE)
    if not name or not TOKEN.issuperset(name):
        raise Violation("%a is not a header's name" % name[:100], START_RESPONSE)
    lower = name.lower()
    if lower in HOP_BY_HOP:
        raise Violation(
            "the header %s is about the connection, which is the server's business" % name,
            OTHER_HEADERS,
        )
    if len(names) < NAMES_REMEMBERED:
        names[name] = lower
    return lower


def check_content_length(value, before):
    if not (value.isascii() and value.isdigit()) or len(value) > 18:
        raise Violation("Content-Length is %a, not a number of bytes" % value[:100], CONTENT_LENGTH)
    length = int(value)
    if before is not None and before != length:
        raise Violation("Content-Length is both %d and %d" % (before, length), CONTENT_LENGTH)
    return length


def check_headers(headers, names):
    """Checks a list of (name, value) and gives the Content-Length, None without one. `names`: of a
    Known.
    """
    if type(headers) is not list:
        raise Violation("the headers must be a list, not " + type(headers).__name__, START_RESPONSE)
    length = None
    for pair in headers:
        if type(pair) is not tuple or len(pair) != 2:
            raise Violation("a header must be a tuple of two, not %.100a" % (pair,), START_RESPONSE)
        name, value = pair
        lower = (names.get(name) if type(name) is str else None) or check_name(name, names)
        if type(value) is not str:
            raise Violation(
                "the value of %s must be a str, not %s" % (name, type(value).__name__),
                START_RESPONSE,
            )
        check_value(name, value)
        if lower == "content-length":
            length = check_content_length(value, length)
    return length


def check_block(block, what="a block of the response"):
    if not isinstance(block, bytes):
        raise Violation("%s must be bytes, not %s" % (what, type(block).__name__), SPECIFICATION)


# -------- response


class Response:
    """One response. `exchange` is a transport.Exchange, or what behaves like one."""

    __slots__ = (
        *("state", "_exchange", "_length", "_sent", "_head_only", "_lengthless", "_bodiless"),
        *("_given", "_declared", "_encoded", "_added", "_known"),
    )

    def __init__(self, exchange, method, known=_shared):
        self.state = HEADLESS
        self._known = known
        self._exchange = exchange
        self._lengthless = False  # a status that has no body
        self._added = b""  # the Content-Length that we add to the head
        self._length = None  # as Content-Length says, or what is known of it otherwise
        self._sent = 0  # body bytes that the application has produced
        self._head_only = method == "HEAD"
        self._bodiless = False  # no body goes out, whatever the application produces

    # ---- what the application calls

    def start_response(self, status, headers, exc_info=None):
        """PEP 3333's start_response; gives write()."""
        if exc_info is not None:
            try:
                self._replace(exc_info)
            finally:
                exc_info = None  # breaks the circle through the traceback's frame
        elif self.state != HEADLESS:
            raise Violation("start_response() was called again without exc_info", START_RESPONSE)
        found = None
        if type(headers) is list:
            self._given = given = (status, *headers)
            try:
                found = self._known.heads.get(given)
            except TypeError:
                pass  # something that is not hashable: the checks will say what is wrong
        if found is None:
            check_status(status)
            found = check_headers(headers, self._known.names), status[:3] in BODILESS, None
        self._declared, self._lengthless, self._encoded = found
        self._length = self._declared
        self._bodiless = self._head_only or self._lengthless
        self.state = HELD
        return self.write

    def _replace(self, exc_info):
        if type(exc_info) is not tuple or len(exc_info) != 3:
            raise Violation(
                "exc_info must be a tuple of three, as of sys.exc_info()", START_RESPONSE
            )
        if self.state >= SENT:
            try:
                raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None

    def write(self, data):
        """PEP 3333's write(): sends a block at once."""
        check_block(data, "what is given to write()")
        if self.state == ENDED:
            raise Violation("write() was called after the end of the response", WRITE)
        self._block(data)

    def early_hints(self, headers):
        """environ["wsgi.early_hints"]: sends 103 with a list of headers at once. For the request's
        own thread.

        Does nothing once the response has begun or the client has gone.
        """
        if self.state >= SENT:
            return
        check_headers(headers, self._known.names)
        try:
            self._exchange.send(
                (protocol.encode_interim(protocol.encode_head("103 Early Hints", headers)),)
            )
        except PeerGone:
            pass  # the next block will tell

    def client_gone(self):
        """environ["wsgid.client_gone"]: whether nobody waits for this response. For any thread;
        does not wait.
        """
        exchange = self._exchange
        return exchange is None or exchange.is_hung_up()

    # ---- what the worker calls

    def run(self, result):
        """Sends what the application returned, to its end; the last frames are left with the
        exchange (finish).
        """
        kind = type(result)
        if (kind is list or kind is tuple) and self.state == HELD:
            self._send_whole(result)
            return
        if kind is file_wrapper.FileWrapper and self._send_file(result):
            return
        if isinstance(result, (bytes, str)):
            raise Violation(
                "the application returned %s: put it in a list" % type(result).__name__,
                SPECIFICATION,
            )
        try:
            blocks = iter(result)
        except TypeError:
            raise Violation(
                "the application returned %s, which is not iterable" % type(result).__name__,
                SPECIFICATION,
            ) from None
        for block in blocks:
            if type(block) is not bytes:
                check_block(block)
            self._block(block)
            if self._bodiless and self.state >= SENT:
                break  # nobody will see the rest
        self._end()

    def fail(self, status, reason):
        """The response cannot be completed."""
        self.state = ENDED
        self._exchange.finish((protocol.encode_abort(status, reason),), False)

    def detach(self):
        """The request ends: whoever still has write() or one of the callables in environ does no
        harm with it.
        """
        self.state = ENDED
        self._exchange = None

    # ---- inside

    def _send_whole(self, blocks):
        """All blocks are there: one send, and a wrong length is found before anything has left."""
        total = 0
        for block in blocks:
            check_block(block)
            total += len(block)
        self._sent = total
        if self._length != total:
            if self._length is None and not self._lengthless and (total or not self._head_only):
                self._add_length(total)
            self._check_end()
        self.state = ENDED
        head = self._head()
        if self._bodiless:
            parts = protocol.encode_response(head, b"", True)
        elif len(blocks) == 1:
            parts = protocol.encode_response(head, blocks[0], True)
        elif total <= JOINED_MAX or total < SEPARATE_MIN * len(blocks):
            parts = protocol.encode_response(head, b"".join(blocks), True)
        else:
            parts = protocol.encode_response(head)
            for block in blocks:
                parts += protocol.encode_data(block)
            parts += protocol.encode_data(b"", True)
        self._exchange.finish(parts, True)

    def _send_file(self, wrapper):
        """Leaves the file with the exchange, from its position up to Content-Length or its end.
        False: iterate.
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

    def _wanted_of(self, rest):
        """How many bytes of a file that has `rest` are to go out. All of them is a Content-Length,
        if there is none.
        """
        if self._length is None:
            if not self._lengthless:
                self._add_length(rest)  # in vain after write(): the head has left
            self._length = self._sent + rest
        wanted = self._length - self._sent
        if wanted > rest and not self._bodiless:
            raise LengthMismatch(
                "the file has %d bytes to send, Content-Length asks for %d" % (rest, wanted)
            )
        return wanted

    def _add_length(self, length):
        self._added = b"Content-Length\0%d\0" % length

    def _head(self):
        encoded = self._encoded
        if encoded is None:
            encoded = protocol.encode_head(self._given[0], self._given[1:])
            heads = self._known.heads
            if len(encoded) <= HEAD_REMEMBERED_MAX and len(heads) < HEADS_REMEMBERED:
                heads[self._given] = self._declared, self._lengthless, encoded
        return encoded + self._added

    def _block(self, block):
        state, length = self.state, self._length
        if state == HEADLESS:
            raise Violation(
                "the first block came before start_response() was called", START_RESPONSE
            )
        if not block:
            self._look_for_client()
            return
        self._sent = sent = self._sent + len(block)
        if length is not None and sent > length and not self._bodiless:
            raise LengthMismatch("the body is longer than its Content-Length of %d" % length)
        if state == HELD:
            head = self._head()
            self.state = SENT
            self._exchange.send(protocol.encode_response(head, b"" if self._bodiless else block))
        elif not self._bodiless:
            self._exchange.send_block(block)

    def _look_for_client(self):
        """An application that has nothing to send yet would never meet a client that has gone."""
        if self._exchange.is_hung_up():
            self._exchange.gone = True
            raise PeerGone()

    def _check_end(self):
        if self._length is None or self._bodiless or self._sent == self._length:
            return
        raise LengthMismatch(
            "the body has %d bytes, its Content-Length is %d" % (self._sent, self._length)
        )

    def _end(self):
        if self.state == HEADLESS:
            raise Violation("start_response() was never called", START_RESPONSE)
        self._check_end()
        if self.state == SENT:
            self.state = ENDED
            self._exchange.finish(protocol.encode_data(b"", True), True)
            return
        if self._length is None and not self._bodiless:
            self._add_length(0)  # the iterable is over: it is known to be empty
        head = self._head()
        self.state = ENDED
        self._exchange.finish(protocol.encode_response(head, b"", True), True)
