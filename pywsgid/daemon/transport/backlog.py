"""How many connections a listening UNIX socket has that nobody has accepted yet, as the kernel
tells (sock_diag(7)).
"""

import _socket
import os
import struct

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 1
UDIAG_SHOW_RQLEN = 0x10
UNIX_DIAG_RQLEN = 4
HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
QUESTION = struct.Struct(
    "=BBHIIIII"
)  # unix_diag_req: family, protocol, pad, states, inode, show, cookie (any)
ANSWER = struct.Struct("=BBBBIII")  # unix_diag_msg: family, type, state, pad, inode, cookie
ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type; each begins at a multiple of 4
ANY = 0xFFFFFFFF


def unaccepted(descriptor):
    """The number; 0, too, where the kernel does not tell."""
    try:
        return _queue_length(_ask(os.fstat(descriptor).st_ino))
    except OSError:
        return 0


def _ask(inode):
    question = QUESTION.pack(_socket.AF_UNIX, 0, 0, ANY, inode, UDIAG_SHOW_RQLEN, ANY, ANY)
    netlink = _socket.socket(
        _socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG
    )
    try:
        netlink.send(
            HEADER.pack(HEADER.size + len(question), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0)
            + question
        )
        return netlink.recv(4096)
    finally:
        netlink.close()


def _queue_length(answer):
    length, kind, *_ = HEADER.unpack_from(answer)
    at = HEADER.size + ANSWER.size
    while kind == SOCK_DIAG_BY_FAMILY and at + ATTRIBUTE.size <= length:
        size, type_ = ATTRIBUTE.unpack_from(answer, at)
        if type_ == UNIX_DIAG_RQLEN:
            return struct.unpack_from("=I", answer, at + ATTRIBUTE.size)[0]
        at += max(size + 3 & ~3, ATTRIBUTE.size)
    return 0
