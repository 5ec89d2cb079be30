"""What `pywsgid check` looks for: each check takes the configuration and yields findings
(findings.py).

Rules: a check looks at the machine, never changes it; what it cannot know, because only root or a
request could, is a finding of its own kind (UNKNOWN) and not silence. What is about scripts alone
is script_checks.py's.
"""

from __future__ import annotations

import difflib
import os
import stat

from pywsgid.cli import option_values, reach
from pywsgid.cli.check.conf_reader import Directive, ModuleBlock
from pywsgid.cli.check.findings import (
    NAMES_OF_OURS,
    NAMES_OF_THEIRS,
    NOTE,
    OURS,
    PROBLEM,
    THEIRS,
    UNKNOWN,
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
from pywsgid.cli.check.importing import LEAST, OLD, PERMISSION, Problem
from pywsgid.cli.check.script_checks import check_aliases, check_django, check_scripts
from pywsgid.cli.check.wsgi_conf import (
    ALIASES,
    DEFAULT_GROUP,
    GROUP_DIRECTIVES,
    GROUP_OPTIONS,
    Group,
    heads,
    options,
)
from pywsgid.cli.reach import Identity
from pywsgid.wire import directives
from pywsgid.wire.options import FOREIGN, OPTIONS, Option

SOCKET_PREFIX_MAX = 72  # as in apxs/config/directives.c: what WSGISocketPrefix may name
SOCKET_PATH_ROOM = (
    108 - 24
)  # as in apxs/slots/listener.c: what a prefix may take of a socket's path


def all_findings(subject: Subject) -> list[Finding]:
    checks = (
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
        check_aliases,
        check_django,
        check_scripts,
        check_moving,
    )
    return [finding for check in checks for finding in check(subject)]


# -------- modules


def load_line(subject: Subject) -> str:
    return f'LoadModule wsgid_module "{subject.module or "modules/mod_wsgid.so"}"'


def check_modules(subject: Subject) -> Findings:
    ours, theirs = subject.loaded.get(OURS), subject.loaded.get(THEIRS)
    if ours and theirs:
        yield Finding(
            theirs.place,
            "WSGID0001",
            f"mod_wsgi is loaded, and mod_wsgid at {ours.place}",
            "remove this LoadModule line (Debian: a2dismod wsgi)",
        )
    elif theirs:
        yield Finding(
            theirs.place,
            "WSGID0420",
            "mod_wsgi is loaded, and not mod_wsgid",
            f"in place of this line (Debian: a2dismod wsgi && a2enmod wsgid): {load_line(subject)}",
        )
    elif not ours and OURS not in subject.loaded:
        yield Finding(
            subject.place, "WSGID0420", "no module for WSGI is loaded", f"add: {load_line(subject)}"
        )
    if ours:
        yield from check_module_file(subject, ours)


def check_module_file(subject: Subject, line: Directive) -> Findings:
    path = subject.configuration.path(line.words[1])
    here = os.path.dirname(path)
    if not os.path.isfile(path):
        yield Finding(
            line.place,
            "WSGID0421",
            f"there is no {path}",
            f"`make install`, or {load_line(subject)}",
        )
    elif not any(
        os.path.isfile(os.path.join(here, name))
        for name in ("pywsgid/daemon/boot.py", "daemon/boot.py")
    ):
        yield Finding(
            line.place,
            "WSGID0421",
            f"pywsgid/daemon/boot.py is not beside {path}, and daemons are started from there",
            "put the package there: `make install`",
        )


def check_blocks(subject: Subject) -> Findings:
    """<IfModule mod_wsgi.c>: neither that name nor wsgi_module is ours, so httpd skips what stands
    in it.
    """
    prepared = any(block.module in NAMES_OF_OURS and block.wanted for block in subject.blocks)
    for block in subject.blocks:
        if block.module not in NAMES_OF_THEIRS or not block.names:
            continue
        text = f"<IfModule {'' if block.wanted else '!'}{block.module}>"
        if block.wanted:
            what = (
                "vanishes when mod_wsgid takes mod_wsgi's place"
                if block.holds
                else "is skipped, as mod_wsgi is not loaded"
            )
            # With a block for each module, what is skipped here stands there.
            yield Finding(
                block.place,
                "WSGID0446",
                f"what stands in {text} {what}: {contents(block)}",
                "write <IfModule wsgid_module>, or remove this line and its </IfModule>",
                NOTE if prepared else PROBLEM,
            )
        elif "loadmodule" not in map(str.lower, block.names):
            what = (
                "holds, as mod_wsgi is not loaded"
                if block.holds
                else "will hold when mod_wsgid takes its place"
            )
            yield Finding(
                block.place,
                "WSGID0446",
                f"{text} {what}: {contents(block)}",
                "if that is for servers without WSGI, write <IfModule !wsgid_module>",
                NOTE,
            )


def contents(block: ModuleBlock) -> str:
    """Its directives by name: ours first, three at most."""
    names = sorted(
        dict.fromkeys(name.lstrip("<") for name in block.names),
        key=lambda name: not name.lower().startswith("wsgi"),
    )
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")


# -------- names and values


def check_directives(subject: Subject) -> Findings:
    """What mod_wsgi has and we have not, and what nobody has."""
    known = [*directives.DIRECTIVES, *directives.FOREIGN, *directives.REFUSED]
    for line in subject.configuration.directives:
        name, key = line.name.lstrip("<"), line.key.lstrip("<")
        if key in FOREIGN_DIRECTIVES:
            yield Finding(
                line.place, "WSGID0014", f"{name} has no effect here", FOREIGN_DIRECTIVES[key], NOTE
            )
        elif key in REFUSED_DIRECTIVES:
            yield Finding(
                line.place,
                "WSGID0015",
                f"{name} is not available, and to ignore it would open what it protects",
                REFUSED_DIRECTIVES[key],
            )
        elif key.startswith("wsgi") and key not in KNOWN_DIRECTIVES:
            yield Finding(
                line.place,
                "WSGID0422",
                f"there is no directive {name}",
                meant(name, known, "docs/reference/directives.md has all"),
            )


FOREIGN_DIRECTIVES = {name.lower().lstrip("<"): fix for name, fix in directives.FOREIGN.items()}
REFUSED_DIRECTIVES = {name.lower(): fix for name, fix in directives.REFUSED.items()}
KNOWN_DIRECTIVES = {name.lower() for name in directives.DIRECTIVES}


def meant(name: str, known: list[str], otherwise: str) -> str:
    lower = {text.lower(): text for text in known}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.75)
    return f"did you mean {lower[near[0]]}?" if near else otherwise


