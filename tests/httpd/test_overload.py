"""Overload without any configuration: when every request waits long, what has waited is refused with
503; what is a burst, or waits for a process to start, is served.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from httpdenv import Crowd, wait_until

from bench.arrivals import Arrivals, at_once, evenly_random

# One request at a time, 50 a second: MANY of them would take six seconds.
SLOW = """
import time

def application(environ, start_response):
    environ["wsgi.input"].read()
    time.sleep(0.02)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]
"""
MANY = 300
GROUP = """
WSGIDaemonProcess slow threads=1
WSGIScriptAlias /slow ${FILES}/slow.wsgi process-name=slow
WSGIDaemonProcess other
WSGIScriptAlias /other ${APPS}/hello.wsgi process-name=other
"""
WORKERS = """
ServerLimit 1
ThreadLimit %d
ThreadsPerChild %d
MaxRequestWorkers %d
# Connections without a request would take the place of others.
KeepAlive Off
"""
BEGINS, ENDS = "WSGID0360: group 'slow': overloaded", "WSGID0361: group 'slow': not overloaded"


def serving(make_httpd, threads, more="", application=SLOW):
    """An httpd with so many threads. Its daemons are ready."""
    configuration = GROUP + WORKERS % (threads, threads, threads) + more
    httpd = make_httpd(configuration, files={"slow.wsgi": application})
    assert [httpd.get(path).status_code for path in ("/slow", "/other")] == [200, 200]
    return httpd


@pytest.fixture(scope="module")
def httpd(make_httpd):
    """It has a thread for each client: requests wait for the daemon."""
    return serving(make_httpd, MANY)


@pytest.fixture(scope="module")
def small(make_httpd):
    """It has few threads: requests wait for these, and for the daemon only a third of a second."""
    return serving(make_httpd, 16)


def clients(httpd, path, times):
    return Arrivals(httpd.ports["PORT"], path).run(times)


def overload(httpd, answers_of=lambda httpd: clients(httpd, "/slow", at_once(MANY))):
    """More requests than can be served within some seconds. Returns the answers."""
    wait_until(lambda: len(httpd.log.find(ENDS)) == len(httpd.log.find(BEGINS)), "a quiet group")
    since = httpd.log.mark()
    with httpd.log.expects(BEGINS):
        answers = answers_of(httpd)
    assert len(httpd.log.find(BEGINS, since)) == 1
    return answers


def refused(answers):
    return [answer for answer in answers if answer.status == 503]


def test_an_overloaded_group_refuses_some_requests_and_serves_the_others(httpd):
    since = httpd.log.mark()
    answers = overload(httpd)
    assert 10 <= len(refused(answers)) <= MANY - 10
    assert {answer.status for answer in answers} == {200, 503}
    assert all(re.search(rb"\r\nRetry-After: [1-9]", one.answer) for one in refused(answers))
    assert len(httpd.log.find("WSGID0178: group 'slow'", since)) == len(refused(answers))


def test_it_serves_each_request_that_does_not_wait(httpd):
    assert [httpd.get("/slow").status_code for _ in range(20)] == [200] * 20


def test_the_overload_ends_when_no_request_has_to_wait(httpd):
    line = wait_until(lambda: httpd.log.find(ENDS), "the end of the overload")[0]
    assert "requests got status 503" in line.text
    answers = clients(httpd, "/slow", at_once(40))  # they wait for up to 0.8 seconds
    assert [answer.status for answer in answers] == [200] * 40


def test_a_request_with_a_body_is_refused_too(httpd):
    def post(_):
        return httpd.post("/slow", b"x" * 100_000, timeout=40).status_code

    def uploads(httpd):
        with ThreadPoolExecutor(50) as pool:
            uploaded = pool.map(post, range(100))
            clients(httpd, "/slow", at_once(MANY))
        return list(uploaded)

    assert set(overload(httpd, uploads)) == {200, 503}
    assert post(None) == 200


def test_waiting_for_a_thread_of_httpd_counts_but_only_for_the_group_that_keeps_them(small):
    def both(httpd):
        others = Crowd(httpd, "/other", 40)
        answers = clients(httpd, "/slow", at_once(MANY))
        assert {answer.status_code for answer in others.join()} == {200}
        return answers

    assert len(refused(overload(small, both))) >= 10


def test_clients_that_httpd_has_no_room_for_count(make_httpd):
    """Twice as many clients arrive as can be served. The few that get in wait for less than half a
    second; the kernel turns the others away, and they try again a second later.
    """
    httpd = serving(make_httpd, 16, "ListenBacklog 8\n", SLOW.replace("0.02", "0.01"))
    answers = overload(httpd, lambda httpd: clients(httpd, "/slow", evenly_random(200, 5)))
    assert {200, 503} <= {answer.status for answer in answers}


def test_a_burst_of_a_thousand_requests_loses_none(httpd):
    answers = clients(httpd, "/other", at_once(1000))
    assert [answer.status for answer in answers] == [200] * 1000


def test_requests_that_wait_for_a_starting_process_are_served(make_httpd):
    """The script takes two seconds to load."""
    httpd = make_httpd(
        GROUP + WORKERS % (MANY, MANY, MANY),
        files={"slow.wsgi": "import time\ntime.sleep(2)\n" + SLOW.replace("0.02", "0.01")},
    )
    answers = clients(httpd, "/slow", at_once(MANY))
    assert [answer.status for answer in answers] == [200] * MANY
