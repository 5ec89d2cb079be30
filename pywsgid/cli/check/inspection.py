"""Reads a configuration and runs every check on it.

The files are read by httpd if it accepts them (conf_dump.py), and by us (conf_reader.py), because
httpd does not print everything. Rules: nothing is changed, nothing is printed.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from dataclasses import dataclass, replace

from pywsgid.cli.check import conf_dump, conf_reader
from pywsgid.cli.check.alias_checks import check_django, check_order
from pywsgid.cli.check.conf_reader import OURS, Reading
from pywsgid.cli.check.conf_syntax import Directive
from pywsgid.cli.check.findings import UNKNOWN, Finding
from pywsgid.cli.check.group_checks import check_interpreters, check_paths
from pywsgid.cli.check.httpd_build import Build, build_of, debian_variables
from pywsgid.cli.check.httpd_errors import httpd_errors
from pywsgid.cli.check.interpreter_probe import InterpreterProbe
from pywsgid.cli.check.migration_checks import check_embedded_mode
from pywsgid.cli.check.module_checks import check_modules
from pywsgid.cli.check.name_checks import check_directives, check_references
from pywsgid.cli.check.option_checks import check_groups, check_options
from pywsgid.cli.check.script_checks import check_multiviews, check_neighbours, check_scripts
from pywsgid.cli.check.server_checks import check_server, check_sockets
from pywsgid.cli.check.subject import THEIRS, Subject
from pywsgid.cli.check.trust_checks import check_assigned_users, check_users, check_writers
from pywsgid.cli.check.wsgi_conf import Configuration
from pywsgid.cli.messages import Failure
from pywsgid.cli.server import NoServer, Server, find_server

CHECKS = (
    check_modules,
    check_directives,
    check_options,
    check_groups,
    check_server,
    check_users,
    check_assigned_users,
    check_sockets,
    check_references,
    check_interpreters,
    check_paths,
    check_order,
    check_django,
    check_scripts,
    check_neighbours,
    check_multiviews,
    check_writers,
    check_embedded_mode,
)


@dataclass(frozen=True)
class Inspection:
    """A configuration and what was found in it."""

    path: str
    subject: Subject
    findings: list[Finding]  # in the order of the files and lines; those about no line come first


def inspect(arguments: argparse.Namespace, module: str | None) -> Inspection:
    """Reads the configuration that the arguments name (command.py), and runs all checks. `module`
    is the mod_wsgid.so that belongs to this command. Raises Failure if it cannot be read."""
    server = usable_server()
    build = build_of(server)
    path = os.path.abspath(arguments.configuration or build.configuration)
    variables = debian_variables(path, build.root)
    root = server_root(arguments.server_root, path, build, variables is not None)
    reading = read(server, path, root, build, arguments.define, variables or {})
    words = ["-d", root, "-f", path]
    words += [word for name in arguments.define for word in ("-D", name)]
    dumped, code, output = conf_dump.dump(server, words, variables or {})
    configuration = Configuration(merged(reading, dumped), root)
    loaded = loaded_module(reading) or module
    probe = InterpreterProbe(loaded, arguments.timeout, not arguments.no_import)
    runtime = configuration.text("defaultruntimedir")
    subject = Subject(
        configuration,
        reading.loaded,
        module,
        probe,
        configuration.path(runtime) if runtime else build.runtime,
        place=path,
    )
    findings = all_findings(subject)
    findings += [] if dumped else gaps(reading)
    findings += httpd_errors(output, path, findings) if code else []
    return Inspection(path, subject, once_each(in_order(findings, reading.files)))


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


# -------- reading


def server_root(named: str | None, path: str, build: Build, is_debian: bool) -> str:
    """Returns the directory of relative paths: the one that -d names; the configuration's, if it is
    Debian's layout in an unusual place; else httpd's default."""
    if named:
        return os.path.abspath(named)
    if is_debian and not path.startswith(build.root + "/"):
        return os.path.dirname(path)
    return build.root


def read(
    server: Server,
    path: str,
    root: str,
    build: Build,
    defines: list[str],
    variables: dict[str, str],
) -> Reading:
    """Returns our own reading. Raises Failure if the file cannot be read."""
    try:
        return conf_reader.read(
            server, path, root, build.version, dict.fromkeys(defines, ""), variables
        )
    except OSError as error:
        raise Failure(
            "WSGID0430",
            f"{path} cannot be read ({error.strerror})",
            "name the configuration file: pywsgid check FILE",
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


# -------- findings


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
    return any(name in subject.loaded for name in (OURS, THEIRS)) or any(
        line.key.lstrip("<").startswith("wsgi") for line in subject.configuration.directives
    )


def gaps(reading: Reading) -> list[Finding]:
    """Returns a finding for each part that our own reading does not follow."""
    fix = "correct what httpd refuses, and check again: httpd then reads the whole file itself"
    return [Finding(place, "WSGID0429", what, fix, UNKNOWN) for place, what in reading.gaps]


def once_each(findings: list[Finding]) -> list[Finding]:
    """Returns one finding, the first, in the place of all that differ in their place alone."""
    again = Counter(replace(one, place="") for one in findings)
    first: dict[Finding, Finding] = {}
    for one in findings:
        first.setdefault(replace(one, place=""), one)
    return [
        replace(one, what=f"{one.what} (also at {count - 1} more lines)") if count > 1 else one
        for same, one in first.items()
        for count in [again[same]]
    ]


def in_order(findings: list[Finding], files: list[str]) -> list[Finding]:
    """Sorts findings by their places; `files` are in the order in which httpd reads them."""
    order = {name: index for index, name in enumerate(dict.fromkeys(files))}

    def position(finding: Finding) -> tuple[int, int]:
        name, _, number = finding.place.rpartition(":")
        if not name or not number.isdecimal():
            return -1, 0
        return order.get(name, len(order)), int(number)

    return sorted(findings, key=position)
