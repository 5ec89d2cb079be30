"""`pywsgid run`, what `make run` calls: it serves, says where, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from httpdenv import machine, processes, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
HELLO = CHECKOUT / "conf" / "hello.wsgi"
BROKEN = "raise RuntimeError('not today')\n"
OWN = """
import neighbour
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [neighbour.WORD]
"""


class Run:
    """One `python -m pywsgid run`, as a process group of its own like a shell's job."""

    def __init__(self, directory: Path, script: Path, checkout: Path = CHECKOUT) -> None:
        self._out, self._err = directory / "out", directory / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pywsgid", "run", "--port", "0", script], cwd=checkout, stdin=subprocess.DEVNULL,
                stdout=out, stderr=err, start_new_session=True)

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def log(self) -> str:
        return self._err.read_text()

    @property
    def root(self) -> Path:
        """The temporary server root; httpd's own lines tell it."""
        return Path(re.search(r"-d (/tmp/wsgid-\w+)", self.log).group(1))

    def wait_for_address(self) -> str:
        wait_until(lambda: "served at" in self.out or self.process.poll() is not None, lambda: f"it: {self.log}", 20)
        return re.search(r"served at (http://\S+/)", self.out).group(1)

    def end(self, number: int) -> int:
        """Sends a signal as a terminal does, and waits."""
        os.killpg(self.process.pid, number)
        return self.process.wait(15)

    def assert_nothing_left(self) -> None:
        assert not self.root.exists()
        wait_until(lambda: not processes.using(self.root), "the processes to leave", 5)


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., Run]]:
    running: list[Run] = []

    def start(script: Path, **options) -> Run:
        running.append(Run(tmp_path, script, **options))
        return running[-1]

    yield start
    for run in running:
        if run.process.poll() is None:
            run.end(signal.SIGTERM)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Where every user gets to, unlike pytest's own directories."""
    directory = machine.temporary_directory("wsgid-apps-")
    yield directory
    shutil.rmtree(directory)


def get(url: str) -> requests.Response:
    session = requests.Session()
    session.trust_env = False
    return session.get(url, timeout=10)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_it_serves_until_a_signal_and_leaves_nothing(start, number):
    run = start(HELLO)
    assert "Hello!" in get(run.wait_for_address()).text
    wait_until(lambda: '"GET / HTTP/1.1" 200' in run.log, "the access log", 5)
    assert run.end(number) == 0
    run.assert_nothing_left()
    assert "Traceback" not in run.log


def test_its_own_look_is_not_in_the_access_log(start):
    run = start(HELLO)
    get(run.wait_for_address() + "mine")
    wait_until(lambda: "GET /mine" in run.log, "the access log", 5)
    assert '"GET / HTTP' not in run.log


def test_modules_beside_the_script_can_be_imported(start, open_directory):
    (open_directory / "neighbour.py").write_text("WORD = b'found'\n")
    (open_directory / "own site.wsgi").write_text(OWN)
    assert get(start(open_directory / "own site.wsgi").wait_for_address()).text == "found"


def test_an_application_that_cannot_be_loaded_is_told(start, open_directory):
    (open_directory / "broken.wsgi").write_text(BROKEN)
    run = start(open_directory / "broken.wsgi")
    run.wait_for_address()
    assert re.search(r"answers, but with status 50[03]: see the log", run.out)
    assert "RuntimeError: not today" in run.log


def test_httpd_that_ends_by_itself_is_told_and_cleaned_up_after(start):
    run = start(HELLO)
    run.wait_for_address()
    root = run.root
    os.kill(int((root / "run" / "httpd.pid").read_text()), signal.SIGKILL)
    assert run.process.wait(15) == 1
    assert run.log.splitlines()[-1].startswith("pywsgid: WSGID0407: httpd ended by itself (signal 9)")
    run.assert_nothing_left()


def test_httpd_goes_when_its_starter_is_killed(start):
    run = start(HELLO)
    run.wait_for_address()
    root = run.root
    run.process.kill()
    try:
        wait_until(lambda: not processes.using(root), "httpd and its daemons to leave", 10)
    finally:
        shutil.rmtree(root)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's daemons run as another user")
def test_a_closed_checkout_is_served_from_copies(start, tmp_path):
    """pytest's directories have mode 0700: the same as a clone in /root."""
    for name in ("pywsgid", "conf"):
        shutil.copytree(CHECKOUT / name, tmp_path / name)
    (tmp_path / "build").mkdir()
    shutil.copy(machine.module_path(), tmp_path / "build")
    os.symlink("../pywsgid", tmp_path / "build" / "pywsgid")
    run = start(tmp_path / "conf" / "hello.wsgi", checkout=tmp_path)
    assert "Hello!" in get(run.wait_for_address()).text
    assert "WSGID0409" in run.log
    run.end(signal.SIGINT)
    run.assert_nothing_left()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's daemons run as another user")
def test_an_application_out_of_reach_is_refused_in_one_line(start, tmp_path):
    (tmp_path / "own.wsgi").write_text(OWN)
    run = start(tmp_path / "own.wsgi")
    assert run.process.wait(15) == 1
    assert run.log.count("\n") == 1
    assert run.log.startswith("pywsgid: WSGID0406: user ") and "chmod o+x" in run.log
