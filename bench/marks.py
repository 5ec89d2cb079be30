"""The goals ("marks") that the project has set itself, as data, and how a figure is compared with
one. Missing a mark fails nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench import rounds
from bench.points import KINDS, peer_of, real_points

OURS = "wsgid"
OTHERS = ("embedded", "uwsgi", "granian", "gunicorn")
EVERYBODY = ("mod_wsgi", *OTHERS)
# Of real applications: the servers outside httpd's children.
OUTSIDE = ("mod_wsgi", "uwsgi", "granian", "gunicorn")
# find(scenario, point): the samples of each contender, {} if the point was not measured. A
# contender is a peer, or one with its number of threads ("granian:4").
Find = Callable[[str, str], rounds.Samples]


@dataclass(frozen=True)
class Mark:
    """`how` says which figure is compared with `value`:

    ratio        ours / the best of `against`, the median of the rounds' ratios
    difference   ours - the best of `against` (medians)
    growth       ours at `point` / ours at `base`
    absolute     ours
    """

    text: str
    scenario: str
    point: str
    key: str
    how: str
    relation: str
    value: float
    against: tuple[str, ...] = ()
    base: str = ""
    unit: str = ""

    @property
    def higher_is_better(self) -> bool:
        return self.relation == ">="

    def reached_by(self, figure: float) -> bool:
        return figure >= self.value if self.higher_is_better else figure <= self.value


@dataclass(frozen=True)
class Held:
    """A mark and the measured figure; None if it was not measured. `best` is the contender that it
    was compared with; `failed` says that some of our requests failed.
    """

    mark: Mark
    figure: float | None
    best: str = ""
    failed: bool = False

    @property
    def verdict(self) -> str:
        if self.failed:
            return "failed requests"
        if self.figure is None:
            return "not measured"
        return "reached" if self.mark.reached_by(self.figure) else "missed"


def hold(mark: Mark, find: Find) -> Held:
    best = _best(mark, find)
    failed = bool(rounds.errors(_ours(mark, find)))
    return Held(mark, COMPARISONS[mark.how](mark, find, best), best, failed)


def _best(mark: Mark, find: Find) -> str:
    """The contender of `against` that is hardest to beat."""
    samples = find(mark.scenario, mark.point)
    chosen = {name: taken for name, taken in samples.items() if peer_of(name) in mark.against}
    return best_of(chosen, mark.key, mark.higher_is_better)


def best_of(samples: rounds.Samples, key: str, highest: bool) -> str:
    """The contender with the best median; failed requests disqualify. "" if there is none."""
    medians = {
        name: value
        for name, taken in samples.items()
        if not rounds.errors(taken) and (value := rounds.median(taken, key)) is not None
    }
    return (max if highest else min)(medians, key=medians.__getitem__) if medians else ""


def ours_of(samples: rounds.Samples) -> list[dict]:
    """Our samples; if only some numbers of threads were measured, those of the first."""
    names = [name for name in samples if peer_of(name) == OURS]
    return samples[OURS if OURS in names else names[0]] if names else []


def _ours(mark: Mark, find: Find, point: str = "") -> list[dict]:
    return ours_of(find(mark.scenario, point or mark.point))


def _theirs(mark: Mark, find: Find, best: str) -> list[dict]:
    return find(mark.scenario, mark.point).get(best, [])


def _ratio(mark: Mark, find: Find, best: str) -> float | None:
    return rounds.ratio(_ours(mark, find), _theirs(mark, find, best), mark.key)


def _difference(mark: Mark, find: Find, best: str) -> float | None:
    ours = rounds.median(_ours(mark, find), mark.key)
    theirs = rounds.median(_theirs(mark, find, best), mark.key)
    return None if ours is None or theirs is None else ours - theirs


def _growth(mark: Mark, find: Find, best: str) -> float | None:
    return rounds.ratio(_ours(mark, find), _ours(mark, find, mark.base), mark.key)


def _absolute(mark: Mark, find: Find, best: str) -> float | None:
    return rounds.median(_ours(mark, find), mark.key)


COMPARISONS = {"ratio": _ratio, "difference": _difference, "growth": _growth, "absolute": _absolute}


def _hello(
    text: str, key: str, relation: str, value: float, against: tuple[str, ...]
) -> tuple[Mark, ...]:
    """The same mark at 16 and at 64 connections."""
    points = [f"{count} connections" for count in (16, 64)]
    return tuple(
        Mark(f"{text}, {point}", "hello", point, key, "ratio", relation, value, against)
        for point in points
    )


def _transfer(text: str, point: str, value: float, against: str) -> Mark:
    return Mark(text, "transfers", point, "mb_per_second", "ratio", ">=", value, (against,))


def _real() -> Iterator[Mark]:
    """Two marks for each point: throughput, and the slow requests."""
    for point in real_points():
        least = 1.05 if KINDS[point.kind].important else 0.97
        where = "real", point.name
        yield Mark(f"requests/s: {point.name}", *where, "rps", "ratio", ">=", least, OUTSIDE)
        yield Mark(f"p99: {point.name}", *where, "p99_us", "ratio", "<=", 1.1, OUTSIDE)


REAL_MARKS = tuple(_real())
MARKS = (
    *_hello("requests/s against mod_wsgi's daemon mode", "rps", ">=", 3.0, ("mod_wsgi",)),
    *_hello("requests/s against the best of the others", "rps", ">=", 1.2, OTHERS),
    *_hello("server CPU a request against a static file", "cpu_us", "<=", 1.6, ("static",)),
    Mark(
        "latency of one connection against mod_wsgi's daemon mode",
        "hello",
        "1 connection",
        "p50_us",
        "ratio",
        "<=",
        0.45,
        ("mod_wsgi",),
    ),
    Mark(
        "1 ms of CPU: processes=2 against processes=1",
        "processes",
        "2 processes",
        "rps",
        "growth",
        ">=",
        1.9,
        base="1 process",
    ),
    Mark(
        "1 ms of CPU, processes=2: p99 against the lowest of all",
        "processes",
        "2 processes",
        "p99_us",
        "ratio",
        "<=",
        1.0,
        EVERYBODY,
    ),
    Mark(
        "15 requests that sleep 50 ms at once, threads=15",
        "blocking",
        "15 threads",
        "burst_ms",
        "absolute",
        "<=",
        65,
        unit="ms",
    ),
    Mark(
        "the same, threads=64",
        "blocking",
        "64 threads",
        "burst_ms",
        "absolute",
        "<=",
        65,
        unit="ms",
    ),
    Mark(
        "p99 of fast requests among blocking ones against alone, threads=15",
        "mix",
        "15 threads",
        "p99_growth",
        "absolute",
        "<=",
        2.0,
    ),
    Mark("the same, threads=64", "mix", "64 threads", "p99_growth", "absolute", "<=", 2.0),
    Mark(
        "memory added to each httpd child (private)",
        "memory",
        "after load",
        "child_private_mb",
        "difference",
        "<=",
        0.8,
        ("static",),
        unit="MiB",
    ),
    Mark(
        "resident size of the daemon against mod_wsgi's",
        "memory",
        "after load",
        "application_rss_mb",
        "ratio",
        "<=",
        1.0,
        ("mod_wsgi",),
    ),
    Mark(
        "kill -9 to next answer, less `python -c pass`",
        "startup",
        "daemon",
        "restart_ms",
        "difference",
        "<=",
        60,
        ("python",),
        unit="ms",
    ),
    _transfer("100 MB file against httpd's static file", "file", 0.9, "static"),
    _transfer("100 MB generator against mod_wsgi's daemon mode", "generator", 1.5, "mod_wsgi"),
    _transfer("one object of 16 MB against mod_wsgi's daemon mode", "object", 1.5, "mod_wsgi"),
    _transfer("2,000 blocks of 16 bytes against mod_wsgi's daemon mode", "blocks", 1.0, "mod_wsgi"),
    _transfer("100 MB upload against mod_wsgi's daemon mode", "upload", 1.5, "mod_wsgi"),
)
