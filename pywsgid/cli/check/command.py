"""`pywsgid check [CONFIGURATION]`: what would fail at the start, and what to change when one comes
from mod_wsgi.

The configuration is read, by httpd itself if it accepts it (conf_reader.py); each check (checks.py)
yields findings; they are printed, a line each, in the order of the files. Exit status: 0 nothing is
wrong, 1 something is, 2 something could not be checked. Rules: nothing is changed and nothing is
started but interpreters that import the scripts (--no-import: not even these), each as the user
that it will run as.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass

from pywsgid.cli.check import conf_reader
from pywsgid.cli.check.conf_reader import Directive, Reading
from pywsgid.cli.check.configuration_checks import all_findings
from pywsgid.cli.check.findings import NAMES_OF_THEIRS, NOTE, PROBLEM, UNKNOWN, Finding, Subject
from pywsgid.cli.check.importing import Importer
from pywsgid.cli.check.wsgi_conf import Configuration
from pywsgid.cli.messages import Failure
from pywsgid.cli.server import NoServer, Server, find_server

FINE, WRONG, NOT_CHECKED = 0, 1, 2
TIMEOUT = 30.0
SYNTAX_ERROR = re.compile(r"Syntax error on line (\d+) of (.+?):(?= Syntax error|$|\s)")
LEVEL = re.compile(r"^\[[^\]]*\] \[(?:[\w.-]+:)?(\w+)\] (?:\[[^\]]*\] )*")
CODE = re.compile(r"(?:WSGID|AH)\d{4,5}: ")
PLACE = re.compile(r"(/[^\s:()']+):(\d+)")
HANDLERS = ("wsgid-script", "wsgi-script")  # ours, mod_wsgi's
SEVERE = ("emerg", "alert", "crit", "error")
# What httpd says beside errors.
HARMLESS = re.compile(r"Syntax OK|AH00558|AH00014|Configuration check failed|^\s*$")


def declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "configuration",
        nargs="?",
        help="httpd.conf or apache2.conf (default: the one that httpd was built to read)",
    )
    parser.add_argument(
        "--define",
        "-D",
        metavar="NAME",
        action="append",
        default=[],
        help="as httpd's -D: a name for IfDefine; may be repeated",
    )
    parser.add_argument(
        "--server-root",
        "-d",
        metavar="DIRECTORY",
        help="as httpd's -d: where relative paths begin until the configuration says ServerRoot",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=TIMEOUT,
        help="how long an import may take (default: %(default)g)",
    )
    parser.add_argument("--no-import", action="store_true", help="do not import the scripts")
    parser.add_argument("--strict", action="store_true", help="let notes count as problems")


def check(arguments: argparse.Namespace, module: str | None) -> int:
    try:
        findings, what, serves = findings_of(arguments, module)
    except Failure as failure:
        print(f"pywsgid: {failure}", file=sys.stderr)
        return NOT_CHECKED
    for finding in findings:
        print(finding)
    counts = {
        kind: sum(finding.kind == kind for finding in findings) for kind in (PROBLEM, NOTE, UNKNOWN)
    }
    print(f"{what}: {summary(counts, serves)}")
    if counts[PROBLEM] or arguments.strict and counts[NOTE]:
        return WRONG
    return NOT_CHECKED if counts[UNKNOWN] else FINE


def summary(counts: dict[str, int], serves: bool) -> str:
    words = {PROBLEM: "problem", NOTE: "note", UNKNOWN: "not checked"}
    parts = [
        f"{count} {words[kind]}{'s' if count != 1 and kind != UNKNOWN else ''}"
        for kind, count in counts.items()
        if count
    ]
    if not serves:
        parts.append("nothing is served, as no line leads a URL to a script (WSGIScriptAlias)")
    return ", ".join(parts) or "nothing is wrong"


# -------- the configuration


@dataclass(frozen=True)
class Built:
    """How an httpd was built: `httpd -V`."""

    root: str
    configuration: str
    runtime: str
    version: tuple[int, ...]


def built(server: Server) -> Built:
    done = subprocess.run([server.program, "-V"], capture_output=True, text=True)
    said = dict(re.findall(r'-D (\w+)="(.*)"', done.stdout))
    version = re.search(r"Apache/([\d.]+)", done.stdout)
    root = said.get("HTTPD_ROOT", "/")
    return Built(
        root,
        os.path.join(root, said.get("SERVER_CONFIG_FILE", "httpd.conf")),
        os.path.dirname(os.path.join(root, said.get("DEFAULT_PIDLOG", "logs/httpd.pid"))),
        tuple(int(part) for part in version[1].split(".")) if version else (2, 4),
    )


def findings_of(
    arguments: argparse.Namespace, module: str | None
) -> tuple[list[Finding], str, bool]:
    """(findings in the order of the files, what was checked, whether it serves anything)"""
    server = usable_server()
    how = built(server)
    path = os.path.abspath(arguments.configuration or how.configuration)
    variables = envvars(path, how.root)
    root = (
        os.path.abspath(arguments.server_root)
        if arguments.server_root
        else os.path.dirname(path)
        if variables is not None and not path.startswith(how.root + "/")
        else how.root
    )
    try:
        defines = dict.fromkeys(arguments.define, "")
        reading = conf_reader.read(server, path, root, how.version, defines, variables or {})
    except OSError as error:
        raise Failure(
            "WSGID0430",
            f"{path} cannot be read ({error.strerror})",
            "name the configuration to check",
        ) from error
    words = ["-d", root, "-f", path, *(word for name in arguments.define for word in ("-D", name))]
    asked, code, said = conf_reader.ask(server, words, variables or {})
    configuration = Configuration(both(reading, asked), root)
    runtime = configuration.text("defaultruntimedir")
    importer = Importer(module_file(reading) or module, arguments.timeout, not arguments.no_import)
    subject = Subject(
        configuration,
        reading.loaded,
        module,
        importer,
        configuration.path(runtime) if runtime else how.runtime,
        place=path,
        blocks=reading.blocks,
    )
    findings = all_findings(subject) if is_about_wsgi(subject) else [nothing_of_wsgi(path)]
    findings += [] if asked else gaps(reading)
    findings += refusals(said, path, findings) if code else []
    order = {name: index for index, name in enumerate(dict.fromkeys(reading.files))}
    return (
        sorted(findings, key=lambda finding: place_key(finding, order)),
        described(subject, path),
        serves(subject),
    )


def usable_server() -> Server:
    try:
        return find_server()
    except NoServer as error:
        raise Failure(
            "WSGID0402",
            str(error),
            "install Apache httpd 2.4: it is asked what it makes of the configuration",
        ) from error


def envvars(path: str, root: str) -> dict[str, str] | None:
    """Debian's variables, as apachectl takes them: from envvars beside the configuration. None if
    there is none.
    """
    for directory in dict.fromkeys((os.path.dirname(path), root)):
        file = os.path.join(directory, "envvars")
        # Only what its owner could have run anyway: it is a shell script.
        if os.path.isfile(file) and os.stat(file).st_uid in (0, os.geteuid()):
            command = f"set -a; . {shlex.quote(file)} >/dev/null 2>&1; env -0"
            done = subprocess.run(
                ["/bin/sh", "-c", command], capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
            pairs = (item.partition("=") for item in done.stdout.split("\0") if item)
            return {name: value for name, _, value in pairs}
    return None


def both(reading: Reading, asked: list[Directive]) -> list[Directive]:
    """httpd's reading, if it has one, with the lines that it does not print."""
    if not asked:
        return reading.directives
    return [line for line in reading.directives if line.key in conf_reader.DONE_AT_ONCE] + asked


