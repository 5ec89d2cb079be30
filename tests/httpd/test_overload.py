"""Overload without any configuration: when every request waits long, what has waited is refused with
503; what is a burst, or waits for a process to start, is served.
"""

from __future__ import annotations

import pytest
from httpdenv import Crowd, wait_until

# One request at a time, 50 a second: 160 of them take more than three seconds.
SLOW = """
import time

def application(environ, start_response):
    environ["wsgi.input"].read()
    time.sleep(0.02)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]
"""
MANY = 160
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
"""
BEGINS, ENDS = "WSGID0360: group 'slow': overloaded", "WSGID0361: group 'slow': not overloaded"


def serving(make_httpd, threads):
    """An httpd with so many threads. Its daemons are ready."""
    httpd = make_httpd(GROUP + WORKERS % (threads, threads, threads), files={"slow.wsgi": SLOW})
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


def overload(httpd):
    """More requests than can be served within three seconds. Returns the answers."""
    since = httpd.log.mark()
    with httpd.log.expects(BEGINS):
        answers = Crowd(httpd, "/slow", MANY).join()
    assert len(httpd.log.find(BEGINS, since)) == 1
    assert len(httpd.log.find("WSGID0178: group 'slow'", since)) == len(refused(answers))
    return answers


def refused(answers):
    return [answer for answer in answers if answer.status_code == 503]


def test_an_overloaded_group_refuses_some_requests_and_serves_the_others(httpd):
    answers = overload(httpd)
    assert 10 <= len(refused(answers)) <= MANY - 10
    assert {answer.status_code for answer in answers} == {200, 503}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused(answers))


def test_it_serves_each_request_that_does_not_wait(httpd):
    """It still counts as overloaded now."""
    assert [httpd.get("/slow").status_code for _ in range(20)] == [200] * 20
    assert httpd.log.find(ENDS) == []


def test_while_overloaded_a_request_with_a_body_is_refused_too(httpd):
    answers = []

    def post(body):
        answers.append(httpd.post("/slow", body, headers={"Expect": "100-continue"}))

    def is_refused():
        crowd = Crowd(httpd, "/slow", 20)  # they wait for 0.4 seconds
        post(b"x" * 300_000)
        crowd.join()
        return answers[-1].status_code == 503

    wait_until(is_refused, "an upload to be refused")
    post(b"x" * 300_000)
    assert answers[-1].status_code == 200


def test_the_overload_ends_when_nothing_has_been_refused_for_a_while(httpd):
    line = wait_until(lambda: httpd.log.find(ENDS), "the end of the overload", 30)[0]
    assert "requests got status 503" in line.text
    answers = Crowd(httpd, "/slow", 40).join()  # they wait for up to 0.8 seconds
    assert refused(answers) == []


def test_waiting_for_a_thread_of_httpd_counts_but_only_for_the_group_that_keeps_them(small):
    with small.log.expects(BEGINS):
        slow = Crowd(small, "/slow", MANY)
        others = Crowd(small, "/other", 40)
        assert len(refused(slow.join())) >= 10
        assert refused(others.join()) == []


def test_a_burst_of_a_thousand_requests_loses_none(httpd):
    answers = Crowd(httpd, "/other", 1000).join()
    assert [answer.status_code for answer in answers] == [200] * 1000


def test_requests_that_wait_for_a_starting_process_are_served(make_httpd):
    """The script takes two seconds to load."""
    httpd = make_httpd(
        GROUP + WORKERS % (MANY, MANY, MANY),
        files={"slow.wsgi": "import time\ntime.sleep(2)\n" + SLOW.replace("0.02", "0.01")},
    )
    answers = Crowd(httpd, "/slow", MANY).join()
    assert refused(answers) == []
