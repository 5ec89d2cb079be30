"""The pages of docs/ as tests read them: their commands, and their code blocks with the files that
these stand for.

A block opens with its language and, if it is the text of a file, that file's path: ```python
/srv/shop/site.wsgi. A configuration block marked `old` shows what a reader has before the change;
it is not served.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.M | re.S)
# Generated pages, and pages that are not for users.
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
        """The text between backticks within lines."""
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
        """Each command line, split into words."""
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
