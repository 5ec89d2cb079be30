"""A secret that `pywsgid serve` and `pywsgid setup` get by --env is seen by nobody else: not in a
file, not in a command line.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from httpdenv import machine, processes
from httpdenv.serving import PYTHONPATH, Run, get

SECRET = "of-the-owner"
SITE = """
import os
def application(environ, start_response):
    start_response("200 OK", [])
    return [f"{os.environ['WORD']} {os.environ['PLAIN']}".encode()]
"""


@pytest.fixture
def site():
    directory = machine.temporary_directory("wsgid-apps-")
    (directory / "site.wsgi").write_text(SITE)
    yield directory
    shutil.rmtree(directory)


def readable_by_others(top: Path) -> list[Path]:
    files = [path for path in top.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)]


def assert_hidden(top: Path) -> None:
    assert [p for p in readable_by_others(top) if SECRET.encode() in p.read_bytes()] == []
    assert [p.command for p in processes.everything() if SECRET in p.command] == []


@pytest.mark.parametrize(
    "words", [["--env", f"WORD={SECRET}"], [f"--env=WORD={SECRET}"], ["--env", "WORD"]], ids=str
)
def test_a_secret_of_serve_is_in_no_file_and_no_command_line_of_others(
    tmp_path, site, monkeypatch, words
):
    monkeypatch.setitem(PYTHONPATH, "WORD", SECRET if words[-1] == "WORD" else "")
    run = Run(tmp_path, *words, "--env", "PLAIN=a=b", site / "site.wsgi")
    try:
        assert get(run.wait_for_address()).text == f"{SECRET} a=b"
        assert_hidden(run.root)
        assert "--env PLAIN=" in processes.find(run.process.pid).command
    finally:
        run.end(signal.SIGTERM)


def test_a_secret_of_setup_is_in_a_file_of_its_owner_alone(site):
    words = ["--port", "0", "--env", f"WORD={SECRET}", str(site / "site.wsgi"), str(site / "kept")]
    done = subprocess.run(
        [machine.stage().python, "-m", "pywsgid", "setup", *words],
        cwd=site,
        env=PYTHONPATH,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    configuration = site / "kept" / "httpd.conf"
    assert SECRET in configuration.read_text()
    assert configuration.stat().st_mode & 0o777 == 0o600
    assert configuration.stat().st_uid == os.geteuid()
    assert_hidden(site)


def test_a_variable_that_is_not_set_is_reported(tmp_path, site):
    run = Run(tmp_path, "--env", "NO_SUCH_VARIABLE", site / "site.wsgi")
    assert run.process.wait(20) == 2
    assert "NO_SUCH_VARIABLE does not have the form NAME=VALUE" in run.log
