"""Finds the built module (mod_wsgid.so) that belongs to this package."""

from __future__ import annotations

import os

NAME = "mod_wsgid.so"
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class NoModule(Exception):
    """There is no built module; the text names the places that were searched."""


def candidates() -> list[str]:
    """Returns where the module can be, best first: in the package (pip install), beside it (make
    install), in the checkout's build directory (make)."""
    real = os.path.realpath(PACKAGE)
    above = os.path.dirname(real)
    return [os.path.join(place, NAME) for place in (real, above, os.path.join(above, "build"))]


def find_module() -> str:
    """Returns the path of the module. Raises NoModule if there is none."""
    for path in candidates():
        if os.path.isfile(path):
            return path
    raise NoModule("none of these files exists: " + ", ".join(candidates()))
