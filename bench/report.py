"""The results of a run: lines on the terminal while it runs, its JSON, the table of marks, the page
in docs.

The JSON is the only source: `python -m bench --from FILE` writes everything again without
measuring.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench import CHECKOUT, rounds, summary
from bench.loop import NAME
from bench.marks import MARKS, OURS, REAL_MARKS, Held, Mark, hold
from bench.numbers import number
from bench.peers import PEERS
from bench.points import peer_of, plural, threads_of
from bench.scenarios import SCENARIOS, title as title_of

PAGE = CHECKOUT / "docs" / "performance.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
# The figures shown as columns, in this order; the JSON has all figures.
COLUMNS = {
    "rps": "requests/s",
    "p50_us": "median µs",
    "p99_us": "p99 µs",
    "p999_us": "p99.9 µs",
    "json_rps": "JSON/s",
    "json_p99_us": "its p99 µs",
    "query_rps": "queries/s",
    "query_p99_us": "its p99 µs",
    "service_rps": "calls/s",
    "service_p99_us": "its p99 µs",
    "cpu_us": "CPU µs",
    "cpu_httpd_us": "in httpd",
    "cpu_application_us": "in application",
    "cpu_database_us": "in database",
    "switches": "switches",
    "switches_httpd": "of httpd",
    "switches_application": "of application",
    "switches_database": "of database",
    "burst_ms": "ms in all",
    "p99_alone_us": "p99 alone µs",
    "p99_growth": "growth",
    "blocked_p99_ms": "p99 of blocked ms",
    "child_rss_mb": "child MiB",
    "child_pss_mb": "child PSS MiB",
    "child_private_mb": "child private MiB",
    "parent_rss_mb": "parent MiB",
    "parent_private_mb": "parent private MiB",
    "application_rss_mb": "application MiB",
    "application_private_mb": "application private MiB",
    "child_descriptors": "child fds",
    "parent_descriptors": "parent fds",
    "start_ms": "start ms",
    "restart_ms": "ms",
    "mb_per_second": "MB/s",
    "ms": "ms each",
    "cpu_ms": "CPU ms each",
    "cpu_httpd_ms": "in httpd",
    "httpd_peak_mb": "httpd grew MiB",
    "application_peak_mb": "application grew MiB",
}
# The ratio to ours is computed from the first of these that was measured.
HEADLINE = (
    "rps",
    "mb_per_second",
    "burst_ms",
    "p99_growth",
    "child_private_mb",
    "restart_ms",
    "start_ms",
)
OTHER_TITLES = {"python": "python -c pass", NAME: "the view in a bare loop"}
# These scenarios have many points, so that each is a row instead of a table.
SUMMARIZED = ("real", "grid")
PEER_ORDER = [*PEERS, *OTHER_TITLES]


class Report:
    """A run as data: conditions, options, results; what load() reads and save() writes."""

    def __init__(
        self, conditions: dict, options: dict, results: dict, scans: dict | None = None
    ) -> None:
        self.conditions, self.options, self.results = conditions, options, results
        self.scans = scans or {}

    @classmethod
    def load(cls, path: Path) -> Report:
        data = json.loads(path.read_text())
        return cls(data["conditions"], data["options"], data["results"], data.get("scans"))

    def save(self, path: Path) -> None:
        data = {
            "conditions": self.conditions,
            "options": self.options,
            "results": self.results,
            "scans": self.scans,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=1) + "\n")

    def find(self, scenario: str, point: str) -> rounds.Samples:
        return self.results.get(scenario, {}).get(point, {})

    def held(self, marks: Iterable[Mark] = MARKS) -> list[Held]:
        """Each mark with its figure."""
        return [hold(mark, self.find) for mark in marks]


def name_of(peer: str) -> str:
    """How a contender is called in tables: "granian, 4 threads"."""
    name, count = peer_of(peer), threads_of(peer)
    title = PEERS[name].title if name in PEERS else OTHER_TITLES[name]
    return f"{title}, {plural(count, 'thread')}" if count else title


# -------- on the terminal


def print_point(scenario: str, point: str, samples: rounds.Samples) -> None:
    """Prints one point as soon as it is measured."""
    print(f"\n{scenario}: {point}")
    _print_rows(table(samples))
    for peer, taken in samples.items():
        for error in rounds.errors(taken):
            print(f"  ! {peer}: {error}", flush=True)


def _print_rows(rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  " + "  ".join([row[0].ljust(widths[0]), *cells]).rstrip(), flush=True)


def print_end(report: Report) -> None:
    """What has been measured, in brief."""
    for scenario in SUMMARIZED:
        for found in summary.tables(scenario, report.find, brief=True):
            print(f"\n{found.title}")
            _print_rows(found.rows)
    for title, marks in (("real applications", REAL_MARKS), ("others", MARKS)):
        held = [one for one in report.held(marks) if one.figure is not None]
        if held:
            print(f"\nmarks, {title}: {count_of(held)}")
            _print_rows([["", "figure", "mark", ""], *mark_rows(held)])


def count_of(held: list[Held]) -> str:
    """As in "12 of 14 reached"."""
    reached = sum(one.verdict == "reached" for one in held)
    return f"{reached} of {len(held)} reached"


def mark_rows(held: list[Held]) -> list[list[str]]:
    """Rows of mark, figure, value, verdict."""
    return [_mark_row(one) for one in held]


def _mark_row(one: Held) -> list[str]:
    mark, unit = one.mark, f" {one.mark.unit}" if one.mark.unit else ""
    best = f"{peer_of(one.best)} with {threads_of(one.best)}" if ":" in one.best else one.best
    against = f" ({best})" if len(mark.against) > 1 and best else ""
    relation = {">=": "≥", "<=": "≤"}[mark.relation]
    figure = number(one.figure) + (unit if one.figure is not None else "")
    return [mark.text + against, figure, f"{relation} {mark.value:g}{unit}", one.verdict]


def table(samples: rounds.Samples) -> list[list[str]]:
    """One row for each peer: medians, the spread of the main figure, its ratio to ours. The first
    row has the column names.
    """
    present = dict.fromkeys(key for taken in samples.values() for key in rounds.keys(taken))
    columns = [key for key in COLUMNS if key in present]
    headline = next((key for key in HEADLINE if key in present), None)
    rows = [["", *(COLUMNS[key] for key in columns), *(["spread", "ours/its"] if headline else [])]]
    for peer in sorted(samples, key=lambda name: PEER_ORDER.index(peer_of(name))):
        row = [name_of(peer), *(number(rounds.median(samples[peer], key)) for key in columns)]
        if headline:
            row += _comparison(samples, peer, headline)
        rows.append(row)
    return rows


def _comparison(samples: rounds.Samples, peer: str, key: str) -> list[str]:
    spread = rounds.spread(samples[peer], key)
    ratio = None if peer == OURS else rounds.ratio(samples.get(OURS, []), samples[peer], key)
    return ["-" if spread is None else f"{spread:.0%}", number(ratio)]


# -------- docs/performance.md


def write_page(report: Report, page: Path = PAGE) -> None:
    """Replaces the text between the two markers of the page; the description around it is written
    by hand.
    """
    text = page.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"{page}: no {BEGIN} and {END}")
    before, rest = text.split(BEGIN, 1)
    fresh = "\n".join([BEGIN, "", *figures(report)])
    page.write_text(f"{before}{fresh}\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")


def figures(report: Report) -> Iterator[str]:
    """Markdown: conditions, marks, and a table for each point."""
    options = report.options
    yield f"{options['rounds']} rounds of {options['seconds']:g} s, medians."
    yield ""
    yield from markdown(
        [["condition", "value"], *([key, value] for key, value in report.conditions.items())]
    )
    for scenario in SUMMARIZED:
        if scenario in report.results:
            yield from _summary(report, scenario)
    held = report.held(REAL_MARKS)
    yield f"### Marks of real applications: {count_of(held)}; the others\n"
    yield from _mark_table([one for one in held if one.verdict != "reached"])
    yield "### Marks of everything else\n"
    yield f"![what the servers themselves can do]({PAGE.stem}-servers.svg)\n"
    yield from _mark_table(report.held())
    for scenario in (name for name in SCENARIOS if name in report.results):
        if scenario in SUMMARIZED:
            continue
        yield f"### {_headline(title_of(scenario))}\n"
        for point, samples in report.results[scenario].items():
            yield f"**{point}**\n"
            yield from markdown(table(samples))


def _mark_table(held: list[Held]) -> Iterator[str]:
    yield from markdown([["mark", "figure", "value", ""], *mark_rows(held)])


def _summary(report: Report, scenario: str) -> Iterator[str]:
    yield f"### {_headline(title_of(scenario))}\n"
    for found in summary.tables(scenario, report.find):
        yield f"**{found.title}**\n"
        yield from markdown(found.rows)


def _headline(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def markdown(rows: list[list[str]]) -> Iterator[str]:
    """A Markdown table, followed by an empty line. The first column is left-aligned, the others
    right-aligned.
    """
    yield "| " + " | ".join(rows[0]) + " |"
    yield "|---" + "|--:" * (len(rows[0]) - 1) + "|"
    for row in rows[1:]:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""
