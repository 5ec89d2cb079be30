"""The daemon as a process: requests on the wire, failures, draining, leaving. httpd is played by daemonenv.Client."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from daemonenv import ROOT, Client, Daemon, wait_until

from pywsgid import handover, protocol
from pywsgid.input import WINDOW

pytestmark = pytest.mark.usefixtures("transport")

as_root = pytest.mark.skipif(os.getuid() != 0, reason="another uid needs root")

COUNTING = """
import os
def application(environ, start_response):
    with open(environ["QUERY_STRING"], "a") as file:
        file.write("x")
    start_response("200 OK", [])
    return [b"ran"]
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="app.wsgi"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    with Daemon(tmp_path_factory.mktemp("shared"), shutdown_timeout=5) as daemon:
        yield daemon
        assert daemon.get("hello.wsgi").body == b"Hello World!\n", "it lived through all of that"


@pytest.fixture
def client(daemon):
    client = daemon.connect()
    yield client
    client.close()


class AtTheGate:
    """A request that is held by gate.wsgi until it is let go."""

    def __init__(self, daemon, tmp_path, name="gate"):
        self.path = tmp_path / name
        self.client = daemon.connect()
        self.client.request("gate.wsgi", PATH_INFO=str(self.path), QUERY_STRING=name)
        daemon.wait_for_log(f"at the gate {name}")

    def let_go(self):
        self.path.touch()
        return self.client.reply()


# ---- request, response


def test_a_response_that_is_all_there_is_one_frame(client, write):
    script = write(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'a', b'b']\n"
    )
    reply = client.get(script)
    assert reply.frames == [("RESPONSE", True)]
    assert (reply.status, reply.body, reply.headers) == ("200 OK", b"ab", [("Content-Length", "2")])


def test_a_connection_carries_request_after_request(client):
    for _ in range(50):
        assert client.get("hello.wsgi").body == b"Hello World!\n"


def test_requests_that_wait_are_counted_wherever_they_wait(daemon, tmp_path):
    known, busy = daemon.connect(), daemon.connect()
    assert {c.get("hello.wsgi").status for c in (known, busy)} == {"200 OK"}
    held = [AtTheGate(daemon, tmp_path, f"{tmp_path.name}-{number}") for number in range(3)]
    new = [daemon.connect() for _ in range(2)]
    for client in (known, *new):
        client.request("hello.wsgi")
    wait_until(lambda: daemon.ask("status")["queue"] == 3, "three requests in the queue")
    assert [gate.let_go().status for gate in held] == ["200 OK"] * 3
    assert [client.reply().status for client in (known, *new)] == ["200 OK"] * 3
    wait_until(lambda: daemon.ask("status")["queue"] == 0, "an empty queue")
    for client in (known, busy, *new, *(gate.client for gate in held)):
        client.close()


def test_requests_of_many_connections(daemon):
    clients = [daemon.connect() for _ in range(40)]
    for client in clients:
        client.request("hello.wsgi")
    assert [client.reply().status for client in clients] == ["200 OK"] * 40
    for client in clients:
        client.close()


def test_a_block_leaves_before_the_next_is_made(client, tmp_path):
    steps = tmp_path / "steps"
    steps.write_text("")
    client.request("streaming.wsgi", PATH_INFO=str(steps), QUERY_STRING="3")
    for number in range(3):
        kind, _, payload = client.frame()
        body = protocol.parse_response(payload)[1] if kind == protocol.RESPONSE else payload
        assert body == b"block %d\n" % number
        with steps.open("a") as file:
            file.write("next\n")
    assert client.frame() == (protocol.DATA, protocol.END, b"")


