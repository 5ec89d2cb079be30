"""Requests that a proxy and a server may read differently, so that one client's bytes become
another one's request. Each has one right answer (RFC 9112); the connection never goes out of step.
"""

from __future__ import annotations

import json

import pytest
from httpdenv.client import Wire, request

CONFIGURATION = """
WSGIDaemonProcess app threads=2
WSGIProcessName app
WSGIScriptAlias /echo ${APPS}/echo.wsgi
WSGIScriptAlias /environ ${APPS}/environ.wsgi
WSGIScriptAlias /hello ${APPS}/hello.wsgi
LogMessage "smuggled" hook=handler "expr=%{QUERY_STRING} == 'smuggled'"
"""
SMUGGLED = request("GET", "/hello?smuggled")
HEAD = "POST /echo HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION, modules=["log_debug"])


def answers(httpd, data: bytes) -> list[tuple[int, bytes]]:
    """The statuses and bodies of all responses, until the server closes the connection or waits for
    more.
    """
    found = []
    with Wire(httpd.ports["PORT"], timeout=1.0) as wire:
        wire.send(data)
        try:
            while True:
                response = wire.read_response()
                found.append((response.status, response.body))
        except (ConnectionError, TimeoutError):
            return found


def head(*lines: str) -> bytes:
    return (HEAD + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode("latin-1")


def was_smuggled(httpd, since: int) -> bool:
    assert httpd.get("/hello").status_code == 200  # whatever httpd has read is logged by now
    return bool(httpd.log.find("smuggled", since))


# ---- requests that must be refused, and end the connection: the status, and the request

CHUNK = b"3\r\nabc\r\n0\r\n\r\n"
REFUSED = {
    # codings
    "gzip and chunked": (501, head("Transfer-Encoding: gzip, chunked") + CHUNK),
    "identity and chunked": (501, head("Transfer-Encoding: identity, chunked") + CHUNK),
    "an unknown coding and chunked": (501, head("Transfer-Encoding: foo, chunked") + CHUNK),
    "chunked twice": (501, head("Transfer-Encoding: chunked, chunked") + CHUNK),
    "two headers, both chunked": (
        501,
        head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + CHUNK,
    ),
    "two headers, identity first": (
        501,
        head("Transfer-Encoding: identity", "Transfer-Encoding: chunked") + CHUNK,
    ),
    "chunked, then identity": (400, head("Transfer-Encoding: chunked, identity") + CHUNK),
    "only gzip": (400, head("Transfer-Encoding: gzip") + CHUNK),
    "only identity": (400, head("Transfer-Encoding: identity") + CHUNK),
    "almost chunked": (400, head("Transfer-Encoding: xchunked") + CHUNK),
    "chunked with a parameter": (400, head("Transfer-Encoding: chunked;q=1") + CHUNK),
    "chunked in quotes": (400, head('Transfer-Encoding: "chunked"') + CHUNK),
    "an empty coding": (400, head("Transfer-Encoding: ,") + CHUNK),
    "a vertical tab before chunked": (400, head("Transfer-Encoding: \x0bchunked") + CHUNK),
    "a blank before the colon": (400, head("Transfer-Encoding : chunked") + CHUNK),
    # lengths
    "two lengths": (400, head("Content-Length: 3", "Content-Length: 4") + b"abcd"),
    "the same length twice": (400, head("Content-Length: 3", "Content-Length: 3") + b"abc"),
    "a list of lengths": (400, head("Content-Length: 3, 3") + b"abc"),
    "a length with a sign": (400, head("Content-Length: +3") + b"abc"),
    "a negative length": (400, head("Content-Length: -3") + b"abc"),
    "a hexadecimal length": (400, head("Content-Length: 0x3") + b"abc"),
    "a length with a blank": (400, head("Content-Length: 3 3") + b"abc"),
    "a length that is too long": (400, head("Content-Length: " + "9" * 30) + b"abc"),
    "an empty length": (400, head("Content-Length: ") + b"abc"),
    "a blank before the length's colon": (400, head("Content-Length : 3") + b"abc"),
    # chunks
    "a chunk that is no number": (400, head("Transfer-Encoding: chunked") + b"xyz\r\n"),
    "a chunk with a prefix": (400, head("Transfer-Encoding: chunked") + b"0x3\r\nabc\r\n0\r\n\r\n"),
    "a chunk with a sign": (400, head("Transfer-Encoding: chunked") + b"+3\r\nabc\r\n0\r\n\r\n"),
    "a negative chunk": (400, head("Transfer-Encoding: chunked") + b"-3\r\nabc\r\n0\r\n\r\n"),
    "a chunk that is too large": (
        413,
        head("Transfer-Encoding: chunked") + b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    ),
    "a chunk that wraps around": (
        413,
        head("Transfer-Encoding: chunked") + b"8000000000000003\r\nabc\r\n0\r\n\r\n",
    ),
    "no line end after a chunk": (
        400,
        head("Transfer-Encoding: chunked") + b"3\r\nabcd\r\n0\r\n\r\n",
    ),
    "a line feed alone after a size": (
        400,
        head("Transfer-Encoding: chunked") + b"3\nabc\r\n0\r\n\r\n",
    ),
    "a line feed alone after a chunk": (
        400,
        head("Transfer-Encoding: chunked") + b"3\r\nabc\n0\r\n\r\n",
    ),
    "a control character in an extension": (
        400,
        head("Transfer-Encoding: chunked") + b"3;a=\x01\r\nabc\r\n0\r\n\r\n",
    ),
    # lines
    "line feeds alone": (400, b"GET /hello HTTP/1.1\nHost: localhost\n\n"),
    "a carriage return in a value": (400, head("X: a\rContent-Length: 3", "Content-Length: 0")),
    "a NUL in a value": (400, head("X: a\0b", "Content-Length: 0")),
    "a header without a colon": (400, head("Content-Length 3") + b"abc"),
    "a header without a name": (400, head(": 3") + b"abc"),
    "a first header that is continued": (
        400,
        HEAD[:21].encode() + b" X: y\r\nHost: localhost\r\n\r\n",
    ),
    "a blank in a name": (400, head("Content Length: 3") + b"abc"),
    # hosts and request lines
    "no host": (400, b"GET /hello HTTP/1.1\r\n\r\n"),
    "two hosts": (400, b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    "a host with a path": (400, b"GET /hello HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    "a host with a blank": (400, b"GET /hello HTTP/1.1\r\nHost: a b\r\n\r\n"),
    "a version that is none": (400, b"GET /hello HTTP/1.1x\r\nHost: localhost\r\n\r\n"),
    "two blanks": (400, b"GET  /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "a tab": (400, b"GET\t/hello HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "a blank in the target": (400, b"GET /hello x HTTP/1.1\r\nHost: localhost\r\n\r\n"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_ambiguous_request_is_refused_and_nothing_behind_it_is_a_request(httpd, what):
    status, data = REFUSED[what]
    since = httpd.log.mark()
    with httpd.log.allows("WSGID0171", "WSGID0182", "AH0", "AH1"):
        found = answers(httpd, data + SMUGGLED)
    assert [code for code, _ in found] == [status]
    assert not was_smuggled(httpd, since)


# ---- requests that have one meaning


def test_with_a_length_and_chunks_only_the_chunks_count_and_the_connection_ends(httpd):
    """RFC 9112, 6.3: a proxy may have counted the bytes."""
    since = httpd.log.mark()
    both = head("Content-Length: 100", "Transfer-Encoding: chunked")
    assert answers(httpd, both + CHUNK + SMUGGLED) == [(200, b"abc")]
    assert not was_smuggled(httpd, since)


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "CHUNKED", " chunked "])
def test_chunked_is_decoded_however_it_is_written(httpd, coding):
    data = head(f"Transfer-Encoding:{coding}") + CHUNK + request("GET", "/hello")
    assert answers(httpd, data) == [(200, b"abc"), (200, b"Hello World!\n")]


def test_a_request_inside_a_body_stays_in_the_body(httpd):
    since = httpd.log.mark()
    length = head(f"Content-Length: {len(SMUGGLED)}") + SMUGGLED
    chunked = head("Transfer-Encoding: chunked") + b"%x\r\n%s\r\n0\r\n\r\n" % (
        len(SMUGGLED),
        SMUGGLED,
    )
    assert answers(httpd, length + chunked) == [(200, SMUGGLED)] * 2
    assert not was_smuggled(httpd, since)


def test_a_request_in_an_extension_or_a_trailer_is_none(httpd):
    since = httpd.log.mark()
    data = head("Transfer-Encoding: chunked")
    data += b"3;GET /hello?smuggled HTTP/1.1\r\nabc\r\n0\r\nX: GET /hello?smuggled HTTP/1.1\r\n\r\n"
    assert answers(httpd, data + request("GET", "/hello"))[0] == (200, b"abc")
    assert not was_smuggled(httpd, since)


def test_a_body_of_get_or_head_is_no_request(httpd):
    since = httpd.log.mark()
    for method in ("GET", "DELETE", "OPTIONS"):
        data = request(method, "/hello", f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED)
        assert len(answers(httpd, data + request("GET", "/hello"))) == 2
    assert not was_smuggled(httpd, since)


def test_a_request_without_a_version_ends_the_connection(httpd):
    """HTTP/0.9: a response has no head, and only the end of the connection ends it."""
    since = httpd.log.mark()
    with httpd.wire() as wire:
        wire.send(b"GET /hello\r\n" + SMUGGLED)
        assert wire.rest() == b"Hello World!\n"
    assert not was_smuggled(httpd, since)


# ---- what the application is told


def environ_of(httpd, *headers: str) -> dict[str, object]:
    with httpd.wire() as wire:
        wire.send(request("GET", "/environ", *headers))
        return json.loads(wire.read_response().body)


@pytest.mark.parametrize(
    "header, key",
    [
        ("X_Forwarded_For: 1.2.3.4", "HTTP_X_FORWARDED_FOR"),
        ("Content_Length: 5", "CONTENT_LENGTH"),
        ("Transfer_Encoding: chunked", "HTTP_TRANSFER_ENCODING"),
        ("X.Forwarded.For: 1.2.3.4", "HTTP_X_FORWARDED_FOR"),
        ("Proxy: http://evil", "HTTP_PROXY"),
        ("Remote-User: root", "REMOTE_USER"),
        ("Script-Name: /evil", "SCRIPT_NAME"),
    ],
)
def test_no_header_passes_for_another_variable(httpd, header, key):
    told = environ_of(httpd, header)
    assert header.partition(": ")[2] not in str(told.get(key, ""))


def test_a_header_that_is_continued_is_one_header(httpd):
    told = environ_of(httpd, "X-Long: a\r\n Transfer-Encoding: chunked")
    assert told["HTTP_X_LONG"] == "a Transfer-Encoding: chunked"


# ---- too large

LARGE = """
WSGIScriptAlias /hello ${APPS}/hello.wsgi
LimitRequestLine 1000000
LimitRequestFieldSize 2000000
"""


@pytest.fixture(scope="module")
def generous(make_httpd):
    return make_httpd(LARGE)


@pytest.mark.parametrize("target", ["/hello/" + "x" * 900_000, "/hello?" + "x" * 900_000])
def test_a_url_that_is_too_large_for_the_application_is_a_414(generous, target):
    with generous.log.allows("WSGID0170", "AH0"):
        assert [code for code, _ in answers(generous, request("GET", target))] == [414]


def test_headers_that_are_too_large_for_the_application_are_a_431(generous):
    with generous.log.allows("WSGID0170", "AH0"):
        found = answers(generous, request("GET", "/hello", "X: " + "x" * 1_100_000))
    assert [code for code, _ in found][:1] == [431]


@pytest.mark.parametrize("target", ["/hello/" + "x" * 200_000, "/hello?" + "x" * 400_000])
def test_a_large_url_reaches_the_application(generous, target):
    assert answers(generous, request("GET", target)) == [(200, b"Hello World!\n")]
