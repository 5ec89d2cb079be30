"""The guardian of a group: whatever a daemon does, and whatever happens to it, to the guardian or to
httpd's parent, httpd and the other groups go on.

What an application leaves behind is in test_leftovers.py; deaths at random moments are in
test_torture.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from httpdenv import Crowd, HeldRequests, Load, StartFailed, processes, wait_until
from httpdenv.processes import Process

CODE = r"WSGID\d{4}"
# What httpd's children log about a request that failed; everything else is about processes.
OF_A_REQUEST = r"WSGID01[5-9]\d|WSGID02[0-4]\d"


class Bystanders:
    """httpd's parent, its children and the group of NEIGHBOUR: they have to live on and serve until
    the `with` block ends.
    """

    def __init__(self, httpd) -> None:
        self.httpd = httpd
        wait_until(
            lambda: status_of(httpd, "/neighbour") == 200 or not httpd.is_running,
            "the other group to serve",
        )
        assert httpd.is_running, "httpd has ended"
        self.parent, self.children = httpd.pid, set(httpd.children())

    def __enter__(self) -> Bystanders:
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            self.assert_unharmed()

    def assert_unharmed(self) -> None:
        assert self.httpd.is_running, "httpd has ended"
        assert self.httpd.pid == self.parent
        assert self.children <= set(self.httpd.children()), "children of httpd have ended"
        assert status_of(self.httpd, "/neighbour") == 200


def status_of(httpd, path: str) -> int:
    """The status of the answer; 0 if there is none."""
    try:
        return httpd.get(path).status_code
    except requests.RequestException:
        return 0


def find(pids) -> list[Process]:
    return [process for pid in pids if (process := processes.find(pid))]


def wait_until_gone(what: list[Process], name: str, timeout: float = 10.0) -> None:
    wait_until(
        lambda: not [process for process in what if process.is_alive],
        lambda: f"{name} to leave: {[p.pid for p in what if p.is_alive]}",
        timeout,
    )


def pid_of(httpd, path: str = "/") -> int:
    return int(httpd.get(path).text.split()[-1])


def sockets(httpd) -> set[Path]:
    return {path for path in httpd.root.rglob("*") if path.is_socket()}


def lines_about_processes(httpd, since: int) -> list[str]:
    """What the log has at warn or above, other than failed requests."""
    return [
        record.text
        for record in httpd.log.records(since)
        if record.is_bad and not record.matches(OF_A_REQUEST)
    ]


# -------- who is whose parent

PAIR = """
WSGIDaemonProcess one processes=2
WSGIDaemonProcess two
WSGIScriptAlias /one ${APPS}/hello.wsgi process-name=one
WSGIScriptAlias /two ${APPS}/hello.wsgi process-name=two
"""


def parents(pids) -> set[int]:
    return {process.parent for process in find(pids)}


def test_a_guardian_for_each_group_stands_between_httpd_and_the_daemons(serve):
    httpd = serve(PAIR)
    for name, count in (("one", 2), ("two", 1)):
        daemons, guardians = httpd.wait_for_daemons(name, count), httpd.guardians(name)
        assert len(guardians) == 1, f"a guardian of group {name!r}"
        assert parents(daemons) == set(guardians)
        assert parents(guardians) == {httpd.pid}


def test_a_graceful_replaces_the_guardians_and_the_old_ones_leave(serve):
    httpd = serve(PAIR)
    httpd.wait_for_daemons(None, 3)
    old = find(httpd.guardians())
    assert len(old) == 2, "a guardian of each group"
    for _ in range(3):
        httpd.graceful()
        assert status_of(httpd, "/one") == status_of(httpd, "/two") == 200
    wait_until_gone(old, "the old guardians")
    wait_until(lambda: len(httpd.guardians()) == 2, "one guardian of each group")
    assert parents(httpd.wait_for_daemons(None, 3)) == set(httpd.guardians())


# -------- what a guardian gives up, and what its daemons get

CAPABILITIES = {"CHOWN": 0, "DAC_OVERRIDE": 1, "KILL": 5, "NET_RAW": 13, "SYS_RESOURCE": 24}
NEEDED = {"CHOWN", "KILL", "SYS_RESOURCE"}


def capabilities(pid: int) -> set[str]:
    bits = int(processes.status(pid)["CapEff"], 16)
    assert bits == int(processes.status(pid)["CapPrm"], 16), "it cannot take others back"
    return {name for name, bit in CAPABILITIES.items() if bits >> bit & 1}


def oom_score_adj(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def test_a_guardian_has_only_the_capabilities_that_it_needs_and_a_daemon_has_none(serve):
    httpd = serve(PAIR)
    for name, count in (("one", 2), ("two", 1)):
        daemons, (guardian,) = httpd.wait_for_daemons(name, count), httpd.guardians(name)
        assert capabilities(guardian) == NEEDED & capabilities(httpd.pid)
        assert [capabilities(pid) for pid in daemons] == [set()] * count


LOWERS = """
def application(environ, start_response):
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("-900")
        answer = b"done"
    except OSError:
        answer = b"refused"
    start_response("200 OK", [])
    return [answer]
