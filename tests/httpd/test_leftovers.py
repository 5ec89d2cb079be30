"""What an application leaves behind, and what it does to the process that it runs in, from outside:
other processes, tracers, stopped processes, the terminal, another user's processes.

None of it may delay httpd, outlive it, or reach another user's processes.
"""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest
import requests
from httpdenv import Crowd, machine, processes, wait_until
from httpdenv.processes import Process

from pywsgid.wire import protocol

CONFIGURATION = """
WSGIDaemonProcess app shutdown-timeout=1
WSGIProcessName app
WSGIScriptAlias /leaves ${APPS}/leaves_behind.wsgi
WSGIScriptAlias / ${APPS}/whoami.wsgi
"""
# shutdown-timeout, and what stop, restart and graceful may take in addition.
DEADLINE = 1.0 + 3.0

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user's daemons need root")


def pid_of(httpd) -> int:
    return httpd.get("/").json()["pid"]


@pytest.fixture
def leave_behind():
    """leave_behind(httpd, how) is a process of tests/apps/leaves_behind.wsgi. All are ended at the
    end of the test.
    """
    left: list[Process] = []

    def leave(httpd, how: str) -> Process:
        answer = httpd.get(f"/leaves/{how}").text
        if answer == "!":
            pytest.skip("ptrace is not allowed here")
        left.append(processes.find(int(answer)))
        return left[-1]

    yield leave
    for process in left:
        if process.is_alive:
            os.kill(process.pid, signal.SIGKILL)


# -------- daemons that are traced or stopped


def is_asleep(process: Process) -> bool:
    """Whether none of its threads runs or could run."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/stat")
    return {thread.read_text().rpartition(")")[2].split()[0] for thread in threads} == {"S"}


@pytest.fixture(params=["traced", "stopped"])
def paralysed(request, serve, leave_behind):
    """An httpd, and its daemon, which cannot react."""
    httpd = serve(CONFIGURATION)
    daemon = processes.find(pid_of(httpd))
    if request.param == "traced":
        leave_behind(httpd, "tracer")
    else:
        # Not before it has counted the request as finished: one that runs has no limit.
        wait_until(lambda: is_asleep(daemon), "the daemon to be idle")
        os.kill(daemon.pid, signal.SIGSTOP)
    yield httpd, daemon
    if daemon.is_alive:
        os.kill(daemon.pid, signal.SIGKILL)


@pytest.mark.parametrize("how", ["restart", "graceful"])
def test_restart_and_graceful_keep_their_deadline_and_end_a_paralysed_daemon(paralysed, how):
    httpd, daemon = paralysed
    getattr(httpd, how)(timeout=DEADLINE)
    wait_until(lambda: pid_of(httpd) != daemon.pid, "the next daemon to serve", DEADLINE)
    wait_until(lambda: not daemon.is_alive, "the paralysed daemon to end", DEADLINE)
    httpd.stop(timeout=DEADLINE)


def test_stop_keeps_its_deadline_with_a_paralysed_daemon(paralysed):
    httpd, _ = paralysed
    httpd.stop(timeout=DEADLINE)


# -------- processes that outlive the daemon

KINDS = ["child", "grandchild", "setsid", "stubborn"]


@pytest.mark.parametrize("how", KINDS)
def test_stop_ends_what_an_application_has_left_behind(serve, leave_behind, how):
    httpd = serve(CONFIGURATION)
    left = leave_behind(httpd, how)
    httpd.stop(timeout=DEADLINE)
    wait_until(lambda: not left.is_alive, "the process that was left behind to end", 2)


def test_recycling_ends_what_has_the_daemons_session_and_nothing_else(serve, leave_behind):
    """What has called setsid() ends with the guardian of its configuration."""
    httpd = serve(CONFIGURATION)
    old = pid_of(httpd)
    kept = [leave_behind(httpd, how) for how in ("child", "grandchild")]
    own = [leave_behind(httpd, how) for how in ("setsid", "stubborn")]
    os.kill(old, signal.SIGHUP)
    httpd.wait_for_daemons("app", 1, without=[old])
    wait_until(
        lambda: not [p for p in kept if p.is_alive], "what has the daemon's session to end", 5
    )
    assert [process for process in own if process.is_alive] == own
    assert pid_of(httpd) != old
    httpd.graceful()
    wait_until(lambda: not [p for p in own if p.is_alive], "what has its own session to end", 10)
    assert httpd.get("/").status_code == 200


def test_what_a_killed_daemon_has_left_behind_ends_with_httpd(serve, leave_behind):
    httpd = serve(CONFIGURATION)
    left = leave_behind(httpd, "setsid")
    os.kill(pid_of(httpd), signal.SIGKILL)
    assert httpd.get("/", timeout=5).status_code == 200
    assert left.is_alive
    httpd.stop(timeout=DEADLINE)
    wait_until(lambda: not left.is_alive, "the process that was left behind to end", 2)


# -------- sessions and the terminal

TERMINAL = """
WSGIDaemonProcess app processes=2
WSGIScriptAlias / ${APPS}/terminal.wsgi process-name=app
"""


def terminal_of(pid: int) -> int:
    """The device number of its controlling terminal; 0: it has none."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat[stat.rindex(")") + 2 :].split()[4])


