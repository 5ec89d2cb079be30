"""The life of daemons: deaths and successors, graceful, restart, stop, foreground and -X."""

from __future__ import annotations

import os
import re
import signal
import threading

import pytest
from httpdenv import MPMS, Crowd, HeldRequests, processes, wait_until

CONFIGURATION = """
WSGIDaemonProcess app
WSGIProcessName app
WSGIScriptAlias /gate ${APPS}/gate.wsgi
WSGIScriptAlias / ${APPS}/whoami.wsgi
"""


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION)


def held(httpd, name: str) -> HeldRequests:
    """One request in flight."""
    return HeldRequests(httpd, "/gate", name)


def pid_of(httpd) -> int:
    return httpd.get("/").json()["pid"]


@pytest.mark.parametrize(
    "sign", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=["SIGTERM", "SIGHUP", "SIGINT"]
)
def test_a_daemon_that_is_asked_to_leave_finishes_its_request_and_a_successor_takes_the_next(
    httpd, sign
):
    old = pid_of(httpd)
    request = held(httpd, f"leaving-{int(sign)}")
    os.kill(old, sign)
    (answer,) = request.release()
    assert (answer.status_code, answer.text) == (200, str(old))
    wait_until(lambda: not processes.find(old), f"process {old} to leave")
    assert pid_of(httpd) != old
    assert len(httpd.wait_for_daemons("app", 1)) == 1


def test_requests_that_arrive_while_a_daemon_drains_are_answered(httpd):
    """They wait in the listener for the successor and are not refused."""
    old = pid_of(httpd)
    request = held(httpd, "draining")
    os.kill(old, signal.SIGTERM)
    waiting = Crowd(httpd, "/", 3)
    assert [answer.status_code for answer in request.release()] == [200]
    assert [answer.status_code for answer in waiting.join()] == [200] * 3


def test_a_daemon_that_is_killed_is_replaced_at_once(httpd):
    old = pid_of(httpd)
    with httpd.log.expects(f"WSGID0052.*{old}"):
        os.kill(old, signal.SIGKILL)
        answer = httpd.get("/", timeout=5)
    assert answer.status_code == 200
    assert answer.json()["pid"] != old
    assert answer.elapsed.total_seconds() < 2


def test_the_request_that_a_killed_daemon_was_running_is_a_502_and_no_other_fails(httpd):
    old = pid_of(httpd)
    request = held(httpd, "killed")
    with httpd.log.expects("WSGID0166", f"WSGID0052.*{old}"):
        os.kill(old, signal.SIGKILL)
        assert httpd.get("/", timeout=10).status_code == 200
        assert [answer.status_code for answer in request.release()] == [502]


def test_idle_connections_to_a_killed_daemon_cost_no_request(httpd):
    """Each child of httpd keeps connections to daemons. It must notice that those to the dead
    process are useless.
    """
    with httpd.session() as session:
        for _ in range(5):
            old = session.get(httpd.url("/"), timeout=10).json()["pid"]
            with httpd.log.allows(f"WSGID0052.*{old}"):  # summed up after some that are alike
                os.kill(old, signal.SIGKILL)
                assert session.get(httpd.url("/"), timeout=10).json()["pid"] != old


def test_graceful_under_light_load_loses_nothing(httpd):
    stop, statuses, failures = threading.Event(), [], []

    def load() -> None:
        while not stop.is_set():
            try:
                statuses.append(httpd.get("/", timeout=20).status_code)
            except Exception as error:  # any exception is a lost request
                failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        seen = len(statuses)
        httpd.graceful()
        wait_until(lambda before=seen: len(statuses) > before + 10, "ten more answers")
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert set(statuses) == {200}


def test_graceful_finishes_requests_in_flight(httpd):
    request = held(httpd, "graceful")
    httpd.graceful()
    assert httpd.get("/", timeout=20).status_code == 200
    assert [answer.status_code for answer in request.release()] == [200]


def test_graceful_leaves_one_daemon_per_slot_and_leaks_no_descriptor(httpd):
    for _ in range(5):
        httpd.graceful()
        assert httpd.get("/").status_code == 200
    httpd.wait_for_daemons("app", 1)
    httpd.assert_no_leaked_descriptors()


def test_httpd_serves_again_after_a_restart(httpd):
    httpd.restart()
    assert httpd.get("/").status_code == 200
    httpd.wait_for_daemons("app", 1)


def test_graceful_adds_and_removes_a_group(httpd):
    httpd.configure(CONFIGURATION + "WSGIDaemonProcess another processes=2\n")
    httpd.graceful()
    httpd.wait_for_daemons("another", 2)
    httpd.configure(CONFIGURATION)
    httpd.graceful()
    httpd.wait_for_daemons("another", 0)
    assert httpd.get("/").status_code == 200


@pytest.mark.parametrize("mpm", MPMS)
def test_stop_leaves_nothing(make_httpd, mpm):
    httpd = make_httpd(CONFIGURATION, mpm=mpm)
    assert httpd.get("/").status_code == 200
    httpd.stop()


