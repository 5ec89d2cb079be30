"""apxs/config/options.def -> docs/reference/options.md, pywsgid/wire/options.py and
pywsgid/wire/daemon_options.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tools.generate.macros import check_unique, macro_calls
from tools.generate.output import (
    DO_NOT_EDIT,
    ROOT,
    Pages,
    TableError,
    entry_lines,
    quoted,
    string_lines,
    wrap,
)

SOURCE = "apxs/config/options.def"
LONGEST_NAME = 40  # MAX_NAME in options.c


class Option(NamedTuple):
    """An OPTION of the table, its numbers read."""

    name: str
    type: str
    default: int | float | str | None
    least: int
    most: int
    consumer: str
    unit: str
    help: str


Foreign = tuple[str, str]  # name, fix

NUMBERS: dict[str, Callable[[str], int | float]] = {
    "INTEGER": int,
    "RANGE": int,
    "SECONDS": float,
    "SIZE": int,
    "OCTAL": lambda text: int(text, 8),
}
BOUNDED = {*NUMBERS, "TEXT"}
TYPES = {
    "INTEGER": "whole number",
    "RANGE": "whole number, or two as MIN-MAX",
    "SECONDS": "seconds, decimals allowed",
    "SIZE": "bytes; K, M or G may follow",
    "OCTAL": "octal number",
    "FLAG": "on or off",
    "USER": "user name or #UID",
    "GROUPID": "group name or #GID",
    "TEXT": "text",
    "CHOICE": "one of",
    "PATH": "path, absolute or relative to ServerRoot",
    "PATHS": "paths, separated by colons; may be repeated",
    "GROUPS": "group names or #GIDs, separated by commas; may be repeated",
    "ASSIGNMENTS": "NAME=VALUE; may be repeated",
}


def pages() -> Pages:
    """The files that derive from the table."""
    options, foreign = read_options()
    return {
        "docs/reference/options.md": options_page(options, foreign),
        "pywsgid/wire/options.py": options_module(options, foreign),
        "pywsgid/wire/daemon_options.py": daemon_module(options),
    }


def read_options() -> tuple[list[Option], list[Foreign]]:
    """The options, and those of mod_wsgi that have no effect here."""
    path = ROOT / SOURCE
    options, foreign = [], []
    for macro, arguments in macro_calls(path):
        if macro == "OPTION" and len(arguments) == 1 + len(Option._fields):
            options.append(read_option(*arguments))
        elif macro == "FOREIGN_OPTION" and len(arguments) == 2:
            foreign.append((arguments[0], arguments[1]))
        else:
            raise TableError(f"{path.name}: {macro} with {len(arguments)} arguments")
    check_unique([option.name for option in options] + [name for name, _ in foreign])
    return options, foreign


def read_option(
    id: str, name: str, type: str, default: str, least: str, most: str, consumer: str, *texts: str
) -> Option:
    """One OPTION; a TableError if it breaks the rules."""
    unit, help = texts
    if type not in TYPES or consumer not in ("HTTPD", "DAEMON", "BOTH"):
        raise TableError(f"{name}: type {type} or consumer {consumer} is unknown")
    if id != name.upper().replace("-", "_") or len(name) > LONGEST_NAME:
        raise TableError(f"{name}: does not fit its ID {id}, or is too long")
    if type == "CHOICE" and default not in unit.split("|"):
        raise TableError(f"{name}: its default is none of its choices")
    value = None if default == "NULL" else NUMBERS.get(type, str)(default)
    base = 8 if type == "OCTAL" else 10
    return Option(name, type, value, int(least, base), int(most, base), consumer, unit, help)


# -------- the reference


def bounds_text(option: Option) -> str:
    """ "1 to 9", in the option's own form."""
    if option.type == "OCTAL":
        return f"{option.least:04o} to {option.most:04o}"
    if option.type == "SIZE":
        return f"{size_text(option.least)} to {size_text(option.most)}"
    if option.type == "TEXT":
        return f"{option.least} to {option.most} bytes"
    return f"{option.least} to {option.most}" if option.type in BOUNDED else ""


def size_text(number: float) -> str:
    """ "64K" """
    for suffix, unit in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if number and number % unit == 0:
            return f"{number // unit}{suffix}"
    return str(number)


def default_text(option: Option) -> str:
    """ "default 5"; "" if there is none."""
    default = option.default
    if default is None:
        return ""
    if isinstance(default, str):
        return f"default {default}"
    return f"default {size_text(default)}" if option.type == "SIZE" else f"default {default:g}"


def facts_text(option: Option) -> str:
    """The line below an option's heading."""
    unit = option.unit if option.type in ("INTEGER", "RANGE") else ""
    choices = f"one of {', '.join(option.unit.split('|'))}"
    kind = choices if option.type == "CHOICE" else TYPES[option.type]
    facts = [kind, unit, bounds_text(option), default_text(option)]
    return f"*{'; '.join(fact for fact in facts if fact)}*"


