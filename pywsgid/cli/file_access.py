"""Whether a user can reach a file, and which directory is in the way if not.

A forked process becomes that user and tries, so that modes, groups and access lists all count.
Rules: no file is opened or changed. Nothing here may be used where threads run, because it forks.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from pywsgid.cli.users import Identity


def blocked_at(path: str, identity: Identity | None, needs: int = os.R_OK) -> str | None:
    """Returns the first directory on the way to `path` that the user cannot enter; `path` itself
    if the user can get there but lacks the permissions `needs` (os.R_OK, ...); None if all is well.
    """
    return first_blocked([path], identity, needs)


def first_blocked(paths: list[str], identity: Identity | None, needs: int = os.R_OK) -> str | None:
    """Returns blocked_at() of the first of `paths` that the user cannot reach; None if there is
    none."""
    if identity is None:
        return _first_blocked(paths, needs)
    return _as_user(identity, lambda: _first_blocked(paths, needs), paths[0])


def first_writable(path: str, identity: Identity) -> str | None:
    """Returns the first directory on the way to `path`, or `path`, in which the user can replace
    what is there; None if there is none."""
    return _as_user(identity, lambda: _first_writable(path), path)


def writable_by_all(path: str) -> str | None:
    """Returns the first directory on the way to `path`, or `path`, in which every user can replace
    what is there; None if there is none."""
    for way in _ways(path):
        for directory in (*_parents(way), way):
            try:
                mode = os.stat(directory).st_mode
            except OSError:
                break
            if mode & stat.S_IWOTH and not (mode & stat.S_ISVTX and directory != way):
                return directory
    return None


def _as_user(identity: Identity, find: Callable[[], str | None], otherwise: str) -> str | None:
    """Returns what `find` returns as that user; `otherwise` if this process cannot become it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _find_and_exit(identity, find, writer)
    os.close(writer)
    with open(reader, "rb") as answer:
        text = os.fsdecode(answer.read())
    _, status = os.waitpid(pid, 0)
    return otherwise if status else text or None


def _find_and_exit(identity: Identity, find: Callable[[], str | None], writer: int) -> None:
    """Becomes the user for good, writes what `find` returns, and ends this (forked) process."""
    status = 1
    try:
        os.initgroups(identity.name, identity.gid)
        os.setgid(identity.gid)
        os.setuid(identity.uid)
        os.write(writer, os.fsencode(find() or ""))
        status = 0
    finally:
        os._exit(status)


def _first_writable(path: str) -> str | None:
    for way in _ways(path):
        for directory in (*_parents(way), way):
            try:
                found = os.stat(directory)
            except OSError:
                break  # the user gets no further on this way
            # In a sticky directory (/tmp), a user cannot replace what belongs to others.
            is_sticky = found.st_mode & stat.S_ISVTX and directory != way
            needs = os.W_OK | os.X_OK if stat.S_ISDIR(found.st_mode) else os.W_OK
            may_write = os.access(directory, needs, effective_ids=True)
            if found.st_uid == os.geteuid() or (may_write and not is_sticky):
                return directory
    return None


def _first_blocked(paths: list[str], needs: int) -> str | None:
    return next((blocked for path in paths if (blocked := _blocked_at(path, needs))), None)


def _blocked_at(path: str, needs: int) -> str | None:
    for way in _ways(path):
        for directory in _parents(way):
            if not os.access(directory, os.X_OK, effective_ids=True):
                return directory
    return None if os.access(path, needs, effective_ids=True) else path


def _ways(path: str) -> Iterator[str]:
    """The path as written and, where symbolic links lead elsewhere, the real path."""
    return iter(dict.fromkeys((os.path.abspath(path), os.path.realpath(path))))


def _parents(path: str) -> list[str]:
    """The directories above `path`, from / downwards."""
    parents = []
    while path != os.path.dirname(path):
        path = os.path.dirname(path)
        parents.append(path)
    return parents[::-1]
