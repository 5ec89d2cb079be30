"""Script file to application object.

Rules: a script is a module of its own, named after its path, found in sys.modules, compiled from
its source; its directory is not put on sys.path. It is loaded once, by whoever needs it first,
under a lock of its own, so that a slow script does not hold up another.

What cannot be loaded is a LoadFailure with one line that says why, and the traceback if the script
raised. A failure is remembered for RETRY_AFTER seconds or until the file changes. Then the script
is tried again, and where depends on the process:
* nothing else is loaded here: the process is left for a clean one (LEAVE). A second import in the
same process trips
  over what the first one has half imported, registered or patched, and shows an error that is not the real one.
* another script of this process is healthy: it is tried again in place, as the healthy one must not
pay for its
  neighbour.
"""

import _thread
import binascii
import builtins
import os
import sys
import time
from importlib.machinery import ModuleSpec, SourceFileLoader

from pywsgid.daemon import logs
from pywsgid.wire import django_settings

# seconds: long enough not to import in a loop, short enough not to be noticed after mending
RETRY_AFTER = 2.0

LOADED, FAILED_NOW, FAILED_BEFORE, LEAVE = range(4)


class LoadFailure(Exception):
    """A script or its callable cannot be had. The text has code, cause and fix; `trace` is a
    traceback or "".
    """

    def __init__(self, text, trace=""):
        super().__init__(text)
        self.trace = trace


class Script:
    """One script file and the module it has become.

    `stamp` is stamp_of() the file that was loaded; `reload_required` is the script's own function
    of that name or None.
    """

    __slots__ = ("path", "module", "stamp", "loaded_at", "is_watched", "reload_required")
    __slots__ += ("_lock", "_failure", "_failed_at", "_failed_stamp")

    def __init__(self, path):
        self.path = path
        self.module = None
        self.stamp = None
        self.loaded_at = 0.0  # time.time()
        self.is_watched = True  # whether a change is to be looked for (reload=hot)
        self.reload_required = None
        self._lock = _thread.allocate_lock()
        self._failure = None
        self._failed_at = 0.0
        self._failed_stamp = None

    def load(self, may_retry_here):
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

    def _is_due(self):
        return (
            time.monotonic() - self._failed_at >= RETRY_AFTER
            or stamp_of(self.path) != self._failed_stamp
        )

    def _try(self):
        stamp = stamp_of(self.path)
        try:
            module = import_script(self.path)
        except LoadFailure as failure:
            self._failure, self._failed_at, self._failed_stamp = failure, time.monotonic(), stamp
            return FAILED_NOW, failure
        self._failure = None
        self.stamp = stamp
        self.loaded_at = time.time()
        asked = getattr(module, "reload_required", None)
        self.reload_required = asked if callable(asked) else None
        self.module = module  # last: who finds it there, without the lock, finds all else
        return LOADED, None


class Loader:
    """The scripts of this process. `on_load` is called with a Script that is loaded and the
    callable's name.

    More than once, perhaps.
    """

    def __init__(self, on_load=None):
        self._scripts = {}
        self._lock = _thread.allocate_lock()
        self._callables = {}  # (path, name) -> (callable, loaded_at): what has been looked up
        self._on_load = on_load

    def find(self, path, name):
        """(callable, loaded_at) if it is loaded, else None: each worker asks once and keeps it."""
        return self._callables.get((path, name))

    def get(self, path):
        """The Script that is loaded from a path, or None."""
        script = (
            self._scripts[path] if path in self._scripts else None
        )  # not get(): see logs.request_mark()
        return script if script is not None and script.module is not None else None

    def loaded(self):
        """The scripts that are loaded."""
        with self._lock:
            return [script for script in self._scripts.values() if script.module is not None]

    def load(self, path, name, remember=True):
        """(state, (callable, loaded_at) or the LoadFailure). find() finds it only if it was to
        `remember`.
        """
        script = self._script(path)
        state, failure = script.load(self._has_healthy)
        if state != LOADED:
            return state, failure
        try:
            found = look_up(script, name), script.loaded_at
        except LoadFailure as failure:
            return FAILED_NOW, failure
        if self._on_load is not None:
            self._on_load(script, name)
        if remember:
            self._callables[path, name] = found
        return LOADED, found

    def _script(self, path):
        with self._lock:
            script = self._scripts.get(path)
            if script is None:
                script = self._scripts[path] = Script(path)
            return script

    def _has_healthy(self):
        with self._lock:
            return any(script.module is not None for script in self._scripts.values())


