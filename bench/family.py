"""The processes that descend from one, found quickly: a run asks thousands of times."""

from __future__ import annotations

import contextlib
import os

from httpdenv import processes


def children(pid: int) -> list[int]:
    """From the kernel's own list of each thread (CONFIG_PROC_CHILDREN), which Linux need not
    have; else from all processes.
    """
    found: list[int] = []
    with contextlib.suppress(ProcessLookupError):
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as file:
                    found += [int(word) for word in file.read().split()]
        except FileNotFoundError:
            return [child.pid for child in processes.children(pid)]
    return found


def descendants(pid: int) -> list[int]:
    direct = children(pid)
    return direct + [one for child in direct for one in descendants(child)]


def command(pid: int) -> str:
    """The command line; empty for a zombie, or a process that has gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode("utf-8", "replace").replace("\0", " ").strip()
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    found = processes.find(pid)
    return found is not None and found.state != "Z"
