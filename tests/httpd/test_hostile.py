"""A daemon violates the protocol: httpd trusts none of it, logs the violation, and keeps
serving.
"""

from __future__ import annotations

import os
import signal
import struct

import pytest
from httpdenv import processes, wait_until
from httpdenv.frames import OK, STARTED, file, frame, response

from pywsgid.wire import protocol

CONFIGURATION = """
WSGIDaemonProcess app threads=1
WSGIProcessName app
WSGIScriptAlias /hostile ${APPS}/hostile.wsgi
WSGIScriptAlias /hello ${APPS}/hello.wsgi
<IfModule !mpm_prefork_module>
    ThreadsPerChild 16
    MaxRequestWorkers 16
    ServerLimit 1
</IfModule>
"""


@pytest.fixture(scope="module")
def httpd(make_httpd):
    server = make_httpd(CONFIGURATION)
    assert server.get("/hello").status_code == 200
    assert len(server.children()) == 1
    return server


def provoke(httpd, data: bytes, descriptor: str = "none", begin: bytes = STARTED):
    """Returns the client's answer. httpd must close the connection, survive, and answer the next
    request.
    """
    before = httpd.children()
    data = begin + data
    with httpd.log.expects("httpd has closed"):
        answer = httpd.post(f"/hostile?{descriptor}", data.hex().encode())
    assert httpd.get("/hello").status_code == 200
    assert httpd.children() == before
    return answer


# ---- heads that must not reach a client

HEADS = {
    "no status": ("OK",),
    "a short status": ("20 OK",),
    "a long status": ("2000 OK",),
    "an interim status": ("100 Continue",),
    "switching protocols": ("101 Switching Protocols",),
    "a status with a control character": ("200 O\rK",),
    "a header's name with a space": (OK, "X Y", "z"),
    "a header's name with a colon": (OK, "X:Y", "z"),
    "a value with a line feed": (OK, "X", "y\nSet-Cookie: z"),
    "a value with a carriage return": (OK, "X", "y\rz"),
    "Transfer-Encoding": (OK, "Transfer-Encoding", "chunked"),
    "connection": (OK, "connection", "close"),
    "a Content-Length that is none": (OK, "Content-Length", "12x"),
    "a negative Content-Length": (OK, "Content-Length", "-1"),
    "two Content-Lengths": (OK, "Content-Length", "1", "Content-Length", "2"),
}


@pytest.mark.parametrize("what", HEADS)
def test_a_head_that_must_not_reach_a_client_is_a_500(httpd, what):
    with httpd.log.expects("WSGID0169: group 'app'"):
        answer = provoke(httpd, response(*HEADS[what], body=b"secret", flags=protocol.END))
    assert (answer.status_code, b"secret" in answer.content) == (500, False)
    assert "Set-Cookie" not in answer.headers


# ---- invalid frames