def module_file(reading: Reading) -> str | None:
    """The mod_wsgid.so that the configuration loads, if it is there."""
    line = reading.loaded.get("wsgid_module")
    path = reading.path(line.words[1]) if line else ""
    return path if os.path.isfile(path) else None


def is_about_wsgi(subject: Subject) -> bool:
    return (
        any(name in subject.loaded for name in ("wsgid_module", "wsgi_module"))
        or any(line.key.lstrip("<").startswith("wsgi") for line in subject.configuration.directives)
        or any(block.module in NAMES_OF_THEIRS for block in subject.blocks)
    )


def serves(subject: Subject) -> bool:
    """Whether any request may come to a script: by an alias, or by the handler."""
    handlers = subject.configuration.named("addhandler", "sethandler")
    return bool(subject.scripts) or any(
        word in HANDLERS for line in handlers for word in line.words
    )


def nothing_of_wsgi(path: str) -> Finding:
    return Finding(
        path,
        "WSGID0429",
        "neither mod_wsgid nor mod_wsgi is loaded, and there is no directive of theirs",
        "name another configuration, or -D what its IfDefine wait for",
        UNKNOWN,
    )


def gaps(reading: Reading) -> list[Finding]:
    return [
        Finding(
            place,
            "WSGID0429",
            f"{what} is not followed here",
            "correct what httpd refuses, then it is asked",
            UNKNOWN,
        )
        for place, what in reading.gaps
    ]


def described(subject: Subject, path: str) -> str:
    groups, scripts = len(subject.by_name), len(subject.scripts)
    return f"{path}, {groups} daemon group{'s' * (groups != 1)}, {scripts} script{'s' * (scripts != 1)}"


def place_key(finding: Finding, order: dict[str, int]) -> tuple[int, int]:
    name, _, number = finding.place.rpartition(":")
    return (order.get(name, len(order)), int(number)) if number.isdecimal() and name else (-1, 0)


# -------- httpd's own words


def refusals(said: str, path: str, known: list[Finding]) -> list[Finding]:
    """What httpd itself refuses, but for places that something else is said of already."""
    places = {finding.place for finding in known if finding.kind == PROBLEM}
    found = [finding for finding in complaints(said, path) if finding.place not in places]
    # Some errors follow from another: what is told above is enough.
    return (
        found
        if found or places
        else [Finding(path, "WSGID0428", "httpd refuses it without a word", "run `httpd -t`")]
    )


def complaints(said: str, path: str) -> list[Finding]:
    found = []
    place = ""
    for line in said.splitlines():
        syntax = list(SYNTAX_ERROR.finditer(line))
        if syntax:
            place = f"{syntax[-1][2]}:{syntax[-1][1]}"
            line = line[syntax[-1].end() :]
        level = LEVEL.match(line)
        text = line[level.end() :] if level else line
        if (level and level[1] not in SEVERE) or HARMLESS.search(text):
            continue
        code = CODE.search(text)
        own = code[0].removesuffix(": ") if code and code[0].startswith("WSGID") else "WSGID0428"
        mentioned = PLACE.search(text)
        where = place or (f"{mentioned[1]}:{mentioned[2]}" if mentioned else path)
        what, _, fix = (
            text.replace(code[0], "").partition(": ")
            if own != "WSGID0428" and code
            else (text, "", "")
        )
        found.append(
            Finding(
                where, own, what if fix else f"httpd: {what.strip()}", fix or "correct that line"
            )
        )
        place = ""
    return found