def test_every_exchange_begins_with_who_runs_it_and_how_long_it_waited(daemon, client):
    """Client asserts that STARTED is the first frame of each exchange, and comes only once."""
    client.get("hello.wsgi")
    assert (client.started[0], client.started[1] < 5_000_000) == (daemon.pid, True)
    client.get("hello.wsgi", sent=time.time_ns() // 1000 - 3_000_000)
    assert 3_000_000 <= client.started[1] < 8_000_000
    client.get("hello.wsgi", sent=time.time_ns() // 1000 + 60_000_000)  # a clock that was set back
    assert client.started == (daemon.pid, 0)
    client.get("hello.wsgi", sent=0)
    assert client.started == (daemon.pid, protocol.MAX_WAITED)


def test_it_goes_out_with_the_first_frame(client, write):
    script = write(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'x' * 100000]\n"
    )
    client.request(script)
    first = client.socket.recv(1000)  # one send holds both: or a receive could have the one without the other
    assert len(first) == 1000
    assert (first[0], first[16]) == (protocol.STARTED, protocol.RESPONSE)


def test_the_time_in_the_queue_begins_when_httpd_sent_it(client):
    sent = time.time_ns() // 1000 - 10_000
    shown = json.loads(client.get("environ.wsgi", sent=sent).body)
    assert shown["mod_wsgi.queue_start"] == f"float: {sent / 1000000!r}"


def test_the_page_counts_requests(tmp_path):
    with Daemon(tmp_path) as daemon:
        for _ in range(3):
            daemon.get("hello.wsgi")
        wait_until(lambda: daemon.counts() == (3, 3), "three requests")


def test_large_environs_and_bodies_arrive(client):
    reply = client.get("environ.wsgi", HTTP_X_LARGE="v" * 500000)
    assert reply.status == "200 OK"
    assert len(reply.body) > 500000
    body = os.urandom(protocol.MAX_START)
    client.request("echo.wsgi", body, HTTP_X_LARGE="v" * 900000)
    assert client.reply().body == body


def test_a_request_may_come_byte_by_byte(client):
    parts = []
    client.send = lambda *pieces: parts.extend(pieces)
    client.request("echo.wsgi", b"body")
    for byte in b"".join(parts):
        client.socket.sendall(bytes((byte,)))
    assert client.reply().body == b"body"


def test_an_upload_is_granted_as_it_is_read(client):
    data = os.urandom(3_000_001)
    sent, out = 0, 0

    def body(credit):
        nonlocal sent, out
        out += credit
        assert out <= WINDOW
        piece = data[sent : sent + min(out, 65536)]
        sent, out = sent + len(piece), out - len(piece)
        return piece or None

    client.request("input.wsgi", data[:1000], end=False, PATH_INFO="/all")
    sent = 1000
    reply = feed_all(client, body, lambda: out)
    assert f'"digest": "{hashlib.sha256(data).hexdigest()}"'.encode() in reply.body
    assert client.get("hello.wsgi").status == "200 OK"  # both sides ended: the connection is kept


def feed_all(client, body, out):
    """Sends body as long as there is credit."""
    from daemonenv import Reply

    reply = Reply()
    ended = False
    while not (reply.complete or reply.abort):
        frame = client.frame()
        client._take(reply, *frame)
        credit = protocol.parse_credit(frame[2]) if frame[0] == protocol.CREDIT else 0
        while not ended and (credit or out()):
            piece = body(credit)
            credit = 0
            ended = piece is None
            client.send(*protocol.encode_body(piece or b"", end=ended))
    return reply


def test_a_body_that_nobody_reads_is_not_asked_for(client):
    client.request("input.wsgi", b"start", end=False, PATH_INFO="/unread")
    reply = client.reply()
    assert reply.complete
    assert reply.granted == 0
    assert client.is_closed()  # its END never came


def test_a_peer_that_does_not_read_blocks_only_its_own_request(daemon, write):
    script = write(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    return (b'x' * 100000 for _ in range(100))\n"
    )
    slow = daemon.connect()
    slow.request(script)
    assert daemon.get("hello.wsgi").status == "200 OK"
    assert len(slow.reply().body) == 10_000_000
    slow.close()


def test_a_peer_that_is_stuck_is_left_after_socket_timeout(tmp_path, write):
    script = write(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'x' * 50000000]\n"
    )
    with Daemon(tmp_path, socket_timeout=0.3, threads=1) as daemon:
        stuck = daemon.connect()
        stuck.request(script)
        assert daemon.get("hello.wsgi").status == "200 OK"
        stuck.close()
        half = daemon.connect()
        half.send(b"\x01\x01")
        daemon.wait_for_log("WSGID0323")
        assert half.is_closed()
        half.close()


def test_lines_from_another_thread_do_not_break_frames(client, write):
    script = write(
        """
import threading
def application(environ, start_response):
    errors, stop = environ["wsgi.errors"], threading.Event()
    def talk():
        while not stop.is_set():
            errors.write("from a thread\\n")
    thread = threading.Thread(target=talk)
    thread.start()
    start_response("200 OK", [])
    for _ in range(300):
        yield b"y" * 1000
    stop.set()
    thread.join()
"""
    )
    reply = client.get(script)
    assert reply.complete
    assert reply.body == b"y" * 300000
    assert {text for _, text in reply.logs} <= {"from a thread"}


def test_a_slow_close_does_not_hold_up_the_connections_next_request(client, write, tmp_path):
    script = write(
        f"""
import os, time
class Body(list):
    def close(self):
        deadline = time.monotonic() + 10
        while not os.path.exists({str(tmp_path / "go")!r}) and time.monotonic() < deadline:
            time.sleep(0.005)
def application(environ, start_response):
    start_response("200 OK", [])
    return Body([b"x"])
"""
    )
    assert client.get(script).complete
    assert client.get("hello.wsgi").complete
    (tmp_path / "go").touch()


