"""`python -m bench`: reads the options, measures, reports.

Runs in the virtualenv that has the peers (`make bench` makes it); if another Python starts it, it
executes itself again with that one.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from bench import CHECKOUT, points

VENV = Path(os.environ.get("WSGID_BENCH_VENV", CHECKOUT / ".bench-venv"))
RESULTS = CHECKOUT / "build" / "bench"
PUBLISHED = CHECKOUT / "docs" / "performance.json"
ROUNDS, SECONDS = 5, 0.6
FILE_BYTES, SHORT_FILE_BYTES = 100 << 20, 8 << 20
SHORT_ROUNDS, SHORT_SECONDS = 1, 0.3


def enter_venv(module: str = "bench") -> None:
    """Executes this program, `python -m module`, again in the bench's own virtualenv."""
    if Path(sys.prefix).resolve() == VENV.resolve():
        return
    python = VENV / "bin" / "python"
    if not python.exists():
        sys.exit(f"bench: no {VENV}: `make bench-venv` makes it and installs the peers")
    os.chdir(CHECKOUT)
    os.execv(python, [str(python), "-m", module, *sys.argv[1:]])


def parse(arguments: list[str], scenarios: list[str], peers: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="mod_wsgid beside its peers, behind one httpd"
    )
    parser.add_argument(
        "--only",
        metavar="A,B",
        type=_list_of(scenarios),
        default=scenarios,
        help=", ".join(scenarios),
    )
    parser.add_argument(
        "--peers",
        metavar="A,B:4",
        type=_list_of(peers, points.peer_of),
        default=peers,
        help=f"{', '.join(peers)}; with a number of threads, as granian:4, that peer always has so"
        " many",
    )
    _add_points(parser)
    parser.add_argument("--rounds", type=int, help=f"interleaved rounds (default {ROUNDS})")
    parser.add_argument("--seconds", type=float, help=f"of each load (default {SECONDS:g})")
    parser.add_argument(
        "--short", action="store_true", help="a few points, once: shows that it works, not how fast"
    )
    parser.add_argument(
        "--estimate", action="store_true", help="say how long it will take, measure nothing"
    )
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="where figures.{json,svg} go (%(default)s)"
    )
    parser.add_argument(
        "--from", dest="source", metavar="FILE", type=Path, help="report this JSON, measure nothing"
    )
    parser.add_argument(
        "--publish", action="store_true", help="write docs/performance.{json,svg,md}, too"
    )
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (SHORT_ROUNDS if options.short else ROUNDS)
    options.seconds = options.seconds or (SHORT_SECONDS if options.short else SECONDS)
    return options


def _add_points(parser: argparse.ArgumentParser) -> None:
    """Options that choose points of the scenarios "real" and "grid"."""
    choose = parser.add_argument_group("points of real applications (default: all)")
    for name, known in (
        ("kinds", tuple(points.KINDS)),
        ("frameworks", points.FRAMEWORKS),
        ("databases", points.DATABASES),
        ("processes", points.PROCESSES),
        ("connections", points.CONNECTIONS),
    ):
        words = [str(one) for one in known]
        read = _list_of(words, convert=type(known[0]))
        choose.add_argument(
            f"--{name}", metavar="A,B", type=read, default=[], help=", ".join(words)
        )


def selection(options: argparse.Namespace) -> points.Selection:
    return points.Selection(
        *(
            tuple(chosen)
            for chosen in (
                options.kinds,
                options.frameworks,
                options.databases,
                options.processes,
                options.connections,
            )
        )
    )


def _is_contender(word: str) -> bool:
    """Whether what follows a colon is a number."""
    _, colon, count = word.partition(":")
    return not colon or (count.isdecimal() and int(count) > 0)


