"""The interpreters of this machine, and virtual environments for real applications.

Virtual environments are made once and kept in the temporary directory, named after their contents,
for daemons of any user. An interpreter that only its owner can reach (a build below a home
directory) is copied to where everybody can.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from httpdenv import machine

OLDEST = (3, 10)
WHAT = (
    "import json, sys\n"
    "print(json.dumps([sys.version_info[:2], 't' in sys.abiflags, sys.base_prefix, sys._base_executable]))"
)
# python3.13 may itself be free-threaded; otherwise a free-threaded build has a name of its own.
NAMES = ("python3.[0-9]*[0-9]", "python3.[0-9]*[0-9]t", "python3.[0-9]*[0-9]-nogil")
# Modules that are missing from a build made without some headers, or from a copy without its
# libraries.
CHECK = "import ctypes, sqlite3, ssl, venv"


@dataclass(frozen=True)
class Python:
    """A CPython that pywsgid supports; `prefix` is where it is installed."""

    executable: Path
    version: tuple[int, int]
    prefix: Path
    free_threaded: bool = False


def candidates() -> Iterator[str]:
    """Executables that may be interpreters: the system's, those on PATH, pyenv's and uv's."""
    directories = [
        "/usr/bin",
        "/usr/local/bin",
        "/opt/*/bin",
        *os.environ.get("PATH", "").split(":"),
    ]
    for tool in (["pyenv", "root"], ["uv", "python", "dir"]):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            root = subprocess.run(
                tool, check=True, capture_output=True, text=True, timeout=20
            ).stdout.strip()
            directories += [f"{root}/versions/*/bin", f"{root}/*/bin"]
    for directory in directories:
        yield from sorted(path for name in NAMES for path in glob.glob(f"{directory}/{name}"))
    yield sys.executable


@functools.cache
def installed() -> tuple[Python, ...]:
    """One interpreter for each supported version, with and without a GIL. Those that everybody can
    reach come first.
    """
    known = {python.executable: python for name in candidates() if (python := _inspect(name))}
    found: dict[tuple[tuple[int, int], bool], Python] = {}
    for python in sorted(
        known.values(), key=lambda python: not machine.is_reachable_by_all(python.executable)
    ):
        found.setdefault((python.version, python.free_threaded), python)
    return tuple(found.values())


def _inspect(name: str) -> Python | None:
    """Inspects an executable; None if it is not an interpreter that we can use."""
    try:
        out = subprocess.run(
            [name, "-I", "-c", WHAT], check=True, capture_output=True, text=True, timeout=20
        ).stdout
        version, free_threaded, prefix, executable = json.loads(out)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if tuple(version) < OLDEST:
        return None
    return Python(Path(executable).resolve(), (version[0], version[1]), Path(prefix), free_threaded)


def reachable(python: Python) -> Python | None:
    """The interpreter where daemons can reach it, copied if necessary; None if the copy does not
    work.
    """
    if os.geteuid() != 0 or machine.is_reachable_by_all(python.executable):
        return python
    target = Path(f"/tmp/wsgid-python-{os.geteuid()}-{_digest(str(python.prefix))}")
    with _locked(target):
        if not target.exists():
            fresh = target.with_name(f"{target.name}.new")
            shutil.rmtree(fresh, ignore_errors=True)
            leave_out = shutil.ignore_patterns("__pycache__", "test", "site-packages")
            shutil.copytree(python.prefix, fresh, symlinks=True, ignore=leave_out)
            fresh.chmod(0o755)
            _find_libraries_beside(
                fresh / python.executable.relative_to(python.prefix), python.prefix
            )
            fresh.rename(target)
    copy = replace(
        python, executable=target / python.executable.relative_to(python.prefix), prefix=target
    )
    return copy if _works_for_daemons(copy) else None


def _find_libraries_beside(executable: Path, prefix: Path) -> None:
    """Makes a copy find its shared libpython beside it, because its run path is still that of the
    original.
    """
    old, new = f"{prefix}/lib".encode() + b"\0", b"$ORIGIN/../lib"
    content = executable.read_bytes()
    if old in content and len(new) < len(old):
        executable.write_bytes(content.replace(old, new.ljust(len(old), b"\0")))


def _works_for_daemons(python: Python) -> bool:
    environment = {"PATH": "/usr/bin:/bin"}
    nobody = {"user": machine.web_user(), "extra_groups": []}
    done = subprocess.run(
        [python.executable, "-I", "-c", CHECK],
        env=environment,
        cwd="/",
        capture_output=True,
        check=False,
        **nobody,
    )
    return done.returncode == 0


def for_daemons(
    version: tuple[int, int] | None = None,
    other_than: tuple[int, int] | None = None,
    free_threaded: bool = False,
) -> Python | None:
    """An interpreter that daemons can use: of one version, or of any version but one; with a GIL or
    free-threaded.
    """
    for python in installed():
        fits = version in (None, python.version) and python.version != other_than
        if fits and python.free_threaded == free_threaded and (usable := reachable(python)):
            return usable
    return None


def virtualenv(python: Python, *requirements: str) -> Path:
    """A virtual environment of that interpreter with those packages and nothing of ours."""
    words = " ".join([str(python.executable), *sorted(requirements)])
    target = Path(f"/tmp/wsgid-venv-{os.geteuid()}-{_digest(words)}")
    done = target / "complete"
    with _locked(target):
        if not done.exists():
            shutil.rmtree(target, ignore_errors=True)
            _make_virtualenv(python, target, requirements)
            done.touch()
    return target


def _make_virtualenv(python: Python, target: Path, requirements: tuple[str, ...]) -> None:
    """Makes the environment with its own pip. Debian's interpreter comes without one; there the
    test runner's pip installs, though it may be too old.
    """
    pip = [target / "bin" / "python", "-m", "pip", "--quiet"]
    done = subprocess.run(
        [python.executable, "-m", "venv", target], check=False, capture_output=True
    )
    if done.returncode != 0:
        subprocess.run(
            [python.executable, "-m", "venv", "--without-pip", target],
            check=True,
            capture_output=True,
        )
        pip = [sys.executable, "-m", "pip", "--quiet", "--python", target / "bin" / "python"]
    if requirements:
        subprocess.run([*pip, "install", *requirements], check=True, capture_output=True, text=True)
    subprocess.run(["chmod", "-R", "a+rX", target], check=True)


def _digest(words: str) -> str:
    return hashlib.sha256(words.encode()).hexdigest()[:12]


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Only one of several test processes makes it; the others wait."""
    with open(f"{target}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
