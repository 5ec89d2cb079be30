"""How many connections a listening UNIX socket has that nobody has accepted yet: the kernel's
answer to sock_diag(7).
"""

from __future__ import annotations

import struct

from pywsgid.daemon.system import _socket, os

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 1
UDIAG_SHOW_RQLEN = 0x10
UNIX_DIAG_RQLEN = 4
# struct nlmsghdr: length, type, flags, sequence, port
HEADER = struct.Struct("=IHHII")
# struct unix_diag_req: family, protocol, pad, states, inode, show, cookie (any)
REQUEST = struct.Struct("=BBHIIIII")
# struct unix_diag_msg: family, type, state, pad, inode, cookie
ANSWER = struct.Struct("=BBBBIII")
# struct nlattr: length, type; each begins at a multiple of 4
ATTRIBUTE = struct.Struct("=HH")
ANY = 0xFFFFFFFF


def unaccepted(descriptor: int) -> int:
    """Returns the number for the listener of that descriptor; 0 if the kernel does not answer."""
    try:
        return _queue_length(_ask(os.fstat(descriptor).st_ino))
    except OSError:
        return 0


def _ask(inode: int) -> bytes:
    request = REQUEST.pack(_socket.AF_UNIX, 0, 0, ANY, inode, UDIAG_SHOW_RQLEN, ANY, ANY)
    length = HEADER.size + len(request)
    netlink = _socket.socket(
        _socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG
    )
    try:
        netlink.send(HEADER.pack(length, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0) + request)
        return netlink.recv(4096)
    finally:
        netlink.close()


def _queue_length(answer: bytes) -> int:
    length, kind, *_ = HEADER.unpack_from(answer)
    at = HEADER.size + ANSWER.size
    while kind == SOCK_DIAG_BY_FAMILY and at + ATTRIBUTE.size <= length:
        size, type_ = ATTRIBUTE.unpack_from(answer, at)
        if type_ == UNIX_DIAG_RQLEN:
            count: int = struct.unpack_from("=I", answer, at + ATTRIBUTE.size)[0]
            return count
        at += max(size + 3 & ~3, ATTRIBUTE.size)
    return 0
