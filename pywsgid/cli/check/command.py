"""`pywsgid check [CONFIGURATION]`: what would fail when httpd starts, and what to change after
mod_wsgi.

The configuration is read (conf_reader.py; conf_dump.py if httpd accepts it), each check yields
findings, and they are printed, one a line, in the order of the files. Exit status: 0 no problem, 1
a problem, 2 something could not be checked.

Rules: nothing is changed. Only interpreters are started, each as the user that the application runs
as; they import the scripts (unless --no-import).
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass

from pywsgid.cli.check import conf_dump, conf_reader
from pywsgid.cli.check.alias_checks import check_django, check_order
from pywsgid.cli.check.conf_reader import Reading
from pywsgid.cli.check.conf_syntax import Directive
from pywsgid.cli.check.findings import NOTE, PROBLEM, UNKNOWN, Finding
from pywsgid.cli.check.group_checks import check_interpreters, check_paths
from pywsgid.cli.check.httpd_build import build_of, debian_variables
from pywsgid.cli.check.httpd_errors import httpd_errors
from pywsgid.cli.check.interpreter_probe import InterpreterProbe
from pywsgid.cli.check.migration_checks import check_application_groups, check_embedded_mode
from pywsgid.cli.check.module_checks import check_blocks, check_modules
from pywsgid.cli.check.name_checks import check_directives, check_references
from pywsgid.cli.check.option_checks import check_groups, check_options
from pywsgid.cli.check.script_checks import check_scripts
from pywsgid.cli.check.server_checks import check_server, check_sockets
from pywsgid.cli.check.subject import NAMES_OF_THEIRS, OURS, THEIRS, Subject
from pywsgid.cli.check.wsgi_conf import Configuration
from pywsgid.cli.messages import Failure
from pywsgid.cli.server import NoServer, Server, find_server

FINE, WRONG, NOT_CHECKED = 0, 1, 2  # exit statuses
TIMEOUT = 30.0  # seconds
HANDLERS = ("wsgid-script", "wsgi-script")  # ours, mod_wsgi's
CHECKS = (
    check_modules,
    check_blocks,
    check_directives,
    check_options,
    check_groups,
    check_server,
    check_sockets,
    check_references,
    check_interpreters,
    check_paths,
    check_order,
    check_django,
    check_scripts,
    check_application_groups,
    check_embedded_mode,
)


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
        checked = Checked.of(arguments, module)
    except Failure as failure:
        print(f"pywsgid: {failure}", file=sys.stderr)
        return NOT_CHECKED
    for finding in checked.sorted_findings():
        print(finding)
    counts = checked.counts()
    print(f"{checked.described()}: {checked.summary()}")
    if counts[PROBLEM] or arguments.strict and counts[NOTE]:
        return WRONG
    return NOT_CHECKED if counts[UNKNOWN] else FINE


@dataclass(frozen=True)
class Checked:
    """A configuration and what was found in it."""

    path: str
    subject: Subject
    findings: list[Finding]
    files: list[str]  # in the order in which httpd reads them

    @classmethod
    def of(cls, arguments: argparse.Namespace, module: str | None) -> Checked:
        """Reads a configuration and runs all checks. Raises Failure if it cannot be read."""
        server = usable_server()
        build = build_of(server)
        path = os.path.abspath(arguments.configuration or build.configuration)
        variables = debian_variables(path, build.root)
        root = build.root
        if arguments.server_root:
            root = os.path.abspath(arguments.server_root)
        elif variables is not None and not path.startswith(build.root + "/"):
            root = os.path.dirname(path)  # Debian's layout in another place
        variables = variables or {}
        defines = dict.fromkeys(arguments.define, "")
        try:
            reading = conf_reader.read(server, path, root, build.version, defines, variables)
        except OSError as error:
            raise Failure(
                "WSGID0430",
                f"{path} cannot be read ({error.strerror})",
                "name the configuration file: pywsgid check FILE",
            ) from error
        words = ["-d", root, "-f", path]
        words += [word for name in arguments.define for word in ("-D", name)]
        dumped, code, output = conf_dump.dump(server, words, variables)
        configuration = Configuration(merged(reading, dumped), root)
        runtime = configuration.text("defaultruntimedir")
        subject = Subject(
            configuration,
            reading.loaded,
            module,
            InterpreterProbe(
                loaded_module(reading) or module, arguments.timeout, not arguments.no_import
            ),
            configuration.path(runtime) if runtime else build.runtime,
            place=path,
            blocks=reading.blocks,
        )
        findings = all_findings(subject)
        findings += [] if dumped else gaps(reading)
        findings += httpd_errors(output, path, findings) if code else []
        return cls(path, subject, findings, reading.files)

    def sorted_findings(self) -> list[Finding]:
        """In the order of the files and lines; those about no line come first."""
        order = {name: index for index, name in enumerate(dict.fromkeys(self.files))}

        def position(finding: Finding) -> tuple[int, int]:
            name, _, number = finding.place.rpartition(":")
            if not name or not number.isdecimal():
                return -1, 0
            return order.get(name, len(order)), int(number)

        return sorted(self.findings, key=position)

    def counts(self) -> dict[str, int]:
        """The number of findings of each kind."""
        return {
            kind: sum(finding.kind == kind for finding in self.findings)
            for kind in (PROBLEM, NOTE, UNKNOWN)
        }

    def described(self) -> str:
        groups, scripts = len(self.subject.by_name), len(self.subject.aliases)
        return f"{self.path}, {counted(groups, 'daemon group')}, {counted(scripts, 'script')}"

    def summary(self) -> str:
        parts = [
            f"{count} {UNKNOWN}" if kind == UNKNOWN else counted(count, kind)
            for kind, count in self.counts().items()
            if count
        ]
        if not serves(self.subject):
            parts.append("nothing is served, because no WSGIScriptAlias maps a URL to a script")
        return ", ".join(parts) or "no problems found"


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


# -------- the configuration


def usable_server() -> Server:
    """Returns this machine's httpd. Raises Failure if there is none."""
    try:
        return find_server()
    except NoServer as error:
        raise Failure(
            "WSGID0402",
            str(error),
            "install Apache httpd 2.4: the check uses it to read the configuration",
        ) from error


