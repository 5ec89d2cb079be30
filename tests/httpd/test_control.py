"""pywsgid status, reload, restart and stacks against a running httpd."""

from __future__ import annotations

import json
import os
import pwd
import re
import socket
import subprocess
import sys

import pytest
from httpdenv import Crowd, HeldRequests, Load, machine, wait_until

CONFIGURATION = """
WSGIDaemonProcess app processes=2 threads=2
WSGIDaemonProcess other
WSGIProcessName app
WSGIScriptAlias /gate ${APPS}/gate.wsgi
WSGIScriptAlias / ${FILES}/app.wsgi
SetEnv EXECUTIONS ${FILES}/executions
MaxKeepAliveRequests 0
"""


@pytest.fixture(scope="module")
def httpd(make_httpd, stage):
    script = (stage.apps / "executions.wsgi").read_text()
    httpd = make_httpd(CONFIGURATION, start=None, files={"app.wsgi": script})
    httpd.write("executions", "").chmod(0o666)
    httpd.start()
    wait_until(lambda: len(pids(httpd)) == 3, "three processes to answer")
    return httpd


def run(httpd, *words: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pywsgid", *words, "--sockets", str(httpd.root / "run")]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, **options
    )


def statuses(httpd) -> list[dict]:
    return [json.loads(line) for line in run(httpd, "status", "--json").stdout.splitlines()]


def pids(httpd, group: str | None = None) -> set[int]:
    return {answer["pid"] for answer in statuses(httpd) if group in (None, answer["group"])}


def test_status_shows_the_processes_and_their_requests(httpd):
    held = HeldRequests(httpd, "/gate", "status")
    done = run(httpd, "status")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("group ")]
    slots = [line.split(":")[0] for line in lines]
    assert slots == ["group 'app' slot 0", "group 'app' slot 1", "group 'other' slot 0"]
    assert "GET /gate/" in done.stdout
    assert re.search(
        rf"user {machine.web_user()}, 1 of 2 threads busy( \(at most [12] at once\))?, 0 waiting",
        done.stdout,
    )
    assert pids(httpd, "app") == set(httpd.daemons("app"))
    assert [answer.status_code for answer in held.release()] == [200]


def test_status_works_while_every_thread_is_busy(httpd):
    held = HeldRequests(httpd, "/gate", "busy", 4)
    busy = [answer for answer in statuses(httpd) if answer["group"] == "app"]
    assert [len(answer["running"]) for answer in busy] == [2, 2]
    assert [answer.status_code for answer in held.release()] == [200] * 4


def test_status_counts_requests_that_wait_for_a_thread(httpd):
    """Some are in connections that httpd has kept, some in new ones that no thread has accepted."""
    Crowd(httpd, "/?kept", 2).join()
    held = HeldRequests(httpd, "/gate", "queue", 4)
    waiting = Crowd(httpd, "/?waiting", 5)
    wait_until(lambda: sum(answer["queue"] for answer in statuses(httpd)) == 5, "five to wait")
    assert [answer.status_code for answer in held.release()] == [200] * 4
    assert [answer.status_code for answer in waiting.join()] == [200] * 5
    wait_until(
        lambda: sum(answer["queue"] for answer in statuses(httpd)) == 0, "the queue to be empty"
    )


def test_status_shows_requests_per_second(httpd):
    with Load(httpd, "/", 2) as load:
        load.wait_for_more()
        assert sum(answer["rate"] for answer in statuses(httpd)) > 0
    assert sum(answer["rate"] for answer in statuses(httpd)) == 0
    assert "waiting, " in run(httpd, "status").stdout


def test_status_shows_how_long_requests_waited_and_ran(httpd):
    Crowd(httpd, "/?measured", 4).join()
    one, *_ = (answer for answer in statuses(httpd) if answer["group"] == "app")
    assert one["errors"] == 0
    assert sum(one["queue_times"]) >= sum(one["application_times"]) >= one["finished"] > 0
    shown = run(httpd, "status").stdout
    for what in ("waited for a thread", "in the application"):
        assert re.search(
            rf"^    {what}: 50 % up to \d+\.\d ms, 90 % up to \d+\.\d ms, 99 % up to ",
            shown,
            re.M,
        )
    assert ", 0 errors" in shown


def test_reload_replaces_each_process_once_and_loses_nothing(httpd):
    old = pids(httpd, "app")
    others = pids(httpd, "other")
    with Load(httpd, "/", 8) as load:
        done = run(httpd, "reload", "app")
        load.wait_for_more()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("has been replaced by process") == 2
    load.assert_nothing_lost()
    assert pids(httpd, "app").isdisjoint(old)
    assert pids(httpd, "other") == others
    assert len(httpd.log.find("WSGID0350.*an administrator asked")) == 2