"""


def test_when_memory_runs_out_guardians_are_ended_last_and_daemons_as_without_us(serve):
    httpd = serve(
        f"{PAIR}WSGIScriptAlias /lower ${{FILES}}/lowers.wsgi process-name=one\n",
        files={"lowers.wsgi": LOWERS},
    )
    daemons = httpd.wait_for_daemons(None, 3)
    own = oom_score_adj(httpd.pid)
    may_lower = "SYS_RESOURCE" in capabilities(httpd.pid)
    assert {oom_score_adj(pid) for pid in httpd.guardians()} == {-900 if may_lower else own}
    assert [oom_score_adj(pid) for pid in daemons] == [own] * 3
    assert {oom_score_adj(pid) for pid in httpd.children()} == {own}
    assert httpd.get("/lower").text == "refused"


# -------- the end of a daemon

STATUSES = [15, 7]  # httpd gives both a meaning, if one of its own children exits with them
NEIGHBOUR = """
WSGIDaemonProcess neighbour
WSGIScriptAlias /neighbour ${APPS}/hello.wsgi process-name=neighbour
"""


@pytest.mark.parametrize("status", STATUSES)
def test_exit_in_a_request_ends_only_the_daemon_in_fifty_deaths(serve, status):
    groups = [f"g{number}" for number in range(17)]
    httpd = serve(
        NEIGHBOUR
        + "".join(
            f"WSGIDaemonProcess {name}\nWSGIScriptAlias /{name} ${{APPS}}/exits.wsgi process-name={name}\n"
            for name in groups
        )
    )
    with Bystanders(httpd) as bystanders:
        for _ in range(3):
            with ThreadPoolExecutor(len(groups)) as pool:
                paths = [f"/{name}?exit={status}" for name in groups]
                ends = list(pool.map(lambda path: status_of(httpd, path), paths))
            bystanders.assert_unharmed()
            assert ends == [502] * len(groups)
        assert {httpd.get(f"/{name}").status_code for name in groups} == {200}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("moment", ["import", "ready"])
def test_exit_at_any_other_moment_ends_only_the_daemon(serve, moment, status):
    httpd = serve(
        NEIGHBOUR + f"WSGIDaemonProcess ends processes=4 env=EXIT={moment}:{status}"
        " env=STARTS=${FILES}/starts\n"
        "WSGIScriptAlias /ends ${FILES}/ends.wsgi process-name=ends\n",
        files={"ends.wsgi": "def application(environ, start_response): pass\n"},
    )
    with Bystanders(httpd):
        httpd.write("starts", "").chmod(0o666)
        old = httpd.wait_for_daemons("ends", 4)
        httpd.write("ends.wsgi", (httpd.stage.apps / "exits.wsgi").read_text())
        for pid in old:
            with contextlib.suppress(ProcessLookupError):  # the changed script may have replaced it
                os.kill(pid, signal.SIGTERM)
        wait_until(lambda: len(starts(httpd)) >= 8 or not httpd.is_running, "eight starts")
        httpd.log.wait_for("WSGID005[26].*group 'ends'.*exit code %d" % status)


def test_exit_with_7_before_httpd_has_a_healthy_child_ends_only_the_daemon(serve):
    """Then this status of a child makes httpd give up (AH02324), if it comes within a few
    milliseconds: so it is tried several times.
    """
    httpd = serve(
        NEIGHBOUR + "WSGIDaemonProcess ends python=${FILES}/seven\n",
        start=None,
        files={"seven": "#!/bin/sh\nexit 7\n"},
    )
    (httpd.files / "seven").chmod(0o755)
    for _ in range(6):
        since = httpd.log.mark()
        httpd.start()
        wait_until(
            lambda since=since: (
                len(httpd.log.find("exit code 7", since)) >= 2 or not httpd.is_running
            ),
            "two deaths",
        )
        with Bystanders(httpd):
            pass
        httpd.stop()


# -------- back-off

WATCHED = 5.0
MANY = 20  # starts in this time: the first few at once, and then a few each second


def starts(httpd) -> list[str]:
    return (httpd.files / "starts").read_text().split()


def watch(count, most: int = MANY, seconds: float = WATCHED) -> int:
    """How many things count() has counted after some seconds, or once there are too many."""
    deadline = time.monotonic() + seconds
    return wait_until(
        lambda: [now] if (now := count()) > most or time.monotonic() > deadline else [],
        "the time to pass",
        seconds + 5,
    )[0]


@pytest.mark.parametrize("status", [0, 3, 15])
def test_processes_that_exit_as_soon_as_they_are_ready_are_started_a_few_times_each_second(
    serve, status
):
    httpd = serve(
        NEIGHBOUR + f"WSGIDaemonProcess ends env=EXIT=ready:{status} env=STARTS=${{FILES}}/starts\n"
        "WSGIScriptAlias /ends ${APPS}/exits.wsgi process-name=ends\n",
        start=None,
    )
    httpd.write("starts", "").chmod(0o666)
    httpd.start()
    since = httpd.log.mark()
    with Bystanders(httpd):
        number = watch(lambda: len(starts(httpd)))
        lines = httpd.log.find("group 'ends'.*next try in [0-9.]+ s", since)
    assert 2 <= number <= MANY, "starts in five seconds"
    assert 1 <= len(lines) <= number, "lines that say when the next try is"


def test_the_back_off_counts_from_when_a_process_is_ready_however_long_its_import_takes(serve):
    httpd = serve(
        "WSGIDaemonProcess ends env=EXIT=ready:3\n"
        "WSGIScriptAlias /ends ${FILES}/ends.wsgi process-name=ends\n",
        start=None,
    )
    script = (httpd.stage.apps / "exits.wsgi").read_text()
    httpd.write("ends.wsgi", f"import time\ntime.sleep(1.1)\n{script}")
    httpd.start()
    httpd.log.wait_for("WSGID0052.*next try in 0.5 s", timeout=30)


def test_lines_about_processes_that_end_again_and_again_are_summed_up(serve):
    httpd = serve(
        "WSGIDaemonProcess ends env=EXIT=ready env=STARTS=${FILES}/starts env=FROM=${FILES}/status\n"
        "WSGIScriptAlias /ends ${FILES}/ends.wsgi process-name=ends\n",
        start=None,
        files={"status": "3", "starts": ""},
    )
    script = (httpd.stage.apps / "exits.wsgi").read_text()
    httpd.write("ends.wsgi", script.replace("int(STATUS)", 'int(open(os.environ["FROM"]).read())'))
    (httpd.files / "starts").chmod(0o666)
    httpd.start()
    since = httpd.log.mark()
    wait_until(lambda: len(starts(httpd)) >= 9, "nine ends", 40)
    assert len(httpd.log.find("WSGID0052", since)) == 5
    httpd.write("status", "4")
    line = httpd.log.wait_for("exit code 4", since, timeout=20)
    assert re.search(r"came again \d times", line.text), line


class Forks:
    """Counts what descends from httpd's parent, or has logged something, and did not at first.
    Without the log, it would miss processes that end at once.
    """

    def __init__(self, httpd) -> None:
        self._httpd, self._since = httpd, httpd.log.mark()
        self._known, self._seen = self._all(), set()

    def _all(self) -> set[int]:
        logged = {record.pid for record in self._httpd.log.records(self._since)}
        return logged | {p.pid for p in processes.descendants(self._httpd.pid)}

    def count(self) -> int:
        self._seen |= self._all()
        return len(self._seen - self._known)


def test_too_few_descriptors_for_a_daemon_cause_a_few_forks_and_a_few_lines(serve):
    """If httpd is able to tell beforehand, it may refuse to start instead."""
    httpd = serve(
        "WSGIDaemonProcess app\nWSGIScriptAlias / ${APPS}/hello.wsgi process-name=app\n", start=None
    )
    try:
        httpd.start(open_files=60)
    except StartFailed:
        httpd.log.wait_for(CODE + ".*ulimit -n")
        return
    number = watch(Forks(httpd).count, 10)
    lines = [record for record in httpd.log.records() if record.is_bad]
    assert number < 10, "forks in five seconds"
    assert 1 <= len(lines) < 20, "lines in the log"


def test_descriptors_that_have_become_too_few_cause_a_few_forks_and_a_few_lines(serve):
    httpd = serve(
        NEIGHBOUR
        + "WSGIDaemonProcess app\nWSGIScriptAlias / ${APPS}/whoami.wsgi process-name=app\n"
    )
    (old,) = httpd.wait_for_daemons("app", 1)
    assert httpd.get("/").status_code == 200
    with Bystanders(httpd):
        for pid in [httpd.pid, *httpd.guardians("app")]:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (60, 60))
        since, forks = httpd.log.mark(), Forks(httpd)
        os.kill(old, signal.SIGKILL)
        number = watch(forks.count, 10)
        lines = lines_about_processes(httpd, since)
    assert number < 10, "forks in five seconds"
    assert len(lines) < 20, "lines in the log"


# -------- a daemon that does not leave


def test_a_process_that_ignores_being_told_to_leave_is_killed_after_shutdown_timeout(serve):
    """It also takes connections away from its successor and never reads them. The requests on them
    have not started, so they are sent again once it is dead.
    """
    httpd = serve(
        "WSGIDaemonProcess app shutdown-timeout=1\n"
        "WSGIScriptAlias / ${APPS}/deaf.wsgi process-name=app\n"
    )
    old = pid_of(httpd, "/deaf")
    process = processes.find(old)
    try:
        since = httpd.log.mark()
        httpd.graceful()
        httpd.log.wait_for("WSGID0303", since, timeout=10)
        crowd = Crowd(httpd, "/", 60)
        wait_until(
            lambda: len(crowd.answers) == 60,
            lambda: f"60 answers: there are {len(crowd.answers)}",
            8,
        )
        wait_until_gone([process], "the deaf process", 5)
    finally:
        end(process)
    assert {answer.status_code for answer in crowd.join()} == {200}
    assert pid_of(httpd) != old


def end(process: Process) -> None:
    """Ends what a test that failed has left."""
    if process.is_alive:
        os.kill(process.pid, signal.SIGKILL)


def test_a_process_that_leaves_with_a_request_is_not_killed_after_shutdown_timeout(serve):
    httpd = serve(
        "WSGIDaemonProcess app shutdown-timeout=0.5\n"
        "WSGIScriptAlias / ${APPS}/gate.wsgi process-name=app\n"
    )
    held = HeldRequests(httpd, "/", "leaves")
    (old,) = httpd.daemons("app")
    httpd.graceful()
    httpd.log.wait_for("WSGID0310", timeout=10)
    time.sleep(2)  # several times shutdown-timeout
    (answer,) = held.release()
    assert (answer.status_code, answer.text) == (200, str(old))


STOPS = """
import os, signal
try:
    os.mkdir(os.environ["ONCE"])
    os.kill(os.getpid(), signal.SIGSTOP)
