"""Hello World under each MPM and over each protocol, and the uses of a connection: keep-alive,
pipelining, HTTP/1.0.
"""

from __future__ import annotations

import pytest
from httpdenv import MPMS
from httpdenv.client import curl, has_http2_curl, request

HELLO = b"Hello World!\n"
CONFIGURATION = """
WSGIScriptAlias /echo ${APPS}/echo.wsgi
WSGIScriptAlias / ${APPS}/hello.wsgi
<VirtualHost 127.0.0.1:${PORT}>
    Protocols PROTOCOLS_PLAIN
</VirtualHost>
<VirtualHost 127.0.0.1:${TLS_PORT}>
    SSLEngine on
    SSLCertificateFile ${CERTS}/server.crt
    SSLCertificateKeyFile ${CERTS}/server.key
    Protocols PROTOCOLS_TLS
</VirtualHost>
"""


def configuration(mpm: str) -> str:
    """Without HTTP/2 under prefork: mod_http2 does not support it."""
    plain, tls = ("h2c http/1.1", "h2 http/1.1") if mpm != "prefork" else ("http/1.1", "http/1.1")
    return CONFIGURATION.replace("PROTOCOLS_PLAIN", plain).replace("PROTOCOLS_TLS", tls)


@pytest.fixture(scope="module", params=MPMS)
def httpd(request, make_httpd):
    modules = ["ssl"] + (["http2"] if request.param != "prefork" else [])
    return make_httpd(configuration(request.param), mpm=request.param, modules=modules)


@pytest.fixture
def http2(httpd):
    if httpd.mpm == "prefork":
        pytest.skip("mod_http2 does not work under prefork")
    if not has_http2_curl():
        pytest.skip("curl without HTTP/2")


def test_hello_over_http_1_1(httpd):
    response = httpd.get("/")
    assert (response.status_code, response.content) == (200, HELLO)
    assert response.headers["Content-Length"] == str(len(HELLO))
    assert response.headers["Content-Type"] == "text/plain"


def test_hello_over_tls(httpd):
    assert httpd.get("/", port="TLS_PORT", scheme="https").content == HELLO


def test_hello_over_http_2_and_tls(httpd, http2):
    assert curl(httpd.url("/", "TLS_PORT", "https"), "--http2") == (200, "2", HELLO)


def test_hello_over_http_2_in_clear_text(httpd, http2):
    assert curl(httpd.url("/"), "--http2-prior-knowledge") == (200, "2", HELLO)


def test_an_upload_over_http_2_is_echoed(httpd, http2):
    body = bytes(range(256)) * 2000
    url = httpd.url("/echo", "TLS_PORT", "https")
    assert curl(url, "--http2", "--data-binary", "@-", data=body) == (200, "2", body)


def test_every_stream_of_an_http_2_connection_is_answered(httpd, http2):
    """The second transfer reuses the connection of the first."""
    url = httpd.url("/", "TLS_PORT", "https")
    status, version, body = curl(url, "--http2", "--parallel", *[url] * 9)
    assert (status, version) == (200, "2")
    assert body.count(HELLO) == 10


def test_a_connection_is_kept_alive(httpd):
    with httpd.wire() as wire:
        for _ in range(20):
            wire.send(request("GET", "/"))
            response = wire.read_response()
            assert (response.status, response.body) == (200, HELLO)
            assert response.all("Connection") != ["close"]


def test_a_connection_is_kept_alive_over_tls(httpd):
    with httpd.session() as session:
        for _ in range(5):
            assert session.get(httpd.url("/", "TLS_PORT", "https"), timeout=10).content == HELLO


def test_pipelined_requests_are_answered_in_order(httpd):
    with httpd.wire() as wire:
        wire.send(b"".join(request("GET", f"/{number}") for number in range(10)))
        assert [wire.read_response().body for _ in range(10)] == [HELLO] * 10


def test_pipelined_requests_with_bodies_are_kept_apart(httpd):
    one = request("POST", "/", "Content-Length: 5", body=b"GET /")
    with httpd.wire() as wire:
        wire.send(one * 5 + request("GET", "/", "Connection: close"))
        assert [wire.read_response().body for _ in range(6)] == [HELLO] * 6
        assert wire.rest() == b""


def test_http_1_0_closes(httpd):
    with httpd.wire() as wire:
        wire.send(b"GET / HTTP/1.0\r\n\r\n")
        response = wire.read_response()
        assert (response.status, response.body) == (200, HELLO)
        assert wire.rest() == b""


def test_connection_close_is_honoured(httpd):
    with httpd.wire() as wire:
        wire.send(request("GET", "/", "Connection: close"))
        assert wire.read_response().body == HELLO
        assert wire.rest() == b""


def test_many_connections_at_once(httpd):
    wires = [httpd.wire() for _ in range(16)]
    try:
        for wire in wires:
            wire.send(request("GET", "/", "Connection: close"))
        assert [wire.read_response().body for wire in wires] == [HELLO] * 16
    finally:
        for wire in wires:
            wire.close()
