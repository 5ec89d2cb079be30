"""Sending frames whole, in Python: for transport.py, where the rules stand.

A send does not block, but waits in poll() for room (Patience).
"""

import _socket
import select
import struct
import time

from pywsgid.daemon.transport.peer import DROPS_CONNECTION, PeerGone, PeerSilent, silence_text
from pywsgid.wire import protocol

PARTS_MAX = 1000  # buffers in one sendmsg; the kernel takes 1024 (IOV_MAX)
DESCRIPTOR = struct.Struct("i")


class Patience:
    """How long the response of one exchange may wait for httpd to take it; see transport.py."""

    __slots__ = ("_limit", "_silence", "_left")

    def __init__(self, limit, silence):
        self._limit, self._silence = (
            limit,
            silence,
        )  # send-timeout (0: none) and socket-timeout, in seconds
        self.renew()

    def renew(self):
        """For the next exchange."""
        self._left = self._limit or self._silence

    def wait(self, sock):
        """Waits until httpd has room for more; False: it is time to give up."""
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLOUT)
        began = time.monotonic()
        has_room = poll.poll(max(0, self._left) * 1000)
        if self._limit:
            self._left -= time.monotonic() - began
        return bool(has_room)

    def text(self):
        """What it was that took too long."""
        return silence_text(self._limit, self._silence)


def _remaining(parts, sent):
    """What of `parts` has not been sent."""
    rest = []
    for part in parts:
        size = len(part)
        if sent >= size:
            sent -= size
        else:
            rest.append(memoryview(part)[sent:] if sent else part)
            sent = 0
    return rest


def _send_some(sock, patience, parts, ancillary=()):
    """One sendmsg: how many bytes httpd has room for, at least one."""
    is_over = False
    while True:
        try:
            return sock.sendmsg(parts, ancillary, _socket.MSG_NOSIGNAL | _socket.MSG_DONTWAIT)
        except BlockingIOError:
            if is_over:
                raise PeerSilent(patience.text()) from None
        except OSError as error:
            if error.errno not in DROPS_CONNECTION:
                raise
            raise PeerGone() from None
        is_over = not patience.wait(
            sock
        )  # then a last try: poll() calls less than a quarter of the buffer no room


def send_all(sock, patience, parts):
    """Sends buffers whole, as long as httpd takes something."""
    if len(parts) > PARTS_MAX:
        for start in range(0, len(parts), PARTS_MAX):
            send_all(sock, patience, parts[start : start + PARTS_MAX])
        return
    left = sum(map(len, parts))
    while left:
        sent = _send_some(sock, patience, parts)
        left -= sent
        if left:
            parts = _remaining(parts, sent)


def send_file(sock, patience, descriptor, offset, length):
    """A FILE frame with END; the descriptor is httpd's own copy from here on."""
    frame = protocol.encode_file(offset, length, True)
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, DESCRIPTOR.pack(descriptor))
    sent = _send_some(sock, patience, (frame,), (rights,))
    send_all(sock, patience, _remaining((frame,), sent))
