"""How long a run will take: its scenarios are called with a Bench that only adds up the seconds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bench.peers import Setup
from bench.run import Bench, Timed

# Measured on two cores: what a load takes beside its time, and what the start and the end of a
# server (with its httpd) and of the databases take.
LOAD_OVERHEAD = 0.08
SERVER_SECONDS = 1.2
AROUND_SECONDS = 5.0


class Rehearsal(Bench):
    """Has the methods of Bench, but starts and measures nothing."""

    estimate = 0.0

    @contextlib.contextmanager
    def serving_all(
        self, contenders: Sequence[str], setup: Setup, probe: str
    ) -> Iterator[dict[str, Any]]:
        self.estimate += SERVER_SECONDS * len(contenders)
        yield dict.fromkeys(contenders)

    @contextlib.contextmanager
    def around(self) -> Iterator[Any]:
        self.estimate += AROUND_SECONDS
        yield None

    @contextlib.contextmanager
    def looping(self, setup: Setup) -> Iterator[Any]:
        self.estimate += SERVER_SECONDS
        yield None

    def warm(self, running: dict[str, Any], path: str = "") -> None:
        self.estimate += 0 if self.short else len(running)

    def take(self, contenders: dict, times: int) -> dict:
        for take in contenders.values():
            seconds = take.seconds if isinstance(take, Timed) else self.seconds
            self.estimate += times * (seconds + LOAD_OVERHEAD)
        return {name: [] for name in contenders}


def estimate(bench: Bench, scenarios: Sequence[Callable[[Bench], None]]) -> float:
    """Seconds that these scenarios will take, roughly."""
    rehearsal = Rehearsal(
        bench.where,
        bench.rounds,
        bench.seconds,
        bench.short,
        bench.peers,
        bench.selection,
        bench.file_bytes,
        lambda *_: None,
    )
    for scenario in scenarios:
        scenario(rehearsal)
    return rehearsal.estimate
