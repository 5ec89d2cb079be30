"""Checks the options of each WSGIDaemonProcess line: names, values, and options that exclude each
other."""

from __future__ import annotations

from typing import NamedTuple

from pywsgid.cli import option_values
from pywsgid.cli.check.findings import NOTE, PROBLEM, Finding, Findings
from pywsgid.cli.check.name_checks import suggestion
from pywsgid.cli.check.subject import Subject
from pywsgid.cli.check.wsgi_conf import Group
from pywsgid.cli.users import group_id, identity_of
from pywsgid.wire.options import FOREIGN, OPTIONS, Option

REPEATABLE_TYPES = ("paths", "groups", "assignments")


class Wrong(NamedTuple):
    """What is wrong with an option."""

    code: str
    what: str
    fix: str
    kind: str = PROBLEM


def check_options(subject: Subject) -> Findings:
    for group in subject.groups:
        seen: dict[str, str] = {}
        for name, value in group.options:
            wrong = _option_wrong(name, value, seen)
            if wrong:
                what = f"daemon group '{group.name}': {wrong.what}"
                yield Finding(group.line.place, wrong.code, what, wrong.fix, wrong.kind)
            seen[name] = value
        if "python" in seen and "python-home" in seen:
            yield Finding(
                group.line.place,
                "WSGID0011",
                f"daemon group '{group.name}': python= and python-home= both name an interpreter",
                "keep one of them",
            )


def check_groups(subject: Subject) -> Findings:
    """A group may be defined twice, with the same options."""
    first: dict[str, Group] = {}
    for group in subject.groups:
        other = first.setdefault(group.name, group)
        if other.options != group.options:
            yield Finding(
                group.line.place,
                "WSGID0010",
                f"daemon group '{group.name}' is defined with other options at {other.line.place}",
                "make both lines the same, or rename one of the groups",
            )


def _option_wrong(name: str, value: str, seen: dict[str, str]) -> Wrong | None:
    """`seen` has the options before it."""
    if not name:
        fix = "write option=value, with quotes around a value that contains spaces"
        return Wrong("WSGID0008", f"'{value}' is not an option", fix)
    if name in FOREIGN:
        return Wrong("WSGID0013", f"{name}= has no effect in mod_wsgid", FOREIGN[name], NOTE)
    if name not in OPTIONS:
        fix = suggestion(name, [*OPTIONS, *FOREIGN], "see docs/reference/options.md")
        return Wrong("WSGID0002", f"there is no option {name}=", fix)
    if name in seen and OPTIONS[name].type not in REPEATABLE_TYPES:
        what = f"{name}= is given twice ({seen[name]} and {value})"
        return Wrong("WSGID0004", what, "the last one is used; keep one of them", NOTE)
    wrong = _value_wrong(OPTIONS[name], value)
    return wrong and wrong._replace(what=f"{name}={value}: {wrong.what}")


def _value_wrong(option: Option, value: str) -> Wrong | None:
    if option_values.is_nothing(option, value):
        return None
    if option.type == "user":
        return _user_wrong(option, value)
    if option.type in ("groupid", "groups"):
        missing = [name for name in value.split(",") if group_id(name) is None]
        what = f"there is no group {missing[0]}" if missing else ""
        return Wrong("WSGID0006", what, "name a group that exists, or #GID") if missing else None
    problem = option_values.problem(option, value)
    if problem:
        return Wrong("WSGID0003", f"the value {problem}", "correct the value")
    used = option_values.adjusted(option, value)
    what, fix = "the value is out of range", f"{used} is used; write that"
    return None if used is None else Wrong("WSGID0032", what, fix, NOTE)


def _user_wrong(option: Option, value: str) -> Wrong | None:
    try:
        identity = identity_of(value)
    except KeyError:
        return Wrong("WSGID0005", f"there is no user {value}", "name a user that exists, or #UID")
    if identity.uid < option.least:
        return Wrong("WSGID0007", "an application must not run as root", "name another user")
    return None
