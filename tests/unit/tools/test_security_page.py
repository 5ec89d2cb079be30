"""docs/security.md names the test of each promise: the tests must exist."""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
PAGE = (CHECKOUT / "docs" / "security.md").read_text()


def test_each_promise_names_tests_that_exist():
    rows = [row for row in PAGE.splitlines() if row.startswith("| ") and "tests/" in row]
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(rows) > 20 and len(named) >= len(rows)
    for file, name in named:
        assert re.search(rf"^def {name}\(", (CHECKOUT / file).read_text(), re.M), (file, name)
