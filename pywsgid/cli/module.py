"""Where the built module is, seen from this package."""

from __future__ import annotations

import os

NAME = "mod_wsgid.so"
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class NoModule(Exception):
    """There is no built module; the text says where it was looked for."""


def candidates() -> list[str]:
    """In the package (pip), beside it (make install), in the checkout's build directory (make)."""
    real = os.path.realpath(PACKAGE)
    above = os.path.dirname(real)
    return [os.path.join(place, NAME) for place in (real, above, os.path.join(above, "build"))]


def find_module() -> str:
    for path in candidates():
        if os.path.isfile(path):
            return path
    raise NoModule("no " + " or ".join(candidates()))
