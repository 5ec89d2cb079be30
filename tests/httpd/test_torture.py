"""Everything at once, at random, under load: graceful, reload, broken deploys, deaths, signals,
other configurations; and deaths alone and gracefuls alone, many of them.

The seed is fixed, so that a failure can be reproduced. WSGID_TORTURE_SEED and WSGID_TORTURE_SECONDS
change seed and duration (`make torture` runs for minutes). Each answer is compared and each
execution is counted: an answered request ran exactly once, and a lost one at most once. Only a kill
may lose requests, and only those that its process was running.
"""

from __future__ import annotations

import collections
import os
import random
import signal
import threading
import time

import pytest
import requests
from httpdenv import Load, wait_until

SECONDS = float(os.environ.get("WSGID_TORTURE_SECONDS", "8"))
SEED = int(os.environ.get("WSGID_TORTURE_SEED", "1"))
THREADS = 4
CONFIGURATION = """
WSGIDaemonProcess app processes=PROCESSES threads=4 maximum-requests=MAXIMUM env=ROUND=NUMBER
WSGIProcessName app
WSGIScriptAlias / ${FILES}/app.wsgi
SetEnv EXECUTIONS ${FILES}/executions
KeepAliveTimeout 30
MaxKeepAliveRequests 0
ServerLimit 32
"""


class Torturer:
    """Draws the random actions. `kills` counts the actions that may cost requests."""

    def __init__(self, httpd, script: str) -> None:
        self.httpd, self.script = httpd, script
        self.random = random.Random(SEED)
        self.kills = 0
        self.processes = 0
        self.is_elastic = False
        self.rounds = 0
        self.is_broken = False
        # Their successors may be in back-off: they could not load the script while it was broken.
        self.without_successor: set[int] = set()
        self.history: list[str] = []

    def act(self) -> None:
        actions = [
            self.graceful,
            self.reconfigure,
            self.touch,
            self.kill,
            self.ask_to_leave,
            self.break_or_fix,
        ]
        action = self.random.choice(actions)
        self.history.append(action.__name__)
        action()

    def text(self, processes: int | str, maximum: int) -> str:
        """`processes` as in the configuration: 2, or 1-3."""
        self.rounds += 1
        least, _, most = str(processes).partition("-")
        self.processes, self.is_elastic = max(int(least), 1), bool(most)
        values = {"PROCESSES": processes, "MAXIMUM": maximum, "NUMBER": self.rounds}
        text = CONFIGURATION
        for name, value in values.items():
            text = text.replace(name, str(value))
        return text

    def graceful(self) -> None:
        self.httpd.graceful()

    def reconfigure(self) -> None:
        self.httpd.slots_added = 2
        self.httpd.configure(
            self.text(
                self.random.choice([1, 2, 3, "1-3", "0-3"]), self.random.choice([0, 5000, 20000])
            )
        )
        self.httpd.graceful()

    def touch(self) -> None:
        if not self.is_broken:
            self.httpd.write("app.wsgi", self.script + f"# {self.random.random()}\n")

    def break_or_fix(self) -> None:
        """Alternates between a script that cannot be imported and a working one. The old code, if
        it serves, keeps serving until the fix.
        """
        if not self.is_broken:
            wait_until(self.is_whole, "the whole group to serve")
        self.is_broken = not self.is_broken
        self.without_successor = set(self.ready())
        self.httpd.write(
            "app.wsgi", "raise RuntimeError('broken')\n" if self.is_broken else self.script
        )

    def ready(self) -> list[int]:
        ready = {record.pid for record in self.httpd.log.find("WSGID0303")}
        return [pid for pid in self.httpd.daemons("app") if pid in ready]

    def is_whole(self) -> bool:
        """Whether each slot has a serving process: none that was killed or asked to leave still
        lacks its successor.
        """
        ready = len(self.ready())
        if len(self.httpd.daemons("app")) != ready:
            return False
        return ready >= self.processes if self.is_elastic else ready == self.processes

    def expendable_daemon(self) -> int | None:
        """A daemon of a complete group with working code; without these, its successor might have
        to wait, and 503 would be right.
        """
        if (
            self.is_broken
            or not self.is_whole()
            or self.without_successor.intersection(self.ready())
        ):
            return None
        return self.random.choice(self.ready())

    def kill(self) -> None:
        pid = self.expendable_daemon()
        if pid is not None:
            self.kills += 1
            self._signal(pid, signal.SIGKILL)

    def ask_to_leave(self) -> None:
        pid = self.expendable_daemon()
        if pid is not None:
            self._signal(pid, self.random.choice([signal.SIGTERM, signal.SIGHUP, signal.SIGINT]))

    def _signal(self, pid: int, sign: int) -> None:
        try:
            os.kill(pid, sign)
        except ProcessLookupError:
            self.history.append("(too late)")


def executed(httpd) -> collections.Counter[str]:
    return collections.Counter((httpd.files / "executions").read_text().split())


@pytest.mark.timeout(SECONDS + 180)
def test_torture(make_httpd, stage):
    script = (stage.apps / "executions.wsgi").read_text()
    httpd = make_httpd("", start=None, files={"app.wsgi": script})
    torturer = Torturer(httpd, script)
    httpd.configure(torturer.text(2, 5000))
    httpd.write("executions", "").chmod(0o666)
    httpd.start()
    deadline = time.monotonic() + SECONDS
    with (
        Load(httpd, "/", 12, name="fast-") as fast,
        Load(httpd, "/?sleep=0.3", 4, name="slow-") as slow,
    ):
        while time.monotonic() < deadline:
            torturer.act()
            fast.wait_for_more(torturer.random.choice([1, 20, 200]))
        if torturer.is_broken:
            torturer.break_or_fix()
    assert_sound(httpd, torturer, fast, slow)
    httpd.configure(torturer.text(2, 0))
    httpd.graceful()
    httpd.wait_for_daemons("app", 2)
    httpd.assert_no_leaked_descriptors()
    httpd.stop()
    httpd.log.accept_all(".*")  # everything provoked is logged; this test is about what clients saw


