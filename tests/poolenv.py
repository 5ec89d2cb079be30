"""A simulated pool of processes, scaled by the real decision (apxs/guardian/elastic.c).

A model of what is around it: requests come as a pattern says, httpd's children choose a slot, a
process runs a few requests at once, and the guardian looks when it would look.
"""

from __future__ import annotations

import ctypes
import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import cos, pi
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECOND = 1_000_000
DECISIONS = ROOT / "apxs/guardian/elastic.c"


class Bounds(ctypes.Structure):
    """wsgid_elastic_bounds_t"""

    _fields_ = [
        ("least", ctypes.c_int),
        ("most", ctypes.c_int),
        ("idle_after", ctypes.c_int64),
    ]


class Load(ctypes.Structure):
    """wsgid_elastic_load_t"""

    _fields_ = [
        ("now", ctypes.c_int64),
        ("ready", ctypes.c_int),
        ("starting", ctypes.c_int),
        ("in_flight", ctypes.c_uint),
        ("running", ctypes.c_uint),
        ("started", ctypes.c_uint64),
        ("waited", ctypes.c_uint64),
        ("last_is_used", ctypes.c_int),
    ]


def load_library(compile_c: Callable[..., object], directory: Path) -> ctypes.CDLL:
    """elastic.c, with new_state() for a state of its own size."""
    source = directory / "state.c"
    source.write_text(
        '#include "guardian/elastic.h"\n#include <stdlib.h>\n'
        "void *new_state(void) { return calloc(1, sizeof(wsgid_elastic_t)); }\n"
    )
    path = directory / "elastic.so"
    compile_c("-fPIC", "-shared", "-I", ROOT / "apxs", "-o", path, source, DECISIONS)
    library = ctypes.CDLL(str(path))
    library.new_state.restype = ctypes.c_void_p
    library.wsgid_elastic_decide.argtypes = [
        ctypes.c_void_p,
        ctypes.POINTER(Bounds),
        ctypes.POINTER(Load),
        ctypes.c_int,
    ]
    library.wsgid_elastic_next.argtypes = [ctypes.c_void_p, ctypes.POINTER(Bounds), ctypes.c_int]
    library.wsgid_elastic_next.restype = ctypes.c_int64
    return library


class Decision:
    """The decision for one pool."""

    def __init__(self, library: ctypes.CDLL, least: int, most: int, idle_after: float) -> None:
        self._library = library
        self._state = library.new_state()
        self.bounds = Bounds(least, most, int(idle_after * SECOND))

    def decide(self, load: Load, desired: int) -> int:
        return self._library.wsgid_elastic_decide(self._state, self.bounds, load, desired)

    def next(self, desired: int) -> int:
        return self._library.wsgid_elastic_next(self._state, self.bounds, desired)


# ---- patterns: when requests come, and how long each of them runs, in seconds

Arrivals = Iterable[tuple[float, float]]


def poisson(
    rate: Callable[[float], float], most: float, service: float, seconds: float, seed: int
) -> Iterator[tuple[float, float]]:
    """Requests at random, rate(time) a second, which is at most `most`."""
    chance = random.Random(seed)
    time = 0.0
    while True:
        time += chance.expovariate(most)
        if time > seconds:
            return
        if chance.random() * most < rate(time):
            yield time, chance.expovariate(1 / service)


def steady(rate: float, service: float, seconds: float, seed: int = 1) -> Arrivals:
    return poisson(lambda time: rate, rate, service, seconds, seed)


def daily(least: float, most: float, service: float, day: float, seed: int = 1) -> Arrivals:
    """Two days, each begins with its night."""
    middle, swing = (most + least) / 2, (most - least) / 2
    return poisson(
        lambda time: middle - swing * cos(2 * pi * time / day), most, service, 2 * day, seed
    )


def on_off(
    rate: float,
    service: float,
    on: float,
    off: float,
    seconds: float,
    low: float = 0,
    seed: int = 1,
) -> Arrivals:
    return poisson(
        lambda time: rate if time % (on + off) >= off else low, rate, service, seconds, seed
    )


def crawler(pause: float, service: float, seconds: float, seed: int = 1) -> Arrivals:
    """One client that follows links, one after the other."""
    chance = random.Random(seed)
    time = 0.0
    while time < seconds:
        its_service = chance.expovariate(1 / service)
        yield time, its_service
        time += its_service + chance.uniform(0.5, 1.5) * pause


# ---- the pool


@dataclass
class Request:
    sent: float
    service: float


@dataclass(eq=False)
class Process:
    slot: int
    is_ready: bool = False
    is_leaving: bool = False
    queue: deque[Request] = field(default_factory=deque)
    running: int = 0

    @property
    def in_flight(self) -> int:
        return len(self.queue) + self.running


