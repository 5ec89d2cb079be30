"""`python -m bench`: reads the options, measures, reports.

Runs in the virtualenv that has the peers (`make bench` makes it); if another Python starts it, it
executes itself again with that one.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from bench import CHECKOUT

VENV = Path(os.environ.get("WSGID_BENCH_VENV", CHECKOUT / ".bench-venv"))
RESULTS = CHECKOUT / "build" / "bench"
PUBLISHED = CHECKOUT / "docs" / "performance.json"
ROUNDS, SECONDS = 5, 4.0
SHORT_ROUNDS, SHORT_SECONDS = 1, 1.0


def enter_venv() -> None:
    """Executes this program again in the bench's own virtualenv."""
    if Path(sys.prefix).resolve() == VENV.resolve():
        return
    python = VENV / "bin" / "python"
    if not python.exists():
        sys.exit(f"bench: no {VENV}: `make bench-venv` makes it and installs the peers")
    os.chdir(CHECKOUT)
    os.execv(python, [str(python), "-m", "bench", *sys.argv[1:]])


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
        "--peers", metavar="A,B", type=_list_of(peers), default=peers, help=", ".join(peers)
    )
    parser.add_argument("--rounds", type=int, help=f"interleaved rounds (default {ROUNDS})")
    parser.add_argument(
        "--seconds", type=float, help=f"of each load; wrk takes whole seconds (default {SECONDS:g})"
    )
    parser.add_argument(
        "--short", action="store_true", help="a few points, once: shows that it works, not how fast"
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


def _list_of(known: list[str]):
    def read(text: str) -> list[str]:
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"{', '.join(unknown)}: choose from {', '.join(known)}"
            )
        return names

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
    from bench import conditions, peers, report, scenarios

    check_reach()
    facts = conditions.describe()
    print("\n".join(f"{key}: {value}" for key, value in facts.items()), flush=True)
    for name in options.peers:
        if peers.PEERS[name].missing:
            print(
                f"bench: without {name}: {peers.PEERS[name].needs()} is not there", file=sys.stderr
            )
    size = scenarios.SHORT_FILE_BYTES if options.short else scenarios.FILE_BYTES
    with peers.stage(size) as where:
        bench = scenarios.Bench(
            where,
            options.rounds,
            options.seconds,
            options.short,
            tuple(options.peers),
            size,
            report.print_point,
        )
        try:
            for name in options.only:
                scenarios.SCENARIOS[name](bench)
        except KeyboardInterrupt:
            print("bench: interrupted; this is what there is", file=sys.stderr)
    chosen = {"rounds": options.rounds, "seconds": options.seconds, "short": options.short}
    return report.Report(facts, chosen, bench.results)


def write(found, directory: Path, stem: str) -> None:
    from bench import plot

    found.save(directory / f"{stem}.json")
    plot.draw(found, directory / f"{stem}.svg")
    print(f"\n{directory / stem}.json, .svg", flush=True)


def main(arguments: list[str]) -> int:
    from bench import load, peers, report, scenarios

    options = parse(arguments, list(scenarios.SCENARIOS), list(peers.PEERS))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: SIGTERM"))
    try:
        load.executable()
        found = report.Report.load(options.source) if options.source else measure(options)
    except load.NoWrk as error:
        sys.exit(f"bench: {error}")
    report.print_marks(found.held())
    if not options.source:
        write(found, options.output, "figures")
    if options.publish:
        write(found, PUBLISHED.parent, PUBLISHED.stem)
        report.write_page(found)
    return 0 if found.results else 1


if __name__ == "__main__":
    enter_venv()
    sys.exit(main(sys.argv[1:]))
