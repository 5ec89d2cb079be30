"""What an administrator may ask of this process, through its slot's control socket (`pywsgid
status`, `reload`, `restart`, `stacks`).

A connection brings one line, the name of a command, and gets one line of JSON. The main thread
answers, so that this works while every worker is busy; a peer that does not send its line at once
is dropped. The kernel says who the peer is (SO_PEERCRED): root and the process's own user may ask.

Rules: nothing here waits for a worker. Nothing that a peer sends is used but the name of a command.
"""

from __future__ import annotations

import struct
import sys

from pywsgid.daemon import cpython, logs
from pywsgid.daemon.process.descriptors import are_missing
from pywsgid.daemon.request_info import request_line
from pywsgid.daemon.system import _socket, os, time
from pywsgid.wire import process_abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

    from pywsgid.daemon.interfaces import Service

    Reply = dict[str, Any]

# struct timeval (seconds, microseconds): how long a peer may take to send a line or to read ours.
PEER_TIMEOUT = struct.pack("ll", 0, 200000)
LINE_MAX = 64  # bytes
CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid


class Control:
    """`allowed` are the uids that may ask; `descriptor` is the listening control socket."""

    def __init__(
        self,
        service: Service,
        allowed: Collection[int],
        descriptor: int = process_abi.FD_CONTROL,
    ) -> None:
        self.descriptor = descriptor
        self._service = service
        self._allowed = allowed
        self._since = time.time()
        self._listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
        self._listener.settimeout(0)

    def answer(self) -> None:
        """Accepts the next connection, if there is one, and answers it. Raises OSError if there is
        no descriptor for it.
        """
        try:
            descriptor = cpython.accept(self._listener)
        except OSError as error:
            if are_missing(error):
                raise
            return  # another process of the slot was first, or the peer has gone
        peer = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
        try:
            self._serve(peer)
        except OSError:
            pass  # the peer has gone, or is too slow
        finally:
            peer.close()

    def _serve(self, peer: _socket.socket) -> None:
        peer.settimeout(None)
        peer.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, PEER_TIMEOUT)
        peer.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, PEER_TIMEOUT)
        pid, uid, _ = CREDENTIALS.unpack(
            peer.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, CREDENTIALS.size)
        )
        if uid not in self._allowed:
            self._service.log.write(
                logs.WARN,
                "WSGID0370: group %r: refused a command from process %d of uid %d: run pywsgid as "
                "root, or as the user of the group" % (self._service.log.group, pid, uid),
            )
            return
        import json  # milliseconds, and hardly ever needed

        name = peer.recv(LINE_MAX).decode("ascii", "replace").strip()
        command = COMMANDS.get(name)
        if command is None:
            reply: Reply = {"error": "no such question"}
        else:
            reply = command(self._service, self._since)
        peer.sendall(json.dumps(reply).encode("ascii") + b"\n")


# -------- commands: each takes the service and the time (time.time()) since when the process serves


def _identity(service: Service) -> Reply:
    configuration = service.configuration
    return {
        "group": configuration.label,
        "slot": configuration.slot,
        "pid": os.getpid(),
        "state": service.life.state,
    }


def status(service: Service, since: float) -> Reply:
    """The process, what it has measured, and what each thread does now."""
    from pywsgid.daemon.transport import backlog

    now = time.monotonic()
    started, finished = service.page.counts()
    threads = []
    for worker in service.life.workers:
        environ, began = worker.environ, worker.since
        if environ is not None:
            threads.append(
                {
                    "thread": worker.number,
                    "request": request_line(environ),
                    "elapsed": round(now - began, 3),
                }
            )
    return {
        **_identity(service),
        "uid": os.getuid(),
        "python": sys.version.split()[0],
        "since": since,
        "threads": len(service.life.workers),
        "running": threads,
        "queue": service.transport.waiting() + backlog.unaccepted(process_abi.FD_LISTENER),
        "started": started,
        "finished": finished,
        **service.page.measured(),
    }


def reload(service: Service, since: float) -> Reply:
    """Asks to be replaced. The caller sees the result when another pid answers."""
    service.life.request_replacement(
        process_abi.REPLACE_ASKED,
        "an administrator asked for it (pywsgid reload)",
        after_backoff=False,
    )
    return _identity(service)


def restart(service: Service, since: float) -> Reply:
    """Leaves without waiting for a replacement; running requests get graceful-timeout to finish."""
    why = "an administrator asked for it (pywsgid restart)"
    service.life.step("asked", why, service.configuration.graceful_timeout)
    return _identity(service)


def stacks(service: Service, since: float) -> Reply:
    """Every thread's stack."""
    from pywsgid.daemon.process import stacks

    return {**_identity(service), "stacks": stacks.texts(service.life.workers)}


COMMANDS: dict[str, Callable[[Service, float], Reply]] = {
    "status": status,
    "reload": reload,
    "restart": restart,
    "stacks": stacks,
}
