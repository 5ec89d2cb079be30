"""Chooses the Python interpreter that the application runs under, and runs it to find out whether
it works.

A guess from file modes is not enough: an interpreter also needs its library, its virtualenv and its
shared objects. Rules: it runs as the application's user, isolated (-I), with its output dropped.
"""

from __future__ import annotations

import os
import subprocess
import sys

from pywsgid.cli.file_access import blocked_at
from pywsgid.cli.messages import Failure, note
from pywsgid.cli.serve.site import Site
from pywsgid.cli.users import Identity, name_of, subprocess_options

# Every distribution has it, and makes its own packages for it.
SYSTEM_PYTHON = "/usr/bin/python3"
IS_NEW_ENOUGH = "import sys; sys.exit(sys.version_info < (3, 10))"
# sys.argv: a module, then directories that are searched first. Exit status 0 if it is there.
HAS_MODULE = (
    "import sys; sys.path[:0] = sys.argv[2:]; import importlib.util as u; "
    "sys.exit(u.find_spec(sys.argv[1]) is None)"
)


def interpreter_option(site: Site) -> str:
    """Returns the option of WSGIDaemonProcess that names the interpreter: python=... or
    python-home=... Raises Failure if there is none that works."""
    options = site.options
    for name in ("python", "python-home"):
        if options[name]:
            _check_named(name, executable(site), site.application)
            return f"{name}={options[name]}"
    return "python=" + _default(site.application)


def executable(site: Site) -> str:
    """Returns the path of the interpreter that the site's options name or imply."""
    home: str | None = site.options["python-home"]
    if home:
        places = [os.path.join(home, "bin", name) for name in ("python", "python3")]
        return next((place for place in places if os.path.exists(place)), places[0])
    named: str | None = site.options["python"]
    return named or site.interpreter.partition("=")[2]


def check_module(site: Site) -> None:
    """Raises Failure if the interpreter does not find MODULE of the target MODULE:CALLABLE."""
    module = site.target.module
    places = [*(site.options["python-path"] or []), site.directory]
    if not module or _run(executable(site), site.application, HAS_MODULE, module, *places):
        return
    raise Failure(
        "WSGID0403",
        f"there is no module {module} in {' or '.join(places)}, and none is installed for "
        f"{executable(site)}",
        "correct the name, or name the directory that contains it (--working-directory or "
        "--python-path) or the virtualenv (--python-home)",
    )


def _check_named(option: str, python: str, identity: Identity | None) -> None:
    if not os.path.exists(python):
        raise Failure("WSGID0408", f"--{option}: {python} does not exist", "correct the path")
    if not _works(python, identity):
        raise Failure(
            "WSGID0408",
            f"--{option}: user {name_of(identity)} cannot run {python}"
            f"{_obstacle(python, identity)}, or it is older than Python 3.10",
            "name an interpreter that this user can run, Python 3.10 or later",
        )


def _default(identity: Identity | None) -> str:
    """The interpreter that runs this command, if the application's user can run it; else the one
    that its virtualenv was made from, or the system's. Raises Failure if none works."""
    base = getattr(sys, "_base_executable", None) or sys.executable
    obstacle = _obstacle(sys.executable, identity)
    for python in dict.fromkeys((sys.executable, base, SYSTEM_PYTHON)):
        if _works(python, identity):
            if python != sys.executable:
                note(
                    f"WSGID0409: user {name_of(identity)} cannot run {sys.executable}{obstacle}, "
                    f"so the application runs under {python}: --python names another interpreter"
                )
            return python
    raise Failure(
        "WSGID0408",
        f"user {name_of(identity)} can run neither {sys.executable}{obstacle} nor {SYSTEM_PYTHON}",
        "install Python 3.10 or later where all users can reach it",
    )


def _works(python: str, identity: Identity | None) -> bool:
    return _run(python, identity, IS_NEW_ENOUGH)


def _run(python: str, identity: Identity | None, code: str, *words: str) -> bool:
    """Returns whether the code ended with exit status 0."""
    try:
        done = subprocess.run(
            [python, "-I", "-c", code, *words],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **subprocess_options(identity),
        )
    except OSError:
        return False
    return done.returncode == 0


def _obstacle(path: str, identity: Identity | None) -> str:
    """What a message adds where a directory is in the way."""
    blocked = blocked_at(path, identity, os.X_OK)
    return f" ({blocked} is closed to this user)" if blocked else ""
