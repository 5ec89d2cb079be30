"""Makes docs/elastic.svg: how many processes a simulated pool has, and how long requests wait,
under five patterns of requests. The decisions are those of apxs/guardian/elastic.c.

    .venv/bin/python -m pip install matplotlib
    .venv/bin/python docs/elastic_plot.py
"""

import pathlib
import subprocess
import sys
import tempfile

from matplotlib import pyplot

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from poolenv import Decision, Pool, crawler, daily, load_library, on_off, steady  # noqa: E402

WANTED, RATE, WAIT = "#c0392b", "#7fb2e5", "#3a8f5c"
HOUR = 3600
# title, requests, seconds, the fewest processes, times as
PATTERNS = (
    ("steady: 100 requests a second", lambda: steady(100, 0.1, 300), 300, 1, 1),
    (
        "daily: 1 to 100 a second, two days in two hours",
        lambda: daily(1, 100, 0.1, HOUR),
        2 * HOUR,
        1,
        60,
    ),
    (
        "burst: 2, and for a minute 150 a second",
        lambda: on_off(150, 0.1, 60, 300, 900, low=2),
        900,
        1,
        1,
    ),
    (
        "on and off: 100 a second for 20 s, none for 20 s",
        lambda: on_off(100, 0.1, 20, 20, 300),
        300,
        1,
        1,
    ),
    (
        "a crawler for an hour, processes=0-8",
        lambda: crawler(0.5, 0.3, HOUR),
        HOUR + 600,
        0,
        60,
    ),
)
BUCKETS = 100


def buckets(points, seconds, value):
    """value(points of it) for each part of the time."""
    width = seconds / BUCKETS
    parts = [[] for _ in range(BUCKETS)]
    for time, wait in points:
        parts[min(int(time / width), BUCKETS - 1)].append(wait)
    return [width * i for i in range(BUCKETS)], [value(part, width) for part in parts]


def draw(axes, library, title, arrivals, seconds, least, unit):
    number, wait = axes
    result = Pool(Decision(library, least, 8, 60)).play(arrivals(), seconds)
    times, wanted = zip(*result.wanted, (seconds, result.wanted[-1][1]))
    number.set_title(title, loc="left")
    number.step([t / unit for t in times], wanted, where="post", color=WANTED)
    number.set_ylim(0, 8)
    number.set_ylabel("processes", color=WANTED)
    rate = number.twinx()
    times, rates = buckets(result.waits, seconds, lambda part, width: len(part) / width)
    rate.fill_between([t / unit for t in times], rates, color=RATE, alpha=0.4, linewidth=0)
    rate.set_ylabel("requests/s", color="#2c6fbb")
    rate.set_ylim(bottom=0)
    rate.grid(visible=False)
    times, waits = buckets(
        result.waits,
        seconds,
        lambda part, width: sorted(part)[int(0.99 * len(part))] if part else 0.0,
    )
    wait.set_title("the wait that 99% do not exceed", loc="left")
    wait.plot([t / unit for t in times], waits, color=WAIT)
    wait.set_ylabel("seconds", color=WAIT)
    wait.set_ylim(0, max(0.2, 1.1 * max(waits)))
    for axis in axes:
        axis.set_xlabel("minutes" if unit == 60 else "seconds")


def main():
    pyplot.switch_backend("svg")
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
    figure, axes = pyplot.subplots(
        len(PATTERNS), 2, figsize=(13, 2.4 * len(PATTERNS)), constrained_layout=True
    )
    with tempfile.TemporaryDirectory() as directory:
        library = load_library(
            lambda *arguments: subprocess.run(["gcc", *map(str, arguments)], check=True),
            pathlib.Path(directory),
        )
        for row, pattern in zip(axes, PATTERNS):
            draw(row, library, *pattern)
    figure.suptitle(
        "processes=1-8; a process serves 4 requests of 0.1 s at once and takes 0.3 to 2 s to start"
    )
    figure.savefig(ROOT / "docs" / "elastic.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
