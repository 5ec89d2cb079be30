"""A run of the bench: its options, what scenarios use to serve and to measure, and its results."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from httpdenv import Stage

from bench import cost, databases, load, loop, rounds
from bench.peers import PEERS, Running, Setup, serving
from bench.points import Selection, peer_of

HELLO = "/hello"
# "other" runs only where WSGID_BENCH_OTHER names a build (peers.py).
WSGI = ("wsgid", "other", "mod_wsgi", "embedded", "uwsgi", "granian", "gunicorn")
ALL = (*WSGI, "static")
# The peers with an interpreter outside httpd; embedded uses httpd's threads.
SERVERS = ("wsgid", "other", "mod_wsgi", "uwsgi", "granian", "gunicorn")
HTTPD_DAEMONS = ("wsgid", "other", "mod_wsgi")

Contenders = dict[str, Callable[[], dict]]


@dataclass
class Bench:
    """The options of a run and its results: results[scenario][point][contender] is a list of
    samples.

    A contender is a peer, or a peer with its number of threads, as "granian:4".
    """

    where: Stage
    rounds: int
    seconds: float
    short: bool
    peers: tuple[str, ...]
    selection: Selection
    file_bytes: int
    print_point: Callable[[str, str, rounds.Samples], None]
    results: dict[str, dict[str, rounds.Samples]] = field(default_factory=dict)
    # Requests per second of each contender in the scan for a point: who is fastest with how many
    # threads.
    scans: dict[str, dict[str, float]] = field(default_factory=dict)

    def some(self, values: tuple, short: int | slice) -> tuple:
        """All values; only a few in the short form."""
        return values[short] if self.short else values

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Those peers, as the options give them (perhaps with a number of threads), that can run
        here.
        """
        return [
            given
            for name in names
            for given in self.peers
            if peer_of(given) == name and not (name in PEERS and PEERS[name].missing)
        ]

    @contextlib.contextmanager
    def serving(
        self, names: Sequence[str], setup: Setup, probe: str = HELLO
    ) -> Iterator[dict[str, Running]]:
        """Serves with the chosen ones of these peers."""
        with self.serving_all(self.chosen(names), setup, probe) as running:
            yield running

    @contextlib.contextmanager
    def serving_all(
        self, contenders: Sequence[str], setup: Setup, probe: str
    ) -> Iterator[dict[str, Running]]:
        """Serves with each of these contenders."""
        with serving(contenders, setup, self.where, probe) as running:
            yield running

    @contextlib.contextmanager
    def around(self) -> Iterator[databases.Around]:
        """What the real applications need beside their server."""
        with databases.around(self.where.apps) as around:
            yield around

    @property
    def wants_loop(self) -> bool:
        return any(peer_of(name) == loop.NAME for name in self.peers)

    @contextlib.contextmanager
    def looping(self, setup: Setup) -> Iterator[loop.Loop | None]:
        """The application of the setup in a bare loop, if the options ask for it."""
        if not self.wants_loop:
            yield None
            return
        with loop.looping(self.where.apps, setup.script, setup.processes) as running:
            yield running

    def warm(self, running: dict[str, Running], path: str = HELLO) -> None:
        """Opens connections, starts threads and fills caches before anything counts; the short form
        skips this.
        """
        if self.short:
            return
        for name, peer in running.items():
            try:
                load.wrk(peer.url(path), 16, 1)
            except rounds.FAILURES as error:
                print(f"bench: {name}: {error}", file=sys.stderr, flush=True)

    def measure(self, scenario: str, point: str, contenders: Contenders, times: int = 0) -> None:
        self.measure_together(scenario, {point: contenders}, times)

    def measure_together(
        self, scenario: str, points: dict[str, Contenders], times: int = 0
    ) -> None:
        """Measures points that are compared with each other in the same rounds, `times` if not as
        often as the options say.
        """
        everyone = {
            (point, name): take
            for point, contenders in points.items()
            for name, take in contenders.items()
        }
        samples = self.take(everyone, times or self.rounds)
        for point, contenders in points.items():
            found = {name: samples[point, name] for name in contenders}
            self.results.setdefault(scenario, {}).setdefault(point, {}).update(found)
            self.print_point(scenario, point, found)

    def take(self, contenders: dict, times: int) -> dict:
        """Interleaved rounds; keeps no results."""
        return rounds.interleave(contenders, times)


@dataclass(frozen=True)
class Timed:
    """A contender whose load does not take the seconds of the options."""

    seconds: float
    take: Callable[[], dict]

    def __call__(self) -> dict:
        return self.take()


def each(running: dict[str, Running], take: Callable[..., dict], *arguments: object) -> Contenders:
    """A contender for each peer, which calls take(peer, *arguments)."""
    return {name: lambda peer=peer: take(peer, *arguments) for name, peer in running.items()}


def requests(peer: Running, bench: Bench, path: str, connections: int) -> dict:
    """One run of wrk, with its cost to the server."""
    with cost.metered(httpd=peer.httpd, application=peer.application) as spent:
        figures = load.wrk(peer.url(path), connections, bench.seconds)
    return {**figures, **spent.per_request(int(figures["requests"]))}
