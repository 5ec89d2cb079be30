"""Runs an application's interpreter as its daemon would, to find out whether it works and whether
it can import a script.

Rules: everything runs as the group's user, with its environment, in a process of its own. That
process has a time limit, and ends with all that it has started. The output of an application is
dropped. The same interpreter is tried once.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from pywsgid.cli import file_access
from pywsgid.cli.processes import has_exited, signal_session
from pywsgid.cli.users import Identity, subprocess_options
from pywsgid.wire.log_format import printable

# As in apxs/spawn/interpreter.c.
FALLBACKS = ("/usr/bin/python3", "/usr/local/bin/python3")
BUILT_WITH = re.compile(rb"WSGID_PYTHON=(/[^\0]+)\0")
VERSION = "import sys; sys.stdout.write('%d.%d' % sys.version_info[:2])"
LEAST = (3, 10)
# As pywsgid/daemon/transport/extension.py does, in a process that ends with it.
LOAD_EXTENSION = """import sys
try:
    import ctypes
except ImportError:
    import _cffi_backend
else:
    ctypes.CDLL(sys.argv[1])
"""
BUILD = "run `make` in the source tree, or `pip install --force-reinstall pywsgid`"
TEXT_MAX = 2000  # characters of what an interpreter or an import writes
# The line of an interpreter's output that names its problem; tracebacks and lists of paths precede
# it.
PROBLEM_LINE = re.compile(
    r"^\S.*(?:error|cannot|not found|no such|denied|exception).*", re.IGNORECASE | re.MULTILINE
)
POLL_PAUSE = 0.005  # seconds between two checks whether it has exited


@dataclass(frozen=True)
class Launch:
    """How the processes of a daemon group start."""

    python: str
    option: str  # the option that names the interpreter; "" if it is the default
    identity: Identity | None
    variables: dict[str, str]


@dataclass(frozen=True)
class Script:
    """A script to import. Its fields are what import_probe.py gets."""

    script: str
    callable: str
    home: str  # "" if the group has none
    python_path: list[str]
    cwd: str
    group: str


class Problem(NamedTuple):
    """Why an interpreter or a script does not work, and a fix for it; "" if there is no special
    one."""

    what: str
    fix: str = ""
    is_too_old: bool = False


class Ended(NamedTuple):
    """How a process ended. `code` is None if it took too long, or if it could not be executed;
    `refused` says why."""

    code: int | None
    out: str = ""
    err: str = ""
    refused: str = ""


class InterpreterProbe:
    """`module` is the path of a mod_wsgid.so, or None; `timeout` is in seconds. Without `imports`,
    no script is imported."""

    def __init__(self, module: str | None, timeout: float, imports: bool = True) -> None:
        self._built_with = built_with(module)
        self._package = os.path.join(os.path.dirname(module), "pywsgid") if module else None
        self._timeout = timeout
        self._imports = imports
        self._problems: dict[tuple[Any, ...], Problem | None] = {}
        self._extension_problems: dict[tuple[Any, ...], Problem | None] = {}
        # What the scripts that were imported have imported themselves: script -> {name: path}
        self.modules: dict[str, dict[str, str]] = {}
        self.patched: set[str] = set()  # scripts that use gevent's or eventlet's monkey-patching
        path = os.path.join(os.path.dirname(__file__), "import_probe.py")
        with open(path, encoding="utf-8") as file:
            self._source = file.read()

    def default_python(self, identity: Identity | None) -> str:
        """Returns the interpreter of a group that names none: the one that the module was built
        with, or one that its user can run."""
        candidates = dict.fromkeys((self._built_with, *FALLBACKS))
        return next(
            (path for path in candidates if not file_access.blocked_at(path, identity, os.X_OK)),
            self._built_with,
        )

    def interpreter_problem(self, launch: Launch) -> Problem | None:
        """Returns why the interpreter does not work; None if it does."""
        key = _key(launch)
        if key not in self._problems:
            self._problems[key] = self._try(launch)
        return self._problems[key]

    def extension_problem(self, launch: Launch) -> Problem | None:
        """Returns why an interpreter that works cannot load pywsgid's extension; None if it can,
        or if the package beside the module is not known."""
        if self._package is None or not os.path.isdir(self._package):
            return None
        key = _key(launch)
        if key not in self._extension_problems:
            self._extension_problems[key] = self._try_extension(self._package, launch)
        return self._extension_problems[key]

    def _try_extension(self, package: str, launch: Launch) -> Problem | None:
        path = extension_in(package)
        if path is None:
            return Problem(f"it has not been built: there is no _native.*.so in {package}", BUILD)
        if file_access.blocked_at(path, launch.identity, os.R_OK):
            return Problem(f"{path} cannot be read", f"let that user read {path}")
        ended = self._run([launch.python, "-I", "-c", LOAD_EXTENSION, path], launch)
        return None if ended.code == 0 else Problem(self._failure(ended).what, BUILD)

    def _try(self, launch: Launch) -> Problem | None:
        path = launch.python
        blocked = file_access.blocked_at(path, launch.identity, os.X_OK)
        if blocked:
            return _obstacle(launch, blocked)
        if os.path.isdir(path):
            return Problem("it is a directory")
        ended = self._run([path, "-I", "-c", VERSION], launch)
        if ended.code != 0 or not re.fullmatch(r"\d+\.\d+", ended.out):
            return self._failure(ended)
        version = tuple(int(part) for part in ended.out.split("."))
        return None if version >= LEAST else Problem(f"is Python {ended.out}", is_too_old=True)

    def _failure(self, ended: Ended) -> Problem:
        if ended.code is None:
            return Problem(ended.refused or f"it did not end within {self._timeout:g} s")
        named = PROBLEM_LINE.search(ended.err)
        first = next(filter(None, map(str.strip, ended.err.splitlines())), "")
        line = (named[0] if named else first).strip()[:TEXT_MAX]
        what = f"it fails ({_how(ended.code)}{', ' + printable(line) if line else ''})"
        if "shared librar" in line:
            return Problem(
                what, "name the directory of that library (env=LD_LIBRARY_PATH=DIRECTORY)"
            )
        return Problem(what)

    def import_problem(self, launch: Launch, script: Script) -> Problem | None:
        """Returns why the script cannot be imported; None if it can."""
        if not self._imports:
            return None
        reader, writer = os.pipe()
        order = json.dumps({**vars(script), "descriptor": writer})
        command = [launch.python, "-c", self._source, order]
        try:
            ended = self._run(command, launch, shown=False, pass_fds=(writer,))
        finally:
            os.close(writer)
        answer = _read_and_close(reader)
        if answer:
            with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
                found = json.loads(answer)
                self.modules[script.script] = {
                    printable(str(name)[:TEXT_MAX]): printable(str(path)[:TEXT_MAX])
                    for name, path in found["modules"].items()
                }
                if found["patched"]:
                    self.patched.add(script.script)
            return _reported(answer)
        if ended.code is not None:
            what = f"the import ended the process ({_how(ended.code)})"
            return Problem(what, "find the call or the crash that ends it, and correct the script")
        if ended.refused:
            return Problem(ended.refused)
        what = f"the import did not end within {self._timeout:g} s"
        return Problem(what, "allow more time (--timeout SECONDS), or find out what it waits for")

    def _run(self, command: list[str], launch: Launch, shown: bool = True, **options: Any) -> Ended:
        """Runs a command until it ends or its time is over. Returns its output only if `shown`; it
        must be less than a pipe holds."""
        output = subprocess.PIPE if shown else subprocess.DEVNULL
        try:
            process = subprocess.Popen(
                command,
                cwd="/",
                env=launch.variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                text=True,
                errors="replace",
                start_new_session=True,
                **subprocess_options(launch.identity),
                **options,
            )
        except OSError as error:
            return Ended(None, refused=f"it cannot be executed ({error.strerror})")
        deadline = time.monotonic() + self._timeout
        while not has_exited(process) and time.monotonic() < deadline:
            time.sleep(POLL_PAUSE)
        in_time = has_exited(process)
        signal_session(process, signal.SIGKILL)
        out, err = process.communicate()
        return Ended(process.returncode, out or "", err or "") if in_time else Ended(None)


def _key(launch: Launch) -> tuple[Any, ...]:
    return launch.python, launch.identity, tuple(sorted(launch.variables.items()))


def extension_in(package: str) -> str | None:
    """Returns the path of the extension that the daemon would load through ctypes; None if there
    is none."""
    names = [name for name in os.listdir(package) if re.fullmatch(r"_native\..*\.so", name)]
    return (
        os.path.join(package, min(names, key=lambda name: (".abi3." not in name, name)))
        if names
        else None
    )


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def _obstacle(launch: Launch, blocked: str) -> Problem:
    """The problem of a user that cannot execute the interpreter because of `blocked`."""
    path = launch.python
    if not os.path.exists(blocked):
        if not os.path.lexists(path):
            is_virtualenv = launch.option not in ("", "python")
            return Problem(
                "it does not exist", "create the virtual environment" if is_virtualenv else ""
            )
        # Typically a virtual environment that has outlived the Python it was made from.
        return Problem(
            f"it is a symbolic link to {os.path.realpath(path)}, which does not exist",
            "create the virtual environment again",
        )
    if blocked == path:
        return Problem("this user may not execute it", f"run `chmod o+rx {path}`")
    return Problem(f"{blocked} is closed to this user", f"run `chmod o+x {blocked}`")


def _reported(answer: bytes) -> Problem | None:
    """What import_probe.py reports. The application can write to its descriptor, too."""
    try:
        fields = json.loads(answer)
        error = fields["error"] if isinstance(fields, dict) else None
    except (ValueError, KeyError, RecursionError):
        error = None
    if not isinstance(error, str):
        return Problem(
            "the result of the import is unknown, because the script writes to file descriptors "
            "that it did not open",
            "correct the script",
        )
    return Problem(printable(error[:TEXT_MAX])) if error else None


def _read_and_close(pipe: int) -> bytes:
    """Reads what is in the pipe now. A process that the application has left behind may keep the
    pipe open, so this does not wait for its end."""
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, 65536)
    except BlockingIOError:
        return b""
    finally:
        os.close(pipe)


def built_with(module: str | None) -> str:
    """Returns the interpreter whose path is compiled into a module (apxs/spawn/interpreter.c)."""
    with suppress(OSError):
        with open(module or "", "rb") as file:
            match = BUILT_WITH.search(file.read())
        if match:
            return os.fsdecode(match[1])
    return FALLBACKS[0]
