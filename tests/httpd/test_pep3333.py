"""What PEP 3333 requires of a server: start_response, write(), exc_info, iterables, close()."""

from __future__ import annotations

import pytest
from httpdenv import wait_until
from httpdenv.client import request

CONFIGURATION = """
WSGIScriptAlias /iterables ${APPS}/iterables.wsgi
WSGIScriptAlias /write ${APPS}/write.wsgi
WSGIScriptAlias /exc_info ${APPS}/exc_info.wsgi
WSGIScriptAlias /closing ${APPS}/closing.wsgi
WSGIScriptAlias /rules ${APPS}/rules.wsgi
WSGIScriptAlias /hello ${APPS}/hello.wsgi
WSGIScriptAlias /streaming ${APPS}/streaming.wsgi
WSGIScriptAlias /raw ${APPS}/raw.wsgi
"""

WHOLE = [
    "list",
    "tuple",
    "generator",
    "iterator",
    "map",
    "getitem",
    "length",
    "fresh",
    "file",
    "one",
    "empty-blocks",
    "lazy",
    "late",
]
EMPTY = ["empty-list", "only-empty", "empty-generator"]
# The names that tests/apps/rules.wsgi knows.
BROKEN_RULES = [
    "twice",
    "no-start",
    "none",
    "text",
    "str",
    "write-text",
    "status-bytes",
    "status-number",
    "status-short",
    "status-word",
    "status-no-space",
    "headers-none",
    "headers-tuple-of-three",
    "header-bytes",
    "header-number",
    "header-not-latin-1",
    "header-empty-name",
    "header-name-with-space",
    "header-name-with-colon",
]
# Failures before the first byte is sent, and later.
FAILURES_AT_FIRST = ["iter", "first", "text", "no-start"]


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION)


def survives(httpd, pids):
    """Asserts that the same processes serve as before: an application must not be able to end
    one.
    """
    assert httpd.get("/hello").status_code == 200
    assert httpd.daemons() == pids


@pytest.mark.parametrize("kind", WHOLE)
def test_every_kind_of_iterable_is_sent_whole(httpd, kind):
    response = httpd.get(f"/iterables/{kind}")
    assert (response.status_code, response.content) == (200, b"one two three")


@pytest.mark.parametrize("kind", EMPTY)
def test_an_empty_iterable_is_an_empty_body(httpd, kind):
    response = httpd.get(f"/iterables/{kind}")
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("kind", ["one", "empty-list"])
def test_a_list_of_at_most_one_block_gets_a_content_length(httpd, kind):
    """PEP 3333, "Handling the Content-Length Header": if len(iterable) is 1, the server knows the
    length.
    """
    response = httpd.get(f"/iterables/plain/{kind}")
    assert response.headers["Content-Length"] == str(len(response.content))


def test_blocks_reach_the_client_as_they_come(httpd):
    """PEP 3333, "Buffering and Streaming": no block is held back while the next one is being
    made.
    """
    steps = httpd.files / "steps"
    steps.write_text("")
    steps.chmod(0o644)
    with httpd.wire() as wire:
        wire.send(request("GET", f"/streaming{steps}?3"))
        for number in range(3):
            expected = b"block %d\n" % number
            seen = b""
            while expected not in seen:
                line = wire.file.readline()
                assert line, f"closed before {expected!r}"
                seen += line
            with steps.open("a") as file:
                file.write("next\n")


def test_write_comes_before_the_iterable(httpd):
    assert httpd.get("/write").content == b"written twice and returned"


def test_exc_info_replaces_the_headers_before_anything_is_sent(httpd):
    response = httpd.get("/exc_info/before")
    assert (response.status_code, response.reason, response.content) == (
        503,
        "Replaced",
        b"replaced",
    )
    assert "X-Second" in response.headers
    assert "X-First" not in response.headers


def test_exc_info_after_the_headers_were_sent_raises_and_truncates(httpd):
    with httpd.log.expects(r"WSGID\d{4}", "Traceback", "ValueError: the reason"):
        with httpd.wire() as wire:
            wire.send(request("GET", "/exc_info/after"))
            response = wire.read_response()
    assert is_visibly_broken(response)


