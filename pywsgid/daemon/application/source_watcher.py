"""The thread of `pywsgid serve --reload` that notices changed sources.

Only the development mode uses it. In production reload=hot checks the script alone (reloader.py).
"""

from __future__ import annotations

import sys

import pywsgid
from pywsgid.daemon.application.loader import stamp_of
from pywsgid.daemon.system import _thread, os, time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pywsgid.daemon.interfaces import Stamp

INTERVAL = 0.2  # seconds between two checks, at least
SHARE = 20  # the checks may take one part in so many of the time
# Frameworks keep templates in memory, too.
SOURCES = (".py", ".html", ".jinja", ".jinja2", ".j2", ".mako")
SKIPPED = ("__pycache__", "node_modules", "site-packages", "dist-packages")  # directories


class Watcher:
    """Touches the file `touch` when a source changes, appears or disappears: one of `files`, one in
    `directories`, or a module that is loaded.
    """

    def __init__(self, files: Sequence[str], directories: Sequence[str], touch: str) -> None:
        self._files = files
        self._directories = directories
        self._touch = touch
        self._known = self._scan()  # before the application is loaded, so that no change is missed

    def start(self) -> None:
        """Starts the thread."""
        _thread.start_new_thread(self.run, ())

    def run(self) -> None:
        pause = INTERVAL
        while True:
            time.sleep(pause)
            began = time.monotonic()
            found = self._scan()
            changed = sorted(self._changed(found))
            self._known = found
            if changed:
                print("pywsgid: %s changed: loading the application again" % ", ".join(changed))
                self._trigger()
            pause = max(INTERVAL, SHARE * (time.monotonic() - began))

    def _changed(self, found: dict[str, Stamp]) -> Iterator[str]:
        """Files that differ from the last scan. A file elsewhere that is new has just been loaded,
        which is not a change.
        """
        for path in self._known.keys() | found.keys():
            inside = any(
                path.startswith(directory.rstrip(os.sep) + os.sep)
                for directory in self._directories
            )
            if self._known.get(path) != found.get(path) and (inside or path in self._known):
                yield path

    def _trigger(self) -> None:
        try:
            os.utime(self._touch)
        except OSError as error:
            print(
                "pywsgid: %s cannot be touched: %s" % (self._touch, error.strerror), file=sys.stderr
            )

    def _scan(self) -> dict[str, Stamp]:
        """{path: stamp} of all sources that exist."""
        found: dict[str, Stamp | None] = {}
        for path in [*self._files, *loaded_sources()]:
            found[path] = stamp_of(path)
        for directory in self._directories:
            walk(directory, found)
        return {path: stamp for path, stamp in found.items() if stamp}


def walk(directory: str, found: dict[str, Stamp | None]) -> None:
    """Adds the sources below a directory to `found`, except those of virtualenvs and the like."""
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in SKIPPED:
            continue
        if entry.name.endswith(SOURCES):
            found[entry.path] = stamp_of(entry.path)
        elif entry.is_dir(follow_symlinks=False):
            walk(entry.path, found)


def loaded_sources() -> Iterator[str]:
    """The files of loaded modules, except those of Python, pywsgid and installed packages."""
    others = (os.path.abspath(pywsgid.__path__[0]) + os.sep, os.path.dirname(os.__file__) + os.sep)
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.endswith(".py") and not path.startswith(others):
            if not any(name in SKIPPED for name in path.split(os.sep)):
                yield path
