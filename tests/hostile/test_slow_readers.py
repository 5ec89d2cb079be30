"""Clients that read slowly, or not at all, hold no thread of the application: what they do not take
is in a temporary file of httpd's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import ssl
import subprocess
import threading

import pytest
from httpdenv import machine, processes, wait_until
from httpdenv.http2 import Exchange
from httpdenv.versions import (
    EVERY_WAY,
    HOSTS,
    MODULES,
    CurlThatLeaves,
    command,
    environment,
    run_curl,
)

MB = 1 << 20
CONFIGURATION = (
    """
WSGIDaemonProcess app threads=2 queue-timeout=60
WSGIDaemonProcess small threads=1 response-buffer-size=65536 response-spool-size=4M
WSGIProcessName app
WSGIScriptAlias /pattern ${FILES}/pattern.wsgi
WSGIScriptAlias /small ${FILES}/pattern.wsgi process-name=small
WSGIScriptAlias /small-hello ${APPS}/hello.wsgi process-name=small
WSGIScriptAlias /filtered ${FILES}/pattern.wsgi
WSGIScriptAlias /hello ${APPS}/hello.wsgi
WSGIScriptAlias /volume ${APPS}/volume.wsgi
WSGIChunkedRequest On
<Location /filtered>
    SetOutputFilter DEFLATE
</Location>
ThreadsPerChild 96
MaxRequestWorkers 96
ServerLimit 1
"""
    + HOSTS
)
# A body whose every part is different, and a daemon that says when it has sent all of it.
PATTERN = """
import hashlib
def blocks(count):
    for number in range(count):
        yield hashlib.shake_128(b"%d" % number).digest(65536)
    print("sent all", flush=True)
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return blocks(int(environ["QUERY_STRING"]))
"""
BLOCKS = 320  # 20 MB: more than response-buffer-size


def content(blocks: int = BLOCKS) -> bytes:
    return b"".join(hashlib.shake_128(b"%d" % number).digest(65536) for number in range(blocks))


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION, modules=[*MODULES, "deflate"], files={"pattern.wsgi": PATTERN})


def narrow(httpd, path: str, port: str = "PORT") -> socket.socket:
    """An HTTP/1.1 client with a small receive buffer, which has read nothing yet."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    client.settimeout(30)
    client.connect(("127.0.0.1", httpd.ports[port]))
    if port == "TLS_PORT":
        client = ssl._create_unverified_context().wrap_socket(client)
    client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    return client


def body_of(client: socket.socket) -> bytes:
    data = bytearray()
    while piece := client.recv(MB):
        data += piece
    return bytes(data).partition(b"\r\n\r\n")[2]


def temporary_files(httpd) -> list[str]:
    return [
        name
        for child in httpd.children()
        for name in processes.descriptors(child).values()
        if "/wsgid." in name and "(deleted)" in name
    ]


# ---- no thread is held


