"""What a value of each type of WSGIDaemonProcess option looks like (apxs/config/option_types.c says
the same in C).

For the command line: to refuse a value before httpd would, and to check a configuration that httpd
has not read yet. Rules: no knowledge of single options; a type that is not known here is httpd's to
judge. Names of users and groups are looked up by who needs them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pywsgid.wire.options import Option

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def problem(option: Option, text: str) -> str | None:
    """Why `text` is no value of `option`, as in "not a whole number from 1 to 1000"; None if it is
    one.
    """
    check = CHECKS.get(option.type)
    return check(option, text) if check else None


def _number(
    pattern: str, what: str, value: Callable[[re.Match[str]], float]
) -> Callable[[Option, str], str | None]:
    def check(option: Option, text: str) -> str | None:
        match = re.fullmatch(pattern, text, re.ASCII)
        if match and option.least <= value(match) <= option.most:
            return None
        return f"not {what} from {option.least} to {option.most}"

    return check


def _octal(option: Option, text: str) -> str | None:
    if re.fullmatch("[0-7]+", text) and option.least <= int(text, 8) <= option.most:
        return None
    return f"not an octal number from {option.least:o} to {option.most:o}"


def _flag(option: Option, text: str) -> str | None:
    return None if text.lower() in ("on", "off") else "neither on nor off"


def _text(option: Option, text: str) -> str | None:
    if option.least <= len(text) <= option.most:
        return None
    return f"not {option.least} to {option.most} characters"


def _choice(option: Option, text: str) -> str | None:
    return None if text.lower() in option.unit.split("|") else f"not one of {option.unit}"


def _assignment(option: Option, text: str) -> str | None:
    return None if re.fullmatch(r"[A-Za-z_]\w*=.*", text, re.ASCII | re.S) else "not NAME=VALUE"


CHECKS = {
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
