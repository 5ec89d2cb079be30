"""Tries interpreters and imports the way that a daemon will: as its user, in its interpreter, with
its environment.

For `pywsgid check`. Rules: everything runs in a process of its own with a time limit, in a session
of its own that is ended with it; an application's own output is not shown. The same question is
asked once.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from typing import Any, NamedTuple

from pywsgid.cli import reach
from pywsgid.cli.check.wsgi_conf import Group
from pywsgid.cli.reach import Identity
from pywsgid.cli.serve.foreground import has_exited, signal_session
from pywsgid.wire.log_format import printable

# apxs/spawn/environment.c and apxs/spawn/interpreter.c.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
USUAL_LANG = "C.UTF-8"
FALLBACKS = ("/usr/bin/python3", "/usr/local/bin/python3")
BUILT_WITH = re.compile(rb"WSGID_PYTHON=(/[^\0]+)\0")
VERSION = "import sys; sys.stdout.write('%d.%d' % sys.version_info[:2])"
LEAST = (3, 10)
LONGEST = 2000  # characters of what an interpreter or an import says
# What of an interpreter's last words says most: tracebacks and lists of paths stand before it.
TELLING = re.compile(
    r"^\S.*(?:error|cannot|not found|no such|denied|exception).*", re.IGNORECASE | re.MULTILINE
)
PERMISSION, FAILURE, OLD = "permission", "failure", "old"
LOOK = 0.005  # seconds between two looks whether it has ended; its output is less than a pipe holds


class Problem(NamedTuple):
    """Why an interpreter cannot be used. `kind` is PERMISSION, FAILURE or OLD."""

    kind: str
    what: str


class Ended(NamedTuple):
    """How a process ended. No code if it took too long; `refused` if it could not even be
    executed."""

    code: int | None
    out: str = ""
    err: str = ""
    refused: str = ""


class Importer:
    """`module` is a mod_wsgid.so, or None; `timeout` in seconds; without `imports` no application
    is imported.
    """

    def __init__(self, module: str | None, timeout: float, imports: bool = True) -> None:
        self._built_with = built_with(module)
        self._timeout = timeout
        self._imports = imports
        self._problems: dict[tuple[Any, ...], Problem | None] = {}
        with open(
            os.path.join(os.path.dirname(__file__), "import_probe.py"), encoding="utf-8"
        ) as file:
            self._probe = file.read()

    def default_python(self, identity: Identity | None) -> str:
        """What a group gets that names none: what the module was built with, or what its user can
        run.
        """
        candidates = dict.fromkeys((self._built_with, *FALLBACKS))
        return next(
            (path for path in candidates if not reach.in_the_way(path, identity, os.X_OK)),
            self._built_with,
        )

    def interpreter_problem(
        self, path: str, identity: Identity | None, group: Group, root: str
    ) -> Problem | None:
        """Why that user cannot run it with that group's environment, or None."""
        variables = environment(path, identity, group, root)
        key = path, identity, tuple(sorted(variables.items()))
        if key not in self._problems:
            self._problems[key] = self._try(path, identity, variables)
        return self._problems[key]

    def _try(
        self, path: str, identity: Identity | None, variables: dict[str, str]
    ) -> Problem | None:
        if not os.path.lexists(path):
            return Problem(FAILURE, "it is not there")
        blocked = reach.in_the_way(path, identity, os.X_OK)
        if blocked:
            what = (
                f"{blocked} is closed to it" if blocked != path else "it is not executable for it"
            )
            return Problem(PERMISSION, what)
        if os.path.isdir(path):
            return Problem(FAILURE, "it is a directory")
        ended = self._run([path, "-I", "-c", VERSION], identity, variables)
        if ended.code != 0 or not re.fullmatch(r"\d+\.\d+", ended.out):
            return Problem(FAILURE, self._why(ended))
        version = tuple(int(part) for part in ended.out.split("."))
        return None if version >= LEAST else Problem(OLD, f"is Python {ended.out}")

    def _why(self, ended: Ended) -> str:
        if ended.code is None:
            return ended.refused or f"it did not end within {self._timeout:g} s"
        telling = TELLING.search(ended.err)
        said = (
            telling[0]
            if telling
            else next(filter(None, map(str.strip, ended.err.splitlines())), "")
        )
        how = f"signal {-ended.code}" if ended.code < 0 else f"exit status {ended.code}"
        return f"it does not work ({how}{', ' + printable(said.strip()[:LONGEST]) if said else ''})"

    def import_problem(
        self, python: str, identity: Identity | None, *, group: Group, root: str, **order: Any
    ) -> str | None:
        """What is wrong with the script that `order` names (import_probe.py), or None."""
        if not self._imports:
            return None
        reader, writer = os.pipe()
        words = json.dumps({**order, "descriptor": writer})
        try:
            ended = self._run(
                [python, "-c", self._probe, words],
                identity,
                environment(python, identity, group, root),
                pass_fds=(writer,),
                shown=False,
            )
        finally:
            os.close(writer)
        answer = what_is_in(reader)
        if answer:
            return told_in(answer)
        if ended.code is None:
            return ended.refused or f"its import did not end within {self._timeout:g} s (--timeout)"
        how = f"signal {-ended.code}" if ended.code < 0 else f"exit status {ended.code}"
        return f"its import ended the process ({how})"

    def _run(
        self,
        command: list[str],
        identity: Identity | None,
        environment: dict[str, str],
        shown: bool = True,
        **options: Any,
    ) -> Ended:
        """Its output only if `shown`. It is gone with all that it started."""
        output = subprocess.PIPE if shown else subprocess.DEVNULL
        try:
            process = subprocess.Popen(
                command,
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                text=True,
                errors="replace",
                start_new_session=True,
                **reach.becoming(identity),
                **options,
            )
        except OSError as error:
            return Ended(None, refused=f"it cannot be executed ({error.strerror})")
        deadline = time.monotonic() + self._timeout
        while not has_exited(process) and time.monotonic() < deadline:
            time.sleep(LOOK)
        in_time = has_exited(process)
        # Before it is reaped: its number is its own, and the session's, only until then.
        signal_session(process, signal.SIGKILL)
        out, err = process.communicate()
        return Ended(process.returncode, out or "", err or "") if in_time else Ended(None)


