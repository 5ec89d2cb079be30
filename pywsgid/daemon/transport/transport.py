"""Connections from httpd: whole requests in, whole frames out. Knows sockets, epoll and frames;
nothing of WSGI.

The interface, small on purpose, as C stands in for this file where it can be loaded (hotpath.py;
one call for each request, without the GIL). This one is for the rest, and says exactly what the
other does, too: tests run over both.

    transport.next(exchange) -> bool
        Sends what exchange.finish() left, gives its connection back or closes it, waits for the next request and
        reads it whole into `exchange` (id, sent, waited, environ, body, complete; the environ block is a
        view that the next receive() overwrites; sent is microseconds since the epoch, waited those from there until it
        had been read). False: the process drains, the worker is to leave. Unsent: the last response was
        given up; to be called again.
    exchange.is_hung_up()       whether httpd has closed its end: it took the request back, or its client has gone. For
                                any thread, never waits.
    exchange.send(parts)        whole frames, now
    exchange.log(id, frames)    the same: LOG frames, if the request of that id still runs; PeerGone if not. Any thread
                                may, however late: none gets into the exchange of another request
    exchange.send_block(block)  the same: a block of the response, as bytes, not empty
    exchange.grant(size)        so many more body bytes may come
    exchange.receive()          the next bytes of the body, b"" at its end
    exchange.finish(parts, keep, file)   the frames that end the exchange; they leave with the next call of next() or
                                flush(). file: None, or (descriptor, offset, length) for a FILE frame behind them
    exchange.flush()            sends them at once and gives the connection back: for a worker that has more to do first
    exchange.drop()             closes the connection at once
    exchange.uncount()          the request that next() gave was not started after all (the statistics page)
    exchange.cut(id, parts)     from another thread: ends the request of that id, if it still runs, with these frames,
                                or without if one is being sent. Its worker finds that the client has gone. Never waits.
                                Whoever calls it sees to it that the worker does not end the request meanwhile
    transport.waiting()         how many requests wait, unread, in connections that have been accepted
    transport.drain()           no more requests: every next() returns False when what its worker has is done

What fails is told by two exceptions: PeerGone (httpd closed the connection, which is how it says
that its client has gone; or it was silent for longer than socket-timeout, or too slow in taking the
response: PeerSilent) and ProtocolError (logged and the connection closed by whoever catches it).

How long a response may wait for httpd: with a send-timeout, so long in all, over all sends of one
exchange (Patience); without one there is no bound in all, but each wait must bring something within
socket-timeout.

After an exception of another kind within send() (RequestTimeout may come up anywhere, see stuck.py)
nothing more is sent, as a frame may be cut short.

Bodies are not copied here: what is sent goes out of the application's own buffers, and what comes
goes into the bytes that it gets (measured, 64 KiB frames: 0.4 instead of 0.5 ms CPU a MB with a
copy through the buffer, though a frame then takes two receives).

Strategy: leader/follower. All workers wait on one epoll; EPOLLONESHOT gives a connection's event to
one of them, which reads the request and runs it itself: no queue, no hand-off, no second wake-up. A
connection is in `_idle` exactly while it is armed in the epoll and nobody's; who pops it owns it.
That one rule decides the race between a worker and drain(): what drain() pops is closed unread,
which gives its sender ECONNRESET, so that it tries elsewhere; what a worker pops is read and run.

A receive blocks, with SO_RCVTIMEO; a send does not, but waits in poll() for room, as the kernel
would begin SO_SNDTIMEO anew with each bit that httpd takes. So a stuck peer cannot hold a thread
for ever. Sockets are `_socket.socket`: `socket` would cost 3 ms of start-up for enum and selectors,
which a small application does not need otherwise.
"""

import _socket
import mmap
import os
import select
import struct
import threading
import time
from _thread import get_ident

from pywsgid.daemon.transport.peer import (
    DESCRIPTORS_PAUSE,
    DROPS_CONNECTION,
    PeerGone,
    PeerSilent,
    Unsent,
    tell_no_accept,
    tell_refused,
    tell_silent,
    tell_violation,
)
from pywsgid.daemon.transport.sending import Patience, send_all, send_file
from pywsgid.wire import process_abi, protocol