def test_sockets_default_timeout_is_the_applications_own_business(tmp_path, write):
    script = write(
        "import socket\nsocket.setdefaulttimeout(0.05)\n"
        "def application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    return [environ['wsgi.input'].read()]\n"
    )
    with Daemon(tmp_path, scripts=[script]) as daemon:
        client = daemon.connect()
        client.request(script, b"", end=False)
        assert client.frame()[0] == protocol.CREDIT
        time.sleep(0.2)  # longer than the timeout that the application has set
        client.send(*protocol.encode_body(b"late", end=True))
        assert client.reply().body == b"late"
        client.close()


# ---- applications


def close_count(daemon, kind):
    return int(daemon.get("closing.wsgi", PATH_INFO="/counts", QUERY_STRING=kind).body)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("plain", None),
        ("empty", None),
        ("iter", "WSGID0340"),
        ("first", "WSGID0340"),
        ("second", "WSGID0342"),
        ("text", "WSGID0341"),
        ("no-start", "WSGID0341"),
        ("close", None),
    ],
)
def test_close_is_called_once(daemon, client, kind, code):
    before = close_count(daemon, kind)
    reply = client.get("closing.wsgi", PATH_INFO=f"/{kind}")
    assert (reply.abort[1][:9] if reply.abort else None) == code
    wait_until(lambda: close_count(daemon, kind) > before, "close()")
    assert close_count(daemon, kind) == before + 1


def test_close_is_called_once_when_the_client_leaves(daemon):
    before = close_count(daemon, "endless")
    client = daemon.connect()
    client.request("closing.wsgi", PATH_INFO="/endless")
    assert client.frame()[0] == protocol.RESPONSE
    client.close()
    wait_until(lambda: close_count(daemon, "endless") > before, "close()")
    assert close_count(daemon, "endless") == before + 1


def test_close_that_raises_is_told_in_the_log(daemon, client):
    assert client.get("closing.wsgi", PATH_INFO="/close").complete
    daemon.wait_for_log("WSGID0344")
    daemon.wait_for_log("RuntimeError: raised by close()")


def test_an_exception_is_its_traceback_and_an_abort(client):
    reply = client.get("rules.wsgi", PATH_INFO="/raise")
    assert reply.abort == (500, "WSGID0340: the application raised RuntimeError: raised by the application")
    assert reply.logs[0] == (3, "WSGID0340 | Traceback (most recent call last):")
    assert "in raised" in reply.log_text
    assert "pywsgid" not in reply.log_text
    assert client.is_closed()


@pytest.mark.parametrize(("how", "name"), [("exit", "SystemExit: 3"), ("interrupt", "KeyboardInterrupt")])
def test_sys_exit_ends_the_request_only(daemon, client, how, name):
    assert name in client.get("rules.wsgi", PATH_INFO=f"/{how}").abort[1]
    assert not daemon.has_ended()


def test_a_broken_rule_names_it_and_where_it_was_broken(client):
    reply = client.get("rules.wsgi", PATH_INFO="/status-bytes")
    assert reply.abort[1].startswith("WSGID0341")
    assert "PEP 3333" in reply.abort[1]
    assert "rules.wsgi" in reply.log_text


def test_an_exception_after_the_head_cuts_the_response_off(client):
    reply = client.get("exc_info.wsgi", PATH_INFO="/after")
    assert reply.status == "200 OK"
    assert not reply.complete
    assert reply.abort[1].startswith("WSGID0342: the application raised ValueError: the reason")


@pytest.mark.parametrize("length", [2, 4])
def test_a_body_of_another_length_is_seen(client, write, length):
    script = write(
        "def application(environ, start_response):\n"
        f"    start_response('200 OK', [('Content-Length', '3')])\n    yield b'x'\n    yield b'y' * {length - 1}\n"
    )
    reply = client.get(script)
    assert reply.abort[1].startswith("WSGID0343")
    assert not reply.complete


def test_the_input_that_breaks_off_is_an_os_error(daemon, write, tmp_path):
    note = tmp_path / "note"
    script = write(
        f"""
def application(environ, start_response):
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        open({str(note)!r}, "w").write(str(error))
        raise
"""
    )
    client = daemon.connect()
    client.request(script, b"abc", end=False)
    client.frame()
    client.close()
    wait_until(lambda: note.exists() and "broke off after 3 bytes" in note.read_text(), "the error")


def test_write_to_a_client_that_has_gone_raises(daemon, write, tmp_path):
    note = tmp_path / "note"
    script = write(
        f"""
import time
def application(environ, start_response):
    write = start_response("200 OK", [])
    try:
        for _ in range(1000):
            write(b"x" * 1000)
            time.sleep(0.005)
    except OSError as error:
        open({str(note)!r}, "w").write(str(error))
    return []
"""
    )
    client = daemon.connect()
    client.request(script)
    client.frame()
    client.close()
    wait_until(lambda: note.exists() and "client has gone" in note.read_text(), "the error")


