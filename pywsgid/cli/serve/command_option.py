"""An option of `pywsgid serve` and `pywsgid setup`, and the kinds of values that options have.

Rules: a path becomes absolute here, because httpd would look for it below its ServerRoot. This file
knows no single option; serve_options.py has the table.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pywsgid.cli import option_values
from pywsgid.wire.log_format import LEVEL_NAMES

# -------- kinds of values: each returns the value of a text, or raises ArgumentTypeError


def port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port from 0 to 65535")
    return int(text)


def url_path(text: str) -> str:
    if not text.startswith("/"):
        raise argparse.ArgumentTypeError(f"{text} is not a URL path: it must begin with /")
    return text


def word(text: str) -> str:
    """One word of httpd's configuration. No quoting protects a line break or `${`."""
    if not text or any(ord(character) < 32 for character in text):
        raise argparse.ArgumentTypeError("the value is empty or contains a control character")
    if "${" in text:
        raise argparse.ArgumentTypeError(
            f"{text} contains ${{, where httpd expects the name of a variable"
        )
    return text


def path(text: str) -> str:
    return os.path.abspath(word(text))


def size(text: str) -> int:
    match = re.fullmatch(r"(\d+)([KMG]?)", text.upper(), re.ASCII)
    if not match:
        raise argparse.ArgumentTypeError(f"{text} is not a number of bytes (K, M or G may follow)")
    return int(match[1]) * option_values.UNITS[match[2]]


def log_level(text: str) -> str:
    """As in httpd's LogLevel: words that are LEVEL or MODULE:LEVEL."""
    for item in text.split():
        if item.rpartition(":")[2] not in LEVEL_NAMES:
            known = ", ".join(LEVEL_NAMES[:8])
            raise argparse.ArgumentTypeError(
                f"{item} is not a log level: use {known}, or trace1 to trace8"
            )
    return text


# -------- one option

Kind = Callable[[str], Any]


@dataclass(frozen=True)
class Option:
    """One option. `metavar` has a word for each argument; an option without arguments is a flag.
    `kind` converts an argument; a tuple has one for each.
    """

    name: str
    metavar: tuple[str, ...]
    help: str  # ends with a full stop
    default: Any = None  # None: there is none, or `help` names it
    kind: Kind | tuple[Kind, ...] = word
    repeated: bool = False  # may be given more than once
    negatable: bool = False  # a flag that has a --no- form
    commands: tuple[str, ...] = ("serve", "setup")

    @property
    def syntax(self) -> str:
        """How a user types it: --url-alias URL PATH."""
        return " ".join(
            [
                f"--{self.name}" if not self.negatable else f"--{self.name}, --no-{self.name}",
                *self.metavar,
            ]
        )

    @property
    def note(self) -> str:
        """What follows the help: the default, and whether the option may be repeated."""
        default = "on" if self.default is True else self.default
        return (f" Default: {default}." if default not in (None, False) else "") + (
            " May be repeated." if self.repeated else ""
        )

    def declare(self, group: argparse._ArgumentGroup) -> None:
        """Adds the option to a group of a parser."""
        words: dict[str, Any] = {
            "help": (self.help + self.note).replace("%", "%%"),
            "default": self.default,
        }
        if self.negatable:
            words["action"] = argparse.BooleanOptionalAction
        elif not self.metavar:
            words["action"] = "store_true"
        else:
            words["metavar"] = self.metavar if len(self.metavar) > 1 else self.metavar[0]
            words["type"] = self.kind if callable(self.kind) else word
            words["action"] = (
                _Each if not callable(self.kind) else "append" if self.repeated else "store"
            )
            if not callable(self.kind):
                words |= {"nargs": len(self.metavar), "kinds": self.kind}
        group.add_argument(f"--{self.name}", dest=self.name, **words)


class _Each(argparse.Action):
    """Appends a tuple of several arguments, each converted by its own kind."""

    def __init__(self, *words: Any, kinds: tuple[Kind, ...], **options: Any) -> None:
        super().__init__(*words, **options)
        self._kinds = kinds

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        try:
            converted = tuple(kind(value) for kind, value in zip(self._kinds, values, strict=True))
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentError(self, str(error)) from error
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), converted])
