"""The daemon's statistics page: counts, times, and the request of each thread."""

from __future__ import annotations

import sys
import time

import pytest
from daemonenv import Daemon, wait_until

from pywsgid.wire import process_abi, protocol

SLEEPING = """
import time
def application(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"]))
    start_response("200 OK", [])
    return [b"slept"]
"""
WAITING = """
import os, time
def application(environ, start_response):
    while not os.path.exists(environ["QUERY_STRING"]):
        time.sleep(0.05)
    start_response("200 OK", [])
    return [b"waited"]
"""
RAISING = """
def application(environ, start_response):
    raise ValueError("on purpose")
"""
ITS_OWN = """
def application(environ, start_response):
    start_response("500 Its own", [])
    return [b"page"]
"""
BREAKING = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    yield b"abc"
"""


def at_rest(daemon, requests):
    """Returns the statistics once `requests` requests are finished: the end of the last one is
    counted after its response has been sent.
    """
    wait_until(
        lambda: daemon.counts() == (requests, requests), f"{requests} requests: {daemon.counts()}"
    )
    return daemon.statistics()


def bucket_of(microseconds):
    """The index of the bucket that counts a time, unless that is the last bucket."""
    return (microseconds // process_abi.PAGE_FIRST).bit_length()


def test_the_page_identifies_the_process(tmp_path):
    before = time.time_ns() // 1000
    with Daemon(tmp_path, threads=4) as daemon:
        page = daemon.statistics()
    assert (page.version, page.threads, page.at_once) == (process_abi.PAGE_VERSION, 4, 1)
    assert page.python == sys.version.split()[0]
    assert before <= page.since <= time.time_ns() // 1000


def test_times_are_summed_and_sorted_into_histograms(tmp_path, write):
    script = write(SLEEPING)
    with Daemon(tmp_path) as daemon:
        for waited, slept in ((0, "0"), (300_000, "0.1"), (300_000, "0.1")):
            assert (
                daemon.get(script, QUERY_STRING=slept, sent=time.time_ns() // 1000 - waited).status
                == "200 OK"
            )
        page = at_rest(daemon, 3)
    assert 600_000 <= page.queue_time < 5_000_000
    assert 200_000 <= page.application_time < 5_000_000
    for times, long in ((page.queue_times, 300_000), (page.application_times, 100_000)):
        assert sum(times) == 3
        assert sum(times[: bucket_of(long)]) == 1, "one took less than the other two"


def test_a_clock_that_was_set_back_counts_as_zero(tmp_path):
    with Daemon(tmp_path) as daemon:
        daemon.get("hello.wsgi", sent=time.time_ns() // 1000 + 100_000_000)
        page = at_rest(daemon, 1)
    assert (page.queue_time, page.queue_times) == (0, [1] + [0] * (process_abi.PAGE_BUCKETS - 1))


@pytest.mark.parametrize(("waited", "bucket"), [(70_000_000, 22), (140_000_000, 23), (10**12, 23)])
def test_the_last_bucket_counts_all_longer_times(tmp_path, waited, bucket):
    with Daemon(tmp_path) as daemon:
        daemon.get("hello.wsgi", sent=time.time_ns() // 1000 - waited)
        page = at_rest(daemon, 1)
    assert page.queue_times[bucket] == sum(page.queue_times) == 1


def test_the_row_of_a_thread_shows_its_request(tmp_path, write):
    script = write(SLEEPING)
    with Daemon(tmp_path, threads=1) as daemon:
        assert daemon.row(0) == (0, 0, b"")
        daemon.get(script, QUERY_STRING="0", PATH_INFO="/first")
        at_rest(daemon, 1)
        assert daemon.row(0) == (0, 1, b"GET /first")
        client = daemon.connect()
        before = time.time_ns() // 1000
        client.request(script, b"x", QUERY_STRING="0.5", REQUEST_URI="/s")
        wait_until(lambda: daemon.row(0)[0], "the thread to have it")
        since, requests, line = daemon.row(0)
        assert (before <= since <= time.time_ns() // 1000, requests, line) == (True, 2, b"POST /s")
        assert client.reply().body == b"slept"
        at_rest(daemon, 2)
        assert daemon.row(0) == (0, 2, b"POST /s"), "its last request"
        assert daemon.row(1) == (0, 0, b"")
        client.close()


def test_each_thread_has_a_row_as_long_as_the_page_has_room(tmp_path, write):
    gate = tmp_path / "gate"
    script = write(WAITING)
    rows = (process_abi.PAGE_SIZE - process_abi.PAGE_ROWS) // process_abi.PAGE_ROW_SIZE
    with Daemon(tmp_path, threads=rows + 10) as daemon:
        clients = []
        for number in range(rows + 5):
            clients.append(daemon.connect())
            clients[-1].request(script, QUERY_STRING=str(gate), PATH_INFO=f"/{number}")
            wait_until(lambda: daemon.counts()[0] == len(clients), "it to be read")
        found = [row for row in map(daemon.row, range(rows)) if row[0]]
        gate.touch()
        for client in clients:
            assert client.reply().body == b"waited"
            client.close()
        assert at_rest(daemon, rows + 5).threads == rows + 10
    assert rows + 5 - 10 <= len(found) <= rows, (
        "all ran at once, at most ten of them in threads without a row"
    )
    assert {requests for _, requests, _ in found} == {1}
    assert len({line for _, _, line in found}) == len(found)


def test_a_long_line_is_cut_and_a_shorter_one_replaces_all_of_it(tmp_path):
    with Daemon(tmp_path, threads=1) as daemon:
        daemon.get("hello.wsgi", REQUEST_URI="/" + "x" * 5000)
        at_rest(daemon, 1)
        assert daemon.row(0)[2] == b"GET /" + b"x" * (process_abi.PAGE_LINE - 1 - 5)
        daemon.get("hello.wsgi", REQUEST_URI="/y")
        at_rest(daemon, 2)
        assert daemon.row(0)[2] == b"GET /y"


def test_a_line_at_a_wrong_offset_is_not_shown(tmp_path):
    block = protocol.encode_environ({"SCRIPT_FILENAME": "", "REQUEST_URI": "/secret"})
    with Daemon(tmp_path, threads=1) as daemon:
        for requests, line in enumerate((0, 5, len(block), 2**32 - 1), 1):
            client = daemon.connect()
            client.send(
                *protocol.encode_request(1, block, b"", protocol.END, time.time_ns() // 1000, line)
            )
            assert client.reply().abort[0] == 500
            client.close()
            at_rest(daemon, requests)
            assert daemon.row(0) == (0, requests, b"")


def test_a_request_that_was_not_started_is_not_measured(tmp_path):
    with Daemon(tmp_path, threads=1, queue_timeout=1) as daemon:
        assert daemon.get("hello.wsgi", sent=time.time_ns() // 1000 - 3_000_000).abort[0] == 503
        assert daemon.get("hello.wsgi", PATH_INFO="/run").status == "200 OK"
        page = at_rest(daemon, 1)
        assert daemon.row(0) == (0, 1, b"GET /run")
    assert (page.errors, sum(page.queue_times), sum(page.application_times)) == (1, 1, 1)
    assert page.queue_time < 3_000_000


def test_requests_answered_with_our_own_error_are_counted_as_errors(tmp_path, write):
    with Daemon(tmp_path) as daemon:
        assert daemon.get(write(ITS_OWN, "its_own.wsgi")).status == "500 Its own"
        assert daemon.statistics().errors == 0
        answers = [
            (write(RAISING, "raising.wsgi"), "WSGID0340"),
            (write("import nothing_of_the_kind", "unimportable.wsgi"), "WSGID0332"),
            (write(BREAKING, "breaking.wsgi"), "WSGID0343"),
            (tmp_path / "missing.wsgi", "WSGID0330"),
        ]
        for number, (script, code) in enumerate(answers, 1):
            assert daemon.get(script).abort[1].startswith(code)
            assert daemon.statistics().errors == number


def test_a_request_that_is_cut_off_is_an_error(tmp_path, write):
    script = write(SLEEPING)
    with Daemon(tmp_path, request_timeout=0.2, interrupt_timeout=0, graceful_timeout=1) as daemon:
        assert daemon.get(script, QUERY_STRING="3").abort[0] == 504
        wait_until(lambda: daemon.statistics().errors == 1, "an error")
        assert daemon.row(0)[0] or daemon.row(1)[0] or daemon.row(2)[0], "its thread still runs it"


def test_a_child_forked_by_the_application_counts_nothing(tmp_path, write):
    script = write(
        "import os\ndef application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    child = os.fork()\n    if not child:\n        raise SystemExit\n"
        "    os.waitpid(child, 0)\n    return [b'ran']\n"
    )
    with Daemon(tmp_path, threads=1) as daemon:
        assert daemon.get(script).body == b"ran"
        page = at_rest(daemon, 1)
    assert (page.started, sum(page.queue_times), sum(page.application_times), page.errors) == (
        1,
        1,
        1,
        0,
    )
