"""What the tests of the daemon share: each runs over both transports."""

from __future__ import annotations

import pytest
from daemonenv import Daemon


@pytest.fixture(scope="module", params=["", "off"], ids=["native", "pure"])
def transport(request: pytest.FixtureRequest):
    """Which transport the daemons of a module use: the one in C, or its twin in Python."""
    Daemon.transport = request.param
    yield request.param or "native"
    Daemon.transport = ""
