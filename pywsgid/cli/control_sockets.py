"""The control sockets of running daemons: where they are, and one question to all of them at once.

Rules: all processes share one deadline, so that a process that hangs delays no other answer. What a
socket is called is the supervisor's business (apxs/supervisor): PREFIX.PID.N.SLOT.ctl. What an
answer means must not be known here: control_client.py reads it.
"""

from __future__ import annotations

import glob
import os
import selectors
import socket
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from pywsgid.cli.messages import Failure

# Where httpds of distributions have their runtime directory: Debian; Fedora, RHEL; httpd's own
# default.
DIRECTORIES = (
    "/run/apache2",
    "/var/run/apache2",
    "/run/httpd",
    "/usr/local/apache2/logs",
    "/usr/local/apache2/run",
)
PATIENCE = 1.0  # seconds in which every process has to answer
ANSWER_MAX = 16 * 1024 * 1024  # bytes
PIECE = 65536  # bytes that are read at once


@dataclass
class Answers:
    """What came back. A socket that is in neither has no process behind it any more."""

    complete: dict[str, bytes] = field(default_factory=dict)  # socket -> the whole answer
    silent: list[str] = field(default_factory=list)  # the sockets without an answer in time


def find(prefix: str | None) -> list[str]:
    """The control sockets, in order; Failure if there are none."""
    places = [prefix] if prefix else dict.fromkeys(os.path.realpath(place) for place in DIRECTORIES)
    found = sorted(path for place in places for path in glob.glob(_pattern(place)))
    if not found:
        raise Failure(
            "WSGID0440",
            f"no daemon's control socket in {' or '.join(places)}",
            "is httpd running with WSGIDaemonProcess? Otherwise name its sockets with --sockets",
        )
    return found


def _pattern(place: str) -> str:
    if os.path.isdir(place):
        return os.path.join(glob.escape(place), "*.ctl")
    return glob.escape(place) + "*.ctl"


def ask(paths: Iterable[str], question: str) -> Answers:
    """Asks the processes behind all these sockets; returns after PATIENCE at the latest.

    Raises Failure if this user may not open one of them.
    """
    answers = Answers()
    deadline = time.monotonic() + PATIENCE
    with ExitStack() as connections, selectors.DefaultSelector() as selector:
        for path in paths:
            _send(path, question, selector, connections, answers)
        pieces: dict[str, bytes] = {key.data: b"" for key in selector.get_map().values()}
        while pieces and (remaining := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(remaining):
                if not _receive(key, pieces, answers):
                    selector.unregister(key.fileobj)
                    del pieces[key.data]
        answers.silent += pieces
    answers.silent.sort()
    return answers


def _send(
    path: str,
    question: str,
    selector: selectors.BaseSelector,
    connections: ExitStack,
    answers: Answers,
) -> None:
    """Puts the question to one process, and has the selector wait for its answer."""
    connection = connections.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    connection.setblocking(False)
    try:
        connection.connect(path)
        connection.sendall(question.encode("ascii") + b"\n")
    except PermissionError as error:
        raise Failure(
            "WSGID0441",
            f"{path} may not be opened by this user",
            "ask as root or as the user of httpd's children (sudo)",
        ) from error
    except BlockingIOError:
        answers.silent.append(path)  # its backlog is full of questions that nobody takes
    except OSError:
        pass  # no process is there
    else:
        selector.register(connection, selectors.EVENT_READ, path)


def _receive(key: selectors.SelectorKey, pieces: dict[str, bytes], answers: Answers) -> bool:
    """Takes what has come of one answer; returns whether more is expected."""
    assert isinstance(key.fileobj, socket.socket)
    piece = b""
    with suppress(ConnectionError):
        piece = key.fileobj.recv(PIECE)
        pieces[key.data] += piece
        if not piece:
            answers.complete[key.data] = pieces[key.data]
    if len(pieces[key.data]) > ANSWER_MAX:
        answers.complete[key.data] = b""  # which nobody understands
        return False
    return bool(piece)
