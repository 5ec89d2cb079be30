"""What the bench computes from its measurements. `make bench-short` shows that it can measure."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import bench.__main__
import bench.arrivals
import bench.cost
import bench.databases
import bench.estimate
import bench.load
import bench.loop
import bench.marks
import bench.overload
import bench.points
import bench.rounds
import bench.run
import bench.scenarios
import bench.summary
from bench import CHECKOUT
from bench.marks import Mark
from bench.peers import PEERS, Peer
from bench.points import KINDS, Point, Selection
from bench.scenarios import applications

WRK = """Running 1s test @ http://127.0.0.1:20000/hello
  1000 requests in 1.00s, 1.25MB read
BENCH {"requests": 1000, "us": 500000, "bytes": 9, "p50": 40, "p90": 50, "p99": 60, "p999": 65, \
"max": 70, "connect": 0, "read": 1, "write": 0, "status": 2, "timeout": 0, "steady": 0.000000}
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


def test_the_rate_of_a_slow_application_is_that_of_the_steady_state():
    steady = WRK.replace('"steady": 0.000000', '"steady": 12.500000')
    assert bench.load.parse(steady)["rps"] == 12.5


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


# -------- real applications


@pytest.mark.parametrize(
    "contender, peer, threads", [("granian", "granian", None), ("granian:4", "granian", 4)]
)
def test_a_contender_is_a_peer_perhaps_with_its_number_of_threads(contender, peer, threads):
    assert bench.points.peer_of(contender) == peer
    assert bench.points.threads_of(contender) == threads


def test_every_point_has_a_name_of_its_own():
    points = [*bench.points.real_points(), *bench.points.grid_points()]
    assert len({point.name for point in points}) == len(points)


def test_every_view_is_measured_in_both_frameworks_with_one_and_two_processes():
    measured = {
        (p.framework, p.kind, p.processes, p.connections)
        for p in bench.points.real_points()
        if p.database == "postgresql"
    }
    for framework in ("flask", "django"):
        for kind in KINDS:
            assert {(framework, kind, 1, 16), (framework, kind, 2, 16)} <= measured


def test_the_options_select_points():
    query = Point("flask", "postgresql", "query", 1, 16)
    assert Selection().takes(query)
    assert Selection(kinds=("json", "query"), processes=(1, 2)).takes(query)
    assert not Selection(kinds=("json",)).takes(query)
    assert not Selection(connections=(64,)).takes(query)


def test_every_point_has_a_mark_for_throughput_and_one_for_slow_requests():
    marks = {(mark.point, mark.key): mark for mark in bench.marks.REAL_MARKS}
    for point in bench.points.real_points():
        important = point.kind in ("json", "query", "queries", "fortunes")
        assert marks[point.name, "rps"].value == (1.05 if important else 0.97)
        assert marks[point.name, "p99_us"].value == 1.1


def scan(**rps):
    """Names have "_" for ":"; None is a contender whose requests failed."""
    return {
        name.replace("_", ":"): [{"rps": value} if value else {"rps": 9, "errors": 3}]
        for name, value in rps.items()
    }


@pytest.mark.parametrize(
    "samples, given, best",
    [
        (scan(wsgid=1, a_1=1, a_4=3, a_8=2), [], ["wsgid", "a:4"]),
        (scan(a_1=1, a_4=None), [], ["a:1"]),
        (scan(a_1=None, a_4=None), [], ["a:1"]),
        (scan(a_1=1, b_2=2, b_4=1), ["a"], ["a:1", "b:2"]),
        (scan(a_1=1, a_4=3), ["a:1", "a:4"], ["a:1", "a:4"]),
        (scan(wsgid=1, wsgid_4=2), ["wsgid", "wsgid:4"], ["wsgid", "wsgid:4"]),
    ],
)
def test_a_scan_finds_the_best_number_of_threads_of_each_peer(samples, given, best):
    assert applications.fastest(samples, given) == best


def options(*arguments):
    return bench.__main__.parse(
        list(arguments), list(bench.scenarios.SCENARIOS), ["wsgid", "granian"]
    )


def test_a_peer_may_be_given_with_its_number_of_threads():
    assert options("--peers", "wsgid:4,granian").peers == ["wsgid:4", "granian"]


