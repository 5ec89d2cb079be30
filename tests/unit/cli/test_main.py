"""The command line itself: what it prints where, and that a failure is one line with a code."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from clienv import pywsgid

from pywsgid import __version__
from pywsgid.cli import main, module


def test_module_config_prints_one_line_for_httpd_and_nothing_else():
    done = pywsgid("module-config")
    assert (done.returncode, done.stderr) == (0, "")
    path = re.fullmatch(r'LoadModule wsgid_module "(.+/mod_wsgid\.so)"\n', done.stdout).group(1)
    assert os.path.isabs(path) and os.path.isfile(path)


def test_module_config_without_a_module_names_the_way_to_build_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(module, "PACKAGE", str(tmp_path / "pywsgid"))
    assert main.main(["module-config"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pywsgid: WSGID0401: ") and "make" in err and err.count("\n") == 1


@pytest.mark.parametrize("place", ["pywsgid", ".", "build"])
def test_the_module_is_found_in_the_package_beside_it_and_in_a_checkout(
    monkeypatch, tmp_path, place
):
    (tmp_path / "pywsgid").mkdir()
    (tmp_path / "build").mkdir()
    (tmp_path / place / "mod_wsgid.so").touch()
    monkeypatch.setattr(module, "PACKAGE", str(tmp_path / "pywsgid"))
    assert os.path.samefile(module.find_module(), tmp_path / place / "mod_wsgid.so")


@pytest.mark.parametrize("words", [["version"], ["check", "--help"]])
def test_a_reader_that_has_seen_enough_is_no_error(words):
    """As with `pywsgid status | head`."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "pywsgid", *words]
    with os.fdopen(writer, "w") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert done.stderr == ""


def test_version_is_that_of_the_package():
    assert pywsgid("version").stdout.startswith(f"pywsgid {__version__}, Python ")


def test_version_is_an_option_too():
    assert pywsgid("--version").stdout == pywsgid("version").stdout


def test_an_unknown_option_is_reported_with_the_usage_of_its_command():
    done = pywsgid("serve", "hello:app", "--nothing")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == "pywsgid serve: error: unrecognized arguments: --nothing"


def test_no_command_is_a_usage_error():
    assert pywsgid().returncode == 2


def test_every_command_has_help():
    listing = pywsgid("--help").stdout
    for command in main.COMMANDS:
        assert command.name in listing
        assert command.description in " ".join(pywsgid(command.name, "--help").stdout.split())
