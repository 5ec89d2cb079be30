"""The daemon as a process: draining, leaving, replacements, scripts that cannot be loaded."""

from __future__ import annotations

import os
import signal

import pytest
from daemonenv import Client, Daemon, HeldRequest, wait_until

from pywsgid.wire import process_abi

# ---- draining


@pytest.mark.parametrize("how", ["lifeline", "SIGTERM", "SIGHUP", "SIGINT", "SIGUSR1"])
def test_requests_that_were_read_are_finished_and_others_are_given_back(tmp_path, write, how):
    script, note = "running.wsgi", tmp_path / "note"
    with Daemon(tmp_path, threads=1) as daemon:
        idle = daemon.connect()
        assert idle.get("hello.wsgi").complete
        gate = HeldRequest(daemon, tmp_path)
        unread = daemon.connect()
        unread.request(script, QUERY_STRING=str(note))
        daemon.close_lifeline_with_byte() if how == "lifeline" else daemon.signal(
            getattr(signal, how)
        )
        daemon.wait_for_log("WSGID0310")
        assert daemon.state() == process_abi.STATE_DRAINING
        assert idle.is_closed()
        reply = gate.release()
        assert reply.complete
        assert gate.client.is_closed()
        assert daemon.wait() == 0
        # A connection that was never accepted stays in the listener for the successor. One that was
        # accepted but not read is reset; it does not end with end-of-file.
        with Daemon(tmp_path, listener=daemon.listener, threads=1) as successor:
            try:
                assert unread.reply().body == b"ran"
            except ConnectionResetError:
                unread.close()
                assert not note.exists()
            assert successor.get("hello.wsgi").complete


def test_an_accepted_request_that_was_not_read_is_reset(tmp_path, write):
    script, note = "running.wsgi", tmp_path / "note"
    with Daemon(tmp_path, threads=1) as daemon:
        unread = daemon.connect()
        assert unread.get("hello.wsgi").complete  # so the connection is accepted and idle
        gate = HeldRequest(daemon, tmp_path)
        unread.request(script, QUERY_STRING=str(note))
        daemon.close_lifeline_with_byte()
        daemon.wait_for_log("WSGID0310")
        with pytest.raises(ConnectionResetError):
            unread.socket.recv(1)
        assert gate.release().complete
        assert daemon.wait() == 0
        assert not note.exists()


def test_drains_under_load_lose_no_request_and_run_none_twice(tmp_path, write):
    """One daemon after the other on the same listener. A request that was not started is sent again
    and runs exactly once.
    """
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
                old.close_lifeline_with_byte()
            clients[index] = run_once(clients[index], daemon.path, script, note, f"/{number}")
            done += 1
        assert old.wait() == 0
        os.close(old.lifeline)
        os.close(old.page)
    with daemon:
        assert sorted(note.read_text().split()) == sorted(f"/{number}" for number in range(done))
    for client in clients:
        client.close()


def run_once(client, path, script, note, name):
    """Does what httpd does: a reset or a broken pipe means that the request was not started, so it
    is sent again on a new connection.
    """
    for _ in range(10):
        try:
            client.request(script, PATH_INFO=name, QUERY_STRING=str(note))
            reply = client.reply()
            assert reply.body == b"ran", "end-of-file before any frame would be a 502"
            return client
        except (ConnectionResetError, BrokenPipeError):
            client.close()
            client = Client(path)
    raise AssertionError("never started")


def test_the_daemon_leaves_when_httpd_dies(tmp_path):
    with Daemon(tmp_path) as daemon:
        os.close(daemon.lifeline)
        try:
            assert daemon.wait() == 0
            assert "its guardian has ended" in daemon.wait_for_log("WSGID0310")
        finally:
            daemon.lifeline = os.open(os.devnull, os.O_RDONLY)


