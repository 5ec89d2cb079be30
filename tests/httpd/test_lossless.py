"""No request is lost: graceful, deaths, reconfigurations and stops under constant load.

The client (httpdenv.load) reads each answer whole and compares it. The application records each
execution, so that the tests also find a request that ran twice, and one that ran but had no answer.
"""

from __future__ import annotations

import collections
import os
import signal
import time

import pytest
from httpdenv import Crowd, HeldRequests, Load, machine, processes, wait_until

CONFIGURATION = """
WSGIDaemonProcess app OPTIONS
WSGIProcessName app
WSGIScriptAlias / ${APPS}/executions.wsgi
SetEnv EXECUTIONS ${FILES}/executions
KeepAliveTimeout 30
MaxKeepAliveRequests 0
"""
GRACEFULS = 10


def serve(make_httpd, options: str = "processes=2 threads=5", **more):
    httpd = make_httpd(CONFIGURATION.replace("OPTIONS", options), start=None, **more)
    httpd.write("executions", "").chmod(0o666)
    httpd.start()
    httpd.wait_for_daemons("app", 2 if "processes=2" in options else 1)
    return httpd


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return serve(make_httpd)


def wait_until_ready(
    httpd, count: int, without: list[int] = (), leaving: list[int] = ()
) -> list[int]:
    """Waits for `count` serving daemons besides those that leave. A signal would simply kill one
    that is still booting.
    """

    def all_ready() -> list[int]:
        ready = {record.pid for record in httpd.log.find("WSGID0303")}
        daemons = [pid for pid in httpd.daemons("app") if pid not in leaving]
        return (
            daemons
            if len(daemons) == count and ready.issuperset(daemons) and not {*daemons} & {*without}
            else []
        )

    return wait_until(all_ready, f"{count} daemons to be ready")


def executed(httpd) -> collections.Counter[str]:
    return collections.Counter((httpd.files / "executions").read_text().split())


@pytest.fixture
def once(httpd):
    """Asserts that every answered request ran exactly once."""
    (httpd.files / "executions").write_text("")
    yield
    twice = [name for name, count in executed(httpd).items() if count != 1]
    assert twice == []


@pytest.mark.parametrize("connections", [16, 64])
def test_graceful_ten_times_in_a_row_under_load_loses_nothing(httpd, once, connections):
    with Load(httpd, "/", connections) as load:
        for _ in range(GRACEFULS):
            httpd.graceful()
            load.wait_for_more()
    load.assert_nothing_lost()
    httpd.wait_for_daemons("app", 2)


def gate_configuration(options: str = "") -> str:
    return (
        CONFIGURATION.replace("OPTIONS", options)
        .replace(
            "WSGIScriptAlias /", "WSGIScriptAlias /gate ${APPS}/gate.wsgi\nWSGIScriptAlias /", 1
        )
        .replace("SetEnv EXECUTIONS ${FILES}/executions\n", "")
    )


def test_requests_in_flight_finish_over_several_gracefuls(make_httpd):
    """One request of each generation; its own process answers it."""
    httpd = make_httpd(gate_configuration())
    held, seen = [], set()
    for number in range(3):
        seen.add(httpd.get("/gate/dev/null?now").text)
        held.append(HeldRequests(httpd, "/gate", f"generation-{number}"))
        httpd.graceful()
        wait_until(lambda: httpd.get("/gate/dev/null?now").text not in seen, "the next generation")
    answers = [answer for request in held for answer in request.release()]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.text for answer in answers}) == 3
    httpd.wait_for_daemons("app", 1)


def test_clients_do_not_wait_for_a_slow_import(make_httpd, stage):
    """The old processes serve until the new ones are ready: no client waits for the two seconds."""
    slow = "import time\ntime.sleep(2)\n" + (stage.apps / "executions.wsgi").read_text()
    httpd = make_httpd(
        CONFIGURATION.replace("OPTIONS", "").replace("${APPS}/executions", "${FILES}/slow"),
        start=None,
        files={"slow.wsgi": slow},
    )
    httpd.write("executions", "").chmod(0o666)
    httpd.start()
    assert httpd.get("/?first").status_code == 200
    (old,) = httpd.daemons("app")
    with Load(httpd, "/", 4) as load:
        httpd.graceful()
        httpd.wait_for_daemons("app", 1, without=[old])
        load.wait_for_more()
    load.assert_nothing_lost()
    assert load.longest_pause() < 1.5


