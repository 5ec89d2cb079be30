"""What /proc shows about httpd and its daemons. Linux only, as mod_wsgid is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process. Its start time distinguishes it from a later one with the same pid."""

    pid: int
    parent: int
    state: str
    started: int

    @property
    def command(self) -> str:
        """The command line, words separated by spaces; empty for a zombie."""
        return _read(self.pid, "cmdline").replace("\0", " ").strip()

    @property
    def name(self) -> str:
        return _read(self.pid, "comm").strip()

    @property
    def is_alive(self) -> bool:
        now = find(self.pid)
        return now is not None and now.started == self.started and now.state != "Z"


def find(pid: int) -> Process | None:
    """The process, zombies included; None if it does not exist."""
    stat = _read(pid, "stat")
    if not stat:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return Process(pid, int(fields[1]), fields[0], int(fields[19]))


def everything() -> list[Process]:
    return [
        process
        for entry in PROC.iterdir()
        if entry.name.isdigit() and (process := find(int(entry.name)))
    ]


def children(pid: int) -> list[Process]:
    return [process for process in everything() if process.parent == pid and process.state != "Z"]


def descendants(pid: int) -> list[Process]:
    """Children and their children."""
    found = children(pid)
    for child in list(found):
        found += descendants(child.pid)
    return found


def descriptors(pid: int) -> dict[int, str]:
    """What each descriptor of a process points to; empty if access is denied."""
    found: dict[int, str] = {}
    try:
        names = os.listdir(PROC / str(pid) / "fd")
    except OSError:
        return found
    for name in names:
        try:
            found[int(name)] = os.readlink(PROC / str(pid) / "fd" / name)
        except OSError:
            continue  # closed in the meantime
    return found


def using(directory: Path) -> list[Process]:
    """The processes that have a file below `directory` open, or a socket that is bound there. httpd
    and its children have their ErrorLog open, and daemons their listener.
    """
    prefix, sockets = f"{directory}/", _sockets_below(directory)
    return [
        p
        for p in everything()
        if any(path.startswith(prefix) or path in sockets for path in descriptors(p.pid).values())
    ]


def _sockets_below(directory: Path) -> set[str]:
    """What a descriptor of a UNIX socket that was bound below `directory` points to."""
    found = set()
    for line in (PROC / "net" / "unix").read_text(errors="replace").splitlines():
        words = line.split(maxsplit=7)  # "Num: RefCount Protocol Flags Type St Inode Path"
        if len(words) == 8 and words[7].startswith(f"{directory}/"):
            found.add(f"socket:[{words[6]}]")
    return found


def is_guardian(command: str) -> bool:
    """Whether a command line is that of a guardian, the process that supervises a group."""
    return "wsgid:" in command and command.endswith(" (guardian)")


def is_daemon(command: str) -> bool:
    """Whether a command line is that of a daemon. It sets its title soon after its start."""
    return ("wsgid:" in command or "boot.py" in command) and not is_guardian(command)


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status."""
    lines = (line.partition(":") for line in _read(pid, "status").splitlines())
    return {name: value.strip() for name, _, value in lines}


def environment(pid: int) -> dict[str, str]:
    """The environment with which the process was executed."""
    pairs = (item.partition("=") for item in _read(pid, "environ").split("\0") if item)
    return {name: value for name, _, value in pairs}


def configuration(pid: int) -> dict[str, str]:
    """The configuration that a daemon received on its descriptor 4 (apxs/common/process_abi.h);
    empty once that descriptor is closed (and used again).
    """
    try:
        if not os.readlink(PROC / str(pid) / "fd" / "4").startswith("/memfd:"):
            return {}
        words = (PROC / str(pid) / "fd" / "4").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return {}
    return dict(zip(words[::2], words[1::2], strict=False))


def cpu_ticks(pid: int) -> int:
    """The CPU time, user and system, that it has used so far; 0 once it has gone."""
    stat = _read(pid, "stat")
    return sum(int(field) for field in stat[stat.rindex(")") + 2 :].split()[11:13]) if stat else 0


def _read(pid: int, name: str) -> str:
    try:
        return (PROC / str(pid) / name).read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
