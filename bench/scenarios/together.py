"""Different requests of one application at the same time: what each kind does to the others."""

from __future__ import annotations

import contextlib

from bench import cost, load
from bench.marks import OURS
from bench.peers import Running, Setup
from bench.points import KINDS, peer_of, threads_of
from bench.run import SERVERS, Bench, Timed

# Connections of each view: together as many as in the points with 16.
LOADS = {"json": 4, "query": 8, "service": 4}
# Every server gets these numbers: which one is best depends on which view one looks at.
THREADS = (4, 15)
SETUP = Setup("flask_postgresql", packages=True)
PROBE = "/json"


def together(bench: Bench) -> None:
    """JSON (4 connections), one query (8) and calls of a service that takes 30 ms (4), at the same
    time: Flask on PostgreSQL, one process
    """
    names = [found for name in bench.chosen(SERVERS) for found in _with_threads(name)]
    with bench.around() as around, bench.serving_all(names, SETUP, PROBE) as running:
        for kind in LOADS:
            bench.warm(running, KINDS[kind].path)
        contenders = {
            name: Timed(
                bench.seconds,
                lambda peer=peer: _load(peer, bench.seconds, around.database_processes),
            )
            for name, peer in running.items()
        }
        bench.measure("together", "16 connections", contenders)


def _with_threads(name: str) -> list[str]:
    is_fixed = threads_of(name) or peer_of(name) == OURS
    return [name] if is_fixed else [f"{name}:{count}" for count in THREADS]


def _load(peer: Running, seconds: float, database: cost.Group) -> dict:
    """All loads run until the first of them ends; then the others are stopped."""
    with contextlib.ExitStack() as stack:
        spent = stack.enter_context(
            cost.metered(httpd=peer.httpd, application=peer.application, database=database)
        )
        processes = {}
        for kind, connections in LOADS.items():
            processes[kind] = load.start(
                peer.url(KINDS[kind].path), connections, seconds + load.GRACE
            )
            stack.callback(load.end, processes[kind])
        first = load.output_after(processes["json"], seconds)
        others = {kind: load.stop(process) for kind, process in processes.items() if kind != "json"}
    found = {kind: load.parse(text) for kind, text in {"json": first, **others}.items()}
    return {
        "rps": sum(figures["rps"] for figures in found.values()),
        **{f"{kind}_rps": figures["rps"] for kind, figures in found.items()},
        **{f"{kind}_p99_us": figures["p99_us"] for kind, figures in found.items()},
        "errors": sum(figures["errors"] for figures in found.values()),
        **spent.per_request(int(sum(figures["requests"] for figures in found.values()))),
    }
