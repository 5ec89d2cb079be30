"""A line of httpd's configuration: its name, its arguments, its place, and the sections around it.

Rules: this file knows httpd's syntax, no directive and no machine. conf_reader.py and conf_dump.py
each produce a list of directives.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

WORD = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\S+)""")


@dataclass(frozen=True)
class Section:
    """<Name arguments>, opened at `place`. The place tells apart two hosts with one address."""

    name: str
    arguments: str
    place: str = ""

    @property
    def words(self) -> list[str]:
        return split(self.arguments)


@dataclass(frozen=True)
class Directive:
    """One directive as httpd sees it: variables are replaced and continuation lines joined. `line`
    is the number of the last of these lines; 0 for a directive that is in no file."""

    name: str
    arguments: str
    file: str
    line: int
    sections: tuple[Section, ...] = ()  # the outermost first

    @property
    def key(self) -> str:
        """The name as httpd compares it."""
        return self.name.lower()

    @property
    def words(self) -> list[str]:
        return split(self.arguments)

    @property
    def place(self) -> str:
        """FILE:LINE, or FILE."""
        return f"{self.file}:{self.line}" if self.line else self.file


def split(text: str) -> list[str]:
    """Splits arguments into words as httpd does: quotes are around a whole word; within them, a
    backslash protects a quote or a backslash."""
    words = []
    for match in WORD.finditer(text):
        word = match[1]
        if word[0] in "\"'" and len(word) > 1 and word[-1] == word[0]:
            word = re.sub(r"\\([\\" + word[0] + "])", r"\1", word[1:-1])
        words.append(word)
    return words


def name_and_arguments(text: str) -> tuple[str, str]:
    """Splits a line. The name of a section begins with <; its closing bracket is dropped."""
    name, _, arguments = (
        text.partition(" ")
        if " " in text and "\t" not in text.split(" ")[0]
        else text.partition("\t")
    )
    arguments = arguments.strip()
    if name.startswith("<"):
        name = name.removesuffix(">")
        arguments = arguments.removesuffix(">").rstrip()
    return name, arguments


def logical_lines(path: str) -> Iterator[tuple[int, str]]:
    """Yields each line of a file with its number. A backslash at the end joins two lines, in
    comments too; the number is that of the last one. Raises OSError."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        joined = ""
        number = 0
        for number, line in enumerate(file, 1):
            text = line.rstrip("\r\n")
            if text.endswith("\\"):
                joined += text[:-1]
                continue
            yield number, (joined + text).strip()
            joined = ""
        if joined:
            yield number, joined.strip()
