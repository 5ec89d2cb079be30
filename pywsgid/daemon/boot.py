"""What httpd starts the interpreter with: `python .../pywsgid/daemon/boot.py`.

Rules: the version check runs under any Python there is (2.7 too), so this file uses no newer syntax
before it and imports only what every Python has. The package is the one that this file lies in, and
no other: its directory's neighbours do not become importable, and another pywsgid in the
application's virtualenv is not mixed in. Nothing else lives here.
"""

import os
import sys
import time

LEAST_VERSION = (3, 10)
EXIT_INTERPRETER = 85  # process_abi.h; written out here because nothing can be imported yet


def refuse(reason):
    """Writes one line in the ErrorLog's form and leaves."""
    now = time.time()
    stamp = time.strftime("%a %b %d %H:%M:%S", time.localtime(now))
    line = "[%s.%06d %s] [wsgid:crit] [pid %d] WSGID0300: %s\n" % (
        stamp,
        int(now % 1 * 1000000),
        time.strftime("%Y", time.localtime(now)),
        os.getpid(),
        reason,
    )
    os.write(2, line if isinstance(line, bytes) else line.encode("utf-8", "replace"))
    os._exit(EXIT_INTERPRETER)


def check_version():
    if sys.version_info[:2] < LEAST_VERSION:
        refuse(
            "the interpreter %s is Python %d.%d; mod_wsgid needs %d.%d or later: name another with python= or "
            "python-home= on WSGIDaemonProcess"
            % ((sys.executable,) + tuple(sys.version_info[:2]) + LEAST_VERSION)
        )


def import_package(directory):
    """Imports pywsgid from `directory` alone, by a spec made by hand (importlib.util would cost
    milliseconds more).
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
    check_version()
    directory = os.path.dirname(os.path.abspath(__file__))
    # Python puts the script's own directory first, with its symbolic links followed (not with -P or
    # -I): what is beside this file must not be importable.
    if sys.path and os.path.realpath(sys.path[0] or os.curdir) == os.path.realpath(directory):
        del sys.path[0]
    try:
        import_package(os.path.dirname(directory))
        from pywsgid.daemon import main
    except ImportError:
        refuse(
            "the interpreter %s cannot import what mod_wsgid needs: %s; it is broken or stripped: name another with "
            "python= or python-home= on WSGIDaemonProcess" % (sys.executable, sys.exc_info()[1])
        )
    return main.main()


if __name__ == "__main__":
    sys.exit(start())
