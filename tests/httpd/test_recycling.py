"""Planned replacement of processes: each reason, one at a time, without a lost request."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from httpdenv import Load, wait_until

CONFIGURATION = """
WSGIDaemonProcess requests processes=2 threads=4 maximum-requests=50 maximum-requests-jitter=20
WSGIDaemonProcess interval restart-interval=1
WSGIDaemonProcess inactivity inactivity-timeout=1
WSGIDaemonProcess memory maximum-rss=100M reload=off
MaxKeepAliveRequests 0
SetEnv EXECUTIONS /dev/null
WSGIScriptAlias /requests ${APPS}/executions.wsgi process-name=requests
WSGIScriptAlias /interval ${APPS}/executions.wsgi process-name=interval
WSGIScriptAlias /inactivity ${APPS}/executions.wsgi process-name=inactivity
WSGIScriptAlias /memory ${APPS}/grows.wsgi process-name=memory
"""


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION)


def wait_for_replacement(httpd, group, reason):
    """Waits for the line with the reason and for the process that replaces the one that wrote
    it.
    """
    (record, *_) = wait_until(
        lambda: httpd.log.find(f"WSGID0350: group '{group}'"), "its replacement request"
    )
    assert (record.level, f"({reason}" in record.text) == ("info", True), record.text
    wait_until(lambda: record.pid not in httpd.daemons(group), "the process to leave")


def test_maximum_requests_under_load_loses_nothing(httpd):
    httpd.wait_for_daemons("requests", 2)
    with Load(httpd, "/requests", 8) as load:
        wait_until(
            lambda: len(httpd.log.find("WSGID0350: group 'requests'")) >= 6,
            "six replacement requests",
            30,
        )
    load.assert_nothing_lost()
    wait_for_replacement(httpd, "requests", "maximum-requests")


def test_restart_interval_replaces_a_process(httpd):
    with Load(httpd, "/interval", 2) as load:
        wait_for_replacement(httpd, "interval", "restart-interval")
    load.assert_nothing_lost()


def test_inactivity_timeout_replaces_a_process_that_has_served(httpd):
    assert httpd.get("/inactivity").status_code == 200
    wait_for_replacement(httpd, "inactivity", "inactivity-timeout")
    httpd.wait_for_daemons("inactivity", 1)
    assert httpd.get("/inactivity").status_code == 200


def sleeps(pid: int) -> int:
    """How often the main thread of a process has gone to sleep."""
    return int(
        re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]
    )


def test_maximum_rss_replaces_a_process(httpd):
    """With reload=off the main thread wakes up only to check the memory."""
    assert httpd.get("/memory?1000").status_code == 200
    (pid,) = httpd.daemons("memory")
    before = sleeps(pid)
    line = "WSGID0350: group 'memory'"
    wait_until(lambda: httpd.log.find(line) or sleeps(pid) >= before + 2, "two checks")
    assert not httpd.log.find(line)
    assert httpd.get("/memory?120000000").status_code == 200
    wait_for_replacement(httpd, "memory", "maximum-rss")
    assert httpd.get("/memory?1000").status_code == 200