def test_stop_with_a_request_in_flight_leaves_nothing(make_httpd):
    """shutdown-timeout limits how long it may take; nobody expects an answer."""
    httpd = make_httpd(
        CONFIGURATION.replace("Process app\n", "Process app shutdown-timeout=1\n", 1)
    )
    held(httpd, "stop")
    with httpd.log.allows(
        r"WSGID\d{4}", "AH000(45|46)", "^  "
    ):  # the stack of the interrupted request, line by line
        httpd.stop()


def test_httpd_starts_over_the_remains_of_a_dead_one(make_httpd):
    """The parent is killed with kill -9. Its daemons leave by themselves, and the next httpd serves
    from the same directory.
    """
    httpd = make_httpd(CONFIGURATION)
    assert httpd.get("/").status_code == 200
    daemons, parent = httpd.daemons(), httpd.pid
    family = [process.pid for process in httpd.family() if process.pid not in daemons]
    with httpd.log.allows(r"WSGID\d{4}", "AH\\d+"):
        for pid in sorted(family, key=lambda pid: pid != parent):
            os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: not [pid for pid in daemons if processes.find(pid)], "the daemons to leave"
        )
        httpd.start()
        assert httpd.get("/").status_code == 200
        httpd.stop()


@pytest.mark.parametrize("mpm", MPMS)
@pytest.mark.parametrize("how", ["foreground", "debug"])
def test_httpd_serves_in_the_foreground_and_with_x_and_ctrl_c_leaves_nothing(make_httpd, how, mpm):
    httpd = make_httpd(CONFIGURATION, mpm=mpm, start=how)
    assert httpd.get("/").status_code == 200
    httpd.interrupt()


def test_x_restarts_a_daemon_or_logs_why_not(make_httpd):
    """Under -X httpd has no parent that supervises children. Only a quick answer is promised,
    whichever it is.
    """
    httpd = make_httpd(CONFIGURATION, start="debug")
    old = pid_of(httpd)
    with httpd.log.allows(r"WSGID\d{4}"):
        os.kill(old, signal.SIGKILL)
        wait_until(
            lambda: not httpd.daemons("app") or httpd.daemons("app") != [old],
            "the daemon to be gone",
        )
        answer = httpd.get("/", timeout=20)
    assert answer.status_code in (200, 502, 503)
    assert answer.elapsed.total_seconds() < 5


UPGRADED = """
LoadModule wsgid_module "${FILES}/installed/mod_wsgid.so"
WSGIDaemonProcess app
WSGIProcessName app
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /gate ${APPS}/gate.wsgi
WSGIScriptAlias / ${APPS}/whoami.wsgi
"""


def test_a_graceful_that_loads_another_version_replaces_all_daemons_and_loses_nothing(
    make_httpd, stage
):
    """An upgrade without a stop. The other version is this one with another name for its memory
    layout.
    """
    httpd = make_httpd(UPGRADED, ours=False, start=None)
    installed = httpd.files / "installed"
    installed.mkdir()
    (installed / "pywsgid").symlink_to(stage.module.parent.parent / "pywsgid")
    (installed / "mod_wsgid.so").write_bytes(stage.module.read_bytes())
    httpd.start()
    (old,) = httpd.wait_for_daemons("app", 1)
    found = processes.find(old)
    held = HeldRequests(httpd, "/gate", "upgrade")
    with httpd.log.expects(r"WSGID0072.*layout-\w, not layout-!"):
        changed, count = re.subn(rb"layout-\w", b"layout-!", stage.module.read_bytes())
        assert count
        (installed / "new").write_bytes(changed)
        (installed / "new").rename(installed / "mod_wsgid.so")
        httpd.graceful()
        assert httpd.get("/").json()["pid"] != old
    assert [answer.status_code for answer in held.release()] == [200]
    assert old in httpd.daemons("app")
    assert len(httpd.daemons("app")) == 2
    httpd.stop()
    wait_until(lambda: not found.is_alive, "the old process to leave")


def test_graceful_binds_sockets_again_if_their_files_are_gone(make_httpd):
    """After something has cleaned the directory, httpd continues and serves again."""
    httpd = make_httpd(CONFIGURATION)
    assert httpd.get("/").status_code == 200
    sockets = httpd.sockets()
    for path in httpd.root.rglob("*"):
        if path.is_socket():
            path.unlink()
    httpd.graceful()
    assert httpd.get("/").status_code == 200
    assert httpd.sockets() == sockets


DIES_BRIEFLY = """
import os, threading
def application(environ, start_response):
    raise NotImplementedError
if os.path.exists("{files}/broken"):
    raise RuntimeError("broken")
threading.Timer(0.05, os._exit, [3]).start()
"""


def test_back_off_still_grows_for_a_script_that_breaks_after_its_processes_died_young(make_httpd):
    """The fixed half second between starts of processes that die young does not end the
    back-off.
    """
    httpd = make_httpd("WSGIScriptAlias / ${FILES}/dies.wsgi\n", files={"dies.wsgi": ""})
    httpd.write("dies.wsgi", DIES_BRIEFLY.format(files=httpd.files))
    httpd.log.wait_for("next try in 0.5 s", timeout=20)
    httpd.write("broken", "")
    httpd.log.wait_for("next try in 2 s", timeout=20)
    assert not httpd.log.find("WSGID0057")
    httpd.stop()
    httpd.log.accept_all(r"WSGID\d{4}")
