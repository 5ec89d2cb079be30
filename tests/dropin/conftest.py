"""start(): an httpd with the module that the test runs with. dropinenv explains the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dropinenv
import pytest
from dropinenv import Peer
from httpdenv import Httpd, Stage


@pytest.fixture(scope="module", params=dropinenv.MODULES)
def module(request: pytest.FixtureRequest) -> str:
    """The module that serves, by name."""
    if request.param == "mod_wsgi" and dropinenv.mod_wsgi() is None:
        pytest.skip(dropinenv.MISSING)
    return request.param


@pytest.fixture(scope="module")
def start(
    module: str, running: list[Httpd], stage: Stage, certificates: Path
) -> Callable[..., Httpd]:
    """Starts an httpd with this configuration text; `files` are written to ${FILES} first."""

    def run(
        text: str, *, files: dict[str, str] | None = None, begin: bool = True, **options: Any
    ) -> Httpd:
        if module == "wsgid":
            server = Httpd(text, stage, certificates=certificates, together=False, **options)
        else:
            server = Peer(text, stage, certificates=certificates, **options)
        running.append(server)
        for name, content in (files or {}).items():
            server.write(name, content)
        return server.start() if begin else server

    return run


@pytest.fixture(autouse=True)
def stop_what_a_test_started(running: list[Httpd], watch_the_logs: None) -> Iterator[None]:
    """A module keeps its server; a server that a test started ends with it."""
    before = len(running)
    yield
    for server in running[before:]:
        if server.is_running:
            server.stop()
