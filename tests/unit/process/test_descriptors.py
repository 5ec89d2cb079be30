"""A process that runs out of descriptors: when it asks to be replaced, and that it goes on until
then. The test plays the part of httpd. tests/apps/leaks.wsgi limits the process to 64.
"""

from __future__ import annotations

import signal
import socket

import pytest
from daemonenv import APPS, Daemon, HeldRequest, wait_until
from httpdenv import processes

from pywsgid.wire import process_abi

SCRIPT = "leaks.wsgi"
LIMIT = 64


def lines(daemon):
    return [line for line in daemon.log_text().splitlines() if "WSGID0322" in line]


def exhaust(daemon):
    """Takes every descriptor that is left, and waits for the request for a replacement."""
    assert daemon.get(SCRIPT, QUERY_STRING="all").complete
    wait_until(
        lambda: daemon.get(SCRIPT).complete and daemon.replacement_requests()[0],
        "the request for a replacement",
    )
    daemon.wait_for_replacement_request(process_abi.REPLACE_DESCRIPTORS)


def sleeps(pid):
    """How often the main thread of a process has gone to sleep."""
    return int(processes.status(pid)["voluntary_ctxt_switches"])


def test_it_asks_while_some_are_left(tmp_path, write):
    limit = 1024  # of which it may take a while to use an eighth
    text = (APPS / SCRIPT).read_text().replace(f"({LIMIT}, {LIMIT})", f"({limit}, {limit})")
    script = write(text)
    with Daemon(tmp_path, scripts=[script]) as daemon:
        client = daemon.connect()
        while not lines(daemon):
            assert client.get(script, QUERY_STRING="1").complete
        daemon.wait_for_replacement_request(process_abi.REPLACE_DESCRIPTORS)
        assert limit * 3 / 4 < len(processes.descriptors(daemon.pid)) < limit
        (line,) = lines(daemon)
        assert "[wsgid:error]" in line
        assert f"it may have {limit}, and 1 of them are connections from httpd" in line
        assert "most of all lead to /dev/null, " in line
        assert "WSGID0350" in daemon.log_text()


def test_it_asks_again_after_a_refusal_without_another_line(tmp_path):
    with Daemon(tmp_path, scripts=[SCRIPT]) as daemon:
        exhaust(daemon)
        daemon.refuse_replacement()
        daemon.wait_for_replacement_request(process_abi.REPLACE_DESCRIPTORS, 2)
        assert len(lines(daemon)) == 1


def test_without_any_left_each_connection_takes_the_place_of_an_idle_one(tmp_path):
    with Daemon(tmp_path, scripts=[SCRIPT], threads=1) as daemon:
        idle = [daemon.connect() for _ in range(3)]
        assert all(client.get(SCRIPT).complete for client in idle)
        exhaust(daemon)
        for _ in range(3):
            assert daemon.connect().get(SCRIPT).complete
        assert any(client.is_closed() for client in idle)
        assert len(lines(daemon)) == 1


def test_connections_that_do_not_fit_wait_until_others_end(tmp_path):
    """Then the limit is too low for httpd, and a replacement would be of no use."""
    with Daemon(tmp_path, scripts=[SCRIPT], threads=1) as daemon:
        held = HeldRequest(daemon, tmp_path)
        clients = [daemon.connect() for _ in range(80)]
        for client in clients:
            client.request(SCRIPT)
        assert held.release().complete
        assert all(client.reply().complete for client in clients)
        assert daemon.replacement_requests()[0] == 0
        (line,) = lines(daemon)
        assert f"no file descriptor left: it may have {LIMIT}" in line


def test_an_administrator_who_cannot_be_answered_costs_nothing(tmp_path):
    with Daemon(tmp_path, scripts=[SCRIPT]) as daemon:
        exhaust(daemon)
        client = daemon.connect()  # has what is left
        assert client.get(SCRIPT, QUERY_STRING="all").complete
        with socket.socket(socket.AF_UNIX) as question:
            question.connect(daemon.control_path)
            before = sleeps(daemon.pid)
            daemon.refuse_replacement()
            daemon.wait_for_replacement_request(process_abi.REPLACE_DESCRIPTORS, 2)  # after 1 s
            assert sleeps(daemon.pid) - before >= 5, "it tries without a pause"
            question.setblocking(False)
            with pytest.raises(BlockingIOError):
                question.recv(1)


def test_a_failure_still_gets_an_answer_and_the_process_survives_a_question_for_stacks(
    tmp_path, write
):
    script = write("def application(environ, start_response): raise KeyError(1)")
    with Daemon(tmp_path, scripts=[SCRIPT, script]) as daemon:
        exhaust(daemon)
        client = daemon.connect()  # has what is left
        assert client.get(SCRIPT, QUERY_STRING="all").complete
        daemon.signal(signal.SIGUSR2)
        reply = client.get(script)
        assert reply.abort[0] == 500, daemon.log_text()
        assert "KeyError" in reply.log_text
        assert daemon.get(SCRIPT).complete


def test_its_drain_ends_in_time(tmp_path):
    with Daemon(tmp_path, scripts=[SCRIPT], graceful_timeout=1) as daemon:
        held = HeldRequest(daemon, tmp_path)
        exhaust(daemon)
        daemon.close_lifeline_with_byte()
        assert daemon.wait() == 0
        assert "WSGID0312" in daemon.log_text()
        held.client.close()


def test_a_child_forked_by_the_application_reports_nothing(tmp_path, write):
    script = write(
        "import os\ndef application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    child = os.fork()\n    if not child:\n        raise SystemExit\n"
        "    os.waitpid(child, 0)\n    return [b'ran']\n"
    )
    with Daemon(tmp_path) as daemon:
        for _ in range(3):
            assert daemon.get(script).body == b"ran"
        assert not lines(daemon)
