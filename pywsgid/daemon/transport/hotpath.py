"""The transport that is used where the C half of the daemon can be loaded: the interface of
transport.py, whose rules stand there, over native/ (hotpath.h).

One call of C for each request: it sends the last response, waits for the next request and reads it,
without the GIL. What C tells is in `_facts`, numbers in memory that both see; what it reads is in
`_view`.
"""

import errno
import mmap
import os
import struct
import time

from pywsgid.daemon import logs
from pywsgid.daemon.interpreter import has_gil, is_free_threaded
from pywsgid.daemon.transport.peer import (
    DESCRIPTORS_PAUSE,
    PeerGone,
    PeerSilent,
    Unsent,
    silence_text,
    tell_no_accept,
    tell_refused,
    tell_silent,
    tell_violation,
)
from pywsgid.wire import protocol
from pywsgid.wire.hotpath_abi import (
    BUFFER_SIZE,
    ENVIRON_AT,
    FACT_AMOUNT,
    FACT_AT,
    FACT_BODY,
    FACT_COMPLETE,
    FACT_CREDIT,
    FACT_ENVIRON,
    FACT_ERRNO,
    FACT_FAULT,
    FACT_GONE,
    FACT_ID,
    FACT_PID,
    FACT_SENT,
    FACT_UID,
    FACT_UNSENT,
    FACT_WAITED,
    FACTS_SIZE,
    GONE,
    NO_ACCEPT,
    REFUSED,
    REQUEST,
    SILENT,
    UNSENT,
    VIOLATION,
)

JOINED_MAX = 16 * 1024  # frames of less are sent as one; beyond that a copy costs more than a call
MAX_DATA = protocol.MAX_DATA
_violation = protocol.RemoteProtocolError


def _frames(parts):
    """Each frame as (header and what else is bytes, body): protocol.encode_*() gives one buffer or
    two for each.
    """
    each = iter(parts)
    for head in each:
        missing = protocol.HEADER_SIZE + struct.unpack_from("<I", head, 4)[0] - len(head)
        yield head, next(each) if missing else b""


def _fact(number, kind=int):
    """A fact as an attribute."""
    return property(
        lambda self: kind(self._facts[number]),
        lambda self, value: self._facts.__setitem__(number, int(value)),
    )


