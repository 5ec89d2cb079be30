"""After an answer, a thread of httpd waits briefly for the client's next request
(apxs/request/keepalive.c).
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from httpdenv import wait_until
from httpdenv.client import request
from httpdenv.traffic import HeldRequests

HELLO = b"Hello World!\n"
REQUESTS = 100
BUSY = 13  # of 16 threads: fewer than a quarter are idle
LARGE = 32_000_000  # more than the socket buffers hold
EPOLL_WAIT = {"232", "281", "22"}  # epoll_wait and epoll_pwait on x86-64, epoll_pwait on arm64
CONFIGURATION = """
StartServers 1
ServerLimit 1
ThreadsPerChild 16
MinSpareThreads 1
MaxRequestWorkers 16
EnableSendfile On
<Location /server-status>
    SetHandler server-status
    Require all granted
</Location>
WSGIScriptAlias /files ${APPS}/files.wsgi
WSGIScriptAlias /gate ${APPS}/gate.wsgi
WSGIScriptAlias / ${APPS}/hello.wsgi
"""


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION, mpm="event", modules=["status"])


def ask(httpd) -> None:
    """Sends REQUESTS requests over one connection, each immediately after the previous answer."""
    with httpd.wire() as wire:
        for _ in range(REQUESTS):
            wire.send(request("GET", "/"))
            assert wire.read_response().body == HELLO


def listener_of(httpd) -> Path:
    """The thread of httpd's only child that waits in epoll for all connections."""
    tasks = [task for pid in httpd.children() for task in Path(f"/proc/{pid}/task").iterdir()]
    (listener,) = wait_until(
        lambda: [task for task in tasks if system_call(task) in EPOLL_WAIT], "a listener"
    )
    return listener


def system_call(task: Path) -> str:
    """The number of the system call that the thread is in."""
    return (task / "syscall").read_text().split()[0]


def wake_ups(task: Path) -> int:
    """How often a thread has gone to sleep so far."""
    lines = (task / "status").read_text().splitlines()
    return next(
        int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches")
    )


def test_the_listener_is_not_woken_if_the_next_request_comes_at_once(httpd):
    """On a busy machine the client may not be fast enough; one good round out of several is proof
    enough.
    """
    ask(httpd)
    listener = listener_of(httpd)
    turns = []
    for _ in range(10):
        before = wake_ups(listener)
        ask(httpd)
        turns.append(wake_ups(listener) - before)
        if turns[-1] < REQUESTS / 2:
            return
    pytest.fail(f"the listener was woken so many times for {REQUESTS} requests: {turns}")


@contextmanager
def requests_of_ours(httpd):
    gate = HeldRequests(httpd, "/gate", "many", BUSY)
    yield
    gate.release()


@contextmanager
def requests_of_others(httpd):
    """Requests with unfinished heads; httpd waits for the rest of each with a thread."""
    with ExitStack() as stack:
        for _ in range(BUSY):
            stack.enter_context(httpd.wire()).send(b"GET / HTTP/1.1\r\nHo")
        wait_until(
            lambda: BUSY + 1 == busy_threads(httpd), "threads to wait for the rest of the heads"
        )
        yield


def busy_threads(httpd) -> int:
    """The number of busy threads, including the one that answers this question."""
    text = httpd.get("/server-status?auto").text
    return int(
        next(line for line in text.splitlines() if line.startswith("BusyWorkers:")).split()[1]
    )


@pytest.mark.parametrize("many", [requests_of_ours, requests_of_others])
def test_threads_do_not_wait_for_their_client_while_many_are_busy(httpd, many):
    """If as many clients as threads always sent their next request at once, all other connections
    would have to wait.
    """
    ask(httpd)
    listener = listener_of(httpd)
    turns = []
    with many(httpd):
        for _ in range(10):
            before = wake_ups(listener)
            ask(httpd)
            turns.append(wake_ups(listener) - before)
    assert max(turns) > REQUESTS / 2, (
        f"the listener was woken so many times for {REQUESTS} requests: {turns}"
    )


def test_a_client_that_reads_a_large_file_slowly_occupies_no_thread(httpd):
    """The MPM sends the rest as the client reads, although threads wait for clients with a next
    request.
    """
    ask(httpd)
    large = httpd.write("large", "x" * LARGE)
    with httpd.wire() as slow:
        slow.send(request("GET", f"/files{large}"))
        wait_until(
            lambda: "ConnsAsyncWriting: 1" in httpd.get("/server-status?auto").text,
            lambda: "the MPM to write; " + httpd.get("/server-status?auto").text,
        )
