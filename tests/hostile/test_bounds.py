"""A daemon sends without end: httpd's memory and descriptors stay within bounds."""

from __future__ import annotations

import os
import socket
import struct
import threading

import pytest
from httpdenv import machine, processes, wait_until
from httpdenv.client import request
from httpdenv.frames import OK, STARTED, frame, response

from pywsgid.wire import protocol

MB = 1 << 20
CONFIGURATION = """
WSGIResponseBufferTotal 16M
WSGIDaemonProcess app threads=1 queue-timeout=60
WSGIDaemonProcess waiting threads=40 response-spool-size=0
WSGIProcessName app
WSGIScriptAlias /hostile ${APPS}/hostile.wsgi
WSGIScriptAlias /hello ${APPS}/hello.wsgi
WSGIScriptAlias /volume ${APPS}/volume.wsgi
WSGIScriptAlias /waiting ${APPS}/volume.wsgi process-name=waiting
ThreadsPerChild 64
MaxRequestWorkers 64
ServerLimit 1
# Otherwise httpd keeps up to 2 MB that were free again for each connection.
MaxMemFree 128
"""
CLIENTS = 40
SIZE = 7  # MB for each of them


@pytest.fixture(scope="module")
def httpd(make_httpd):
    server = make_httpd(CONFIGURATION)
    assert server.get("/hello").status_code == 200
    return server


def resident(httpd) -> int:
    (child,) = httpd.children()
    return int(processes.status(child)["VmRSS"].split()[0]) * 1024


def send(httpd, count: int, piece: bytes, end: bytes):
    """Returns the final response, and how many interim ones came before it."""
    data = b" ".join(part.hex().encode() for part in (STARTED, piece, end))
    interim = 0
    with httpd.wire(timeout=60) as wire:
        path = f"/hostile?none&repeat={count}&leave"
        wire.send(request("POST", path, f"Content-Length: {len(data)}", body=data))
        while (answer := wire.read_response()).status < 200:
            interim += 1
    return answer, interim


@pytest.mark.skipif(machine.sanitized(), reason="a sanitizer keeps what is freed")
@pytest.mark.parametrize(
    "piece",
    [
        frame(protocol.INTERIM, b"103 Early Hints\0Link\0</a.css>; rel=preload\0"),
        frame(protocol.LOG, b"\x08text"),
        frame(protocol.CREDIT, struct.pack("<I", 1)),
    ],
    ids=["INTERIM", "LOG", "CREDIT"],
)
def test_300000_frames_before_the_response_cost_httpd_no_memory(httpd, piece):
    before = resident(httpd)
    with httpd.log.expects("httpd has closed"):
        end = response(OK, "Content-Length", "4", body=b"done", flags=protocol.END)
        answer, interim = send(httpd, 300_000, piece, end)
    assert answer.body == b"done"
    assert interim < 1000
    assert resident(httpd) - before < 8 * MB


def test_a_file_ends_the_response_so_it_needs_one_descriptor_at_most(httpd):
    child = httpd.children()[0]
    before = len(processes.descriptors(child))
    piece = frame(protocol.FILE, struct.pack("<QQ", 0, 1))
    data = b" ".join(part.hex().encode() for part in (STARTED + response(OK), piece, b""))
    with httpd.log.expects("WSGID0168.*frame FILE", "httpd has closed"):
        answer = httpd.post("/hostile?file&repeat=900", data + b"00")
    assert answer.status_code == 502
    assert len(processes.descriptors(child)) <= before + 2


# ---- clients that read nothing


def frozen(httpd, path: str) -> socket.socket:
    """A client that has sent a request and reads nothing of the response."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    client.settimeout(60)
    client.connect(("127.0.0.1", httpd.ports["PORT"]))
    client.sendall(request("GET", path, "Connection: close"))
    return client


def started(httpd, path: str) -> list[socket.socket]:
    clients = [frozen(httpd, path) for _ in range(CLIENTS)]
    for client in clients:
        assert client.recv(1, socket.MSG_PEEK) == b"H"
    return clients


def read_all(clients: list[socket.socket]) -> list[int]:
    """Reads what waits for each client, and returns how many bytes of the body that was."""
    counts = [0] * len(clients)

    def read(number: int) -> None:
        with clients[number] as client:
            head = client.recv(12)
            while b"\r\n\r\n" not in head:
                head += client.recv(1)
            while piece := client.recv(MB):
                counts[number] += piece.count(b"g")

    threads = [threading.Thread(target=read, args=(n,)) for n in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return counts


def deleted_files(httpd) -> list[str]:
    return [
        name
        for child in httpd.children()
        for name in processes.descriptors(child).values()
        if "wsgid." in name and "(deleted)" in name
    ]


def test_40_clients_that_read_nothing_take_no_more_memory_than_the_budget(httpd):
    """What exceeds it is in temporary files; the only thread is free again; nothing is lost."""
    before = resident(httpd)
    clients = started(httpd, f"/volume/generator?{SIZE}")
    assert httpd.get("/hello", timeout=30).status_code == 200
    risen, files = resident(httpd) - before, deleted_files(httpd)
    assert read_all(clients) == [SIZE * MB] * CLIENTS
    assert files
    assert risen < (16 + 24) * MB or machine.sanitized()
    wait_until(lambda: not deleted_files(httpd), "the temporary files to be closed")


def test_without_temporary_files_the_budget_makes_responses_wait_and_loses_none(httpd):
    before = resident(httpd)
    clients = started(httpd, f"/waiting/generator?{SIZE}")
    risen, files = resident(httpd) - before, deleted_files(httpd)
    assert read_all(clients) == [SIZE * MB] * CLIENTS
    assert not files
    assert risen < (16 + 24) * MB or machine.sanitized()


def test_the_budget_is_free_again_when_clients_leave(httpd):
    """Whatever becomes of a response, its bytes are not counted any more."""
    for _ in range(2):
        clients = started(httpd, f"/volume/generator?{SIZE}")
        for client in clients:
            client.close()
        wait_until(lambda: not deleted_files(httpd), "httpd to notice")
    with frozen(httpd, f"/volume/generator?{SIZE}") as client:
        assert httpd.get("/hello", timeout=30).status_code == 200
        assert not deleted_files(httpd), "7 of 16 MB fit into memory"
        assert read_all([client]) == [SIZE * MB]


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="reads the descriptors of httpd's user")
