"""Finds a script that gets a module of another script in the place of its own.

The scripts of one application group share sys.modules. If two of them have an `app.py` of their
own, `import app` in the second one gives it that of the first: the wrong site, without an error. So
once a script has been loaded, the modules that the process has are compared with those that the
script would get alone: by the sys.path that the daemon has begun with, and what this script has
added to it.

Rules: nothing is imported for it, and no code of the application runs. The first script of a
process is not compared with anything. Sources are read only if there are two files for one name:
the script, or a module of its own, must import that name.
"""

from __future__ import annotations

import sys
from collections import Counter
from importlib.machinery import PathFinder

from pywsgid.daemon.system import _thread, os
from pywsgid.wire.module_files import is_installed, is_same

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    Result = TypeVar("Result")

ANOTHER = "another script"


class Loading:
    """A script that is being loaded, and what there was before."""

    def __init__(self, script: str, number: int, is_alone: bool) -> None:
        self.script = script
        self.number = number
        self.is_alone = is_alone
        self.path = sys.path[:]
        self.modules = set(sys.modules)


class Alone:
    """What a script would get if it were the only one of its process. `first` is the Loading of the
    first script, `added` what the script has added to sys.path.
    """

    def __init__(self, script: str, first: Loading, added: set[str]) -> None:
        self._begun_with = first.modules
        entries = [entry for entry in sys.path if isinstance(entry, str)]
        self.added = {entry for entry in entries if entry in added or is_below(script, entry)}
        self._path = [entry for entry in entries if entry in self.added or entry in first.path]
        self._others = [entry for entry in entries if entry not in self._path]
        self._contents = {entry: contents(entry) for entry in self._path}

    def differing(self) -> Iterator[tuple[str, str, str]]:
        """(module, its file, the file that the script would get) where these are not the same."""
        for name, module in list(sys.modules.items()):
            file = file_of(module)
            if file is None or name in self._begun_with or not is_found_by_path(name):
                continue
            own = self._find(name, any(is_below(file, entry) for entry in self._others))
            if own is not None and not is_same(file, own):
                yield name, file, own

    def _find(self, name: str, is_of_others: bool) -> str | None:
        """The file of a module; None if there is none, or if nobody but Python itself has put it
        there. A finder other than that of sys.path may have chosen another file for all scripts.
        """
        parts = name.split(".")
        for entry in self._path:
            known = self._contents[entry]
            if known is not None and parts[0] not in known:
                continue
            spec = PathFinder.find_spec(name, [os.path.join(entry, *parts[:-1])])
            if spec is not None and spec.has_location:
                return spec.origin if is_of_others or entry in self.added else None
        return None


