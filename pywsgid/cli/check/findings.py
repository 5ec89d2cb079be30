"""A finding of `pywsgid check`: one line that names the place, the problem and the fix.

Its code is the one under which the module or the daemon reports the same problem, or one of its own
(docs/errors.d/build.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# Something fails; something is worth knowing; something could not be checked.
PROBLEM, NOTE, UNKNOWN = "problem", "note", "not checked"
# The fix for scripts of one application group that cannot share a process.
APART = (
    "remove WSGIApplicationGroup, so that each script has processes of its own, or give each "
    "another one (option application-group=)"
)


@dataclass(frozen=True)
class Finding:
    """`place` is FILE:LINE or FILE; `kind` is PROBLEM, NOTE or UNKNOWN."""

    place: str
    code: str
    what: str
    fix: str
    kind: str = PROBLEM

    def __str__(self) -> str:
        label = "" if self.kind == PROBLEM else f"{self.kind}: "
        return f"{self.place}: {label}{self.code}: {self.what}: {self.fix}"


Findings = Iterator[Finding]
