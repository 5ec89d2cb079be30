"""What processes cost, from /proc: CPU seconds, memory, descriptors. A process that has ended costs
nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
# Writing this to clear_refs resets the peak (proc(5)).
RESET_PEAK = "5"
MIB = 1024.0


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of the processes, ended threads included."""
    return sum(_ticks(pid) for pid in pids) / TICKS


def _ticks(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("latin-1")
    except OSError:
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


@dataclass
class Spent:
    """CPU seconds of httpd and of the application; set when the block of `metered` ends."""

    httpd: float = 0.0
    application: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)

    def per_request(self, requests: int) -> dict[str, float]:
        """Microseconds of CPU per request, split by process; empty if there was no request."""
        if not requests:
            return {}
        httpd, application = (
            seconds * 1e6 / requests for seconds in (self.httpd, self.application)
        )
        return {
            "cpu_us": httpd + application,
            "cpu_httpd_us": httpd,
            "cpu_application_us": application,
        }


@contextlib.contextmanager
def metered(httpd: list[int], application: list[int]) -> Iterator[Spent]:
    spent = Spent(cpu_seconds(httpd), cpu_seconds(application))
    yield spent
    spent.httpd = cpu_seconds(httpd) - spent.httpd
    spent.application = cpu_seconds(application) - spent.application
