"""`python -m bench.overload`: what each server does when more requests arrive than it can serve.

First 1,000 clients arrive at once, each with a request that computes for half a millisecond. The
requests after that compute for 5 ms. wrk finds out how many of them the server answers in a second
at most, with 16 connections. Then clients arrive for a minute, 1.5 times as many, each with one.
Prints medians over interleaved rounds; the seconds until a server has noticed the overload are
shown apart.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from httpdenv import wait_until

from bench import arrivals, clients, conditions, load, peers, report, rounds
from bench.__main__ import RESULTS, check_reach, enter_venv
from bench.numbers import number
from bench.run import HELLO

CONTENDERS = ("wsgid", "mod_wsgi", "uwsgi", "granian", "gunicorn")
CONNECTIONS = 16
TIMES_AS_MANY = 1.5
COMPUTES_MS = 5
BURST, BURST_MS = 1000, 0.5
BEGINNING = 10.0  # seconds of each load that are shown apart
MAXIMUM_SECONDS = 5.0
# An application with hundreds of requests in its queue has to serve them, though nobody waits.
QUIET_LIMIT = 120.0
QUIET = 0.1  # seconds in which a server without a queue answers
COLUMNS = {
    "maximum": "at most, 200/s",
    "p99_ms": "p99 ms",
    "rps": "overloaded, 200/s",
    "share": "of the maximum",
    "overloaded_p99_ms": "p99 ms",
    "first_p99_ms": "p99 ms, first 10 s",
    "refused": "503/s",
    "refused_ms": "median ms",
    "refused_p99_ms": "p99 ms",
    "others": "502, 504 or nothing, %",
    "burst_lost": "of 1,000 lost",
    "burst_ms": "ms in all",
}


def percentile(values: Sequence[float], share: float) -> float | None:
    """None: there are no values."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else None


def milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def summarize(found: list[arrivals.Client], seconds: float, maximum: float) -> dict[str, float]:
    """The figures of one load. What clients experience counts for the moment at which they
    arrived, answers for that at which they came.
    """
    beginning = min(BEGINNING, seconds / 2)
    late = [client for client in found if client.arrived >= beginning]
    served = [client.took for client in late if client.status == 200]
    refused = [client.took for client in late if client.status == 503]
    answers = sum(c.status == 200 and beginning <= c.ended < seconds for c in found)
    first = [c.took for c in found if c.arrived < beginning and c.status == 200]
    figures = {
        "rps": answers / (seconds - beginning),
        "share": answers / (seconds - beginning) / maximum,
        "overloaded_p99_ms": milliseconds(percentile(served, 0.99)),
        "first_p99_ms": milliseconds(percentile(first, 0.99)),
        "refused": len(refused) / (seconds - beginning),
        "refused_ms": milliseconds(percentile(refused, 0.5)),
        "refused_p99_ms": milliseconds(percentile(refused, 0.99)),
        "others": (len(late) - len(served) - len(refused)) / max(len(late), 1) * 100,
    }
    return {key: figure for key, figure in figures.items() if figure is not None}


def measure(peer: peers.Running, seconds: float) -> dict[str, float]:
    """One round of one server."""
    at_once = burst(peer)
    most = load.wrk(peer.url(f"{HELLO}?{COMPUTES_MS}"), CONNECTIONS, min(MAXIMUM_SECONDS, seconds))
    figures = {"maximum": most["rps"], "p99_ms": most["p99_us"] / 1000}
    times = arrivals.evenly_random(TIMES_AS_MANY * most["rps"], seconds)
    found = arrivals.Arrivals(peer.port, f"{HELLO}?{COMPUTES_MS}").run(times)
    figures |= summarize(found, seconds, most["rps"])
    wait_for_quiet(peer)
    return figures | at_once


def burst(peer: peers.Running) -> dict[str, float]:
    found = arrivals.Arrivals(peer.port, f"{HELLO}?{BURST_MS}").run(arrivals.at_once(BURST))
    wait_for_quiet(peer)
    return {
        "burst_lost": sum(client.status != 200 for client in found),
        "burst_ms": max(client.ended for client in found) * 1000,
    }


def wait_for_quiet(peer: peers.Running) -> None:
    """Until the server has done what it still had to do."""

    def is_quiet() -> bool:
        begun = time.monotonic()
        return clients.is_up(peer.port, HELLO) and time.monotonic() - begun < QUIET

    wait_until(is_quiet, f"{peer.peer.name} to have nothing to do", QUIET_LIMIT)


def rows(samples: rounds.Samples) -> list[list[str]]:
    """The table, with a row for each figure."""
    taken = {name: found for name, found in samples.items() if rounds.keys(found)}
    table = [["", *(report.name_of(name) for name in taken)]]
    for key, title in COLUMNS.items():
        table.append([title, *(number(rounds.median(found, key)) for found in taken.values())])
    return table


def allow_sockets() -> None:
    """One for each client that waits."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.overload", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=1, help="interleaved (default %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=60, help="of each load (default %(default)s)"
    )
    parser.add_argument(
        "--peers", default=",".join(CONTENDERS), help="separated by commas (default %(default)s)"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str], output: Path = RESULTS / "overload.json") -> None:
    options = parse(arguments)
    check_reach()
    allow_sockets()
    facts = conditions.describe()
    wanted = [name for name in options.peers.split(",") if not peers.PEERS[name].missing]
    with (
        peers.stage(1 << 20) as where,
        peers.serving(wanted, peers.Setup("burn"), where, HELLO) as running,
    ):
        contenders = {
            name: lambda peer=peer: measure(peer, options.seconds) for name, peer in running.items()
        }
        samples = rounds.interleave(contenders, options.rounds)
    for name, found in samples.items():
        for problem in rounds.errors(found):
            print(f"{name}: {problem}", file=sys.stderr)
    print("\n".join(report.markdown(rows(samples))))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"conditions": facts, "results": samples}, indent=1) + "\n")


if __name__ == "__main__":
    enter_venv("bench.overload")
    main(sys.argv[1:])