@pytest.mark.parametrize("how", ["daemon", "foreground", "debug"])
def test_every_daemon_and_every_guardian_has_a_session_of_its_own(serve, how):
    httpd = serve(TERMINAL, start=how)
    daemons = httpd.wait_for_daemons("app", 2)
    wait_until(lambda: len(httpd.log.find("WSGID0303")) == 2, "both to be ready")
    found = [*daemons, *httpd.guardians()]
    assert [os.getsid(pid) for pid in found] == found
    assert {terminal_of(pid) for pid in found} == {0}


@pytest.mark.parametrize("how", ["foreground", "debug"])
def test_no_application_can_type_into_the_terminal_that_httpd_was_started_from(serve, how):
    httpd = serve(TERMINAL, start=None)
    master, slave = pty.openpty()
    try:
        httpd.start(how, terminal=slave)
        assert terminal_of(httpd.pid) != 0, "httpd itself has the terminal"
        answer = httpd.get("/").json()
        httpd.stop()
    finally:
        os.close(slave)
        os.close(master)
    assert answer["open"] != ""
    assert "" not in answer["type"]


# -------- another user

OTHER_USER = """
WSGIDaemonProcess app user=USER threads=30
WSGIProcessName app
WSGIScriptAlias /left ${FILES}/left.wsgi
WSGIScriptAlias / ${FILES}/site.wsgi
"""
# Starts PROGRAM, with a descriptor, or one whose target begins with WHAT, as its standard input. It
# prints a line when it has begun.
STARTS_A_PROGRAM = '''
import os, subprocess, sys
PROGRAM = """{program}"""
def application(environ, start_response):
    names = {name: os.readlink("/proc/self/fd/" + name) for name in os.listdir("/proc/self/fd")
             if os.path.islink("/proc/self/fd/" + name)}
    fd = next(int(name) for name in names if name == "{what}" or names[name].startswith("{what}"))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=fd, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, start_new_session=True)
    process.stdout.readline()
    start_response("200 OK", [])
    return [str(process.pid).encode()]
'''
ANSWERS = """
import select, socket
listener = socket.socket(fileno=0)  # non-blocking, as for all who share it
print(flush=True)
while True:
    select.select([listener], [], [])
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        continue
    connection.recv(65536)
    connection.sendall(bytes.fromhex('{answer}'))
    connection.close()
"""
SITE = """
import contextlib
import os
def application(environ, start_response):
    start_response("200 OK", [])
    return [str(os.getuid()).encode()]
"""
AT_ONCE = 20  # requests, most of them on new connections to the daemon


def frame(kind: int, payload: bytes, flags: int = 0) -> bytes:
    return struct.pack("<BBHI", kind, flags, 0, len(payload)) + payload


def answer_of_leftover() -> bytes:
    head = b"200 OK\0"
    payload = struct.pack("<I", len(head)) + head + b"leftover"
    started = frame(protocol.STARTED, struct.pack("<II", 1, 0))
    return started + frame(protocol.RESPONSE, payload, protocol.END)


