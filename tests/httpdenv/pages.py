"""The pages of docs/ as tests read them: their code blocks, with the file that a block is to be,
and their commands.

A block is opened by its language and, if it is the text of a file, by the path of that: ```python
/srv/shop/site.wsgi A block of configuration that is marked `old` is what somebody has before, and
is not served.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.M | re.S)
# What the generator or the bench writes, and what is not for users.
OTHERS = ("errors.md", "performance.md", "design.md")


@dataclass(frozen=True)
class Block:
    language: str
    mark: str | None
    text: str


@dataclass(frozen=True)
class Page:
    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def blocks(self) -> list[Block]:
        return [
            Block(language, mark or None, text) for language, mark, text in BLOCK.findall(self.text)
        ]

    @property
    def prose(self) -> str:
        return BLOCK.sub("", self.text)

    @property
    def spans(self) -> list[str]:
        """What stands in backticks in a line."""
        return re.findall(r"`([^`\n]+)`", self.prose)

    @property
    def files(self) -> dict[str, str]:
        """{path: text}"""
        return {
            block.mark: block.text
            for block in self.blocks
            if block.mark and block.mark.startswith("/")
        }

    def configurations(self, mark: str | None = None) -> list[str]:
        return [
            block.text for block in self.blocks if block.language == "apache" and block.mark == mark
        ]

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command line."""
        lines = [
            line
            for block in self.blocks
            if block.language == "sh"
            for line in block.text.splitlines()
        ]
        return [shlex.split(line) for line in lines]


def page(name: str) -> Page:
    return Page(DOCS / name)


def pages() -> list[Page]:
    return [Page(path) for path in sorted(DOCS.glob("*.md")) if path.name not in OTHERS]
