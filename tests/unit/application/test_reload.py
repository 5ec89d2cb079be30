"""reload=hot, touch and off: how a daemon reacts when its script changes. The test plays the part
of httpd's parent.
"""

from __future__ import annotations

import signal
import time

import pytest
from daemonenv import Client, Daemon, wait_until

from pywsgid.wire import process_abi

ANSWERS = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'%s']\n"


@pytest.fixture
def script(tmp_path):
    """A script that answers with a word; script(word) changes it."""
    path = tmp_path / "app.wsgi"

    def change(text):
        fresh = tmp_path / "fresh"
        fresh.write_text(ANSWERS % text if text.isidentifier() else text)
        fresh.rename(path)
        return path

    change.path = path
    change("old")
    return change


@pytest.fixture
def successor(tmp_path):
    """successor(old, ...) starts another daemon on the listener of `old`, which signals `old`
    through its lifeline.
    """
    directory = tmp_path / "next"
    directory.mkdir()
    started = []

    def start(old, **options):
        started.append(Daemon(directory, listener=old.listener, successor=old.lifeline, **options))
        return started[-1]

    yield start
    for daemon in started:
        daemon.__exit__(None)


def sleeps(daemon):
    """How often the main thread has gone to sleep."""
    with open(f"/proc/{daemon.pid}/task/{daemon.pid}/status") as file:
        return next(
            int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches")
        )


def has_slept_through(daemon, seconds):
    before = sleeps(daemon)
    time.sleep(seconds)
    return sleeps(daemon) == before


def wait_for_checks(daemon):
    """Waits until the main thread has checked its scripts often enough to have noticed any
    change.
    """
    before = sleeps(daemon)
    wait_until(lambda: sleeps(daemon) >= before + 3, "checks of the scripts")


def test_a_change_is_requested_once_and_the_old_code_serves_meanwhile(tmp_path, script):
    with Daemon(tmp_path, scripts=[script.path]) as daemon:
        assert daemon.replacement_requests() == (0, process_abi.REPLACE_NONE)
        script("new")
        daemon.wait_for_replacement_request(process_abi.REPLACE_CHANGED)
        wait_for_checks(daemon)
        assert daemon.replacement_requests()[0] == 1
        assert daemon.get(script.path).body == b"old"
        assert str(script.path) in daemon.wait_for_log("WSGID0350")


def test_the_successor_has_the_new_code_and_the_old_process_leaves(tmp_path, script, successor):
    with Daemon(tmp_path, scripts=[script.path]) as old:
        script("new")
        old.wait_for_replacement_request(process_abi.REPLACE_CHANGED)
        new = successor(old, scripts=[script.path])
        assert old.wait() == 0
        client = Client(old.path)
        assert client.get(script.path).body == b"new"
        client.close()
        assert new.replacement_requests()[0] == 0


def test_the_new_code_serves_within_half_a_second(tmp_path, script):
    with Daemon(tmp_path, scripts=[script.path]) as daemon:
        script("new")
        changed = time.monotonic()
        daemon.wait_for_replacement_request(process_abi.REPLACE_CHANGED)
        assert time.monotonic() - changed < 2  # 0.3 s, plus a margin for a busy machine


def test_a_change_that_fails_is_logged_once_and_the_next_is_tried_at_once(tmp_path, script):
    with Daemon(tmp_path, scripts=[script.path]) as daemon:
        for number in (1, 2):
            script(f"broken {number}")
            daemon.wait_for_replacement_request(process_abi.REPLACE_CHANGED, number)
            daemon.refuse_replacement()
            wait_until(
                lambda n=number: daemon.log_text().count("WSGID0351") == n, "a line for each change"
            )
            assert daemon.get(script.path).body == b"old"
        wait_for_checks(daemon)
        assert daemon.replacement_requests()[0] == 2
        script("fixed")
        daemon.wait_for_replacement_request(process_abi.REPLACE_CHANGED, 3)


