"""Requests that never end, and processes in which no thread makes progress: the effect on the
client, the log and other requests.
"""

from __future__ import annotations

import re
import time

import pytest
from httpdenv import Crowd, Load, wait_until

SCRIPT = """
import ctypes, os, time

def spin():
    end = time.monotonic() + 30
    while time.monotonic() < end:
        pass

def application(environ, start_response):
    what = environ["PATH_INFO"]
    if what == "/spin":
        spin()
    elif what == "/sleep":
        time.sleep(30)
    elif what == "/slow":
        time.sleep(0.8)
    elif what == "/keep-the-gil":
        ctypes.PyDLL(None).sleep(60)
    elif what == "/memory":
        kept = []
        while True:
            kept.append(bytearray(1 << 20))
    body = b"%s\\n%d" % (environ["QUERY_STRING"].encode(), os.getpid())
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
NAMES = ("stuck", "hard", "slow", "dead", "lean")
CONFIGURATION = """
WSGIDaemonProcess stuck threads=4 request-timeout=1 interrupt-timeout=1
WSGIDaemonProcess hard threads=4 request-timeout=1 interrupt-timeout=0
WSGIDaemonProcess slow slow-request=0.3
WSGIDaemonProcess dead deadlock-timeout=1
WSGIDaemonProcess lean threads=4 virtual-memory-limit=600M
MaxKeepAliveRequests 0
""" + "\n".join(
    f"WSGIScriptAlias /{name} ${{FILES}}/app.wsgi process-name={name}" for name in NAMES
)


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION, files={"app.wsgi": SCRIPT})


def pid_of(httpd, name):
    return int(httpd.get(f"/{name}").text.split()[-1])


def test_a_request_that_runs_python_is_interrupted_with_504(httpd):
    pid = pid_of(httpd, "stuck")
    with httpd.log.expects("WSGID0353: group 'stuck': GET /stuck/spin", "Traceback", "WSGID0358"):
        since = time.monotonic()
        answer = httpd.get("/stuck/spin")
        assert answer.status_code == 504
        assert 1 <= time.monotonic() - since < 5
    assert httpd.log.find("in spin")
    assert pid_of(httpd, "stuck") == pid, "the process continues"


@pytest.mark.parametrize("name", ["stuck", "hard"])
def test_a_request_that_waits_in_c_is_answered_and_its_process_is_replaced(httpd, name):
    pid = pid_of(httpd, name)
    with httpd.log.expects("WSGID0354", "WSGID0355"), httpd.log.allows("WSGID0353"):
        with Load(httpd, f"/{name}", 4) as load:
            assert httpd.get(f"/{name}/sleep").status_code == 504
            httpd.wait_for_daemons(name, 1, without=[pid])
            load.wait_for_more()
        load.assert_nothing_lost()
    assert httpd.log.find("WSGID0314.*GET /" + name + "/sleep")
    assert httpd.log.find(
        f"WSGID0350: group '{name}': asks to be replaced because a request is stuck"
    )


def test_a_slow_request_is_logged_and_continues(httpd):
    line = "WSGID0352: group 'slow': slow: GET /slow/slow has run for 0.3"
    with httpd.log.expects(line) as found:
        assert httpd.get("/slow/slow").status_code == 200
    assert re.search(
        r'its thread:\n  File ".*app.wsgi", line .* in application\n    time.sleep', found[0].text
    )
    assert re.match(r"\[group slow\] \[request \S+\] WSGID0352", found[0].text)


def test_a_deadlock_is_logged_and_ended_and_costs_no_other_request(httpd):
    """Nothing is read during the deadlock: new requests wait for the next process."""
    pid = pid_of(httpd, "dead")
    with httpd.log.expects(
        "WSGID0166", f"WSGID0052.*{pid}.*ended by its watchdog.*deadlock-timeout"
    ):
        stuck = Crowd(httpd, "/dead/keep-the-gil")
        wait_until(
            lambda: httpd.daemons("dead") != [pid] or stuck.answers, "the process to end", 15
        )
        assert httpd.get("/dead").status_code == 200
        assert [answer.status_code for answer in stuck.join()] == [502]
    assert httpd.log.find("Timeout")
    assert httpd.log.find('app.wsgi", line .* in application')


def test_out_of_memory_fails_only_one_request(httpd):
    pid = pid_of(httpd, "lean")
    with httpd.log.expects("WSGID0340.*MemoryError", "Traceback"):
        with Load(httpd, "/lean", 2) as load:
            for _ in range(3):
                assert httpd.get("/lean/memory").status_code == 500
        load.assert_nothing_lost()
    assert pid_of(httpd, "lean") == pid
