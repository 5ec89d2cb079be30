"""103 Early Hints: environ["wsgi.early_hints"](headers) reaches the client before the application
has made its answer.
"""

from __future__ import annotations

import pytest
from httpdenv import MPMS
from httpdenv.client import request
from httpdenv.versions import EVERY_WAY, HOSTS, MODULES, run_curl

CONFIGURATION = (
    "WSGIScriptAlias /hints ${APPS}/hints.wsgi\nWSGIScriptAlias /hello ${APPS}/hello.wsgi\n" + HOSTS
)
LINK = "</style.css>; rel=preload; as=style"


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION + "H2EarlyHints on\n", modules=MODULES)


@pytest.mark.parametrize("mpm", MPMS)
def test_hints_come_before_the_answer_is_made(make_httpd, mpm):
    text, modules = (
        (CONFIGURATION, MODULES) if mpm != "prefork" else (CONFIGURATION.split("<Virtual")[0], ())
    )
    httpd = make_httpd(text, mpm=mpm, modules=modules)
    gate = httpd.files / "answer"
    with httpd.wire() as wire:
        wire.send(request("GET", f"/hints{gate}?2"))
        for number in range(2):
            hint = wire.read_response()
            assert (hint.status, hint.all("Link"), hint.all("X-Hint")) == (
                103,
                [LINK],
                [str(number)],
            )
        gate.touch()
        final = wire.read_response()
        assert (final.status, final.body, final.all("X-Final")) == (200, b"answered", ["yes"])
        assert final.all("Link") == [] and final.all("X-Hint") == []
        wire.send(request("GET", "/hello"))
        assert wire.read_response().status == 200


@pytest.mark.parametrize("over", EVERY_WAY)
def test_curl_shows_hints_over_every_version_of_http(httpd, over):
    (httpd.files / "open").touch()
    done = run_curl(httpd, over, f"/hints{httpd.files}/open?1")
    assert (done.code, done.status, done.body) == (0, 200, b"answered"), done.error
    assert " 103" in done.headers.splitlines()[0]
    assert LINK in done.headers


def test_a_client_of_http_1_0_gets_no_hints(httpd):
    (httpd.files / "open").touch()
    with httpd.wire() as wire:
        wire.send(f"GET /hints{httpd.files}/open?1 HTTP/1.0\r\n\r\n".encode())
        assert wire.read_response().status == 200


def test_a_hint_that_would_split_the_response_is_an_error(httpd):
    with httpd.log.expects(r"WSGID03\d\d", "Traceback", "control character"), httpd.wire() as wire:
        wire.send(request("GET", "/hints/?bad"))
        response = wire.read_response()
        assert response.status == 500
        assert response.all("X-Injected") == []


def test_hints_after_the_headers_do_not_break_the_response(httpd):
    with httpd.log.allows(r"WSGID03\d\d"), httpd.wire() as wire:
        wire.send(request("GET", "/hints/?late"))
        response = wire.read_response()
        assert response.status == 200 and response.complete
        assert response.body.startswith(b"begun ")
