"""Request bodies, with a length and chunked, read in every way that wsgi.input offers; responses
without a body.
"""

from __future__ import annotations

import hashlib
import json

import pytest
from httpdenv.client import chunked, request

CONFIGURATION = """
WSGIScriptAlias /input ${APPS}/input.wsgi
WSGIScriptAlias /echo ${APPS}/echo.wsgi
WSGIScriptAlias /raw ${APPS}/raw.wsgi
WSGIScriptAlias /hello ${APPS}/hello.wsgi
WSGIScriptAlias /lines ${APPS}/lines.wsgi
WSGIScriptAlias /environ ${APPS}/environ.wsgi
WSGIScriptAlias /blocks ${FILES}/blocks.wsgi
<Location /echo/utf-8>
    CharsetDefault ISO-8859-1
    CharsetSourceEnc UTF-8
    CharsetOptions TranslateAllMimeTypes
</Location>
SetEnv GO ${FILES}/go
"""
BLOCKS = """
import os, time
def application(environ, start_response):
    start_response("200 OK", [])
    yield b"block"
    while not os.path.exists(environ["GO"]):
        time.sleep(0.01)
    yield b"block"
"""

# Sizes around the part that travels in the first frame (64 KiB), around the capacity of a BODY
# frame (256 KiB), and well beyond all buffers.
SIZES = [0, 1, 65535, 65536, 65537, 262143, 262144, 262145, 1_000_003, 10_000_000]
WAYS = [
    "all",
    "odd",
    "huge",
    "line",
    "lines",
    "iteration",
    "line-then-rest",
    "hint",
    "past-the-end",
]
TEXT = (
    b"".join(b"line %d with some text\n" % number for number in range(5000))
    + b"a last one without an end"
)


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION, files={"blocks.wsgi": BLOCKS}, modules=["charset_lite"])


