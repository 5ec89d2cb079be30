"""The plots of a run, as SVG. The same JSON always gives the same files.

The first shows requests per second of real applications, for users; the second what the servers
themselves cost, for those who work on them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib import pyplot

from bench import rounds
from bench.marks import OURS
from bench.numbers import number
from bench.peers import PEERS
from bench.points import FRAMEWORKS, TITLES, Point, peer_of
from bench.report import PEER_ORDER, Report, name_of

PALETTE = ("#c0392b", "#2c6fbb", "#7fb2e5", "#3a8f5c", "#b08d2f", "#8e6bb0", "#777777", "#bbbbbb")
COLOURS = dict(zip(PEER_ORDER, PALETTE))
SIZE = (13, 9)
REAL_SIZE = (13, 8)
# What the picture of the real applications shows.
SHOWN = ("wsgid", "mod_wsgi", "uwsgi", "granian", "gunicorn")
SHOWN_PROCESSES, SHOWN_CONNECTIONS = 1, 16
LABELS = {
    "json": "JSON",
    "query": "one query",
    "queries": "20 queries",
    "fortunes": "page from\na template",
    "updates": "5 updates",
    "plaintext": "a line\nof text",
    "login": "log-in",
    "upload": "upload of\n200 kB",
    "report": "report of\n2 MB",
    "service": "waits 30 ms\nfor a service",
    "compute": "computes\n5 ms",
}
BAR = 0.16


def draw(report: Report, directory: Path, stem: str) -> None:
    """Writes STEM.svg and STEM-servers.svg."""
    pyplot.switch_backend("svg")  # no display here
    pyplot.rcParams.update(
        {
            "svg.hashsalt": "mod_wsgid",
            "svg.fonttype": "none",
            "font.size": 9,
            "axes.grid": True,
            "grid.alpha": 0.3,
            "axes.axisbelow": True,
        }
    )
    _draw_real(report, directory / f"{stem}.svg")
    _draw_servers(report, directory / f"{stem}-servers.svg")


def _finish(
    report: Report, figure: pyplot.Figure, title: str, peers: list[str], path: Path
) -> None:
    facts = report.conditions
    figure.suptitle(
        f"{title}\nmod_wsgid {facts['mod_wsgid']}, httpd {facts['httpd']}, {facts['machine']}, {facts['date']}"
    )
    handles = [pyplot.Line2D([], [], color=COLOURS[peer], linewidth=5) for peer in peers]
    figure.legend(
        handles,
        [name_of(peer) for peer in peers],
        loc="outside lower center",
        ncols=5,
        frameon=False,
    )
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


# -------- real applications


def _draw_real(report: Report, path: Path) -> None:
    figure, axes = pyplot.subplots(len(FRAMEWORKS), 1, figsize=REAL_SIZE, constrained_layout=True)
    for framework, axis in zip(FRAMEWORKS, axes):
        _framework(report, axis, framework)
    title = (
        "Requests per second of real applications: higher is better, mod_wsgid is 100 %\n"
        "mod_wsgid with 15 threads, each other server with the number of threads at which it is fastest"
    )
    _finish(report, figure, title, list(SHOWN), path)


def _framework(report: Report, axis: pyplot.Axes, framework: str) -> None:
    """A group of bars for each view; our requests per second are its label."""
    axis.set_title(f"{TITLES[framework]} on PostgreSQL, one process, {SHOWN_CONNECTIONS} clients")
    labels = []
    for kind, label in LABELS.items():
        point = Point(framework, "postgresql", kind, SHOWN_PROCESSES, SHOWN_CONNECTIONS)
        speeds = _speeds(report.find("real", point.name))
        if not speeds.get(OURS):
            continue
        for column, peer in enumerate(SHOWN):
            part = 100 * speeds.get(peer, 0.0) / speeds[OURS]
            place = len(labels) + (column - (len(SHOWN) - 1) / 2) * BAR
            axis.bar(place, part, BAR * 0.9, color=COLOURS[peer])
        labels.append(f"{label}\n{number(speeds[OURS])}/s")
    axis.axhline(100, color=COLOURS[OURS], linewidth=0.8)
    axis.set_xticks(range(len(labels)), labels)
    axis.yaxis.set_major_formatter(lambda value, position: f"{value:g} %")
    axis.grid(axis="x", visible=False)


def _speeds(samples: rounds.Samples) -> dict[str, float]:
    """Of each peer the fastest that was measured."""
    found: dict[str, float] = {}
    for name, taken in samples.items():
        speed = rounds.median(taken, "rps") or 0.0
        found[peer_of(name)] = max(found.get(peer_of(name), 0.0), speed)
    return found


# -------- the servers themselves


def _draw_servers(report: Report, path: Path) -> None:
    figure, axes = pyplot.subplots(2, 3, figsize=SIZE, constrained_layout=True)
    for panel, axis in zip(
        (_connections, _cpu, _latency, _sizes, _transfers, _children), axes.flat
    ):
        panel(report, axis)
    _finish(report, figure, "What the servers themselves can do", list(PEERS), path)


def _lines(report: Report, axis: pyplot.Axes, scenario: str, key: str, scale: float = 1.0) -> None:
    """One line for each peer, over the number with which each point's name begins."""
    points = report.results.get(scenario, {})
    for peer in PEER_ORDER:
        medians = {
            int(point.split()[0]): rounds.median(taken.get(peer, []), key)
            for point, taken in points.items()
        }
        known = [(x, y / scale) for x, y in medians.items() if y is not None]
        if known:
            width = 2.5 if peer == OURS else 1.3
            axis.plot(*zip(*known), marker="o", markersize=3, color=COLOURS[peer], linewidth=width)
    axis.set_ylim(bottom=0)


