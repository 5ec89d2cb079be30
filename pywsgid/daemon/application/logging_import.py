"""Runs a function as soon as the application has imported a certain module, which it may never do.

A finder in front of all others notices the import, and is removed once the module has been
executed. It is removed by assigning a new list to sys.meta_path: other threads may be iterating
over the old one, and must not skip the finder behind it.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any


def when_imported(name: str, act: Callable[[], None]) -> None:
    """Calls `act` right after the import of the module `name`; at once if it has been imported."""
    if name in sys.modules:
        act()
    else:
        sys.meta_path.insert(0, Finder(name, act))


class Finder:
    """A meta path finder (importlib.abc.MetaPathFinder) for one module."""

    def __init__(self, name: str, act: Callable[[], None]) -> None:
        self._name = name
        self._act = act

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self._name:
            return None
        for finder in [finder for finder in sys.meta_path if finder is not self]:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    loader: Any = Loader(spec.loader, self._loaded)
                    spec.loader = loader
                return spec
        return None

    def _loaded(self) -> None:
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self]
        self._act()


class Loader:
    """Takes the place of the module's own loader until that has done its work."""

    def __init__(self, loader: Any, act: Callable[[], None]) -> None:
        self._loader = loader
        self._act = act

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: Any) -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._act()
