"""The program that httpd starts: `python .../pywsgid/daemon/boot.py`. Checks the interpreter, and
imports pywsgid.

Rules: every Python, 2.7 too, must be able to compile this file and to run its version check, so it
has no type annotations (see [tool.mypy] in pyproject.toml) and imports only what every Python has.
The package pywsgid is the one that contains this file: its neighbours on disk do not become
importable, and a pywsgid in the application's virtualenv is never used. Nothing else lives here.
"""

import os
import sys

LEAST_VERSION = (3, 10)
# As in process_abi.h: nothing can be imported yet.
EXIT_INTERPRETER = 85
MARK = "\x02"


def refuse(reason):
    """Logs WSGID0300 and ends the process."""
    pid = os.getpid()
    line = "%s[wsgid:crit] [pid %d:tid %d] WSGID0300: %s\n" % (MARK, pid, pid, reason)
    os.write(2, line if isinstance(line, bytes) else line.encode("utf-8", "replace"))
    os._exit(EXIT_INTERPRETER)


def check_version():
    """Ends the process if this Python is too old."""
    if sys.version_info[:2] < LEAST_VERSION:
        refuse(
            "the interpreter %s is Python %d.%d, but mod_wsgid needs %d.%d or later: choose "
            "another one with python= or python-home= on WSGIDaemonProcess"
            % ((sys.executable,) + tuple(sys.version_info[:2]) + LEAST_VERSION)
        )


def import_package(directory):
    """Imports pywsgid from `directory`. Makes the module's spec by itself, since importlib.util
    takes milliseconds to import.
    """
    from importlib.machinery import ModuleSpec, SourceFileLoader

    path = os.path.join(directory, "__init__.py")
    loader = SourceFileLoader("pywsgid", path)
    spec = ModuleSpec("pywsgid", loader, origin=path, is_package=True)
    spec.submodule_search_locations.append(directory)
    spec.has_location = True
    package = type(sys)("pywsgid")
    package.__spec__ = spec
    package.__loader__ = loader
    package.__file__ = path
    package.__path__ = spec.submodule_search_locations
    package.__package__ = "pywsgid"
    sys.modules["pywsgid"] = package
    loader.exec_module(package)


def start():
    """Runs the daemon; returns its exit code."""
    check_version()
    directory = os.path.dirname(os.path.abspath(__file__))
    # Python has put the directory of this file first, with symbolic links followed (unless -P or -I
    # is given). What is in it must not be importable by its bare name.
    if sys.path and os.path.realpath(sys.path[0] or os.curdir) == os.path.realpath(directory):
        del sys.path[0]
    try:
        import_package(os.path.dirname(directory))
        from pywsgid.daemon import main
    except ImportError:
        refuse(
            "the interpreter %s cannot import what mod_wsgid needs: %s; a module of Python or of "
            "pywsgid is missing or broken: repair that installation, or choose another interpreter "
            "with python= or python-home= on "
            "WSGIDaemonProcess" % (sys.executable, sys.exc_info()[1])
        )
    return main.main()


if __name__ == "__main__":
    sys.exit(start())