except FileExistsError:
    pass
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"done"]
"""


def test_a_process_that_stops_in_its_import_is_killed_after_startup_timeout(serve):
    httpd = serve(
        "WSGIDaemonProcess app startup-timeout=1 env=ONCE=${FILES}/own/once\n"
        "WSGIScriptAlias / ${FILES}/stops.wsgi process-name=app\n",
        start=None,
        files={"stops.wsgi": STOPS},
    )
    (httpd.files / "own").mkdir()
    (httpd.files / "own").chmod(0o777)
    httpd.start()
    httpd.log.wait_for("WSGID0058.*not ready within startup-timeout", timeout=12)
    assert httpd.get("/").text == "done"


# -------- sockets

SLOW = """
WSGIDaemonProcess app threads=64
WSGIScriptAlias / ${APPS}/executions.wsgi process-name=app
"""
# Each of so many requests at once needs a connection to the daemon of its own, mostly a new one.
AT_ONCE = 40


def all_are_answered(httpd) -> bool:
    answers = Crowd(httpd, "/?sleep=0.1&name", AT_ONCE).join()
    return {answer.status_code for answer in answers} == {200}


def test_sockets_that_a_cleaner_has_deleted_are_bound_again_within_seconds(serve):
    httpd = serve(SLOW)
    httpd.wait_for_daemons("app", 1)
    assert httpd.get("/?name").status_code == 200
    since, before = httpd.log.mark(), len(sockets(httpd))
    for path in sockets(httpd):
        path.unlink()
    wait_until(lambda: all_are_answered(httpd), f"{AT_ONCE} answers at once", 2)
    wait_until(lambda: len(sockets(httpd)) == before, "all the sockets", 2)
    lines = lines_about_processes(httpd, since)
    assert len(lines) == 1, lines


@pytest.mark.parametrize("then", ["graceful", "kill guardian"])
def test_what_follows_finds_the_sockets_that_were_bound_again(serve, then):
    """httpd's parent does not have those, and must not go on with the ones that were deleted."""
    httpd = serve(SLOW)
    old = httpd.wait_for_daemons("app", 1)
    since = httpd.log.mark()
    for path in sockets(httpd):
        path.unlink()
    httpd.log.wait_for("WSGID0062", since)
    new = httpd.wait_for_daemons("app", 1, without=old)
    if then == "graceful":
        httpd.graceful()
    else:
        (guardian,) = httpd.guardians("app")
        os.kill(guardian, signal.SIGKILL)
        wait_for_another_guardian(httpd, guardian, 5)
    httpd.wait_for_daemons("app", 1, without=new)
    wait_until(lambda: all_are_answered(httpd), f"{AT_ONCE} answers at once", 5)


