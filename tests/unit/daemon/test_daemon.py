"""The daemon as a process: requests on the wire, applications that fail, clients that violate the
protocol.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import socket
import tempfile
import time
from pathlib import Path

import pytest
from daemonenv import Daemon, HeldRequest, wait_until

from pywsgid.daemon.wsgi.input import WINDOW
from pywsgid.wire import protocol

as_root = pytest.mark.skipif(os.getuid() != 0, reason="another uid needs root")


# ---- request, response


def test_a_complete_response_is_one_frame(client, write):
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
    held = [HeldRequest(daemon, tmp_path, f"{tmp_path.name}-{number}") for number in range(3)]
    new = [daemon.connect() for _ in range(2)]
    for client in (known, *new):
        client.request("hello.wsgi")
    wait_until(lambda: daemon.ask("status")["queue"] == 3, "three requests in the queue")
    assert [gate.release().status for gate in held] == ["200 OK"] * 3
    assert [client.reply().status for client in (known, *new)] == ["200 OK"] * 3
    wait_until(lambda: daemon.ask("status")["queue"] == 0, "an empty queue")
    for client in (known, busy, *new, *(gate.client for gate in held)):
        client.close()


def test_requests_of_many_connections_are_answered(daemon):
    clients = [daemon.connect() for _ in range(40)]
    for client in clients:
        client.request("hello.wsgi")
    assert [client.reply().status for client in clients] == ["200 OK"] * 40
    for client in clients:
        client.close()


def test_a_block_is_sent_before_the_next_is_made(client, tmp_path):
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


def test_every_exchange_begins_with_the_pid_and_the_time_that_it_waited(daemon, client):
    """Client asserts that STARTED is the first frame of each exchange, and comes only once."""
    client.get("hello.wsgi")
    assert (client.started[0], client.started[1] < 5_000_000) == (daemon.pid, True)
    client.get("hello.wsgi", sent=time.time_ns() // 1000 - 3_000_000)
    assert 3_000_000 <= client.started[1] < 8_000_000
    client.get("hello.wsgi", sent=time.time_ns() // 1000 + 60_000_000)  # the clock was set back
    assert client.started == (daemon.pid, 0)
    client.get("hello.wsgi", sent=0)
    assert client.started == (daemon.pid, protocol.MAX_WAITED)


def test_started_is_sent_together_with_the_first_frame(client, write):
    script = write(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'x' * 100000]\n"
    )
    client.request(script)
    first = client.socket.recv(
        1000
    )  # one send holds both; otherwise a receive could return one without the other
    assert len(first) == 1000
    assert (first[0], first[16]) == (protocol.STARTED, protocol.RESPONSE)


def test_the_time_in_the_queue_begins_when_httpd_sent_it(client):
    sent = time.time_ns() // 1000 - 10_000
    shown = json.loads(client.get("environ.wsgi", sent=sent).body)
    assert shown["mod_wsgi.queue_start"] == f"float: {sent / 1000000!r}"


def test_the_statistics_page_counts_requests(tmp_path):
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


def test_credit_is_granted_as_the_upload_is_read(client):
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
    assert client.get("hello.wsgi").status == "200 OK"  # both ended: the connection is kept


def feed_all(client, body, out):
    """Sends the body as long as there is credit."""
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


def test_a_body_that_is_not_read_is_not_requested(client):
    client.request("input.wsgi", b"start", end=False, PATH_INFO="/unread")
    reply = client.reply()
    assert reply.complete
    assert reply.granted == 0
    assert client.is_closed()  # its END never arrived


def test_a_client_that_does_not_read_blocks_only_its_own_request(daemon, write):
    script = write(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    return (b'x' * 100000 for _ in range(100))\n"
    )
    slow = daemon.connect()
    slow.request(script)
    assert daemon.get("hello.wsgi").status == "200 OK"
    assert len(slow.reply().body) == 10_000_000
    slow.close()


def test_a_stuck_client_is_given_up_after_socket_timeout(tmp_path, write):
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


def test_a_slow_close_does_not_delay_the_connections_next_request(client, write, tmp_path):
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


def test_an_applications_default_socket_timeout_does_not_affect_the_daemon(tmp_path, write):
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


def test_close_that_raises_is_logged(daemon, client):
    assert client.get("closing.wsgi", PATH_INFO="/close").complete
    daemon.wait_for_log("WSGID0344")
    daemon.wait_for_log("RuntimeError: raised by close()")


def test_an_exception_is_logged_with_its_traceback_and_answered_with_abort(client):
    reply = client.get("rules.wsgi", PATH_INFO="/raise")
    assert reply.abort == (
        500,
        "WSGID0340: the application raised RuntimeError: raised by the application",
    )
    assert reply.logs[0] == (3, "WSGID0340 | Traceback (most recent call last):")
    assert "in raised" in reply.log_text
    assert "pywsgid" not in reply.log_text
    assert client.is_closed()


@pytest.mark.parametrize(
    ("how", "name"), [("exit", "SystemExit: 3"), ("interrupt", "KeyboardInterrupt")]
)
def test_sys_exit_ends_the_request_only(daemon, client, how, name):
    assert name in client.get("rules.wsgi", PATH_INFO=f"/{how}").abort[1]
    assert not daemon.has_ended()


def test_an_exception_in_a_thread_is_one_record_at_error(tmp_path, write):
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
        assert lines[0].endswith("'mailer', has ended because it raised ValueError: no more")
        assert lines[-1].endswith("WSGID0347 | ValueError: no more")
        assert "SystemExit" not in daemon.log_text()


def test_a_violation_of_pep_3333_is_logged_with_the_rule_and_the_place(client):
    reply = client.get("rules.wsgi", PATH_INFO="/status-bytes")
    assert reply.abort[1].startswith("WSGID0341")
    assert "PEP 3333" in reply.abort[1]
    assert "rules.wsgi" in reply.log_text


def test_an_exception_after_the_head_cuts_the_response_off(client):
    reply = client.get("exc_info.wsgi", PATH_INFO="/after")
    assert reply.status == "200 OK"
    assert not reply.complete
    assert reply.abort[1].startswith("WSGID0342: the application raised ValueError: the reason")


def test_a_body_that_is_too_short_is_noticed(client, write):
    script = write(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Length', '3')])\n    yield b'x'\n    yield b'y'\n"
    )
    reply = client.get(script)
    assert reply.abort[1].startswith("WSGID0343")
    assert not reply.complete


def test_a_body_that_is_too_long_is_cut(client, write):
    script = write(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Length', '3')])\n    yield b'x'\n    yield b'y' * 3\n"
    )
    reply = client.get(script)
    assert (reply.body, reply.complete) == (b"xyy", True)


def test_input_that_breaks_off_is_an_os_error(daemon, write, tmp_path):
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
        assert (
            client.get("output.wsgi", PATH_INFO=f"/{path}", QUERY_STRING=f"events-{path}").logs
            == []
        )
    assert "[wsgid:notice]" in daemon.wait_for_log("events-print")
    assert "[wsgid:notice]" in daemon.wait_for_log("events-unfinished")
    assert "[wsgid:warn]" in daemon.wait_for_log("events-stderr")


def test_records_are_log_frames_at_their_levels(client):
    for path, level in (("warning", 4), ("error", 3), ("critical", 2)):
        reply = client.get("output.wsgi", PATH_INFO=f"/{path}", QUERY_STRING=f"events-{path}")
        assert reply.logs == [(level, f"app: events-{path}")]


def test_a_request_without_a_script_is_an_error(client):
    assert client.get("", SCRIPT_FILENAME="").abort[1].startswith("WSGID0337")


def test_a_request_that_waited_too_long_is_refused(tmp_path):
    with Daemon(tmp_path, queue_timeout=1) as daemon:
        early = time.time_ns() // 1000 - 3_000_000
        assert daemon.get("hello.wsgi", sent=early).abort[0] == 503
        assert daemon.get("hello.wsgi").status == "200 OK"
        assert daemon.counts()[0] == 1


def test_an_overloaded_process_refuses_what_has_waited_and_keeps_the_connection(tmp_path):
    def answer(waited, **environ):
        """Of a request that has waited so many milliseconds."""
        sent = time.time_ns() // 1000 - waited * 1000
        reply = client.get("environ.wsgi", sent=sent, **environ)
        replies.append(reply)
        return reply

    replies = []
    with Daemon(tmp_path) as daemon:
        client = daemon.connect()
        wait_until(
            lambda: answer(700, wsgid__waited_in_httpd="700000").overloaded, "the first refusal"
        )
        assert len(replies) > 10
        assert all(reply.status == "200 OK" for reply in replies[:-1])
        assert answer(200).overloaded
        assert answer(0).status == "200 OK"
        assert "[wsgid:warn]" in daemon.wait_for_log("WSGID0360: group 'unit': overloaded")
        refused = [reply for reply in replies if reply.overloaded]
        assert daemon.statistics().errors == len(refused)
        assert daemon.counts()[0] == len(replies) - len(refused)
        client.close()


def test_the_application_does_not_see_how_long_httpd_let_the_request_wait(tmp_path):
    with Daemon(tmp_path) as daemon:
        sent = time.time_ns() // 1000 - 700_000
        reply = daemon.get("environ.wsgi", sent=sent, wsgid__waited_in_httpd="700000")
        assert b"mod_wsgi.queue_start" in reply.body
        assert b"waited_in_httpd" not in reply.body


def test_with_a_queue_timeout_nothing_else_limits_the_wait(tmp_path):
    with Daemon(tmp_path, queue_timeout=30) as daemon:
        client = daemon.connect()
        deadline = time.monotonic() + 2.5  # an overload would have begun
        while time.monotonic() < deadline:
            sent = time.time_ns() // 1000 - 1_500_000
            assert client.get("hello.wsgi", sent=sent).status == "200 OK"
        client.close()


LATE = """
from pywsgid.daemon import logs
from pywsgid.wire import protocol
def application(environ, start_response):
    exchange = environ["wsgi.errors"]._exchange
    events = []
    for request in (exchange.id + 1, exchange.id):
        try:
            exchange.log(request, [protocol.encode_log(logs.ERROR, "of %d" % (request - exchange.id))])
            events.append("sent")
        except OSError:
            events.append("refused")
    start_response("200 OK", [])
    return [" ".join(events).encode()]
