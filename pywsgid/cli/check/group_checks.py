"""Checks what the processes of each daemon group need on this machine: their interpreter and their
directories, as the group's user finds them."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pywsgid.cli import file_access
from pywsgid.cli.check.daemon_environment import NotSafe, open_env_file
from pywsgid.cli.check.findings import UNKNOWN, Finding, Findings
from pywsgid.cli.check.interpreter_probe import LEAST, Launch, Problem
from pywsgid.cli.check.subject import Subject, user_text
from pywsgid.cli.check.wsgi_conf import Group
from pywsgid.cli.users import Identity

LEAST_TEXT = ".".join(map(str, LEAST))
OTHER_INTERPRETER = (
    f"name another interpreter (Python {LEAST_TEXT} or later) with python= or python-home="
)


def check_interpreters(subject: Subject) -> Findings:
    for group in subject.used_groups():
        if subject.can_become(group):
            launch = subject.launch(group)
            problem = subject.probe.interpreter_problem(launch)
            if problem:
                yield _interpreter_finding(group, launch, problem)
                continue
            problem = subject.probe.extension_problem(launch)
            if problem:
                yield _extension_finding(group, launch, problem)
        elif not subject.is_root:
            yield _not_root(subject, group)


def _interpreter_finding(group: Group, launch: Launch, problem: Problem) -> Finding:
    interpreter = f"{launch.python}{f' ({launch.option}=)' if launch.option else ''}"
    if problem.is_too_old:
        return Finding(
            group.line.place,
            "WSGID0300",
            f"daemon group '{group.name}': the interpreter {interpreter} {problem.what}, and "
            f"mod_wsgid needs {LEAST_TEXT} or later",
            OTHER_INTERPRETER,
        )
    return Finding(
        group.line.place,
        "WSGID0082",
        f"daemon group '{group.name}': {user_text(launch.identity)} cannot run {interpreter}: "
        f"{problem.what}",
        f"{problem.fix}, or {OTHER_INTERPRETER}" if problem.fix else OTHER_INTERPRETER,
    )


def _extension_finding(group: Group, launch: Launch, problem: Problem) -> Finding:
    return Finding(
        group.line.place,
        "WSGID0329",
        f"daemon group '{group.name}': {user_text(launch.identity)} cannot load pywsgid's "
        f"extension, its compiled part, with {launch.python}: {problem.what}",
        problem.fix,
    )


def _not_root(subject: Subject, group: Group) -> Finding:
    """The group's interpreter, directories and scripts are not checked."""
    option = "user=" if group.get("user") else "User"
    name = group.get("user") or subject.configuration.text("user")
    return Finding(
        group.line.place,
        "WSGID0423",
        f"daemon group '{group.name}' runs as user {name}, and {user_text(None)} cannot check what "
        "that user can run and import",
        f"run the check as root; if {user_text(None)} starts httpd, remove {option}, which has no "
        "effect then (WSGID0024)",
        UNKNOWN,
    )


# -------- paths


def check_paths(subject: Subject) -> Findings:
    """home=, python-path=, env-file= and chroot=."""
    for group in subject.groups:
        if subject.can_become(group):
            yield from _check_directories(subject, group)
            yield from _check_existence(subject, group)


def _check_directories(subject: Subject, group: Group) -> Findings:
    identity, path = subject.identity_of(group), subject.configuration.path
    directories = [("home", path(value)) for value in group.all("home")]
    directories += [("python-path", value) for value in subject.python_path(group)]
    for option, directory in directories:
        problem = _directory_problem(directory, identity)
        if problem:
            what = f"daemon group '{group.name}': {option}={directory}: {problem.what}"
            yield Finding(group.line.place, "WSGID0424", what, problem.fix)


def _check_existence(subject: Subject, group: Group) -> Findings:
    for value in group.all("env-file"):
        for code, problem, fix in _file_problems(subject.configuration.path(value)):
            what = f"daemon group '{group.name}': env-file={value}: {problem}"
            yield Finding(group.line.place, code, what, fix)
    for value in group.all("chroot"):
        if not os.path.isdir(subject.configuration.path(value)):
            what = f"daemon group '{group.name}': chroot={value}: the directory does not exist"
            yield Finding(group.line.place, "WSGID0424", what, "correct the path")


def _file_problems(path: str) -> Iterator[tuple[str, str, str]]:
    """What the module would say of a file of env-file=: code, problem, fix."""
    try:
        open_env_file(path).close()
    except NotSafe as refused:
        problem, fix = refused.args
        yield "WSGID0081", problem, fix
    except FileNotFoundError:
        yield "WSGID0424", "the file does not exist", "correct the path"
    except OSError as error:
        yield "WSGID0424", f"it cannot be read ({error.strerror})", "correct the path or its mode"


def _directory_problem(directory: str, identity: Identity | None) -> Problem | None:
    if not os.path.exists(directory):
        return Problem("the directory does not exist", "correct the path, or create it")
    if not os.path.isdir(directory):
        return Problem("it is not a directory", "name a directory")
    blocked = file_access.blocked_at(os.path.join(directory, "."), identity, os.X_OK)
    if not blocked:
        return None
    closed = blocked.removesuffix("/.")
    return Problem(
        f"{user_text(identity)} cannot enter {closed}",
        f"run `chmod o+x {closed}`, or run the group as another user",
    )
