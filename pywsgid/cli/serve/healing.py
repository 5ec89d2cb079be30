"""Writes the server root of `pywsgid serve` again when something has deleted files of it, as
cleaners of temporary files do with what is old.

Rules: httpd keeps serving meanwhile; a graceful restart, which the caller asks it for, creates its
sockets again. Nothing is written into a directory that somebody else has made in place of ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from pywsgid.cli.messages import Failure, note
from pywsgid.cli.serve.server_root import DIRECTORIES, create_again


class Healer:
    """`root` is complete now; `write` writes all files into it again."""

    def __init__(self, root: str, write: Callable[[], object]) -> None:
        self._root, self._write = root, write
        self._paths = [os.path.join(root, name) for name in DIRECTORIES]
        for directory, _, names in os.walk(root):
            self._paths += [os.path.join(directory, name) for name in names]
        self._is_hopeless = False

    def heal(self) -> bool:
        """Returns whether something was missing and has been written again."""
        if self._is_hopeless or all(os.path.lexists(path) for path in self._paths):
            return False
        try:
            create_again(self._root)
            self._write()
        except Failure as error:
            self._is_hopeless = True
            note(f"files in {self._root} have been deleted, and cannot be written again: {error}")
            return False
        note(
            f"files in {self._root} have been deleted, by a cleaner of temporary files perhaps: "
            "they are written again, and httpd restarts gracefully"
        )
        return True
