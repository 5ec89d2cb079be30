"""From a script file to the application object.

Rules: a script is a module of its own, named after its path, compiled from its source and kept in
sys.modules; its directory is not added to sys.path. It is loaded once, by whoever needs it first,
under a lock of its own, so that a slow script does not hold up another one.

What cannot be loaded is a LoadFailure: one line that says why and what to do, and the traceback if
the script raised. It is remembered for RETRY_AFTER seconds or until the file changes. Then the
script is tried again. Where depends on the process:
- Nothing else is loaded here: the process leaves, and a clean one tries (LEAVE). A second import in
  the same process meets what the first has half imported, registered or patched, and shows an
  error that is not the real one.
- Another script of this process is loaded: it is tried again here, as the other one must not
  suffer.
"""

from __future__ import annotations

import binascii
import builtins
import errno
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader

from pywsgid.daemon import logs
from pywsgid.daemon.application import decisions, signal_calls
from pywsgid.daemon.application.module_conflicts import ModuleConflicts
from pywsgid.daemon.system import _thread, os, time
from pywsgid.wire import django_settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from pywsgid.daemon.interfaces import Application, Stamp

    Owner = tuple[int, int]  # script-user= and script-group=; -1: anybody

# Seconds: long enough not to import in a loop, short enough not to be noticed after a fix.
RETRY_AFTER = 2.0

# The outcome of a load: loaded; failed right now; failed before and not tried again yet; to be
# tried again by another process.
LOADED, FAILED_NOW, FAILED_BEFORE, LEAVE = range(4)


class LoadFailure(Exception):
    """A script or its callable cannot be had. The text has code, cause and fix; `trace` is a
    traceback or "".
    """

    def __init__(self, text: str, trace: str = "") -> None:
        super().__init__(text)
        self.trace = trace


class Script:
    """One script file and its module, None until it is loaded.

    `stamp` is stamp_of() the file that was loaded; `reload_required` is the script's own function
    of that name or None; `is_watched` whether reload=hot checks it.
    """

    __slots__ = (
        *("path", "module", "stamp", "is_watched", "reload_required"),
        *("_owner", "_conflicts", "_lock", "_failure", "_failed_at", "_failed_stamp"),
    )

    def __init__(self, path: str, owner: Owner, conflicts: ModuleConflicts) -> None:
        self.path = path
        self._owner = owner
        self._conflicts = conflicts
        self.module: ModuleType | None = None
        self.stamp: Stamp | None = None
        self.is_watched = True
        self.reload_required: Callable[[str], object] | None = None
        self._lock = _thread.allocate_lock()
        self._failure: LoadFailure | None = None
        self._failed_at = 0.0
        self._failed_stamp: Stamp | None = None

    def load(self, may_retry_here: Callable[[], bool]) -> tuple[int, LoadFailure | None]:
        """(LOADED, None), (FAILED_NOW, failure), (FAILED_BEFORE, failure) or (LEAVE, failure)."""
        with self._lock:
            if self.module is not None:
                return LOADED, None
            if self._failure is not None:
                if not self._is_due():
                    return FAILED_BEFORE, self._failure
                if not may_retry_here():
                    return LEAVE, self._failure
            return self._try()

    def _is_due(self) -> bool:
        """Whether a script that has failed may be tried again."""
        return (
            time.monotonic() - self._failed_at >= RETRY_AFTER
            or stamp_of(self.path) != self._failed_stamp
        )

    def _try(self) -> tuple[int, LoadFailure | None]:
        stamp = stamp_of(self.path)
        try:
            module = self._conflicts.watch(self.path, lambda: import_script(self.path, self._owner))
        except LoadFailure as failure:
            self._failure, self._failed_at, self._failed_stamp = failure, time.monotonic(), stamp
            return FAILED_NOW, failure
        self._failure = None
        self.stamp = stamp
        reload_required = getattr(module, "reload_required", None)
        self.reload_required = reload_required if callable(reload_required) else None
        # Last: other threads read `module` without the lock, and then everything else.
        self.module = module
        return LOADED, None


