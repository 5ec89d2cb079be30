"""What is measured: one function for each scenario, which starts its peers, measures its points in
rounds, and stops them.

A point is one load (16 connections, 1 MB ...). Each of its samples is a dict of figures whose names
end in their unit. A scenario's docstring is its title in the report.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from httpdenv import Stage, wait_until

from bench import clients, cost, load, postgres, rounds
from bench.peers import PEERS, STATIC_SIZES, Running, Setup, serving

HELLO = "/hello"
MIB = 1 << 20
FILE_BYTES, OBJECT_BYTES, TINY_BLOCKS, TINY_BYTES = 100 * MIB, 16 * MIB, 2000, 16
SHORT_FILE_BYTES = 8 * MIB
# Fast and blocking clients of the mix: together fewer than the 15 threads, so that only scheduling
# is measured.
FAST, BLOCKING = 4, 8
BLOCKED_MS, BURST = 50, 15
RESTART_LIMIT = 20.0
# How often each group is requested, so that either child of httpd has most likely used it.
TIMES = 4

# "other" runs only where WSGID_BENCH_OTHER names a build (peers.py).
WSGI = ("wsgid", "other", "mod_wsgi", "embedded", "uwsgi", "granian", "gunicorn")
ALL = (*WSGI, "static")
# The peers with an option for the number of threads; embedded uses httpd's.
SIZED = ("wsgid", "other", "mod_wsgi", "uwsgi", "granian", "gunicorn")
# The peers with an interpreter outside httpd.
SERVERS = ("wsgid", "other", "mod_wsgi", "uwsgi", "granian", "gunicorn")
HTTPD_DAEMONS = ("wsgid", "other", "mod_wsgi")


@dataclass
class Bench:
    """The options of a run and its results: results[scenario][point][peer] is a list of samples."""

    where: Stage
    rounds: int
    seconds: float
    short: bool
    peers: tuple[str, ...]
    file_bytes: int
    print_point: Callable[[str, str, rounds.Samples], None]
    results: dict[str, dict[str, rounds.Samples]] = field(default_factory=dict)

    def some(self, values: tuple, short: int | slice) -> tuple:
        """All values; only a few in the short form."""
        return values[short] if self.short else values

    @contextlib.contextmanager
    def serving(
        self, names: tuple[str, ...], setup: Setup, probe: str = HELLO
    ) -> Iterator[dict[str, Running]]:
        wanted = [name for name in names if name in self.peers and not PEERS[name].missing]
        with serving(wanted, setup, self.where, probe) as running:
            yield running

    def measure(
        self, scenario: str, point: str, contenders: dict[str, Callable[[], dict]], times: int = 0
    ) -> None:
        self.measure_together(scenario, {point: contenders}, times)

    def measure_together(
        self, scenario: str, points: dict[str, dict[str, Callable[[], dict]]], times: int = 0
    ) -> None:
        """Measures points that are compared with each other in the same rounds."""
        everyone = {
            (point, name): take
            for point, contenders in points.items()
            for name, take in contenders.items()
        }
        samples = rounds.interleave(everyone, times or self.rounds)
        for point, contenders in points.items():
            found = {name: samples[point, name] for name in contenders}
            self.results.setdefault(scenario, {}).setdefault(point, {}).update(found)
            self.print_point(scenario, point, found)


def each(
    running: dict[str, Running], take: Callable[..., dict], *arguments: object
) -> dict[str, Callable[[], dict]]:
    """A contender for each peer, which calls take(peer, *arguments)."""
    return {name: lambda peer=peer: take(peer, *arguments) for name, peer in running.items()}


def requests(peer: Running, bench: Bench, path: str, connections: int) -> dict:
    """One run of wrk, with its cost to the server."""
    with cost.metered(peer.httpd(), peer.application()) as spent:
        figures = load.wrk(peer.url(path), connections, bench.seconds)
    return {**figures, **spent.per_request(int(figures["requests"]))}


def warm(bench: Bench, running: dict[str, Running], path: str = HELLO) -> None:
    """Opens connections, starts threads and fills caches before anything counts; the short form
    skips this.
    """
    if bench.short:
        return
    for name, peer in running.items():
        try:
            load.wrk(peer.url(path), 16, 1)
        except rounds.FAILURES as error:
            print(f"bench: {name}: {error}", file=sys.stderr, flush=True)


def plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


# -------- requests


def hello(bench: Bench) -> None:
    """Hello world over keep-alive connections, processes=1 threads=15"""
    with bench.serving(ALL, Setup()) as running:
        warm(bench, running)
        for count in bench.some((1, 4, 16, 64, 256), slice(2, 3)):
            point = plural(count, "connection", "connections")
            bench.measure("hello", point, each(running, requests, bench, HELLO, count))


def threads(bench: Bench) -> None:
    """Hello world with 16 connections, by threads"""
    for count in bench.some((1, 15, 64), slice(0, 1)):
        with bench.serving(SIZED, Setup(threads=count)) as running:
            warm(bench, running)
            bench.measure(
                "threads",
                plural(count, "thread", "threads"),
                each(running, requests, bench, HELLO, 16),
            )


def processes(bench: Bench) -> None:
    """An application that uses 1 ms of CPU, 16 connections, by processes"""
    with contextlib.ExitStack() as stack:
        points = {}
        for count in (1, 2):
            running = stack.enter_context(bench.serving(WSGI, Setup("burn", processes=count)))
            warm(bench, running)
            points[plural(count, "process", "processes")] = each(
                running, requests, bench, HELLO, 16
            )
        bench.measure_together("processes", points)


def sizes(bench: Bench) -> None:
    """One byte string as the body, 16 connections, by its size"""
    with bench.serving(ALL, Setup("sizes"), "/0") as running:
        warm(bench, running, "/1024")
        for size in bench.some(STATIC_SIZES, slice(-1, None)):
            bench.measure("sizes", f"{size} bytes", each(running, requests, bench, f"/{size}", 16))


def application(bench: Bench) -> None:
    """A small Flask application with PostgreSQL: JSON, one query, 20 queries, a page; 15 threads"""
    try:
        _measure_application(bench)
    except postgres.NoPostgres as error:
        print(f"bench: application is not measured: {error}", file=sys.stderr)


def _measure_application(bench: Bench) -> None:
    with postgres.database() as string:
        (bench.where.apps / "database").write_text(string)
        views = bench.some(("json", "query", "queries", "page"), slice(1, 2))
        with bench.serving(SERVERS, Setup("application", packages=True), "/json") as running:
            warm(bench, running, "/query")
            for view in views:
                for count in bench.some((16, 64), slice(0, 1)):
                    point = f"{view}, {count} connections"
                    take = each(running, requests, bench, f"/{view}", count)
                    bench.measure("application", point, take)


# -------- applications that block


def blocking(bench: Bench) -> None:
    """15 requests that sleep 50 ms, sent at one instant"""
    for count in bench.some((15, 64), slice(0, 1)):
        with bench.serving(WSGI, Setup("sleep", threads=count)) as running:
            warm(bench, running)
            bench.measure("blocking", f"{count} threads", each(running, _burst))


def _burst(peer: Running) -> dict:
    return {"burst_ms": clients.burst(peer.port, f"{HELLO}?{BLOCKED_MS}", BURST)}


def mix(bench: Bench) -> None:
    """4 connections with fast requests, alone and beside 8 whose requests sleep 50 ms"""
    for count in bench.some((15, 64), slice(0, 1)):
        with bench.serving(WSGI, Setup("sleep", threads=count)) as running:
            warm(bench, running)
            bench.measure("mix", f"{count} threads", each(running, _mixed, bench))


def _mixed(peer: Running, bench: Bench) -> dict:
    alone = load.wrk(peer.url(HELLO), FAST, bench.seconds)
    slow = load.start(peer.url(f"{HELLO}?{BLOCKED_MS}"), BLOCKING, bench.seconds + 1)
    try:
        among = load.wrk(peer.url(HELLO), FAST, bench.seconds)
        slow_output, _ = slow.communicate(timeout=bench.seconds + load.GRACE)
    finally:
        load.end(slow)
    blocked = load.parse(slow_output)
    return {
        "p99_alone_us": alone["p99_us"],
        "p99_us": among["p99_us"],
        "p99_growth": among["p99_us"] / max(alone["p99_us"], 1),
        "rps": among["rps"],
        "blocked_p99_ms": blocked["p99_us"] / 1000,
        "errors": alone["errors"] + among["errors"] + blocked["errors"],
    }


# -------- memory, groups, start


def memory(bench: Bench) -> None:
    """Resident and private memory after 64 connections with hello world"""
    with bench.serving(ALL, Setup()) as running:
        warm(bench, running)
        bench.measure("memory", "after load", each(running, _memory_after_load, bench))


def _memory_after_load(peer: Running, bench: Bench) -> dict:
    load.wrk(peer.url(HELLO), 64, 1)
    return _memory(peer)


def _memory(peer: Running) -> dict:
    """The mean of httpd's children, the parent of httpd, and the sum of the application's
    processes.
    """
    children = peer.httpd_children()
    total, count = cost.total_memory(children), max(len(children), 1)
    parent, application = cost.memory(peer.parent), cost.total_memory(peer.application())
    return {
        "child_rss_mb": total.rss / count,
        "child_pss_mb": total.pss / count,
        "child_private_mb": total.private / count,
        "parent_rss_mb": parent.rss,
        "parent_private_mb": parent.private,
        "application_rss_mb": application.rss,
        "application_private_mb": application.private,
    }


def groups(bench: Bench) -> None:
    """Daemon groups of one process each: what they cost httpd, and the start of all"""
    for count in bench.some((1, 10, 100), slice(1, 2)):
        paths = [f"/{number}" for number in range(count)] if count > 1 else [HELLO]
        with bench.serving((*HTTPD_DAEMONS, "static"), Setup(groups=count), paths[0]) as running:
            warm(bench, running, paths[0])
            contenders = each(running, _with_groups, bench, paths)
            bench.measure("groups", plural(count, "group", "groups"), contenders, times=1)


def _with_groups(peer: Running, bench: Bench, paths: list[str]) -> dict:
    """For httpd's static files, requests only the first path: the base line."""
    for path in paths * TIMES if peer.peer.name in HTTPD_DAEMONS else []:
        if not clients.is_up(peer.port, path):
            raise clients.BadAnswer(f"no answer from {path}")
    figures = _memory(peer)
    child, parent = peer.httpd_children()[0], peer.parent
    return {
        "start_ms": peer.start_ms,
        **{
            key: figures[key]
            for key in ("child_rss_mb", "child_private_mb", "parent_rss_mb", "parent_private_mb")
        },
        "child_descriptors": cost.descriptors(child),
        "parent_descriptors": cost.descriptors(parent),
        "rps": load.wrk(peer.url(paths[0]), 16, bench.seconds)["rps"],
    }