def test_wsgi_errors_are_log_frames(client):
    reply = client.get("errors.wsgi", PATH_INFO="/lines", QUERY_STRING="marked")
    assert reply.logs == [(3, "marked one"), (3, "marked two")]
    reply = client.get("errors.wsgi", PATH_INFO="/unfinished", QUERY_STRING="dangling")
    assert reply.logs == [(3, "dangling unfinished")]
    assert reply.complete


def test_print_and_stderr_are_lines_of_the_groups_log(daemon, client):
    for path in ("print", "unfinished", "stderr"):
        assert client.get("output.wsgi", PATH_INFO=f"/{path}", QUERY_STRING=f"said-{path}").logs == []
    assert "[wsgid:notice]" in daemon.wait_for_log("[group unit] said-print")
    assert "[wsgid:notice]" in daemon.wait_for_log("[group unit] said-unfinished")
    assert "[wsgid:warn]" in daemon.wait_for_log("[group unit] said-stderr")


def test_records_are_log_frames_at_their_levels(client):
    for path, level in (("warning", 4), ("error", 3), ("critical", 2)):
        reply = client.get("output.wsgi", PATH_INFO=f"/{path}", QUERY_STRING=f"said-{path}")
        assert reply.logs == [(level, f"app: said-{path}")]


def test_a_request_without_a_script_is_told(client):
    assert client.get("", SCRIPT_FILENAME="").abort[1].startswith("WSGID0337")


def test_a_request_that_waited_too_long_is_refused(tmp_path):
    with Daemon(tmp_path, queue_timeout=1) as daemon:
        early = time.time_ns() // 1000 - 3_000_000
        assert daemon.get("hello.wsgi", sent=early).abort[0] == 503
        assert daemon.get("hello.wsgi").status == "200 OK"
        assert daemon.counts()[0] == 1


# ---- the wire


def raw_request(block, body=b"", flags=protocol.END):
    return b"".join(protocol.encode_request(1, block, body, flags))


VIOLATIONS = {
    "unknown type": b"\x77\0\0\0\0\0\0\0",
    "the other side's frame": b"".join(protocol.encode_data(b"x")),
    "unknown flag": b"\x01\x80\0\0\x18\0\0\0",
    "reserved field": b"\x01\x01\x01\0\x18\0\0\0",
    "too long": b"\x01\x01\0\0\xff\xff\xff\x7f",
    "too short": b"\x01\x01\0\0\x01\0\0\0x",
    "BODY before REQUEST": b"".join(protocol.encode_body(b"x", True)),
    "environ longer than its frame": b"\x01\x01\0\0\x18\0\0\0" + b"\0" * 20 + b"\xff\0\0\0",
    "environ without its end": raw_request(b"A\0b"),
    "key without a value": raw_request(b"A\0"),
    "empty key": raw_request(b"\0b\0"),
    "bytes behind REQUEST": raw_request(b"A\0b\0") + b"x",
    "REQUEST behind REQUEST": raw_request(b"A\0b\0") * 2,
}