def test_a_reload_that_fails_is_reported_and_the_old_code_goes_on(httpd, stage):
    old = pids(httpd, "other")
    with httpd.log.allows(r"WSGID\d{4}", "Traceback", "RuntimeError", "^  "):
        httpd.write("app.wsgi", "raise RuntimeError('broken')\n")
        done = run(httpd, "reload", "app")
        assert done.returncode == 1
        assert "goes on serving" in done.stdout
        assert httpd.get("/?still").status_code == 200
        httpd.write("app.wsgi", (stage.apps / "executions.wsgi").read_text())
        assert run(httpd, "reload", "app").returncode == 0
    assert pids(httpd, "other") == old


def test_restart_stops_each_process_and_finishes_what_it_runs(httpd):
    old = pids(httpd, "app")
    held = HeldRequests(httpd, "/gate", "restart")
    done = run(httpd, "restart", "app")
    assert done.returncode == 0, done.stdout + done.stderr
    assert pids(httpd, "app").isdisjoint(old)
    assert [answer.status_code for answer in held.release()] == [200]


def test_stacks_show_where_a_thread_is(httpd):
    held = HeldRequests(httpd, "/gate", "stacks")
    done = run(httpd, "stacks", "app")
    assert done.returncode == 0, done.stderr
    assert "gate.wsgi" in done.stdout
    assert "wait_for" in done.stdout
    first = re.findall(r"^group .*\n  thread (.*)", done.stdout, re.M)
    assert sorted("GET /gate/" in what for what in first) == [False, True], "what runs comes first"
    idle = re.findall(r"^  thread wsgid-\d: no request\n((?:   .*\n)+)", done.stdout, re.M)
    assert [frames.count("File") for frames in idle] == [1, 1, 1], "of what waits, where it waits"
    assert [answer.status_code for answer in held.release()] == [200]


def test_an_unknown_group_and_missing_sockets_are_reported(httpd, tmp_path):
    done = run(httpd, "reload", "nobody")
    assert (done.returncode, done.stderr[:20]) == (1, "pywsgid: WSGID0442: ")
    command = [sys.executable, "-m", "pywsgid", "status", "--sockets", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr[:20]) == (1, "pywsgid: WSGID0440: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="takes other users' identities")
def test_only_httpds_user_and_root_may_ask(httpd):
    (path, *_) = sorted((httpd.root / "run").glob("*.ctl"))
    program = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.connect(sys.argv[1])\n"
        "s.sendall(b'status\\n')\n"
        "sys.exit(0 if s.recv(100).startswith(b'{') else 3)\n"
    )

    def code(name: str) -> int:
        entry = pwd.getpwnam(name)
        command = ["/usr/bin/python3", "-c", program, str(path)]
        identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        return subprocess.run(
            command, check=False, stderr=subprocess.DEVNULL, **identity
        ).returncode

    assert code(machine.web_user()) == 0
    assert code(machine.other_users()[1].pw_name) == 1


def test_a_peer_that_sends_nothing_delays_no_other(httpd):
    (path, *_) = sorted((httpd.root / "run").glob("*.ctl"))
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))
        assert len(pids(httpd)) == 3
        assert [answer.status_code for answer in Crowd(httpd, "/?after", 4).join()] == [200] * 4


def test_a_broken_deploy_does_not_lose_scripts_that_its_predecessor_had_loaded(make_httpd, stage):
    """A successor takes over only if it can load every script that its predecessor has loaded."""
    good = (stage.apps / "hello.wsgi").read_text()
    httpd = make_httpd(
        "WSGIDaemonProcess app\nWSGIProcessName app\nWSGIScriptAlias /known ${FILES}/known.wsgi\n"
        "WSGIScriptAliasMatch ^/lazy/(.*) ${FILES}/$1.wsgi\n",
        files={"known.wsgi": good, "first.wsgi": good},
    )
    for broken in ("first.wsgi", "known.wsgi"):
        assert httpd.get("/lazy/first").status_code == 200
        old = pids(httpd, "app")
        with httpd.log.allows(r"WSGID\d{4}", "Traceback", "RuntimeError", "^  "):
            httpd.write(broken, "raise RuntimeError('broken')\n")
            assert run(httpd, "reload", "app").returncode == 1
            assert pids(httpd, "app") == old
            assert [httpd.get(path).status_code for path in ("/known", "/lazy/first")] == [200, 200]
            httpd.write(broken, good)
            wait_until(
                lambda gone=old: pids(httpd, "app").isdisjoint(gone),
                "the fixed script to be loaded",
            )