IDLE_EVENTS = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
LISTENER_EVENTS = select.EPOLLIN | select.EPOLLONESHOT
HANGUP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

ACCEPT_AT_ONCE = (
    64  # connections that one worker accepts before it lets others (and drain()) have the listener
)
# A REQUEST with all the body bytes it may hold and a usual environ. An mmap: only what is used
# takes memory.
BUFFER_SIZE = 128 * 1024
RECEIVE_MAX = 64 * 1024  # body bytes in one receive: what httpd sends in a frame
CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid
TIMEVAL = struct.Struct("ll")
_violation = protocol.RemoteProtocolError


def _timeval(seconds):
    return TIMEVAL.pack(int(seconds), int(seconds % 1 * 1000000))


class Exchange:
    """A worker's end: the request that it has, and the way back. One for each worker, used again
    for each request.
    """

    __slots__ = (
        *("id", "sent", "waited", "environ", "body", "complete", "gone", "unsent"),
        *("_transport", "_socket", "_lock", "_buffer", "_view", "_start", "_end"),
        *("_frame_left", "_frame_last", "_credit", "_last", "_file", "_keep", "_open", "_patience"),
        *("_started", "_row", "_sender"),
    )

    def __init__(self, transport, patience):
        self._transport = transport
        self._patience = patience
        self._socket = None
        self._row = transport.page.row()
        self._lock = threading.Lock()  # frames from several threads (wsgi.errors) must not mix
        self._sender = None  # the thread that sends one
        self._buffer = mmap.mmap(-1, BUFFER_SIZE)
        self._view = memoryview(self._buffer)
        self._reset(None)

    def _reset(self, sock):
        self._socket = sock
        self._start = self._end = 0  # what of the buffer has been received and not taken
        self._frame_left = 0  # payload bytes of the current BODY frame that are still to come
        self._frame_last = False
        self._credit = 0
        self._last = ()
        self._file = None
        self._keep = False
        self._patience.renew()
        self.gone = False  # a send or a receive has failed
        self.unsent = None  # why the response was given up, if that is for the log
        self._started = (
            b""  # STARTED, until it is out: it goes before the first frame, in the same send
        )
        self.id = self.sent = self.waited = 0
        self.environ = self.body = b""
        self.complete = False
        self._open = sock is not None  # last: from here on, id is not that of the request before

    # ---- reading

    def _receive(self, call, argument):
        """One receive by `call`, a method of the socket."""
        try:
            received = call(argument)
        except BlockingIOError:
            raise PeerSilent("httpd sent nothing for socket-timeout") from None
        except OSError as error:
            if error.errno not in DROPS_CONNECTION:
                raise
            received = 0
        if not received:
            raise PeerGone()
        return received

    def _receive_into(self, view):
        return self._receive(self._socket.recv_into, view)

    def _fill(self, limit):
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == BUFFER_SIZE:
            rest = bytes(self._view[self._start : self._end])
            self._view[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        self._end += self._receive_into(self._view[self._end : self._end + limit])

    def _frame(self, limit=BUFFER_SIZE):
        """The next frame's (type, flags, length); no receive takes more than `limit` bytes."""
        while self._end - self._start < protocol.HEADER_SIZE:
            self._fill(limit)
        frame = protocol.parse_header(self._view, self._start)
        self._start += protocol.HEADER_SIZE
        return frame

    def _payload(self, length):
        """A whole payload: a view that is valid until the next receive."""
        if self._start + length <= BUFFER_SIZE:
            while self._end - self._start < length:
                self._end += self._receive_into(self._view[self._end :])
            view = self._view[self._start : self._start + length]
            self._start += length
            return view
        large = bytearray(length)  # bounded: the header has been checked
        view = memoryview(large)
        have = min(length, self._end - self._start)
        view[:have] = self._view[self._start : self._start + have]
        self._start += have
        while have < length:
            have += self._receive_into(view[have:])
        return view

    def read_request(self, sock):
        """Reads a whole REQUEST from a connection that has something."""
        self._reset(sock)
        kind, flags, length = self._frame()
        if kind != protocol.REQUEST:
            raise _violation(protocol.OUT_OF_ORDER, "%s before REQUEST" % protocol.type_name(kind))
        self.id, self.sent, line, self.environ, body = protocol.parse_request(self._payload(length))
        self.body = bytes(body)
        self.complete = bool(flags & protocol.END)
        if self._start != self._end:
            raise _violation(
                protocol.OVER_CREDIT, "%d bytes behind REQUEST" % (self._end - self._start)
            )
        self.waited = self._row.begin(
            self.sent, protocol.parse_line(self.environ, line, process_abi.PAGE_LINE - 1)
        )
        self._started = protocol.encode_started(self._transport.pid, self.waited)

    def receive(self):
        """The next bytes of the body beyond those in `body`, as soon as there are any; b"" at the
        end.
        """
        try:
            while not self._frame_left:
                if self.complete:
                    return b""
                self._next_body()
            data = self._receive(self._socket.recv, min(self._frame_left, RECEIVE_MAX))
        except PeerGone:
            self.gone = True
            raise
        self._frame_left -= len(data)
        if not self._frame_left and self._frame_last:
            self.complete = True
        return data

    def _next_body(self):
        # No byte beyond the header, so that the payload is received where it is to stay.
        kind, flags, length = self._frame(protocol.HEADER_SIZE)
        if kind != protocol.BODY:
            raise _violation(
                protocol.OUT_OF_ORDER, "%s inside a request" % protocol.type_name(kind)
            )
        if length > self._credit:
            raise _violation(
                protocol.OVER_CREDIT,
                "BODY of %d bytes against a credit of %d" % (length, self._credit),
            )
        self._credit -= length
        self._frame_left = length
        self._frame_last = bool(flags & protocol.END)
        if not length:
            self.complete = True

    @property
    def credit(self):
        """Body bytes that httpd may still send: granted and not arrived."""
        return self._credit + self._frame_left

    def is_hung_up(self):
        """Whether httpd has closed its end of the connection; True, too, when the exchange is
        over."""
        sock = self._socket  # the worker may let go of it meanwhile
        descriptor = -1 if sock is None or self.gone else sock.fileno()
        if descriptor < 0:
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLRDHUP)
        return bool(poll.poll(0))

    # ---- sending

    def log(self, request_id, frames):
        """See the top of this file."""
        self.send(frames, request_id)

    def send(self, parts, request_id=None):
        """Sends whole frames. PeerGone if the client has gone or the exchange is over."""
        if self._sender == get_ident():
            raise PeerGone(
                "another frame is on its way"
            )  # a __del__ that logs, in the middle of our own send
        with self._lock:
            if not self._open or request_id not in (None, self.id):
                raise PeerGone("the request is over")
            self._sender = get_ident()
            try:
                self._send(parts)
            finally:
                self._sender = None

    def send_block(self, block):
        """Sends a block of the response, not empty."""
        self.send(protocol.encode_data(block))

    def _announced(self, parts):
        """What is to be sent for these frames: STARTED first, if they are the first."""
        if not self._started or not parts:
            return parts
        started, self._started = self._started, b""
        return (started, *parts)

    def _send(self, parts):
        if self.gone:
            raise PeerGone()
        try:
            send_all(self._socket, self._patience, self._announced(parts))
        except PeerGone as error:
            self._lost(error)
            raise
        except BaseException:
            self.gone = True
            raise

    def _lost(self, error):
        self.gone = True
        if not isinstance(error, PeerGone) or isinstance(error, PeerSilent):
            self.unsent = error

    def grant(self, size):
        """Lets httpd send `size` more body bytes."""
        self._credit += size
        self.send((protocol.encode_credit(size),))

    def finish(self, parts, keep, file=None):
        """Ends the exchange with these frames; the connection is kept if `keep` and httpd's side
        has ended too.

        Until they are sent, send() still goes before them. `file`, a (descriptor, offset, length),
        follows them as a FILE frame with END; it must stay open until then.
        """
        self._last = parts
        self._file = file
        self._keep = keep

    def flush(self):
        """Sends what finish() left and gives the connection back: its next request need not wait
        for this worker.
        """
        with self._lock:
            self._open = False
            sock = self._socket
            if sock is None:
                return
            keep = self._keep and self.complete and not self.gone and self._start == self._end
            try:
                if not self.gone:
                    self._send_last(sock)
            except OSError as error:
                self._lost(error)
                keep = False
            finally:
                self._last = ()
                self._file = None
                self._transport.give_back(sock, keep)
                self._socket = (
                    None  # not before: a child that is forked meanwhile has to find it (_abandon)
                )

    def _send_last(self, sock):
        if self._last:
            send_all(sock, self._patience, self._announced(self._last))
        if self._file is not None:
            send_file(sock, self._patience, *self._file)

    def drop(self):
        """Closes the connection at once; nothing more is sent."""
        with self._lock:
            self._last = ()
            self._file = None
            self._keep = False
            self.gone = True
        self.flush()

    def cut(self, request_id, parts):
        """See the top of this file. Whether it did."""
        is_free = self._lock.acquire(False)  # else it is sending, and its frame comes first
        try:
            sock = self._socket
            if sock is None or self.gone or self.id != request_id:
                return False
            self.gone = True
            if is_free:
                sock.sendmsg(
                    self._announced(parts), (), _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL
                )
            sock.shutdown(_socket.SHUT_RDWR)
        except OSError:
            pass  # httpd has gone, or has no room: it will see the connection end
        finally:
            if is_free:
                self._lock.release()
        return True

    def uncount(self):
        """The request has not been started."""
        self._row.take_back()

    def ended(self):
        """The worker is free again."""
        self._row.end()

    def abandon(self):
        """In a forked child: this copy of the connection is not ours."""
        sock, self._socket = self._socket, None
        self._open = False
        if sock is not None:
            sock.close()