class Exchange:
    """A worker's end; see transport.py."""

    __slots__ = (
        *("environ", "body"),
        *("_transport", "_next", "_send", "_send_data"),
        *("_lib", "_handle", "_facts", "_view", "_head", "_tail", "_file", "_keep"),
    )

    id = _fact(FACT_ID)
    sent = _fact(FACT_SENT)
    waited = _fact(FACT_WAITED)
    complete = _fact(FACT_COMPLETE, bool)
    gone = _fact(FACT_GONE, bool)
    credit = _fact(FACT_CREDIT)

    def __init__(self, transport, binding, hub):
        memory = mmap.mmap(-1, FACTS_SIZE + BUFFER_SIZE)
        view = memoryview(memory)
        self._transport = transport
        self._lib = lib = binding.lib
        self._next, self._send = lib.wsgid_endpoint_next, lib.wsgid_send_frames
        self._send_data = lib.wsgid_send_data
        self._facts = view[:FACTS_SIZE].cast("q")
        self._view = view[FACTS_SIZE:]
        self._handle = lib.wsgid_endpoint_create(hub, binding.address(memory))
        if not self._handle:
            raise MemoryError("no room for an exchange")
        self._head = self._tail = b""
        self._file = None
        self._keep = False
        self.environ = self.body = b""

    @property
    def unsent(self):
        """Why the response was given up, if that is for the log."""
        number = self._facts[FACT_UNSENT]
        return self._transport.reason(number) if number else None

    # ---- request after request

    def next(self):
        """One step of Transport.next(): an outcome."""
        head, tail = self._head, self._tail
        if self._file is not None:
            self._finish_now()
            head = tail = b""
        outcome = self._next(self._handle, head, len(head), tail, len(tail), self._keep)
        self._head = self._tail = b""
        self._keep = False
        if outcome == REQUEST:
            facts = self._facts
            end = ENVIRON_AT + facts[FACT_ENVIRON]
            self.environ = self._view[ENVIRON_AT:end]
            size = facts[FACT_BODY]
            self.body = bytes(self._view[end : end + size]) if size else b""
        return outcome

    def finish(self, parts, keep, file=None):
        """Ends the exchange with these frames, and FILE behind them."""
        if len(parts) == 2 and type(parts[0]) is type(parts[1]) is bytes:
            self._head, self._tail = parts
        elif len(parts) > 1:
            self._head, self._tail = self._last_of(parts)
        else:
            self._head, self._tail = (
                parts[0] if parts else b"",
                b"",
            )  # also of what an earlier finish() left
        self._file = file
        self._keep = keep

    def _last_of(self, parts):
        """Sends what is too much for one call; what does not go out now is told by next(). The last
        frame stays.
        """
        *first, (head, body) = _frames(parts)
        try:
            self.send([part for frame in first for part in frame if part])
        except OSError:
            return b"", b""
        return head, bytes(body)

    def _finish_now(self):
        """Sends the end of the response, and the file behind it."""
        lib, (descriptor, offset, length) = self._lib, self._file
        self._file = None
        frame = protocol.encode_file(offset, length, True)
        if not self._send(
            self._handle, self._head, len(self._head), self._tail, len(self._tail), -1
        ):
            self._send(self._handle, frame, len(frame), b"", 0, descriptor)
        lib.wsgid_endpoint_flush(self._handle, b"", 0, b"", 0, self._keep)

    def flush(self):
        """Sends what finish() left and gives the connection back."""
        if self._file is not None:
            self._finish_now()
        else:
            head, tail = self._head, self._tail
            self._lib.wsgid_endpoint_flush(
                self._handle, head, len(head), tail, len(tail), self._keep
            )
        self._head = self._tail = b""

    def drop(self):
        """Closes the connection at once; nothing more is sent."""
        self._facts[FACT_GONE] = 1
        self._head = self._tail = b""
        self._file = None
        self._lib.wsgid_endpoint_flush(self._handle, b"", 0, b"", 0, 0)

    def uncount(self):
        """The request has not been started."""
        self._lib.wsgid_measure_withdraw(self._handle)

    def cut(self, request_id, parts):
        """From another thread: ends the request `request_id`, if it still runs, with these frames.
        Whether it did.
        """
        frames = b"".join(parts)
        return bool(self._lib.wsgid_send_abort(self._handle, request_id, frames, len(frames)))

    # ---- sending

    def send(self, parts):
        """Sends whole frames."""
        if len(parts) == 1 and type(parts[0]) is bytes:
            outcome = self._send(self._handle, parts[0], len(parts[0]), b"", 0, -1)
        elif len(parts) == 2 and type(parts[0]) is type(parts[1]) is bytes:
            outcome = self._send(self._handle, parts[0], len(parts[0]), parts[1], len(parts[1]), -1)
        else:
            outcome = self._send_many(parts)
        if outcome:
            raise self._failure(outcome)

    def send_block(self, block):
        """Sends a block of the response, not empty."""
        size = len(block)
        if size > MAX_DATA or type(block) is not bytes:
            self.send(protocol.encode_data(block))
            return
        outcome = self._send_data(self._handle, block, size)
        if outcome:
            raise self._failure(outcome)

    def log(self, request_id, frames):
        """Sends LOG frames, if the request of that id still runs."""
        joined = b"".join(frames)
        outcome = self._lib.wsgid_send_log(self._handle, request_id, joined, len(joined))
        if outcome:
            raise self._failure(outcome)

    def _send_many(self, parts):
        """Frames of any number and kind: small ones together, large ones out of the application's
        own buffers.
        """
        outcome, small, size = 0, [], 0
        for head, body in _frames(parts):
            length = len(head) + len(body)
            if small and size + length > JOINED_MAX:
                outcome = outcome or self._send_pair(b"".join(small), b"")
                small, size = [], 0
            if length > JOINED_MAX:
                outcome = outcome or self._send_pair(head, body)
            else:
                small += (head, body)
                size += length
        return outcome or (self._send_pair(b"".join(small), b"") if small else 0)

    def _send_pair(self, head, body):
        tail = body if type(body) is bytes else self._transport.binding.pointer(body)
        return self._send(self._handle, head, len(head), tail, len(body), -1)

    def _failure(self, outcome):
        if outcome == GONE:
            return PeerGone()
        if outcome == SILENT:
            return self._transport.reason(errno.ETIMEDOUT)
        return self._transport.reason(self._facts[FACT_ERRNO])

    # ---- receiving

    def grant(self, size):
        """Lets httpd send `size` more body bytes."""
        self._facts[FACT_CREDIT] += size
        self.send((protocol.encode_credit(size),))

    def receive(self):
        """The next bytes of the body, as soon as there are any; b"" at the end."""
        size = self._lib.wsgid_receive_body(self._handle)
        if size > 0:
            at = self._facts[FACT_AT]
            return bytes(self._view[at : at + size])
        if not size:
            return b""
        if -size == VIOLATION:
            raise self.fault(inside=True)
        if -size == SILENT:
            raise PeerSilent("httpd sent nothing for socket-timeout")
        raise self._failure(-size)

    def fault(self, inside=False):
        """The ProtocolError of a violation, worded by the codec in Python."""
        view, at, amount = self._view, self._facts[FACT_AT], self._facts[FACT_AMOUNT]
        kind = protocol.type_name(view[at])
        try:
            length = protocol.parse_header(view, at)[2]
            if self._facts[FACT_FAULT] == protocol.OUT_OF_ORDER:
                where = "%s inside a request" if inside else "%s before REQUEST"
                return _violation(protocol.OUT_OF_ORDER, where % kind)
            if self._facts[FACT_FAULT] == protocol.OVER_CREDIT:
                text = "BODY of %d bytes against a credit of %d" % (amount, self.credit)
                return _violation(
                    protocol.OVER_CREDIT, text if inside else "%d bytes behind REQUEST" % amount
                )
            start = at + protocol.HEADER_SIZE
            protocol.parse_environ(protocol.parse_request(view[start : start + length])[3])
        except protocol.ProtocolError as error:
            return error
        return _violation(self._facts[FACT_FAULT], "%s as the codec in C sees it" % kind)

    def is_hung_up(self):
        """Whether httpd has closed its end, or the exchange is over."""
        return bool(self._lib.wsgid_endpoint_is_hung_up(self._handle))