def inodes(httpd) -> dict[Path, int]:
    return {
        path: path.stat().st_ino for path in sockets(httpd) if path.suffix not in (".door", ".ask")
    }


def test_a_graceful_hands_the_sockets_over_and_the_parent_has_none(serve):
    """So what waits in a backlog is served by the old process or the new one."""
    httpd = serve(TWO)
    old, before = httpd.wait_for_daemons("app", 2), inodes(httpd)
    for _ in range(2):
        httpd.graceful()
        old = httpd.wait_for_daemons("app", 2, without=old)
        assert inodes(httpd) == before
    targets = processes.descriptors(httpd.pid).values()
    assert len([target for target in targets if target.startswith("/memfd:wsgid-stat")]) == 1
    assert not {f"socket:[{number}]" for number in unix_sockets(httpd)} & set(targets)


def unix_sockets(httpd) -> list[str]:
    """The numbers of the sockets that are bound below its root, as /proc/PID/fd names them."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return [line.split()[6] for line in lines if line.split()[-1].startswith(f"{httpd.root}/")]


def test_a_guardian_that_is_stopped_does_not_keep_the_next_one_from_serving(serve):
    httpd = serve(TWO)
    old = httpd.wait_for_daemons("app", 2)
    (guardian,) = httpd.guardians("app")
    os.kill(guardian, signal.SIGSTOP)
    try:
        httpd.graceful()
        wait_until(lambda: set(httpd.daemons("app")) - set(old), "new daemons", 20)
        wait_until(
            lambda: int(httpd.get("/?name").text.split("\n")[1]) not in old,
            "an answer of a new daemon",
            20,
        )
    finally:
        os.kill(guardian, signal.SIGCONT)
    wait_until_gone(find([guardian]), "the old guardian")
    httpd.wait_for_daemons("app", 2, without=old)
    assert all_are_answered(httpd)


def test_a_guardian_that_goes_on_late_does_not_take_the_place_of_a_newer_one(serve):
    """It had asked for the sockets, and got no answer. Those of the newer guardian stay."""
    httpd = serve(TWO)
    old, guardians = httpd.wait_for_daemons("app", 2), httpd.guardians("app")

    def another() -> list[int]:
        return [pid for pid in httpd.guardians("app") if pid not in guardians]

    for _ in range(2):
        os.kill(guardians[-1], signal.SIGSTOP)
        httpd.graceful()
        guardians += wait_until(another, "another guardian")
    try:
        wait_until(lambda: len(set(httpd.daemons("app")) - set(old)) == 2, "new daemons", 20)
    finally:
        for guardian in guardians[:2]:
            os.kill(guardian, signal.SIGCONT)
    wait_until_gone(find(guardians[:2]), "the guardians before")
    httpd.wait_for_daemons("app", 2, without=old)
    assert all_are_answered(httpd)


def test_a_guardian_keeps_no_descriptor_of_a_letter_without_its_form(serve, tmp_path):
    """Only root can write to its door, so such a letter is another version's."""
    httpd = serve(SLOW)
    httpd.wait_for_daemons("app", 1)
    (guardian,) = httpd.guardians("app")
    (door,) = (path for path in sockets(httpd) if path.suffix == ".door")
    marker, question = httpd.write("marker", ""), struct.pack("iiQ", 0, 0, 0)
    with (
        marker.open() as file,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as letters,
    ):
        letters.bind(str(tmp_path / "letters"))
        letters.connect(str(door))
        letters.settimeout(10)
        for text in (question, question[:-1], question + b"x", b""):
            for count in range(1, 4):
                socket.send_fds(letters, [text], [file.fileno()] * count)
        letters.send(question)
        answers = [letters.recv(64) for _ in range(4)]  # three of letters with the right length
    assert {len(answer) for answer in answers} == {len(question)}
    assert str(marker) not in processes.descriptors(guardian).values()


