"""Writes files and directories of a server root.

Rules: root may run this, and the application's user may be able to write to a directory in it. So a
file is always created anew and never opened: a link may be in its place. Every error is a Failure
that names the path.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from pywsgid.cli.messages import Failure
from pywsgid.cli.users import Identity


def write(path: str, text: str, mode: int = 0o644, owner: Identity | None = None) -> str:
    """Writes a text file, and returns its path."""
    with created(path, mode, owner) as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    return path


def copy_file(path: str, directory: str) -> str:
    """Copies a file into a directory, and returns the path of the copy."""
    copy = os.path.join(directory, os.path.basename(path))
    with open(path, "rb") as source, created(copy) as file:
        shutil.copyfileobj(source, file)
    return copy


@contextmanager
def created(path: str, mode: int = 0o644, owner: Identity | None = None) -> Iterator[BinaryIO]:
    """Yields a new file that replaces what is there. It gets its mode and owner once it is
    written."""
    try:
        with suppress(FileNotFoundError):
            os.unlink(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            yield file
            os.fchmod(descriptor, mode)
            if owner:
                os.fchown(descriptor, owner.uid, owner.gid)
    except OSError as error:
        raise unwritable(path, error) from error


def remove(path: str) -> None:
    """Removes a file if it exists."""
    try:
        with suppress(FileNotFoundError):
            os.unlink(path)
    except OSError as error:
        raise unwritable(path, error) from error


def make_directory(path: str) -> None:
    """Creates a directory that all users can enter, whatever the umask is. Leaves one that exists
    as it is."""
    try:
        if not os.path.isdir(path):
            os.makedirs(path)
            os.chmod(path, 0o755)
    except OSError as error:
        raise Failure(
            "WSGID0411",
            f"the directory {error.filename} cannot be created ({error.strerror})",
            "name a directory in a place where you may write",
        ) from error


def change_owner(path: str, uid: int, gid: int) -> None:
    """Makes a directory that user's own: nobody else may write to it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, 0o755)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unwritable(path, error) from error


def open_to_all(top: str) -> None:
    """Lets all users read a directory with everything in it."""
    for directory, _, names in os.walk(top):
        os.chmod(directory, 0o755)
        for name in names:
            os.chmod(os.path.join(directory, name), 0o644)


def unwritable(path: str, error: OSError) -> Failure:
    """Returns the failure for a path that cannot be written."""
    return Failure(
        "WSGID0411",
        f"{path} cannot be written ({error.strerror})",
        "name a directory in which you may write",
    )
