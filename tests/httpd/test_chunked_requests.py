"""Request bodies without a length, chunked or over HTTP/2: without a directive httpd collects them
and says how long they are, with WSGIChunkedRequest On the application gets the stream.
"""

from __future__ import annotations

import json

import pytest
from httpdenv import http2
from httpdenv.client import chunked, request
from httpdenv.versions import HOSTS, MODULES

CONFIGURATION = (
    """
WSGIDaemonProcess app
WSGIDaemonProcess small request-buffer-size=64K request-spool-size=64K
WSGIScriptAlias /app ${FILES}/told.wsgi process-name=app
WSGIScriptAlias /stream ${FILES}/told.wsgi process-name=app
WSGIScriptAlias /small ${FILES}/told.wsgi process-name=small
WSGIScriptAlias /turns ${APPS}/turns.wsgi process-name=app
WSGIScriptAlias /limited ${FILES}/told.wsgi process-name=app
Timeout 2
<Location /stream>
    WSGIChunkedRequest On
</Location>
<Location /limited>
    LimitRequestBody 1000
</Location>
"""
    + HOSTS
)
TOLD = """
import json, logging
logging.getLogger().setLevel(logging.INFO)
def application(environ, start_response):
    logging.getLogger().info("called %s", environ["PATH_INFO"])
    size = len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "application/json")])
    keys = "CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "wsgi.input_terminated"
    return [json.dumps([size, *(environ.get(key) for key in keys)]).encode()]
"""
CHUNKED = "Transfer-Encoding: chunked"
EXPECTING = "Expect: 100-continue"
WITHIN = 1.5  # less than Timeout


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION, modules=MODULES, files={"told.wsgi": TOLD})


@pytest.fixture
def wire(httpd):
    with httpd.wire(timeout=WITHIN) as wire:
        yield wire


def pieces(size: int) -> bytes:
    return chunked(*[b"x" * 1000] * (size // 1000))


@pytest.mark.parametrize("size", [0, 1000, 100_000, 3_000_000])
def test_a_chunked_body_gets_a_length(wire, size):
    wire.send(request("POST", "/app", CHUNKED) + pieces(size))
    assert json.loads(wire.read_response().body) == [size, str(size), None, True]


@pytest.mark.parametrize("size", [0, 1000, 100_000])
def test_with_on_a_chunked_body_has_its_header_instead(wire, size):
    wire.send(request("POST", "/stream", CHUNKED) + pieces(size))
    assert json.loads(wire.read_response().body) == [size, None, "chunked", True]


@pytest.mark.parametrize("path, length", [("/app", "1000"), ("/stream", None), ("/small", "1000")])
def test_over_http_2_only_buffer_knows_the_length(httpd, path, length):
    status, told, interim = over_http_2(httpd, path, 1000)
    assert (status, told[:2], interim) == (200, [1000, length], [])


def over_http_2(httpd, path: str, size: int, *headers: tuple[str, str]):
    """Status, content and interim statuses of the answer to an upload without a length. A client
    that sends headers waits for 100 before it sends the body.
    """
    exchange = http2.Exchange(httpd.ports["PORT"], timeout=WITHIN)
    with exchange.socket:
        answer = exchange.begin("POST", path, [*headers])
        while headers and not answer.interim:
            exchange.take()
        left = size
        while left > 0:
            exchange.connection.send_data(exchange.stream, b"x" * min(left, 1000))
            left -= min(left, 1000)
            exchange.flush()
        exchange.connection.end_stream(exchange.stream)
        exchange.flush()
        while not answer.is_over:
            exchange.take()
    return answer.status, json.loads(answer.body), answer.interim


@pytest.mark.parametrize("expecting", [(), (EXPECTING,)], ids=["at once", "100"])
def test_a_body_that_is_too_large_to_collect_goes_on_as_a_stream(wire, expecting):
    wire.send(request("POST", "/small", CHUNKED, *expecting))
    if expecting:
        assert wire.read_response().status == 100
    wire.send(pieces(1_000_000))
    assert json.loads(wire.read_response().body) == [1_000_000, None, "chunked", True]


@pytest.mark.parametrize("path, length", [("/app", "4000"), ("/stream", None)])
def test_a_client_that_waits_for_100_gets_it_once(wire, path, length):
    wire.send(request("POST", path, CHUNKED, EXPECTING))
    assert wire.read_response().status == 100
    wire.send(pieces(4000))
    final = wire.read_response()
    assert (final.status, json.loads(final.body)[:2]) == (200, [4000, length])
    wire.send(request("GET", "/app"))
    assert wire.read_response().status == 200


@pytest.mark.parametrize("path, length", [("/app", "4000"), ("/stream", None)])
def test_a_client_of_http_2_that_waits_for_100_gets_it_once(httpd, path, length):
    status, told, interim = over_http_2(httpd, path, 4000, ("expect", "100-continue"))
    assert (status, told[:2], interim) == (200, [4000, length], [100])


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
def test_a_request_without_a_body_waits_for_none(httpd, wire, method):
    wire.send(request(method, "/app"))
    assert json.loads(wire.read_response().body) == [0, None, None, True]
    exchange = http2.Exchange(httpd.ports["PORT"], timeout=WITHIN)
    with exchange.socket:
        answer = exchange.begin(method, "/app", [], ended=True)
        while not answer.is_over:
            exchange.take()
    assert json.loads(answer.body) == [0, None, None, True]


def test_the_application_runs_once_the_body_is_whole(httpd, wire):
    since = httpd.log.mark()
    wire.send(request("POST", "/app/late", CHUNKED) + b"3\r\nabc\r\n")
    assert httpd.get("/app/other").status_code == 200
    assert not httpd.log.find("called /late", since)
    wire.send(b"0\r\n\r\n")
    assert json.loads(wire.read_response().body)[0] == 3
    assert httpd.log.find("called /late", since)


def test_a_client_that_waits_for_a_part_of_the_answer_gets_408_and_the_log_names_on(httpd):
    with httpd.log.expects("WSGID0171.*set WSGIChunkedRequest On"), httpd.wire() as wire:
        wire.send(request("POST", "/turns", CHUNKED) + b"10\r\nround 0000000000\r\n")
        assert wire.read_response().status == 408


def test_limit_request_body_holds_and_the_application_does_not_run(httpd, wire):
    since = httpd.log.mark()
    with httpd.log.allows("WSGID0171", "AH0"):
        wire.send(request("POST", "/limited", CHUNKED) + pieces(2000))
        assert wire.read_response().status == 413
    assert not httpd.log.find("called", since)