def test_one_graceful_that_adds_removes_and_changes_groups_loses_nothing(make_httpd):
    """Other numbers of processes and threads, another user, a new group, a removed one, a renamed
    one: all under load.
    """
    other = machine.other_users()[0].pw_name if os.geteuid() == 0 else None
    variants = [
        "WSGIDaemonProcess app processes=2\nWSGIDaemonProcess second\n",
        "WSGIDaemonProcess app processes=3 threads=2\nWSGIDaemonProcess third processes=2\n",
        f"WSGIDaemonProcess app {f'user={other}' if other else 'threads=3'}\n",
        "WSGIDaemonProcess renamed processes=2\n",
        "WSGIDaemonProcess app\nWSGIDaemonProcess second\n",
    ]

    def text(variant: str) -> str:
        name = "renamed" if "renamed" in variant else "app"
        return CONFIGURATION.replace("WSGIDaemonProcess app OPTIONS\n", variant).replace(
            "Name app", f"Name {name}"
        )

    httpd = make_httpd(text(variants[0]), start=None)
    httpd.write("executions", "").chmod(0o666)
    httpd.start()
    with Load(httpd, "/", 16) as load:
        for variant in variants[1:]:
            httpd.configure(text(variant))
            httpd.graceful()
            load.wait_for_more(200)
    load.assert_nothing_lost()
    assert set(executed(httpd).values()) == {1}
    httpd.wait_for_daemons("app", 1)
    httpd.wait_for_daemons("second", 1)
    for name in ("third", "renamed"):
        httpd.wait_for_daemons(name, 0)