# -------- slots come and go


def numbers(httpd, group: str) -> list[int]:
    """The slots that the status page shows."""
    (found,) = [one for one in httpd.get("/status?json").json()["groups"] if one["name"] == group]
    return [slot["slot"] for slot in found["slots"]]


def test_slots_that_are_left_over_go_although_an_old_child_of_httpd_lives_and_come_back(serve):
    status = "<Location /status>\nSetHandler wsgid-status\n</Location>\n"

    def text(count: int) -> str:
        return status + TWO.replace("=2", f"={count}").replace("Alias / ", "Alias /app ")

    httpd = serve(text(4))
    old, all_sockets = httpd.wait_for_daemons("app", 4), inodes(httpd)
    assert numbers(httpd, "app") == [0, 1, 2, 3]
    held = HeldRequests(httpd, "/gate", "slots")
    with Load(httpd, "/app?sleep=0.02", 8) as load:
        for count in (2, 3, 1, 4):
            httpd.configure(text(count))
            httpd.graceful()
            load.wait_for_more(50)
            wait_until(
                lambda n=count: (
                    len([p for p in httpd.daemons("app") if p not in old]) == n
                    and len(httpd.daemons("app")) <= n + 1
                ),
                f"{count} daemons and the one with the old request",
            )
            # One more if the process with the old request is in a slot that is left over.
            wait_until(
                lambda n=count: (
                    numbers(httpd, "app")[:n] == list(range(n))
                    and len(numbers(httpd, "app")) <= n + 1
                ),
                f"the status page to show {count} slots",
            )
            wait_until(
                lambda: len(inodes(httpd)) == 2 * len(numbers(httpd, "app")), "as many sockets"
            )
            load.wait_for_more(50)
        (answer,) = held.release()
    load.assert_nothing_lost()
    assert answer.status_code == 200
    assert set(inodes(httpd)) == set(all_sockets)