"""


def test_a_line_of_another_request_is_refused(client, write):
    reply = client.get(write(LATE))
    assert (reply.body, [text for _, text in reply.logs]) == (b"refused sent", ["of 0"])


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
def test_a_violation_is_logged_and_closes_the_connection(daemon, client, data):
    before = daemon.log_text().count("WSGID0321")
    client.send(data)
    assert client.is_closed()
    wait_until(lambda: daemon.log_text().count("WSGID0321") == before + 1, "one line")


def test_body_without_credit_is_a_violation(daemon, client):
    before = daemon.log_text().count("WSGID0321")
    client.request("input.wsgi", end=False, PATH_INFO="/all")
    assert client.frame()[0] == protocol.CREDIT
    with contextlib.suppress(ConnectionError):  # the daemon does not wait for all of it
        client.send(
            *protocol.encode_body(b"x" * (WINDOW // 2 - 1)),
            *protocol.encode_body(b"x" * protocol.MAX_BODY),
        )
        client.reply()
    wait_until(lambda: daemon.log_text().count("WSGID0321") == before + 1, "one line")


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x01\x01\0\0\xff\0\0\0abc"])
def test_a_connection_closed_without_a_request_is_ignored(daemon, data):
    wait_until(lambda: len(set(daemon.counts())) == 1, "the end of what ran before")
    before = daemon.log_text()
    client = daemon.connect()
    client.send(data)
    client.close()
    assert daemon.get("hello.wsgi").complete
    assert daemon.log_text() == before


@as_root
def test_a_connection_of_another_user_is_refused(write):
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


def test_a_request_is_dropped_unread_if_its_client_has_gone(tmp_path, write):
    script, note = "running.wsgi", tmp_path / "note"
    with Daemon(tmp_path, threads=1) as daemon:
        gate = HeldRequest(daemon, tmp_path)
        gone = daemon.connect()
        gone.request(script, QUERY_STRING=str(note))
        gone.close()
        assert gate.release().complete
        assert daemon.get("hello.wsgi").complete
        assert not note.exists()
        assert daemon.counts()[0] == 2


def test_a_request_that_httpd_takes_back_is_not_run(tmp_path, write):
    """httpd closes its sending end; a request that is unread by then is dropped."""
    script, note = "running.wsgi", tmp_path / "note"
    with Daemon(tmp_path, threads=1) as daemon:
        gate = HeldRequest(daemon, tmp_path)
        taken = daemon.connect()
        taken.request(script, QUERY_STRING=str(note))
        taken.socket.shutdown(socket.SHUT_WR)
        assert gate.release().complete
        assert taken.is_closed()
        assert not note.exists()