def test_74_slow_clients_of_http_1_hold_no_thread(httpd):
    """The group has two threads. Each client wants 10 MB, and reads nothing at first."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(narrow(httpd, "/volume/generator?10")) for _ in range(74)]
        for client in clients:
            assert client.recv(12) == b"HTTP/1.1 200"
        assert httpd.get("/hello", timeout=10).status_code == 200
        assert body_of(clients[0]) == body_of(clients[-1]) == b"g" * (10 * MB)


@pytest.mark.parametrize("over", EVERY_WAY)
def test_5_frozen_clients_hold_no_thread(httpd, over):
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(CurlThatLeaves(httpd, over, "/volume/generator?40"))
            assert client.read(1000)
            client.freeze()
        assert httpd.get("/hello", timeout=10).status_code == 200


# ---- nothing is lost


@pytest.mark.parametrize("port", ["PORT", "TLS_PORT"])
def test_a_slow_client_gets_what_was_in_the_file_unchanged(httpd, port):
    since = httpd.log.mark()
    with narrow(httpd, f"/pattern?{BLOCKS}", port) as client:
        httpd.log.wait_for("sent all", since)
        assert temporary_files(httpd)
        assert body_of(client) == content()
    wait_until(lambda: not temporary_files(httpd), "the temporary file to be closed")


def test_a_slow_stream_of_http_2_gets_what_was_in_the_file_unchanged(httpd):
    since = httpd.log.mark()
    exchange = Exchange(httpd.ports["PORT"], window=65535)
    with exchange.socket:
        answer = exchange.begin("GET", f"/pattern?{BLOCKS}", [], ended=True)
        httpd.log.wait_for("sent all", since)  # we have read nothing
        assert temporary_files(httpd)
        while not answer.is_over:
            exchange.take()
        assert answer.ended and answer.body == content()


@pytest.mark.parametrize("over", EVERY_WAY)
@pytest.mark.parametrize("path", ["/pattern", "/small", "/filtered"])
def test_a_client_that_reads_at_once_gets_everything_unchanged(httpd, over, path):
    done = run_curl(httpd, over, f"{path}?{BLOCKS}")
    assert (done.code, done.status, done.body == content()) == (0, 200, True)


@pytest.mark.parametrize("over", EVERY_WAY)
def test_a_client_that_pauses_gets_everything_through_a_file_of_any_size(httpd, over):
    """The file has 4 MB: the rest waits in the daemon; the file is used again and again."""
    with subprocess.Popen(
        command(httpd, over, f"/small?{BLOCKS}", "--limit-rate", "8M"),
        stdout=subprocess.PIPE,
        env=environment(),
    ) as process:
        received, _ = process.communicate(timeout=60)
    assert received == content()


def test_a_stream_of_http_2_is_not_held_back(httpd):
    """Far more than httpd lets be under way: each block comes once the one before it was read."""
    exchange = Exchange(httpd.ports["PORT"])
    with exchange.socket:
        answer, count = exchange.begin("POST", "/volume/stepped?5001", []), 0
        while count < 5000:
            exchange.connection.send_data(exchange.stream, b".")
            exchange.flush()
            count += 1
            while len(answer.body) < 16 * count:
                exchange.take()


# ---- the file


def test_the_file_has_no_name_and_nobody_inherits_it(httpd):
    since = httpd.log.mark()
    with narrow(httpd, f"/pattern?{BLOCKS}") as client:
        httpd.log.wait_for("sent all", since)
        (child,) = httpd.children()
        (number,) = [
            number
            for number, name in processes.descriptors(child).items()
            if "/wsgid." in name and "(deleted)" in name
        ]
        with open(f"/proc/{child}/fdinfo/{number}", encoding="ascii") as file:
            flags = next(line for line in file if line.startswith("flags:")).split()[1]
        assert int(flags, 8) & os.O_CLOEXEC
        assert os.stat(f"/proc/{child}/fd/{number}").st_mode & 0o777 == 0o600
        client.close()
    wait_until(lambda: not temporary_files(httpd), "the temporary file to be closed")


def test_a_full_disk_makes_the_daemon_wait_and_is_logged_once(serve):
    """A tiny file system is full at once; the client still gets everything."""
    directory = machine.temporary_directory("full-")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1M,mode=1777", "none", directory], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        server = serve(
            CONFIGURATION.replace("DEFLATE", "INCLUDES"),
            modules=[*MODULES, "include"],
            files={"pattern.wsgi": PATTERN},
            environment={"TMPDIR": str(directory)},
        )
        since = server.log.mark()
        clients = [narrow(server, f"/pattern?{BLOCKS}") for _ in range(2)]
        record = server.log.wait_for("WSGID0180: group 'app'", since)
        assert str(directory) in record.text and "No space left" in record.text
        bodies: dict[int, bytes] = {}
        threads = [
            threading.Thread(target=lambda n=n: bodies.update({n: body_of(clients[n])}))
            for n in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert bodies[0] == bodies[1] == content()
        assert len(server.log.find("WSGID0180", since)) == 1
        for client in clients:
            client.close()
        server.stop()
    finally:
        subprocess.run(["umount", directory], check=True)
        directory.rmdir()


def test_a_daemon_that_dies_is_visible_to_a_client_that_has_read_nothing_yet(httpd):
    """Also if the part that came is in a file."""
    since = httpd.log.mark()
    with httpd.log.allows(r"WSGID\d{4}"), narrow(httpd, "/pattern?100000") as client:
        wait_until(lambda: temporary_files(httpd), "a temporary file")
        pids = httpd.wait_for_daemons("app", 1)
        os.kill(pids[0], 9)
        httpd.log.wait_for("WSGID0166", since)
        assert len(body_of(client)) < 100000 * 65536
    httpd.wait_for_daemons("app", 1, without=pids)


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="reads the descriptors of httpd's user")
