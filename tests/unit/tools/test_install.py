"""What `make install` installs and where, what the installed command imports, and what the build
reports if the machine lacks something.
"""

from __future__ import annotations

import mmap
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUILT = ROOT / "build" / "mod_wsgid.so"
pytestmark = pytest.mark.skipif(
    not BUILT.exists(), reason="build/mod_wsgid.so is not there: run `make`"
)


class Target:
    """A directory in place of the machine: Apache's modules and settings are below it."""

    def __init__(self, place: Path) -> None:
        self.modules, self.command = place / "my modules", place / "prefix" / "bin" / "pywsgid"
        self.available = place / "settings" / "mods-available"
        self.available.mkdir(parents=True)
        apxs = place / "apxs"
        answers = {"LIBEXECDIR": self.modules, "SYSCONFDIR": place / "settings"}
        cases = "".join(
            f"{name}) echo {shlex.quote(str(path))} ;;\n" for name, path in answers.items()
        )
        apxs.write_text(f"#!/bin/sh\ncase $2 in\n{cases}esac\n")
        apxs.chmod(0o755)
        python = (ROOT / ".venv" / ".python").read_text().strip()
        self._environment = {
            **os.environ,
            "APXS": str(apxs),
            "PREFIX": str(place / "prefix"),
            "INSTALL_PYTHON": python,
        }

    def run(self, what: str) -> str:
        command = [ROOT / "tools" / "install.sh", what]
        return subprocess.run(
            command, env=self._environment, check=True, capture_output=True, text=True
        ).stdout

    def pywsgid(
        self, *words: str, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        command = [self.command, *words]
        return subprocess.run(
            command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True
        )


@pytest.fixture
def target(tmp_path):
    return Target(tmp_path)


def files_of(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}


def test_the_package_and_the_command_are_installed(target):
    target.run("install")
    installed = files_of(target.modules / "pywsgid")
    sources = {path for path in files_of(ROOT / "pywsgid") if path.endswith(".py")}
    sources -= {path for path in sources if path.startswith("native/")}  # the extension's sources
    assert sources <= installed
    assert all(path in sources or Path(path).name.startswith("_native") for path in installed)
    assert target.pywsgid("version").stdout.startswith("pywsgid ")
    assert (
        target.pywsgid("module-config").stdout
        == f'LoadModule wsgid_module "{target.modules}/mod_wsgid.so"\n'
    )


def test_nothing_is_compiled_and_nothing_written_into_the_checkout(target):
    before = {path: path.stat().st_mtime_ns for path in (ROOT / "build").rglob("*")}
    target.run("install")
    assert (target.modules / "mod_wsgid.so").read_bytes() == BUILT.read_bytes()
    assert {path: path.stat().st_mtime_ns for path in (ROOT / "build").rglob("*")} == before


def test_the_command_imports_nothing_from_the_current_directory(target, tmp_path):
    target.run("install")
    hostile = tmp_path / "hostile"
    (hostile / "pywsgid").mkdir(parents=True)
    for name in (
        "pywsgid/__init__.py",
        "pywsgid/cli.py",
        "argparse.py",
        "dataclasses.py",
        "importlib.py",
    ):
        (hostile / name).write_text("raise SystemExit('hostile')\n")
    done = target.pywsgid("version", cwd=hostile, PYTHONPATH=str(hostile))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("pywsgid ")


def test_the_command_passes_on_the_exit_code_and_its_arguments(target):
    target.run("install")
    done = target.pywsgid("status", "--sockets", "/no where/at all")
    assert done.returncode == 1
    assert "WSGID0440" in done.stderr and "/no where/at all" in done.stderr


class Watcher:
    """Looks at files all the time, in a thread, until the with statement ends. `missed` are those
    that were not there, or not whole, at any time.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.missed: set[Path] = set()
        self._sizes = {path: path.stat().st_size for path in paths}
        self._over = threading.Event()
        self._rounds = 0
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.is_set():
            for path, size in self._sizes.items():
                if not path.exists() or path.stat().st_size != size:
                    self.missed.add(path)
            self._rounds += 1

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        assert self._rounds > 10


def test_what_runs_from_the_files_is_not_disturbed_by_another_install(target):
    target.run("install")
    package = target.modules / "pywsgid"
    mapped = [target.modules / "mod_wsgid.so", *package.glob("_native*.so")]
    assert len(mapped) == 2
    before = {path: path.stat().st_ino for path in mapped}
    maps = {}
    for path in mapped:
        with path.open("rb") as file:
            maps[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    content = {path: path.read_bytes() for path in mapped}
    with Watcher([*mapped, package / "__init__.py", package / "daemon" / "boot.py"]) as watcher:
        target.run("install")
    assert watcher.missed == set()
    for path in mapped:
        assert path.stat().st_ino != before[path]
        assert maps[path][:] == content[path]


def test_files_of_another_version_are_removed(target):
    target.run("install")
    installed = files_of(target.modules)
    old = target.modules / "pywsgid" / "old" / "module.py"
    old.parent.mkdir()
    old.touch()
    target.run("install")
    assert files_of(target.modules) == installed
    assert not old.parent.exists()


def test_uninstall_removes_all_of_it(target, tmp_path):
    before = files_of(tmp_path)
    target.run("install")
    target.run("uninstall")
    assert files_of(tmp_path) == before


def test_uninstall_keeps_a_command_that_is_not_ours(target):
    target.run("install")
    target.command.write_text("#!/bin/sh\n")
    target.run("uninstall")
    assert target.command.exists()


def test_everything_that_a_build_lacks_is_named_in_one_line():
    lacking = {**os.environ, "CC": "/no/compiler", "APXS": "/no/apxs"}
    command = [sys.executable, "setup.py", "-q", "preflight"]
    done = subprocess.run(command, cwd=ROOT, env=lacking, capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "setup.py:" in line]
    assert "lacks a C compiler, apxs." in line
    for packages in (
        "apt-get install gcc libc6-dev apache2-dev",
        "dnf install gcc redhat-rpm-config httpd-devel",
        "pacman -S gcc apache",
    ):
        assert packages in line
