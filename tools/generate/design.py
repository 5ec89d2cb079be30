"""The marked sections of docs/design.md."""

from __future__ import annotations

from tools.generate import agreement_docs, state_machines
from tools.generate.output import Pages, TableError, replace_sections

PAGE = "docs/design.md"
BEGIN = r"<!-- table: ([\w ]+?) (?:\(make generate\) )?-->"
END = "<!-- end of table -->"


def pages() -> Pages:
    """The page with its sections made anew."""
    return {PAGE: replace_sections(PAGE, BEGIN, END, section)}


def section(name: str) -> list[str]:
    """The lines of a section."""
    for sections in (state_machines.SECTIONS, agreement_docs.SECTIONS):
        if name in sections:
            return sections[name]()
    raise TableError(f"{PAGE}: {name} is no table")