def content(size: int) -> bytes:
    """Bytes that reveal a misplaced part, with line feeds among them."""
    block = bytes(range(256))
    return (
        b"".join(block[number % 256 :] + block[: number % 256] for number in range(64))
        * (size // 16384 + 1)
    )[:size]


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


@pytest.mark.parametrize("size", SIZES)
def test_a_body_with_a_length_is_echoed(httpd, size):
    body = content(size)
    response = httpd.post("/echo", body)
    assert response.status_code == 200
    assert response.content == body


@pytest.mark.parametrize("size", SIZES)
def test_a_body_that_an_input_filter_makes_longer_is_whole(httpd, size):
    """The body is doubled, and halved again on its way back to the client. CONTENT_LENGTH stays
    what the client sent.
    """
    body = "é".encode("latin-1") * size
    response = httpd.post("/echo/utf-8", body)
    assert response.status_code == 200
    assert response.content == body


@pytest.mark.parametrize("size", SIZES)
def test_a_chunked_body_is_echoed(httpd, size):
    body = content(size)
    response = httpd.post("/echo", iter(pieces(body, 50_000)))
    assert response.status_code == 200
    assert response.content == body


def test_a_body_in_tiny_chunks_is_echoed(httpd):
    body = content(3000)
    assert httpd.post("/echo", iter(pieces(body, 1))).content == body


@pytest.mark.parametrize("how", ["length", "chunked"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_reading_returns_the_whole_body(httpd, way, how):
    data = TEXT if how == "length" else iter(pieces(TEXT, 4999))
    answer = httpd.post(f"/input/{way}", data).json()
    assert answer["total"] == len(TEXT)
    assert answer["digest"] == hashlib.sha256(TEXT).hexdigest()


@pytest.mark.parametrize("way", ["line", "lines", "iteration"])
def test_lines_end_after_their_line_feed(httpd, way):
    assert httpd.post(f"/input/{way}", TEXT).json()["sizes"] == [
        len(line) for line in TEXT.splitlines(keepends=True)
    ]


def test_readline_with_a_limit_stops_at_it(httpd):
    assert httpd.post("/input/limited-line", b"0123456789abc\nxy\n").json()["sizes"] == [10, 4, 3]


def test_readline_returns_a_long_line_whole(httpd):
    body = b"x" * 400_000 + b"\n" + b"y" * 10
    assert httpd.post("/input/line", body).json()["sizes"] == [400_001, 10]


def test_read_by_single_bytes(httpd):
    assert httpd.post("/input/bytes", b"abc").json()["sizes"] == [1, 1, 1]


def test_reading_past_the_end_returns_nothing(httpd):
    assert httpd.post("/input/past-the-end", b"abc").json()["sizes"] == [3, 0, 0, 0]


def test_a_read_of_0_bytes_consumes_nothing(httpd):
    assert httpd.post("/input/nothing", b"abc").json()["sizes"] == [0]


def test_no_body_reads_as_empty(httpd):
    assert httpd.get("/input/all").json()["total"] == 0
    assert httpd.get("/input/lines").json()["sizes"] == []


@pytest.mark.parametrize("way", ["unread", "first"])
@pytest.mark.parametrize("size", [1000, 200_000, 2_000_000])
def test_an_unread_body_does_not_damage_the_next_request(httpd, way, size):
    with httpd.session() as session:
        first = session.post(httpd.url(f"/input/{way}"), data=b"x" * size, timeout=20)
        assert first.status_code == 200
        assert session.post(httpd.url("/echo"), data=b"the next", timeout=20).content == b"the next"


def test_connection_close_is_announced_while_the_client_still_sends_an_unread_body(httpd):
    """A client that sees the announcement does not send its next request into a closing
    connection.
    """
    with httpd.wire() as wire:
        wire.send(request("POST", "/blocks", "Content-Length: 2000000", body=b"x" * 100_000))
        wire.file.peek(1)  # the response has begun while the application still runs
        httpd.write("go", "")
        response = wire.read_response()
    assert response.body == b"block" * 2
    assert response.all("Transfer-Encoding") == ["chunked"]  # so the response is complete
    assert response.all("Connection") == ["close"]


def test_the_next_request_is_not_lost_after_a_partly_read_upload(httpd):
    """The response begins before it is clear that nothing more will be read. Either the connection
    continues, or the response announces its end.
    """
    size, now = 2_000_000, 100_000
    with httpd.wire() as wire:
        wire.send(
            request("POST", "/input/first", f"Content-Length: {size}", "Expect: 100-continue")
        )
        assert wire.read_response().status == 100  # the application has asked for the body
        wire.send(b"x" * now)
        response = wire.read_response()
        assert json.loads(response.body)["sizes"] == [10]
        if response.all("Connection") != ["close"]:
            wire.send(b"x" * (size - now))
            wire.send(request("GET", "/hello"))
            assert wire.read_response().status == 200


def test_input_terminated_is_declared(httpd):
    assert httpd.get("/environ").json()["wsgi.input_terminated"] is True


def test_a_body_that_arrives_slowly_is_read_whole(httpd):
    with httpd.wire() as wire:
        wire.send(request("POST", "/echo", "Content-Length: 6"))
        for byte in (b"a", b"b", b"c", b"d", b"e", b"f"):
            wire.send(byte)
        assert wire.read_response().body == b"abcdef"


def test_a_malformed_chunked_body_is_a_400(httpd):
    with httpd.log.allows("WSGID0171", "AH0"), httpd.wire() as wire:
        wire.send(
            request("POST", "/echo", "Transfer-Encoding: chunked", body=b"zz\r\nabc\r\n0\r\n\r\n")
        )
        assert wire.read_response().status == 400


def test_chunk_extensions_and_trailers_are_accepted_and_dropped(httpd):
    body = b"3;name=value\r\nabc\r\n0\r\nX-Trailer: yes\r\n\r\n"
    with httpd.wire() as wire:
        wire.send(request("POST", "/echo", "Transfer-Encoding: chunked", body=body))
        assert wire.read_response().body == b"abc"
        wire.send(request("POST", "/echo", "Transfer-Encoding: chunked", body=chunked(b"next")))
        assert wire.read_response().body == b"next"


def test_head_has_the_headers_of_get_and_no_body(httpd):
    with httpd.wire() as wire:
        wire.send(request("HEAD", "/lines?100") + request("GET", "/hello"))
        head = wire.read_response("HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.all("Content-Length") == [str(len(httpd.get("/lines?100").content))]
        assert wire.read_response().body == b"Hello World!\n"


def raw(httpd, status: str, headers=(), body=()):
    """A request that makes raw.wsgi send this response."""
    wanted = json.dumps({"status": status, "headers": list(headers), "body": list(body)}).encode()
    return request("POST", "/raw", f"Content-Length: {len(wanted)}", body=wanted)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("body", [[], [""]])
def test_204_and_304_have_no_body_and_no_length(httpd, status, body):
    with httpd.wire() as wire:
        wire.send(raw(httpd, status, [("X-Kept", "yes")], body) + request("GET", "/hello"))
        response = wire.read_response()
        assert f"{response.status} {response.reason}" == status
        assert response.all("X-Kept") == ["yes"]
        assert response.all("Transfer-Encoding") == []
        assert response.all("Content-Length") in ([], ["0"])
        assert wire.read_response().body == b"Hello World!\n"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_body_that_the_status_forbids_is_not_sent(httpd, status):
    with httpd.log.allows(r"WSGID03\d\d"), httpd.wire() as wire:
        wire.send(raw(httpd, status, [], ["smuggled"]) + request("GET", "/hello"))
        assert f"{wire.read_response().status}" == status[:3]
        assert wire.read_response().body == b"Hello World!\n"


@pytest.mark.parametrize(
    "status",
    [
        "200 OK",
        "201 Made It",
        "299 Odd",
        "404 Not Here",
        "418 I'm a teapot",
        "503 Later",
        "599 Own",
    ],
)
def test_statuses_and_their_reasons_are_passed_on(httpd, status):
    with httpd.wire() as wire:
        wire.send(raw(httpd, status, [("Content-Type", "text/plain")], ["body"]))
        response = wire.read_response()
    assert f"{response.status} {response.reason}" == status
    assert response.body == b"body"