class ModuleConflicts:
    """The scripts of this process. `report` gets each line, once for each two scripts.
    `application_group` is their application group; None: not known.
    """

    def __init__(
        self, group: str, application_group: str | None, report: Callable[[str], None]
    ) -> None:
        self._group = group
        self._application_group = application_group
        self._report = report
        self._lock = _thread.allocate_lock()
        self._first: Loading | None = None
        self._running = self._begun = 0  # scripts that are being loaded; loads so far
        self._added: dict[str, set[str]] = {}  # script -> what it has added to sys.path
        self._importers: dict[str, str] = {}  # module -> the script that has imported it
        self._reported: set[tuple[str, str]] = set()

    def watch(self, script: str, load: Callable[[], Result]) -> Result:
        """load(), which loads the script; then reports what it got of other scripts. Raises what
        load() raises.
        """
        loading = self._begin(script)
        try:
            return load()
        finally:
            try:
                first = self._end(loading)
                if first is not None:
                    self._compare(loading, first)
            except Exception:
                pass  # whatever finders, modules and files are like: the script is loaded

    def _begin(self, script: str) -> Loading:
        with self._lock:
            self._begun += 1
            loading = Loading(script, self._begun, not self._running)
            self._running += 1
            self._first = self._first or loading
            self._added.setdefault(script, set())
            return loading

    def _end(self, loading: Loading) -> Loading | None:
        """The Loading of the first script, if there are others than this one. What several scripts
        have done at a time is attributed to none.
        """
        with self._lock:
            self._running -= 1
            if loading.is_alone and loading.number == self._begun:
                self._added[loading.script].update(Counter(sys.path) - Counter(loading.path))
                for name in set(sys.modules) - loading.modules:
                    self._importers[name] = loading.script
            return self._first if len(self._added) > 1 else None

    def _compare(self, loading: Loading, first: Loading) -> None:
        alone = Alone(loading.script, first, self._added[loading.script])
        differing = list(alone.differing())
        for source in sources(loading, alone) if differing else ():
            names = imported_by(source)
            for name, file, own in differing:
                other = self._importers.get(name, ANOTHER)
                if name in names and (loading.script, other) not in self._reported:
                    self._reported.add((loading.script, other))
                    self._report(self._line(loading.script, name, file, other, own))

    def _line(self, script: str, name: str, file: str, other: str, own: str) -> str:
        shared = "%{GLOBAL}" if self._application_group == "" else self._application_group or ""
        return (
            "WSGID0379: group %r: script %s imports %r and gets %s, which %s has loaded into the "
            "same process, in the place of %s: remove WSGIApplicationGroup%s, so that each script "
            "has processes of its own, or give this one another WSGIApplicationGroup"
            % (self._group, script, name, file, other, own, shared and " " + shared)
        )


# -------- modules and files


def file_of(module: object) -> str | None:
    """The file of a module; None without one. Does not run code of modules that load themselves
    when they are touched.
    """
    try:
        file = object.__getattribute__(module, "__dict__").get("__file__")
    except AttributeError:
        return None
    return file if isinstance(file, str) else None


def is_found_by_path(name: str) -> bool:
    """Whether sys.path decides which file a module is: it is in no package, or in packages without
    a file (PEP 420).
    """
    parent = name.rpartition(".")[0]
    if not parent:
        return True
    return parent in sys.modules and file_of(sys.modules[parent]) is None


def contents(entry: str) -> set[str] | None:
    """The names that a directory may have modules for: one look for all of them. None if it is no
    directory, but an archive.
    """
    try:
        return {name.partition(".")[0] for name in os.listdir(entry or os.curdir)}
    except NotADirectoryError:
        return None
    except OSError:
        return set()


def is_below(path: str, directory: str) -> bool:
    return path.startswith(directory.rstrip(os.sep) + os.sep)


def sources(loading: Loading, alone: Alone) -> Iterator[str]:
    """The script, and the files of its own modules that it was the first to import."""
    yield loading.script
    for name, module in list(sys.modules.items()):
        file = file_of(module)
        if file is None or name in loading.modules or not file.endswith(".py"):
            continue
        if not is_installed(file) and any(is_below(file, entry) for entry in alone.added):
            yield file


def imported_by(path: str) -> set[str]:
    """The modules that a source file imports by absolute names, with the packages that contain
    them; those, too, that it names in a text, such as "shop.settings". Empty for what is no source.
    """
    import ast  # milliseconds, but only when something is wrong

    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.update("%s.%s" % (node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if "." in node.value and node.value in sys.modules:
                names.add(node.value)
        elif isinstance(node, ast.Call) and called(node.func) in ("import_module", "__import__"):
            names.update(
                argument.value
                for argument in node.args[:1]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            )
    return {name[:at] for name in names for at in ends(name)}


def called(function: object) -> str:
    """The function in a call: `import_module` of `importlib.import_module(...)`."""
    return str(getattr(function, "attr", None) or getattr(function, "id", ""))


def ends(name: str) -> Iterator[int]:
    """Where `a`, `a.b` and `a.b.c` end in `a.b.c`."""
    return (at for at in range(1, len(name) + 1) if at == len(name) or name[at] == ".")