@pytest.mark.parametrize(
    "wrong", ["--peers=nginx", "--peers=granian:many", "--kinds=sql", "--processes=3"]
)
def test_unknown_names_are_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        options(wrong)
    assert "choose from" in capsys.readouterr().err


@pytest.fixture
def estimate(monkeypatch):
    """Minutes that a run with these options takes, where every peer is installed."""
    monkeypatch.setattr(Peer, "missing", property(lambda self: self.name == "other"))

    def minutes(*arguments):
        scenarios, peers = bench.scenarios.SCENARIOS, [*PEERS, bench.loop.NAME]
        found = bench.__main__.make(
            bench.__main__.parse(list(arguments), list(scenarios), peers), None
        )
        return bench.estimate.estimate(found, list(scenarios.values())) / 60

    return minutes


def test_all_of_it_takes_an_hour_at_most(estimate):
    assert estimate("--short") < 6 < estimate() < 60


def test_more_rounds_take_longer_and_fewer_points_do_not(estimate):
    assert estimate("--rounds", "1") < estimate("--rounds", "2")
    assert estimate("--kinds", "json") < estimate()
    assert estimate("--peers", "wsgid,granian:4") < estimate("--peers", "wsgid,granian")


POINT = Point("flask", "postgresql", "query", 1, 16)
SAMPLES = {
    "wsgid": [{"rps": 900, "p99_us": 2000, "cpu_us": 300, "switches": 4}],
    "granian:4": [
        {
            "rps": 600,
            "p99_us": 4000,
            "cpu_us": 400,
            "cpu_httpd_us": 100,
            "cpu_application_us": 250,
            "cpu_database_us": 50,
        }
    ],
    "uwsgi:2": [{"rps": 800, "p99_us": 1000, "errors": 1}],
    "loop:2": [{"rps": 1800}],
}


def test_a_setup_is_a_table_with_a_column_for_each_server():
    def find(scenario, point):
        return SAMPLES if (scenario, point) == ("real", POINT.name) else {}

    throughput, latency, spent, switches = bench.summary.tables("real", find)
    assert throughput.title == "Flask on PostgreSQL, 1 process: requests/s"
    head, row = throughput.rows
    assert dict(zip(head, row)) == {
        "": "one query, 16 connections",
        "mod_wsgid": "900",
        "uWSGI": "800 [2]!",
        "granian": "600 [4]",
        "bare loop": "1,800 [2]",
        "ours/best": "1.50",
        "ours/bare loop": "0.50",
        "spread": "0%",
    }
    assert dict(zip(*latency.rows))["ours/lowest p99"] == "0.50"
    assert dict(zip(*latency.rows))["mod_wsgid"] == "-, 2.00, -"
    assert dict(zip(*spent.rows))["granian"] == "400 (100 + 250 + 50.0) [4]"
    assert dict(zip(*switches.rows))["mod_wsgid"] == "4.00 (- + - + -)"
    brief = [table.title for table in bench.summary.tables("real", find, brief=True)]
    assert brief == [throughput.title, "Flask on PostgreSQL, 1 process: p99 in ms"]


# -------- what is spent


def test_switches_of_threads_that_started_in_the_meantime_count():
    begin, end = threading.Event(), threading.Event()

    def work():
        begin.set()
        end.wait()

    thread = threading.Thread(target=work)
    with bench.cost.metered(application=lambda: [os.getpid()], nobody=list) as spent:
        thread.start()
        begin.wait()
        # Its end would take its count away.
        while not waits(thread.native_id):
            pass
    end.set()
    thread.join()
    figures = spent.per_request(1)
    assert figures["switches"] == figures["switches_application"] >= 1
    assert figures["switches_nobody"] == figures["cpu_nobody_us"] == 0
    assert spent.per_request(0) == {}


def waits(task):
    """Whether a thread of this process sleeps, so that it has switched once."""
    stat = Path(f"/proc/self/task/{task}/stat").read_text()
    return stat[stat.rindex(")") + 2] == "S"


# -------- the applications themselves


