"""Long waits use no CPU beyond one sleep, although short waits spin (apxs/common/spin.c)."""

from __future__ import annotations

import os
import re
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from httpdenv import HeldRequests, http2, machine, processes
from httpdenv.client import request

HELD = 8  # requests, and also clients
WATCHED = 1.5  # seconds
LITTLE = 0.3  # seconds of CPU, for all processes: the application polls for its file
LAST = 80  # requests; a connection takes 100
NAP = "/?sleep=0.005&"  # longer than any spinning
ONE_SLEEP = 1.5  # for each request, plus a few while connections are set up
CONFIGURATION = """
WSGIScriptAlias /gate ${APPS}/gate.wsgi
WSGIScriptAlias / ${APPS}/hello.wsgi
"""
TURNS = "sixteen letters."
PAUSED = """
Protocols h2c http/1.1
WSGIScriptAlias / ${APPS}/turns.wsgi
WSGIChunkedRequest On
"""
# Since this version, a pipe in httpd announces further data of an upload over HTTP/2.
PIPES_SINCE = (2, 4, 58)
FEW_SLEEPS = 50  # for each upload while it is watched
ONE_AT_A_TIME = """
WSGIDaemonProcess app threads=1
WSGIProcessName app
WSGIScriptAlias / ${APPS}/executions.wsgi
"""


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION)


def used(httpd) -> float:
    """Seconds of CPU that httpd and its daemons have used so far."""
    family = [p for p in (processes.find(httpd.pid), *processes.descendants(httpd.pid)) if p]
    return sum(processes.cpu_ticks(p.pid) for p in family) / os.sysconf("SC_CLK_TCK")


def used_while_watched(httpd) -> float:
    before = used(httpd)
    time.sleep(WATCHED)
    return used(httpd) - before


def test_requests_that_wait_for_their_answers_use_no_cpu(httpd):
    gate = HeldRequests(httpd, "/gate", "spin", HELD)
    spent = used_while_watched(httpd)
    assert len(gate.release()) == HELD
    assert spent < LITTLE


def test_idle_connections_and_idle_daemons_use_no_cpu(httpd):
    with ExitStack() as stack:
        for wire in [stack.enter_context(httpd.wire()) for _ in range(HELD)]:
            for _ in range(20):
                wire.send(request("GET", "/"))
                assert wire.read_response().status == 200
        assert used_while_watched(httpd) < LITTLE


def sleeps(pid: int) -> int:
    """How often the threads of a process have gone to sleep so far."""
    name = "voluntary_ctxt_switches:"
    texts = [path.read_text("latin-1") for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return sum(
        int(line.split()[1])
        for text in texts
        for line in text.splitlines()
        if line.startswith(name)
    )


def test_a_thread_that_waits_for_its_answer_is_woken_only_by_it(make_httpd):
    """In particular, it does not wake up when the busy daemon reads the request. All requests are
    sent at once, so no thread waits for a client.
    """
    httpd = make_httpd(ONE_AT_A_TIME)
    with httpd.wire() as one, httpd.wire() as other:
        before = sum(sleeps(pid) for pid in httpd.children())
        for wire in (one, other):
            wire.send(request("GET", NAP) * LAST)
        for wire in (one, other):
            for _ in range(LAST):
                assert wire.read_response().status == 200
        slept = sum(sleeps(pid) for pid in httpd.children()) - before
    assert slept < 2 * LAST * ONE_SLEEP


def httpd_version() -> tuple[int, ...]:
    output = subprocess.run(
        [machine.httpd(), "-v"], check=True, capture_output=True, text=True
    ).stdout
    return tuple(int(number) for number in re.search(r"Apache/([\d.]+)", output)[1].split("."))


@pytest.mark.skipif(
    httpd_version() < PIPES_SINCE, reason="this httpd does not announce further data"
)
def test_paused_uploads_over_http2_use_no_cpu_and_continue_at_once(make_httpd):
    """Nobody polls for their next piece, yet it arrives at once, and so does their end."""
    httpd = make_httpd(PAUSED, modules=["http2"])
    with ExitStack() as stack:
        uploads = [http2.Exchange(httpd.ports["PORT"]) for _ in range(HELD)]
        for upload in uploads:
            stack.enter_context(upload.socket)
            upload.begin("POST", "/", [])
            answer_to(upload, TURNS)
        before = sum(sleeps(pid) for pid in httpd.children())
        time.sleep(WATCHED)
        assert sum(sleeps(pid) for pid in httpd.children()) - before < HELD * FEW_SLEEPS
        for upload in uploads:
            answer_to(upload, TURNS)
            upload.connection.end_stream(upload.stream)
            upload.flush()
            while not upload.answer.is_over:
                upload.take()
            assert upload.answer.body == 2 * TURNS.upper().encode()


def answer_to(upload: http2.Exchange, piece: str) -> None:
    """Sends a piece and waits for the application's answer to it."""
    wanted = upload.answer.body + piece.upper().encode()
    upload.connection.send_data(upload.stream, piece.encode())
    upload.flush()
    while upload.answer.body != wanted:
        upload.take()
