"""Memory stays flat in the daemon and in httpd's child, however large a body is and however it is
cut into pieces.
"""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import subprocess

import pytest
from httpdenv import machine, processes
from httpdenv.client import request
from httpdenv.versions import HOSTS, MODULES, command, environment, run_curl

CONFIGURATION = (
    """
WSGIDaemonProcess app threads=1
WSGIProcessName app
WSGIChunkedRequest On
LimitRequestBody 0
WSGIScriptAlias /volume ${APPS}/volume.wsgi
WSGIScriptAlias /hello ${APPS}/hello.wsgi
<IfModule !mpm_prefork_module>
    ThreadsPerChild 32
    MaxRequestWorkers 32
    ServerLimit 1
</IfModule>
"""
    + HOSTS
)
MB = 1 << 20
TOTAL = 100  # MB
# More than the process used before: the buffers of both ends, and what an allocator keeps. Far
# below the size of the body.
SLACK = 24 * MB
WAYS = ["http/1.1", "h2"]

pytestmark = [
    pytest.mark.skipif(machine.sanitized(), reason="a sanitizer keeps what is freed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="another user's peak may not be reset"),
]


@pytest.fixture(scope="module")
def httpd(make_httpd):
    """One child of httpd and one daemon; both have served every kind of request once."""
    server = make_httpd(CONFIGURATION, modules=MODULES)
    for over in WAYS:
        assert run_curl(server, over, "/volume/generator?1").status == 200
        assert (
            run_curl(
                server, over, "/volume/upload?1000", "-T", "-", "-X", "POST", data=b"x" * MB
            ).status
            == 200
        )
    return server


class Peaks:
    """The increase of the peak memory (VmHWM) of the daemon and of httpd's children over the `with`
    block, in bytes.
    """

    def __init__(self, httpd) -> None:
        self._pids = {"daemon": httpd.daemons(), "httpd": httpd.children()}
        self.risen: dict[str, int] = {}

    def __enter__(self) -> Peaks:
        for pid in sum(self._pids.values(), []):
            with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
                file.write("5")
        self._before = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        now = self._now()
        self.risen = {who: now[who] - self._before[who] for who in now}

    def _now(self) -> dict[str, int]:
        return {who: max(map(peak, pids)) for who, pids in self._pids.items()}


def peak(pid: int) -> int:
    return int(processes.status(pid)["VmHWM"].split()[0]) * 1024


def count_of(httpd, over: str, path: str, *options: str) -> int:
    """Downloads with curl and returns the number of bytes received."""
    with subprocess.Popen(
        command(httpd, over, path, *options), stdout=subprocess.PIPE, env=environment()
    ) as process:
        total = 0
        while block := process.stdout.read(MB):
            total += len(block)
    assert process.returncode == 0
    return total


@pytest.mark.parametrize("over", WAYS)
def test_a_large_body_in_blocks_leaves_memory_flat(httpd, over):
    with Peaks(httpd) as peaks:
        assert count_of(httpd, over, f"/volume/generator?{TOTAL}") == TOTAL * MB
    assert peaks.risen["daemon"] < 4 * MB
    assert peaks.risen["httpd"] < SLACK


@pytest.mark.parametrize("over", WAYS)
def test_one_large_object_is_not_copied(httpd, over):
    """Only the daemon has the object, once. httpd holds at most response-buffer-size of it."""
    with Peaks(httpd) as peaks:
        assert count_of(httpd, over, "/volume/object?16") == 16 * MB
    assert peaks.risen["daemon"] < 16 * MB + 4 * MB
    assert peaks.risen["httpd"] < SLACK


def test_a_slow_reader_costs_httpd_no_more_than_its_buffer(httpd):
    """100 MB in blocks, for a client that reads 5 MB of it slowly and leaves."""
    with Peaks(httpd) as peaks, httpd.wire() as wire:
        wire.send(request("GET", f"/volume/generator?{TOTAL}"))
        for _ in range(5):
            assert len(wire.file.read(MB)) == MB
    assert peaks.risen["daemon"] < 4 * MB
    assert peaks.risen["httpd"] < SLACK


def reader_of(httpd, port: str) -> socket.socket:
    """A client with a small receive buffer.

    With a window below the loopback's segment size, the kernel would send a piece only every 200 ms
    and take far too long.
    """
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.settimeout(20)
    client.connect(("127.0.0.1", httpd.ports[port]))
    return ssl._create_unverified_context().wrap_socket(client) if port == "TLS_PORT" else client


@pytest.mark.parametrize(
    ("kind", "block", "count"),
    [("tiny", b"0123456789abcde\n", 250_000), ("small", b"s" * 1000, 4000)],
)
@pytest.mark.parametrize("port", ["PORT", "TLS_PORT"])
def test_small_blocks_queued_for_a_slow_reader_take_little_more_than_their_own_size(
    httpd, port, kind, block, count
):
    """4 MB, all of it in httpd's queue once the daemon's thread is free. Stored one by one, each
    block would cost 500 bytes, or 8 KB. Uses HTTP/1.0, because its body arrives unframed.
    """
    with Peaks(httpd) as peaks, reader_of(httpd, port) as client:
        client.sendall(f"GET /volume/{kind}?{count} HTTP/1.0\r\n\r\n".encode())
        received = client.recv(12)
        assert httpd.get("/hello").status_code == 200
        while piece := client.recv(65536):
            received += piece
    assert received.startswith(b"HTTP/1.1 200")
    assert received.partition(b"\r\n\r\n")[2] == block * count
    assert peaks.risen["daemon"] < 4 * MB
    assert peaks.risen["httpd"] < 3 * 4 * MB


@pytest.mark.parametrize("over", WAYS)
def test_tiny_blocks_leave_memory_flat(httpd, over):
    with Peaks(httpd) as peaks:
        assert count_of(httpd, over, "/volume/tiny?100000") == 100_000 * 16
    assert peaks.risen["daemon"] < 4 * MB
    assert peaks.risen["httpd"] < SLACK


def test_each_of_2000_tiny_blocks_reaches_a_waiting_client_at_once(httpd):
    """The client requests the next block only once it has the previous one: a block held back would
    block everything.
    """
    with httpd.wire() as wire:
        wire.send(request("POST", "/volume/stepped?2000", "Transfer-Encoding: chunked"))
        wire.send(b"1\r\n.\r\n")
        assert wire.file.readline().split()[1] == b"200"
        while wire.file.readline().strip():
            pass
        for number in range(2000):
            assert wire.file.readline() == b"10\r\n"
            assert wire.file.read(18) == b"0123456789abcde\n\r\n"
            if number < 1999:
                wire.send(b"1\r\n.\r\n")
        wire.send(b"0\r\n\r\n")
        assert wire.file.readline() == b"0\r\n"


@pytest.mark.parametrize("size", [1000, 65536, 1_000_003])
@pytest.mark.parametrize("over", WAYS)
def test_a_large_upload_leaves_memory_flat_however_it_is_read(httpd, over, size):
    options = ["-H", "Expect:", "-X", "POST", "-T", "-"]
    with Peaks(httpd) as peaks:
        with subprocess.Popen(
            command(httpd, over, f"/volume/upload?{size}", *options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
        ) as process:
            for _ in range(TOTAL):
                process.stdin.write(b"u" * MB)
            received, _ = process.communicate()
        assert (process.returncode, received) == (0, str(TOTAL * MB).encode())
    assert peaks.risen["daemon"] < 4 * MB + 4 * size
    assert peaks.risen["httpd"] < SLACK


def test_a_large_body_that_is_read_whole_takes_its_own_size_and_little_more(httpd):
    """read(-1) of 16 MB: the application asks for it in one piece. For a moment at most, two copies
    exist.
    """
    with Peaks(httpd) as peaks:
        assert (
            httpd.post(f"/volume/upload?{1 << 30}", b"u" * (16 * MB)).content
            == str(16 * MB).encode()
        )
    assert peaks.risen["daemon"] < 2 * 16 * MB + 4 * MB
    assert peaks.risen["httpd"] < SLACK


def test_bodies_arrive_unchanged(httpd):
    """The other tests only count bytes; this one compares them."""
    digest = hashlib.sha256(b"g" * (2 * MB)).digest()
    assert hashlib.sha256(httpd.get("/volume/generator?2").content).digest() == digest