def options_page(options: list[Option], foreign: list[Foreign]) -> list[str]:
    """docs/reference/options.md"""
    lines = ["# Options of WSGIDaemonProcess", "", DO_NOT_EDIT.format(source=f"`{SOURCE}`"), ""]
    lines += wrap(
        "`WSGIDaemonProcess NAME [option=value ...]`. Put quotes around a value that contains "
        'spaces: `display-name="my site"`. '
        "Each option may be given once, unless its description says that it may be repeated. "
        "Wrong names and values are found by `apachectl configtest`. A path that does not exist "
        "or that the group's user cannot reach, and an interpreter that does not work, are found "
        "when the daemons start, or before that by `pywsgid check`."
    )
    for option in options:
        lines += ["", f"## {option.name}", "", *wrap(facts_text(option)), "", *wrap(option.help)]
    lines += ["", "## Options of mod_wsgi that have no effect here", ""]
    lines += wrap(
        "An existing configuration that contains them starts, with one notice for each (WSGID0013)."
    )
    lines += ["", "| option | instead |", "|---|---|"]
    return [*lines, *(f"| `{name}` | {fix} |" for name, fix in foreign)]


# -------- the module

MODULE_TOP = '''\
"""The options of WSGIDaemonProcess, name -> Option.

{note}
"""

from __future__ import annotations


class Option:
    """One option. `default` is None if there is none, or if it is known only at start (`help` says
    which).

    `least` and `most` bound a number, an id or the length of a text, in `unit`; both are 0 for
    other types.
    """

    __slots__ = ("type", "default", "least", "most", "for_daemon", "unit", "help")

    def __init__(
        self,
        type: str,
        default: int | float | str | None,
        least: int,
        most: int,
        for_daemon: bool,
        unit: str,
        help: str,
    ) -> None:
        self.type, self.default, self.least, self.most = type, default, least, most
        self.for_daemon, self.unit, self.help = for_daemon, unit, help


OPTIONS: dict[str, Option] = {{'''


def options_module(options: list[Option], foreign: list[Foreign]) -> list[str]:
    """pywsgid/wire/options.py"""
    lines = MODULE_TOP.format(note=DO_NOT_EDIT.format(source=SOURCE)).splitlines()
    for option in options:
        for_daemon = option.consumer != "HTTPD"
        values = (
            option.type.lower(),
            option.default,
            option.least,
            option.most,
            for_daemon,
            option.unit,
        )
        lines += [
            f"    {quoted(option.name)}: Option(",
            "        " + ", ".join(map(quoted, values)) + ",",
            *string_lines(option.help, 8),
            "    ),",
        ]
    lines += [
        "}",
        "",
        "# mod_wsgi's options that are accepted without effect -> what to do instead.",
        "FOREIGN: dict[str, str] = {",
    ]
    return [*lines, *(line for name, fix in foreign for line in entry_lines(name, fix)), "}"]


# -------- the daemon's part

DAEMON_MODULE_TOP = '''\
"""The options of WSGIDaemonProcess that a daemon gets. No help texts: each daemon imports this.

{note}
"""

from __future__ import annotations


class DaemonOptions:
    """The options as attributes. Times are in seconds, sizes in bytes."""
'''

# {type: (its annotation, the value of an option that is not given and has no default)}
PYTHON_TYPES: dict[str, tuple[str, object]] = {
    "INTEGER": ("int", 0),
    "RANGE": ("int", 0),  # its upper bound
    "SECONDS": ("float", 0.0),
    "SIZE": ("int", 0),
    "FLAG": ("bool", False),
    "TEXT": ("str", ""),
    "PATH": ("str", ""),
    "CHOICE": ("str", ""),
    "PATHS": ("list[str]", ()),
}


def daemon_module(options: list[Option]) -> list[str]:
    """pywsgid/wire/daemon_options.py"""
    ours = [option for option in options if option.consumer != "HTTPD"]
    unknown = [option.name for option in ours if option.type not in PYTHON_TYPES]
    if unknown:
        raise TableError(f"{', '.join(unknown)}: the daemon has no parser for this type")
    attributes = {option.name: option.name.replace("-", "_") for option in ours}
    lines = DAEMON_MODULE_TOP.format(note=DO_NOT_EDIT.format(source=SOURCE)).splitlines()
    lines += ["", "    __slots__ = ("]
    lines += [f"        {quoted(name)}," for name in attributes.values()]
    lines += ["    )", ""]
    lines += [f"    {attributes[each.name]}: {PYTHON_TYPES[each.type][0]}" for each in ours]
    lines += ["", "", "# name: (attribute, type, value if the option is not given)"]
    lines += ["DAEMON_OPTIONS: dict[str, tuple[str, str, object]] = {"]
    for option in ours:
        default = PYTHON_TYPES[option.type][1] if option.default is None else option.default
        values = (attributes[option.name], option.type.lower(), default)
        lines += [f"    {quoted(option.name)}: ({', '.join(map(quoted, values))}),"]
    return [*lines, "}"]
