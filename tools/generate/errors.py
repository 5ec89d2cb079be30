"""docs/errors.d/*.md -> docs/errors.md: each WSGIDnnnn of the sources has exactly one section."""

from __future__ import annotations

import re
from pathlib import Path

from tools.generate.output import DO_NOT_EDIT, ROOT, Pages, TableError, wrap

SECTION = re.compile(r"^### (WSGID\d{4}): \S.*$", re.MULTILINE)
CODE = re.compile(r"WSGID\d{4}")
SOURCES = ("mod_wsgid.c", "apxs/**/*.c", "apxs/**/*.h", "apxs/**/*.def", "pywsgid/**/*.py")


def pages() -> Pages:
    """The page with all messages."""
    return {"docs/errors.md": errors_page(read_errors())}


def problems() -> list[str]:
    """Codes without a section, and sections without a code in the sources."""
    sections, used = read_errors(), used_codes()
    missing, idle = sorted(used.keys() - sections.keys()), sorted(sections.keys() - used.keys())
    lines = [f"{code} ({used[code]}) is not documented in docs/errors.d" for code in missing]
    return lines + [f"{code} is documented, but no source has it" for code in idle]


def read_errors() -> dict[str, str]:
    """{code: section} of all pages in docs/errors.d. What is above a page's first section is for
    its authors.
    """
    sections: dict[str, str] = {}
    for path in sorted((ROOT / "docs" / "errors.d").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        starts = [match.start() for match in SECTION.finditer(text)]
        if len(starts) != len(re.findall(r"^###? ", text, re.MULTILINE)):
            raise TableError(f"{path.name}: each section begins with '### WSGIDnnnn: title'")
        for start, end in zip(starts, [*starts[1:], None]):
            code = text[start + 4 : start + 13]
            if code in sections:
                raise TableError(f"{path.name}: {code} is documented twice")
            sections[code] = text[start:end].strip()
    return sections


def used_codes() -> dict[str, Path]:
    """{code: file} of the sources."""
    found: dict[str, Path] = {}
    for pattern in SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            for code in CODE.findall(path.read_text(encoding="utf-8")):
                found.setdefault(code, path.relative_to(ROOT))
    return found


def errors_page(sections: dict[str, str]) -> list[str]:
    """docs/errors.md"""
    source = DO_NOT_EDIT.format(source="`docs/errors.d/`")
    lines = ["# Messages and what to do about them", "", source, ""]
    lines += wrap(
        "Every message of mod_wsgid begins with a code: up to 0299 from httpd's side, from 0300 "
        "from a daemon, from 0400 from the command line."
    )
    for code in sorted(sections):
        lines += ["", *sections[code].splitlines()]
    return lines
