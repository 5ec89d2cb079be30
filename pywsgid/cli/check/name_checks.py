"""Checks names: of directives, and of daemon groups where a line refers to one."""

from __future__ import annotations

import difflib

from pywsgid.cli.check.conf_syntax import Directive
from pywsgid.cli.check.findings import NOTE, Finding, Findings
from pywsgid.cli.check.subject import Subject
from pywsgid.cli.check.wsgi_conf import (
    ALIASES,
    DECIDERS,
    DEFAULT_GROUP,
    GROUP_DIRECTIVES,
    GROUP_OPTIONS,
    decider_heads,
    heads,
    options,
)
from pywsgid.wire import directives

# By the key of a directive: what to do about it.
FOREIGN = {name.lower().lstrip("<"): fix for name, fix in directives.FOREIGN.items()}
KNOWN = {name.lower() for name in directives.DIRECTIVES}
ALL_NAMES = [*directives.DIRECTIVES, *directives.FOREIGN]


def check_directives(subject: Subject) -> Findings:
    """Directives that only mod_wsgi has, and directives that neither module has."""
    for line in subject.configuration.directives:
        name, key = line.name.lstrip("<"), line.key.lstrip("<")
        if key in FOREIGN:
            what = f"{name} has no effect in mod_wsgid"
            yield Finding(line.place, "WSGID0014", what, FOREIGN[key], NOTE)
        elif key.startswith("wsgi") and key not in KNOWN:
            fix = suggestion(name, ALL_NAMES, "see docs/reference/directives.md")
            yield Finding(line.place, "WSGID0422", f"there is no directive {name}", fix)


def suggestion(name: str, known: list[str], otherwise: str) -> str:
    """Returns a fix for an unknown name: the known name that is most like it, or `otherwise`."""
    by_key = {text.lower(): text for text in known}
    near = difflib.get_close_matches(name.lower(), by_key, n=1, cutoff=0.75)
    return f"did you mean {by_key[near[0]]}?" if near else otherwise


def check_references(subject: Subject) -> Findings:
    """WSGIProcessName, process-name= and the like: the group must be defined."""
    known = {*subject.by_name, DEFAULT_GROUP, ""}
    for line in subject.configuration.directives:
        for name in _groups_named(line):
            if name not in known and "%{" not in name:
                fix = suggestion(name, list(subject.by_name), f"add WSGIDaemonProcess {name}")
                what = f"there is no daemon group '{name}'"
                yield Finding(line.place, "WSGID0018", what, fix)


def _groups_named(line: Directive) -> list[str]:
    if line.key in GROUP_DIRECTIVES:
        return line.words[:1]
    if line.key in ALIASES:
        given = options(heads(line.arguments, 2)[1])
        return [value for name, value in given if name in GROUP_OPTIONS]
    if line.key in DECIDERS:
        given = options(decider_heads(line)[1])
        return [value for name, value in given if name in GROUP_OPTIONS]
    return line.words if line.key == "wsgirestrictprocess" else []
