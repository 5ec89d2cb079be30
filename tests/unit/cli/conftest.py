"""What the tests of the command line share besides clienv.py."""

from __future__ import annotations

import pytest


@pytest.fixture
def script(tmp_path):
    """A script that can be served."""
    path = tmp_path / "site.wsgi"
    path.write_text("def application(environ, start_response): pass\n")
    return path
