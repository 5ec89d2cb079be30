"""What clients and the log get when an application fails."""

from __future__ import annotations

import pytest
from dropinenv import differs

CONFIGURATION = """
WSGIDaemonProcess site threads=4
WSGIApplicationGroup %{GLOBAL}
WSGIProcessGroup site
WSGIScriptAlias /site ${FILES}/site.wsgi
WSGIScriptAlias /syntax ${FILES}/syntax.wsgi
WSGIScriptAlias /raises ${FILES}/raises.wsgi
WSGIScriptAlias /exits ${FILES}/exits.wsgi
WSGIScriptAlias /without ${FILES}/without.wsgi
WSGIScriptAlias /missing ${FILES}/missing.wsgi
WSGIScriptAlias /directory ${FILES}/directory
WSGIScriptAlias /override ${FILES}/site.wsgi
<Location /override>
    WSGIErrorOverride On
    ErrorDocument 404 "httpd's own page"
    ErrorDocument 500 "httpd's own page"
</Location>
<Location /plain>
    ErrorDocument 404 "httpd's own page"
</Location>
WSGIScriptAlias /plain ${FILES}/site.wsgi
"""
SCRIPT = """
import sys

def raises(environ, start_response):
    raise RuntimeError("my own words")

def raises_after_start(environ, start_response):
    start_response("200 OK", [])
    raise RuntimeError("after start_response")

def raises_before_a_block(environ, start_response):
    start_response("200 OK", [])
    raise RuntimeError("before a block")
    yield b""

def raises_after_an_empty_block(environ, start_response):
    start_response("200 OK", [])
    yield b""
    raise RuntimeError("after an empty block")

def raises_after_a_block(environ, start_response):
    start_response("200 OK", [])
    yield b"x" * 10
    raise RuntimeError("after a block")

def raises_after_the_whole(environ, start_response):
    start_response("200 OK", [("Content-Length", "10")])
    yield b"x" * 10
    raise RuntimeError("after the whole")

def raises_in_close(environ, start_response):
    start_response("200 OK", [])
    class Blocks(list):
        def close(self):
            raise RuntimeError("in close")
    return Blocks([b"fine"])

def exits(environ, start_response):
    sys.exit(3)

def short(environ, start_response):
    start_response("200 OK", [("Content-Length", "20")])
    return [b"x" * 10]

def long(environ, start_response):
    start_response("200 OK", [("Content-Length", "10")])
    return [b"x" * 20]

def long_blocks(environ, start_response):
    start_response("200 OK", [("Content-Length", "10")])
    return [b"x" * 6, b"x" * 6, b"x" * 6]

def not_found(environ, start_response):
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"the application's own page"]

def fails(environ, start_response):
    start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
    return [b"the application's own page"]

def fine(environ, start_response):
    start_response("200 OK", [])
    return [b"fine"]

def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
"""
FILES = {
    "site.wsgi": SCRIPT,
    "syntax.wsgi": "def application(:\n",
    "raises.wsgi": "raise RuntimeError('at import')\n",
    "exits.wsgi": "import sys\nsys.exit(4)\n",
    "without.wsgi": "other = 1\n",
    "directory/x.wsgi": SCRIPT,
}


@pytest.fixture(scope="module")
def httpd(start):
    return start(CONFIGURATION, files=FILES)


@pytest.mark.parametrize(
    "name",
    [
        "raises",
        "raises_after_start",
        "raises_before_a_block",
        "raises_after_an_empty_block",
        "exits",
    ],
)
def test_an_exception_before_the_body_is_a_page_of_httpd(httpd, name):
    with httpd.log.allows("WSGID", "Traceback"):
        answer = httpd.get(f"/site/{name}")
    assert answer.status_code == 500
    assert "Internal Server Error" in answer.text and "own words" not in answer.text


def test_an_exception_is_in_the_log_with_its_words(httpd):
    since = httpd.log.mark()
    with httpd.log.allows("WSGID", "Traceback"):
        httpd.get("/site/raises")
        httpd.log.wait_for("my own words", since)


def test_the_process_goes_on_after_exit(httpd):
    with httpd.log.allows("WSGID", "Traceback"):
        httpd.get("/site/exits")
    assert httpd.get("/site/fine").text == "fine"


def wired(httpd, path):
    with httpd.wire() as wire:
        wire.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return wire.read_response()


def test_an_exception_after_a_block(httpd):
    with httpd.log.allows("WSGID", "Traceback"):
        answers = [wired(httpd, "/site/raises_after_a_block") for _ in range(20)]
    seen = {(answer.status, answer.complete) for answer in answers}
    see = "raises after a block"
    assert seen == differs(httpd, see, wsgid={(200, False)}, mod_wsgi={(200, True)})


def test_an_exception_after_the_whole_body(httpd):
    with httpd.log.expects("WSGID0342"):
        answer = wired(httpd, "/site/raises_after_the_whole")
    assert (answer.status, answer.body) == (200, b"x" * 10)


def test_an_exception_in_close_does_not_harm_the_answer(httpd):
    with httpd.log.expects("WSGID0344"):
        assert wired(httpd, "/site/raises_in_close").body == b"fine"


def test_a_body_that_is_too_short(httpd):
    with httpd.log.allows("WSGID"):
        answer = wired(httpd, "/site/short")
    assert answer.status == differs(
        httpd, "shorter than its Content-Length", wsgid=500, mod_wsgi=200
    )


@pytest.mark.parametrize("name", ["long", "long_blocks"])
def test_a_body_that_is_too_long_is_cut(httpd, name):
    with httpd.log.allows("WSGID"):
        answer = wired(httpd, f"/site/{name}")
    assert (answer.status, answer.body) == (200, b"x" * 10)


@pytest.mark.parametrize("name", ["syntax", "raises", "exits", "without"])
def test_a_script_that_cannot_be_loaded(httpd, name):
    with httpd.log.allows("WSGID", "Traceback"):
        assert httpd.get(f"/{name}").status_code == 500


@pytest.mark.parametrize("path", ["/missing", "/directory/other.wsgi"])
def test_a_script_that_does_not_exist_is_a_404(httpd, path):
    with httpd.log.allows("WSGID", "AH"):
        assert httpd.get(path).status_code == 404


def test_a_directory_of_scripts_is_none_itself(httpd):
    with httpd.log.allows("WSGID", "AH"):
        assert httpd.get("/directory").status_code == 403


def test_pages_of_errors_are_the_applications_own(httpd):
    assert httpd.get("/plain/not_found").text == "the application's own page"


def test_error_override_puts_httpds_page_in_their_place(httpd):
    answer = httpd.get("/override/not_found")
    assert (answer.status_code, answer.text) == (404, "httpd's own page")
    assert httpd.get("/override/fails").text == "httpd's own page"
    assert httpd.get("/override/fine").text == "fine"