def test_a_change_while_the_replacement_starts_is_requested_after_its_failure(tmp_path, script):
    with Daemon(tmp_path, scripts=[script.path]) as daemon:
        script("first")
        daemon.wait_for_replacement_request(process_abi.REPLACE_CHANGED)
        script("second")
        wait_for_checks(daemon)
        assert daemon.replacement_requests()[0] == 1
        daemon.refuse_replacement()
        daemon.wait_for_replacement_request(process_abi.REPLACE_CHANGED, 2)


def test_a_switched_symbolic_link_is_a_change(tmp_path, script):
    release, link = tmp_path / "release", tmp_path / "current"
    for name in ("1", "2"):
        (release / name).mkdir(parents=True)
        (release / name / "app.wsgi").write_text(ANSWERS % "same")
    link.symlink_to(release / "1")
    with Daemon(tmp_path, scripts=[link / "app.wsgi"]) as daemon:
        (tmp_path / "fresh-link").symlink_to(release / "2")
        (tmp_path / "fresh-link").rename(link)
        daemon.wait_for_replacement_request(process_abi.REPLACE_CHANGED)


def test_a_deleted_script_is_served_from_memory(tmp_path, script):
    with Daemon(tmp_path, scripts=[script.path]) as daemon:
        script.path.unlink()
        wait_for_checks(daemon)
        assert daemon.replacement_requests()[0] == 0
        assert daemon.get(script.path).body == b"old"
        script("back")
        daemon.wait_for_replacement_request(process_abi.REPLACE_CHANGED)


def test_a_script_that_a_request_loaded_is_watched_too(tmp_path, script):
    with Daemon(tmp_path) as daemon:
        assert daemon.get(script.path).body == b"old"
        script("new")
        daemon.wait_for_replacement_request(process_abi.REPLACE_CHANGED)


@pytest.mark.parametrize("preloaded", [True, False])
def test_script_reloading_off_ignores_the_change_for_its_requests(tmp_path, script, preloaded):
    off = {"mod_wsgi__script_reloading": "0"}
    with Daemon(tmp_path, scripts=[script.path] if preloaded else []) as daemon:
        assert daemon.get(script.path, **off).body == b"old"
        script("new")
        wait_for_checks(daemon)
        assert daemon.replacement_requests()[0] == 0


def test_off_neither_checks_nor_wakes_up(tmp_path, script):
    with Daemon(tmp_path, scripts=[script.path], reload="off", deadlock_timeout=0) as daemon:
        assert daemon.get(script.path).body == b"old"
        # The worker may have answered before the main thread has come to its loop.
        wait_until(lambda: has_slept_through(daemon, 0.1), "the main thread to have nothing to do")
        before, since = sleeps(daemon), time.monotonic()
        script("new")
        while time.monotonic() < since + 1:
            assert daemon.get(script.path).body == b"old"
        assert sleeps(daemon) == before
        assert daemon.replacement_requests()[0] == 0


# ---- touch


def is_given_back(client):
    """Whether the daemon gave the request back: RETRY if it had read it, a reset if not."""
    try:
        return client.reply().retry
    except ConnectionResetError:
        return True


def test_touch_holds_the_request_that_finds_the_change_until_the_new_code_serves(
    tmp_path, script, successor
):
    with Daemon(tmp_path, scripts=[script.path], reload="touch") as old:
        assert old.get(script.path).body == b"old"
        script("new")
        first, second = old.connect(), old.connect()
        first.request(script.path)
        old.wait_for_replacement_request(process_abi.REPLACE_CHANGED)
        second.request("hello.wsgi")
        new = successor(old, scripts=[script.path], reload="touch")
        assert first.reply().retry
        assert is_given_back(second)
        assert old.wait() == 0
        assert old.counts() == (1, 1), "the old process had started it"
        assert old.replacement_requests()[0] == 1
        again = Client(old.path)
        assert again.get(script.path).body == b"new"
        assert new.replacement_requests()[0] == 0
        for client in (first, second, again):
            client.close()


