"""What the command line writes on stderr: a failure that ends a command, and a notice beside its
work.
"""

from __future__ import annotations

import sys


class Failure(Exception):
    """A command could not do what it was asked to do: the code, the problem, the fix."""

    def __init__(self, code: str, problem: str, fix: str) -> None:
        super().__init__(f"{code}: {problem}: {fix}")


def note(text: str) -> None:
    """Writes one line on stderr."""
    print(f"pywsgid: {text}", file=sys.stderr, flush=True)
