"""Imports a WSGI script as a daemon would, and reports the result: `python -c SOURCE ORDER`.

interpreter_probe.py passes this source as text to the application's interpreter, because the
application's user may not be able to read the file. So this file imports nothing of ours. It does
what pywsgid/daemon does at start: home= and python-path= come first in sys.path, and the script
becomes a module of its own.

ORDER is JSON: {"script": path, "callable": name, "home": path, "python_path": [path], "cwd": path,
"group": name, "descriptor": number}. Without a name, the script need not define an application. The
result is one line of JSON, written to the descriptor: {"error": "", "version": "3.11.2",
"modules": {name: path}, "patched": false}: with the application's own top-level modules, and
whether gevent or eventlet have patched the standard library.
"""

from __future__ import annotations

import builtins
import json
import os
import sys
import traceback
from importlib.machinery import PathFinder

MODULES_MOST = 200  # a pipe must hold the result


class BuiltIn(type(sys)):  # type: ignore[misc]
    """In place of a module that a daemon has built in (`mod_wsgi`, `apache`): its functions return
    what they are given, as decorators do.
    """

    def __init__(self, name: str, group: str) -> None:
        super().__init__(name)
        installed = PathFinder.find_spec(name)
        if installed is not None and installed.submodule_search_locations is not None:
            self.__path__ = list(installed.submodule_search_locations)
        self.process_group, self.application_group, self.version = group, "", (0, 0, 0)

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *given: given[0] if given else None


def add_paths(home: str, python_path: list[str]) -> None:
    """Puts the directories first in sys.path, with those that their .pth files name."""
    before = sys.path[:]
    if home:
        sys.path.append(home)
    if python_path:
        import site

        for directory in python_path:
            site.addsitedir(directory)
    added = [entry for entry in sys.path if entry not in before]
    named = [entry for entry in (home, *python_path) if entry in before]
    sys.path[:] = added + named + [entry for entry in before if entry not in named]


def load(path: str, name: str) -> str:
    """Imports the script; returns "", or why its application cannot be used. Raises OSError."""
    with open(path, "rb") as file:
        source = file.read()
    module = type(sys)("_mod_wsgi_probe")
    vars(module).update(__file__=path, __builtins__=builtins)
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        return "the import failed with " + describe(error)
    if not name:
        return ""
    target = module
    for part in name.split("."):
        if not hasattr(target, part):
            return f"it does not define {name!r}"
        target = getattr(target, part)
    return "" if callable(target) else f"{name!r} in it is not callable"


def own_modules() -> dict[str, str]:
    """The paths of the modules that come from neither Python nor site-packages, and are in no
    package that has a file, MODULES_MOST at most."""
    others = tuple({os.path.join(p, "") for p in (sys.prefix, sys.base_prefix, "/usr/lib")})
    found = {}
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        package = sys.modules.get(name.rpartition(".")[0])
        is_other = getattr(package, "__file__", None) or name.startswith("_mod_wsgi_")
        if isinstance(path, str) and not is_other and not path.startswith(others):
            found[name] = path
    return dict(list(found.items())[:MODULES_MOST])


def is_patched() -> bool:
    """Whether gevent or eventlet have replaced parts of the standard library."""
    gevent, eventlet = (sys.modules.get(name) for name in ("gevent.monkey", "eventlet.patcher"))
    return bool(getattr(gevent, "saved", None) or getattr(eventlet, "already_patched", None))


def describe(error: BaseException) -> str:
    """Returns the exception, with the file and line that raised it unless that is the script
    itself."""
    text = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
    ][1:]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{text} ({error.filename}, line {error.lineno})"
    return f"{text} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else text


def main() -> None:
    order = json.loads(sys.argv[1])
    del sys.path[0]  # python -c puts "" there, a daemon does not
    sys.argv = ["mod_wsgid"]
    try:
        os.chdir(order["cwd"])
    except OSError:
        os.chdir("/")
    try:
        add_paths(order["home"], order["python_path"])
        for name in ("mod_wsgi", "apache"):
            sys.modules[name] = BuiltIn(name, order["group"])
        answer = load(order["script"], order["callable"])
    except OSError as error:
        answer = f"it cannot be read: {error.strerror}"
    result = {
        "error": answer,
        "version": sys.version.split()[0],
        "modules": own_modules(),
        "patched": is_patched(),
    }
    os.write(order["descriptor"], json.dumps(result).encode())
    os._exit(0)  # does not wait for threads and atexit handlers of the application


main()
