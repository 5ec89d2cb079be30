"""Has something done as soon as the application imports a module, which this process may never need.

A finder in front of all others, which is gone once it has been asked for the module.
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
        sys.meta_path.remove(self)
        for finder in list(sys.meta_path):
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = Loader(spec.loader, self._act)
                return spec
        return None


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