def startup(bench: Bench) -> None:
    """httpd's start to the first answer; kill -9 of a daemon to the next answer; the bare
    interpreter
    """

    def fresh(name: str) -> dict:
        with bench.serving((name,), Setup()) as running:
            return {"start_ms": running[name].start_ms}

    names = [name for name in ALL if name in bench.peers and not PEERS[name].missing]
    bench.measure("startup", "httpd", {name: lambda name=name: fresh(name) for name in names})
    with bench.serving(HTTPD_DAEMONS, Setup()) as running:
        contenders = {"python": _interpreter, **each(running, _kill_and_wait)}
        bench.measure("startup", "daemon", contenders)


def _interpreter() -> dict:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return {"restart_ms": (time.perf_counter() - begun) * 1000}


def _kill_and_wait(peer: Running) -> dict:
    before = set(peer.application())
    begun = time.perf_counter()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: clients.is_up(peer.port, HELLO), "an answer after kill -9", RESTART_LIMIT)
    taken = (time.perf_counter() - begun) * 1000
    if before & set(peer.application()):
        raise RuntimeError("the daemon outlived SIGKILL")
    return {"restart_ms": taken}


# -------- transfers


def transfers(bench: Bench) -> None:
    """One client, big bodies: a file, a generator of 64 KiB blocks, one byte string, tiny blocks,
    an upload
    """
    size = bench.file_bytes
    with_static, daemons = (*HTTPD_DAEMONS, "static"), HTTPD_DAEMONS
    with bench.serving(with_static, Setup("transfers"), "/file") as running:
        bench.measure("transfers", "file", each(running, _downloads, bench, "/file", size))
    with bench.serving(with_static, Setup("transfers", sendfile=False), "/file") as running:
        bench.measure(
            "transfers", "file, EnableSendfile Off", each(running, _downloads, bench, "/file", size)
        )
    with bench.serving(daemons, Setup("transfers"), "/generator?0") as running:
        for point, target, length in (
            ("generator", f"/generator?{size}", size),
            ("object", f"/object?{OBJECT_BYTES}", OBJECT_BYTES),
            ("blocks", f"/blocks?{TINY_BLOCKS}", TINY_BLOCKS * TINY_BYTES),
        ):
            bench.measure("transfers", point, each(running, _downloads, bench, target, length))
        contenders = each(
            running, _transfers, bench, lambda port: clients.upload(port, "/upload", size)
        )
        bench.measure("transfers", "upload", contenders)