def resident(pid: int) -> int:
    """The private memory of a process, in bytes."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return 1024 * sum(int(line.split()[1]) for line in file if line.startswith("Private_"))


def test_a_hundred_gracefuls_leave_nothing_behind(httpd):
    """No process, no descriptor, no socket, no line at warn or above (the harness checks), and no
    memory in the parent.
    """
    for _ in range(10):
        httpd.graceful()
    httpd.wait_for_daemons("app", 2)
    sockets = httpd.sockets()
    before = resident(httpd.pid)
    with httpd.log.allows(
        "AH03490"
    ):  # so many generations of httpd's own children need up to ten seconds
        for _ in range(90):
            httpd.graceful()
        httpd.wait_for_daemons("app", 2)
    httpd.assert_no_leaked_descriptors()
    assert httpd.sockets() == sockets
    assert resident(httpd.pid) - before < 2_000_000


@pytest.mark.parametrize(
    "sign", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=["SIGTERM", "SIGHUP", "SIGINT"]
)
def test_a_signal_to_a_daemon_loses_nothing_under_load(httpd, once, sign):
    with Load(httpd, "/", 16) as load:
        for _ in range(6):
            old = wait_until_ready(httpd, 2)
            os.kill(old[0], sign)
            wait_until_ready(httpd, 2, without=old[:1])
            load.wait_for_more()
    load.assert_nothing_lost()


def test_a_draining_process_is_replaced_while_it_still_runs_a_request(make_httpd):
    """It reports through the wake-up pipe that it is leaving, so nobody waits for its last
    request.
    """
    httpd = make_httpd(gate_configuration("threads=2"))
    (old,) = httpd.wait_for_daemons("app", 1)
    held = HeldRequests(httpd, "/gate", "drains")
    os.kill(old, signal.SIGTERM)
    httpd.log.wait_for("WSGID0310.*SIGTERM", timeout=5)
    answer = httpd.get("/gate/dev/null?next", timeout=10)
    assert answer.status_code == 200
    assert int(answer.text) != old
    assert [answer.status_code for answer in held.release()] == [200]


def test_a_slot_full_of_leaving_processes_starts_the_next_when_one_has_left(make_httpd):
    """Requests that arrive meanwhile wait, and the log says for which processes."""
    httpd = make_httpd(gate_configuration())
    held = []
    for number in range(4):  # WSGID_SLOT_PROCESSES
        (pid,) = wait_until_ready(httpd, 1, leaving=[pid for pid, _ in held])
        held.append((pid, HeldRequests(httpd, "/gate", f"entry-{number}")))
        os.kill(pid, signal.SIGHUP)  # limited by graceful-timeout, which is not set
        wait_until(lambda n=number: len(httpd.log.find("WSGID0310.*SIGHUP")) > n, "it to leave")
    waiting = Crowd(httpd, "/gate/dev/null?waits")
    with httpd.log.expects("WSGID0067: group 'app' slot 0: .*all 4 places"):
        httpd.log.wait_for("WSGID0067", timeout=25)  # httpd checks every ten seconds
    assert waiting.answers == []
    assert [answer.status_code for answer in held[0][1].release()] == [200]
    (answer,) = waiting.join()
    assert answer.status_code == 200
    assert int(answer.text) not in [pid for pid, _ in held]
    assert [answer.status_code for _, request in held[1:] for answer in request.release()] == [
        200
    ] * 3


def test_kill_9_fails_only_running_requests_and_runs_none_twice(httpd, once):
    """At most one request for each of its threads fails; other processes run everything that was
    queued or unread.
    """
    kills = 5
    with httpd.log.expects("WSGID0052.*SIGKILL"), httpd.log.allows("WSGID0166"):
        with Load(httpd, "/", 16) as load:
            for _ in range(kills):
                old = wait_until_ready(httpd, 2)
                os.kill(old[0], signal.SIGKILL)
                wait_until_ready(httpd, 2, without=old[:1])
                load.wait_for_more()
    assert all("HTTP/1.1 502 " in text for text in load.lost), load.lost
    assert len(load.lost) <= 5 * kills


def test_a_death_is_logged_with_the_requests_that_it_cost(make_httpd):
    httpd = make_httpd(gate_configuration())
    (old,) = httpd.wait_for_daemons("app", 1)
    held = HeldRequests(httpd, "/gate", "killed")
    with httpd.log.expects(
        f"WSGID0052: group 'app' slot 0: process {old} died after [0-9.]+ s: signal SIGKILL"
    ):
        with httpd.log.expects(f"WSGID0166: group 'app'.*process {old}.*GET /gate/.*killed"):
            os.kill(old, signal.SIGKILL)
            assert [answer.status_code for answer in held.release()] == [502]


ENDS = {
    "segfault": ("import ctypes\n    ctypes.string_at(0)", "signal SIGSEGV"),
    "os-exit": ("import os\n    os._exit(3)", "exit code 3"),
    "abort": ("import os\n    os.abort()", "signal SIGABRT"),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_process_that_ends_itself_is_logged_and_replaced(make_httpd, how):
    code, words = ENDS[how]
    script = (
        "def application(environ, start_response):\n"
        "    if environ['PATH_INFO'] != '/end':\n"
        "        start_response('200 OK', [])\n        return [b'alive']\n"
        f"    {code}\n"
    )
    httpd = make_httpd(
        "WSGIDaemonProcess app\nWSGIScriptAlias / ${FILES}/ends.wsgi process-name=app\n",
        files={"ends.wsgi": script},
    )
    assert httpd.get("/").text == "alive"
    with httpd.log.expects(f"WSGID0052.*{words}", "WSGID0166.*GET /end"):
        assert httpd.get("/end").status_code == 502
        answer = httpd.get("/")
    assert (answer.status_code, answer.text) == (200, "alive")
    assert answer.elapsed.total_seconds() < 2
    if how != "os-exit":
        log = (httpd.root / "logs" / "error_log").read_text()
        assert "Fatal Python error" in log
        assert 'ends.wsgi", line 6 in application' in log
        httpd.log.accept_all("Fatal Python error", "exit signal")


def test_overload_is_refused_at_once_and_accepted_requests_keep_their_latency(make_httpd):
    """One process with two threads, and two requests may wait. The excess gets its 503 while the
    others still run.
    """
    httpd = make_httpd(gate_configuration("threads=2 queue-limit=2"))
    held = HeldRequests(httpd, "/gate", "busy", 2)
    with httpd.log.expects("WSGID0161"):
        crowd = Crowd(httpd, "/?name", 12)
        wait_until(lambda: len(crowd.with_status(503)) == 10, "ten of twelve to be refused")
    excess = crowd.with_status(503)
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in excess)
    assert max(answer.elapsed.total_seconds() for answer in excess) < 2
    assert [answer.status_code for answer in held.release()] == [200, 200]
    assert len([answer for answer in crowd.join() if answer.status_code == 200]) == 2


def test_queue_timeout_refuses_requests_that_wait_too_long(make_httpd):
    httpd = make_httpd(gate_configuration("threads=1 queue-timeout=0.5"))
    held = HeldRequests(httpd, "/gate", "busy")
    with httpd.log.expects("WSGID0162|WSGID0338"):
        answer = httpd.get("/?late")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.elapsed.total_seconds() < 5
    assert [answer.status_code for answer in held.release()] == [200]


def test_stop_takes_no_longer_than_shutdown_timeout(make_httpd):
    httpd = make_httpd(gate_configuration("shutdown-timeout=1"))
    held = HeldRequests(httpd, "/gate", "stops")
    began = time.monotonic()
    with httpd.log.allows(".*"):  # the stack of the interrupted request, line by line
        httpd.stop()
    assert time.monotonic() - began < 5  # one second, plus a margin for a busy machine
    assert held


def test_graceful_stop_finishes_running_requests(make_httpd):
    httpd = make_httpd(gate_configuration())
    held = HeldRequests(httpd, "/gate", "winch")
    os.kill(httpd.pid, signal.SIGWINCH)
    httpd.log.wait_for("graceful-stop|shutting down gracefully", timeout=5)
    assert [answer.status_code for answer in held.release()] == [200]
    wait_until(lambda: not processes.using(httpd.root), "everything to leave")
    httpd.assert_nothing_left()


def wait_for_supervision(httpd) -> None:
    """Waits until httpd has seen that its daemon is ready, and there is a process that removes the
    sockets: a guardian, or the wake-up process that replaces the one that reported it.
    """
    httpd.log.wait_for("WSGID0053.*is ready", timeout=10)
    wait_until(
        lambda: (
            httpd.guardians()
            or any(p.name == "wsgid-wakeup" for p in processes.descendants(httpd.pid))
        ),
        "a guardian or a wake-up process",
    )


def test_a_restart_with_a_broken_configuration_leaves_nothing(make_httpd):
    """httpd ends without running our cleanups. The daemons notice it by their lifeline, and the
    process that supervises them removes the sockets.
    """
    httpd = make_httpd(gate_configuration())
    assert httpd.get("/?before").status_code == 200
    wait_for_supervision(httpd)
    httpd.configure("ThisIsNoDirective at all\n")
    with httpd.log.allows(".*"):
        os.kill(httpd.pid, signal.SIGUSR1)
        wait_until(lambda: not processes.using(httpd.root), "everything to leave")
        wait_until(
            lambda: not [path for path in httpd.root.rglob("*") if path.is_socket()],
            "the sockets to go",
        )
    (httpd.root / "run" / "httpd.pid").unlink(missing_ok=True)


def test_kill_9_of_the_parent_drains_the_daemons_and_removes_the_sockets(make_httpd):
    httpd = make_httpd(gate_configuration())
    held = HeldRequests(httpd, "/gate", "orphans")
    wait_for_supervision(httpd)
    family, orphans = httpd.family(), httpd.children()
    with httpd.log.allows(".*"):
        os.kill(httpd.pid, signal.SIGKILL)
        (answer,) = held.release()
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)  # they react to nothing else
        wait_until(
            lambda: not [path for path in httpd.root.rglob("*") if path.is_socket()],
            "the sockets to go",
        )
        wait_until(lambda: not [p for p in family if p.is_alive], "the daemons to leave")
    assert answer.status_code == 200
    (httpd.root / "run" / "httpd.pid").unlink()
    httpd.assert_nothing_left()
