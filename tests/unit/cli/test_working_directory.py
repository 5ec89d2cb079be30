"""The command line imports nothing from the directory that it is run in: root may be anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
# Modules that every command, or some, import.
PLANTED = ("argparse", "json", "subprocess", "dataclasses", "__future__", "ctypes", "glob")
# As pip writes it.
CONSOLE_SCRIPT = """
import sys
from pywsgid.__main__ import start
if __name__ == "__main__":
    sys.exit(start())
"""


@pytest.fixture
def planted(tmp_path):
    """A directory of somebody's, with modules that tell if they are imported."""
    for name in PLANTED:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported: ' + __file__)\n")
    return tmp_path


def from_venv(planted):
    return [CHECKOUT / ".venv" / "bin" / "pywsgid"]


def as_module(planted):
    return [sys.executable, "-m", "pywsgid"]


def by_a_script_beside_the_modules(planted):
    script = planted / "pywsgid-script"
    script.write_text(CONSOLE_SCRIPT)
    return [sys.executable, script]


@pytest.mark.parametrize("path", [None, "", ":/nowhere", "."])
@pytest.mark.parametrize("command", ["version", "check", "status"])
@pytest.mark.parametrize(
    "way", [from_venv, as_module, by_a_script_beside_the_modules], ids=lambda way: way.__name__
)
def test_nothing_is_imported_from_the_current_directory(planted, way, command, path):
    environment = dict(os.environ)
    environment.pop("PYTHONPATH", None)
    if path is not None:
        environment["PYTHONPATH"] = path
    words = ["/nowhere"] if command == "check" else []
    done = subprocess.run(
        [*way(planted), command, *words],
        cwd=planted,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "imported: " not in done.stdout + done.stderr
    assert "pywsgid" in done.stdout + done.stderr


def test_the_command_that_pip_installs_begins_where_the_directory_is_left():
    text = (CHECKOUT / "pyproject.toml").read_text()
    assert 'pywsgid = "pywsgid.__main__:start"' in text
