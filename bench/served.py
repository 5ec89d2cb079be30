"""The servers of a real application while they run, and how to load them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench import cost, databases, load, loop
from bench.peers import Running
from bench.points import KINDS, Point
from bench.run import Bench, Contenders, Timed

# Less than what servers get: a loop has no connections to open.
LOOP_SECONDS = 0.15


@dataclass
class Served:
    """The servers of a setup while they run, and how to load them."""

    bench: Bench
    around: databases.Around
    running: dict[str, Running]
    bare: loop.Loop | None

    def contenders(
        self, point: Point, seconds: float, names: Iterable[str] | None = None
    ) -> Contenders:
        """A load of each server, or of the named ones."""
        return {
            name: Timed(seconds, lambda peer=self.running[name]: self._load(peer, point, seconds))
            for name in (self.running if names is None else names)
        }

    def quick_contenders(self, point: Point, seconds: float) -> Contenders:
        """A load of each server for the scan, which does not ask what it costs."""
        return {
            name: Timed(seconds, lambda peer=peer: self._wrk(peer, point, seconds))
            for name, peer in self.running.items()
        }

    def loops(self, kind_name: str, counts: Iterable[int]) -> Contenders:
        """The bare loop with each of these numbers of threads."""
        kind = KINDS[kind_name]
        return {
            f"{loop.NAME}:{count}": Timed(
                LOOP_SECONDS,
                lambda count=count: self.bare.measure(
                    kind, self._body(kind_name), count, LOOP_SECONDS
                ),
            )
            for count in counts
        }

    def _load(self, peer: Running, point: Point, seconds: float) -> dict:
        groups = {
            "httpd": peer.httpd,
            "application": peer.application,
            "database": self.around.database_processes,
        }
        with cost.metered(**groups) as spent:
            figures = self._wrk(peer, point, seconds)
        return {**figures, **spent.per_request(int(figures["requests"]))}

    def _wrk(self, peer: Running, point: Point, seconds: float) -> dict:
        kind = KINDS[point.kind]
        request = load.Request(kind.method, kind.content_type, self._body(point.kind))
        url = peer.url(kind.path)
        return load.wrk(url, point.connections, seconds, request, steady=point.is_slow)

    def _body(self, kind_name: str) -> str:
        """The path of a file with the body of the request, if it has one."""
        kind, path = KINDS[kind_name], self.bench.where.apps / f"body-{kind_name}"
        if not kind.body:
            return ""
        if not path.exists():
            path.write_bytes(kind.body)
        return str(path)
