"""The errors that httpd itself reports about a configuration, as findings."""

from __future__ import annotations

import re

from pywsgid.cli.check.findings import PROBLEM, Finding

SYNTAX_ERROR = re.compile(r"Syntax error on line (\d+) of (.+?):(?= Syntax error|$|\s)")
LEVEL = re.compile(r"^\[[^\]]*\] \[(?:[\w.-]+:)?(\w+)\] (?:\[[^\]]*\] )*")
CODE = re.compile(r"(?:WSGID|AH)\d{4,5}: ")
PLACE = re.compile(r"(/[^\s:()']+):(\d+)")
SEVERE = ("emerg", "alert", "crit", "error")
# Lines of httpd that are not errors.
HARMLESS = re.compile(r"Syntax OK|AH00558|AH00014|Configuration check failed|^\s*$")


def httpd_errors(output: str, path: str, known: list[Finding]) -> list[Finding]:
    """Returns what httpd reports, but for places that another finding is about. `output` is the
    stderr of `httpd -t`, `path` the configuration."""
    places = {finding.place for finding in known if finding.kind == PROBLEM}
    found = [finding for finding in _parsed(output, path) if finding.place not in places]
    # An error often follows from another one, so the known findings may be enough.
    if found or places:
        return found
    return [Finding(path, "WSGID0428", "httpd refuses it without a message", "run `httpd -t`")]


def _parsed(output: str, path: str) -> list[Finding]:
    found = []
    place = ""
    for line in output.splitlines():
        syntax = list(SYNTAX_ERROR.finditer(line))
        if syntax:
            place = f"{syntax[-1][2]}:{syntax[-1][1]}"
            line = line[syntax[-1].end() :]
        level = LEVEL.match(line)
        text = line[level.end() :] if level else line
        if (level and level[1] not in SEVERE) or HARMLESS.search(text):
            continue
        found.append(_finding(text, place, path))
        place = ""
    return found


def _finding(text: str, place: str, path: str) -> Finding:
    """The finding for a message; `place` is "" if httpd names none before it."""
    mentioned = PLACE.search(text)
    where = place or (f"{mentioned[1]}:{mentioned[2]}" if mentioned else path)
    code = CODE.search(text)
    if code and code[0].startswith("WSGID"):
        what, _, fix = text.replace(code[0], "").partition(": ")
        if fix:
            return Finding(where, code[0].removesuffix(": "), what, fix)
        return Finding(where, code[0].removesuffix(": "), _quoted(what), "correct that line")
    return Finding(where, "WSGID0428", _quoted(text), "correct that line")


def _quoted(text: str) -> str:
    return f"httpd: {text.strip()}"
