"""Finds the control sockets of running daemon processes, and asks all of them one question at once.

Rules: all processes share one deadline, so that a process that hangs delays no other answer. The
apxs/slots/listener.c names the sockets: PREFIX.PID.N.SLOT.ctl. This file carries bytes;
control_answers.py knows what they mean.
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

# The runtime directories of httpd.
DIRECTORIES = (
    "/run/apache2",  # Debian, Ubuntu
    "/var/run/apache2",
    "/run/httpd",  # Fedora, RHEL
    "/usr/local/apache2/logs",  # httpd's own default
    "/usr/local/apache2/run",
)
PATIENCE = 1.0  # seconds in which every process has to answer
ANSWER_MAX = 16 * 1024 * 1024  # bytes
READ_SIZE = 65536  # bytes


@dataclass
class Answers:
    """What came back. A socket that is in neither collection has no process behind it."""

    complete: dict[str, bytes] = field(default_factory=dict)  # socket -> the whole answer
    silent: list[str] = field(default_factory=list)  # the sockets without an answer in time


def find(prefix: str | None) -> list[str]:
    """Returns the paths of the control sockets, sorted. `prefix` is a directory or the beginning of
    the paths; None means DIRECTORIES. Raises Failure if there are no sockets."""
    found = sorted(path for place in places(prefix) for path in glob.glob(_pattern(place)))
    if not found:
        raise Failure(
            "WSGID0440",
            f"there is no control socket of a daemon process in {' or '.join(places(prefix))}",
            "start httpd, or name the place that its WSGISocketPrefix sets (--sockets PREFIX)",
        )
    return found


def places(prefix: str | None) -> list[str]:
    """Returns what `prefix` means: itself, or DIRECTORIES."""
    found = dict.fromkeys(os.path.realpath(place) for place in DIRECTORIES)
    return [prefix] if prefix else list(found)


def _pattern(place: str) -> str:
    if os.path.isdir(place):
        return os.path.join(glob.escape(place), "*.ctl")
    return glob.escape(place) + "*.ctl"


def ask(paths: Iterable[str], question: str) -> Answers:
    """Sends the question to the process behind each socket, and collects the answers until all are
    complete or PATIENCE is over. Sockets of other users' groups are left out; raises Failure if
    this user may not open any."""
    answers = Answers()
    paths = [path for path in paths if os.access(path, os.W_OK)] or list(paths)
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
    """Sends the question to one process, and registers its connection with the selector."""
    connection = connections.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    connection.setblocking(False)
    try:
        connection.connect(path)
        with suppress(ConnectionError):  # a guardian answers without a question
            connection.sendall(question.encode("ascii") + b"\n")
    except PermissionError as error:
        raise Failure(
            "WSGID0441",
            f"this user may not open {path}",
            "run the command as root (sudo), or as the user of the group (user=)",
        ) from error
    except BlockingIOError:
        answers.silent.append(path)  # its backlog is full of questions that it does not read
    except OSError:
        pass  # there is no process
    else:
        selector.register(connection, selectors.EVENT_READ, path)


def _receive(key: selectors.SelectorKey, pieces: dict[str, bytes], answers: Answers) -> bool:
    """Reads a piece of one answer; returns whether more is expected."""
    assert isinstance(key.fileobj, socket.socket)
    piece, is_closed = b"", False
    with suppress(ConnectionError):
        piece = key.fileobj.recv(READ_SIZE)
        pieces[key.data] += piece
        is_closed = not piece
    if is_closed or (not piece and pieces[key.data].endswith(b"\n")):
        answers.complete[key.data] = pieces[key.data]
    if len(pieces[key.data]) > ANSWER_MAX:
        answers.complete[key.data] = b""  # not a valid answer
        return False
    return bool(piece)