class Loader:
    """The scripts of this process. `on_load` is called with a Script that is loaded and the name of
    the callable, perhaps more than once for the same. `owner` is who a script must belong to, and
    `conflicts` watches what they import.
    """

    def __init__(
        self,
        on_load: Callable[[Script, str], None] | None = None,
        owner: Owner = (-1, -1),
        conflicts: ModuleConflicts | None = None,
    ) -> None:
        self._owner = owner
        self._conflicts = conflicts or ModuleConflicts("", None, lambda line: None)
        self._scripts: dict[str, Script] = {}
        self._lock = _thread.allocate_lock()
        self._callables: dict[tuple[str, str], Application] = {}  # (path, name) -> it
        self._on_load = on_load

    def find(self, path: str, name: str) -> Application | None:
        """The callable `name` of a script if a request has used it before, else None. Each worker
        asks once and remembers it.
        """
        return self._callables.get((path, name))

    def get(self, path: str | None) -> Script | None:
        """The loaded Script of a path, or None."""
        # Not get(), for the reason given in logs.request_mark().
        script = self._scripts[path] if path is not None and path in self._scripts else None
        return script if script is not None and script.module is not None else None

    def loaded(self) -> list[Script]:
        """The scripts that are loaded."""
        with self._lock:
            return [script for script in self._scripts.values() if script.module is not None]

    def load(
        self, path: str, name: str, remember: bool = True
    ) -> tuple[int, Application | LoadFailure]:
        """(LOADED, what find() returns) or (another outcome, the LoadFailure). With `remember`,
        find() finds it from now on. Without a name, what is found is the module.
        """
        script = self._script(path)
        state, failure = script.load(self._has_loaded)
        if failure is not None:
            return state, failure
        try:
            found = look_up(script, name)
        except LoadFailure as error:
            return FAILED_NOW, error
        if self._on_load is not None:
            self._on_load(script, name)
        if remember:
            self._callables[path, name] = found
        return LOADED, found

    def _script(self, path: str) -> Script:
        with self._lock:
            script = self._scripts.get(path)
            if script is None:
                script = self._scripts[path] = Script(path, self._owner, self._conflicts)
            return script

    def _has_loaded(self) -> bool:
        """Whether any script of this process is loaded."""
        with self._lock:
            return any(script.module is not None for script in self._scripts.values())


# -------- a script


def stamp_of(path: str) -> Stamp | None:
    """A value that changes when the file changes; None if there is no such file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def module_name(path: str) -> str:
    """`_mod_wsgi_` and a checksum of the path: the same in every process, so that an object which
    was pickled in one can be unpickled in another. Applications ask for this beginning of
    `__name__` to know that a server has loaded them.
    """
    name = "_mod_wsgi_%08x" % binascii.crc32(os.fsencode(path))
    while name in sys.modules and getattr(sys.modules[name], "__file__", None) != path:
        name += "_"  # two paths have the same checksum
    return name


def read_source(path: str, owner: Owner) -> bytes:
    """The bytes of a script. LoadFailure if it cannot be read, or belongs to somebody else."""
    try:
        with open(path, "rb") as file:
            check_owner(path, os.fstat(file.fileno()), owner)
            return file.read()
    except FileNotFoundError:
        raise LoadFailure(
            "WSGID0330: script %s does not exist: correct its path in httpd's configuration, or "
            "create the file" % path
        ) from None
    except IsADirectoryError:
        raise LoadFailure(
            "WSGID0330: script %s is a directory: WSGIScriptAlias must name the script itself, "
            "such as %s" % (path, example_script(path))
        ) from None
    except OSError as error:
        raise LoadFailure(
            "WSGID0331: script %s cannot be read by the user of the group, uid %d (%s): %s, or run "
            "the group as another user (user=)"
            % (path, os.geteuid(), error.strerror, blocked_by(path))
        ) from None


def check_owner(path: str, status: os.stat_result, owner: Owner) -> None:
    """LoadFailure if script-user= or script-group= forbid the script."""
    found = status.st_uid, status.st_gid
    for kind, wanted, there in zip(("user", "group"), owner, found, strict=True):
        if wanted not in (-1, there):
            raise LoadFailure(
                "WSGID0035: script %s is not loaded, because it belongs to %s %d, and script-%s= "
                "demands %d: find out who has replaced it, or correct the option"
                % (path, kind, there, kind, wanted)
            )


def example_script(directory: str) -> str:
    """A script in a directory, for a message: one that exists, if there is one."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        names = []
    usual = [name for name in ("wsgi.py", "app.wsgi", "application.wsgi") if name in names]
    found = usual + [name for name in names if name.endswith(".wsgi")]
    return os.path.join(directory, found[0] if found else "wsgi.py")


