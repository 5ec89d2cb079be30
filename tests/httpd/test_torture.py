"""Everything at once, at random, under load: graceful, reload, broken deploys, deaths, signals,
other configurations.

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
import time

import pytest
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

    def text(self, processes: int, maximum: int) -> str:
        self.rounds += 1
        self.processes = processes
        values = {"PROCESSES": processes, "MAXIMUM": maximum, "NUMBER": self.rounds}
        text = CONFIGURATION
        for name, value in values.items():
            text = text.replace(name, str(value))
        return text

    def graceful(self) -> None:
        self.httpd.graceful()

    def reconfigure(self) -> None:
        self.httpd.configure(
            self.text(self.random.choice([1, 2, 3]), self.random.choice([0, 5000, 20000]))
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
        return len(self.httpd.daemons("app")) == len(self.ready()) == self.processes

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
