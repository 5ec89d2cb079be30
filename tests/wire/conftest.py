"""Builds that tests of the codec in C need: the extension, and a program with sanitizers around
wire.c.
"""

import subprocess
from pathlib import Path

import pytest
from wire import extension as native

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session", autouse=True)
def extension():
    """pywsgid.native; it must work."""
    if native.lib is None:
        pytest.fail(
            f"pywsgid._native cannot be imported ({native.why_not}): run `make`", pytrace=False
        )
    return native


@pytest.fixture(scope="session")
def sanitized(gcc, tmp_path_factory):
    """Passes records (side, data) to wire.c under ASan and UBSan; returns one line for each, see
    harness.c.
    """
    program = tmp_path_factory.mktemp("harness") / "harness"
    sources = [ROOT / "tests/wire/harness.c", ROOT / "apxs/common/wire.c"]
    gcc(
        "-g",
        "-O1",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        *sources,
        "-o",
        program,
    )

    def run(records):
        data = b"".join(
            bytes([side]) + len(data).to_bytes(4, "little") + data for side, data in records
        )
        result = subprocess.run([program], input=data, capture_output=True, check=False)
        assert result.returncode == 0, result.stderr.decode("utf-8", "replace")
        return result.stdout.decode("ascii").splitlines()

    return run
