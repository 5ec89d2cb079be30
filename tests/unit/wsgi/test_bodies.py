"""The daemon as a process: files, large bodies, early hints, clients that leave or are too slow."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
from daemonenv import Daemon, Reply, wait_until

from pywsgid.wire import protocol

# ---- files

FILES = """
import os
closed = []
def application(environ, start_response):
    if environ["PATH_INFO"] == "/closed":
        start_response("200 OK", [])
        return [b"%d" % len(closed)]
    file = open(environ["QUERY_STRING"], "rb")
    class File:
        pass
    wrapper = environ["wsgi.file_wrapper"](file, 8192)
    close = wrapper.close
    wrapper.close = lambda: (closed.append(file), close())
    file.seek(int(environ.get("HTTP_POSITION", 0)))
    length = environ.get("HTTP_LENGTH")
    start_response("200 OK", [("Content-Length", length)] if length else [])
    return iter(wrapper) if environ["PATH_INFO"] == "/iter" else wrapper
"""


@pytest.fixture
def content(tmp_path):
    content = os.urandom(200_000)
    (tmp_path / "content").write_bytes(content)
    return content


def get_file(client, write, tmp_path, **environ):
    return client.get(write(FILES), QUERY_STRING=str(tmp_path / "content"), **environ)


def test_a_file_is_passed_as_its_descriptor(client, write, tmp_path, content):
    for _ in range(3):  # the connection is kept
        reply = get_file(client, write, tmp_path)
        assert reply.frames == [("RESPONSE", False), ("FILE", True)]
        assert (reply.file, reply.headers) == ((0, 200_000), [("Content-Length", "200000")])
        assert reply.body == content
    wait_until(
        lambda: client.get(tmp_path / "app.wsgi", PATH_INFO="/closed").body == b"3",
        "close(), once for each",
    )


def test_a_part_of_a_file_is_passed_with_its_range(client, write, tmp_path, content):
    reply = get_file(client, write, tmp_path, HTTP_POSITION="100", HTTP_LENGTH="1000")
    assert (reply.file, reply.body) == ((100, 1000), content[100:1100])


def test_a_file_that_is_too_short_is_an_error_before_the_head_is_sent(
    client, write, tmp_path, content
):
    reply = get_file(client, write, tmp_path, HTTP_POSITION="100", HTTP_LENGTH="200000")
    assert reply.abort[1].startswith("WSGID0343")
    assert reply.status == ""


def test_head_passes_no_descriptor(client, write, tmp_path, content):
    reply = get_file(client, write, tmp_path, REQUEST_METHOD="HEAD")
    assert (reply.frames, reply.headers) == ([("RESPONSE", True)], [("Content-Length", "200000")])
    assert client.descriptors == []


def test_no_descriptor_is_leaked(daemon, client, write, tmp_path, content):
    get_file(client, write, tmp_path)
    before = len(os.listdir(f"/proc/{daemon.pid}/fd"))
    for _ in range(30):
        assert get_file(client, write, tmp_path).complete
    wait_until(
        lambda: len(os.listdir(f"/proc/{daemon.pid}/fd")) <= before, "as many descriptors as before"
    )


def test_a_log_line_from_close_does_not_follow_the_file(client, write, tmp_path, content):
    """FILE with END ends the exchange: nothing may follow it."""
    script = write(
        "def application(environ, start_response):\n"
        "    wrapper = environ['wsgi.file_wrapper'](open(environ['QUERY_STRING'], 'rb'))\n"
        "    close, errors = wrapper.close, environ['wsgi.errors']\n"
        "    wrapper.close = lambda: (errors.write('late\\n'), close())\n"
        "    errors.write('early\\n')\n    start_response('200 OK', [])\n    return wrapper\n"
    )
    reply = client.get(script, QUERY_STRING=str(tmp_path / "content"))
    assert (reply.logs, reply.body) == ([(3, "early")], content)
    assert client.get("hello.wsgi").complete


# ---- memory


def peak(daemon):
    """The peak memory of the process, in MB."""
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def count_body(client):
    """Reads an answer without keeping it; returns the number of bytes and whether it was
    complete.
    """
    total, end = 0, False
    while not end and (frame := client.frame()):
        kind, flags, payload = frame
        total += (
            len(protocol.parse_response(payload)[1]) if kind == protocol.RESPONSE else len(payload)
        )
        end = bool(flags & protocol.END)
    return total, end


MB = 1024 * 1024
BODIES = {
    "generator of 100 MB": ("(block for _ in range(1600))", 1600 * 65536, 10),
    "one object of 16 MB": ("[b'x' * (16 << 20)]", 16 * MB, 16 + 10),
    "list of 100 MB": ("[block] * 1600", 1600 * 65536, 10),
    "2000 tiny blocks": ("(b'x' * 16 for _ in range(2000))", 32000, 10),
}


@pytest.mark.parametrize(("body", "size", "more"), BODIES.values(), ids=BODIES.keys())
def test_memory_is_flat_for_a_large_answer(tmp_path, write, body, size, more):
    script = write(
        "block = b'x' * 65536\ndef application(environ, start_response):\n"
        f"    start_response('200 OK', [])\n    return {body}\n"
    )
    with Daemon(tmp_path, scripts=[script]) as daemon:
        client = daemon.connect()
        client.get("hello.wsgi")
        idle = peak(daemon)
        client.request(script)
        assert count_body(client) == (size, True)
        assert peak(daemon) - idle < more
        client.close()


def upload(client, script, blocks, **environ):
    """Sends 64 KiB blocks against credit, as httpd does."""
    block, credit, reply = b"u" * 65536, 0, Reply()
    client.request(script, b"u" * 1000, end=False, **environ)
    while not (reply.complete or reply.abort):
        frame = client.frame()
        client._take(reply, *frame)
        credit += protocol.parse_credit(frame[2]) if frame[0] == protocol.CREDIT else 0
        while blocks and credit >= len(block):
            blocks, credit = blocks - 1, credit - len(block)
            client.send(*protocol.encode_body(block, end=not blocks))
    return reply


@pytest.mark.parametrize("size", ["1", "4096", "65536", "1000000"])
def test_memory_is_flat_for_an_upload_read_in_pieces_of_any_size(tmp_path, write, size):
    blocks = 8 if size == "1" else 500
    script = write(
        "def application(environ, start_response):\n    got, read = 0, environ['wsgi.input'].read\n"
        f"    while block := read({size}):\n        got += len(block)\n"
        "    start_response('200 OK', [])\n    return [b'%d' % got]\n"
    )
    with Daemon(tmp_path, scripts=[script]) as daemon:
        client = daemon.connect()
        client.get("hello.wsgi")
        idle = peak(daemon)
        assert int(upload(client, script, blocks).body) == 1000 + blocks * 65536
        assert peak(daemon) - idle < 10
        client.close()


def test_an_upload_read_at_once_is_in_memory_once(tmp_path, write):
    script = write(
        "def application(environ, start_response):\n    body = environ['wsgi.input'].read()\n"
        "    start_response('200 OK', [])\n    return [b'%d' % len(body)]\n"
    )
    with Daemon(tmp_path, scripts=[script]) as daemon:
        client = daemon.connect()
        client.get("hello.wsgi")
        idle = peak(daemon)
        assert int(upload(client, script, 640).body) == 1000 + 640 * 65536
        assert peak(daemon) - idle < 40 + 10
        client.close()


TURNS = """
def application(environ, start_response):
    start_response("200 OK", [])
    return iter(lambda: environ["wsgi.input"].read(4), b"")
