"""Checks the script of each WSGIScriptAlias, WSGIImportScript and handler: it exists, the users can
reach it, httpd may run it, and it can be imported. Scripts that decide for httpd are no pages:
httpd need not reach them."""

from __future__ import annotations

import fnmatch
import os
from dataclasses import replace

from pywsgid.cli import file_access
from pywsgid.cli.check.conf_syntax import Directive, Section
from pywsgid.cli.check.findings import APART, NOTE, Finding, Findings
from pywsgid.cli.check.interpreter_probe import Problem, Script
from pywsgid.cli.check.subject import Subject, user_text
from pywsgid.cli.check.wsgi_conf import DECIDERS, Alias, Group, covers, hosts
from pywsgid.wire.module_files import is_same

ONLY_A_REQUEST_DECIDES = ("location", "locationmatch", "if", "directorymatch", "filesmatch")


def check_scripts(subject: Subject) -> Findings:
    """Each script is imported once for each group and application name that it is used with."""
    imported: set[tuple[str, str, str | None]] = set()
    for alias in subject.scripts:
        if alias.path is None or alias.group is None:
            yield _unknown(alias)
            continue
        group = subject.group_of(alias)
        if group is None:
            continue  # name_checks.py reports it
        problems = list(_check_file(subject, alias, alias.path, group))
        yield from problems
        if alias.line.key not in DECIDERS:
            yield from _check_access(subject, alias)
        key = (alias.path, group.name, alias.callable)
        is_checked = problems or key in imported or not os.path.isfile(alias.path)
        if not is_checked and subject.can_become(group):
            imported.add(key)
            yield from _check_import(subject, alias, alias.path, group)


def _unknown(alias: Alias) -> Finding:
    what, fix = "daemon group", "make sure that WSGIDaemonProcess defines each possible group"
    if alias.path is None:
        what = "script"
        fix = "make sure that each possible script is there, readable for the group's user"
    return Finding(
        alias.line.place,
        "WSGID0425",
        f"the {what} depends on the request, so it is not checked here",
        fix,
        NOTE,
    )


# -------- the file


def _check_file(subject: Subject, alias: Alias, path: str, group: Group) -> Findings:
    if not os.path.exists(path):
        missing = _first_missing(path)
        yield Finding(
            alias.line.place,
            "WSGID0330",
            f"{path} does not exist" + (f" ({missing} is missing)" if missing != path else ""),
            f"correct the path in {alias.line.name}, or create the file",
        )
        return
    if not subject.can_become(group):
        return
    is_directory = os.path.isdir(path)
    needs = os.R_OK | os.X_OK if is_directory else os.R_OK
    users = (
        ("the application", subject.identity_of(group), needs),
        ("httpd", subject.httpd_identity(), os.F_OK),
    )
    for owner, identity, permissions in users[: 1 if alias.line.key in DECIDERS else 2]:
        blocked = file_access.blocked_at(path, identity, permissions)
        if blocked:
            what = f"{owner} runs as {user_text(identity)}, which cannot "
            if blocked == path:
                what += f"read {path}"
                fix = f"run `chmod {'o+rx' if is_directory else 'o+r'} {path}`"
            else:
                what += f"enter {blocked}, which is on the way to {path}"
                fix = f"run `chmod o+x {blocked}`, or move the script"
            yield Finding(alias.line.place, "WSGID0331", what, fix)
            return


def _first_missing(path: str) -> str:
    """The first part of a path that does not exist."""
    while not os.path.exists(os.path.dirname(path)):
        path = os.path.dirname(path)
    return path


def check_multiviews(subject: Subject) -> Findings:
    """mod_negotiation finds a script under its name without extension, and sends it as a file."""
    for alias in subject.aliases:
        if not alias.path or not os.path.isdir(alias.path):
            continue
        line = _multiviews(subject, os.path.join(alias.path, "x"))
        if line:
            yield Finding(
                line.place,
                "WSGID0450",
                f"with MultiViews, httpd sends the source of a script in {alias.path} to whoever "
                "requests it without its extension",
                "remove MultiViews from Options of that directory (Options -MultiViews)",
            )


def _multiviews(subject: Subject, path: str) -> Directive | None:
    """The line that sets MultiViews for a file, if none unsets it: that of a longer directory
    counts for more."""
    lines = [
        (len(section.words[0]), line)
        for line in subject.configuration.named("options")
        for section in line.sections[-1:]
        if section.name.lower() == "directory" and covers(section, path)
    ]
    found = None
    for _, line in sorted(lines, key=lambda pair: pair[0]):
        words = [word.lower() for word in line.words]
        if "multiviews" in words or "+multiviews" in words:
            found = line
        elif "-multiviews" in words or not all(word[0] in "+-" for word in words):
            found = None
    return found