def check_options(subject: Subject) -> Findings:
    for group in subject.groups:
        seen: dict[str, str] = {}
        for name, value in group.options:
            problem = option_problem(name, value, seen)
            if problem:
                code, what, fix = problem
                kind = NOTE if name in FOREIGN else PROBLEM
                yield Finding(
                    group.line.place, code, f"daemon group '{group.name}': {what}", fix, kind
                )
            seen.setdefault(name, value)
        if "python" in seen and "python-home" in seen:
            yield Finding(
                group.line.place,
                "WSGID0011",
                "python= and python-home= both choose the interpreter",
                "keep one",
            )


def option_problem(name: str, value: str, seen: dict[str, str]) -> tuple[str, str, str] | None:
    """(code, what, fix)"""
    if not name:
        return (
            "WSGID0008",
            f"'{value}' is not an option",
            "write option=value, and quotes around a value with blanks",
        )
    if name in FOREIGN:
        return "WSGID0013", f"{name}= has no effect here", FOREIGN[name]
    if name not in OPTIONS:
        fix = meant(name, [*OPTIONS, *FOREIGN], "docs/reference/options.md has all")
        return "WSGID0002", f"there is no option {name}=", fix
    if name in seen and OPTIONS[name].type not in ("paths", "groups", "assignments"):
        return "WSGID0004", f"{name}= is given twice ({seen[name]} and {value})", "keep one"
    problem = value_problem(OPTIONS[name], value)
    return (problem[0], f"{name}={value}: {problem[1]}", problem[2]) if problem else None


def value_problem(option: Option, value: str) -> tuple[str, str, str] | None:
    """(code, what, fix)"""
    if option.type == "user":
        try:
            identity = reach.identity_of(value)
        except KeyError:
            return "WSGID0005", "there is no such user", "name one that exists, or #UID"
        if identity.uid < option.least:
            return (
                "WSGID0007",
                "that is root, and an application never runs as root",
                "name another user",
            )
        return None
    if option.type in ("groupid", "groups"):
        missing = [name for name in value.split(",") if reach.group_id(name) is None]
        return (
            ("WSGID0006", f"there is no group {missing[0]}", "name one that exists, or #GID")
            if missing
            else None
        )
    problem = option_values.problem(option, value)
    return ("WSGID0003", problem, "correct the value") if problem else None


def check_groups(subject: Subject) -> Findings:
    first: dict[str, Group] = {}
    for group in subject.groups:
        other = first.setdefault(group.name, group)
        if other.options != group.options:
            yield Finding(
                group.line.place,
                "WSGID0010",
                f"daemon group '{group.name}' is defined with other options at {other.line.place}",
                "make both lines the same, or give this one another name",
            )