AT_END = """
import atexit, os, time
def end():
    time.sleep(0.5)
    with open(os.environ["ENDED"], "w") as file:
        file.write("ended")
atexit.register(end)
def application(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"] or 0))
    start_response("200 OK", [])
    return [b"done"]
"""


def test_a_process_with_a_long_last_request_may_still_run_its_atexit_handlers(serve):
    httpd = serve(
        "WSGIDaemonProcess app shutdown-timeout=1 env=ENDED=${FILES}/ended\n"
        "WSGIScriptAlias / ${FILES}/end.wsgi process-name=app\n",
        files={"end.wsgi": AT_END},
    )
    httpd.write("ended", "").chmod(0o666)
    crowd = Crowd(httpd, "/?4", 1)
    (old,) = find(httpd.wait_for_daemons("app", 1))
    httpd.graceful()
    (answer,) = crowd.join()
    assert answer.text == "done"
    wait_until_gone([old], "the old process", 5)
    assert (httpd.files / "ended").read_text() == "ended"


def test_a_graceful_heals_a_deleted_directory_of_sockets_and_a_line_says_so(serve):
    httpd = serve(f"WSGISocketPrefix ${{FILES}}/sockets/wsgid\n{SLOW}", start=None)
    (httpd.files / "sockets").mkdir()
    httpd.start()
    assert httpd.get("/?name").status_code == 200
    since = httpd.log.mark()
    shutil.rmtree(httpd.files / "sockets")
    httpd.log.wait_for(CODE + ".*sockets.*graceful", since)
    httpd.graceful()
    wait_until(lambda: all_are_answered(httpd), f"{AT_ONCE} answers at once", 10)
    lines = lines_about_processes(httpd, since)
    assert len(lines) == 1, lines


