"""Has something done as soon as the application imports a module, which this process may never
need.

A finder in front of all others, which is gone once the module has been executed. It leaves by way
of a new list: other threads may be on their way through the old one, and must not miss the finder
behind it.
"""

import sys


def when_imported(name, act):
    """Calls `act` behind the import of the module `name`, or now if that has been imported."""
    if name in sys.modules:
        act()
    else:
        sys.meta_path.insert(0, Finder(name, act))


class Finder:
    def __init__(self, name, act):
        self._name = name
        self._act = act

    def find_spec(self, name, path=None, target=None):
        if name != self._name:
            return None
        for finder in [finder for finder in sys.meta_path if finder is not self]:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = Loader(spec.loader, self._loaded)
                return spec
        return None

    def _loaded(self):
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self]
        self._act()


class Loader:
    """Stands for the module's own loader while that is at work."""

    def __init__(self, loader, act):
        self._loader = loader
        self._act = act

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._act()
