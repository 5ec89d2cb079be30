"""Whether a daemon process is the one that its answer names: an application can answer at its
control socket in the process's place.

What is compared is out of its reach: a process has the socket open that it answers at, and its
parent is the guardian of its group, which root has named. Rules: only contradictions count. Where
the system does not tell (another user's processes, no guardian any more), the answer stands.
"""

from __future__ import annotations

import os
from contextlib import suppress

from pywsgid.cli.control_answers import Answer
from pywsgid.cli.control_pools import is_meant

TITLE, END = "wsgid:", " (guardian)"  # of a guardian, as apxs/guardian/boundary.c sets it


def contradiction(path: str, answer: Answer) -> str | None:
    """Returns what is wrong about an answer from a control socket; None if nothing is."""
    pid, place = answer["pid"], path.split(".")[-2]
    if answer["slot"] > int(place):  # it counts the slots of all pools of the group
        return f"this is the socket of slot {place} of the group"
    uid = _user(pid)
    if uid is None:
        return f"there is no process {pid}"
    if uid == 0 or uid != answer.get("uid", uid):  # no daemon runs as root
        return f"process {pid} runs as uid {uid}"
    if not _has_open(pid, _inodes(path)):
        return f"process {pid} does not serve this socket"
    group = _group_of_guardian(pid)
    if group is not None and not is_meant(answer["group"], group):
        return f"process {pid} belongs to group '{group}'"
    return None


def _user(pid: int) -> int | None:
    """The uid of a process; None if there is no such process."""
    with suppress(OSError), open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Uid:"))
    return None


def _has_open(pid: int, inodes: list[str]) -> bool:
    """Whether a process has one of these sockets open. True if this user may not know."""
    try:
        links = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
    except OSError:
        return True
    return not inodes or any(f"socket:[{inode}]" in links for inode in inodes)


def _inodes(path: str) -> list[str]:
    """The inodes of the listening sockets that are bound to a path."""
    with suppress(OSError), open("/proc/net/unix", encoding="utf-8", errors="replace") as file:
        # Num: RefCount Protocol Flags Type St Inode Path
        rows = (line.rstrip("\n").split(maxsplit=7) for line in file)
        return [row[6] for row in rows if len(row) == 8 and row[7] == path and row[5] == "01"]
    return []


def _group_of_guardian(pid: int) -> str | None:
    """The group of the guardian that is the parent of a process; None if the parent is no guardian,
    or its title does not fit."""
    with suppress(OSError, ValueError, IndexError):
        with open(f"/proc/{pid}/stat", "rb") as file:
            parent = int(file.read().rpartition(b")")[2].split()[1])
        with open(f"/proc/{parent}/cmdline", "rb") as file:
            title = os.fsdecode(file.read().rstrip(b"\0"))
        if title.startswith(TITLE) and title.endswith(END):
            return title[len(TITLE) : -len(END)]
    return None
