"""A daemon lies about the length of its response: nobody gets bytes that are not theirs.

A client, or a proxy that keeps connections for several visitors, finds the end of a response by its
length. Bytes behind it would be the next visitor's response; missing bytes would be taken from it.
"""

from __future__ import annotations

import struct

import pytest
from httpdenv.client import request
from httpdenv.frames import OK, STARTED, frame, response
from httpdenv.versions import BROKEN, EVERY_WAY, HOSTS, MODULES, run_curl

from pywsgid.wire import protocol

END = protocol.END
CONFIGURATION = (
    """
WSGIDaemonProcess app threads=1
WSGIProcessName app
WSGIScriptAlias /hostile ${APPS}/hostile.wsgi
WSGIDaemonProcess other
WSGIScriptAlias /hello ${APPS}/hello.wsgi process-name=other
"""
    + HOSTS
)
FRONT = """
ProxyPass / http://127.0.0.1:%d/
<Proxy http://127.0.0.1:%d/>
    ProxySet keepalive=On
</Proxy>
ThreadsPerChild 4
MaxRequestWorkers 4
ServerLimit 1
"""
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
TWO = (OK, "Content-Length", "2")
TEN = (OK, "Content-Length", "10")


def of_file(length: int) -> bytes:
    return frame(protocol.FILE, struct.pack("<QQ", 0, length), END)


# What a daemon sends, and the descriptor with it. /etc/hostname has 1 byte at least.
LIES = {
    "a second response in the frame": (response(*TWO, body=b"ok" + EVIL, flags=END), "none"),
    "a second response in another frame": (
        response(*TWO, body=b"ok") + frame(protocol.DATA, EVIL, END),
        "none",
    ),
    "more, without an end": (response(*TWO, body=b"ok") + frame(protocol.DATA, EVIL), "none"),
    "more in small frames": (response(*TWO) + frame(protocol.DATA, b"o") * 3, "none"),
    "too little": (response(*TEN, body=b"ok", flags=END), "none"),
    "too little in frames": (
        response(*TEN, body=b"ok") + frame(protocol.DATA, b"ok") + frame(protocol.DATA, b"", END),
        "none",
    ),
    "nothing": (response(*TEN, flags=END), "none"),
    "a body of a 204": (response("204 No Content", body=EVIL, flags=END), "none"),
    "a body of a 304": (response("304 Not Modified") + frame(protocol.DATA, EVIL), "none"),
    "a file that is too long": (response(OK, "Content-Length", "0") + of_file(1), "file"),
    "a file that is too short": (response(*TEN) + of_file(1), "file"),
    "a file behind the body": (response(*TWO, body=b"ok") + of_file(1), "file"),
}


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION, modules=MODULES)


def lie(what: str) -> tuple[bytes, str]:
    data, descriptor = LIES[what]
    return (STARTED + data).hex().encode(), f"/hostile?{descriptor}"


def expects(httpd):
    return httpd.log.expects("WSGID0168.*body is (longer|shorter)", "httpd has closed")


@pytest.mark.parametrize("what", LIES)
@pytest.mark.parametrize("headers", [(), ("Range: bytes=0-0",)], ids=["whole", "range"])
def test_a_client_gets_no_byte_that_is_not_its_own(httpd, what, headers):
    """The next request on the connection gets its own answer, or the connection ends."""
    data, path = lie(what)
    head = (f"Content-Length: {len(data)}", *headers)
    with expects(httpd), httpd.wire() as wire:
        wire.send(request("POST", path, *head, body=data) + request("GET", "/hello"))
        first = wire.read_response("POST")
        assert b"EVIL" not in first.body
        if first.status == 502:
            assert wire.read_response().body == b"Hello World!\n"
        else:
            assert b"EVIL" not in wire.rest()


@pytest.mark.parametrize("over", EVERY_WAY)
@pytest.mark.parametrize("what", LIES)
def test_a_shorter_or_longer_body_looks_broken_over_every_version_of_http(httpd, over, what):
    data, path = lie(what)
    with expects(httpd):
        done = run_curl(httpd, over, path, "--data-binary", "@-", data=data)
    assert done.status == 502 or done.code in BROKEN
    assert b"EVIL" not in done.body


@pytest.mark.parametrize("what", ["a second response in the frame", "too little"])
@pytest.mark.parametrize("over", EVERY_WAY)
def test_the_answer_to_head_has_no_body_whatever_comes(httpd, over, what):
    data, path = lie(what)
    with httpd.log.expects("httpd has closed"):
        done = run_curl(httpd, over, path + "&leave", "-I", "-H", f"X-Frames: {data.decode()}")
    assert (done.code, done.status, b"EVIL" in done.body) == (0, 200, False)


def test_the_answer_to_head_is_followed_by_the_next_answer(httpd):
    data, path = lie("a second response in the frame")
    with httpd.log.expects("httpd has closed"), httpd.wire() as wire:
        wire.send(
            request("HEAD", path + "&leave", f"X-Frames: {data.decode()}")
            + request("GET", "/hello")
        )
        assert wire.read_response("HEAD").status == 200
        assert wire.read_response().body == b"Hello World!\n"


def test_behind_a_proxy_no_visitor_gets_the_answer_of_another(httpd, make_httpd):
    """The proxy keeps its connections to httpd for all visitors."""
    port = httpd.ports["PORT"]
    front = make_httpd(FRONT % (port, port), ours=False, modules=["proxy", "proxy_http"])
    with front.log.allows("AH0"):
        for what in LIES:
            data, path = lie(what)
            with expects(httpd):
                front.post(path, data)
            for _ in range(5):
                assert front.get("/hello").content == b"Hello World!\n", what
