"""Connections from httpd: whole requests in, whole frames out, through the extension
(pywsgid/native/hotpath.h). Knows frames, outcomes and facts; nothing of WSGI.

A worker thread has one Exchange for all of its requests:

    while transport.next(exchange):     waits for a request and reads it whole
        ...                             exchange.environ, body; receive(), send()
        exchange.finish(frames, keep)   what ends the response: the next call of next() sends it

One call of C for each request sends the last response, waits for the next request and reads it. It
releases the GIL only if it has to wait, or if others may. C and Python share memory: `_facts` are
numbers about the request and about the last outcome, `_view` is the buffer that requests and bodies
are received into. STARTED goes out before the first frame of each exchange; C adds it.

What fails becomes an exception. PeerGone: httpd has closed the connection, which is how it says
that its client has gone. PeerSilent: httpd sent or took nothing for too long. ProtocolError: httpd
broke the protocol; whoever catches it logs it (report_violation) and closes the connection (drop).
After any exception within send() nothing more is sent, since a frame may have been cut short.

How long a response may wait for httpd: with send-timeout, that long in all, over all sends of one
exchange; without it there is no limit in all, but httpd must take something within each
socket-timeout.

Bodies that are sent go out of the application's own buffers, without a copy, if they are large.
"""

from __future__ import annotations

import errno
import mmap
import struct

