"""Uploads that nobody reads, echoes in both directions at once, and 100-continue when the
application reads.
"""

from __future__ import annotations

import time

import pytest
from httpdenv import MPMS, http2
from httpdenv.client import request
from httpdenv.versions import EVERY_WAY, HOSTS, MODULES, Sender, run_curl

CONFIGURATION = (
    """
WSGIDaemonProcess app threads=4
WSGIProcessName app
LimitRequestBody 0
WSGIChunkedRequest On
WSGIScriptAlias /unread ${APPS}/unread.wsgi
WSGIScriptAlias /early ${APPS}/early.wsgi
WSGIScriptAlias /turns ${APPS}/turns.wsgi
WSGIScriptAlias /expecting ${APPS}/expecting.wsgi
WSGIScriptAlias /echo ${APPS}/echo.wsgi
WSGIScriptAlias /hello ${APPS}/hello.wsgi
"""
    + HOSTS
)
MB = 1 << 20
ANSWER = 4 * MB
UPLOAD = 8 * MB
WITHIN = 3.0  # the requirement is one second
PIECE = b"u" * 65536


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION, modules=MODULES)


@pytest.fixture(scope="module", params=MPMS)
def each_mpm(request, make_httpd):
    modules = MODULES if request.param != "prefork" else ("ssl",)
    text = (
        CONFIGURATION
        if request.param != "prefork"
        else CONFIGURATION.replace("h2c ", "").replace("h2 ", "")
    )
    return make_httpd(text, mpm=request.param, modules=modules)