def assert_sound(httpd, torturer: Torturer, *loads: Load) -> None:
    lost = [text for load in loads for text in load.lost]
    answered = [body.split(b"\n", 1)[0].decode() for load in loads for body in load.bodies]
    counts = executed(httpd)
    story = f"seed {SEED}: {torturer.history}"
    assert [name for name, count in counts.items() if count > 1] == [], story
    assert [name for name in answered if counts[name] != 1] == [], story
    assert [text for text in lost if "HTTP/1.1 502 " not in text] == [], story
    assert len(lost) <= torturer.kills * THREADS, story
    assert len(answered) > 100, story


IS_LONG = SECONDS > 60


@pytest.mark.timeout(SECONDS + 180)
def test_a_hundred_gracefuls_under_load_lose_nothing(make_httpd):
    """In `make test`, a few; test_lossless.py has ten."""
    httpd = make_httpd(
        "WSGIDaemonProcess app processes=2\n"
        "WSGIScriptAlias / ${APPS}/executions.wsgi process-name=app\nMaxKeepAliveRequests 0\n"
    )
    httpd.wait_for_daemons("app", 2)
    with Load(httpd, "/", 16) as load:
        for _ in range(100 if IS_LONG else 3):
            httpd.graceful()
            load.wait_for_more()
    load.assert_nothing_lost()
    httpd.wait_for_daemons("app", 2)
    httpd.log.accept_all("AH03490")  # children of httpd that leave are many


# -------- deaths at random moments

DEATHS, GROUPS = (2000, 50) if IS_LONG else (50, 10)
EXIT_STATUS = 15  # the one with which a child of httpd would shut down all of it
# Dies in its import, soon after, or in a request: whatever the random number says. Each process
# leaves a line before it dies.
MORTAL = """
import os, random, threading, time
random.seed(os.getpid() + SEED)
def die(*_):
    with open("DEATHS", "a") as file:
        file.write("x")
    os._exit(EXIT_STATUS)
def die_soon():
    time.sleep(random.random() / 2)
    die()
def application(environ, start_response):
    if environ["QUERY_STRING"] == "die":
        time.sleep(random.random() / 10)
        die()
    start_response("200 OK", [])
    return [b"alive"]
moment = random.random()
if moment < 0.05:
    die()
elif moment < 0.15:
    threading.Thread(target=die_soon, daemon=True).start()
"""


class Killers:
    """One thread for each group, which asks its process to die at random moments."""

    def __init__(self, httpd, groups: list[str], pause: float) -> None:
        self.over = threading.Event()
        self._httpd, self._pause = httpd, pause
        self._threads = [
            threading.Thread(target=self._run, args=[name, random.Random(f"{SEED} {name}")])
            for name in groups
        ]

    def _run(self, name: str, dice: random.Random) -> None:
        while not self.over.wait(2 * self._pause * dice.random()):
            try:
                self._httpd.get(f"/{name}?die")
            except requests.RequestException:
                self.over.wait(self._pause)  # httpd has ended: the test will say so

    def __enter__(self) -> Killers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.timeout(4 * SECONDS + 180)
def test_no_death_of_a_daemon_at_any_moment_ends_anything_else(make_httpd):
    groups = [f"g{number}" for number in range(GROUPS)]
    httpd = make_httpd(
        "WSGIDaemonProcess neighbour\n"
        "WSGIScriptAlias /neighbour ${APPS}/executions.wsgi process-name=neighbour\n"
        + "".join(
            f"WSGIDaemonProcess {name} threads=2\n"
            f"WSGIScriptAlias /{name} ${{FILES}}/mortal.wsgi process-name={name}\n"
            for name in groups
        ),
        start=None,
    )
    deaths = httpd.write("deaths", "")
    deaths.chmod(0o666)
    script = MORTAL.replace("DEATHS", str(deaths)).replace("EXIT_STATUS", str(EXIT_STATUS))
    httpd.write("mortal.wsgi", script.replace("SEED", str(SEED)))
    httpd.start()
    httpd.wait_for_daemons("neighbour", 1)
    # a guardian that has no title yet looks like a child of httpd
    wait_until(lambda: len(httpd.guardians()) == len(groups) + 1, "all guardians")
    parent, children = httpd.pid, set(httpd.children())
    with Load(httpd, "/neighbour", 2) as load, Killers(httpd, groups, SECONDS * GROUPS / DEATHS):
        wait_until(
            lambda: deaths.stat().st_size >= DEATHS or not httpd.is_running,
            lambda: f"{DEATHS} deaths; there are {deaths.stat().st_size}",
            4 * SECONDS + 60,
        )
        assert httpd.is_running, f"httpd has ended after {deaths.stat().st_size} deaths"
        load.wait_for_more(10)
    assert httpd.pid == parent
    assert children <= set(httpd.children())
    load.assert_nothing_lost()
    for name in groups:
        wait_until(lambda name=name: httpd.get(f"/{name}").ok, f"group {name} to serve", 90)
    httpd.stop()
    httpd.log.accept_all(".*")
