"""Slowness: clients that read slowly or not at all, clients that stop sending, applications that
send nothing.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time

import pytest
from httpdenv import Crowd
from httpdenv.client import request
from httpdenv.versions import EVERY_WAY, HOSTS, MODULES, CurlThatLeaves, run_curl

CONFIGURATION = (
    """
WSGIDaemonProcess slow threads=1
WSGIDaemonProcess small threads=1 send-timeout=1 response-buffer-size=65536 response-spool-size=0
WSGIDaemonProcess steady threads=1 socket-timeout=1 response-buffer-size=65536 response-spool-size=0
WSGIDaemonProcess silent threads=1 socket-timeout=1
WSGIScriptAlias /slow ${APPS}/volume.wsgi process-name=slow
WSGIScriptAlias /small ${APPS}/volume.wsgi process-name=small
WSGIScriptAlias /small-hello ${APPS}/hello.wsgi process-name=small
WSGIScriptAlias /steady ${APPS}/volume.wsgi process-name=steady
WSGIScriptAlias /slow-hello ${APPS}/hello.wsgi process-name=slow
WSGIScriptAlias /silent ${APPS}/gate.wsgi process-name=silent
WSGIScriptAlias /silent-streaming ${APPS}/streaming.wsgi process-name=silent
WSGIScriptAlias /silent-leaving ${APPS}/leaving.wsgi process-name=silent
WSGIScriptAlias /silent-hello ${APPS}/hello.wsgi process-name=silent
"""
    + HOSTS
)
MB = 1 << 20
WITHIN = 3.0  # limit for what takes one second


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION, modules=MODULES)


def narrow(httpd) -> socket.socket:
    """A connection with a small receive buffer. (With an even smaller one, a window below the
    segment size may make TCP send only every 200 ms.)
    """
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    client.settimeout(20)
    client.connect(("127.0.0.1", httpd.ports["PORT"]))
    return client


def read_all(client: socket.socket) -> bytes:
    pieces = []
    while piece := client.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


# ---- slow readers


@pytest.mark.parametrize("kind", ["generator", "object"])
def test_a_slow_reader_does_not_hold_the_daemons_thread(httpd, kind):
    """The group's only thread answers others while a client leaves 6 MB unread; in the end the
    client has everything.
    """
    with narrow(httpd) as client:
        client.sendall(request("GET", f"/slow/{kind}?6", "Connection: close"))
        assert client.recv(12) == b"HTTP/1.1 200"
        for _ in range(5):
            assert httpd.get("/slow-hello", timeout=WITHIN).status_code == 200
        rest = read_all(client)
    assert rest.count(kind[:1].encode()) >= 6 * MB
    assert kind == "object" or rest.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("over", EVERY_WAY)
def test_a_slow_curl_does_not_hold_the_daemons_thread(httpd, over):
    with CurlThatLeaves(httpd, over, "/slow/generator?6", "--limit-rate", "50k") as client:
        assert client.read(1000)
        client.freeze()
        assert httpd.get("/slow-hello", timeout=WITHIN).status_code == 200


@pytest.mark.parametrize("over", EVERY_WAY)
def test_a_client_that_reads_nothing_holds_the_thread_no_longer_than_send_timeout(httpd, over):
    """The body exceeds all buffers: after send-timeout httpd gives the client up and logs it."""
    with httpd.log.allows(r"WSGID\d{4}.*send-timeout", r"WSGID\d{4}", "Traceback"):
        with CurlThatLeaves(httpd, over, "/small/generator?64", "--limit-rate", "10k") as client:
            assert client.read(1000)
            client.freeze()
            began = time.monotonic()
            assert httpd.get("/small-hello", timeout=10).status_code == 200
            assert time.monotonic() - began < WITHIN + 1


def test_a_response_cut_off_by_send_timeout_is_visibly_incomplete(httpd):
    since = httpd.log.mark()
    with httpd.log.allows(r"WSGID\d{4}", "Traceback"), narrow(httpd) as client:
        client.sendall(request("GET", "/small/generator?64", "Connection: close"))
        httpd.log.wait_for(r"WSGID\d{4}.*send-timeout", since, WITHIN + 1)
        rest = read_all(client)
    assert len(rest) < 64 * MB
    assert not rest.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("over", EVERY_WAY)
def test_send_timeout_limits_the_total_time_that_a_trickling_reader_holds_the_thread(httpd, over):
    """The client keeps reading but would take minutes: the limit does not start again with each
    piece. httpd logs that the client was given up, not that the daemon died.
    """
    since = httpd.log.mark()
    with (
        httpd.log.allows("WSGID0326", "AH0"),
        CurlThatLeaves(httpd, over, "/small/generator?64") as client,
    ):
        assert client.read(1000)
        with Trickle(client):
            began = time.monotonic()
            assert httpd.get("/small-hello", timeout=10).status_code == 200
            assert time.monotonic() - began < WITHIN + 1
        httpd.log.wait_for("WSGID0326.*generator.*send-timeout", since)
        while client.read(MB):
            pass
        record = httpd.log.wait_for("WSGID0177", since)
    assert record.level == "info"
    assert "group 'small'" in record.text
    assert not httpd.log.find("WSGID0166", since)


def test_a_daemon_that_dies_while_a_slow_client_blocks_it_is_logged_as_dead(httpd):
    pid = httpd.wait_for_daemons("slow", 1)
    with httpd.log.expects("WSGID0166.*slow", f"WSGID005\\d.*{pid[0]}"), narrow(httpd) as client:
        client.sendall(request("GET", "/slow/generator?64", "Connection: close"))
        assert client.recv(12) == b"HTTP/1.1 200"
        os.kill(pid[0], signal.SIGKILL)
        assert not read_all(client).endswith(b"\r\n0\r\n\r\n")
    httpd.wait_for_daemons("slow", 1, without=pid)


def test_without_send_timeout_a_client_that_reads_slowly_but_steadily_is_not_given_up(httpd):
    """The time between two reads is below socket-timeout, the total far above it."""
    with narrow(httpd) as client:
        client.sendall(request("GET", "/steady/generator?1", "Connection: close"))
        began, total = time.monotonic(), 0
        while piece := client.recv(64 * 1024):
            total += len(piece)
            if time.monotonic() - began < 2.5:
                httpd_waits(0.05)
        assert total > MB


class Trickle:
    """Reads a little of a curl's output at intervals, over the `with` block: some 800 kB a
    second.
    """

    def __init__(self, client: CurlThatLeaves) -> None:
        self._client, self._end = client, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._end.wait(0.02):
            self._client.read(16384)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def httpd_waits(seconds: float) -> None:
    """Waits because the client is slow: this pause is the subject of the test, not a wait for an
    event.
    """
    time.sleep(seconds)


# ---- silence


def test_no_answer_within_socket_timeout_is_a_504_and_the_line_names_group_process_and_time(httpd):
    gate = httpd.files / "silent"
    pid = httpd.wait_for_daemons("silent", 1)[0]
    with httpd.log.expects("WSGID0167.*silent") as lines:
        answer = httpd.get(f"/silent{gate}?silent")
    gate.touch()
    assert answer.status_code == 504
    assert 0.9 < answer.elapsed.total_seconds() < WITHIN
    text = lines[0].text
    assert "group 'silent'" in text
    assert re.search(r"after 1\d\d\d ms", text)
    assert str(pid) in text.partition("WSGID0167")[2], "the process is not named"


def test_silence_in_the_middle_of_a_response_cuts_it_off(httpd):
    """The second block never comes. The status has already been sent, so the client must see the
    failure some other way.
    """
    with httpd.log.expects("WSGID0167.*silent"), httpd.log.allows("WSGID03"):
        done = run_curl(httpd, "http/1.1", f"/silent-streaming{httpd.files}/never?2")
    assert (done.status, done.body) == (200, b"block 0\n")
    assert done.code == 18
    assert done.seconds < WITHIN
    (httpd.files / "never").write_text("1\n2\n")


def test_a_client_that_stops_sending_holds_the_daemons_thread_no_longer_than_socket_timeout(httpd):
    """The body is longer than what httpd reads ahead. Both the application and the client learn of
    the failure.
    """
    since = httpd.log.mark()
    with httpd.log.allows(r"WSGID\d{4}", "Traceback", "AH0"), httpd.wire(timeout=WITHIN) as wire:
        began = time.monotonic()
        wire.send(
            request("POST", "/silent-leaving/upload?stalled", "Content-Length: 1000000")
            + b"x" * 100_000
        )
        line = httpd.log.wait_for("lost stalled", since, WITHIN)
        assert "OSError" in line.text
        assert httpd.get("/silent-hello", timeout=WITHIN).status_code == 200
        response = wire.read_response()
        assert response.status >= 400
        assert time.monotonic() - began < 2 * WITHIN


def test_a_stopped_process_is_a_504(httpd):
    """A signal stops the process: requests fit into its socket, but nobody reads them."""
    pid = httpd.wait_for_daemons("silent", 1)[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        with httpd.log.expects("WSGID0167.*silent"):
            answer = httpd.post("/silent-hello", b"x" * 60_000)
        assert answer.status_code == 504
        assert 0.9 < answer.elapsed.total_seconds() < WITHIN
    finally:
        os.kill(pid, signal.SIGCONT)
    assert httpd.get("/silent-hello", timeout=WITHIN).status_code == 200


def test_other_requests_are_answered_while_one_is_awaited(httpd):
    """The silence of one application affects no other."""
    gate = httpd.files / "awaited"
    with httpd.log.expects("WSGID0167.*silent"):
        crowd = Crowd(httpd, f"/silent{gate}?awaited")
        assert httpd.get("/slow-hello", timeout=WITHIN).status_code == 200
        crowd.join()
    gate.touch()
    assert [answer.status_code for answer in crowd.answers] == [504]