class Site:
    """A group whose user changes from `old` to `new`, and a program that the old one has left."""

    def __init__(self, serve, program: str, what: str) -> None:
        self.old, self.new = machine.other_users()[:2]
        self.httpd = serve(
            OTHER_USER.replace("USER", self.old.pw_name),
            files={
                "site.wsgi": SITE,
                "left.wsgi": STARTS_A_PROGRAM.replace("{program}", program).replace("{what}", what),
            },
        )
        assert self.httpd.get("/").text == str(self.old.pw_uid)
        self.left = processes.find(int(self.httpd.get("/left").text))

    def change_user(self) -> None:
        """By a graceful; returns once no child of httpd has the old configuration."""
        before, since = set(self.httpd.children()), self.httpd.log.mark()
        self.httpd.configure(OTHER_USER.replace("USER", self.new.pw_name))
        self.httpd.graceful()
        wait_until(lambda: not before & set(self.httpd.children()), "httpd's old children to end")
        self.httpd.log.wait_for("WSGID0303", since, timeout=10)

    def answers(self) -> set[str]:
        """To many requests at once, while the daemon is stopped for a moment: if the process that
        is left accepts connections, it gets some.
        """
        (daemon,) = self.httpd.wait_for_daemons("app", 1)
        os.kill(daemon, signal.SIGSTOP)
        crowd = Crowd(self.httpd, "/", AT_ONCE)
        time.sleep(0.5)
        os.kill(daemon, signal.SIGCONT)
        return {answer.text for answer in crowd.join()}

    def end(self) -> None:
        if self.left.is_alive:
            os.kill(self.left.pid, signal.SIGKILL)


@as_root
def test_after_a_change_of_user_the_old_users_processes_answer_no_request(serve):
    answer = answer_of_leftover().hex()
    site = Site(serve, ANSWERS.replace("{answer}", answer), "3")
    try:
        assert "leftover" in site.answers(), "it answers as long as its user is the group's"
        site.change_user()
        answers = site.answers() | site.answers()
    finally:
        site.end()
    assert answers == {str(site.new.pw_uid)}


@as_root
def test_after_a_change_of_user_the_sockets_have_other_names(serve):
    site = Site(serve, "print()", "3")
    before = names_of_sockets(site.httpd)
    site.change_user()
    wait_until(lambda: len(names_of_sockets(site.httpd)) == len(before), "the old ones to go")
    assert before.isdisjoint(names_of_sockets(site.httpd))


def names_of_sockets(httpd) -> set[str]:
    return {path.name for path in httpd.root.rglob("*") if path.is_socket()}


SCRIBBLES = """
import mmap, time
page = mmap.mmap(0, 65536)
script = b'application:{evil}' + bytes(2)
print(flush=True)
while True:
    page[1024:1024 + len(script)] = script
    time.sleep(0.001)
"""
EVIL = """
import contextlib
import os
open("{place}/loaded-by-%d" % os.getuid(), "w").close()
def application(environ, start_response):
    raise NotImplementedError
"""


@as_root
def test_after_a_change_of_user_the_old_user_cannot_have_scripts_loaded(serve):
    """The statistics page says which scripts a successor must load. The old user still has the page
    of each place in which a process of its own ran.
    """
    place = machine.temporary_directory("wsgid-evil-")
    place.chmod(0o777)
    (place / "evil.wsgi").write_text(EVIL.replace("{place}", str(place)))
    program = SCRIBBLES.replace("{evil}", str(place / "evil.wsgi"))
    site = Site(serve, program, "/memfd:wsgid-statistics")
    try:
        site.change_user()
        for number in range(4):
            old = site.httpd.wait_for_daemons("app", 1)
            site.httpd.write("site.wsgi", f"{SITE}# {number}\n")
            site.httpd.wait_for_daemons("app", 1, without=old)
        loaded = [path.name for path in place.glob("loaded-by-*")]
    finally:
        site.end()
        for path in place.iterdir():
            path.unlink()
        place.rmdir()
    assert f"loaded-by-{site.new.pw_uid}" not in loaded


# -------- process 1


NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child"]


@as_root
def test_httpd_that_is_process_1_serves_and_warns(make_httpd):
    if subprocess.run([*NAMESPACE, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no PID namespaces on this machine")
    httpd = make_httpd(CONFIGURATION, start=None)
    with subprocess.Popen([*NAMESPACE, *httpd._command(), "-DFOREGROUND"]) as process:
        try:
            httpd.log.wait_for("WSGID0064.*docker run --init")
            wait_until(lambda: answers(httpd), "an answer")
        finally:
            process.kill()  # and with it, everything in the namespace
    wait_until(lambda: not processes.using(httpd.root), "everything to end")
    shutil.rmtree(httpd.root / "run")  # what an httpd that was killed leaves
    httpd.log.accept_all("WSGID0064")


def answers(httpd) -> bool:
    with contextlib.suppress(requests.RequestException):
        return httpd.get("/").status_code == 200
    return False