def _list_of(
    known: list[str], key: Callable[[str], str] = str, convert: Callable[[str], object] = str
) -> Callable[[str], list]:
    """Reads words separated by commas, whose keys have to be known."""

    def read(text: str) -> list:
        words = text.split(",")
        unknown = [word for word in words if key(word) not in known or not _is_contender(word)]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"{', '.join(unknown)}: choose from {', '.join(known)}"
            )
        return [convert(word) for word in words]

    return read


def check_reach() -> None:
    """Checks that httpd's user, as which the peers run, can reach their virtualenv. Our module is
    copied if necessary.
    """
    from httpdenv import machine

    if os.geteuid() == 0 and not machine.is_reachable_by_all(VENV / "pyvenv.cfg"):
        sys.exit(
            f"bench: {machine.web_user()} cannot reach {VENV}: make BENCH_VENV=/where/everybody/may/go bench"
        )


def measure(options: argparse.Namespace):
    """Runs the scenarios. What has been measured is reported, even after Ctrl-C."""
    from bench import conditions, peers, report

    check_reach()
    facts = conditions.describe()
    print("\n".join(f"{key}: {value}" for key, value in facts.items()), flush=True)
    _say_what_is_missing(options.peers)
    with peers.stage(_file_bytes(options)) as where:
        bench = make(options, where)
        say_how_long(options, bench)
        try:
            for name in options.only:
                _measure_one(name, bench)
        except KeyboardInterrupt:
            print("bench: interrupted; this is what there is", file=sys.stderr)
    chosen = {"rounds": options.rounds, "seconds": options.seconds, "short": options.short}
    return report.Report(facts, chosen, bench.results, bench.scans)


def _measure_one(name: str, bench) -> None:
    from bench import postgres, scenarios

    try:
        scenarios.SCENARIOS[name](bench)
    except postgres.NoPostgres as error:
        print(f"bench: {name} is not measured: {error}", file=sys.stderr, flush=True)


def make(options: argparse.Namespace, where):
    """The Bench of these options, on a stage that may be None if nothing is to be measured."""
    from bench import report, run

    return run.Bench(
        where,
        options.rounds,
        options.seconds,
        options.short,
        tuple(options.peers),
        selection(options),
        _file_bytes(options),
        report.print_point,
    )


def say_how_long(options: argparse.Namespace, bench) -> None:
    from bench import estimate, scenarios

    seconds = estimate.estimate(bench, [scenarios.SCENARIOS[name] for name in options.only])
    print(f"this will take about {max(1, round(seconds / 60))} minutes", flush=True)


def _file_bytes(options: argparse.Namespace) -> int:
    return SHORT_FILE_BYTES if options.short else FILE_BYTES


def _say_what_is_missing(names: list[str]) -> None:
    from bench import peers

    for name in names:
        peer = peers.PEERS.get(points.peer_of(name))
        if peer and peer.missing:
            print(f"bench: without {name}: {peer.needs()} is not there", file=sys.stderr)


def write(found, directory: Path, stem: str) -> None:
    from bench import plot

    found.save(directory / f"{stem}.json")
    plot.draw(found, directory, stem)
    print(f"\n{directory / stem}.json, .svg, -servers.svg", flush=True)


def _end(*_: object) -> None:
    """Only once: a second signal would interrupt the end of the servers."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit("bench: SIGTERM")


def main(arguments: list[str]) -> int:
    from bench import load, loop, peers, report, scenarios

    options = parse(arguments, list(scenarios.SCENARIOS), [*peers.PEERS, loop.NAME])
    if options.estimate:
        say_how_long(options, make(options, None))
        return 0
    signal.signal(signal.SIGTERM, _end)
    try:
        load.executable()
        found = report.Report.load(options.source) if options.source else measure(options)
    except load.NoWrk as error:
        sys.exit(f"bench: {error}")
    report.print_end(found)
    if not options.source:
        write(found, options.output, "figures")
    if options.publish:
        write(found, PUBLISHED.parent, PUBLISHED.stem)
        report.write_page(found)
    return 0 if found.results else 1


if __name__ == "__main__":
    enter_venv()
    sys.exit(main(sys.argv[1:]))