# -------- the import


def _check_import(subject: Subject, alias: Alias, path: str, group: Group) -> Findings:
    launch = subject.launch(group)
    if (
        alias.callable is None
        or group.get("chroot")
        or subject.probe.interpreter_problem(launch)  # group_checks.py reports it
    ):
        return
    home = group.get("home")
    directory = subject.configuration.path(home) if home else ""
    cwd = directory or (launch.variables["HOME"] if group.get("user") else "/")
    script = Script(path, alias.callable, directory, subject.python_path(group), cwd, group.name)
    problem = subject.probe.import_problem(launch, script)
    if problem:
        yield Finding(
            alias.line.place,
            "WSGID0332",
            f"{path} cannot be loaded under {launch.python} as {user_text(launch.identity)}: "
            f"{problem.what}",
            _import_fix(problem),
        )


def _import_fix(problem: Problem) -> str:
    if problem.fix:
        return problem.fix
    if "ModuleNotFoundError" in problem.what or "ImportError" in problem.what:
        return (
            "install it for that interpreter, or name the virtualenv (python-home=) or the "
            "directory (python-path=) that contains it"
        )
    if "does not define" in problem.what or "is not callable" in problem.what:
        return "define it, or name the application with WSGICallableObject"
    return "correct the script"


# -------- what the imports have shown


def check_neighbours(subject: Subject) -> Findings:
    """Scripts of one application group share a process. To be called after check_scripts."""
    first: dict[tuple[str, str, str], tuple[str, str]] = {}
    for script in subject.scripts:
        group = subject.group_of(script)
        if not group or not script.path:
            continue
        if script.path in subject.probe.patched and group.get("threads") != "1":
            yield _patched(script, group)
        if script.application_group is None:
            continue
        for name, path in subject.probe.modules.get(script.path, {}).items():
            shared = group.name, script.application_group, name
            other, its_path = first.setdefault(shared, (script.path, path))
            if not is_same(its_path, path):
                yield Finding(
                    script.line.place,
                    "WSGID0452",
                    f"{script.path} and {other} both import a module '{name}', but not the same "
                    f"one ({path}, {its_path}), and the processes of their application group have "
                    "one of that name",
                    APART,
                )
                break


def _patched(script: Alias, group: Group) -> Finding:
    return Finding(
        script.line.place,
        "WSGID0373",
        f"daemon group '{group.name}': gevent or eventlet patch the standard library in "
        f"{script.path}, and their locks may hang when several threads want one",
        "set threads=1, and raise processes=",
        NOTE,
    )


# -------- access


def _check_access(subject: Subject, alias: Alias) -> Findings:
    """`Require all denied` in the innermost <Directory> that decides about access."""
    if alias.path and os.path.isdir(alias.path):
        alias = replace(alias, path=os.path.join(alias.path, "x"))  # any script in it
    best: tuple[tuple[int, int, int], Directive] | None = None
    for line in subject.configuration.named("require", "order", "allow", "deny"):
        weight = _access_weight(line.sections, alias)
        if weight is not None and (best is None or weight >= best[0]):
            best = weight, line
    if best is None:
        return
    line = best[1]
    if line.key == "require" and [word.lower() for word in line.words] == ["all", "denied"]:
        directory = os.path.dirname(alias.path or "/")
        yield Finding(
            alias.line.place,
            "WSGID0426",
            f"{line.place} denies access to {alias.path}",
            f"add <Directory {directory}>, Require all granted, </Directory> (three lines)",
        )


def _access_weight(sections: tuple[Section, ...], alias: Alias) -> tuple[int, int, int] | None:
    """How strongly a line within `sections` holds for a script: httpd merges shorter directories
    first, a host's lines after the server's, <Files> last. None if the line does not hold, or if
    that depends on the request."""
    host = hosts(sections)
    if host and host != hosts(alias.line.sections):
        return None
    directory = files = 0
    for section in sections:
        kind, words = section.name.lower(), section.words
        if kind == "directory" and alias.path and covers(section, alias.path):
            directory = len(words[0].rstrip("/").split("/"))
        elif kind in ONLY_A_REQUEST_DECIDES:
            return None
        elif kind == "files" and words:
            if not fnmatch.fnmatchcase(os.path.basename(alias.path or ""), words[0]):
                return None
            files = 1
        elif kind in ("directory", "files") or kind.startswith(("limit", "proxy")):
            return None
    return files, directory, len(host)
