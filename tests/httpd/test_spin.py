"""Waits that last cost no processor, though short ones are waited for awake (apxs/spin.c)."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack

import pytest
from httpdenv import AtTheGate, processes
from httpdenv.client import request

HELD = 8  # requests, and clients
WATCHED = 1.5  # seconds
LITTLE = 0.3  # of these, for all processes together: the gate looks for its file all the time
CONFIGURATION = """
WSGIScriptAlias /gate ${APPS}/gate.wsgi
WSGIScriptAlias / ${APPS}/hello.wsgi
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


def test_requests_that_wait_for_their_answers(httpd):
    gate = AtTheGate(httpd, "/gate", "spin", HELD)
    spent = used_while_watched(httpd)
    assert len(gate.open()) == HELD
    assert spent < LITTLE


def test_connections_that_wait_for_their_clients_and_a_daemon_for_requests(httpd):
    with ExitStack() as stack:
        for wire in [stack.enter_context(httpd.wire()) for _ in range(HELD)]:
            for _ in range(20):
                wire.send(request("GET", "/"))
                assert wire.read_response().status == 200
        assert used_while_watched(httpd) < LITTLE