class Transport:
    """The slot's listener and all connections to it; see transport.py."""

    def __init__(self, binding, listener, allowed, timeout, send_timeout, log, page):
        self.draining = False
        self.binding = binding
        self._log = log
        self._page = page
        self._limits = send_timeout, timeout
        uids = struct.pack("%dI" % len(allowed), *allowed)
        self._memory = mmap.mmap(-1, len(uids))  # stays where it is
        self._memory[:] = uids
        self._is_gated = has_gil()
        self._hub = binding.lib.wsgid_hub_create(
            listener,
            binding.address(self._memory),
            len(allowed),
            timeout
            # httpd knows who it is that does not move (its client, mostly): it is to speak first
            + 1,
            send_timeout,
            timeout,
            self._is_gated,
            binding.address(page.memory),
        )
        if not self._hub:
            raise OSError("no room for the transport")
        os.register_at_fork(after_in_child=self._abandon)

    def exchange(self):
        """A new worker's Exchange."""
        return Exchange(self, self.binding, self._hub)

    def open(self):
        """Begins to accept."""
        number = self.binding.lib.wsgid_hub_open(self._hub)
        if number:
            raise OSError(number, os.strerror(number))

    def waiting(self):
        """See transport.py."""
        return self.binding.lib.wsgid_hub_waiting(self._hub)

    def drain(self):
        """No more requests."""
        self.draining = True
        self.binding.lib.wsgid_hub_drain(self._hub)

    def _abandon(self):
        self.draining = True
        self._page.forget()
        self.binding.lib.wsgid_hub_abandon(self._hub)

    def next(self, exchange):
        """See transport.py."""
        if (
            is_free_threaded and has_gil() != self._is_gated
        ):  # the application imports an extension, or has done so
            self._is_gated = not self._is_gated
            self.binding.lib.wsgid_hub_set_gated(self._hub, self._is_gated)
        while True:
            outcome = exchange.next()
            if outcome <= REQUEST:
                return outcome == REQUEST
            self._tell(outcome, exchange)

    def _tell(self, outcome, exchange):
        facts = exchange._facts
        if outcome == UNSENT:
            raise Unsent(self.reason(facts[FACT_ERRNO]))
        if outcome == VIOLATION:
            self.report_violation(exchange.fault())
        elif outcome == SILENT:
            tell_silent(self._log)
        elif outcome == REFUSED:
            tell_refused(self._log, facts[FACT_PID], facts[FACT_UID])
        elif outcome == NO_ACCEPT:
            tell_no_accept(self._log, os.strerror(facts[FACT_ERRNO]))
            time.sleep(DESCRIPTORS_PAUSE)
        else:
            self._log.write(
                logs.WARN,
                "WSGID0328: group %r: a request could not be read: %s; the connection is closed"
                % (self._log.group, os.strerror(facts[FACT_ERRNO])),
            )

    def report_violation(self, error):
        tell_violation(self._log, error)

    def reason(self, number):
        """The exception of an errno for which a response was given up."""
        if number == errno.ETIMEDOUT:
            return PeerSilent(silence_text(*self._limits))
        return OSError(number, os.strerror(number))
