"""Applications that wait, and what that does to the requests beside them."""

from __future__ import annotations

from bench import clients, load
from bench.peers import Running, Setup
from bench.run import HELLO, WSGI, Bench, Timed, each

# Fast and blocking clients of the mix: together fewer than the 15 threads, so that only scheduling
# is measured.
FAST, BLOCKING = 4, 8
BLOCKED_MS, BURST = 50, 15


def blocking(bench: Bench) -> None:
    """15 requests that sleep 50 ms, sent at one instant"""
    for count in bench.some((15, 64), slice(0, 1)):
        with bench.serving(WSGI, Setup("sleep", threads=count)) as running:
            bench.warm(running)
            bench.measure("blocking", f"{count} threads", each(running, _burst))


def _burst(peer: Running) -> dict:
    return {"burst_ms": clients.burst(peer.port, f"{HELLO}?{BLOCKED_MS}", BURST)}


def mix(bench: Bench) -> None:
    """4 connections with fast requests, alone and beside 8 whose requests sleep 50 ms"""
    for count in bench.some((15, 64), slice(0, 1)):
        with bench.serving(WSGI, Setup("sleep", threads=count)) as running:
            bench.warm(running)
            contenders = {
                name: Timed(2 * bench.seconds, take)
                for name, take in each(running, _mixed, bench).items()
            }
            bench.measure("mix", f"{count} threads", contenders)


def _mixed(peer: Running, bench: Bench) -> dict:
    alone = load.wrk(peer.url(HELLO), FAST, bench.seconds)
    # It is stopped as soon as the other one has ended.
    slow = load.start(peer.url(f"{HELLO}?{BLOCKED_MS}"), BLOCKING, bench.seconds + load.GRACE)
    try:
        among = load.wrk(peer.url(HELLO), FAST, bench.seconds)
        blocked = load.parse(load.stop(slow))
    finally:
        load.end(slow)
    return {
        "p99_alone_us": alone["p99_us"],
        "p99_us": among["p99_us"],
        "p99_growth": among["p99_us"] / max(alone["p99_us"], 1),
        "rps": among["rps"],
        "blocked_p99_ms": blocked["p99_us"] / 1000,
        "errors": alone["errors"] + among["errors"] + blocked["errors"],
    }
