"""A response that breaks off must look broken, over every version of HTTP, and the log says why."""

from __future__ import annotations

import pytest
from httpdenv import wait_until
from httpdenv.client import request
from httpdenv.versions import BROKEN, EVERY_WAY, HOSTS, MODULES, run_curl

CONFIGURATION = (
    """
WSGIDaemonProcess app
WSGIProcessName app
WSGIScriptAlias /broken ${APPS}/broken.wsgi
WSGIScriptAlias /hello ${APPS}/hello.wsgi
WSGIScriptAlias /filtered ${FILES}/long.wsgi
<Location /filtered>
    # A filter that fails on a long line.
    SetOutputFilter SUBSTITUTE
    Substitute s/y/z/
    SubstituteMaxLineLength 1k
</Location>
"""
    + HOSTS
)
ONE_LONG_LINE = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"x" * 5000]
"""
BLOCK = 100_000
STREAM_RESET = 92  # curl's exit code
RAISED = ("WSGID0342.*RuntimeError", "Traceback", "RuntimeError: raised after the headers")
LATE = "RuntimeError: raised after the last block"
KILLED = r"WSGID0166.*app.*GET /broken/kill"
DEATH = r"WSGID005\d.*(SIGKILL|signal)"  # summed up after some that are alike
MISMATCHED = ("WSGID0343.*Content-Length",)


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(
        CONFIGURATION, modules=[*MODULES, "substitute"], files={"long.wsgi": ONE_LONG_LINE}
    )


def assert_broken_off(done) -> None:
    """Asserts that the response broke off. Over HTTP/2 the stream is reset, which curl reports
    differently from a broken connection.
    """
    assert (done.code in BROKEN, done.status) == (True, 200), done
    if done.version == "2":
        assert done.code == STREAM_RESET, done


@pytest.mark.parametrize("query", ["", "?length"], ids=["chunked", "length"])
@pytest.mark.parametrize("over", EVERY_WAY)
def test_curl_gets_a_whole_response_without_complaint(httpd, over, query):
    """Proves that the failures in the other tests are not caused by curl."""
    done = run_curl(httpd, over, f"/broken/whole{query}")
    assert (done.code, done.status, len(done.body)) == (0, 200, 2 * BLOCK)


@pytest.mark.parametrize("query", ["", "?length"], ids=["chunked", "length"])
@pytest.mark.parametrize("over", EVERY_WAY)
def test_an_exception_after_the_headers_is_visible(httpd, over, query):
    with httpd.log.expects(*RAISED):
        done = run_curl(httpd, over, f"/broken/raise{query}")
    assert_broken_off(done)
    assert len(done.body) <= BLOCK


@pytest.mark.parametrize("over", EVERY_WAY)
def test_an_exception_after_a_block_is_visible_however_soon_it_comes(httpd, over):
    """httpd often gets a small block and what follows it in one piece. With HTTP/2, a reset may
    overtake the head.
    """
    with httpd.log.expects(*RAISED):
        outcomes = [run_curl(httpd, over, "/broken/raise?small") for _ in range(20)]
    for done in outcomes:
        if over in ("h2c", "h2"):
            assert (done.code, done.status in (0, 200)) == (STREAM_RESET, True), done
        else:
            assert_broken_off(done)
            assert done.body == b"small"


@pytest.mark.parametrize("over", EVERY_WAY)
def test_an_exception_after_the_last_block_of_a_known_length_reaches_only_the_log(httpd, over):
    with httpd.log.expects("WSGID0342.*RuntimeError.*the client has got it", "Traceback", LATE):
        done = run_curl(httpd, over, "/broken/late?length")
    assert (done.code, done.status, len(done.body)) == (0, 200, 2 * BLOCK)


@pytest.mark.parametrize("query", ["", "?length"], ids=["chunked", "length"])
@pytest.mark.parametrize("over", EVERY_WAY)
def test_a_process_killed_after_the_headers_is_visible(httpd, over, query):
    pid = httpd.wait_for_daemons("app", 1)
    with httpd.log.expects(KILLED), httpd.log.allows(DEATH):
        done = run_curl(httpd, over, f"/broken/kill{query}")
        httpd.wait_for_daemons("app", 1, without=pid)
    assert_broken_off(done)
    assert len(done.body) == BLOCK


@pytest.mark.parametrize("over", EVERY_WAY)
def test_fewer_bytes_than_content_length_are_visible(httpd, over):
    with httpd.log.expects(*MISMATCHED):
        done = run_curl(httpd, over, "/broken/short?length")
    assert_broken_off(done)
    assert len(done.body) <= BLOCK


@pytest.mark.parametrize("over", EVERY_WAY)
def test_more_bytes_than_content_length_are_logged_and_not_sent(httpd, over):
    with httpd.log.expects(*MISMATCHED):
        done = run_curl(httpd, over, "/broken/long?length")
    assert (done.code, done.status, len(done.body)) == (0, 200, 2 * BLOCK)
    if over == "http/1.1":
        with httpd.log.expects(*MISMATCHED), httpd.wire() as wire:
            wire.send(request("GET", "/broken/long?length") + request("GET", "/hello"))
            assert len(wire.read_response().body) == 2 * BLOCK
            assert b"Hello" in wire.read_response().body


def test_a_broken_chunked_response_lacks_the_last_chunk_and_the_connection_ends(httpd):
    with httpd.log.expects(*RAISED), httpd.wire() as wire:
        wire.send(request("GET", "/broken/raise") + request("GET", "/hello"))
        response = wire.read_response()
        assert response.all("Transfer-Encoding") == ["chunked"]
        assert not response.complete
        assert wire.rest() == b""


def test_a_broken_answer_to_an_unread_upload_is_visible(httpd):
    """The connection would end after this response in any case; that must not hide that the
    response is incomplete.
    """
    with httpd.log.expects(*RAISED):
        done = run_curl(
            httpd,
            "http/1.1",
            "/broken/raise",
            "--data-binary",
            "@-",
            "-H",
            "Expect:",
            data=b"x" * 1_000_000,
        )
    assert_broken_off(done)


def test_a_broken_answer_to_a_chunked_upload_is_visible(httpd):
    with httpd.log.expects(*RAISED):
        done = run_curl(
            httpd,
            "http/1.1",
            "/broken/raise",
            "-T",
            "-",
            "-X",
            "POST",
            "-H",
            "Expect:",
            data=b"x" * 10,
        )
    assert_broken_off(done)


def test_a_broken_answer_to_a_client_that_waits_for_100_is_visible(httpd):
    """Nobody asked the client for its body, so the connection ends with the response, but without
    the last chunk that would mark it complete.
    """
    with httpd.log.expects(*RAISED), httpd.wire() as wire:
        wire.send(
            request("POST", "/broken/raise", "Content-Length: 1000000", "Expect: 100-continue")
        )
        response = wire.read_response()
    assert response.all("Transfer-Encoding") == ["chunked"]
    assert not response.complete


def test_http_1_0_shows_it_only_by_the_length(httpd):
    with httpd.log.expects(*RAISED), httpd.wire() as wire:
        wire.send(b"GET /broken/raise?length HTTP/1.0\r\n\r\n")
        response = wire.read_response()
        assert not response.complete


def test_other_streams_of_the_connection_are_not_affected(httpd):
    """Over HTTP/2 only the stream is reset: the next request uses the same connection."""
    url = httpd.url("/hello", "TLS_PORT", "https")
    with httpd.log.expects(*RAISED):
        done = run_curl(
            httpd,
            "h2",
            "/broken/raise",
            "--write-out",
            "%{stderr}--curl-- 0 0 0\n%{num_connects}\n",
            url,
        )
    assert b"Hello World!" in done.body


def test_the_daemon_survives_all_of_this(httpd):
    wait_until(lambda: httpd.get("/hello").status_code == 200, "an answer")


@pytest.mark.parametrize("over", EVERY_WAY)
def test_a_filter_that_fails_before_anything_is_sent_leads_to_a_whole_error_page(httpd, over):
    """As with one of httpd's own files. mod_security, which answers in place of the response, fails
    the same way.
    """
    with httpd.log.allows("AH01328", "AH01329"):
        done = run_curl(httpd, over, "/filtered")
    assert (done.code, done.status) == (0, 500)
    assert b"Internal Server Error" in done.body