FRAMES = {
    "an unknown type": frame(0x7F),
    "a frame of httpd's": frame(protocol.BODY, b"x"),
    "an unknown flag": response(OK, flags=0x80),
    "a flag where none belongs": frame(protocol.CREDIT, struct.pack("<I", 1), protocol.END),
    "something in the reserved field": frame(protocol.CREDIT, struct.pack("<I", 1), reserved=1),
    "a length beyond all bounds": frame(protocol.RESPONSE, length=0xFFFFFFFF),
    "a head longer than its frame": response(OK, head_length=1 << 20),
    "a head of no length": response(head_length=0),
    "a head that is cut off": frame(protocol.RESPONSE, struct.pack("<I", 3) + b"200"),
    "a name without a value": response(OK, "Name"),
    "DATA before RESPONSE": frame(protocol.DATA, b"x"),
    "an empty DATA": response(OK) + frame(protocol.DATA),
    "two RESPONSEs": response(OK) + response(OK),
    "INTERIM after RESPONSE": response(OK) + frame(protocol.INTERIM, b"103 Early Hints\0"),
    "an INTERIM that is final": frame(protocol.INTERIM, b"200 OK\0"),
    "a credit of nothing": frame(protocol.CREDIT, struct.pack("<I", 0)),
    "RETRY after RESPONSE": response(OK) + frame(protocol.RETRY),
    "OVERLOADED after RESPONSE": response(OK) + frame(protocol.OVERLOADED),
    "bytes behind OVERLOADED": frame(protocol.OVERLOADED) + b"x",
    "STARTED twice": STARTED,
    "STARTED after RESPONSE": response(OK) + STARTED,
    "a LOG without a level": frame(protocol.LOG),
    "a LOG of a level that is none": frame(protocol.LOG, b"\x63text"),
    "bytes behind the end": response(OK, flags=protocol.END) + b"x",
    "nothing that looks like a frame": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("what", FRAMES)
def test_a_frame_that_violates_the_protocol_is_a_502(httpd, what):
    code = "WSGID0169" if "final" in what else "WSGID0168"
    with httpd.log.expects(f"{code}: group 'app'"):
        answer = provoke(httpd, FRAMES[what])
    assert answer.status_code == (500 if code == "WSGID0169" else 502)


BEGINS = {
    "RESPONSE": response(OK, flags=protocol.END),
    "RETRY": frame(protocol.RETRY),
    "OVERLOADED": frame(protocol.OVERLOADED),
    "LOG": frame(protocol.LOG, b"\x04text"),
    "a STARTED that is too short": frame(protocol.STARTED, b"\0" * 7),
    "a STARTED that is too long": frame(protocol.STARTED, b"\0" * 9),
    "a STARTED with a flag": frame(protocol.STARTED, b"\0" * 8, protocol.END),
}


@pytest.mark.parametrize("what", BEGINS)
def test_an_exchange_must_begin_with_started(httpd, what):
    with httpd.log.expects("WSGID0168: group 'app'"):
        assert provoke(httpd, BEGINS[what], begin=b"").status_code == 502


@pytest.mark.parametrize("numbers", [(0, 0), (2**32 - 1, 2**32 - 1)])
def test_no_value_in_started_does_harm(httpd, numbers):
    begin = frame(protocol.STARTED, struct.pack("<II", *numbers))
    with httpd.log.expects("sent by a test"):
        answer = provoke(
            httpd, frame(protocol.ABORT, struct.pack("<H", 503) + b"sent by a test"), begin=begin
        )
    assert answer.status_code == 503


# ---- a request that is given back again and again


def test_a_request_that_no_process_starts_is_a_503_after_eight_attempts(httpd):
    """WSGID0154 is logged for each further attempt, so not after the last one."""
    since = httpd.log.mark()
    with httpd.log.expects(
        "WSGID0165: group 'app': several processes in a row ended or were replaced before they "
        "started this request"
    ):
        answer = provoke(httpd, frame(protocol.RETRY))
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    again = httpd.log.find("WSGID0154: group 'app'.*The request is sent again", since)
    assert len(again) in (7, 8), "eight attempts, and one on an idle connection, if there was one"
    wait_until(
        lambda: len(httpd.log.find("httpd has closed", since)) == len(again) + 1,
        "one line more of the application than of WSGID0154",
    )


# ---- descriptors


@pytest.mark.parametrize(
    "kind", ["none", "pipe", "device", "directory", "socket", "path", "writeonly"]
)
def test_only_a_readable_regular_file_is_accepted(httpd, kind):
    with httpd.log.expects("WSGID0168: group 'app'.*FILE "):
        assert provoke(httpd, file(0, 1), kind).status_code == 502


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 1 << 20), (1 << 40, 0), (1, (1 << 64) - 1), ((1 << 64) - 1, 1)]
)
def test_a_range_beyond_the_end_of_a_file_is_rejected(httpd, offset, length):
    with httpd.log.expects("WSGID0168: group 'app'.*beyond the end"):
        assert provoke(httpd, file(offset, length), "file").status_code == 502


def test_a_descriptor_without_a_file_frame_is_closed(httpd):
    for _ in range(3):
        with httpd.log.expects("WSGID0168: group 'app'"):
            provoke(httpd, FRAMES["an unknown type"], "file")
    for child in httpd.children():
        assert "/etc/hostname" not in processes.descriptors(child).values()


# ---- attacks on the parent

STOPS_ITS_PREDECESSOR = """
import fcntl, os, signal
def application(environ, start_response):
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
try:
    predecessor = int(open("${FILES}/predecessor").read())
except FileNotFoundError:
    pass
else:
    os.kill(predecessor, signal.SIGSTOP)
    flags = fcntl.fcntl(9, fcntl.F_GETFL)
    fcntl.fcntl(9, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    try:
        while True:
            os.write(9, b"\\1" * 4096)
    except BlockingIOError:
        fcntl.fcntl(9, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)
    raise RuntimeError("the lifeline is full")
"""


def test_a_successor_that_fills_the_lifeline_of_a_stopped_process_does_not_block_httpd(
    make_httpd,
):
    """A write to a full pipe blocks until its reader reads; httpd's parent must not block."""
    httpd = make_httpd("WSGIScriptAlias / ${FILES}/stops.wsgi\n", files={"stops.wsgi": ""})
    script = STOPS_ITS_PREDECESSOR.replace("${FILES}", str(httpd.files))
    httpd.write("stops.wsgi", script)
    old = int(
        wait_until(lambda: (answer := httpd.get("/")).ok and answer.text, "the script to be loaded")
    )
    httpd.write("predecessor", str(old))
    httpd.write("stops.wsgi", f"{script}# changed")
    httpd.log.wait_for("WSGID0056.*exit code 84")
    child = httpd.children()[0]
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: child not in httpd.children() and httpd.children(), "another child of httpd")
    os.kill(old, signal.SIGKILL)
    httpd.log.wait_for(f"WSGID0051.*{old}|WSGID0052.*{old}")
    httpd.stop()
    httpd.log.accept_all(r"WSGID\d{4}", "AH00052")
