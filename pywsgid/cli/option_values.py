"""Checks the text of a WSGIDaemonProcess option against its type, as apxs/config/option_types.c
does in C.

The command line uses it to refuse a value before httpd does, and to check a configuration that
httpd has not read. Rules: this file knows types, not single options. A type that it does not know
is left to httpd. Users and groups are not searched here: that depends on the machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pywsgid.wire.options import Option

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

Check = Callable[[Option, str], str | None]


def problem(option: Option, text: str) -> str | None:
    """Returns why `text` is not a value of `option`, as in "is not a whole number from 1 to 1000";
    None if it is one.
    """
    check = CHECKS.get(option.type)
    return check(option, text) if check else None


def _number(pattern: str, kind: str, value: Callable[[re.Match[str]], float]) -> Check:
    """Returns the check of a type that is a number of some kind, within the option's limits."""

    def check(option: Option, text: str) -> str | None:
        match = re.fullmatch(pattern, text, re.ASCII)
        if match and option.least <= value(match) <= option.most:
            return None
        return f"is not {kind} from {option.least} to {option.most}"

    return check


def _octal(option: Option, text: str) -> str | None:
    if re.fullmatch("[0-7]+", text) and option.least <= int(text, 8) <= option.most:
        return None
    return f"is not an octal number from {option.least:o} to {option.most:o}"


def _flag(option: Option, text: str) -> str | None:
    return None if text.lower() in ("on", "off") else "is neither on nor off"


def _text(option: Option, text: str) -> str | None:
    if option.least <= len(text.encode("utf-8", "surrogateescape")) <= option.most:
        return None
    return f"does not have {option.least} to {option.most} bytes"


def _choice(option: Option, text: str) -> str | None:
    return None if text.lower() in option.unit.split("|") else f"is not one of {option.unit}"


def _assignment(option: Option, text: str) -> str | None:
    is_one = re.fullmatch(r"[A-Za-z_]\w*=.*", text, re.ASCII | re.S)
    return None if is_one else "does not have the form NAME=VALUE"


CHECKS: dict[str, Check] = {
    "integer": _number(r"-?\d+", "a whole number", lambda match: int(match[0])),
    "seconds": _number(r"\d+(\.\d+)?", "a number of seconds", lambda match: float(match[0])),
    "size": _number(
        r"(\d+)([KMGkmg]?)",
        "a number of bytes (K, M or G may follow)",
        lambda match: int(match[1]) * UNITS[match[2].upper()],
    ),
    "octal": _octal,
    "flag": _flag,
    "text": _text,
    "choice": _choice,
    "assignments": _assignment,
}