"""


def used_by_threads(daemon):
    """Nanoseconds of CPU that each thread has used so far (/proc/PID/task/TID/schedstat)."""
    tasks = Path(f"/proc/{daemon.pid}/task").iterdir()
    return {task.name: int((task / "schedstat").read_text().split()[0]) for task in tasks}


def test_a_body_that_comes_in_pieces_wakes_one_thread(tmp_path, write):
    script = write(TURNS)
    with Daemon(tmp_path, scripts=[script]) as daemon:
        client = daemon.connect()
        client.get(script)
        before = used_by_threads(daemon)
        client.request(script, end=False)
        assert client.frame()[0] == protocol.CREDIT
        for _ in range(2000):
            client.send(*protocol.encode_body(b"turn"))
            assert client.frame()[2].endswith(b"turn")
        used = sorted(
            after - before.get(thread, 0) for thread, after in used_by_threads(daemon).items()
        )
        assert sum(used[:-1]) < used[-1] / 10
        client.send(*protocol.encode_body(b"", end=True))
        assert client.reply().complete
        assert client.get(script).complete  # the daemon polls the connection again
        client.close()


# ---- 100-continue


def test_only_the_first_read_requests_a_body_on_demand(client, write):
    script = write(
        "def application(environ, start_response):\n    body = environ['wsgi.input']\n    body.read(0)\n"
        "    environ['wsgi.errors'].write('reads now\\n')\n    start_response('200 OK', [])\n    return [body.read()]\n"
    )
    client.request(script, end=False, on_demand=True, REQUEST_METHOD="POST")
    assert client.frame()[0] == protocol.LOG
    assert client.frame()[0] == protocol.CREDIT
    client.send(*protocol.encode_body(b"wanted", end=True))
    assert client.reply().body == b"wanted"
    assert client.get("hello.wsgi").complete


def test_a_body_that_is_not_read_is_not_waited_for(client):
    client.request("hello.wsgi", end=False, on_demand=True, REQUEST_METHOD="POST")
    reply = client.reply()
    assert reply.complete
    assert reply.granted == 0
    assert client.is_closed()


# ---- early hints


def test_early_hints_arrive_while_the_application_still_runs(client, write, tmp_path):
    go = tmp_path / "go"
    script = write(
        f"""
