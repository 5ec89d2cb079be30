"""Requests that run too long, threads that never return, and a process in which no Python runs
(pywsgid/daemon/process/stuck.py).
"""

from __future__ import annotations

import signal
import sys
import time

import pytest
from daemonenv import Daemon, wait_until

from pywsgid.wire import process_abi, protocol

# /sleep waits in C, /spin runs Python, /catch answers RequestTimeout itself, /swallow ignores it
# and continues, /close and /drip are slow in close() and between blocks, /replaced and /cleared are
# like /close with another wsgi.input or none.
SCRIPT = """
import io, os, time, pywsgid

def until(path):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not os.path.exists(path):
        pass

class Closing(list):
    def __init__(self, wait):
        super().__init__([b"answered"])
        self.close = wait

def application(environ, start_response):
    what, go = environ["PATH_INFO"], environ["QUERY_STRING"]
    print("begins", what, flush=True)
    try:
        if what == "/sleep":
            while not os.path.exists(go):
                time.sleep(30 if go == "/never" else 0.001)
        elif what == "/spin":
            until(go)
        elif what == "/exception":
            try:
                until(go)
            except Exception:
                pass
        elif what == "/swallow":
            while not os.path.exists(go):
                try:
                    until(go)
                except BaseException:
                    print("swallowed", flush=True)
        elif what == "/catch":
            try:
                until(go)
            except pywsgid.RequestTimeout:
                start_response("200 OK", [])
                return [b"caught"]
        elif what == "/read":
            environ["wsgi.input"].read()
    finally:
        print("ends", what, flush=True)
    start_response("200 OK", [])
    if what in ("/close", "/replaced", "/cleared"):
        if what == "/replaced":
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read())
        elif what == "/cleared":
            environ.clear()
        return Closing(lambda: (print("closes", what, flush=True), until(go)))
    if what == "/drip":
        return drip(go)
    return [b"answered"]

def drip(go):
    yield b"first"
    until(go)
    yield b"second"
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "stuck.wsgi"
    path.write_text(SCRIPT)
    return path


@pytest.fixture
def go(tmp_path):
    """A file that ends the wait of the applications that wait for it."""
    path = tmp_path / "go"
    yield path
    path.touch()


def ask(daemon, script, what, go="/never"):
    client = daemon.connect()
    client.request(script, PATH_INFO=what, QUERY_STRING=str(go))
    return client


# ---- request-timeout: the exception ends the request


@pytest.mark.parametrize("what", ["/spin", "/exception"])
def test_the_exception_ends_the_request_with_504_and_the_process_continues(tmp_path, script, what):
    with Daemon(tmp_path, scripts=[script], threads=1, request_timeout=0.3) as daemon:
        client = ask(daemon, script, what)
        reply = client.reply()
        assert reply.abort[0] == 504
        assert reply.abort[1].startswith("WSGID0358")
        assert "in until" in reply.log_text
        assert "RequestTimeout" in reply.log_text
        assert f"GET {what}" in daemon.wait_for_log("WSGID0353")
        assert daemon.get("hello.wsgi").complete
        assert daemon.replacement_requests()[0] == 0
        client.close()


def test_the_limit_is_exact_and_applies_to_each_request_separately(tmp_path, script):
    with Daemon(tmp_path, scripts=[script], threads=4, request_timeout=1) as daemon:
        clients, begun, took = [], [], []
        for _ in range(3):
            begun.append(time.monotonic())
            clients.append(ask(daemon, script, "/spin"))
            wait_until(lambda: daemon.log_text().count("begins /spin") == len(clients), "its start")
            since = time.monotonic()
            while time.monotonic() < since + 0.2:
                assert daemon.get("hello.wsgi").complete
        for client, start in zip(clients, begun):
            assert client.reply().abort[0] == 504
            took.append(time.monotonic() - start)
            client.close()
        assert min(took) >= 1
        assert max(took) < 3  # three that spin share the processors with everything else


def test_an_application_may_catch_the_exception_and_answer(tmp_path, script):
    with Daemon(tmp_path, scripts=[script], request_timeout=0.3) as daemon:
        client = ask(daemon, script, "/catch")
        assert client.reply().body == b"caught"
        assert client.get("hello.wsgi").complete, "the connection is kept"
        client.close()


def test_between_blocks_the_exception_cuts_the_response_off(tmp_path, script):
    with Daemon(tmp_path, scripts=[script], request_timeout=0.3) as daemon:
        client = ask(daemon, script, "/drip")
        reply = client.reply()
        assert (reply.body, reply.abort[0], reply.complete) == (b"first", 504, False)
        client.close()


def test_in_close_the_client_still_gets_the_whole_response(tmp_path, script):
    with Daemon(tmp_path, scripts=[script], threads=1, request_timeout=0.3) as daemon:
        client = ask(daemon, script, "/close")
        assert client.reply().body == b"answered"
        assert daemon.get("hello.wsgi").complete
        assert "RequestTimeout" in daemon.wait_for_log("WSGID0344")
        client.close()


@pytest.mark.parametrize("what", ["/replaced", "/cleared"])
def test_changes_of_environ_by_the_application_do_not_affect_close(tmp_path, script, what):
    with Daemon(tmp_path, scripts=[script], threads=1, request_timeout=0.3) as daemon:
        client = ask(daemon, script, what)
        assert client.reply().body == b"answered"
        daemon.wait_for_log(f"closes {what}")
        assert "RequestTimeout" in daemon.wait_for_log("WSGID0344")
        assert ask(daemon, script, "/spin").reply().abort[0] == 504, "the next one is watched too"
        client.close()


def test_an_exception_after_the_last_frame_replaces_the_response_with_abort(tmp_path):
    """finish() is the last call that runs under the guard."""
    script = tmp_path / "late.wsgi"
    script.write_text(
        "import sys, pywsgid\ndef raise_behind_finish(frame, event, argument):\n"
        "    if event == 'return' and frame.f_code.co_name == 'finish':\n"
        "        sys.setprofile(None)\n        raise pywsgid.RequestTimeout\n"
        "def application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    sys.setprofile(raise_behind_finish)\n    return [b'x' * 100000]\n"
    )
    with Daemon(tmp_path, scripts=[script], request_timeout=60) as daemon:
        client = daemon.connect()
        client.request(script)
        reply = client.reply()
        assert (reply.abort[0], reply.body) == (504, b"")
        assert client.frame() is None, "and nothing after it"
        client.close()


def test_an_exception_near_the_end_of_a_request_hits_nothing_else(tmp_path):
    """An exception that arrives late would end a worker, or the next request."""
    script = tmp_path / "near.wsgi"
    script.write_text(
        "import time\ndef application(environ, start_response):\n"
        "    end = time.monotonic() + float(environ['QUERY_STRING'])\n"
        "    while time.monotonic() < end: pass\n    start_response('200 OK', [])\n    return [b'x']\n"
    )
    limit = 0.05
    with Daemon(tmp_path, scripts=[script], threads=2, request_timeout=limit) as daemon:
        client, ended = daemon.connect(), {200: 0, 504: 0}
        for number in range(60):
            # From before the limit to well after it: a thread that uses the CPU gives way only
            # every 5 ms.
            client.request(script, QUERY_STRING=str(0.049 + number % 10 * 0.002))
            reply = client.reply()
            if reply.complete:
                ended[200] += 1
            else:
                assert reply.abort[0] == 504
                ended[504] += 1
                client.close()
                client = daemon.connect()
            began = time.monotonic()
            # On a busy machine, even this one may take longer than the limit.
            assert daemon.get("hello.wsgi").complete or time.monotonic() - began > limit
        client.close()
        assert sum(ended.values()) == 60
        assert ended[504]


@pytest.mark.skipif(
    "t" in sys.abiflags, reason="without a GIL the frames of a running thread cannot be read"
)
def test_a_lock_acquired_after_the_limit_is_released(tmp_path):
    """Python 3.14 can raise after a `with` statement has acquired a lock and before its body; the
    lock then stays acquired.
    """
    script = tmp_path / "lock.wsgi"
    script.write_text(
        "import threading, time\nLOCK, HELD = threading.Lock(), threading.Event()\n"
        "def hold():\n    with LOCK:\n        HELD.set()\n        time.sleep(0.4)\n"
        "def application(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/wait':\n"
        "        threading.Thread(target=hold).start()\n        HELD.wait()\n        with LOCK:\n            pass\n"
        "    is_free = LOCK.acquire(timeout=5)\n    start_response('200 OK', [])\n    return [str(is_free).encode()]\n"
    )
    with Daemon(tmp_path, scripts=[script], threads=1, request_timeout=0.2) as daemon:
        reply = ask(daemon, script, "/wait").reply()
        if reply.complete:
            assert reply.body == b"True"
        else:
            assert reply.abort[0] == 504
            assert ask(daemon, script, "/free").reply().body == b"True"


def test_a_lock_that_is_never_free_does_not_block_a_request_forever(tmp_path):
    script = tmp_path / "lock.wsgi"
    script.write_text(
        "import threading\nLOCK = threading.Lock()\nLOCK.acquire()\n"
        "def application(environ, start_response):\n    with LOCK:\n        pass\n"
    )
    with Daemon(
        tmp_path, scripts=[script], threads=1, request_timeout=0.2, interrupt_timeout=0.2
    ) as daemon:
        reply = ask(daemon, script, "/").reply()
        assert (reply.abort[0], reply.abort[1][:9]) == (504, "WSGID0355")
        daemon.wait_for_replacement_request(process_abi.REPLACE_STUCK)


# ---- request-timeout: no exception can end the request


@pytest.mark.parametrize(("what", "grace"), [("/sleep", 0.2), ("/swallow", 0.2), ("/spin", 0)])
def test_a_request_that_cannot_be_interrupted_is_answered_and_its_process_is_replaced(
    tmp_path, script, go, what, grace
):
    with Daemon(tmp_path, scripts=[script], request_timeout=0.3, interrupt_timeout=grace) as daemon:
        gone = "/never" if what == "/sleep" else go
        client = ask(daemon, script, what, gone)
        reply = client.reply()
        assert (reply.abort[0], reply.abort[1][:9]) == (504, "WSGID0355")
        daemon.wait_for_replacement_request(process_abi.REPLACE_STUCK)
        assert f"GET {what}" in daemon.wait_for_log("WSGID0354")
        wait_until(lambda: daemon.log_text().count("WSGID0314") >= 3, "the stack of every thread")
        assert ("WSGID0353" in daemon.log_text()) == bool(grace)
        assert daemon.get("hello.wsgi").complete
        daemon.close_lifeline_with_byte()
        assert daemon.wait() == 0
        assert "(stuck, left behind: 1)" in daemon.wait_for_log("WSGID0311")
        assert daemon.counts() == (2, 1)
        client.close()


def test_other_requests_are_finished_before_the_process_with_a_stuck_one_leaves(
    tmp_path, script, go
):
    with Daemon(tmp_path, scripts=[script], request_timeout=1, interrupt_timeout=0) as daemon:
        stuck = ask(daemon, script, "/sleep")
        assert stuck.reply().abort[0] == 504
        other = ask(daemon, script, "/sleep", go)
        wait_until(lambda: daemon.log_text().count("begins /sleep") == 2, "the other")
        daemon.close_lifeline_with_byte()
        daemon.wait_for_log("WSGID0310")
        go.touch()
        assert other.reply().body == b"answered"
        assert daemon.wait() == 0
        for client in (stuck, other):
            client.close()


def test_a_thread_that_returns_serves_again(tmp_path, script, go):
    with Daemon(
        tmp_path, scripts=[script], threads=1, request_timeout=0.3, interrupt_timeout=0
    ) as daemon:
        client = ask(daemon, script, "/swallow", go)
        assert client.reply().abort[0] == 504
        go.touch()
        assert daemon.get("hello.wsgi").complete
        client.close()


def test_the_limit_ends_the_wait_for_a_client_that_does_not_send(tmp_path, script):
    """The thread waits in a receive of ours; the daemon closes the connection while it does."""
    with Daemon(
        tmp_path, scripts=[script], threads=1, request_timeout=0.3, interrupt_timeout=0
    ) as daemon:
        client = daemon.connect()
        client.request(script, end=False, PATH_INFO="/read")
        assert client.reply().abort[0] == 504
        assert daemon.get("hello.wsgi").complete
        client.close()


def test_the_limit_ends_the_wait_for_a_client_that_does_not_read(tmp_path):
    script = tmp_path / "large.wsgi"
    script.write_text(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    for _ in range(100): yield b'x' * 1000000\n"
    )
    with Daemon(
        tmp_path, threads=1, socket_timeout=30, request_timeout=0.3, interrupt_timeout=0.2
    ) as daemon:
        client = daemon.connect()
        client.request(script)
        assert client.frame()[0] == protocol.RESPONSE
        assert daemon.get("hello.wsgi").complete
        client.close()


def test_a_replacement_that_failed_is_requested_again(tmp_path, script):
    with Daemon(tmp_path, scripts=[script], request_timeout=0.2, interrupt_timeout=0) as daemon:
        client = ask(daemon, script, "/sleep")
        daemon.wait_for_replacement_request(process_abi.REPLACE_STUCK)
        daemon.refuse_replacement()
        daemon.wait_for_replacement_request(process_abi.REPLACE_STUCK, 2)
        client.close()


def test_the_limit_applies_while_the_process_drains(tmp_path, script):
    with Daemon(tmp_path, scripts=[script], request_timeout=0.6, interrupt_timeout=0) as daemon:
        client = ask(daemon, script, "/sleep")
        daemon.wait_for_log("begins /sleep")
        daemon.close_lifeline_with_byte()
        assert client.reply().abort[0] == 504
        assert daemon.wait() == 0
        client.close()


# ---- slow-request


def test_a_slow_request_is_logged_once_with_its_stack_and_continues(tmp_path, script, go):
    with Daemon(tmp_path, scripts=[script], slow_request=0.2) as daemon:
        client = ask(daemon, script, "/spin", go)
        line = daemon.wait_for_log("WSGID0352")
        assert "[wsgid:warn]" in line
        assert "slow: GET /spin has run for 0." in line
        wait_until(lambda: "in until" in daemon.log_text(), "its stack")
        since = time.monotonic()
        while time.monotonic() < since + 0.5:
            assert daemon.get("hello.wsgi").complete
        go.touch()
        assert client.reply().body == b"answered"
        assert daemon.log_text().count("WSGID0352: ") == 1
        client.close()


# ---- deadlock-timeout


@pytest.mark.parametrize("threads", [1, 3])
def test_a_process_in_which_no_python_runs_logs_its_stacks_and_ends(tmp_path, threads):
    script = tmp_path / "keeps_the_gil.wsgi"
    script.write_text(
        "import ctypes\ndef application(environ, start_response):\n    ctypes.PyDLL(None).sleep(60)\n"
    )
    with Daemon(tmp_path, threads=threads, deadlock_timeout=0.5) as daemon:
        client = daemon.connect()
        client.request(script)
        since = time.monotonic()
        assert daemon.wait(20) == 1
        assert time.monotonic() - since >= 0.5
        assert "Timeout" in daemon.log_text()
        assert f'File "{script}", line 3 in application' in daemon.log_text()
        assert client.is_closed()
        client.close()


def test_a_busy_process_is_no_deadlock(tmp_path, script, go):
    with Daemon(tmp_path, scripts=[script], deadlock_timeout=0.5) as daemon:
        clients = [ask(daemon, script, "/spin", go) for _ in range(2)]
        since = time.monotonic()
        while time.monotonic() < since + 1.5:
            assert daemon.get("hello.wsgi").complete
        go.touch()
        assert [client.reply().body for client in clients] == [b"answered"] * 2
        for client in clients:
            client.close()


# ---- crashes


def test_a_segfault_logs_the_python_stack(tmp_path):
    script = tmp_path / "crashes.wsgi"
    script.write_text(
        "import ctypes\ndef application(environ, start_response):\n    ctypes.string_at(0)\n"
    )
    with Daemon(tmp_path) as daemon:
        client = daemon.connect()
        client.request(script)
        assert daemon.wait() == -signal.SIGSEGV
        assert "Fatal Python error: Segmentation fault" in daemon.log_text()
        assert f'File "{script}", line 3 in application' in daemon.log_text()
        client.close()