def _downloads(peer: Running, bench: Bench, target: str, size: int) -> dict:
    return _transfers(peer, bench, lambda port: clients.download(port, target, size))


def _transfers(peer: Running, bench: Bench, once: Callable[[int], clients.Transfer]) -> dict:
    """As many transfers as fit into the time, at least one. The growth of memory is the peak minus
    the size before.
    """
    httpd, application = peer.httpd(), peer.application()
    once(peer.port)
    before = cost.resident(httpd), cost.resident(application)
    cost.reset_peak([*httpd, *application])
    done: list[clients.Transfer] = []
    end = time.monotonic() + bench.seconds
    with cost.metered(httpd, application) as spent:
        while not done or time.monotonic() < end:
            done.append(once(peer.port))
    bytes_moved, seconds = sum(one.size for one in done), sum(one.seconds for one in done)
    return {
        "mb_per_second": bytes_moved / seconds / 1e6,
        "ms": seconds * 1000 / len(done),
        "cpu_ms": (spent.httpd + spent.application) * 1000 / len(done),
        "cpu_httpd_ms": spent.httpd * 1000 / len(done),
        "httpd_peak_mb": max(0.0, cost.peak(httpd) - before[0]),
        "application_peak_mb": max(0.0, cost.peak(application) - before[1]),
    }


SCENARIOS = {
    function.__name__: function
    for function in (
        hello,
        threads,
        processes,
        sizes,
        application,
        blocking,
        mix,
        memory,
        groups,
        startup,
        transfers,
    )
}


def title(name: str) -> str:
    return (SCENARIOS[name].__doc__ or name).strip()
