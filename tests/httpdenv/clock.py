"""A clock that a test sets for one httpd. Its daemons do not inherit httpd's environment, so they
keep the true time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


class Clock:
    """The system time of an httpd that is started with `environment`. It is correct until it is
    set.
    """

    def __init__(self, directory: Path, gcc: Callable[..., None]) -> None:
        self._offset, library = directory / "clock", directory / "clock.so"
        gcc("-shared", "-fPIC", SOURCE, "-o", library)
        self._write(0)
        self.environment = {"LD_PRELOAD": str(library), "WSGID_TEST_CLOCK": str(self._offset)}

    def set(self, seconds: int) -> None:
        """Sets the clock `seconds` off the true time, from now on."""
        self._write(seconds)

    def _write(self, seconds: int) -> None:
        # In place, and all eight bytes at once, because the file is mapped.
        with self._offset.open("r+b" if self._offset.exists() else "wb", buffering=0) as file:
            file.write(struct.pack("=q", seconds))
