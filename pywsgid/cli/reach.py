"""Who can reach a file: asked by becoming that user in a forked process, so that modes, groups and
access lists count.

Rules: nothing is changed, nothing is opened; the answer names the first thing in the way, because
that is what a person has to mend. For the command line only: it forks, so it must not be used where
threads run.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Who serves pages on Debian, Fedora and RHEL, Arch; an account that exists everywhere comes last.
WEB_USERS = ("www-data", "apache", "http", "nobody")


@dataclass(frozen=True)
class Identity:
    """A user with the groups that the system's database gives it."""

    name: str
    uid: int
    gid: int


def identity_of(name: str) -> Identity:
    """Of a name or #UID. KeyError if there is no such user."""
    entry = (
        pwd.getpwuid(int(name[1:]))
        if name.startswith("#") and name[1:].isdecimal()
        else pwd.getpwnam(name)
    )
    return Identity(entry.pw_name, entry.pw_uid, entry.pw_gid)


def daemon_identity() -> Identity | None:
    """Whom requests are served as: root becomes the web server's user, everybody else stays who
    they are (None).
    """
    if os.geteuid() != 0:
        return None
    for name in WEB_USERS:
        try:
            return identity_of(name)
        except KeyError:
            continue
    raise LookupError("none of the users " + ", ".join(WEB_USERS))


def group_id(name: str) -> int | None:
    """The number of a group, by name or #GID; None if there is none."""
    if name.startswith("#") and name[1:].isdecimal():
        return int(name[1:])
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def account(identity: Identity | None) -> dict[str, str]:
    """HOME, USER and LOGNAME of that user."""
    try:
        entry = pwd.getpwuid(identity.uid if identity else os.geteuid())
    except KeyError:
        return {"HOME": "/"}
    home = entry.pw_dir if entry.pw_dir.startswith("/") else "/"
    return {"HOME": home, "USER": entry.pw_name, "LOGNAME": entry.pw_name}


def becoming(identity: Identity | None) -> dict[str, Any]:
    """What subprocess needs to run something as that user."""
    if identity is None:
        return {}
    groups = os.getgrouplist(identity.name, identity.gid)
    return {"user": identity.uid, "group": identity.gid, "extra_groups": groups}


def in_the_way(path: str, identity: Identity | None, needs: int = os.R_OK) -> str | None:
    """The first directory on the way to `path` that `identity` cannot enter; `path` if `needs`
    fails; else None.
    """
    return first_in_the_way([path], identity, needs)


def first_in_the_way(
    paths: list[str], identity: Identity | None, needs: int = os.R_OK
) -> str | None:
    """in_the_way() of the first of `paths` that has something in its way."""
    if identity is None:
        return _walk_all(paths, needs)
    return _asked(identity, lambda: _walk_all(paths, needs), paths[0])


def first_writable(path: str, identity: Identity) -> str | None:
    """The first directory on the way to `path`, itself included, in which `identity` can put
    something else in the place of what is there; None if there is none."""
    return _asked(identity, lambda: _first_writable(path), path)


def _asked(identity: Identity, look: Callable[[], str | None], otherwise: str) -> str | None:
    """What `look` finds as that user; `otherwise` if nobody can become it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _answer(identity, look, writer)
    os.close(writer)
    with open(reader, "rb") as answer:
        text = os.fsdecode(answer.read())
    _, status = os.waitpid(pid, 0)
    return otherwise if status else text or None


def _answer(identity: Identity, look: Callable[[], str | None], writer: int) -> None:
    """In the forked process: becomes the user for good, writes what it finds, leaves."""
    status = 1
    try:
        os.initgroups(identity.name, identity.gid)
        os.setgid(identity.gid)
        os.setuid(identity.uid)
        os.write(writer, os.fsencode(look() or ""))
        status = 0
    finally:
        os._exit(status)


def _first_writable(path: str) -> str | None:
    for way in dict.fromkeys((os.path.abspath(path), os.path.realpath(path))):
        for directory in (*_parents(way), way):
            try:
                found = os.stat(directory)
            except OSError:
                break  # nor does it get any further
            # In a sticky directory, what is another's stays.
            is_shared = found.st_mode & stat.S_ISVTX and directory != way
            may_write = (
                os.access(directory, os.W_OK | os.X_OK, effective_ids=True) and not is_shared
            )
            if found.st_uid == os.geteuid() or may_write:
                return directory
    return None


def _walk_all(paths: list[str], needs: int) -> str | None:
    return next((blocked for path in paths if (blocked := _walk(path, needs))), None)


def _walk(path: str, needs: int) -> str | None:
    """Both the way as it is written and the way that it really goes, should a symbolic link lead
    elsewhere.
    """
    for way in dict.fromkeys((os.path.abspath(path), os.path.realpath(path))):
        for directory in _parents(way):
            if not os.access(directory, os.X_OK, effective_ids=True):
                return directory
    return None if os.access(path, needs, effective_ids=True) else path


def _parents(path: str) -> list[str]:
    parents = []
    while path != os.path.dirname(path):
        path = os.path.dirname(path)
        parents.append(path)
    return parents[::-1]