# -------- who


def check_server(subject: Subject) -> Findings:
    """User and Group of httpd itself."""
    configuration = subject.configuration
    user, group = configuration.setting("user"), configuration.setting("group")
    unnamed = [one for one in subject.groups if not one.get("user")] or (
        [] if subject.groups else [None]
    )
    if user is None:
        if unnamed and subject.is_root:
            place = unnamed[0].line.place if unnamed[0] else subject.place
            yield Finding(
                place,
                "WSGID0007",
                "httpd's User is not set, and an application never runs as root",
                "name a user with User or with user=",
            )
    else:
        yield from check_user(user, unnamed)
    if group is not None and group.words and reach.group_id(group.words[0]) is None:
        yield Finding(
            group.place,
            "WSGID0006",
            f"Group {group.words[0]}: there is no such group",
            "name one that exists",
        )


def check_user(line: Directive, unnamed: list[Group | None]) -> Findings:
    name = line.words[0] if line.words else ""
    try:
        identity = reach.identity_of(name)
    except KeyError:
        yield Finding(
            line.place, "WSGID0005", f"User {name}: there is no such user", "name one that exists"
        )
        return
    if identity.uid == 0 and unnamed:
        yield Finding(
            line.place,
            "WSGID0007",
            "User is root, and an application never runs as root",
            "name another user with User or with user=",
        )


# -------- sockets


def check_sockets(subject: Subject) -> Findings:
    line = subject.configuration.setting("wsgisocketprefix")
    runtime = subject.configuration.setting("defaultruntimedir")
    place = line.place if line else runtime.place if runtime else subject.place
    text = line.words[0] if line and line.words else None
    prefix = subject.configuration.path(text) if text else os.path.join(subject.runtime, "wsgid")
    directory = os.path.dirname(prefix)
    problem = socket_problem(prefix, directory, SOCKET_PREFIX_MAX if text else SOCKET_PATH_ROOM)
    if problem:
        yield Finding(
            place,
            "WSGID0061",
            f"no sockets can be made as {prefix}.*: {problem}",
            "set WSGISocketPrefix to a path in a directory that root owns and everybody may enter",
        )
        return
    blocked = reach.in_the_way(os.path.join(directory, "x"), httpd_identity(subject), os.F_OK)
    if blocked and blocked != os.path.join(directory, "x"):
        yield Finding(
            place,
            "WSGID0061",
            f"{name_of(httpd_identity(subject))}, who httpd runs as, cannot enter "
            f"{blocked}, and so reach no socket",
            f"chmod o+x {blocked}, or set WSGISocketPrefix to another place",
        )


def socket_problem(prefix: str, directory: str, longest: int) -> str | None:
    if len(os.fsencode(prefix)) > longest:
        return f"the path may have {longest} characters"
    try:
        there = os.stat(directory)
    except OSError as error:
        # /run is made anew at each boot, and a service may make its directory when it starts.
        return f"{directory}: {error.strerror}"
    if not stat.S_ISDIR(there.st_mode):
        return f"{directory} is not a directory"
    if there.st_uid not in (0, os.geteuid()):
        return f"{directory} belongs to uid {there.st_uid} and not to root"
    return f"everybody may write to {directory}" if there.st_mode & stat.S_IWOTH else None


# -------- names of groups


def check_references(subject: Subject) -> Findings:
    """WSGIProcessName and process-name= name groups that are defined."""
    known = {*subject.by_name, DEFAULT_GROUP, ""}
    for line in subject.configuration.directives:
        for name in groups_named(line):
            if name not in known and "%{" not in name:
                yield Finding(
                    line.place,
                    "WSGID0018",
                    f"there is no daemon group '{name}'",
                    meant(name, list(subject.by_name), f"define it: WSGIDaemonProcess {name}"),
                )


def groups_named(line: Directive) -> list[str]:
    if line.key in GROUP_DIRECTIVES:
        return line.words[:1]
    if line.key in ALIASES:
        return [
            value for name, value in options(heads(line.arguments, 2)[1]) if name in GROUP_OPTIONS
        ]
    return line.words if line.key == "wsgirestrictprocess" else []


# -------- interpreters, paths


def check_interpreters(subject: Subject) -> Findings:
    for group in used_groups(subject):
        if not can_become(subject, group):
            if not subject.is_root:
                yield not_root(group)
            continue
        identity = identity_of(subject, group)
        path, option = interpreter(subject, group)
        problem = subject.importer.interpreter_problem(
            path, identity, group, subject.configuration.root
        )
        if problem:
            yield interpreter_finding(
                group, f"{path}{f' ({option}=)' if option else ''}", name_of(identity), problem
            )


