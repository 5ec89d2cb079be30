"""`pywsgid scale`, and what `pywsgid status` shows of pools: questions to the guardians of groups.

A pool is the processes of one application group. Its guardian (apxs/guardian/transfer.c) answers at
its door, a datagram socket that only root reaches, or the user that has started httpd. Where nobody
else is there to answer, the guardian does so at a control socket: its pool has no process. Rules:
an answer may come from the wrong place all the same, so what is shown goes through printable().
"""

from __future__ import annotations

import argparse
import glob
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pywsgid.cli import control_sockets
from pywsgid.cli.messages import Failure, note
from pywsgid.cli.option_values import problem
from pywsgid.wire.log_format import printable
from pywsgid.wire.options import OPTIONS

TEXT = 2048  # WSGID_SCALING_TEXT: bytes of a question, and an answer has no more
ANSWER = re.compile(rb"(\d{1,9}) (\d{1,9}) (\d{1,9}) (\d{1,9}) (\d{1,9}) (.+)\n", re.S)


@dataclass(frozen=True)
class Pool:
    """From `least` to `most` processes, of which there is room for `room`; `wanted` now."""

    number: int  # in its group
    least: int
    most: int
    room: int
    wanted: int
    label: str
    door: str = ""  # of its guardian

    @property
    def bounds(self) -> str:
        return f"{self.least}-{self.most}" if self.least < self.most else str(self.most)


def parse(answer: bytes) -> Pool | None:
    """Returns the pool that an answer is about; None if it is not valid."""
    match = ANSWER.fullmatch(answer)
    if match is None:
        return None
    number, least, most, room, wanted = (int(digits) for digits in match.groups()[:5])
    return Pool(number, least, most, room, wanted, os.fsdecode(match[6]))


def is_meant(label: str, name: str) -> bool:
    """Returns whether a pool belongs to what a command names: a group, or one of its pools."""
    return label == name or label.startswith(f"{name}|")


def find(prefix: str | None) -> list[Pool]:
    """Returns the pools of all groups whose guardians this user may ask. `prefix` is that of
    control_sockets.find()."""
    return [pool for door in _doors(prefix) for pool in _pools_behind(door)]


def _doors(prefix: str | None) -> list[str]:
    starts = [
        os.path.join(glob.escape(place), "") if os.path.isdir(place) else glob.escape(place)
        for place in control_sockets.places(prefix)
    ]
    patterns = [f"{start}{inner}*.door" for start in starts for inner in ("", "*/s/")]
    return sorted(path for pattern in patterns for path in glob.glob(pattern))


def _pools_behind(door: str) -> Iterator[Pool]:
    """The guardian of an older configuration has none that the newest one has, too."""
    number = 0
    while (pool := _ask(door, str(number))) and pool.number >= number:
        yield pool
        number = pool.number + 1


def _ask(door: str, question: str) -> Pool | None:
    """Returns the pool that the answer is about; None if there is none, or no answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as here:
        here.settimeout(control_sockets.PATIENCE)
        try:
            here.bind("")  # the kernel chooses a name, for the answer
            here.connect(door)
            here.send(os.fsencode(question).ljust(TEXT, b"\0"))
            pool = parse(here.recv(TEXT))
        except OSError:  # its guardian has been killed, or hangs
            return None
    return pool and replace(pool, door=door)


# -------- scale


def declare(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `pywsgid scale` but its --sockets."""
    parser.add_argument(
        "name",
        metavar="NAME",
        help="the daemon group, or the processes of one of its application groups, as `pywsgid "
        "status` names them: shop, or shop|blog",
    )
    parser.add_argument(
        "bounds",
        metavar="MIN-MAX",
        type=_bounds,
        help="how many processes it has from now on: N, or from MIN to MAX. MAX is at most what "
        "processes= says. It holds until httpd is restarted, gracefully or not",
    )


def _bounds(text: str) -> tuple[int, int]:
    if wrong := problem(OPTIONS["processes"], text):
        raise argparse.ArgumentTypeError(f"{text!r} {wrong}")
    least, _, most = text.partition("-")
    return int(least), int(most or least)


def scale(arguments: argparse.Namespace) -> int:
    """Sets the bounds of the pools that are meant. Returns 1 if that failed for one of them. Raises
    Failure if there is none."""
    pools = find(arguments.sockets)
    if not pools:
        control_sockets.find(arguments.sockets)  # else there is no httpd
        raise Failure(
            "WSGID0453",
            "no guardian answers this user",
            "run the command as root (sudo), or as the user that has started httpd",
        )
    meant = [pool for pool in pools if is_meant(pool.label, arguments.name)]
    if not meant:
        raise Failure(
            "WSGID0454",
            f"there are no processes with the name {printable(arguments.name)}",
            f"name one of these: {', '.join(sorted({printable(pool.label) for pool in pools}))}",
        )
    return max(_scale(pool, *arguments.bounds) for pool in meant)


def _scale(pool: Pool, least: int, most: int) -> int:
    label = printable(pool.label)
    if most > pool.room:
        note(
            f"WSGID0455: group '{label}' has room for {pool.room} processes, as its "
            f"WSGIDaemonProcess line says, and keeps {pool.bounds}: write processes={least}-{most} "
            "there, and restart httpd gracefully"
        )
        return 1
    now = _ask(pool.door, f"{pool.number} {least} {most} {pool.label}")
    if now is None or (now.label, now.least, now.most) != (pool.label, least, most):
        note(
            f"WSGID0456: group '{label}': its guardian has not taken processes={least}-{most}: "
            "repeat the command; if httpd was being restarted, wait until it has finished"
        )
        return 1
    print(f"group '{label}': processes={now.bounds} until httpd is restarted, {now.wanted} now")
    return 0
