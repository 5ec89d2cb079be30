"""Tables of the real applications: a table for each setup, a row for each load, a column for each
server. What a reader wants to see first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from bench import loop, rounds
from bench.marks import OUTSIDE, best_of, ours_of
from bench.numbers import number
from bench.points import (
    KINDS,
    TITLES,
    Point,
    grid_points,
    peer_of,
    plural,
    real_points,
    threads_of,
)

SHORT_TITLES = {
    "wsgid": "mod_wsgid",
    "other": "other build",
    "mod_wsgi": "mod_wsgi",
    "uwsgi": "uWSGI",
    "granian": "granian",
    "gunicorn": "gunicorn",
    "embedded": "embedded",
    loop.NAME: "bare loop",
}
FAILED = "!"
PERCENTILES = ("p50_us", "p99_us", "p999_us")
PROCESSES = "httpd + application + database"
Find = Callable[[str, str], rounds.Samples]


@dataclass(frozen=True)
class Table:
    title: str
    rows: list[list[str]]


def tables(scenario: str, find: Find, brief: bool = False) -> Iterator[Table]:
    """The tables of "real" or "grid"; `brief` leaves out most of what is no throughput."""
    points = {"real": real_points, "grid": grid_points}[scenario]()
    measured = (point for point in points if find(scenario, point.name))
    for title, group in itertools.groupby(measured, key=_title):
        samples = {point: find(scenario, point.name) for point in group}
        yield Table(f"{title}: requests/s", _throughput(samples))
        if brief:
            yield Table(f"{title}: p99 in ms", _latency(samples, ("p99_us",)))
            continue
        yield Table(f"{title}: median, p99, p99.9 in ms", _latency(samples, PERCENTILES))
        yield Table(f"{title}: CPU µs a request ({PROCESSES})", _split(samples, "cpu", "_us"))
        yield Table(f"{title}: switches a request ({PROCESSES})", _split(samples, "switches", ""))


def _title(point: Point) -> str:
    threads = ", all servers with the same number of threads" if point.threads else ""
    where = f"{TITLES[point.framework]} on {TITLES[point.database]}"
    return f"{where}, {plural(point.processes, 'process', 'processes')}{threads}"


def _load(point: Point) -> str:
    threads = f", {plural(point.threads, 'thread')}" if point.threads else ""
    return f"{KINDS[point.kind].text}{threads}, {plural(point.connections, 'connection')}"


Cell = Callable[[list[dict]], str]


def _rows(
    samples: dict[Point, rounds.Samples], cell: Cell, more: dict[str, Callable]
) -> list[list[str]]:
    """A column for each peer that was measured, then those of `more`, which see a whole point."""
    present = {peer_of(name) for found in samples.values() for name in found}
    peers = [peer for peer in SHORT_TITLES if peer in present]
    rows = [["", *(SHORT_TITLES[peer] for peer in peers), *more]]
    for point, found in samples.items():
        cells = [_cell(found, peer, cell) for peer in peers]
        rows.append([_load(point), *cells, *(compute(found) for compute in more.values())])
    return rows


def _cell(found: rounds.Samples, peer: str, cell: Cell) -> str:
    """The figure, and which number of threads had it, if that is no matter of course. Several
    numbers of threads of one peer share a cell.
    """
    texts = []
    for name, taken in found.items():
        if peer_of(name) == peer:
            count = threads_of(name)
            failed = FAILED if rounds.errors(taken) else ""
            texts.append(cell(taken) + (f" [{count}]" if count else "") + failed)
    return " ".join(texts) or "-"


def _throughput(samples: dict[Point, rounds.Samples]) -> list[list[str]]:
    more = {
        "ours/best": lambda found: _ratio_to_best(found, "rps", True),
        "ours/bare loop": _ratio_to_loop,
        "spread": lambda found: _percent(rounds.spread(ours_of(found), "rps")),
    }
    return _rows(samples, lambda taken: number(rounds.median(taken, "rps")), more)


def _latency(samples: dict[Point, rounds.Samples], percentiles: Iterable[str]) -> list[list[str]]:
    def cell(taken: list[dict]) -> str:
        return ", ".join(_milliseconds(rounds.median(taken, key)) for key in percentiles)

    more = {"ours/lowest p99": lambda found: _ratio_to_best(found, "p99_us", False)}
    return _rows(_without_loop(samples), cell, more)


def _split(samples: dict[Point, rounds.Samples], figure: str, unit: str) -> list[list[str]]:
    """The sum of all processes, and each."""

    def cell(taken: list[dict]) -> str:
        parts = [
            number(rounds.median(taken, f"{figure}_{group}{unit}"))
            for group in ("httpd", "application", "database")
        ]
        return f"{number(rounds.median(taken, figure + unit))} ({' + '.join(parts)})"

    return _rows(_without_loop(samples), cell, {})


def _without_loop(samples: dict[Point, rounds.Samples]) -> dict[Point, rounds.Samples]:
    return {
        point: {name: taken for name, taken in found.items() if peer_of(name) != loop.NAME}
        for point, found in samples.items()
    }


def _ratio_to_best(found: rounds.Samples, key: str, highest: bool) -> str:
    """The marks compare with servers outside httpd's children only, and so does this."""
    outside = {name: taken for name, taken in found.items() if peer_of(name) in OUTSIDE}
    best = best_of(outside, key, highest)
    return number(rounds.ratio(ours_of(found), found.get(best, []), key))


def _ratio_to_loop(found: rounds.Samples) -> str:
    loops = [taken for name, taken in found.items() if peer_of(name) == loop.NAME]
    return number(rounds.ratio(ours_of(found), loops[0], "rps")) if loops else "-"


def _milliseconds(microseconds: float | None) -> str:
    return number(None if microseconds is None else microseconds / 1000)


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{part:.0%}"
