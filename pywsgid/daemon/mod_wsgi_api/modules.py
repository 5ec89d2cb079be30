"""`import mod_wsgi` and `import apache`: two modules that are in sys.modules from the start, as
agents look there, and that are empty until the application uses a name of theirs.

Rules: a daemon whose application uses neither pays for two empty objects. Nothing is imported here
that the daemon has not imported anyhow. What is installed under the same name (mod_wsgi-express is
a package `mod_wsgi`) is executed in the same module, which then has the names of both; ours win.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder

from pywsgid.daemon import logs
from pywsgid.daemon.system import _thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from pywsgid.daemon.interfaces import Service

    Names = dict[str, Any]
else:
    ModuleType = type(sys)


class ApiModule(ModuleType):
    """A module whose names are made when the first of them is used.

    `make` returns two dicts: of values, and of functions that make a value when it is used first.
    """

    def __init__(self, name: str, log: logs.Log, make: Callable[[], tuple[Names, Names]]) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None, origin="pywsgid")
        self.__dict__["_wsgid"] = log, make

    def __getattr__(self, name: str) -> Any:
        # Whoever looks at all modules (inspect, warnings) asks for names such as __file__. Only
        # these two mean that somebody uses the module: a submodule is imported, or all names.
        if name.startswith("__") and name not in ("__path__", "__all__"):
            raise AttributeError("module %r has no attribute %r" % (self.__name__, name))
        _fill(self)
        try:
            return self.__dict__[name]
        except KeyError:
            make = self.__dict__["_wsgid_late"].get(name)
        if make is None:
            raise AttributeError("module %r has no attribute %r" % (self.__name__, name))
        value = self.__dict__[name] = make()
        return value

    def __dir__(self) -> list[str]:
        _fill(self)
        names = {*self.__dict__, *self.__dict__["_wsgid_late"]}
        return sorted(name for name in names if not name.startswith("_wsgid"))


def install(service: Service) -> None:
    """Puts both modules into sys.modules."""

    def make_mod_wsgi() -> tuple[Names, Names]:
        from pywsgid.daemon.mod_wsgi_api import api

        return api.names(service)

    def make_apache() -> tuple[Names, Names]:
        from pywsgid.daemon.mod_wsgi_api import api

        return api.apache_names(service), {}

    sys.modules["mod_wsgi"] = ApiModule("mod_wsgi", service.log, make_mod_wsgi)
    sys.modules["apache"] = ApiModule("apache", service.log, make_apache)


def _fill(module: ApiModule) -> None:
    """Makes the names of a module, once. Whoever asks within that, gets what is there so far."""
    log, make = module.__dict__["_wsgid"]
    # Made when it is first needed: eventlet complains of each that is there when it patches.
    with module.__dict__.setdefault("_wsgid_lock", _thread.RLock()):
        if "_wsgid_late" in module.__dict__:
            return
        values, late = make()
        module.__dict__.update(values)
        module.__dict__["_wsgid_late"] = late
        _add_installed(module, log)
        module.__dict__.update(values)


def _add_installed(module: ApiModule, log: logs.Log) -> None:
    """Executes what is installed under the module's name in the module itself."""
    spec = PathFinder.find_spec(module.__name__)
    if spec is None:
        return
    if spec.submodule_search_locations is not None:
        module.__path__ = list(spec.submodule_search_locations)
    if spec.loader is None or spec.origin is None:  # a directory without __init__.py
        return
    module.__file__ = spec.origin
    module.__spec__ = spec
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        log.write(
            logs.WARN,
            "WSGID0500: group %r: %s, which is installed under the name of the built-in module %s, "
            "raised %s when it was imported: the application sees the built-in names only; repair "
            "or uninstall it\n%s"
            % (
                log.group,
                spec.origin,
                module.__name__,
                logs.describe(error),
                logs.traceback_text(error),
            ),
        )