@pytest.mark.parametrize(
    ("how", "option"), [("SIGTERM", "shutdown_timeout"), ("lifeline", "graceful_timeout")]
)
def test_a_request_that_does_not_end_is_logged_with_its_stack_and_cut_off(tmp_path, how, option):
    with Daemon(tmp_path, **{option: 0.3}) as daemon:
        gate = HeldRequest(daemon, tmp_path)
        daemon.close_lifeline_with_byte() if how == "lifeline" else daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert "requests still running: 1." in daemon.wait_for_log("WSGID0312")
        assert f"GET {gate.path}" in daemon.wait_for_log("WSGID0313")
        assert "in wait_for" in daemon.log_text()


def test_a_second_stricter_signal_shortens_the_drain(tmp_path):
    with Daemon(tmp_path, graceful_timeout=0, shutdown_timeout=0.3) as daemon:
        HeldRequest(daemon, tmp_path)
        daemon.close_lifeline_with_byte()
        daemon.wait_for_log("WSGID0310")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0


def test_a_successor_signals_its_predecessor_when_it_is_ready(tmp_path):
    (tmp_path / "next").mkdir()
    with Daemon(tmp_path) as old:
        client = old.connect()
        assert client.get("hello.wsgi").complete
        with Daemon(
            tmp_path / "next", listener=old.listener, successor=old.lifeline, scripts=["hello.wsgi"]
        ) as new:
            assert old.wait() == 0
            assert client.is_closed()
            again = Client(old.path)
            assert again.get("hello.wsgi").complete
            again.close()
            assert new.counts()[0] == 1


def test_a_successor_that_cannot_load_does_not_end_its_predecessor(tmp_path):
    (tmp_path / "next").mkdir()
    with Daemon(tmp_path) as old:
        options = {
            "listener": old.listener,
            "successor": old.lifeline,
            "scripts": ["unimportable.wsgi"],
            "ready": False,
        }
        with Daemon(tmp_path / "next", **options) as new:
            assert new.wait() == process_abi.EXIT_LOAD
        assert old.get("hello.wsgi").complete if old.listener.fileno() >= 0 else not old.has_ended()
        assert old.state() == process_abi.STATE_READY


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


def test_a_thread_that_never_ends_does_not_keep_the_process_alive(tmp_path, write):
    script = write(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n"
        "def application(environ, start_response): pass\n"
    )
    with Daemon(tmp_path, scripts=[script], shutdown_timeout=0.1) as daemon:
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(8) == 0
        daemon.wait_for_log("WSGID0315")


def test_a_child_forked_by_the_application_holds_no_connection_open(tmp_path, write):
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


FORKS = """
import multiprocessing, os, signal, time
fork = multiprocessing.get_context("fork")
def pool():
    with fork.Pool(2) as workers:
        return workers.map(abs, [-1, -2])
def terminated():
    child = fork.Process(target=time.sleep, args=(30,))
    child.start()
    child.terminate()
    child.join()
    return child.exitcode
def told_at_once():
    child = os.fork()
    if not child:
        time.sleep(30)
    os.kill(child, signal.SIGTERM)
    return os.waitpid(child, 0)[1]
def application(environ, start_response):
    start_response("200 OK", [])
    return [repr([globals()[environ["QUERY_STRING"]]() for _ in range(20)]).encode()]
"""


@pytest.mark.parametrize(
    "way, result", [("pool", [1, 2]), ("terminated", -15), ("told_at_once", 15)]
)
def test_a_signal_to_a_child_forked_by_the_application_ends_only_the_child(
    tmp_path, write, way, result
):
    with Daemon(tmp_path) as daemon:
        answer = daemon.connect().get(write(FORKS), QUERY_STRING=way)
        assert answer.body.decode() == repr([result] * 20)
        assert daemon.connect().get("hello.wsgi").complete
        assert "WSGID0310" not in daemon.log_text()