def told_in(answer: bytes) -> str | None:
    """What import_probe.py says is wrong, or None. The application can write there, too."""
    try:
        said = json.loads(answer)
        error = said["error"] if isinstance(said, dict) else None
    except (ValueError, KeyError, RecursionError):
        error = None
    if not isinstance(error, str):
        return (
            "how its import went is not understood: it writes to descriptors that are not its own"
        )
    return printable(error[:LONGEST]) or None


def what_is_in(pipe: int) -> bytes:
    """Closes it. Does not wait for its end, which a process that the application has left behind
    may keep open.
    """
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, 65536)
    except BlockingIOError:
        return b""
    finally:
        os.close(pipe)


def built_with(module: str | None) -> str:
    """The interpreter that was compiled into a module (apxs/spawn/interpreter.c)."""
    with suppress(OSError):
        with open(module or "", "rb") as file:
            match = BUILT_WITH.search(file.read())
        if match:
            return os.fsdecode(match[1])
    return FALLBACKS[0]


def environment(python: str, identity: Identity | None, group: Group, root: str) -> dict[str, str]:
    """As apxs/spawn/environment.c makes it: from nothing, then env-file=, then env=. But for TZ,
    which is httpd's own.
    """
    account = reach.account(identity)
    home = os.path.dirname(os.path.dirname(python))
    made = {"PATH": SEARCH_PATH, "LANG": group.get("lang") or USUAL_LANG, **account}
    if os.path.exists(os.path.join(home, "pyvenv.cfg")):
        made |= {"PATH": f"{home}/bin:{SEARCH_PATH}", "VIRTUAL_ENV": home}
    if group.get("locale"):
        made["LC_ALL"] = group.get("locale") or ""
    return made | assigned(group, root)


def assigned(group: Group, root: str) -> dict[str, str]:
    """What env-file= and env= say."""
    found = {}
    for path in group.all("env-file"):
        found |= from_file(os.path.join(root, path))
    return found | dict(
        assignment.split("=", 1) for assignment in group.all("env") if "=" in assignment
    )


def from_file(path: str) -> dict[str, str]:
    """NAME=VALUE lines; whatever else stands there is the daemon's to refuse."""
    found = {}
    with suppress(OSError), open(path, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            name, equals, value = line.strip().partition("=")
            if equals and name.isidentifier():
                quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
                found[name] = value[1:-1] if quoted else value
    return found