def test_touch_the_old_code_answers_if_the_new_code_cannot(tmp_path, script):
    with Daemon(tmp_path, scripts=[script.path], reload="touch") as daemon:
        script("broken 1")
        clients = [daemon.connect() for _ in range(2)]
        for client in clients:
            client.request(script.path)
        daemon.wait_for_replacement_request(process_abi.REPLACE_CHANGED)
        daemon.refuse_replacement()
        assert [client.reply().body for client in clients] == [b"old"] * 2
        assert daemon.get(script.path).body == b"old", "it is not held again for the same change"
        assert daemon.replacement_requests()[0] == 1
        script("fixed")
        clients[0].request(script.path)
        daemon.wait_for_replacement_request(process_abi.REPLACE_CHANGED, 2)
        daemon.close_lifeline_with_byte()
        assert clients[0].reply().retry
        for client in clients:
            client.close()


def test_touch_does_not_hold_requests_with_script_reloading_off(tmp_path, script):
    with Daemon(tmp_path, scripts=[script.path], reload="touch") as daemon:
        script("new")
        assert daemon.get(script.path, mod_wsgi__script_reloading="0").body == b"old"
        assert daemon.replacement_requests()[0] == 0


def test_touch_a_signal_ends_the_process_while_it_holds_a_request(tmp_path, script):
    with Daemon(tmp_path, scripts=[script.path], reload="touch") as daemon:
        script("new")
        client = daemon.connect()
        client.request(script.path)
        daemon.wait_for_replacement_request(process_abi.REPLACE_CHANGED)
        daemon.signal(signal.SIGTERM)
        assert client.reply().retry
        assert daemon.wait() == 0
        client.close()


# ---- reload_required()

REQUIRING = (
    "import os\ndef reload_required(path):\n    return os.path.exists(path + '.reload')\n"
    + ANSWERS % "old"
)


@pytest.mark.parametrize("reload", ["hot", "touch"])
def test_a_script_may_ask_to_be_loaded_again(tmp_path, script, reload):
    script(REQUIRING)
    with Daemon(tmp_path, scripts=[script.path], reload=reload) as daemon:
        assert daemon.get(script.path).body == b"old"
        assert daemon.replacement_requests()[0] == 0
        (tmp_path / "app.wsgi.reload").touch()
        client = daemon.connect()
        client.request(script.path)
        daemon.wait_for_replacement_request(process_abi.REPLACE_CHANGED)
        daemon.close_lifeline_with_byte()
        reply = client.reply()
        assert (reply.body, reply.retry) == ((b"old", False) if reload == "hot" else (b"", True))
        client.close()


def test_reload_required_that_raises_is_logged_once(tmp_path, script):
    script("def reload_required(path): raise ValueError('why')\n" + ANSWERS % "old")
    with Daemon(tmp_path, scripts=[script.path]) as daemon:
        for _ in range(3):
            assert daemon.get(script.path).body == b"old"
        assert "ValueError: why" in daemon.wait_for_log("WSGID0356")
        assert daemon.log_text().count("WSGID0356: ") == 1


# ---- scripts that the predecessor has loaded


def test_a_successor_must_load_every_script_of_its_predecessor(tmp_path, script, successor):
    other = tmp_path / "other.wsgi"
    other.write_text("1 / 0")
    with Daemon(tmp_path, scripts=[script.path]) as old:
        new = successor(old, scripts=[script.path], loaded=[f"application:{other}"], ready=False)
        assert new.wait() == process_abi.EXIT_LOAD
        new.wait_for_log("ZeroDivisionError")
        assert old.get(script.path).body == b"old"


def test_a_removed_script_does_not_prevent_a_successor(tmp_path, script, successor):
    with Daemon(tmp_path, scripts=[script.path]) as old:
        new = successor(
            old, scripts=[script.path], loaded=[f"application:{tmp_path / 'removed.wsgi'}"]
        )
        assert old.wait() == 0
        assert "WSGID0330" not in new.log_text()


def test_a_successor_loads_what_requests_had_loaded_before_its_first_request(
    tmp_path, script, successor
):
    with Daemon(tmp_path) as old:
        new = successor(old, loaded=[f"application:{script.path}"])
        assert old.wait() == 0
        script.path.unlink()
        client = Client(old.path)
        assert client.get(script.path).body == b"old"
        client.close()
        assert new.replacement_requests()[0] == 0
