"""What the command line writes to stderr: the failure that ends a command, and notices.

A failure is one line, `CODE: problem: fix`; docs/errors.md explains each code.
"""

from __future__ import annotations

import sys


class Failure(Exception):
    """A command cannot do its work. `problem` names the cause, `fix` what the user should do."""

    def __init__(self, code: str, problem: str, fix: str) -> None:
        super().__init__(f"{code}: {problem}: {fix}")


def note(text: str) -> None:
    """Writes one line to stderr; the command goes on."""
    print(f"pywsgid: {text}", file=sys.stderr, flush=True)
