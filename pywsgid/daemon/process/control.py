"""What an administrator may ask of this process, over its slot's control socket (pywsgid status,
reload ...).

A connection brings one line, the name of a question, and takes one line of JSON back. The main
thread answers, so that it works while every worker is busy; a peer that does not speak at once is
left alone. Who may ask is decided by the kernel's word for the peer (SO_PEERCRED): root, the
process's own user, and the user of httpd's children.

Rules: nothing here waits for a worker, and nothing that a peer sends is believed beyond the name of
a question.
"""

import _socket
import os
import struct
import sys
import time

from pywsgid.daemon import logs
from pywsgid.daemon.wsgi.environ import request_line
from pywsgid.wire import process_abi

PATIENCE = struct.pack(
    "ll", 0, 200000
)  # struct timeval: how long a peer may take for its line, or for ours
LINE_MAX = 64
CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid


class Control:
    """`service` is what the daemon's parts share; `allowed` are the uids that may ask."""

    def __init__(self, service, allowed, descriptor=process_abi.FD_CONTROL):
        self.descriptor = descriptor
        self._service = service
        self._allowed = allowed
        self._since = time.time()
        self._listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
        self._listener.settimeout(0)

    def answer(self):
        """Takes the next connection, if there is one, and answers it."""
        try:
            descriptor, _ = self._listener._accept()
        except OSError:
            return  # another process of the slot was first, or the peer has gone
        peer = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
        try:
            self._serve(peer)
        except OSError:
            pass  # it has gone, or is too slow
        finally:
            peer.close()

    def _serve(self, peer):
        peer.settimeout(None)
        peer.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, PATIENCE)
        peer.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, PATIENCE)
        pid, uid, _ = CREDENTIALS.unpack(
            peer.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, CREDENTIALS.size)
        )
        if uid not in self._allowed:
            self._service.log.write(
                logs.WARN,
                "WSGID0370: group %r: process %d of uid %d may not ask anything of this process: root and the users of "
                "httpd and of the group may" % (self._service.log.group, pid, uid),
            )
            return
        import json  # milliseconds, and hardly ever needed

        question = peer.recv(LINE_MAX).decode("ascii", "replace").strip()
        ask = QUESTIONS.get(question)
        reply = ask(self._service, self._since) if ask else {"error": "no such question"}
        peer.sendall(json.dumps(reply).encode("ascii") + b"\n")


def _identity(service):
    configuration = service.configuration
    return {
        "group": configuration.label,
        "slot": configuration.slot,
        "pid": os.getpid(),
        "state": service.life.state,
    }


def status(service, since):
    """Who runs, since when, and what each thread does now."""
    from pywsgid.daemon.transport import backlog

    now = time.monotonic()
    started, finished = service.page.counts()
    threads = []
    for worker in service.life.workers:
        environ, began = worker.environ, worker.since
        if environ is not None:
            elapsed = round(now - began, 3)
            threads.append(
                {"thread": worker.number, "request": request_line(environ), "elapsed": elapsed}
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


def reload(service, since):
    """Wishes for a successor; how it went is seen in who answers, and in the state."""
    service.life.request_replacement(
        process_abi.REPLACE_ASKED, "an administrator asked for it (pywsgid reload)", patient=False
    )
    return _identity(service)


def restart(service, since):
    """Leaves without waiting for a successor; what it runs is finished within graceful-timeout."""
    service.life.step(
        "asked",
        "an administrator asked for it (pywsgid restart)",
        service.configuration.graceful_timeout,
    )
    return _identity(service)


def stacks(service, since):
    """Every thread's stack."""
    from pywsgid.daemon.process import stacks

    return {**_identity(service), "stacks": stacks.texts(service.life.workers)}


QUESTIONS = {"status": status, "reload": reload, "restart": restart, "stacks": stacks}
