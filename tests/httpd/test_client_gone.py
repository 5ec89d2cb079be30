"""A client leaves: its stream stops, its thread becomes free, a request that has not begun never
begins, and long work can ask.
"""

from __future__ import annotations

import socket
import ssl
import struct

import pytest
from httpdenv import MPMS, HeldRequests, wait_until
from httpdenv.client import request
from httpdenv.versions import EVERY_WAY, HOSTS, MODULES, CurlThatLeaves

CONFIGURATION = (
    """
WSGIDaemonProcess app threads=1
WSGIProcessName app
WSGIChunkedRequest On
WSGIScriptAlias /leaving ${APPS}/leaving.wsgi
WSGIScriptAlias /gate ${APPS}/gate.wsgi
WSGIScriptAlias /hello ${APPS}/hello.wsgi
LogMessage "in the handler: %{QUERY_STRING}" hook=handler
"""
    + HOSTS
)
WITHIN = 3.0  # the requirement is one second
CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends a reset


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION, modules=[*MODULES, "log_debug"])


@pytest.fixture(scope="module", params=MPMS)
def each_mpm(request, make_httpd):
    if request.param == "prefork":
        text = CONFIGURATION.replace("h2c ", "").replace("h2 ", "")
        return make_httpd(text, mpm="prefork", modules=["ssl", "log_debug"])
    return make_httpd(CONFIGURATION, mpm=request.param, modules=[*MODULES, "log_debug"])


def logged(httpd, what: str, since: int) -> None:
    httpd.log.wait_for(f"{what}($|:| )", since, WITHIN)


def is_free(httpd) -> None:
    """The only thread of the group answers another request."""
    assert httpd.get("/hello", timeout=WITHIN).status_code == 200


# ---- streams


def test_a_stream_is_stopped_and_closed_when_its_client_leaves(each_mpm):
    since = each_mpm.log.mark()
    wire = each_mpm.wire()
    wire.send(request("GET", "/leaving/stream?plain"))
    assert wire.file.read(2000)
    wire.close()
    logged(each_mpm, "closed plain", since)
    is_free(each_mpm)


def test_a_stream_is_stopped_when_its_client_resets_the_connection(httpd):
    since = httpd.log.mark()
    with httpd.wire() as wire:
        wire.send(request("GET", "/leaving/stream?reset"))
        assert wire.file.read(2000)
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CLOSE)
    logged(httpd, "closed reset", since)
    is_free(httpd)


@pytest.mark.parametrize("over", EVERY_WAY)
def test_a_stream_is_stopped_when_curl_leaves(httpd, over):
    name = f"stream-{over.replace('/', '-')}"
    since = httpd.log.mark()
    with CurlThatLeaves(httpd, over, f"/leaving/stream?{name}") as client:
        assert client.read(2000)
        client.leave()
        logged(httpd, f"closed {name}", since)
    is_free(httpd)


@pytest.mark.parametrize("over", EVERY_WAY)
def test_a_stream_that_fills_all_buffers_is_stopped_when_its_client_leaves(httpd, over):
    """The daemon's thread waits in send() for a client that reads nothing and then leaves."""
    name = f"torrent-{over.replace('/', '-')}"
    since = httpd.log.mark()
    with CurlThatLeaves(httpd, over, f"/leaving/torrent?{name}", "--limit-rate", "10k") as client:
        assert client.read(2000)
        client.leave()
        logged(httpd, f"closed {name}", since)
    is_free(httpd)


# ---- requests that have not begun


@pytest.mark.parametrize("over", EVERY_WAY)
def test_a_queued_request_is_never_started_if_its_client_has_gone(httpd, over):
    name = f"queued-{over.replace('/', '-')}"
    since = httpd.log.mark()
    gate = HeldRequests(httpd, "/gate", "holding-" + over.replace("/", ""))
    try:
        with CurlThatLeaves(httpd, over, f"/leaving/started?{name}") as client:
            logged(httpd, f"in the handler: {name}", since)
            client.leave()
            httpd.log.wait_for(f"WSGID0172.*{name}", since, WITHIN)
    finally:
        assert [answer.status_code for answer in gate.release()] == [200]
    is_free(httpd)
    assert httpd.log.find(f"started {name}", since) == []


# ---- wsgid.client_gone


@pytest.mark.parametrize("over", EVERY_WAY)
def test_long_work_can_check_whether_its_client_has_gone(httpd, over):
    name = f"work-{over.replace('/', '-')}"
    since = httpd.log.mark()
    with CurlThatLeaves(httpd, over, f"/leaving/work?{name}") as client:
        logged(httpd, f"started {name}", since)
        client.leave()
        logged(httpd, f"noticed {name}", since)
    is_free(httpd)


def test_a_tls_client_that_closes_properly_is_noticed(httpd):
    """Its close_notify leaves an unread byte before the end of the connection."""
    since = httpd.log.mark()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", httpd.ports["TLS_PORT"]), 10)
    secure = context.wrap_socket(plain)
    secure.sendall(request("GET", "/leaving/work?goodbye"))
    logged(httpd, "started goodbye", since)
    secure.settimeout(0.2)
    try:
        secure.unwrap()
    except (TimeoutError, ssl.SSLError, OSError):
        pass
    secure.close()
    logged(httpd, "noticed goodbye", since)
    is_free(httpd)


def test_client_gone_is_false_while_the_client_waits(httpd):
    """Bytes that a client sends ahead (a second request) do not mean that it has gone."""
    since = httpd.log.mark()
    with httpd.wire() as wire:
        wire.send(request("GET", "/leaving/work?waiting") + request("GET", "/hello"))
        logged(httpd, "started waiting", since)
        with pytest.raises(AssertionError):
            wait_until(lambda: httpd.log.find("noticed waiting", since), "it", 0.5)
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CLOSE)
    logged(httpd, "noticed waiting", since)


@pytest.mark.parametrize("over", EVERY_WAY)
def test_client_gone_after_the_last_block_says_that_httpd_has_it(httpd, over):
    name = f"whole-{over.replace('/', '-')}"
    since = httpd.log.mark()
    with CurlThatLeaves(httpd, over, f"/leaving/whole?{name}"):
        logged(httpd, f"complete {name}: False", since)
        logged(httpd, f"closed {name}: True", since)


# ---- uploads


@pytest.mark.parametrize("over", EVERY_WAY)
def test_reading_the_input_of_a_vanished_client_raises_a_clear_error(httpd, over):
    name = f"upload-{over.replace('/', '-')}"
    since = httpd.log.mark()
    options = ["-H", "Expect:", "--limit-rate", "200k", "-T", "/dev/zero", "-X", "POST"]
    with httpd.log.allows("WSGID03.*upload", "Traceback", "InputLost"):
        with CurlThatLeaves(httpd, over, f"/leaving/upload?{name}", *options) as client:
            logged(httpd, f"started {name}", since)
            client.leave()
            line = httpd.log.wait_for(f"lost {name}", since, WITHIN)
        assert "OSError" in line.text
        assert "broke off after" in line.text
    is_free(httpd)


def test_a_body_shorter_than_its_content_length_is_an_error(httpd):
    since = httpd.log.mark()
    with httpd.wire() as wire:
        wire.send(
            request("POST", "/leaving/upload?short", "Content-Length: 1000000") + b"x" * 100_000
        )
        logged(httpd, "started short", since)
        wire.socket.shutdown(socket.SHUT_WR)
        line = httpd.log.wait_for("lost short|read short", since, WITHIN)
    assert "lost short: OSError" in line.text
    is_free(httpd)
