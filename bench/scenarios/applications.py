"""Real applications: Flask and Django on a database. points.py lists what is measured.

Each other server gets the number of threads with which it is fastest. A short load with each number
finds it (the "scan"), for each view; only the fastest takes part in the rounds. Ours has what
nobody has tuned: THREADS.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from bench import loop, rounds
from bench.marks import OURS
from bench.peers import Setup
from bench.points import Point, grid_points, peer_of, real_points, threads_of
from bench.run import SERVERS, WSGI, Bench
from bench.served import Served

THREADS = 15
SCANNED = (1, 2, 4, 8, 15)
SCAN_SECONDS = 0.2
# Loads of slow views take so many times the seconds of others.
SLOW_FACTOR = 2
SCAN_CONNECTIONS = 16
GRID_ROUNDS, GRID_SECONDS = 2, 0.3
WARM_SECONDS = 0.5
PROBE = "/json"


def real(bench: Bench) -> None:
    """Real applications: mod_wsgid with 15 threads beside each other server with its best number of
    threads
    """
    _measure(bench, _short(bench, real_points()), _measure_at_the_best)


def grid(bench: Bench) -> None:
    """Flask with JSON and one query, by processes, threads and connections: the same for all
    servers
    """
    _measure(bench, _short(bench, grid_points()), _measure_as_given)


def _short(bench: Bench, points: Iterable[Point]) -> list[Point]:
    """The points that the options choose; in the short form, only those with one process and one
    number of connections.
    """
    return [
        point
        for point in points
        if bench.selection.takes(point)
        and (not bench.short or (point.processes == 1 and point.connections == 16))
    ]


Measure = Callable[[Bench, Served, list[Point]], None]


def _measure(bench: Bench, points: list[Point], measure: Measure) -> None:
    """Calls `measure` with the points of each setup, while its servers run."""
    if not points:
        return
    with bench.around() as around:
        for setup, group in itertools.groupby(points, key=_setup):
            with_these = list(group)
            names = _contenders(bench, with_these[0])
            with bench.looping(setup) as bare, bench.serving_all(names, setup, PROBE) as running:
                measure(bench, Served(bench, around, running, bare), with_these)


def _setup(point: Point) -> Setup:
    return Setup(
        f"{point.framework}_{point.database}",
        processes=point.processes,
        threads=point.threads or THREADS,
        packages=True,
    )


def _contenders(bench: Bench, point: Point) -> list[str]:
    """The servers to start. Embedded mod_wsgi runs in httpd's two children, so it has two
    processes.
    """
    names = WSGI if point.processes == 2 else SERVERS
    if point.threads:
        return bench.chosen(SERVERS)
    return [found for name in bench.chosen(names) for found in _with_threads(bench, name)]


def _with_threads(bench: Bench, name: str) -> Iterator[str]:
    """A contender for each number of threads to be tried."""
    if name in (OURS, "other", "embedded") or threads_of(name):
        yield name
    else:
        yield from (f"{name}:{count}" for count in _counts(bench))


def _measure_at_the_best(bench: Bench, served: Served, points: list[Point]) -> None:
    """Scans each view once, then measures its points with the fastest of each peer."""
    for kind, group in itertools.groupby(points, key=lambda point: point.kind):
        with_these = list(group)
        scanned = _scan(bench, served, with_these[0])
        best = fastest(scanned, bench.peers)
        servers = [name for name in best if peer_of(name) != loop.NAME]
        counts = [threads_of(name) for name in best if peer_of(name) == loop.NAME]
        for point in with_these:
            bench.scans[point.name] = {
                name: rounds.median(taken, "rps") or 0.0 for name, taken in scanned.items() if taken
            }
            contenders = served.contenders(point, _patience(bench.seconds, point), servers)
            bench.measure("real", point.name, {**contenders, **served.loops(kind, counts)})


def _scan(bench: Bench, served: Served, point: Point) -> rounds.Samples:
    """A short load of everything that runs, which is a warm-up, too. The short form has nothing to
    choose from.
    """
    seconds, quick = _patience(SCAN_SECONDS, point), replace(point, connections=SCAN_CONNECTIONS)
    everything = served.quick_contenders(quick, seconds)
    everything |= served.loops(point.kind, _loop_threads(bench))
    return dict.fromkeys(everything, []) if bench.short else bench.take(everything, 1)


def _patience(seconds: float, point: Point) -> float:
    return seconds * (SLOW_FACTOR if point.is_slow else 1)


def _measure_as_given(bench: Bench, served: Served, points: list[Point]) -> None:
    seconds = min(GRID_SECONDS, bench.seconds)
    _warm(bench, served, points[0])
    for point in points:
        contenders = served.contenders(point, seconds)
        if bench.wants_loop:
            contenders |= served.loops(point.kind, [point.threads])
        bench.measure("grid", point.name, contenders, min(GRID_ROUNDS, bench.rounds))


def _warm(bench: Bench, served: Served, point: Point) -> None:
    """Until all connections to the database are open: that alone takes 10 ms of a request or two."""
    if not bench.short:
        busy = replace(point, connections=SCAN_CONNECTIONS)
        bench.take(served.quick_contenders(busy, WARM_SECONDS), 1)


def _loop_threads(bench: Bench) -> list[int]:
    """The numbers of threads of the bare loop that are tried: those given, or the usual ones."""
    given = [name for name in bench.peers if peer_of(name) == loop.NAME]
    tried = [threads_of(name) for name in given if threads_of(name)]
    return tried or (list(_counts(bench)) if given else [])


def _counts(bench: Bench) -> tuple[int, ...]:
    return bench.some(SCANNED, slice(2, 3))


def fastest(samples: rounds.Samples, given: Sequence[str]) -> list[str]:
    """Of each peer the contender with the most requests per second, and every one that was given
    by its name ("granian:4"). Failed requests disqualify; if all have some, the first is measured,
    so that the report shows the failure.
    """
    best: dict[str, str] = {}
    for name, taken in samples.items():
        key = name if name in given else peer_of(name)
        if key not in best or _speed(taken) > _speed(samples[best[key]]):
            best[key] = name
    return list(best.values())


def _speed(taken: list[dict]) -> float:
    return -1.0 if rounds.errors(taken) else rounds.median(taken, "rps") or 0.0