@contextlib.contextmanager
def looping(directory, script):
    """apps/loop.py: give it an order, get its figures."""
    command = [sys.executable, "loop.py", script]
    with subprocess.Popen(
        command, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"

        def run(kind, body, threads=2):
            order = {
                "method": kind.method,
                "path": kind.path,
                "content_type": kind.content_type,
                "body": body,
                "threads": threads,
                "seconds": 0.05,
            }
            print(json.dumps(order), file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())

        yield run
        process.stdin.close()


@pytest.fixture(scope="module")
def apps(tmp_path_factory):
    """The applications with a database in SQLite and the service that one of them calls."""
    directory = tmp_path_factory.mktemp("bench") / "apps"
    shutil.copytree(CHECKOUT / "bench" / "apps", directory)
    with bench.databases.service(directory) as port:
        settings = {
            "sqlite": str(bench.databases.make_sqlite(directory / "sqlite")),
            "service": f"http://127.0.0.1:{port}/",
        }
        (directory / "settings.json").write_text(json.dumps(settings))
        yield directory


@pytest.mark.parametrize("framework", ["flask", "django"])
def test_every_view_answers(apps, framework):
    """The loop ends at an answer from 400 on, so figures without errors are proof."""
    with looping(apps, f"{framework}_sqlite") as run:
        for kind in KINDS.values():
            body = apps / kind.name
            body.write_bytes(kind.body)
            found = run(kind, str(body) if kind.body else "")
            assert (found["errors"], found["requests"] > 0) == (0, True), kind.name


def test_a_view_that_fails_is_an_error(tmp_path):
    shutil.copy(CHECKOUT / "bench" / "apps" / "loop.py", tmp_path)
    (tmp_path / "failing.py").write_text(
        "answers = iter(['200 OK'] * 2)\n"
        "def application(environ, start_response):\n"
        "    start_response(next(answers, '500 No'), [])\n"
        "    return []\n"
    )
    with looping(tmp_path, "failing") as run:
        found = run(KINDS["json"], "", threads=1)
    assert found["errors"] == 1


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


def test_clients_arrive_at_their_rate_and_independently_of_each_other():
    times = list(bench.arrivals.evenly_random(300, 60))
    assert len(times) == pytest.approx(60 * 300, rel=0.05)
    assert times == sorted(times) and times[-1] < 60
    gaps = [after - before for before, after in zip(times, times[1:])]
    assert sum(gap < 1 / 300 for gap in gaps) / len(gaps) == pytest.approx(0.632, abs=0.02)
    assert times == list(bench.arrivals.evenly_random(300, 60))


def test_clients_do_not_wait_for_each_other_and_keep_their_answers():
    """The server answers when all of them have come."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connections = [listener.accept()[0] for _ in range(5)]
            for status, connection in zip((200, 503, 200, 200), connections):
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 %d Some\r\n\r\n" % status)
            for connection in connections:
                connection.close()

        server = threading.Thread(target=serve)
        server.start()
        port = listener.getsockname()[1]
        found = bench.arrivals.Arrivals(port, "/").run(bench.arrivals.at_once(5))
        server.join()
    assert sorted(client.status for client in found) == [0, 200, 200, 200, 503]
    assert all(client.took >= 0 for client in found)


def test_of_an_overload_the_beginning_is_shown_apart():
    def client(arrived, took, status):
        return bench.arrivals.Client(arrived, arrived + took, status)

    found = [
        *(client(second / 10, 3, 200) for second in range(100)),  # up to the tenth second
        *(client(10 + second / 10, 0.05, 200) for second in range(100)),
        *(client(10 + second / 10, 0.1, 503) for second in range(50)),
        client(19, 30, 0),
    ]
    figures = bench.overload.summarize(found, 20, 20)
    assert figures["first_p99_ms"] == pytest.approx(3000)
    assert figures["overloaded_p99_ms"] == pytest.approx(50)
    assert figures["refused"] == 5
    assert figures["refused_ms"] == figures["refused_p99_ms"] == pytest.approx(100)
    # Answers that came then, to clients that arrived before: 30 of them.
    assert figures["rps"] == pytest.approx(13, abs=0.2)
    assert figures["share"] == pytest.approx(13 / 20, abs=0.01)
    assert figures["others"] == pytest.approx(100 / 151)
