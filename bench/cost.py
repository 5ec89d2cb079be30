"""What processes cost, from /proc: CPU seconds, switches, memory, descriptors. A process that has ended costs
nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
TICKS = os.sysconf("SC_CLK_TCK")
# Writing this to clear_refs resets the peak (proc(5)).
RESET_PEAK = "5"
MIB = 1024.0
_SWITCHES = re.compile(r"^voluntary_ctxt_switches:\s*(\d+)", re.M)


def cpu_seconds(pids: Iterable[int]) -> dict[int, float]:
    """User and system time of each process, ended threads included."""
    return {pid: _ticks(pid) / TICKS for pid in pids}


def _ticks(pid: int) -> int:
    stat = _text(f"/proc/{pid}/stat")
    if not stat:
        return 0
    fields = stat[stat.rindex(")") + 2 :].split()
    return int(fields[11]) + int(fields[12])


@dataclass(frozen=True)
class Memory:
    """In MiB. pss divides each shared page among its users; private is what would be freed if the
    process ended.
    """

    rss: float = 0.0
    pss: float = 0.0
    private: float = 0.0

    def __add__(self, other: Memory) -> Memory:
        return Memory(self.rss + other.rss, self.pss + other.pss, self.private + other.private)


def memory(pid: int) -> Memory:
    kib = _sizes(Path(f"/proc/{pid}/smaps_rollup"))
    private = kib.get("Private_Clean", 0) + kib.get("Private_Dirty", 0)
    return Memory(kib.get("Rss", 0) / MIB, kib.get("Pss", 0) / MIB, private / MIB)


def total_memory(pids: Iterable[int]) -> Memory:
    return sum((memory(pid) for pid in pids), Memory())


def descriptors(pid: int) -> int:
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def threads(pid: int) -> int:
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/task"))
    return 0


def reset_peak(pids: Iterable[int]) -> None:
    """Starts a new measurement of peaks; where the kernel does not allow it, they count from the
    start of the process.
    """
    for pid in pids:
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)


def peak(pids: Iterable[int]) -> float:
    """The highest resident size since reset_peak(), summed, in MiB."""
    return sum(_sizes(Path(f"/proc/{pid}/status")).get("VmHWM", 0) for pid in pids) / MIB


def resident(pids: Iterable[int]) -> float:
    return sum(_sizes(Path(f"/proc/{pid}/status")).get("VmRSS", 0) for pid in pids) / MIB


def _sizes(path: Path) -> dict[str, int]:
    """Lines of the form `Name:   123 kB`."""
    try:
        lines = [line.split() for line in path.read_text("latin-1").splitlines()]
    except OSError:
        return {}
    return {
        words[0].rstrip(":"): int(words[1])
        for words in lines
        if len(words) == 3 and words[2] == "kB"
    }


def switches(pids: Iterable[int]) -> dict[str, int]:
    """The voluntary context switches so far of each thread of the processes: how often it waited.

    The kernel has no sum for a process, and forgets threads that end.
    """
    return {
        task: int(_SWITCHES.search(text)[1])
        for pid in pids
        for task in _tasks(pid)
        if (text := _text(f"{task}/status"))
    }


def _tasks(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return [f"/proc/{pid}/task/{task}" for task in os.listdir(f"/proc/{pid}/task")]
    return []


def _text(path: str) -> str:
    try:
        with open(path, encoding="latin-1") as file:
            return file.read()
    except OSError:
        return ""


# A function that lists processes, so that those that start in the meantime count.
Group = Callable[[], list[int]]


class Meter:
    """What named groups of processes spend between its creation and stop()."""

    def __init__(self, **groups: Group) -> None:
        self._groups = groups
        pids = {name: list_pids() for name, list_pids in groups.items()}
        self._switches = {name: switches(found) for name, found in pids.items()}
        self._cpu = {name: cpu_seconds(found) for name, found in pids.items()}
        self.cpu: dict[str, float] = {}
        self.switched: dict[str, float] = {}

    def stop(self) -> None:
        pids = {name: list_pids() for name, list_pids in self._groups.items()}
        for name, found in pids.items():
            self.cpu[name] = _growth(self._cpu[name], cpu_seconds(found))
            self.switched[name] = _growth(self._switches[name], switches(found))

    def per_request(self, requests: int) -> dict[str, float]:
        """Microseconds of CPU and voluntary switches per request, in all and of each group; empty
        if there was no request.
        """
        if not requests:
            return {}
        cpu = {name: seconds * 1e6 / requests for name, seconds in self.cpu.items()}
        switched = {name: count / requests for name, count in self.switched.items()}
        return {
            "cpu_us": sum(cpu.values()),
            **{f"cpu_{name}_us": value for name, value in cpu.items()},
            "switches": sum(switched.values()),
            **{f"switches_{name}": value for name, value in switched.items()},
        }


def _growth(before: Mapping[Key, float], after: Mapping[Key, float]) -> float:
    """Of those that are still there. Those that have ended took what they spent with them."""
    return sum(amount - before.get(key, 0) for key, amount in after.items())


@contextlib.contextmanager
def metered(**groups: Group) -> Iterator[Meter]:
    meter = Meter(**groups)
    yield meter
    meter.stop()