from pywsgid.daemon.cpython import has_gil, is_free_threaded
from pywsgid.daemon.system import os
from pywsgid.daemon.transport.peer import (
    PeerGone,
    PeerSilent,
    Unsent,
    log_no_accept,
    log_refused,
    log_silent,
    log_unreadable,
    log_violation,
    silence_text,
)
from pywsgid.wire import protocol
from pywsgid.wire.hotpath_abi import (
    BUFFER_SIZE,
    ENVIRON_AT,
    FACT_AMOUNT,
    FACT_AT,
    FACT_BODY,
    FACT_COMPLETE,
    FACT_CONNECTIONS,
    FACT_CREDIT,
    FACT_ENVIRON,
    FACT_ERRNO,
    FACT_FAULT,
    FACT_GONE,
    FACT_ID,
    FACT_LIMIT,
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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from pywsgid.daemon.interfaces import Buffer, Descriptors, FileRegion, Page, Parts
    from pywsgid.daemon.logs import Log
    from pywsgid.daemon.transport.extension import Binding

JOINED_MAX = 16 * 1024  # smaller frames are joined; beyond that a copy costs more than a call
# httpd mostly knows which of the two does not move (its client), so it should give up first.
HTTPD_FIRST = 1  # seconds
MAX_DATA = protocol.MAX_DATA
_violation = protocol.RemoteProtocolError


def _frames(parts: Parts) -> Iterator[tuple[Buffer, Buffer]]:
    """Each frame as (header and what follows it in the same buffer, body): protocol.encode_*()
    gives one or two buffers for each frame.
    """
    each = iter(parts)
    for head in each:
        missing = protocol.HEADER_SIZE + struct.unpack_from("<I", head, 4)[0] - len(head)
        yield head, next(each) if missing else b""


def _fact(number: int, kind: type = int) -> Any:
    """A property: the fact of that number, as `kind`."""
    return property(
        lambda self: kind(self._facts[number]),
        lambda self, value: self._facts.__setitem__(number, int(value)),
    )


class Exchange:
    """A worker's end of a connection: the request that it has, and the way back.

    `id`, `sent`, `waited`, `environ`, `body`, `complete` are those of the request. `environ` is the
    environ block, a view that the next receive() overwrites. `body` is what came with the request;
    `complete` says that there is no more. `sent` is when httpd sent it, in microseconds since the
    epoch, `waited` how many microseconds passed from then until it had been read (less than 0 if
    the clock was set back). `credit` is how many body bytes httpd may still send. `gone`: httpd
    cannot be reached any more.

    Only the worker's own thread may use it, except for log(), cut() and is_hung_up().
    """

    __slots__ = (
        *("environ", "body"),
        *("_transport", "_next", "_send", "_send_data"),
        *("_lib", "_handle", "_facts", "_view", "_head", "_tail", "_file", "_keep"),
    )

    environ: Buffer
    body: bytes
    _head: Buffer
    _tail: Buffer
    _file: FileRegion | None

    id = _fact(FACT_ID)
    sent = _fact(FACT_SENT)
    waited = _fact(FACT_WAITED)
    complete = _fact(FACT_COMPLETE, bool)
    gone = _fact(FACT_GONE, bool)
    credit = _fact(FACT_CREDIT)

    def __init__(self, transport: Transport, binding: Binding, hub: Any) -> None:
        try:
            memory = mmap.mmap(-1, FACTS_SIZE + BUFFER_SIZE)
        except OSError as error:
            raise MemoryError("no room for a buffer: %s" % error.strerror) from None
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
    def unsent(self) -> OSError | None:
        """Why the response was given up, if that has to be logged."""
        number: int = self._facts[FACT_UNSENT]
        return self._transport.reason(number) if number else None

    # ---- request after request

    def next(self) -> int:
        """One step of Transport.next(). Returns an outcome."""
        head, tail = self._head, self._tail
        if self._file is not None:
            self._finish_with(self._file)
            head = tail = b""
        outcome: int = self._next(self._handle, head, len(head), tail, len(tail), self._keep)
        self._head = self._tail = b""
        self._keep = False
        if outcome == REQUEST:
            facts = self._facts
            end = ENVIRON_AT + facts[FACT_ENVIRON]
            self.environ = self._view[ENVIRON_AT:end]
            size = facts[FACT_BODY]
            self.body = bytes(self._view[end : end + size]) if size else b""
        return outcome

    def finish(self, parts: Parts, keep: bool, file: FileRegion | None = None) -> None:
        """Leaves the frames that end the exchange. They are sent by the next next() or flush();
        until then send() still goes before them. A FILE frame with END follows them if `file` is
        given; its descriptor must stay open until then. The connection is kept if `keep` is true
        and httpd has ended its side, too.
        """
        if len(parts) == 2 and type(parts[0]) is type(parts[1]) is bytes:
            self._head, self._tail = parts
        elif len(parts) > 1:
            self._head, self._tail = self._last_of(parts)
        else:
            # Also forgets what an earlier finish() has left.
            self._head, self._tail = (parts[0] if parts else b"", b"")
        self._file = file
        self._keep = keep

    def _last_of(self, parts: Parts) -> tuple[Buffer, bytes]:
        """Sends all frames but the last, which it returns: they are too much for one call of C. If
        that fails, next() will report it.
        """
        *first, (head, body) = _frames(parts)
        try:
            self.send([part for frame in first for part in frame if part])
        except OSError:
            return b"", b""
        return head, bytes(body)

    def _finish_with(self, file: FileRegion) -> None:
        """Sends the end of the response, and the file behind it."""
        lib, (descriptor, offset, length) = self._lib, file
        self._file = None
        frame = protocol.encode_file(offset, length, True)
        if not self._send(
            self._handle, self._head, len(self._head), self._tail, len(self._tail), -1
        ):
            self._send(self._handle, frame, len(frame), b"", 0, descriptor)
        lib.wsgid_endpoint_flush(self._handle, b"", 0, b"", 0, self._keep)

    def flush(self) -> None:
        """Sends what finish() left and gives the connection back, so that its next request need
        not wait for this worker.
        """
        if self._file is not None:
            self._finish_with(self._file)
        elif self._head or self._keep:  # else it has been done, or next() closes the connection
            head, tail = self._head, self._tail
            self._lib.wsgid_endpoint_flush(
                self._handle, head, len(head), tail, len(tail), self._keep
            )
        self._head = self._tail = b""
        self._keep = False

    def drop(self) -> None:
        """Closes the connection at once; nothing more is sent."""
        self._facts[FACT_GONE] = 1
        self._head = self._tail = b""
        self._file = None
        self._lib.wsgid_endpoint_flush(self._handle, b"", 0, b"", 0, 0)

    def uncount(self) -> None:
        """The application has not seen this request: the statistics page does not count it."""
        self._lib.wsgid_measure_withdraw(self._handle)

    def cut(self, request_id: int, parts: Parts) -> bool:
        """Ends the request of that id, if it still runs, with these frames; without them if
        another frame is being sent. Returns whether it did. Its worker then finds that the client
        has gone.

        Any thread may call it. It never waits. The caller makes sure that the worker does not end
        the request meanwhile.
        """
        frames = b"".join(parts)
        return bool(self._lib.wsgid_send_abort(self._handle, request_id, frames, len(frames)))

    # ---- sending

    def send(self, parts: Parts) -> None:
        """Sends whole frames now. Raises PeerGone, PeerSilent or another OSError."""
        if len(parts) == 1 and type(parts[0]) is bytes:
            outcome = self._send(self._handle, parts[0], len(parts[0]), b"", 0, -1)
        elif len(parts) == 2 and type(parts[0]) is type(parts[1]) is bytes:
            outcome = self._send(self._handle, parts[0], len(parts[0]), parts[1], len(parts[1]), -1)
        else:
            outcome = self._send_many(parts)
        if outcome:
            raise self._failure(outcome)

    def send_block(self, block: bytes) -> None:
        """Sends a block of the response, which is not empty, as DATA. Raises as send() does."""
        size = len(block)
        if size > MAX_DATA or type(block) is not bytes:
            self.send(protocol.encode_data(block))
            return
        outcome = self._send_data(self._handle, block, size)
        if outcome:
            raise self._failure(outcome)

    def log(self, request_id: int, frames: Sequence[bytes]) -> None:
        """Sends LOG frames. Raises PeerGone if the request of that id does not run any more, and
        what send() raises.

        Any thread may call it, however late: no frame gets into the exchange of another request.
        """
        joined = b"".join(frames)
        outcome = self._lib.wsgid_send_log(self._handle, request_id, joined, len(joined))
        if outcome:
            raise self._failure(outcome)

    def _send_many(self, parts: Parts) -> int:
        """Sends any number of frames: small ones together, large ones out of the application's own
        buffers. Returns an outcome, or 0.
        """
        outcome, size = 0, 0
        small: list[Buffer] = []
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

    def _send_pair(self, head: Buffer, body: Buffer) -> int:
        tail = body if type(body) is bytes else self._transport.binding.pointer(body)
        outcome: int = self._send(self._handle, head, len(head), tail, len(body), -1)
        return outcome

    def _failure(self, outcome: int) -> OSError:
        if outcome == GONE:
            return PeerGone()
        if outcome == SILENT:
            return self._transport.reason(errno.ETIMEDOUT)
        return self._transport.reason(self._facts[FACT_ERRNO])

    # ---- receiving

    def grant(self, size: int) -> None:
        """Lets httpd send `size` more body bytes. Raises as send() does."""
        self._facts[FACT_CREDIT] += size
        self.send((protocol.encode_credit(size),))

    def receive(self) -> bytes:
        """Waits for the next bytes of the body and returns them; b"" at its end. Raises PeerGone,
        PeerSilent, another OSError, or RemoteProtocolError.
        """
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

    def fault(self, inside: bool = False) -> protocol.ProtocolError:
        """What httpd did wrong, in the words of the codec in Python. `inside`: within a request."""
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

    def is_hung_up(self) -> bool:
        """Whether httpd has closed its end (it has taken the request back, or its client has
        gone), or the exchange is over. Any thread may call it. It never waits.
        """
        return bool(self._lib.wsgid_endpoint_is_hung_up(self._handle))


class Transport:
    """The slot's listener and all connections to it. `draining`: drain() has been called."""

    def __init__(
        self,
        binding: Binding,
        listener: int,
        allowed: set[int],
        timeout: float,
        send_timeout: float,
        is_crowded: bool,
        log: Log,
        page: Page,
        descriptors: Descriptors,
    ) -> None:
        """`allowed` are the uids that may connect. `timeout` and `send_timeout` are socket-timeout
        and send-timeout in seconds; a `send_timeout` of 0 means that there is none. `is_crowded`
        says that the group has a process for each processor, or more. `page` is the
        statistics page, which C writes. `descriptors` is told when they run out. Raises OSError.
        """
        self.draining = False
        self.binding = binding
        self._log = log
        self._page = page
        self._descriptors = descriptors
        self._limits = send_timeout, timeout
        uids = struct.pack("%dI" % len(allowed), *allowed)
        self._memory = mmap.mmap(-1, len(uids))  # stays where it is
        self._memory[:] = uids
        self._is_gated = has_gil()
        self._hub = binding.lib.wsgid_hub_create(
            listener,
            binding.address(self._memory),
            len(allowed),
            timeout + HTTPD_FIRST,
            send_timeout,
            timeout,
            self._is_gated,
            is_crowded,
            binding.address(page.memory),
        )
        if not self._hub:
            raise OSError("no room for the transport")
        os.register_at_fork(after_in_child=self._abandon)

    def exchange(self) -> Exchange:
        """Creates the Exchange of a new worker. Raises MemoryError."""
        return Exchange(self, self.binding, self._hub)

    def open(self) -> None:
        """Begins to accept connections. Raises OSError."""
        number = self.binding.lib.wsgid_hub_open(self._hub)
        if number:
            raise OSError(number, os.strerror(number))

    def waiting(self) -> int:
        """Returns how many requests wait, unread, in connections that have been accepted."""
        count: int = self.binding.lib.wsgid_hub_waiting(self._hub)
        return count

    def drain(self) -> None:
        """Takes no more requests: each next() returns False once what its worker has is done. Of
        the listener, which the guardian and a replacement have too, only our copy is closed.
        """
        self.draining = True
        self.binding.lib.wsgid_hub_drain(self._hub)

    def _abandon(self) -> None:
        """In a child that the application forked: its copies of the connections must neither
        answer nor keep them open.
        """
        self.draining = True
        self._page.forget()
        self.binding.lib.wsgid_hub_abandon(self._hub)

    def next(self, exchange: Exchange) -> bool:
        """Sends what exchange.finish() left, gives the connection back or closes it, waits for the
        next request and reads it whole into `exchange`. False: the process drains, the worker
        shall end. Raises Unsent if the last response was given up: then call it again.
        """
        if is_free_threaded and has_gil() != self._is_gated:
            # The application imports an extension that needs the GIL, or has done so.
            self._is_gated = not self._is_gated
            self.binding.lib.wsgid_hub_set_gated(self._hub, self._is_gated)
        while True:
            outcome = exchange.next()
            if outcome <= REQUEST:
                return outcome == REQUEST
            self._report(outcome, exchange)

    def _report(self, outcome: int, exchange: Exchange) -> None:
        """Logs an outcome that is not for the worker. Raises Unsent, which is."""
        facts = exchange._facts
        if outcome == UNSENT:
            raise Unsent(self.reason(facts[FACT_ERRNO]))
        if outcome == VIOLATION:
            self.report_violation(exchange.fault())
        elif outcome == SILENT:
            log_silent(self._log)
        elif outcome == REFUSED:
            log_refused(self._log, facts[FACT_PID], facts[FACT_UID])
        elif outcome == NO_ACCEPT:
            self._report_no_accept(facts[FACT_ERRNO], facts[FACT_CONNECTIONS], facts[FACT_LIMIT])
        else:
            log_unreadable(self._log, os.strerror(facts[FACT_ERRNO]))

    def _report_no_accept(self, number: int, connections: int, limit: int) -> None:
        if number == errno.EMFILE:
            self._descriptors.run_out(connections, limit)
        else:
            log_no_accept(self._log, os.strerror(number))

    def report_violation(self, error: Exception) -> None:
        """Logs what httpd did wrong. The caller closes the connection."""
        log_violation(self._log, error)

    def reason(self, number: int) -> OSError:
        """The exception for the errno for which a response was given up."""
        if number == errno.ETIMEDOUT:
            return PeerSilent(silence_text(*self._limits))
        return OSError(number, os.strerror(number))
