"""Applications that do almost nothing, so that only the server is measured."""

from __future__ import annotations

import contextlib

from bench.peers import Setup
from bench.points import plural
from bench.run import ALL, HELLO, WSGI, Bench, each, requests

# Of files that bench/peers.py makes for httpd itself.
SIZES = (1024, 65536, 1 << 20)


def hello(bench: Bench) -> None:
    """Hello world over keep-alive connections, processes=1 threads=15"""
    with bench.serving(ALL, Setup()) as running:
        bench.warm(running)
        for count in bench.some((1, 16, 64), slice(1, 2)):
            point = plural(count, "connection", "connections")
            bench.measure("hello", point, each(running, requests, bench, HELLO, count))


def processes(bench: Bench) -> None:
    """An application that uses 1 ms of CPU, 16 connections, by processes"""
    with contextlib.ExitStack() as stack:
        points = {}
        for count in (1, 2):
            running = stack.enter_context(bench.serving(WSGI, Setup("burn", processes=count)))
            bench.warm(running)
            points[plural(count, "process", "processes")] = each(
                running, requests, bench, HELLO, 16
            )
        bench.measure_together("processes", points)


def sizes(bench: Bench) -> None:
    """One byte string as the body, 16 connections, by its size"""
    with bench.serving(ALL, Setup("sizes"), "/0") as running:
        bench.warm(running, "/1024")
        for size in bench.some(SIZES, slice(-1, None)):
            bench.measure("sizes", f"{size} bytes", each(running, requests, bench, f"/{size}", 16))