SHUTS_DOWN = """
import os, socket
def application(environ, start_response):
    socket.socket(fileno=os.dup(3)).shutdown(socket.SHUT_RDWR)
    start_response("200 OK", [])
    return [b"done"]
"""


def test_a_listener_that_an_application_has_shut_down_is_bound_again(serve):
    """shutdown() acts on the listener of all who share it, not on a descriptor."""
    httpd = serve(
        f"WSGIScriptAlias /shutdown ${{FILES}}/shuts.wsgi process-name=app\n{SLOW}",
        files={"shuts.wsgi": SHUTS_DOWN},
    )
    assert httpd.get("/?name").status_code == 200
    since = httpd.log.mark()
    assert httpd.get("/shutdown").status_code == 200
    wait_until(lambda: all_are_answered(httpd), f"{AT_ONCE} answers at once", 3)
    lines = lines_about_processes(httpd, since)
    assert len(lines) == 1, lines


# -------- the parent and the guardian are killed

TWO = """
WSGIDaemonProcess app processes=2
WSGIProcessName app
WSGIScriptAlias /gate ${APPS}/gate.wsgi
WSGIScriptAlias / ${APPS}/executions.wsgi
SetEnv EXECUTIONS /dev/null
MaxKeepAliveRequests 0
"""
ORPHANED = 3.0  # seconds, which is longer than guardians may need to notice


def test_after_kill_9_of_the_parent_requests_are_answered_as_long_as_its_children_live(serve):
    httpd = serve(TWO)
    assert httpd.get("/?before").status_code == 200
    httpd.wait_for_daemons("app", 2)
    family, orphans = httpd.family(), find(httpd.children())
    daemons = [process for process in family if processes.is_daemon(process.command)]
    with httpd.log.allows(".*"):
        try:
            os.kill(httpd.pid, signal.SIGKILL)
            until, statuses = time.monotonic() + ORPHANED, []
            while time.monotonic() < until:
                statuses.append(httpd.get("/?orphaned").status_code)
            assert set(statuses) == {200}
            assert [process for process in daemons if process.is_alive] == daemons
            os.kill(daemons[0].pid, signal.SIGKILL)
            wait_until_gone(daemons[:1], "the daemon")
            with Load(httpd, "/?sleep=0.02", 4) as load:
                load.wait_for_more(100)
            load.assert_nothing_lost()
        finally:
            for process in orphans:
                end(process)
        wait_until_gone(family, "daemons and guardians", 8)
        wait_until(lambda: not sockets(httpd), "the sockets to go")
    (httpd.root / "run" / "httpd.pid").unlink()
    httpd.assert_nothing_left()


def wait_for_another_guardian(httpd, old: int, timeout: float = 2.0) -> int:
    return wait_until(
        lambda: [
            pid for pid in httpd.guardians("app") if pid != old and old not in httpd.guardians()
        ],
        "another guardian",
        timeout,
    )[0]