import os, time
def application(environ, start_response):
    environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
    deadline = time.monotonic() + 10
    while not os.path.exists({str(go)!r}) and time.monotonic() < deadline:
        time.sleep(0.005)
    start_response("200 OK", [])
    return [b"answer"]
"""
    )
    client.request(script)
    kind, _, payload = client.frame()
    assert kind == protocol.INTERIM
    assert protocol.parse_head(payload) == ("103 Early Hints", [("Link", "</a.css>; rel=preload")])
    go.touch()
    assert client.reply().body == b"answer"


# ---- clients that leave


ASKING = """
import threading, time
answers = {}
def application(environ, start_response):
    if environ["PATH_INFO"] == "/answers":
        start_response("200 OK", [])
        later = answers.get("function")
        return [repr((answers.get("seen"), later and later())).encode()]
    gone = environ["wsgid.client_gone"]
    answers["function"] = gone
    def watch():
        deadline = time.monotonic() + 10
        while not gone() and time.monotonic() < deadline:
            time.sleep(0.005)
        answers["seen"] = gone()
    first = gone()
    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    start_response("200 OK", [])
    return [repr((first, answers["seen"])).encode()]
"""


def wait_until_it_asks(client, script):
    """Waits until the application runs and its client has not gone."""
    wait_until(
        lambda: client.get(script, PATH_INFO="/answers").body == b"(None, False)",
        "the application to ask",
    )


def test_an_application_can_check_whether_its_client_has_gone(daemon, client, write):
    script = write(ASKING)
    asking = daemon.connect()
    asking.request(script)
    wait_until_it_asks(client, script)
    asking.close()
    wait_until(
        lambda: client.get(script, PATH_INFO="/answers").body == b"(True, True)",
        "the application to see it",
    )


def test_unread_body_bytes_do_not_hide_that_the_client_has_gone(daemon, client, write):
    script = write(ASKING)
    asking = daemon.connect()
    asking.request(script, b"start", end=False)
    wait_until_it_asks(client, script)
    asking.close()
    wait_until(
        lambda: client.get(script, PATH_INFO="/answers").body == b"(True, True)",
        "the application to see it",
    )


LEAVING = """
import os, time
closed = []
class Body:
    def __init__(self, block):
        self.block = block
    def __iter__(self):
        while True:
            time.sleep(0.01)
            yield self.block
    def close(self):
        closed.append(1)
def application(environ, start_response):
    if environ["PATH_INFO"] == "/closed":
        start_response("200 OK", [])
        return [b"%d" % len(closed)]
    environ["wsgi.errors"].write("begins\\n")
    start_response("200 OK", [])
    return Body(environ["QUERY_STRING"].encode())
"""


@pytest.mark.parametrize("block", ["", "x"])
def test_a_stream_ends_when_its_client_leaves(tmp_path, write, block):
    """At its next block, even an empty one: close() is called, the thread is free, and one line is
    logged.
    """
    script = write(LEAVING)
    with Daemon(tmp_path, threads=1) as daemon:
        leaving = daemon.connect()
        leaving.request(script, QUERY_STRING=block, REQUEST_URI="/stream")
        assert leaving.frame()[0] == protocol.LOG
        leaving.close()
        left = time.monotonic()
        assert daemon.get(script, PATH_INFO="/closed").body == b"1"
        assert time.monotonic() - left < 1
        lines = [line for line in daemon.log_text().splitlines() if "WSGID0324" in line]
        assert len(lines) == 1
        assert "[wsgid:debug]" in lines[0]
        assert "GET /stream" in lines[0]
        assert "WSGID034" not in daemon.log_text()


# ---- clients that are too slow

SLOW = {
    "generator": "(b'x' * 65536 for _ in range(1000))",
    "list": "[b'x' * 20000000]",
    "end of a full socket": "iter([b'x' * 20000000])",
}


@pytest.mark.parametrize("body", SLOW.values(), ids=SLOW.keys())
def test_a_client_that_is_too_slow_is_given_up(tmp_path, write, body):
    script = write(
        f"""
