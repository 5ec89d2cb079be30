"""`pywsgid check [CONFIGURATION]`: what would fail when httpd starts, and what to change after
mod_wsgi.

inspection.py finds it; this file declares the arguments and prints the findings, one a line. Exit
status: 0 no problem, 1 a problem, 2 something could not be checked.
"""

from __future__ import annotations

import argparse
import sys

from pywsgid.cli.check.findings import NOTE, PROBLEM, UNKNOWN, Finding
from pywsgid.cli.check.inspection import inspect
from pywsgid.cli.check.subject import Subject
from pywsgid.cli.check.wsgi_conf import HANDLERS
from pywsgid.cli.messages import Failure

FINE, WRONG, NOT_CHECKED = 0, 1, 2  # exit statuses
TIMEOUT = 30.0  # seconds


def declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "configuration",
        nargs="?",
        help="httpd.conf or apache2.conf (default: the file that this machine's httpd reads)",
    )
    parser.add_argument(
        "--define",
        "-D",
        metavar="NAME",
        action="append",
        default=[],
        help="as httpd's -D: define a name for <IfDefine>; may be repeated",
    )
    parser.add_argument(
        "--server-root",
        "-d",
        metavar="DIRECTORY",
        help="as httpd's -d: the directory of relative paths, until a ServerRoot line sets another",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=TIMEOUT,
        help="how long the import of a script may take (default: %(default)g)",
    )
    parser.add_argument("--no-import", action="store_true", help="do not import the scripts")
    parser.add_argument("--strict", action="store_true", help="count notes as problems")


def check(arguments: argparse.Namespace, module: str | None) -> int:
    """Prints the findings and a summary, and returns the exit status. `module` is the path of the
    mod_wsgid.so that belongs to this command, if it has been built."""
    try:
        inspection = inspect(arguments, module)
    except Failure as failure:
        print(f"pywsgid: {failure}", file=sys.stderr)
        return NOT_CHECKED
    for finding in inspection.findings:
        print(finding)
    counts = counts_of(inspection.findings)
    subject = inspection.subject
    print(f"{inspection.path}, {described(subject)}: {summary(counts, serves(subject))}")
    if counts[PROBLEM] or arguments.strict and counts[NOTE]:
        return WRONG
    return NOT_CHECKED if counts[UNKNOWN] else FINE


def counts_of(findings: list[Finding]) -> dict[str, int]:
    """Returns the number of findings of each kind."""
    return {
        kind: sum(finding.kind == kind for finding in findings) for kind in (PROBLEM, NOTE, UNKNOWN)
    }


def described(subject: Subject) -> str:
    """Returns what was checked, as in "1 daemon group, 2 scripts"."""
    groups, scripts = len(subject.by_name), len(subject.scripts)
    return f"{counted(groups, 'daemon group')}, {counted(scripts, 'script')}"


def summary(counts: dict[str, int], is_served: bool) -> str:
    """Returns the result, as in "1 problem, 2 notes"."""
    parts = [
        f"{count} {UNKNOWN}" if kind == UNKNOWN else counted(count, kind)
        for kind, count in counts.items()
        if count
    ]
    if not is_served:
        parts.append("nothing is served, because no WSGIScriptAlias maps a URL to a script")
    return ", ".join(parts) or "no problems found"


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def serves(subject: Subject) -> bool:
    """Returns whether a request may reach a script: by an alias, or by a handler, which a .htaccess
    file may set, too. A script that is only imported needs no request."""
    return bool(subject.scripts) or any(
        handler in line.arguments or line.key.startswith("allowoverride") and _is_open(line.words)
        for line in subject.configuration.directives
        for handler in HANDLERS
    )


def _is_open(words: list[str]) -> bool:
    """Whether AllowOverride or AllowOverrideList lets a .htaccess file set a handler."""
    allowed = {word.lower().partition("=")[0] for word in words}
    return bool(allowed - {"none", "authconfig", "indexes", "limit", "options", "nonfatal"})
