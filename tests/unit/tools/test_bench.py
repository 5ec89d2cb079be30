"""What the bench computes from its measurements. `make bench-short` shows that it can measure."""

import json

import pytest

import bench.load
import bench.marks
import bench.rounds
from bench.marks import Mark

WRK = """Running 1s test @ http://127.0.0.1:20000/hello
  1000 requests in 1.00s, 1.25MB read
BENCH {"requests": 1000, "us": 500000, "bytes": 9, "p50": 40, "p90": 50, "p99": 60, "p999": 65, \
"max": 70, "connect": 0, "read": 1, "write": 0, "status": 2, "timeout": 0}
"""


def test_results_of_wrk_are_read_from_the_scripts_line():
    figures = bench.load.parse(WRK)
    assert figures == {
        "rps": 2000,
        "requests": 1000,
        "p50_us": 40,
        "p99_us": 60,
        "p999_us": 65,
        "max_us": 70,
        "errors": 3,
    }


def test_without_that_line_the_output_of_wrk_is_in_the_error():
    with pytest.raises(ValueError, match="unable to connect"):
        bench.load.parse("unable to connect to 127.0.0.1:1")


def test_each_round_begins_with_another_contender():
    turns = []
    contenders = {name: lambda name=name: turns.append(name) or {} for name in "abc"}
    bench.rounds.interleave(contenders, 3)
    assert "".join(turns) == "abcbcacab"


def test_a_failing_contender_does_not_affect_the_others():
    def fails():
        raise OSError("refused")

    samples = bench.rounds.interleave({"a": fails, "b": lambda: {"rps": 1}}, 2)
    assert bench.rounds.errors(samples["a"]) == ["OSError: refused"] * 2
    assert bench.rounds.median(samples["a"], "rps") is None
    assert bench.rounds.median(samples["b"], "rps") == 1


def test_a_ratio_is_the_median_of_the_rounds_ratios():
    ours = [{"rps": 30}, {"rps": 3}, {"rps": 300}]
    theirs = [{"rps": 10}, {"rps": 1}, {"rps": 100}]
    assert bench.rounds.ratio(ours, theirs, "rps") == 3
    assert bench.rounds.ratio(ours, [{"error": "no"}, {"rps": 1}, {"rps": 100}], "rps") == 3
    assert bench.rounds.ratio(ours, [], "rps") is None


def test_spread_is_relative_to_the_median():
    assert bench.rounds.spread([{"ms": 8}, {"ms": 10}, {"ms": 12}], "ms") == pytest.approx(0.4)


RESULTS = {
    "1": {
        "wsgid": [{"rps": 30, "us": 4}],
        "slow": [{"rps": 10, "us": 9}],
        "fast:4": [{"rps": 20, "us": 5}],
        "fast:8": [{"rps": 40, "us": 1, "errors": 2}],
        "embedded": [{"rps": 50, "us": 1}],
    },
    "2": {"wsgid": [{"rps": 57}]},
    "4": {"wsgid": [{"rps": 57, "errors": 1}], "slow": [{"rps": 1}]},
}


@pytest.mark.parametrize(
    "how, point, key, relation, value, figure, best, verdict",
    [
        ("ratio", "1", "rps", ">=", 1.5, 1.5, "fast:4", "reached"),
        ("ratio", "1", "us", "<=", 0.7, 0.8, "fast:4", "missed"),
        ("difference", "1", "us", "<=", 0, -1, "fast:4", "reached"),
        ("growth", "2", "rps", ">=", 1.9, 1.9, "", "reached"),
        ("absolute", "1", "us", "<=", 3, 4, "fast:4", "missed"),
        ("ratio", "3", "rps", ">=", 1, None, "", "not measured"),
        ("ratio", "4", "rps", ">=", 1, 57, "slow", "failed requests"),
    ],
)
def test_a_figure_is_compared_with_its_mark(
    how, point, key, relation, value, figure, best, verdict
):
    mark = Mark("text", "hello", point, key, how, relation, value, ("slow", "fast"), base="1")
    held = bench.marks.hold(mark, lambda scenario, point: RESULTS.get(point, {}))
    assert (held.figure, held.best, held.verdict) == (figure, best, verdict)


def test_the_page_is_written_between_its_markers_from_the_json_alone(tmp_path):
    report = pytest.importorskip("bench.report")
    record, page = tmp_path / "r.json", tmp_path / "p.md"
    record.write_text(
        json.dumps(
            {
                "conditions": {"date": "today"},
                "options": {"rounds": 1, "seconds": 1},
                "results": {
                    "hello": {
                        "16 connections": {"wsgid": [{"rps": 1234.5}], "static": [{"rps": 2469}]}
                    }
                },
            }
        )
    )
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    for _ in range(2):
        report.write_page(report.Report.load(record), page)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| httpd, static file | 2,469 | 0% | 0.50 |" in text