@pytest.mark.parametrize("data", VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_a_violation_is_told_and_closes_the_connection(daemon, client, data):
    before = daemon.log_text().count("WSGID0321")
    client.send(data)
    assert client.is_closed()
    wait_until(lambda: daemon.log_text().count("WSGID0321") == before + 1, "one line")


def test_body_without_credit_is_a_violation(daemon, client):
    before = daemon.log_text().count("WSGID0321")
    client.request("input.wsgi", end=False, PATH_INFO="/all")
    assert client.frame()[0] == protocol.CREDIT
    with contextlib.suppress(ConnectionError):  # it does not wait for all of that
        client.send(*protocol.encode_body(b"x" * 1000), *protocol.encode_body(b"x" * WINDOW, end=True))
        client.reply()
    wait_until(lambda: daemon.log_text().count("WSGID0321") == before + 1, "one line")


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x01\x01\0\0\xff\0\0\0abc"])
def test_a_connection_that_closes_without_a_request_is_nothing(daemon, data):
    wait_until(lambda: len(set(daemon.counts())) == 1, "the end of what ran before")
    before = daemon.log_text()
    client = daemon.connect()
    client.send(data)
    client.close()
    assert daemon.get("hello.wsgi").complete
    assert daemon.log_text() == before


@as_root
def test_a_stranger_is_refused(write):
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        with Daemon(Path(name)) as daemon:
            os.chmod(daemon.path, 0o777)
            os.seteuid(pwd.getpwnam("nobody").pw_uid)
            try:
                stranger = daemon.connect()
            finally:
                os.seteuid(0)
            assert stranger.is_closed()
            assert f"uid {pwd.getpwnam('nobody').pw_uid}" in daemon.wait_for_log("WSGID0320")
            stranger.close()
            assert daemon.get("hello.wsgi").complete


def test_a_request_whose_client_has_gone_is_dropped_unread(tmp_path, write):
    script, note = write(COUNTING), tmp_path / "note"
    with Daemon(tmp_path, threads=1) as daemon:
        gate = AtTheGate(daemon, tmp_path)
        gone = daemon.connect()
        gone.request(script, QUERY_STRING=str(note))
        gone.close()
        assert gate.let_go().complete
        assert daemon.get("hello.wsgi").complete
        assert not note.exists()
        assert daemon.counts()[0] == 2


def test_a_request_that_httpd_takes_back_is_not_run(tmp_path, write):
    """It closes its sending end; what is unread then is dropped."""
    script, note = write(COUNTING), tmp_path / "note"
    with Daemon(tmp_path, threads=1) as daemon:
        gate = AtTheGate(daemon, tmp_path)
        taken = daemon.connect()
        taken.request(script, QUERY_STRING=str(note))
        taken.socket.shutdown(socket.SHUT_WR)
        assert gate.let_go().complete
        assert taken.is_closed()
        assert not note.exists()


# ---- draining


@pytest.mark.parametrize("how", ["leash", "SIGTERM", "SIGHUP", "SIGINT", "SIGUSR1"])
def test_what_was_read_is_finished_and_what_was_not_is_given_back(tmp_path, write, how):
    script, note = write(COUNTING), tmp_path / "note"
    with Daemon(tmp_path, threads=1) as daemon:
        idle = daemon.connect()
        assert idle.get("hello.wsgi").complete
        gate = AtTheGate(daemon, tmp_path)
        unread = daemon.connect()
        unread.request(script, QUERY_STRING=str(note))
        daemon.pull_leash() if how == "leash" else daemon.signal(getattr(signal, how))
        daemon.wait_for_log("WSGID0310")
        assert daemon.state() == handover.PAGE_DRAINING
        assert idle.is_closed()
        reply = gate.let_go()
        assert reply.complete
        assert gate.client.is_closed()
        assert daemon.wait() == 0
        # Never accepted: still in the listener, for the successor. Accepted and unread: reset, not end-of-file.
        with Daemon(tmp_path, listener=daemon.listener, threads=1) as successor:
            try:
                assert unread.reply().body == b"ran"
            except ConnectionResetError:
                unread.close()
                assert not note.exists()
            assert successor.get("hello.wsgi").complete


def test_an_accepted_request_that_was_not_read_is_reset(tmp_path, write):
    script, note = write(COUNTING), tmp_path / "note"
    with Daemon(tmp_path, threads=1) as daemon:
        unread = daemon.connect()
        assert unread.get("hello.wsgi").complete  # so it is accepted and idle
        gate = AtTheGate(daemon, tmp_path)
        unread.request(script, QUERY_STRING=str(note))
        daemon.pull_leash()
        daemon.wait_for_log("WSGID0310")
        with pytest.raises(ConnectionResetError):
            unread.socket.recv(1)
        assert gate.let_go().complete
        assert daemon.wait() == 0
        assert not note.exists()


def test_drains_lose_and_double_nothing_under_load(tmp_path, write):
    """Daemon after daemon on one listener; a request that was not started is sent again, and runs exactly once."""
    script = write(
        "import os\ndef application(environ, start_response):\n"
        "    fd = os.open(environ['QUERY_STRING'], os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
        "    os.write(fd, environ['PATH_INFO'].encode() + b'\\n')\n    os.close(fd)\n"
        "    start_response('200 OK', [])\n    return [b'ran']\n"
    )
    note = tmp_path / "note"
    daemon = Daemon(tmp_path, threads=2)
    clients = [daemon.connect() for _ in range(4)]
    done = 0
    for generation in range(6):
        for round_ in range(60):
            number = generation * 60 + round_
            index = number % len(clients)
            if round_ == 30:
                old, daemon = daemon, Daemon(tmp_path, threads=2, listener=daemon.listener)
                old.pull_leash()
            clients[index] = run_once(clients[index], daemon.path, script, note, f"/{number}")
            done += 1
        assert old.wait() == 0
        os.close(old.leash)
        os.close(old.page)
    with daemon:
        assert sorted(note.read_text().split()) == sorted(f"/{number}" for number in range(done))
    for client in clients:
        client.close()


def run_once(client, path, script, note, name):
    """As httpd does it: a reset or a broken pipe means not started, so again on a new connection."""
    for _ in range(10):
        try:
            client.request(script, PATH_INFO=name, QUERY_STRING=str(note))
            reply = client.reply()
            assert reply.body == b"ran", "end-of-file before any frame: it would be a 502"
            return client
        except (ConnectionResetError, BrokenPipeError):
            client.close()
            client = Client(path)
    raise AssertionError("never started")


def test_when_httpd_dies_it_leaves(tmp_path):
    with Daemon(tmp_path) as daemon:
        os.close(daemon.leash)
        try:
            assert daemon.wait() == 0
            assert "httpd has gone" in daemon.wait_for_log("WSGID0310")
        finally:
            daemon.leash = os.open(os.devnull, os.O_RDONLY)


@pytest.mark.parametrize(("how", "option"), [("SIGTERM", "shutdown_timeout"), ("leash", "graceful_timeout")])
def test_a_request_that_does_not_end_is_told_with_its_stack_and_left(tmp_path, how, option):
    with Daemon(tmp_path, **{option: 0.3}) as daemon:
        gate = AtTheGate(daemon, tmp_path)
        daemon.pull_leash() if how == "leash" else daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert "1 requests still running" in daemon.wait_for_log("WSGID0312")
        assert f"GET {gate.path}" in daemon.wait_for_log("WSGID0313")
        assert "in wait_for" in daemon.log_text()


def test_a_second_stricter_order_shortens_the_drain(tmp_path):
    with Daemon(tmp_path, graceful_timeout=0, shutdown_timeout=0.3) as daemon:
        AtTheGate(daemon, tmp_path)
        daemon.pull_leash()
        daemon.wait_for_log("WSGID0310")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0


def test_a_successor_pulls_the_leash_when_it_is_ready(tmp_path):
    (tmp_path / "next").mkdir()
    with Daemon(tmp_path) as old:
        client = old.connect()
        assert client.get("hello.wsgi").complete
        with Daemon(tmp_path / "next", listener=old.listener, successor=old.leash, scripts=["hello.wsgi"]) as new:
            assert old.wait() == 0
            assert client.is_closed()
            again = Client(old.path)
            assert again.get("hello.wsgi").complete
            again.close()
            assert new.counts()[0] == 1


def test_a_successor_that_cannot_load_leaves_its_predecessor_alone(tmp_path):
    (tmp_path / "next").mkdir()
    with Daemon(tmp_path) as old:
        options = {"listener": old.listener, "successor": old.leash, "scripts": ["unimportable.wsgi"], "ready": False}
        with Daemon(tmp_path / "next", **options) as new:
            assert new.wait() == handover.EXIT_LOAD
        assert old.get("hello.wsgi").complete if old.listener.fileno() >= 0 else not old.has_ended()
        assert old.state() == handover.PAGE_READY


def test_atexit_runs_and_threads_are_joined(tmp_path, write):
    note = tmp_path / "note"
    script = write(
        f"import atexit\natexit.register(lambda: open({str(note)!r}, 'w').write('bye'))\n"
        "def application(environ, start_response): pass\n"
    )
    with Daemon(tmp_path, scripts=[script]) as daemon:
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert note.read_text() == "bye"


def test_a_thread_that_never_ends_does_not_keep_the_process(tmp_path, write):
    script = write(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n"
        "def application(environ, start_response): pass\n"
    )
    with Daemon(tmp_path, scripts=[script], shutdown_timeout=0.1) as daemon:
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(8) == 0
        daemon.wait_for_log("WSGID0315")


def test_a_child_that_the_application_forks_holds_no_connection_open(tmp_path, write):
    script = write(
        "import os, time\ndef application(environ, start_response):\n    child = os.fork()\n    if child == 0:\n"
        "        time.sleep(30)\n        os._exit(0)\n    start_response('200 OK', [])\n    return [b'%d' % child]\n"
    )
    with Daemon(tmp_path) as daemon:
        client, idle = daemon.connect(), daemon.connect()
        assert idle.get("hello.wsgi").complete
        child = int(client.get(script).body)
        try:
            daemon.signal(signal.SIGTERM)
            assert client.is_closed()
            assert idle.is_closed()
            assert daemon.wait() == 0
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_program_that_the_application_starts_has_none_of_its_descriptors(client, write):
    script = write(
        "import subprocess\ndef application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    return [subprocess.run(['ls', '/proc/self/fd'], close_fds=False, capture_output=True).stdout]\n"
    )
    numbers = {int(number) for number in client.get(script).body.split()}
    assert numbers.isdisjoint({handover.FD_LISTENER + 1, handover.FD_LEASH, handover.FD_STATISTICS}) or numbers <= {
        0,
        1,
        2,
        3,
    }


def test_a_thread_that_fails_is_one_record_at_error(tmp_path, write):
    script = write(
        "import sys, threading\ndef fail(how):\n    raise how('no more')\n"
        "def application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    for how in (SystemExit, ValueError):\n"
        "        thread = threading.Thread(target=fail, args=(how,), name='mailer')\n"
        "        thread.start()\n        thread.join()\n    return []\n"
    )
    with Daemon(tmp_path) as daemon:
        assert daemon.get(script).complete
        lines = [line for line in daemon.log_text().splitlines() if "WSGID0347" in line]
        assert all("[wsgid:error]" in line for line in lines)
        assert lines[0].endswith("thread 'mailer' has ended: it raised ValueError: no more")
        assert lines[-1].endswith("WSGID0347 | ValueError: no more")
        assert "SystemExit" not in daemon.log_text()


def test_usr2_dumps_every_stack_and_nothing_else_happens(tmp_path):
    with Daemon(tmp_path) as daemon:
        gate = AtTheGate(daemon, tmp_path)
        daemon.signal(signal.SIGUSR2)
        wait_until(lambda: daemon.log_text().count("WSGID0314") >= 4, "a line for each thread")
        assert f"GET {gate.path}, for" in daemon.log_text()
        assert "in wait_for" in daemon.log_text()
        assert gate.let_go().complete


# ---- loading


def test_an_import_that_fails_is_told_once_and_tried_again_by_a_clean_process(tmp_path, write):
    script = write("import a_module_that_is_not_there")
    with Daemon(tmp_path) as daemon:
        first = daemon.get(script)
        assert first.abort[0] == 500
        assert first.abort[1].startswith("WSGID0332")
        assert "ModuleNotFoundError" in first.log_text
        again = daemon.get(script)
        assert (again.abort[0], again.abort[1][:9], again.logs) == (500, "WSGID0335", [])
        write("def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'mended']\n")
        assert daemon.get(script).retry
        assert daemon.wait() == handover.EXIT_LOAD
        daemon.wait_for_log("WSGID0336")


def test_beside_a_healthy_script_it_is_tried_again_in_place(tmp_path, write):
    script = write("raise ValueError")
    with Daemon(tmp_path, scripts=["hello.wsgi"]) as daemon:
        assert daemon.get(script).abort[0] == 500
        write("def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'mended']\n")
        assert daemon.get(script).body == b"mended"


def test_none_of_its_scripts_can_be_loaded(tmp_path):
    with Daemon(tmp_path, scripts=["unimportable.wsgi"], ready=False) as daemon:
        assert daemon.wait() == handover.EXIT_LOAD
        daemon.wait_for_log("ModuleNotFoundError")
        daemon.wait_for_log("WSGID0332")
        daemon.wait_for_log("WSGID0306")
        assert daemon.state() == handover.PAGE_BOOTING


def test_one_of_its_scripts_can_be_loaded(tmp_path):
    with Daemon(tmp_path, scripts=["unimportable.wsgi", "hello.wsgi"]) as daemon:
        daemon.wait_for_log("WSGID0332")
        assert daemon.get("hello.wsgi").complete
        assert daemon.get("unimportable.wsgi").abort[0] == 500


def test_not_ready_in_time(tmp_path, write):
    script = write("import time\ntime.sleep(30)")
    with Daemon(tmp_path, scripts=[script], startup_timeout=0.3, ready=False) as daemon:
        assert daemon.wait() == handover.EXIT_LOAD
        daemon.wait_for_log("WSGID0304")
        assert f'"{script}", line 2' in daemon.log_text()


def test_not_wanted_any_more_while_it_starts(tmp_path, write):
    script = write("import time\nprint('importing')\ntime.sleep(30)")
    with Daemon(tmp_path, scripts=[script], ready=False) as daemon:
        daemon.wait_for_log("importing")
        daemon.pull_leash()
        assert daemon.wait() == 0


def test_a_configuration_that_cannot_be_used(tmp_path):
    with Daemon(tmp_path, threads="many", ready=False) as daemon:
        assert daemon.wait() == handover.EXIT_CONFIGURATION
        assert "threads='many'" in daemon.wait_for_log("WSGID0301")


# ---- the interpreter


def interpreters():
    """Other Pythons of this machine: name -> path, or None where there is none."""
    found = {}
    for version in ("2.7", "3.6", "3.9", "3.10", "3.11", "3.12", "3.13", "3.13t", "3.14", "3.14t"):
        at = sorted(
            (Path.home() / ".pyenv" / "versions").glob(
                f"{version.rstrip('t')}.*{'t' if version[-1] == 't' else ''}/bin/python"
            )
        )
        found[version] = str(at[-1]) if at else shutil.which(f"python{version}")
    return found


def interpreter(version):
    path = interpreters()[version]
    if path is None or subprocess.run([path, "-c", ""], check=False, capture_output=True).returncode != 0:
        pytest.skip(f"no Python {version} on this machine")
    return path


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.9"])
def test_a_python_that_is_too_old_says_so(tmp_path, version):
    with Daemon(tmp_path, python=interpreter(version), ready=False) as daemon:
        assert daemon.wait() == handover.EXIT_INTERPRETER
        assert f"is Python {version}; mod_wsgid needs 3.10" in daemon.wait_for_log("WSGID0300")
        assert len(daemon.log_text().splitlines()) == 1


def echo_late(client):
    """Sends the rest of the body, END included, against the first credit."""
    assert client.frame()[0] == protocol.CREDIT
    client.send(*protocol.encode_body(b"and end", end=True))
    return client.reply()


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13", "3.13t", "3.14", "3.14t"])
def test_every_python_serves_drains_and_fails_alike(tmp_path, version):
    with Daemon(tmp_path, python=interpreter(version), scripts=["hello.wsgi"]) as daemon:
        client = daemon.connect()
        assert client.get("hello.wsgi").body == b"Hello World!\n"
        client.request("echo.wsgi", b"start ", end=False)
        reply = echo_late(client)
        assert reply.body == b"start and end"
        assert daemon.get("rules.wsgi", PATH_INFO="/raise").abort[0] == 500
        assert daemon.get("output.wsgi", PATH_INFO="/warning", QUERY_STRING="sold").logs == [(4, "app: sold")]
        assert daemon.get("whoami.wsgi").complete
        gate = AtTheGate(daemon, tmp_path)
        daemon.signal(signal.SIGTERM)
        daemon.wait_for_log("WSGID0310")
        assert gate.let_go().complete
        assert daemon.wait() == 0
        assert "Traceback" not in daemon.log_text()


def test_only_the_package_is_importable_from_where_it_lies(client, write):
    """Neither the package's modules by their own names, nor what lies beside the package."""
    script = write(
        "import sys\ndef application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    return [repr((sys.path, sys.argv, sys.modules['pywsgid'].__path__)).encode()]\n"
    )
    path, argv, package = eval(client.get(script).body)
    assert str(ROOT) not in path
    assert str(ROOT / "pywsgid") not in path
    assert argv == ["mod_wsgid"]
    assert package == [str(ROOT / "pywsgid")]


def test_another_pywsgid_of_the_applications_is_not_mixed_in(tmp_path, write):
    (tmp_path / "site" / "pywsgid").mkdir(parents=True)
    (tmp_path / "site" / "pywsgid" / "__init__.py").write_text("raise RuntimeError('the wrong one')")
    with Daemon(tmp_path, python_path=str(tmp_path / "site"), scripts=["hello.wsgi"]) as daemon:
        assert daemon.get("hello.wsgi").complete


def test_python_path_comes_first_with_its_pth_files(tmp_path, write):
    for name in ("one", "two", "three", "home"):
        (tmp_path / name).mkdir()
    (tmp_path / "two" / "more.pth").write_text(f"{tmp_path / 'three'}\n")
    script = write(
        "import sys\ndef application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    return [repr(sys.path).encode()]\n"
    )
    paths = [str(tmp_path / "one"), str(tmp_path / "two"), str(tmp_path / "none")]
    with Daemon(tmp_path, python_path=paths, home=str(tmp_path / "home")) as daemon:
        found = eval(daemon.get(script).body)
        assert found[:4] == [str(tmp_path / name) for name in ("home", "one", "two", "three")]
        assert str(tmp_path / "none") in daemon.wait_for_log("WSGID0308")


def test_the_title_is_what_ps_shows(tmp_path):
    with Daemon(tmp_path, display_name="shop %{GROUP}") as daemon:
        command = Path(f"/proc/{daemon.pid}/cmdline").read_bytes().rstrip(b"\0")
        assert command == b"shop wsgid:unit"
        assert Path(f"/proc/{daemon.pid}/comm").read_text() == "shop wsgid:unit\n"


def test_nothing_is_imported_that_a_request_does_not_need(tmp_path, write):
    """Whatever is imported costs every application start-up time and memory. Compared with `python -c pass`."""
    script = write(
        "import sys\ndef application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    return [' '.join(sys.modules).encode()]\n"
    )
    program = "import sys; print(*sys.modules)"
    bare = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    with Daemon(tmp_path, scripts=[script]) as daemon:
        loaded = set(daemon.get(script).body.decode().split()) - set(bare)
    allowed = "threading select mmap struct faulthandler binascii math errno itertools"
    allowed += " pwd"  # of site, where HOME is not set
    allowed += " collections functools operator keyword reprlib types"  # of threading
    allowed += " importlib warnings"  # of boot.py
    roots = {name.partition(".")[0] for name in loaded}
    assert {name for name in roots if not name.startswith(("pywsgid", "_"))} <= set(allowed.split())
