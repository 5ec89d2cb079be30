"""What `pywsgid check` looks for in WSGIScriptAlias and the scripts that it names: found, read,
imported, allowed.

The rules of checks.py hold here, too.
"""

from __future__ import annotations

import fnmatch
import os

from pywsgid.cli import reach
from pywsgid.cli.check.conf_reader import Directive, Section
from pywsgid.cli.check.findings import (
    NOTE,
    Finding,
    Findings,
    Subject,
    can_become,
    httpd_identity,
    identity_of,
    interpreter,
    name_of,
    python_path,
)
from pywsgid.cli.check.importing import assigned
from pywsgid.cli.check.wsgi_conf import Group, Script, covers, hosts, is_below
from pywsgid.wire import django_settings


def check_aliases(subject: Subject) -> Findings:
    """Aliases whose requests an earlier one takes, as aliases.c says it at start."""
    earlier: list[Script] = []
    for script in subject.scripts:
        if script.line.key != "wsgiscriptalias":
            continue
        other = next(
            (
                other
                for other in earlier
                if hosts(other.line.sections) == hosts(script.line.sections)
                and is_below(script.url.rstrip("/"), other.url)
            ),
            None,
        )
        if other:
            yield Finding(
                script.line.place,
                "WSGID0027",
                f"WSGIScriptAlias {script.url} has no effect: that of "
                f"{other.url} at {other.line.place} takes its requests",
                "write the longer URL first",
            )
        earlier.append(script)


def check_django(subject: Subject) -> Findings:
    """Two Django sites in one process would both be the one that is loaded first
    (django_settings.py).
    """
    first: dict[str, tuple[str, Script]] = {}
    for script in subject.scripts:
        settings, group = settings_of(script), subject.group_of(script)
        if settings is None or group is None:
            continue
        if django_settings.VARIABLE in assigned(group, subject.configuration.root):
            continue
        running, other = first.setdefault(group.name, (settings, script))
        if running != settings:
            yield Finding(
                script.line.place,
                "WSGID0339",
                f"{script.path} ({settings}) and {other.path} ({running}) "
                "are two Django sites in one process, which can be one only",
                "give each its own WSGIDaemonProcess",
            )


def settings_of(script: Script) -> str | None:
    try:
        with open(
            script.path if script.path and os.path.isfile(script.path) else os.devnull, "rb"
        ) as file:
            return django_settings.named_in(file.read())
    except OSError:
        return None  # check_script_file() says why


def check_scripts(subject: Subject) -> Findings:
    done: set[tuple[str, str, str | None]] = set()
    for script in subject.scripts:
        group = subject.group_of(script)
        if script.path is None or script.group is None:
            what = "script" if script.path is None else "daemon group"
            yield Finding(
                script.line.place,
                "WSGID0425",
                f"which {what} serves it depends on the request",
                "look at it by hand",
                NOTE,
            )
            continue
        if group is None:
            continue  # told already: there is no such group
        problems = list(check_script_file(subject, script, group))
        yield from problems
        yield from check_access(subject, script)
        what = (script.path, group.name, script.callable)
        if (
            not problems
            and what not in done
            and can_become(subject, group)
            and os.path.isfile(script.path)
        ):
            done.add(what)
            yield from check_import(subject, script, group)


def check_script_file(subject: Subject, script: Script, group: Group) -> Findings:
    path, place = script.path or "", script.line.place
    if not os.path.exists(path):
        first = first_missing(path)
        yield Finding(
            place,
            "WSGID0330",
            f"{path} is not there" + (f" ({first} is missing)" if first != path else ""),
            "correct WSGIScriptAlias, or put it there",
        )
        return
    if not can_become(subject, group):
        return
    roles = [
        (
            "which its application runs as",
            identity_of(subject, group),
            os.R_OK | (os.X_OK if os.path.isdir(path) else 0),
        ),
        ("which httpd runs as", httpd_identity(subject), os.F_OK),
    ]
    for role, identity, needs in roles:
        blocked = reach.in_the_way(path, identity, needs)
        if blocked:
            what, fix = ("read", "chmod o+r") if blocked == path else ("enter", "chmod o+x")
            yield Finding(
                place,
                "WSGID0331",
                f"{name_of(identity)}, {role}, cannot {what} {blocked}"
                f"{'' if blocked == path else f', and so not reach {path}'}",
                f"{fix} {blocked}, or move it",
            )
            return


def first_missing(path: str) -> str:
    """The first part of a path that is not there."""
    while not os.path.exists(os.path.dirname(path)):
        path = os.path.dirname(path)
    return path


def check_import(subject: Subject, script: Script, group: Group) -> Findings:
    identity = identity_of(subject, group)
    path, _ = interpreter(subject, group)
    if (
        script.callable is None
        or group.get("chroot")
        or subject.importer.interpreter_problem(path, identity, group, subject.configuration.root)
    ):
        return
    problem = subject.importer.import_problem(
        path,
        identity,
        script=script.path,
        callable=script.callable,
        home=subject.configuration.path(group.get("home")) if group.get("home") else "",
        python_path=python_path(subject, group),
        group=group,
        root=subject.configuration.root,
    )
    if problem:
        yield Finding(
            script.line.place,
            "WSGID0332",
            f"{script.path} under {path} as {name_of(identity)}: {problem}",
            import_fix(problem),
        )


def import_fix(problem: str) -> str:
    """What to do about a script that import_probe.py says this of."""
    if "ModuleNotFoundError" in problem or "ImportError" in problem:
        return "install it for that interpreter, name the one that has it (python-home=), or where it is (python-path=)"
    if "does not define" in problem or "is not callable" in problem:
        return "define it, or name the application with WSGICallableObject"
    return "mend it"


def check_access(subject: Subject, script: Script) -> Findings:
    """Require all denied, of the innermost <Directory> that says anything."""
    best: tuple[tuple[int, int, int], Directive] | None = None
    for line in subject.configuration.named("require", "order", "allow", "deny"):
        weight = access_weight(line.sections, script)
        if weight is not None and (best is None or weight >= best[0]):
            best = weight, line
    if (
        best
        and [word.lower() for word in best[1].words] == ["all", "denied"]
        and best[1].key == "require"
    ):
        yield Finding(
            script.line.place,
            "WSGID0426",
            f"access to {script.path} is denied at {best[1].place}",
            f"add: <Directory {os.path.dirname(script.path or '/')}> Require all granted </Directory>",
        )


def access_weight(sections: tuple[Section, ...], script: Script) -> tuple[int, int, int] | None:
    """As httpd merges: shorter directories first, a host's after the server's, files last; None if
    it does not hold.
    """
    host = hosts(sections)
    if host and host != hosts(script.line.sections):
        return None
    directory = files = 0
    for section in sections:
        kind, words = section.name.lower(), section.words
        if kind == "directory" and script.path and covers(section, script.path):
            directory = len(words[0].rstrip("/").split("/"))
        elif kind in ("location", "locationmatch", "if", "directorymatch", "filesmatch"):
            return None  # only a request decides
        elif kind == "files" and words:
            if not fnmatch.fnmatchcase(os.path.basename(script.path or ""), words[0]):
                return None
            files = 1
        elif kind == "directory" or kind == "files" or kind.startswith(("limit", "proxy")):
            return None
    return files, directory, len(host)