class Transport:
    """The slot's listener and all connections to it.

    `allowed` are the uids that may connect, `timeout` and `send_timeout` are socket-timeout and
    send-timeout in seconds (send_timeout 0: none), `log` a logs.Log, `page` a page.Page, where
    requests are counted.
    """

    def __init__(self, listener, allowed, timeout, send_timeout, log, page):
        self.draining = False
        self.pid = os.getpid()
        self.page = page
        self._log = log
        self._allowed = allowed
        # httpd knows who it is that does not move (its client, mostly): it is to speak first.
        self._timeout = _timeval(timeout + 1)
        self._send_limits = send_timeout, timeout
        self._listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, listener)
        self._listener.settimeout(0)
        self._listener_descriptor = listener
        self._accepting = threading.Lock()
        self._idle = {}  # descriptor -> socket; see the rule above
        self._sockets = {}  # all of them, whoever has them
        self._exchanges = []
        self._wakeup = os.eventfd(0)
        self._epoll = select.epoll()
        self._epoll.register(
            self._wakeup, select.EPOLLIN
        )  # level-triggered and never read: wakes every worker
        os.register_at_fork(after_in_child=self._abandon)

    def exchange(self):
        """A new worker's Exchange."""
        exchange = Exchange(self, Patience(*self._send_limits))
        self._exchanges.append(exchange)
        return exchange

    def open(self):
        """Begins to accept."""
        self._epoll.register(self._listener_descriptor, LISTENER_EVENTS)

    def next(self, exchange):
        """See the top of this file."""
        exchange.flush()
        exchange.ended()
        if exchange.unsent is not None:
            reason, exchange.unsent = exchange.unsent, None
            raise Unsent(reason)
        while True:
            for descriptor, events in self._epoll.poll(-1, 1):
                if descriptor == self._wakeup:
                    return False
                if descriptor == self._listener_descriptor:
                    self._accept()
                elif self._take(exchange, descriptor, events):
                    return True

    def _take(self, exchange, descriptor, events):
        sock = self._idle.pop(descriptor, None)
        if sock is None:
            return False  # drain() was first
        if events & HANGUP:
            self._close(sock)  # unread: if it holds a request, its client has gone
            return False
        try:
            exchange.read_request(sock)
            return True
        except protocol.ProtocolError as error:
            self.report_violation(error)
        except PeerSilent:
            tell_silent(self._log)
        except PeerGone:
            pass  # an idle connection that httpd closed, or a request cut short: not started
        exchange.drop()
        return False

    def report_violation(self, error):
        tell_violation(self._log, error)

    # ---- connections

    def _accept(self):
        with self._accepting:
            if self._listener is None:
                return
            try:
                for _ in range(ACCEPT_AT_ONCE):
                    self._admit(self._listener._accept()[0])
            except (BlockingIOError, ConnectionAbortedError):
                pass
            except OSError as error:
                tell_no_accept(self._log, error)
                time.sleep(DESCRIPTORS_PAUSE)
            self._epoll.modify(self._listener_descriptor, LISTENER_EVENTS)

    def _admit(self, descriptor):
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
        sock.settimeout(None)  # the application may have called socket.setdefaulttimeout()
        pid, uid, _ = CREDENTIALS.unpack(
            sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, CREDENTIALS.size)
        )
        if uid not in self._allowed:
            sock.close()
            tell_refused(self._log, pid, uid)
            return
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, self._timeout)
        self._idle[descriptor] = self._sockets[descriptor] = sock
        self._epoll.register(descriptor, IDLE_EVENTS)

    def give_back(self, sock, keep):
        """An exchange is done with its connection."""
        if not keep or self.draining:
            self._close(sock)
            return
        descriptor = sock.fileno()
        self._idle[descriptor] = sock
        try:
            self._epoll.modify(descriptor, IDLE_EVENTS)
        except OSError:
            if self._idle.pop(descriptor, None) is not None:
                raise  # else drain() has closed it by now
        if self.draining:  # it began in between: whichever of us pops the connection closes it
            sock = self._idle.pop(descriptor, None)
            if sock is not None:
                self._close(sock)

    def _close(self, sock):
        # Taken out by hand, as the epoll would keep it if a process that the application forked had
        # a copy.
        try:
            self._epoll.unregister(sock.fileno())
        except (OSError, ValueError):
            pass
        self._sockets.pop(sock.fileno(), None)
        sock.close()

    def waiting(self):
        """See above."""
        poll = select.poll()
        for descriptor in list(self._idle):
            poll.register(descriptor, select.POLLIN)
        return sum(bool(events & select.POLLIN) for _, events in poll.poll(0))

    def drain(self):
        """No more requests. Of the listener, which is the parent's and a successor's too, only our
        copy is closed.
        """
        with self._accepting:
            if self.draining:
                return
            self.draining = True
            if self._listener is not None:
                try:
                    self._epoll.unregister(self._listener_descriptor)
                except OSError:
                    pass  # never opened
                self._listener.close()
                self._listener = None
        for descriptor in list(self._idle):
            sock = self._idle.pop(descriptor, None)
            if sock is not None:
                self._close(sock)
        os.eventfd_write(self._wakeup, 1)

    def _abandon(self):
        """In a child that the application forked: its copies must neither answer nor keep
        connections open.
        """
        self.draining = True
        self.page.forget()
        for exchange in self._exchanges:
            exchange.abandon()
        for sock in list(self._sockets.values()):
            sock.close()
        self._idle.clear()
        if self._listener is not None:
            self._listener.close()
        self._epoll.close()
        # The child's own epoll, with nothing in it but the wake-up pipe: next() ends the thread that
        # forked, should it ever come back.
        self._epoll = select.epoll()
        os.close(self._wakeup)
        self._wakeup = os.eventfd(1)
        self._epoll.register(self._wakeup, select.EPOLLIN)