def blocked_by(path: str) -> str:
    """The first component of `path` that this user cannot pass, and what to do."""
    parts = path.split("/")
    for count in range(1, len(parts)):
        directory = "/".join(parts[:count]) or "/"
        if not os.access(directory, os.X_OK, effective_ids=True):
            return "it cannot enter the directory %s: chmod o+x %s" % (directory, directory)
    return "it may not read the file itself: chmod o+r %s" % path


def check_settings(path: str, source: bytes) -> None:
    """LoadFailure if Django runs in this process with other settings than the script names."""
    running = django_settings.in_the_way_of(source)
    if running:
        raise LoadFailure(
            "WSGID0339: script %s uses the Django settings %s, but this process already runs "
            "Django with %s for another script of the same application group, and would serve the "
            "data of that site: remove WSGIApplicationGroup, so that each script has processes of "
            "its own, or give each site another one"
            % (path, django_settings.named_in(source), running)
        )


def import_script(path: str, owner: Owner) -> ModuleType:
    """Runs a script as a module. LoadFailure for whatever it raises: not even SystemExit ends the
    process.
    """
    source = read_source(path, owner)
    check_settings(path, source)
    name = module_name(path)
    module = type(sys)(name)
    module.__file__ = path
    # Python 3.15 warns about a module without a spec.
    module.__spec__ = ModuleSpec(name, SourceFileLoader(name, path), origin=path)
    module.__dict__["__builtins__"] = builtins
    sys.modules[name] = module
    thread = _thread.get_ident()
    signal_calls.loading.add(thread)
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        del sys.modules[name]
        raise LoadFailure(
            "WSGID0332: script %s cannot be loaded: %s; %s"
            % (path, logs.describe(error), load_fix(error)),
            logs.traceback_text(error),
        ) from None
    finally:
        signal_calls.loading.discard(thread)
    return module


def load_fix(error: BaseException) -> str:
    """What to do about an exception that a script has raised."""
    if isinstance(error, ModuleNotFoundError):
        return (
            "the interpreter of the group, %s, does not find that module: install it there, or "
            "correct the import, python-path= or python-home=" % sys.executable
        )
    if isinstance(error, PermissionError):
        return (
            "give that permission to the user of the group, uid %d, or correct the path: the "
            "script is then tried again without a restart" % os.geteuid()
        )
    return "fix what the traceback shows: the script is then tried again without a restart"


def is_about_taken(error: BaseException) -> bool:
    """Whether an exception may mean that another process has a port, a lock or the like."""
    if isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EAGAIN, errno.EBUSY):
        return True
    return any(word in logs.describe(error).lower() for word in ("lock", "in use"))


def look_up(script: Script, name: str) -> Application:
    """The callable `name`, which may be dotted, of a loaded script; or a decision for httpd
    (decisions.py). LoadFailure without one. The module itself if there is no name.
    """
    decides = name in decisions.DECISIONS
    target: object = script.module
    if not name:
        return target  # type: ignore[return-value]
    if name == decisions.DISPATCH:
        return decisions.application(name, target)
    for part in name.removesuffix(decisions.SUFFIX if decides else "").split("."):
        try:
            target = getattr(target, part)
        except AttributeError:
            raise LoadFailure(
                "WSGID0333: script %s has no %r%s: %sdefine %r"
                % (
                    script.path,
                    name,
                    similar_names(script.module, name),
                    "" if decides else "name the WSGI application with WSGICallableObject, or ",
                    name,
                )
            ) from None
    if decides and callable(target):
        return decisions.application(name, target)
    if not callable(target):
        raise LoadFailure(
            "WSGID0334: %r in script %s is not callable, but an object of type %s: it must be the "
            "WSGI application" % (name, script.path, type(target).__name__)
        )
    return target


def similar_names(module: ModuleType | None, name: str) -> str:
    """` (it has: app, wsgi)`: the public callables that are not classes, similar names first; ""
    without any.
    """
    import difflib  # milliseconds, but only when something is wrong

    found = [
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and callable(value) and not isinstance(value, type)
    ]
    similar = difflib.get_close_matches(name, found, n=3, cutoff=0.4)
    similar += [key for key in found if key not in similar]
    return " (it has: %s)" % ", ".join(similar[:5]) if similar else ""
