"""Overload: a request that may not wait is refused at once with 503 and Retry-After."""

from __future__ import annotations

import pytest
from httpdenv import Crowd, HeldRequests, wait_until

CONFIGURATION = """
WSGIDaemonProcess limited threads=1 queue-limit=2
WSGIDaemonProcess impatient threads=1 queue-timeout=1
WSGIDaemonProcess silent threads=1 socket-timeout=1
WSGIScriptAlias /limited ${APPS}/gate.wsgi process-name=limited
WSGIScriptAlias /impatient ${APPS}/gate.wsgi process-name=impatient
WSGIScriptAlias /silent ${APPS}/gate.wsgi process-name=silent
"""


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION)


def test_requests_beyond_queue_limit_get_503_with_retry_after_at_once(httpd):
    """One request runs, two wait; all others are refused while these still wait."""
    gate = httpd.files / "limited"
    with httpd.log.expects("WSGID0161.*limited"):
        crowd = Crowd(httpd, f"/limited{gate}?limited", 8)
        wait_until(lambda: len(crowd.answers) == 5, "five refusals")
        assert len(crowd.with_status(503)) == 5
        gate.touch()
        crowd.join()
    assert len(crowd.with_status(200)) == 3
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in crowd.with_status(503))
    assert all(answer.elapsed.total_seconds() < 2 for answer in crowd.with_status(503))


def test_after_an_overload_the_group_serves_again(httpd):
    gate = httpd.files / "after"
    gate.touch()
    assert [httpd.get(f"/limited{gate}?after").status_code for _ in range(5)] == [200] * 5


def test_waiting_longer_than_queue_timeout_gets_503_with_retry_after(httpd):
    since = httpd.log.mark()
    with httpd.log.expects("WSGID0(162|338).*impatient"):
        first = HeldRequests(httpd, "/impatient", "impatient")
        second = httpd.get(f"/impatient{httpd.files}/gate-impatient?impatient")
        answers = first.release()
    assert [answer.status_code for answer in answers] == [200]
    assert second.status_code == 503
    assert int(second.headers["Retry-After"]) >= 1
    assert 0.9 < second.elapsed.total_seconds() < 4
    assert len(httpd.log.find("at the gate impatient", since)) == 1


def test_no_answer_within_socket_timeout_gets_504(httpd):
    gate = httpd.files / "silent"
    with httpd.log.expects("WSGID0167.*silent"):
        answer = httpd.get(f"/silent{gate}?silent")
    gate.touch()
    assert answer.status_code == 504
    assert 0.9 < answer.elapsed.total_seconds() < 4