def test_a_guardian_that_is_killed_has_a_successor_at_once_and_nothing_is_lost(serve):
    httpd = serve(TWO)
    old = find(httpd.wait_for_daemons("app", 2))
    assert httpd.get("/?before").status_code == 200
    assert len(httpd.guardians("app")) == 1, "a guardian of group 'app'"
    (guardian,) = httpd.guardians("app")
    held = HeldRequests(httpd, "/gate", "guardian")
    with Load(httpd, "/?sleep=0.2", 4) as load:
        os.kill(guardian, signal.SIGKILL)
        wait_for_another_guardian(httpd, guardian)
        new = httpd.wait_for_daemons("app", 2, without=[process.pid for process in old])
        load.wait_for_more(20)
        (answer,) = held.release()
        wait_until_gone(old, "the old daemons")
        load.wait_for_more(20)
    load.assert_nothing_lost()
    assert answer.status_code == 200
    assert int(answer.text) in {process.pid for process in old}
    assert int(load.bodies[-1].split(b"\n")[1]) in new


BRIEF = """
WSGIDaemonProcess app shutdown-timeout=0.5
WSGIScriptAlias / ${APPS}/gate.wsgi process-name=app
"""


def kill_guardian(httpd) -> None:
    since = httpd.log.mark()
    (guardian,) = httpd.guardians("app")
    os.kill(guardian, signal.SIGKILL)
    httpd.log.wait_for("WSGID0310", since)


def test_what_runs_when_a_guardian_is_killed_may_take_longer_than_shutdown_timeout(serve):
    httpd = serve(BRIEF)
    held = HeldRequests(httpd, "/", "long")
    (old,) = httpd.wait_for_daemons("app", 1)
    kill_guardian(httpd)
    time.sleep(2.5)  # several times shutdown-timeout
    (answer,) = held.release()
    assert (answer.status_code, answer.text) == (200, str(old))
    wait_until_gone(find([old]), "the old daemon")


def test_a_stop_soon_after_a_guardian_was_killed_ends_its_daemons_within_shutdown_timeout(serve):
    httpd = serve(BRIEF)
    HeldRequests(httpd, "/", "stop")
    (old,) = find(httpd.wait_for_daemons("app", 1))
    kill_guardian(httpd)
    httpd.log.wait_for("WSGID0076.*process %d" % old.pid)
    httpd.stop(5)
    assert not old.is_alive


def test_if_all_of_httpd_is_killed_daemons_leave_although_a_request_does_not_end(serve):
    httpd = serve(BRIEF)
    HeldRequests(httpd, "/", "all")
    daemons, family = httpd.wait_for_daemons("app", 1), httpd.family()
    with httpd.log.allows(".*"):
        for process in family:
            if process.pid not in daemons:
                os.kill(process.pid, signal.SIGKILL)
        wait_until_gone(find(daemons), "the daemon", 5)
    shutil.rmtree(httpd.root / "run")
    (httpd.root / "run").mkdir()
    httpd.assert_nothing_left()


def test_a_guardian_that_is_asked_to_leave_has_a_successor_and_nothing_is_lost(serve):
    httpd = serve(TWO)
    old = find(httpd.wait_for_daemons("app", 2))
    assert len(httpd.guardians("app")) == 1, "a guardian of group 'app'"
    (guardian,) = httpd.guardians("app")
    with Load(httpd, "/?sleep=0.1", 4) as load:
        os.kill(guardian, signal.SIGTERM)
        wait_for_another_guardian(httpd, guardian, 8)
        wait_until_gone(old, "the old daemons")
        httpd.wait_for_daemons("app", 2)
        load.wait_for_more(20)
    load.assert_nothing_lost()


def test_a_guardian_that_is_killed_again_and_again_harms_nobody_else(serve):
    httpd = serve(NEIGHBOUR + TWO)
    assert len(httpd.guardians("app")) == 1, "a guardian of group 'app'"
    guardian = 0
    with Bystanders(httpd):
        for _ in range(5):
            guardian = wait_for_another_guardian(httpd, guardian, 20)
            os.kill(guardian, signal.SIGKILL)
    wait_until(lambda: status_of(httpd, "/?after") == 200, "the group to serve", 30)