# -------- a script


def stamp_of(path):
    """What changes when a file is changed; None if it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def module_name(path):
    """`_wsgid_` and a number, the same in every process: what is pickled in one can be unpickled in
    another.
    """
    name = "_wsgid_%08x" % binascii.crc32(os.fsencode(path))
    while name in sys.modules and getattr(sys.modules[name], "__file__", None) != path:
        name += "_"  # two paths with one checksum
    return name


def read_source(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise LoadFailure(
            "WSGID0330: script %s does not exist: correct WSGIScriptAlias, or put it there" % path
        ) from None
    except IsADirectoryError:
        raise LoadFailure(
            "WSGID0330: script %s is a directory: name the script itself" % path
        ) from None
    except OSError as error:
        raise LoadFailure(
            "WSGID0331: script %s cannot be read by uid %d (%s): %s"
            % (path, os.geteuid(), error.strerror, blocked_by(path))
        ) from None


def blocked_by(path):
    """The first component of `path` that this user may not pass, and what to do."""
    parts = path.split("/")
    for count in range(1, len(parts)):
        directory = "/".join(parts[:count]) or "/"
        if not os.access(directory, os.X_OK, effective_ids=True):
            return (
                "its directory %s lets this user not pass: chmod o+x, or run the group as another user="
                % directory
            )
    return "the file itself is not readable for this user: chmod o+r, or run the group as another user="


def check_settings(path, source):
    running = django_settings.in_the_way_of(source)
    if running:
        raise LoadFailure(
            "WSGID0339: script %s is a Django site with settings of its own (%s), and this process is one with %s: it "
            "would answer with that site's data; give each its own WSGIDaemonProcess"
            % (path, django_settings.named_in(source), running)
        )


def import_script(path):
    """Runs a script as a module. Whatever it raises, SystemExit too, is a LoadFailure and not the
    process's end.
    """
    source = read_source(path)
    check_settings(path, source)
    name = module_name(path)
    module = type(sys)(name)
    module.__file__ = path
    module.__spec__ = ModuleSpec(
        name, SourceFileLoader(name, path), origin=path
    )  # 3.15 warns without
    module.__builtins__ = builtins
    sys.modules[name] = module
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        del sys.modules[name]
        raise LoadFailure(
            "WSGID0332: script %s cannot be loaded: %s; mend it: it is tried again by itself"
            % (path, logs.describe(error)),
            logs.traceback_text(error),
        ) from None
    return module


def look_up(script, name):
    """The callable of a loaded script; `name` may be dotted."""
    target = script.module
    for part in name.split("."):
        try:
            target = getattr(target, part)
        except AttributeError:
            raise LoadFailure(
                "WSGID0333: script %s has no %r%s: name the callable with WSGICallableObject, or define it"
                % (script.path, name, near_misses(script.module, name))
            ) from None
    if not callable(target):
        raise LoadFailure(
            "WSGID0334: %r of script %s is not callable but %s: it must be the WSGI application itself"
            % (name, script.path, type(target).__name__)
        )
    return target


def near_misses(module, name):
    """` (it has: app, wsgi)`: public callables that are not classes; names that resemble come
    first.
    """
    import difflib  # milliseconds, but only when something is wrong

    found = [
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and callable(value) and not isinstance(value, type)
    ]
    near = difflib.get_close_matches(name, found, n=3, cutoff=0.4)
    near += [key for key in found if key not in near]
    return " (it has: %s)" % ", ".join(near[:5]) if near else ""
