"""Reads tables of macro calls (apxs/config/*.def) as text, strictly: what it does not understand is
an error, never skipped.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable
from pathlib import Path

from tools.generate.output import TableError

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
PREPROCESSOR = re.compile(r"^\s*#.*$", re.MULTILINE)
CALL = re.compile(r"\s*([A-Z_]+)\(")
TOKEN = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([(),])|([^\s"(),]+))')


def macro_calls(path: Path) -> list[tuple[str, list[str]]]:
    """[(macro, [argument, ...])]: strings joined and unquoted, everything else as it is written."""
    text = PREPROCESSOR.sub("", COMMENT.sub("", path.read_text(encoding="utf-8"))).rstrip()
    calls, position = [], 0
    while position < len(text):
        call = CALL.match(text, position)
        if not call:
            raise TableError(f"{path.name}: no macro call: {text[position : position + 60]!r}")
        arguments, position = _read_arguments(path, text, call.end())
        calls.append((call[1], arguments))
    return calls


def _read_arguments(path: Path, text: str, position: int) -> tuple[list[str], int]:
    """The arguments of a call up to its closing parenthesis, and where the text goes on."""
    arguments, depth = [""], 0
    while True:
        token = TOKEN.match(text, position)
        if not token:
            raise TableError(
                f"{path.name}: unfinished or strange: {text[position : position + 60]!r}"
            )
        position = token.end()
        string, mark, word = token.groups()
        if mark == ")" and depth == 0:
            return arguments, position
        if mark == "," and depth == 0:
            arguments.append("")
            continue
        depth += {"(": 1, ")": -1}.get(mark, 0)
        arguments[-1] += _unquoted(string) if string is not None else mark or word


def _unquoted(string: str) -> str:
    if "\\" in string:
        raise TableError(f"no escapes in strings, please: {string!r}")
    return string


def check_unique(names: Iterable[str]) -> None:
    """Raises a TableError if a name is there twice."""
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    if twice:
        raise TableError(f"more than once: {', '.join(twice)}")
