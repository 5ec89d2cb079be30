"""wsgi.input: its methods, chunked bodies, and bodies that are not read or do not come."""

from __future__ import annotations

import json

import pytest
from dropinenv import differs
from httpdenv import http2
from httpdenv.client import chunked, request

CONFIGURATION = """
Protocols h2c http/1.1
WSGIDaemonProcess site threads=4
WSGIProcessGroup site
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias / ${FILES}/site.wsgi
<Location /chunked>
    WSGIChunkedRequest On
</Location>
<Location /refused>
    WSGIChunkedRequest Off
</Location>
<Location /limited>
    LimitRequestBody 100
</Location>
"""
SCRIPT = """
import json

def read_all(body): return [body.read()]
def read_minus(body): return [body.read(-1)]
def read_zero(body): return [body.read(0), body.read()]
def read_some(body): return [body.read(3), body.read(100), body.read(1), body.read()]
def readline(body): return [body.readline(), body.readline(), body.readline(), body.readline(), body.readline()]
def readline_some(body): return [body.readline(2), body.readline(100), body.readline(0), body.readline(-1)]
def readlines(body): return body.readlines()
def readlines_hint(body): return body.readlines(2) + [b"|"] + body.readlines()
def iterate(body): return list(body)
def mixed(body): return [body.read(1), next(iter(body)), body.read()]
def first_line_then_loop(body): return [body.readline(), *body]
def nothing(body): return []
def twice(body): return [body.read(), body.read(), body.readline()]

FUNCTIONS = {name: value for name, value in globals().items() if callable(value)}

def application(environ, start_response):
    function = FUNCTIONS[environ["PATH_INFO"].rpartition("/")[2]]
    try:
        found = [block.decode() for block in function(environ["wsgi.input"])]
    except Exception as error:
        print("cannot read:", isinstance(error, OSError), file=environ["wsgi.errors"])
        raise
    seen = [found, environ.get("CONTENT_LENGTH"), environ.get("HTTP_TRANSFER_ENCODING")]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(seen).encode()]
"""
BODY = b"one\ntwo\n\nfour"
READS = {
    "read_all": ["one\ntwo\n\nfour"],
    "read_minus": ["one\ntwo\n\nfour"],
    "read_zero": ["", "one\ntwo\n\nfour"],
    "read_some": ["one", "\ntwo\n\nfour", "", ""],
    "readline": ["one\n", "two\n", "\n", "four", ""],
    "readline_some": ["on", "e\n", "", "two\n"],
    "readlines": ["one\n", "two\n", "\n", "four"],
    "readlines_hint": ["one\n", "|", "two\n", "\n", "four"],
    "iterate": ["one\n", "two\n", "\n", "four"],
    "mixed": ["o", "ne\n", "two\n\nfour"],
    "first_line_then_loop": ["one\n", "two\n", "\n", "four"],
    "nothing": [],
    "twice": ["one\ntwo\n\nfour", "", ""],
}


@pytest.fixture(scope="module")
def httpd(start):
    return start(CONFIGURATION, files={"site.wsgi": SCRIPT}, modules=["http2"])


@pytest.mark.parametrize("name", READS)
def test_methods_of_the_input(httpd, name):
    assert httpd.post(f"/{name}", BODY).json()[0] == READS[name]


@pytest.mark.parametrize("name", READS)
def test_methods_of_the_input_with_a_chunked_body(httpd, name):
    with httpd.wire() as wire:
        head = request("POST", f"/chunked/{name}", "Transfer-Encoding: chunked")
        wire.send(head + chunked(b"one\nt", b"wo\n\n", b"four"))
        assert json.loads(wire.read_response().body)[0] == READS[name]


@pytest.mark.parametrize("name", ["read_all", "readline", "iterate", "twice"])
def test_without_a_body_the_input_is_empty(httpd, name):
    assert "".join(httpd.get(f"/{name}").json()[0]) == ""


def test_a_chunked_request_has_its_header(httpd):
    with httpd.wire() as wire:
        wire.send(
            request("POST", "/chunked/read_all", "Transfer-Encoding: chunked") + chunked(b"ab")
        )
        assert json.loads(wire.read_response().body) == [["ab"], None, "chunked"]


def test_over_http_2_a_body_without_a_length_has_the_header_of_a_chunked_one(httpd):
    exchange = http2.Exchange(httpd.ports["PORT"])
    with exchange.socket:
        answer = exchange.begin("POST", "/chunked/read_all", [])
        exchange.connection.send_data(exchange.stream, b"ab", end_stream=True)
        exchange.flush()
        while not answer.is_over:
            exchange.take()
    assert json.loads(answer.body)[1:] == [None, "chunked"]


def test_chunked_requests_can_be_refused(httpd):
    with httpd.wire() as wire:
        wire.send(
            request("POST", "/refused/read_all", "Transfer-Encoding: chunked") + chunked(b"ab")
        )
        assert wire.read_response().status == 411


def test_without_a_directive_a_chunked_request(httpd):
    with httpd.wire() as wire, httpd.log.allows("WSGID"):
        wire.send(request("POST", "/read_all", "Transfer-Encoding: chunked") + chunked(b"ab"))
        expected = differs(httpd, "refused (411)", wsgid=200, mod_wsgi=411)
        assert wire.read_response().status == expected


@pytest.mark.parametrize("name", ["limited/read_all", "limited/nothing"])
def test_a_body_above_the_limit_is_refused(httpd, name):
    with httpd.log.allows("WSGID"):
        assert httpd.post(f"/{name}", b"x" * 101).status_code == 413


def test_a_body_that_breaks_off_is_an_error_for_the_application(httpd):
    since = httpd.log.mark()
    with httpd.wire() as wire, httpd.log.allows("WSGID", "Traceback"):
        wire.send(request("POST", "/read_all", "Content-Length: 400000", body=b"x" * 200000))
        wire.socket.shutdown(1)
        httpd.log.wait_for("cannot read: True", since)


@pytest.mark.parametrize("size", [1, 8191, 8192, 65536, 1 << 20, 5_000_000])
def test_sizes_of_bodies(httpd, size):
    assert httpd.post("/read_all", b"x" * size).json() == [["x" * size], str(size), None]


def test_a_large_body_that_nobody_reads(httpd):
    answer = httpd.post("/nothing", b"x" * 5_000_000)
    assert (answer.status_code, answer.json()[0]) == (200, [])


def test_the_connection_goes_on_after_an_unread_body(httpd):
    with httpd.wire() as wire:
        wire.send(request("POST", "/nothing", "Content-Length: 1000", body=b"x" * 1000))
        assert wire.read_response().status == 200
        wire.send(request("POST", "/read_all", "Content-Length: 2", body=b"ok"))
        assert json.loads(wire.read_response().body)[0] == ["ok"]


def test_expect_100_continue_is_answered_when_the_application_reads(httpd):
    with httpd.wire() as wire:
        wire.send(request("POST", "/read_all", "Content-Length: 2", "Expect: 100-continue"))
        assert wire.read_response().status == 100
        wire.send(b"ok")
        assert json.loads(wire.read_response().body)[0] == ["ok"]
