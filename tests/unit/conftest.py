"""Fixtures that the daemon's tests share: a daemon for each module, a connection to it, scripts."""

from __future__ import annotations

import pytest
from daemonenv import Daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """One daemon for all tests of a module."""
    with Daemon(tmp_path_factory.mktemp("shared"), shutdown_timeout=5) as daemon:
        yield daemon
        assert daemon.get("hello.wsgi").body == b"Hello World!\n", "it survived all tests"


@pytest.fixture
def client(daemon):
    client = daemon.connect()
    yield client
    client.close()


@pytest.fixture
def write(tmp_path):
    def write(text, name="app.wsgi"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write
