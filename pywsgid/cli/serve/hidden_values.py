"""Keeps the values of --env out of what other users see of this process.

Every user can read the command line of every process (ps), and `pywsgid serve` runs as long as its
application. So a value is overwritten there once it has been parsed; `--env NAME` takes it from the
environment, which only the same user and root can read.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

ARG_START = 48  # field of /proc/self/stat, proc(5): the address of the command line
OPTION = b"--env"


def hide_values() -> None:
    """Overwrites the values of --env in this process's command line, if there is a /proc."""
    with suppress(OSError, ValueError):
        with open("/proc/self/cmdline", "rb") as file:
            words = file.read().split(b"\0")
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # begins with field 3
        address = int(fields[ARG_START - 3])
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            for before, word in zip([b"", *words], words):
                if OPTION in (before, word.partition(b"=")[0]):
                    value = word.removeprefix(OPTION + b"=").partition(b"=")[2]
                    memory.seek(address + len(word) - len(value))
                    memory.write(b"*" * len(value))
                address += len(word) + 1


def from_environment(assignment: str, environment: Mapping[str, str]) -> str:
    """Returns `NAME=VALUE` as it is, and for the name of a variable that is set, the same form."""
    value = environment.get(assignment)
    return assignment if value is None else f"{assignment}={value}"
