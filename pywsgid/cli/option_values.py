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

# Types whose value may be empty if `least` is 0: then the option is not given.
MAY_BE_EMPTY = ("text", "path", "paths", "groups")

Check = Callable[[Option, str], str | None]


def problem(option: Option, text: str) -> str | None:
    """Returns why `text` is not a value of `option`, as in "is not a whole number from 1 to 1000";
    None if it is one.
    """
    if is_nothing(option, text):
        return None
    check = CHECKS.get(option.type)
    return check(option, text) if check else None


def is_nothing(option: Option, text: str) -> bool:
    """Returns whether the text says that the option is not given."""
    if not text:
        return option.type in MAY_BE_EMPTY and not option.least
    return option.type == "size" and text == "0" and option.least > 0


def adjusted(option: Option, text: str) -> float | None:
    """Returns the bound that is used in the place of a number beyond it; None if there is no need.
    `text` is a value of the option."""
    if option.type == "range" and _range(option, text) is None:
        return option.most if int(text.split("-")[-1]) > option.most else None
    if option.type not in NUMBERS:
        return None
    pattern, _, number = NUMBERS[option.type]
    match = re.fullmatch(pattern, text, re.ASCII)
    value = number(match) if match else option.least
    used = min(max(value, option.least), option.most)
    return None if used == value else used


def _number(type: str) -> Check:
    """Returns the check of a type that is a number of some kind. httpd adjusts what is beyond the
    option's bounds, but for a number that is too small."""
    pattern, kind, number = NUMBERS[type]

    def check(option: Option, text: str) -> str | None:
        match = re.fullmatch(pattern, text, re.ASCII)
        if match and (type == "size" or option.least <= number(match)) and number(match) < 1 << 63:
            return None
        return f"is not {kind} from {option.least} to {option.most}"

    return check


def _range(option: Option, text: str) -> str | None:
    """N, or MIN-MAX. A MAX beyond the option's bound is adjusted."""
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text, re.ASCII)
    if match:
        least, most = int(match[1]), int(match[2] or match[1])
        if (option.least if match[2] else 1) <= least <= most and 1 <= most:
            return None
    return (
        f"is neither a whole number from 1 to {option.most} nor MIN-MAX with MIN from "
        f"{option.least} and MAX not below it"
    )


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


# How they are written, what they are called, and their value.
NUMBERS: dict[str, tuple[str, str, Callable[[re.Match[str]], float]]] = {
    "integer": (r"-?\d+", "a whole number", lambda match: int(match[0])),
    "seconds": (r"\d+(\.\d{1,6})?", "a number of seconds", lambda match: float(match[0])),
    "size": (
        r"(\d+)([KMGkmg]?)",
        "a number of bytes (K, M or G may follow)",
        lambda match: int(match[1]) * UNITS[match[2].upper()],
    ),
}
CHECKS: dict[str, Check] = {
    "integer": _number("integer"),
    "range": _range,
    "seconds": _number("seconds"),
    "size": _number("size"),
    "octal": _octal,
    "flag": _flag,
    "text": _text,
    "choice": _choice,
    "assignments": _assignment,
}