def test_a_program_started_by_the_application_inherits_none_of_our_descriptors(client, write):
    script = write(
        "import subprocess\ndef application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    return [subprocess.run(['ls', '/proc/self/fd'], close_fds=False, capture_output=True).stdout]\n"
    )
    numbers = {int(number) for number in client.get(script).body.split()}
    assert numbers.isdisjoint(
        {process_abi.FD_LISTENER + 1, process_abi.FD_LIFELINE, process_abi.FD_STATISTICS}
    ) or numbers <= {
        0,
        1,
        2,
        3,
    }


def test_usr2_only_logs_every_stack(tmp_path):
    with Daemon(tmp_path) as daemon:
        gate = HeldRequest(daemon, tmp_path)
        daemon.signal(signal.SIGUSR2)
        wait_until(lambda: daemon.log_text().count("WSGID0314") >= 4, "a line for each thread")
        assert f"GET {gate.path}, for" in daemon.log_text()
        assert "in wait_for" in daemon.log_text()
        assert gate.release().complete


# ---- loading


def test_an_import_that_fails_is_logged_once_and_tried_again_by_a_clean_process(tmp_path, write):
    script = write("import a_module_that_is_not_there")
    with Daemon(tmp_path) as daemon:
        first = daemon.get(script)
        assert first.abort[0] == 500
        assert first.abort[1].startswith("WSGID0332")
        assert "ModuleNotFoundError" in first.log_text
        again = daemon.get(script)
        assert (again.abort[0], again.abort[1][:9], again.logs) == (500, "WSGID0335", [])
        write(
            "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'fixed']\n"
        )
        assert daemon.get(script).retry
        assert daemon.wait() == process_abi.EXIT_LOAD
        daemon.wait_for_log("WSGID0336")


def test_a_failed_script_beside_a_healthy_one_is_loaded_again_in_the_same_process(tmp_path, write):
    script = write("raise ValueError")
    with Daemon(tmp_path, scripts=["hello.wsgi"]) as daemon:
        assert daemon.get(script).abort[0] == 500
        write(
            "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'fixed']\n"
        )
        assert daemon.get(script).body == b"fixed"


def test_a_process_ends_if_none_of_its_scripts_can_be_loaded(tmp_path):
    with Daemon(tmp_path, scripts=["unimportable.wsgi"], ready=False) as daemon:
        assert daemon.wait() == process_abi.EXIT_LOAD
        daemon.wait_for_log("ModuleNotFoundError")
        daemon.wait_for_log("WSGID0332")
        daemon.wait_for_log("WSGID0306")
        assert daemon.state() == process_abi.STATE_BOOTING


def test_a_process_serves_if_one_of_its_scripts_can_be_loaded(tmp_path):
    with Daemon(tmp_path, scripts=["unimportable.wsgi", "hello.wsgi"]) as daemon:
        daemon.wait_for_log("WSGID0332")
        assert daemon.get("hello.wsgi").complete
        assert daemon.get("unimportable.wsgi").abort[0] == 500


def test_a_process_that_is_not_ready_in_time_ends(tmp_path, write):
    script = write("import time\ntime.sleep(30)")
    with Daemon(tmp_path, scripts=[script], startup_timeout=0.3, ready=False) as daemon:
        assert daemon.wait() == process_abi.EXIT_LOAD
        daemon.wait_for_log("WSGID0304")
        assert f'"{script}", line 2' in daemon.log_text()


def test_a_process_that_is_no_longer_needed_ends_while_it_starts(tmp_path, write):
    script = write("import time\nprint('importing')\ntime.sleep(30)")
    with Daemon(tmp_path, scripts=[script], ready=False) as daemon:
        daemon.wait_for_log("importing")
        daemon.close_lifeline_with_byte()
        assert daemon.wait() == 0


def test_an_invalid_configuration_ends_the_process(tmp_path):
    with Daemon(tmp_path, threads="many", ready=False) as daemon:
        assert daemon.wait() == process_abi.EXIT_CONFIGURATION
        assert "threads='many'" in daemon.wait_for_log("WSGID0301")
