"""Whole conversations of the wire protocol: the oracle of the tests for both sides.

Parser turns bytes into frames as they arrive. Connection knows which frame may follow which, on
either side, and how much credit is left.
"""

from pywsgid.wire import table
from pywsgid.wire.protocol import (
    BODY,
    CREDIT,
    CUT_OFF,
    END,
    FROM_DAEMON,
    FROM_HTTPD,
    HEADER_SIZE,
    OUT_OF_ORDER,
    OVER_CREDIT,
    REQUEST,
    LocalProtocolError,
    RemoteProtocolError,
    parse_header,
    type_name,
)


class Parser:
    """Turns bytes into whole frames as they arrive. A payload is bytes. Headers are checked first,
    so memory is bounded.

    for type_, flags, payload in parser.feed(data): ...
    """

    __slots__ = ("_side", "_chunks", "_at", "_have", "_header", "_fault")

    def __init__(self, side):
        """`side` is the sender: FROM_HTTPD in a daemon."""
        self._side = side
        self._chunks = []  # as they arrived; the first _at bytes are used up
        self._at = 0
        self._have = 0  # bytes not yet used up
        self._header = None  # of the frame with the payload that is awaited
        self._fault = None

    @property
    def missing(self):
        """The minimum number of bytes that the next step needs; 0 if a frame is ready."""
        need = HEADER_SIZE if self._header is None else self._header[2]
        return max(0, need - self._have)

    def feed(self, data):
        """Takes bytes and returns an iterator over the frames that are whole. Frames that are not
        taken from it are not lost.
        """
        if data:
            self._chunks.append(data if type(data) is bytes else bytes(data))
            self._have += len(data)
        return self.frames()

    def frames(self):
        frame = self.next_frame()
        while frame:
            yield frame
            frame = self.next_frame()

    def next_frame(self):
        """(type, flags, payload), or None if more bytes are needed. After a violation, raises the
        same RemoteProtocolError each time.
        """
        if self._fault:
            raise self._fault
        if self._header is None:
            if self._have < HEADER_SIZE:
                return None
            try:
                self._header = parse_header(self._take(HEADER_SIZE), 0, self._side)
            except RemoteProtocolError as error:
                self._fault = error
                raise
        type_, flags, length = self._header
        if self._have < length:
            return None
        self._header = None
        return type_, flags, self._take(length)

    def eof(self):
        """The peer has closed the connection. Inside a frame that is a RemoteProtocolError."""
        if self._have or self._header is not None:
            raise RemoteProtocolError(CUT_OFF, f"{self.missing} bytes missing at least")

    def _take(self, count):
        if not count:
            return b""
        chunks, start = self._chunks, self._at
        if len(chunks[0]) - start < count:
            chunks[0] = chunks[0][start:]
            chunks[:] = [b"".join(chunks)]
            start = 0
        end = start + count
        taken = chunks[0][start:end]
        self._have -= count
        if end == len(chunks[0]):
            del chunks[0]
            end = 0
        self._at = end
        return taken


# -------- order

# States; table.ORDER_STATES explains them.
IDLE, SENDING, SENT = "idle", "sending", "sent"
RECEIVED, READ, RUNNING, ANSWERING, DONE = "received", "read", "running", "answering", "done"
CLOSED = "closed"


def _transitions(side):
    """{state: {(type, has END): the next state}}. Everything else is a violation."""
    types = {frame.name: frame.code for frame in table.FRAMES}
    return {
        state: {
            (types[words.split()[0]], words.endswith(" END")): target
            for words, target in following.items()
        }
        for state, following in table.ORDER[side].items()
    }


TRANSITIONS = {FROM_HTTPD: _transitions("httpd"), FROM_DAEMON: _transitions("daemon")}

# (httpd's state, the daemon's): the state of both together. Late BODY frames of httpd may still
# arrive while the daemon is DONE. With their END the connection can be kept, if the daemon reads
# that far.
SETTLED = {
    (SENDING, IDLE): (SENDING, RECEIVED),
    (SENT, IDLE): (SENT, RECEIVED),
    (SENT, DONE): (IDLE, IDLE),
}


class Connection:
    """The frames sent on a connection so far, and so the frames that may follow: for both sides,
    from the view of one of them.

    sent() and received() are called for each frame; the amount is the granted bytes of CREDIT or
    the length of BODY.
    """

    __slots__ = ("role", "state", "credit")

    def __init__(self, role):
        """`role` is our side: FROM_HTTPD or FROM_DAEMON."""
        self.role = role
        self.state = [IDLE, IDLE]  # by side
        self.credit = 0  # body bytes granted and not yet used

    @property
    def idle(self):
        """Whether the connection is between two requests and may be kept."""
        return self.state == [IDLE, IDLE]

    def sent(self, type_, flags=0, amount=0):
        """We are about to send this frame. LocalProtocolError if it is not allowed."""
        self._step(self.role, type_, flags, amount, LocalProtocolError)

    def received(self, type_, flags=0, amount=0):
        """The peer has sent this frame. RemoteProtocolError if it was not allowed."""
        self._step(1 - self.role, type_, flags, amount, RemoteProtocolError)

    def close(self):
        self.state = [CLOSED, CLOSED]

    def _step(self, side, type_, flags, amount, error):
        state = self.state[side]
        follows = TRANSITIONS[side][state].get((type_, bool(flags & END)))
        if follows is None:
            raise error(
                OUT_OF_ORDER,
                f"{type_name(type_)} from {('httpd', 'the daemon')[side]} in state {state}",
            )
        self._count(type_, amount, error)
        self.state[side] = follows
        settled = SETTLED.get((self.state[0], self.state[1]))
        if settled:
            self.state[:] = settled

    def _count(self, type_, amount, error):
        if type_ == CREDIT:
            self.credit += amount
        elif type_ == BODY:
            if amount > self.credit:
                raise error(
                    OVER_CREDIT, f"BODY of {amount} bytes against a credit of {self.credit}"
                )
            self.credit -= amount
        elif type_ == REQUEST:
            self.credit = 0  # credit that the last request did not use is void
