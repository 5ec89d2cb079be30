"""Memory, descriptors, and the time to start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from httpdenv import wait_until

from bench import clients, cost, load
from bench.peers import Running, Setup
from bench.points import plural
from bench.run import ALL, HELLO, HTTPD_DAEMONS, Bench, each

RESTART_LIMIT = 20.0
# How often each group is requested, so that either child of httpd has most likely used it.
TIMES = 4


def memory(bench: Bench) -> None:
    """Resident and private memory after 64 connections with hello world"""
    with bench.serving(ALL, Setup()) as running:
        bench.warm(running)
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
            bench.warm(running, paths[0])
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
        with bench.serving_all((name,), Setup(), HELLO) as running:
            return {"start_ms": running[name].start_ms}

    names = bench.chosen(ALL)
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