closed = []
class Body:
    def __init__(self, blocks):
        self.blocks = blocks
    def __iter__(self):
        return iter(self.blocks)
    def close(self):
        closed.append(1)
def application(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/closed":
        return [b"%d" % len(closed)]
    blocks = {body}
    return blocks if type(blocks) is list else Body(blocks)
"""
    )
    with Daemon(tmp_path, threads=1, send_timeout=0.3) as daemon:
        slow = daemon.connect()
        slow.request(script, REQUEST_URI="/slow?q")
        line = daemon.wait_for_log("WSGID0326")
        assert "[wsgid:warn]" in line
        assert "group 'unit'" in line
        assert "GET /slow?q" in line
        assert "for send-timeout (0.3 s) in all" in line
        assert daemon.get(script, PATH_INFO="/closed").body == (b"0" if "[b" == body[:2] else b"1")
        assert "WSGID0324" not in daemon.log_text()
        assert daemon.log_text().count("WSGID0326") == 1
        with pytest.raises(protocol.RemoteProtocolError, match="inside a frame"):
            slow.reply()
        slow.close()


OBJECT = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'x' * 2000000]\n"


def test_send_timeout_bounds_all_waits_together(tmp_path, write):
    """Each single wait ends before the limit, because httpd reads a few bytes; together they exceed
    it.
    """
    script = write(OBJECT)
    with Daemon(tmp_path, send_timeout=0.5) as daemon:
        slow = daemon.connect()
        slow.request(script)
        total = 0
        while "WSGID0326" not in daemon.log_text():
            piece = slow.socket.recv(32768)
            assert piece, "closed without a frame"
            total += len(piece)
            time.sleep(0.1)
        assert total < 1_000_000
        slow.close()


def test_the_next_response_of_a_connection_has_its_own_send_timeout(tmp_path, write):
    """Four responses, each delayed for less than the limit, all together for more."""
    script = write(OBJECT)
    with Daemon(tmp_path, threads=1, send_timeout=1.5) as daemon:
        slow = daemon.connect()
        for _ in range(4):
            slow.request(script)
            slow.socket.recv(1, socket.MSG_PEEK)
            time.sleep(0.5)
            assert len(slow.reply().body) == 2_000_000
        assert "WSGID0326" not in daemon.log_text()
        slow.close()


def test_without_send_timeout_a_client_that_reads_nothing_for_socket_timeout_is_given_up(
    tmp_path, write
):
    script = write(OBJECT)
    with Daemon(tmp_path, threads=1, socket_timeout=0.3, send_timeout=0) as daemon:
        slow = daemon.connect()
        slow.request(script)
        assert "socket-timeout (0.3 s)" in daemon.wait_for_log("WSGID0326")
        slow.close()


def test_without_send_timeout_a_client_that_reads_a_little_at_a_time_is_not_given_up(
    tmp_path, write
):
    script = write(OBJECT)
    with Daemon(tmp_path, socket_timeout=0.5) as daemon:
        slow = daemon.connect()
        slow.request(script)
        total = 0
        while total < 1_000_000:
            total += len(slow.socket.recv(65536))
            time.sleep(0.1)
        while total < 2_000_000:
            total += len(slow.socket.recv(65536))
        assert "WSGID0326" not in daemon.log_text()
        slow.close()


def test_a_full_socket_delays_a_file_without_blocking_the_thread(tmp_path, write):
    """write() has filled the socket; the thread still becomes free."""
    (tmp_path / "content").write_bytes(b"c" * 1000)
    script = write(
        "def application(environ, start_response):\n    write = start_response('200 OK', [])\n"
        "    try:\n        while True:\n            write(b'x' * 1000)\n    except OSError:\n        pass\n"
        "    return environ['wsgi.file_wrapper'](open(environ['QUERY_STRING'], 'rb'))\n"
    )
    with Daemon(tmp_path, threads=1, send_timeout=0.3) as daemon:
        slow = daemon.connect()
        slow.request(script, QUERY_STRING=str(tmp_path / "content"))
        daemon.wait_for_log("WSGID0326")
        assert daemon.get("hello.wsgi").complete
        assert not slow.reply().complete
        slow.close()