def _bars(axis: pyplot.Axes, samples: rounds.Samples, *keys: str) -> None:
    """One bar for each peer; several keys are stacked, the later ones lighter."""
    peers = [
        peer for peer in PEER_ORDER if rounds.median(samples.get(peer, []), keys[0]) is not None
    ]
    below = [0.0] * len(peers)
    for layer, key in enumerate(keys):
        heights = [rounds.median(samples[peer], key) or 0.0 for peer in peers]
        colours = [COLOURS[peer] for peer in peers]
        axis.bar(
            range(len(peers)),
            heights,
            bottom=below,
            color=colours,
            alpha=1.0 if layer == 0 else 0.5,
        )
        below = [a + b for a, b in zip(below, heights)]
    axis.set_xticks([])


def _connections(report: Report, axis: pyplot.Axes) -> None:
    axis.set_title("hello world: thousand requests/s by connections")
    axis.set_xscale("log", base=4)
    axis.xaxis.set_major_formatter(_plain())
    _lines(report, axis, "hello", "rps", 1000)


def _cpu(report: Report, axis: pyplot.Axes) -> None:
    axis.set_title("CPU µs a request, 16 connections (httpd + application)")
    _bars(
        axis,
        report.results.get("hello", {}).get("16 connections", {}),
        "cpu_httpd_us",
        "cpu_application_us",
    )


def _latency(report: Report, axis: pyplot.Axes) -> None:
    axis.set_title("one connection: median latency, µs")
    _bars(axis, report.results.get("hello", {}).get("1 connection", {}), "p50_us")


def _sizes(report: Report, axis: pyplot.Axes) -> None:
    axis.set_title("thousand requests/s by size of the body")
    axis.set_xscale("symlog", base=4, linthresh=1024)
    axis.xaxis.set_major_formatter(_plain())
    _lines(report, axis, "sizes", "rps", 1000)


def _transfers(report: Report, axis: pyplot.Axes) -> None:
    axis.set_title("transfers: MB/s")
    points = {
        point: samples
        for point, samples in report.results.get("transfers", {}).items()
        if point != "blocks"
    }
    width = 0.25
    for column, peer in enumerate(("wsgid", "mod_wsgi", "static")):
        heights = [
            rounds.median(samples.get(peer, []), "mb_per_second") or 0
            for samples in points.values()
        ]
        axis.bar(
            [row + (column - 1) * width for row in range(len(points))],
            heights,
            width,
            color=COLOURS[peer],
        )
    axis.set_xticks(
        range(len(points)),
        [point.replace(", EnableSendfile Off", "\nno sendfile") for point in points],
    )


def _children(report: Report, axis: pyplot.Axes) -> None:
    axis.set_title("private memory: MiB in a child of httpd + in the application")
    _bars(
        axis,
        report.results.get("memory", {}).get("after load", {}),
        "child_private_mb",
        "application_private_mb",
    )


def _plain() -> Callable[[float, int], str]:
    return lambda value, position: f"{value:,.0f}"
