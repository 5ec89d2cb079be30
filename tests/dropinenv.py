"""One configuration behind two modules: mod_wsgid, and mod_wsgi where it is installed.

A test in tests/dropin runs once with each of them. What both do alike is asserted once. Where they
differ on purpose, differs() holds both results and the words of docs/moving-from-mod_wsgi.md that
tell users so.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from httpdenv import ErrorLog, Httpd, Record, Stage

T = TypeVar("T")

CHECKOUT = Path(__file__).resolve().parents[1]
MOVING = CHECKOUT / "docs" / "moving-from-mod_wsgi.md"
MODULES = ("wsgid", "mod_wsgi")
MISSING = "mod_wsgi is not installed: `make test` builds it where Python's headers and library are"
FILE = "mod_wsgi/server/mod_wsgi-*.so"
BENCH = Path(os.environ.get("WSGID_BENCH_VENV", CHECKOUT / ".bench-venv"))


@functools.cache
def mod_wsgi() -> Path | None:
    """The file of mod_wsgi's module, of `make test` or else of the bench; None if there is none."""
    ours, bench = CHECKOUT / "build" / "peer", BENCH.glob("lib/python3*/site-packages/" + FILE)
    return next((path for found in (ours.glob(FILE), bench) for path in found), None)


def differs(httpd: Httpd, see: str, *, wsgid: T, mod_wsgi: T) -> T:
    """What this module does where the two differ; `see` is in the page about moving."""
    assert see in MOVING.read_text(), f"docs/moving-from-mod_wsgi.md does not say {see!r}"
    return wsgid if is_ours(httpd) else mod_wsgi


def is_ours(httpd: Httpd) -> bool:
    return not isinstance(httpd, Peer)


class PeerLog(ErrorLog):
    """Tests declare the lines that we log; mod_wsgi's have no codes."""

    @contextmanager
    def expects(self, *patterns: str, timeout: float = 5.0) -> Iterator[list[Record]]:
        theirs = [pattern for pattern in patterns if "WSGID" not in pattern]
        with super().expects(*theirs, timeout=timeout) as found:
            yield found

    def unexpected(self) -> list[Record]:
        return []


class Peer(Httpd):
    """An httpd with mod_wsgi. What it leaves behind is not our concern."""

    def __init__(self, text: str, stage: Stage, **options: Any) -> None:
        super().__init__(text, stage, ours=False, **options)

    def configure(self, text: str) -> None:
        # Its sockets go where httpd was built to have them, whatever DefaultRuntimeDir says; the Python
        # is the one that it was built for.
        own = [
            f'LoadModule wsgi_module "{mod_wsgi()}"',
            "WSGISocketPrefix run/wsgi",
            f'WSGIPythonHome "{sys.base_prefix}"',
        ]
        super().configure("\n".join([*own, text]))

    def log_of(self, name: str) -> ErrorLog:
        path = self.root / "logs" / name
        return self._logs.setdefault(path, PeerLog(path))

    def assert_no_leaked_descriptors(self) -> None:
        pass

    def assert_nothing_left(self) -> None:
        pass
