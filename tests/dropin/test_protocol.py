"""HTTP around the application: framing, versions, connections, early answers and clients that leave."""

from __future__ import annotations

import pytest
from httpdenv import versions
from httpdenv.client import request

CONFIGURATION = (
    """
WSGIDaemonProcess site threads=4
WSGIProcessGroup site
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /site ${FILES}/site.wsgi
WSGIScriptAlias "/\u00e4" "${FILES}/\u00e4 b/\u00e4.wsgi"
"""
    + versions.HOSTS
)
SCRIPT = """
def page(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"page"]

def blocks(environ, start_response):
    start_response("200 OK", [])
    for number in range(3):
        yield b"%d" % number

def length(environ, start_response):
    start_response("200 OK", [("Content-Length", "4")])
    return [b"page"]

def large(environ, start_response):
    start_response("200 OK", [])
    for number in range(200):
        yield b"x" * 50000

def early(environ, start_response):
    start_response("413 Too Large", [("Content-Type", "text/plain")])
    return [b"too large"]

def redirect(environ, start_response):
    start_response("302 Found", [("Location", "/elsewhere")])
    return []

def protocol(environ, start_response):
    start_response("200 OK", [])
    return [environ["SERVER_PROTOCOL"].encode()]

def read(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [str(len(body)).encode()]

def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
"""
PATHS = """
import os

def application(environ, start_response):
    start_response("200 OK", [])
    return [str(os.path.exists(__file__)).encode()]
"""


@pytest.fixture(scope="module")
def httpd(start):
    files = {"site.wsgi": SCRIPT, "\u00e4 b/\u00e4.wsgi": PATHS}
    return start(CONFIGURATION, files=files, modules=versions.MODULES)


@pytest.mark.parametrize("over", versions.EVERY_WAY)
@pytest.mark.parametrize(
    ("name", "body"),
    [("page", b"page"), ("blocks", b"012"), ("length", b"page"), ("large", b"x" * 10_000_000)],
)
def test_a_body_over_each_version(httpd, over, name, body):
    done = versions.run_curl(httpd, over, f"/site/{name}")
    assert (done.code, done.status, done.body) == (0, 200, body)


def test_a_client_of_http_1_0(httpd):
    with httpd.wire() as wire:
        wire.send(b"GET /site/blocks HTTP/1.0\r\n\r\n")
        answer = wire.read_response()
    assert (answer.all("Transfer-Encoding"), answer.body) == ([], b"012")


def test_the_connection_stays_open(httpd):
    with httpd.wire() as wire:
        for name in ("blocks", "length", "page", "redirect", "blocks"):
            wire.send(request("GET", f"/site/{name}"))
            assert wire.read_response().status in (200, 302)


@pytest.mark.parametrize("over", versions.EVERY_WAY)
@pytest.mark.parametrize("name", ["early", "redirect"])
@pytest.mark.parametrize("size", [1000, 300_000, 3_000_000])
def test_an_upload_that_is_not_read_gets_its_answer(httpd, over, name, size):
    with httpd.log.allows("WSGID", "AH"):
        done = versions.run_curl(
            httpd, over, f"/site/{name}", "--data-binary", "@-", data=b"x" * size
        )
    assert (done.code, done.status) == (0, {"early": 413, "redirect": 302}[name])


@pytest.mark.parametrize("over", versions.EVERY_WAY)
def test_an_upload_is_read_over_each_version(httpd, over):
    done = versions.run_curl(
        httpd, over, "/site/read", "--data-binary", "@-", data=b"x" * 3_000_000
    )
    assert done.body == b"3000000"


def test_a_client_that_leaves_harms_nobody(httpd):
    with httpd.log.allows("WSGID", "AH"):
        with httpd.wire() as wire:
            wire.send(request("GET", "/site/large"))
            wire.socket.recv(1000)
        assert httpd.get("/site/page").text == "page"


def test_a_script_below_a_path_that_is_not_ascii(httpd):
    assert httpd.get("/%C3%A4").text == "True"