def merged(reading: Reading, dumped: list[Directive]) -> list[Directive]:
    """Returns the directives that httpd prints, with those that it does not print; our own reading
    if httpd prints none."""
    if not dumped:
        return reading.directives
    unprinted = [line for line in reading.directives if line.key in conf_dump.READ_AT_ONCE]
    return unprinted + dumped


def loaded_module(reading: Reading) -> str | None:
    """Returns the path of the mod_wsgid.so that the configuration loads, if it exists."""
    line = reading.loaded.get(OURS)
    path = reading.path(line.words[1]) if line else ""
    return path if os.path.isfile(path) else None


def all_findings(subject: Subject) -> list[Finding]:
    """Runs all checks, if the configuration has anything to do with WSGI."""
    if is_about_wsgi(subject):
        return [finding for check in CHECKS for finding in check(subject)]
    return [
        Finding(
            subject.place,
            "WSGID0429",
            "this configuration loads neither mod_wsgid nor mod_wsgi, and has no directive of "
            "either",
            "name another file, or define the names that its <IfDefine> sections need (-D NAME)",
            UNKNOWN,
        )
    ]


def is_about_wsgi(subject: Subject) -> bool:
    return (
        any(name in subject.loaded for name in (OURS, THEIRS))
        or any(line.key.lstrip("<").startswith("wsgi") for line in subject.configuration.directives)
        or any(block.module in NAMES_OF_THEIRS for block in subject.blocks)
    )


def serves(subject: Subject) -> bool:
    """Returns whether any request can reach a script: by an alias, or by a handler."""
    handlers = subject.configuration.named("addhandler", "sethandler")
    return bool(subject.aliases) or any(
        word in HANDLERS for line in handlers for word in line.words
    )


def gaps(reading: Reading) -> list[Finding]:
    """Returns a finding for each part that our own reading does not follow."""
    fix = "correct what httpd refuses, and check again: httpd then reads the whole file itself"
    return [Finding(place, "WSGID0429", what, fix, UNKNOWN) for place, what in reading.gaps]