@pytest.mark.parametrize("rule", BROKEN_RULES)
def test_a_broken_rule_is_a_500_and_is_logged_and_the_daemon_survives(httpd, rule):
    pids = httpd.daemons()
    with httpd.log.expects(r"WSGID03\d\d"), httpd.log.allows("Traceback"):
        response = httpd.get(f"/rules/{rule}")
    assert response.status_code == 500
    survives(httpd, pids)


@pytest.mark.parametrize("how", ["raise", "raise-after-start"])
def test_an_exception_is_a_500_with_its_traceback_in_the_log(httpd, how):
    pids = httpd.daemons()
    with httpd.log.expects(r"WSGID03\d\d", "Traceback", "RuntimeError: raised by the application"):
        assert httpd.get(f"/rules/{how}").status_code == 500
    survives(httpd, pids)


@pytest.mark.parametrize("how", ["exit", "interrupt"])
def test_sys_exit_and_keyboard_interrupt_end_the_request_and_not_the_daemon(httpd, how):
    pids = httpd.daemons()
    with httpd.log.expects(r"WSGID03\d\d"), httpd.log.allows("Traceback"):
        assert httpd.get(f"/rules/{how}").status_code == 500
    survives(httpd, pids)


def is_visibly_broken(response) -> bool:
    """The response is cut off; or it is an error page, if httpd still held the application's
    headers when it failed.
    """
    return response.status >= 500 or not response.complete


def closed(httpd, kind: str, before: int) -> None:
    """Asserts that close() is called once more than before, and not again."""
    wait_until(lambda: close_count(httpd, kind) > before, f"close() of {kind}")
    assert close_count(httpd, kind) == before + 1


def close_count(httpd, kind: str) -> int:
    return int(httpd.get(f"/closing/counts?{kind}").text)


@pytest.mark.parametrize("kind", ["plain", "empty"])
def test_close_is_called_once_after_a_whole_response(httpd, kind):
    before = close_count(httpd, kind)
    assert httpd.get(f"/closing/{kind}").status_code == 200
    closed(httpd, kind, before)


def test_close_is_called_once_for_head(httpd):
    before = close_count(httpd, "plain")
    assert httpd.request("HEAD", "/closing/plain").status_code == 200
    closed(httpd, "plain", before)


@pytest.mark.parametrize("kind", FAILURES_AT_FIRST)
def test_close_is_called_once_when_the_first_block_fails(httpd, kind):
    before = close_count(httpd, kind)
    with httpd.log.expects(r"WSGID03\d\d"), httpd.log.allows("Traceback"):
        assert httpd.get(f"/closing/{kind}").status_code == 500
    closed(httpd, kind, before)


def test_close_is_called_once_when_a_later_block_fails(httpd):
    before = close_count(httpd, "second")
    with httpd.log.expects(r"WSGID03\d\d", "Traceback"), httpd.wire() as wire:
        wire.send(request("GET", "/closing/second"))
        response = wire.read_response()
    assert is_visibly_broken(response)
    closed(httpd, "second", before)


def test_close_that_raises_is_logged_and_the_response_stays_complete(httpd):
    before = close_count(httpd, "close")
    with httpd.log.expects(r"WSGID03\d\d", "Traceback", "raised by close"):
        response = httpd.get("/closing/close")
    assert (response.status_code, response.content) == (200, b"one two three")
    closed(httpd, "close", before)


def test_close_is_called_once_when_the_client_leaves(httpd):
    before = close_count(httpd, "endless")
    wire = httpd.wire()
    wire.send(request("GET", "/closing/endless"))
    assert wire.file.readline().startswith(b"HTTP/1.1 200")
    wire.close()
    closed(httpd, "endless", before)


def test_a_broken_response_does_not_damage_the_next_request_on_the_connection(httpd):
    with httpd.session() as session, httpd.log.expects(r"WSGID03\d\d", "Traceback"):
        assert session.get(httpd.url("/rules/raise"), timeout=10).status_code == 500
        assert session.get(httpd.url("/hello"), timeout=10).content == b"Hello World!\n"