def interpreter_finding(group: Group, interpreter: str, user: str, problem: Problem) -> Finding:
    least = ".".join(map(str, LEAST))
    if problem.kind == OLD:  # as boot.py says it
        return Finding(
            group.line.place,
            "WSGID0300",
            f"daemon group '{group.name}': the interpreter {interpreter} "
            f"{problem.what}; mod_wsgid needs {least} or later",
            "name another with python= or python-home=",
        )
    fix = f"name another interpreter (Python {least} or later) with python= or python-home="
    if problem.kind == PERMISSION:
        fix = f"let this user pass, or {fix}"
    elif "shared librar" in problem.what:
        fix = f"say where that library is (env=LD_LIBRARY_PATH=DIRECTORY), or {fix}"
    return Finding(
        group.line.place,
        "WSGID0082",
        f"daemon group '{group.name}': {user} cannot run {interpreter}: {problem.what}",
        fix,
    )


def not_root(group: Group) -> Finding:
    setting = "user=" if group.get("user") else "User"
    return Finding(
        group.line.place,
        "WSGID0423",
        f"daemon group '{group.name}' runs as another user than "
        f"{name_of(None)} if root starts httpd: its interpreter, paths and imports",
        f"run this as root, or, if {name_of(None)} starts httpd, drop {setting}, which "
        "then has no effect (WSGID0024)",
        UNKNOWN,
    )


def used_groups(subject: Subject) -> list[Group]:
    """Those that are defined, and the default one if scripts are served by it."""
    groups = list({group.name: group for group in subject.groups}.values())
    needed = any(script.group == DEFAULT_GROUP for script in subject.scripts)
    return (
        [*groups, subject.default_group]
        if needed and DEFAULT_GROUP not in subject.by_name
        else groups
    )


def check_paths(subject: Subject) -> Findings:
    """home, python-path, env-file and chroot, as the group's user finds them."""
    for group in subject.groups:
        if not can_become(subject, group):
            continue
        identity, place, path = (
            identity_of(subject, group),
            group.line.place,
            subject.configuration.path,
        )
        directories = [("home", path(value)) for value in group.all("home")]
        directories += [("python-path", value) for value in python_path(subject, group)]
        for option, directory in directories:
            problem = directory_problem(directory, identity)
            if problem:
                yield Finding(
                    place,
                    "WSGID0424",
                    f"{option}={directory} of daemon group '{group.name}': {problem[0]}",
                    problem[1],
                )
        for option, needs in (("env-file", os.path.isfile), ("chroot", os.path.isdir)):
            for value in group.all(option):
                if not needs(path(value)):
                    yield Finding(
                        place,
                        "WSGID0424",
                        f"{option}={value} of daemon group '{group.name}' is not there",
                        "correct the path",
                    )


def directory_problem(directory: str, identity: Identity | None) -> tuple[str, str] | None:
    if not os.path.exists(directory):
        return "there is no such directory", "correct the path"
    if not os.path.isdir(directory):
        return "that is not a directory", "name the directory"
    blocked = reach.in_the_way(os.path.join(directory, "."), identity, os.X_OK)
    return (
        (
            f"{name_of(identity)} cannot enter {blocked.removesuffix('/.')}",
            f"chmod o+x {blocked.removesuffix('/.')}, or run the group as another user",
        )
        if blocked
        else None
    )


# -------- coming from mod_wsgi


def check_moving(subject: Subject) -> Findings:
    """What works otherwise than with mod_wsgi, where nothing else says so."""
    configuration = subject.configuration
    lines = [
        (line, line.words[0]) for line in configuration.named("wsgiapplicationgroup") if line.words
    ]
    for line in configuration.named("wsgiscriptalias", "wsgiscriptaliasmatch"):
        given = options(heads(line.arguments, 2)[1])
        lines += [(line, value) for name, value in given if name == "application-group"]
    for line, name in lines:
        if name != DEFAULT_GROUP:
            yield Finding(
                line.place,
                "WSGID0017",
                f"application group {name} has no effect: a process has one interpreter",
                "to keep applications apart, give each its own WSGIDaemonProcess",
                NOTE,
            )
    if subject.loaded.get(THEIRS) is None:
        return
    for script in subject.scripts:
        if script.group == DEFAULT_GROUP:
            yield Finding(
                script.line.place,
                "WSGID0427",
                "with mod_wsgi this runs within httpd's own processes; here "
                "it will run in the default daemon group: one process of 15 threads, as httpd's user",
                "define a WSGIDaemonProcess for it, and name that with WSGIProcessName",
                NOTE,
            )