@dataclass
class Result:
    wanted: list[tuple[float, int]] = field(default_factory=list)  # each change
    waits: list[tuple[float, float]] = field(default_factory=list)  # (when sent, seconds)
    looks: int = 0

    def changes(self, since: float = 0) -> int:
        return sum(time > since for time, _ in self.wanted)

    def most(self) -> int:
        return max(number for _, number in self.wanted)

    def mean(self, end: float, since: float = 0) -> float:
        """Processes wanted on average."""
        area = 0.0
        for (time, number), (until, _) in zip(self.wanted, [*self.wanted[1:], (end, 0)]):
            area += number * max(0.0, min(until, end) - max(time, since))
        return area / (end - since)

    def wait(self, part: float, since: float = 0, until: float = float("inf")) -> float:
        """The wait that this part of the requests does not exceed."""
        waits = sorted(wait for time, wait in self.waits if since <= time < until)
        return waits[min(int(part * len(waits)), len(waits) - 1)] if waits else 0.0


class Pool:
    """Plays a pattern. `at_once`: requests that a process runs at once."""

    def __init__(
        self,
        decision: Decision,
        at_once: int = 4,
        boot: tuple[float, float] = (0.3, 2.0),
        seed: int = 1,
        fewest_first: bool = False,
    ) -> None:
        self.decision = decision
        self.at_once = at_once
        self.boot = boot
        self.chance = random.Random(seed)
        self.fewest_first = fewest_first
        self.now = 0.0
        self.desired = 0
        self.processes: list[Process] = []  # wanted, by slot
        self.leaving: list[Process] = []
        self.unsent: list[Request] = []  # no process is ready
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.order = 0
        self.next_look: float | None = None
        self.started = self.waited = self.last_uses = 0
        self.result = Result()

    def play(self, arrivals: Arrivals, seconds: float) -> Result:
        self.want(self.decision.bounds.least)
        if not self.result.wanted:
            self.result.wanted.append((0.0, 0))
        coming = iter(arrivals)
        arrival = next(coming, None)
        while True:
            times = [seconds]
            if arrival:
                times.append(arrival[0])
            if self.events:
                times.append(self.events[0][0])
            if self.next_look is not None:
                times.append(self.next_look)
            self.now = time = min(times)
            if time >= seconds:
                return self.result
            if arrival and time == arrival[0]:
                self.arrive(Request(*arrival))
                arrival = next(coming, None)
            elif self.events and time == self.events[0][0]:
                heapq.heappop(self.events)[2]()
            else:
                self.look()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self.order += 1
        heapq.heappush(self.events, (self.now + seconds, self.order, action))

    # ---- httpd

    def arrive(self, request: Request) -> None:
        if self.desired == 0:
            self.want(1)
        process = self.choose()
        if process:
            self.send(request, process)
        else:
            self.unsent.append(request)
        if self.next_look is None or self.next_look > self.now + 1:
            self.next_look = self.now + 1

    def choose(self) -> Process | None:
        best = None
        for process in self.processes:
            if not process.is_ready:
                continue
            if not self.fewest_first and process.in_flight < self.at_once:
                return process
            if best is None or process.in_flight < best.in_flight:
                best = process
        return best

    def send(self, request: Request, process: Process) -> None:
        if process.slot == self.desired - 1:
            self.last_uses += 1
        process.queue.append(request)
        self.run(process)

    # ---- a process

    def run(self, process: Process) -> None:
        while process.queue and process.running < self.at_once:
            request = process.queue.popleft()
            process.running += 1
            self.started += 1
            self.waited += int((self.now - request.sent) * SECOND)
            self.result.waits.append((request.sent, self.now - request.sent))
            self.after(request.service, lambda: self.finish(process))

    def finish(self, process: Process) -> None:
        process.running -= 1
        self.run(process)
        if process.is_leaving and process.in_flight == 0:
            self.leaving.remove(process)

    def become_ready(self, process: Process) -> None:
        if process.is_leaving:
            return
        process.is_ready = True
        waiting, self.unsent = self.unsent, []
        for request in waiting:
            self.send(request, self.choose() or process)

    # ---- the guardian

    def want(self, number: int) -> None:
        if number == self.desired:
            return
        while self.desired < number:
            process = Process(self.desired)
            self.processes.append(process)
            self.after(self.chance.uniform(*self.boot), lambda p=process: self.become_ready(p))
            self.desired += 1
        while self.desired > number:
            process = self.processes.pop()
            process.is_leaving = True
            if process.in_flight:
                self.leaving.append(process)
            self.desired -= 1
        self.result.wanted.append((self.now, number))

    def load(self) -> Load:
        everybody = self.processes + self.leaving
        ready = sum(p.is_ready for p in self.processes)
        return Load(
            now=int(self.now * SECOND) + SECOND,
            ready=ready,
            starting=len(self.processes) - ready,
            in_flight=sum(p.in_flight for p in everybody) + len(self.unsent),
            running=sum(p.running for p in everybody),
            started=self.started,
            waited=self.waited,
            last_is_used=bool(
                self.last_uses or (self.processes and self.processes[-1].in_flight > 0)
            ),
        )

    def look(self) -> None:
        load = self.load()
        self.result.looks += 1
        self.last_uses = 0
        self.want(self.decision.decide(load, self.desired))
        asked = self.decision.next(self.desired)
        times = [(asked - SECOND) / SECOND + 1e-6] if asked else []
        if load.in_flight:
            times.append(self.now + 1)
        self.next_look = min(times) if times else None