def upload(size: int) -> list[bytes]:
    return [PIECE] * (size // len(PIECE))


def is_last(response) -> bool:
    """Whether it announces the end of its connection; httpd may offer HTTP/2 besides."""
    return any("close" in value.replace(" ", "").split(",") for value in response.all("Connection"))


# ---- answers to uploads that nobody reads


@pytest.mark.parametrize("kind", ["list", "generator", "file"])
def test_a_client_that_sends_all_before_it_reads_gets_the_whole_answer(each_mpm, kind):
    """The client is blocked in send() until its 8 MB are read, and reads only then: nobody may wait
    for it.
    """
    with each_mpm.wire(timeout=WITHIN) as wire:
        began = time.monotonic()
        wire.send(request("POST", f"/unread/{kind}?{ANSWER}", f"Content-Length: {UPLOAD}"))
        for piece in upload(UPLOAD):
            wire.send(piece)
        response = wire.read_response()
        assert (response.status, len(response.body)) == (200, ANSWER)
        assert time.monotonic() - began < WITHIN


@pytest.mark.parametrize("kind", ["list", "generator", "file"])
def test_a_client_that_only_reads_gets_the_whole_answer(httpd, kind):
    """It declares 8 GB and sends only what is read while it reads itself."""
    with httpd.wire() as wire:
        began = time.monotonic()
        wire.send(request("POST", f"/unread/{kind}?{ANSWER}", f"Content-Length: {8 << 30}"))
        sender = Sender(wire.socket.sendall, upload(64 * MB))
        response = wire.read_response()
        assert (response.status, len(response.body)) == (200, ANSWER)
        assert time.monotonic() - began < WITHIN
        wire.socket.shutdown(2)
        sender.join()


def test_the_connection_ends_with_the_answer_when_gigabytes_are_left(httpd):
    """Reading everything for the sake of the connection would cost more than a new connection."""
    with httpd.wire() as wire:
        wire.send(request("POST", "/unread/list?1000", f"Content-Length: {8 << 30}") + PIECE)
        response = wire.read_response()
        assert is_last(response)
        assert len(response.body) == 1000


def test_requests_gets_the_answer_to_an_upload_that_nobody_reads(httpd):
    """`requests` sends the whole body before it checks for an answer."""
    response = httpd.post(f"/unread/generator?{ANSWER}", b"u" * UPLOAD)
    assert (response.status_code, len(response.content)) == (200, ANSWER)
    assert response.elapsed.total_seconds() < WITHIN


def test_requests_gets_the_answer_to_a_chunked_upload_that_nobody_reads(httpd):
    response = httpd.post(f"/unread/generator?{ANSWER}", iter(upload(UPLOAD)))
    assert (response.status_code, len(response.content)) == (200, ANSWER)


def test_requests_gets_the_answer_over_tls(httpd):
    response = httpd.post(
        f"/unread/generator?{ANSWER}", b"u" * UPLOAD, port="TLS_PORT", scheme="https"
    )
    assert (response.status_code, len(response.content)) == (200, ANSWER)
    assert response.elapsed.total_seconds() < WITHIN


@pytest.mark.parametrize("kind", ["list", "generator", "file"])
@pytest.mark.parametrize("over", ["http/1.1", "tls"])
def test_curl_gets_the_answer_to_an_upload_that_nobody_reads(httpd, over, kind):
    options = ["--data-binary", "@-", "-H", "Expect:"]
    done = run_curl(httpd, over, f"/unread/{kind}?{ANSWER}", *options, data=b"u" * UPLOAD)
    assert (done.code, done.status, len(done.body)) == (0, 200, ANSWER), done.error
    assert done.seconds < WITHIN


@pytest.mark.parametrize("status", [200, 302, 401, 413, 500])
@pytest.mark.parametrize("over", EVERY_WAY)
def test_curl_sees_an_early_answer(httpd, over, status):
    """curl 7.88 reports only an error if a stream of HTTP/2 ends before its upload."""
    options = ["--data-binary", "@-", "-H", "Expect:"]
    for size in (100_000, UPLOAD):
        done = run_curl(httpd, over, f"/early?{status}", *options, data=b"u" * size)
        assert (done.code, done.status, done.body) == (0, status, b"early"), done.error


@pytest.mark.parametrize("status", [200, 413])
@pytest.mark.parametrize("over", EVERY_WAY)
def test_curl_sees_an_early_answer_whose_end_comes_after_its_last_byte(httpd, over, status):
    """It is the same answer: how long the application runs after its last block decides nothing."""
    options = ["--data-binary", "@-", "-H", "Expect:"]
    for size in (100_000, UPLOAD):
        done = run_curl(httpd, over, f"/early/later?{status}", *options, data=b"u" * size)
        assert (done.code, done.status, done.body) == (0, status, b"early"), done.error


def test_an_early_answer_is_not_held_up_by_a_client_that_sends_no_more(httpd):
    exchange = http2.Exchange(httpd.ports["PORT"])
    with exchange.socket:
        answer = exchange.begin("POST", "/early?413", [("content-length", "100000")])
        began = time.monotonic()
        while not answer.body:
            exchange.take()
        assert time.monotonic() - began < 1
        while not answer.is_over:
            exchange.take()
    assert (answer.status, answer.body, answer.ended) == (413, b"early", True)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("size", [UPLOAD, 8 << 30])
@pytest.mark.parametrize("kind", ["list", "generator", "file"])
def test_a_client_of_http_2_gets_the_answer_to_an_upload_that_nobody_reads(httpd, kind, size):
    """The answer is complete, to the end of the stream. After it, the server may tell the client to
    stop sending.
    """
    began = time.monotonic()
    answer = http2.post(httpd.ports["PORT"], f"/unread/{kind}?{ANSWER}", size)
    assert (answer.status, len(answer.body), answer.ended) == (200, ANSWER, True)
    assert answer.reset in (None, 0)
    assert answer.sent < size
    assert time.monotonic() - began < WITHIN


@pytest.mark.parametrize("size", [1000, 200_000, UPLOAD])
@pytest.mark.parametrize("kind", ["list", "generator", "file"])
def test_a_client_of_http_2_with_small_windows_gets_the_answer_and_keeps_its_connection(
    httpd, kind, size
):
    """The answer waits repeatedly until the client has read, while the upload still arrives. The
    connection can then carry another request.
    """
    port, path = httpd.ports["PORT"], f"/unread/{kind}?{ANSWER}"
    answer = http2.post(port, path, size, window=http2.FIRST_WINDOW, then="/hello", timeout=WITHIN)
    assert (answer.status, len(answer.body), answer.ended) == (200, ANSWER, True)
    assert answer.reset in (None, 0)
    assert (answer.then.status, answer.then.ended) == (200, True)


def test_an_unread_upload_occupies_no_thread_of_the_daemon(httpd):
    """There are more clients that never finish their upload than threads."""
    wires = [httpd.wire() for _ in range(8)]
    try:
        for wire in wires:
            wire.send(request("POST", "/unread/list?10", f"Content-Length: {UPLOAD}") + PIECE)
        assert [wire.read_response().status for wire in wires] == [200] * 8
        assert httpd.get("/hello", timeout=WITHIN).status_code == 200
    finally:
        for wire in wires:
            wire.close()


# ---- alternating reads and writes


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def read_exactly(wire, size: int) -> bytes:
    """`size` bytes of the body of a chunked response, as chunks arrive."""
    body = b""
    while len(body) < size:
        length = int(wire.file.readline(), 16)
        assert length > 0, "the response has ended"
        body += wire.file.read(length)
        wire.file.readline()
    return body


def test_an_application_answers_each_block_before_the_client_sends_the_next(each_mpm):
    """An endless stream in both directions: 300 round trips, each complete before the next."""
    with each_mpm.wire(timeout=WITHIN) as wire:
        wire.send(
            request("POST", "/turns", "Transfer-Encoding: chunked") + chunk(b"round 0000000000")
        )
        assert wire.file.readline().split()[1] == b"200"
        while wire.file.readline().strip():
            pass
        assert read_exactly(wire, 16) == b"ROUND 0000000000"
        for number in range(1, 300):
            wire.send(chunk(b"round %010d" % number))
            assert read_exactly(wire, 16) == b"ROUND %010d" % number
        wire.send(b"0\r\n\r\n")
        assert wire.file.readline() == b"0\r\n"


def test_a_stream_flows_in_both_directions_at_once(httpd):
    """2 MB in blocks of 16 bytes, sent while the echo is read; neither direction waits for the end
    of the other.
    """
    size = 2 * MB
    with httpd.wire(timeout=30) as wire:
        wire.send(request("POST", "/turns", "Transfer-Encoding: chunked"))
        sender = Sender(wire.socket.sendall, [chunk(PIECE)] * (size // len(PIECE)) + [b"0\r\n\r\n"])
        response = wire.read_response()
        assert response.complete
        assert response.body == PIECE.upper() * (size // len(PIECE))
        sender.join()
        assert sender.error is None


@pytest.mark.parametrize("over", ["tls", "h2c", "h2"])
def test_curl_echoes_a_stream(httpd, over):
    body = b"abcdefgh" * (MB // 8)
    done = run_curl(httpd, over, "/turns", "-T", "-", "-X", "POST", data=body)
    assert (done.code, done.status, done.body) == (0, 200, body.upper()), done.error


# ---- 100-continue


def expecting(path: str, size: int) -> bytes:
    return request("POST", path, f"Content-Length: {size}", "Expect: 100-continue")


@pytest.mark.parametrize("status", ["413", "401"])
def test_an_immediate_refusal_reads_none_of_the_body(each_mpm, status):
    """The client sends only its headers. No 100 comes, and the answer does not wait for the
    body.
    """
    with each_mpm.wire() as wire:
        began = time.monotonic()
        wire.send(expecting(f"/expecting/refuse/{status}", 1000))
        first = wire.read_response()
        assert (str(first.status), first.body) == (status, b"no, thanks")
        assert time.monotonic() - began < WITHIN
        # The body was not requested, so the next bytes may or may not be the body: the connection
        # has to end.
        assert is_last(first)
        assert wire.rest() == b""


def test_an_application_that_reads_makes_httpd_send_100_once(each_mpm):
    with each_mpm.wire(timeout=WITHIN) as wire:
        wire.send(expecting("/expecting/read/5", 4000))
        assert wire.read_response().status == 100
        wire.send(b"x" * 4000)
        final = wire.read_response()
        assert (final.status, final.body) == (200, b"4000")
        wire.send(request("GET", "/hello"))
        assert wire.read_response().status == 200


def test_a_client_that_does_not_wait_for_100_works(httpd):
    with httpd.wire() as wire:
        wire.send(expecting("/expecting/read/5", 4000) + b"x" * 4000)
        final = wire.read_response()
        if final.status == 100:
            final = wire.read_response()
        assert (final.status, final.body) == (200, b"4000")


def test_reading_after_the_headers_are_sent_sends_no_late_100(httpd):
    """A 100 in the middle of a response would become part of its body."""
    with httpd.wire() as wire:
        wire.send(expecting("/expecting/late", 3))
        wire.send(b"abc")
        response = wire.read_response()
        if response.status == 100:
            response = wire.read_response()
        assert (response.status, response.body, response.complete) == (200, b"before 3", True)


@pytest.mark.parametrize("over", EVERY_WAY)
def test_curl_sends_its_body_after_100(httpd, over):
    body = b"x" * 2_000_000
    options = [
        "--data-binary",
        "@-",
        "-H",
        "Expect: 100-continue",
        "--expect100-timeout",
        "8",
        "--max-time",
        "4",
    ]
    done = run_curl(httpd, over, "/echo", *options, data=body)
    assert (done.code, done.status, done.body == body) == (0, 200, True), done.error
    assert done.seconds < WITHIN
    assert " 100" in done.headers


@pytest.mark.parametrize("over", ["http/1.1", "tls"])
def test_curl_sends_no_body_after_a_refusal(httpd, over):
    options = [
        "--data-binary",
        "@-",
        "-H",
        "Expect: 100-continue",
        "--expect100-timeout",
        "8",
        "--max-time",
        "4",
    ]
    options += [
        "--write-out",
        "%{stderr}--curl-- %{http_code} %{http_version} %{time_total}\nsent %{size_upload}",
    ]
    done = run_curl(httpd, over, "/expecting/refuse/413", *options, data=b"x" * 2_000_000)
    assert (done.status, done.body) == (413, b"no, thanks"), done.error
    assert "sent 0" in done.error
    assert done.seconds < WITHIN
    assert " 100" not in done.headers


@pytest.mark.parametrize("status", [413, 401])
def test_a_refusal_over_http_2_reads_none_of_the_body(httpd, status):
    path = f"/expecting/refuse/{status}"
    answer = http2.post(
        httpd.ports["PORT"], path, 2_000_000, ("expect", "100-continue"), wait=True, timeout=WITHIN
    )
    assert (answer.status, answer.body, answer.ended) == (status, b"no, thanks", True)
    assert (answer.interim, answer.sent) == ([], 0)


def test_reading_over_http_2_makes_httpd_send_100_once(httpd):
    path = "/expecting/read/5"
    answer = http2.post(
        httpd.ports["PORT"], path, 4000, ("expect", "100-continue"), wait=True, timeout=WITHIN
    )
    assert (answer.status, answer.body, answer.interim) == (200, b"4000", [100])
