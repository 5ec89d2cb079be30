"""The environment variables that a daemon process of a group gets, as apxs/spawn/environment.c
makes them.

Only TZ is missing: it is httpd's own.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, suppress
from typing import TextIO

from pywsgid.cli.check.wsgi_conf import Group
from pywsgid.cli.users import Identity, account_variables

# As in apxs/spawn/environment.c.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_LANG = "C.UTF-8"
MAX_LINKS = 40
FOREIGN_LINK = (
    "a symbolic link on the way does not belong to root, so its owner could have any file read",
    "name the file itself, or give the link to root (chown -h root)",
)


class NotSafe(OSError):
    """Why root must not open a file: the problem and the fix."""


def environment(python: str, identity: Identity | None, group: Group, root: str) -> dict[str, str]:
    """Returns all variables. `root` is the ServerRoot; env-file= may be relative to it."""
    home = os.path.dirname(os.path.dirname(python))
    made = {"PATH": SEARCH_PATH, "LANG": group.get("lang") or DEFAULT_LANG}
    made |= account_variables(identity)
    if os.path.exists(os.path.join(home, "pyvenv.cfg")):
        made |= {"PATH": f"{home}/bin:{SEARCH_PATH}", "VIRTUAL_ENV": home}
    if group.get("locale"):
        made["LC_ALL"] = group.get("locale") or ""
    return made | assigned(group, root)


def assigned(group: Group, root: str) -> dict[str, str]:
    """Returns the variables of env-file= and env=."""
    found: dict[str, str] = {}
    for path in group.all("env-file"):
        found |= _from_file(os.path.join(root, path))
    return found | dict(
        assignment.split("=", 1) for assignment in group.all("env") if "=" in assignment
    )


def open_env_file(path: str) -> TextIO:
    """Opens a file of env-file=, perhaps as root, in a place that the application may control.

    Raises OSError; NotSafe, with the problem and the fix, for what the module refuses.
    """
    descriptor = _walk(path)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotSafe("it is not a regular file", "name one")
        name = f"/proc/self/fd/{descriptor}"
        return open(name, encoding="utf-8", errors="surrogateescape")
    finally:
        os.close(descriptor)


def _walk(path: str) -> int:
    """Walks along a path, and follows only links that root, or this user, has made. Returns a
    descriptor (O_PATH), which the caller closes."""
    with ExitStack() as opened:

        def enter(name: str, directory: int | None = None) -> int:
            descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=directory)
            opened.callback(os.close, descriptor)
            return descriptor

        at, rest, links = enter("/"), path, 0
        while rest := rest.lstrip("/"):
            name, _, rest = rest.partition("/")
            found = enter(name, at)
            there = os.fstat(found)
            if not stat.S_ISLNK(there.st_mode):
                at = found
                continue
            if there.st_uid not in (0, os.geteuid()) or links == MAX_LINKS:
                raise NotSafe(*FOREIGN_LINK)
            links += 1
            rest = f"{os.readlink('', dir_fd=found)}/{rest}"
            at = enter("/") if rest.startswith("/") else at
        return os.dup(at)


def _from_file(path: str) -> dict[str, str]:
    """NAME=VALUE lines. Any other line is left to the daemon, which refuses it."""
    found: dict[str, str] = {}
    with suppress(OSError), open_env_file(path) as file:
        for line in file:
            name, equals, value = line.strip().partition("=")
            if equals and name.isidentifier():
                quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
                found[name] = value[1:-1] if quoted else value
    return found
