"""What `pywsgid check` looks for: each check takes the configuration and yields findings.

A finding is one line: where, what, cure. It has the code under which the module or the daemon would say the same, or
one of its own (docs/errors.d/build.md). Rules: a check looks at the machine, never changes it; what it cannot know,
because only root or a request could, is a finding of its own kind (UNKNOWN) and not silence. How a configuration is
read is conf_reader.py's, what it means wsgi_conf.py's.
"""

from __future__ import annotations

import difflib
import fnmatch
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pywsgid import directives, django_settings, option_values, reach
from pywsgid.conf_reader import Directive, ModuleBlock, Section
from pywsgid.importing import LEAST, OLD, PERMISSION, Importer, Problem
from pywsgid.options import FOREIGN, OPTIONS, Option
from pywsgid.reach import Identity
from pywsgid.wsgi_conf import (
    ALIASES,
    DEFAULT_GROUP,
    GROUP_DIRECTIVES,
    GROUP_OPTIONS,
    Configuration,
    Group,
    Script,
    covers,
    heads,
    hosts,
    is_below,
    options,
)

PROBLEM, NOTE, UNKNOWN = "problem", "note", "unknown"
SOCKET_PREFIX_MAX = 72  # as in apxs/config.c: what WSGISocketPrefix may name
SOCKET_PATH_ROOM = 108 - 24     # as in apxs/listener.c: what a prefix may take of a socket's path
OURS, THEIRS = "wsgid_module", "wsgi_module"
# As <IfModule> may ask for either: by the identifier of LoadModule, or by the source file.
NAMES_OF_OURS, NAMES_OF_THEIRS = (OURS, "mod_wsgid.c"), (THEIRS, "mod_wsgi.c")


@dataclass(frozen=True)
class Finding:
    place: str
    code: str
    what: str
    cure: str
    kind: str = PROBLEM

    def __str__(self) -> str:
        label = "" if self.kind == PROBLEM else f"{'note' if self.kind == NOTE else 'not checked'}: "
        return f"{self.place}: {label}{self.code}: {self.what}: {self.cure}"


Findings = Iterator[Finding]


@dataclass
class Subject:
    """All that a check may look at."""

    configuration: Configuration
    loaded: dict[str, Directive | None]     # module -> its LoadModule line, if it is not compiled in
    module: str | None                      # mod_wsgid.so as pywsgid knows it
    importer: Importer
    runtime: str                            # DefaultRuntimeDir
    is_root: bool = field(default_factory=lambda: os.geteuid() == 0)
    place: str = ""                         # for what stands in no line: the configuration itself
    blocks: list[ModuleBlock] = field(default_factory=list)     # all <IfModule>

    def __post_init__(self) -> None:
        self.groups = self.configuration.groups()
        self.scripts = self.configuration.scripts()
        self.by_name = {group.name or DEFAULT_GROUP: group for group in self.groups}

    @property
    def default_group(self) -> Group:
        """What the module makes if no line defines it."""
        return Group(DEFAULT_GROUP, Directive("WSGIDaemonProcess", "", self.place, 0), ())

    def group_of(self, script: Script) -> Group | None:
        if script.group == DEFAULT_GROUP:
            return self.by_name.get(DEFAULT_GROUP, self.default_group)
        return self.by_name.get(script.group) if script.group else None


def all_findings(subject: Subject) -> list[Finding]:
    checks = (check_modules, check_blocks, check_directives, check_options, check_groups, check_server, check_sockets,
              check_references, check_interpreters, check_paths, check_aliases, check_django, check_scripts,
              check_moving)
    return [finding for check in checks for finding in check(subject)]


# ------------------------------------------------------------------------------------------------ modules


def load_line(subject: Subject) -> str:
    return f'LoadModule wsgid_module "{subject.module or "modules/mod_wsgid.so"}"'


def check_modules(subject: Subject) -> Findings:
    ours, theirs = subject.loaded.get(OURS), subject.loaded.get(THEIRS)
    if ours and theirs:
        yield Finding(theirs.place, "WSGID0001", f"mod_wsgi is loaded, and mod_wsgid at {ours.place}",
                      "remove this LoadModule line (Debian: a2dismod wsgi)")
    elif theirs:
        yield Finding(theirs.place, "WSGID0420", "mod_wsgi is loaded, and not mod_wsgid",
                      f"in place of this line (Debian: a2dismod wsgi && a2enmod wsgid): {load_line(subject)}")
    elif not ours and OURS not in subject.loaded:
        yield Finding(subject.place, "WSGID0420", "no module for WSGI is loaded", f"add: {load_line(subject)}")
    if ours:
        yield from check_module_file(subject, ours)


def check_module_file(subject: Subject, line: Directive) -> Findings:
    path = subject.configuration.path(line.words[1])
    here = os.path.dirname(path)
    if not os.path.isfile(path):
        yield Finding(line.place, "WSGID0421", f"there is no {path}", f"`make install`, or {load_line(subject)}")
    elif not any(os.path.isfile(os.path.join(here, name)) for name in ("pywsgid/boot.py", "boot.py")):
        yield Finding(line.place, "WSGID0421", f"pywsgid/boot.py is not beside {path}, and daemons are started from "
                      "there", "put the package there: `make install`")


def check_blocks(subject: Subject) -> Findings:
    """<IfModule mod_wsgi.c>: neither that name nor wsgi_module is ours, so httpd skips what stands in it."""
    prepared = any(block.module in NAMES_OF_OURS and block.wanted for block in subject.blocks)
    for block in subject.blocks:
        if block.module not in NAMES_OF_THEIRS or not block.names:
            continue
        text = f"<IfModule {'' if block.wanted else '!'}{block.module}>"
        if block.wanted:
            what = "vanishes when mod_wsgid takes mod_wsgi's place" if block.holds else \
                "is skipped, as mod_wsgi is not loaded"
            # With a block for each module, what is skipped here stands there.
            yield Finding(block.place, "WSGID0446", f"what stands in {text} {what}: {contents(block)}",
                          "write <IfModule wsgid_module>, or remove this line and its </IfModule>",
                          NOTE if prepared else PROBLEM)
        elif "loadmodule" not in map(str.lower, block.names):
            what = "holds, as mod_wsgi is not loaded" if block.holds else "will hold when mod_wsgid takes its place"
            yield Finding(block.place, "WSGID0446", f"{text} {what}: {contents(block)}",
                          "if that is for servers without WSGI, write <IfModule !wsgid_module>", NOTE)


def contents(block: ModuleBlock) -> str:
    """Its directives by name: ours first, three at most."""
    names = sorted(dict.fromkeys(name.lstrip("<") for name in block.names),
                   key=lambda name: not name.lower().startswith("wsgi"))
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")


# ------------------------------------------------------------------------------------------------ names and values


def check_directives(subject: Subject) -> Findings:
    """What mod_wsgi has and we have not, and what nobody has."""
    known = [*directives.DIRECTIVES, *directives.FOREIGN, *directives.REFUSED]
    for line in subject.configuration.directives:
        name, key = line.name.lstrip("<"), line.key.lstrip("<")
        if key in FOREIGN_DIRECTIVES:
            yield Finding(line.place, "WSGID0014", f"{name} has no effect here", FOREIGN_DIRECTIVES[key], NOTE)
        elif key in REFUSED_DIRECTIVES:
            yield Finding(line.place, "WSGID0015", f"{name} is not available, and to ignore it would open what it "
                          "protects", REFUSED_DIRECTIVES[key])
        elif key.startswith("wsgi") and key not in KNOWN_DIRECTIVES:
            yield Finding(line.place, "WSGID0422", f"there is no directive {name}",
                          meant(name, known, "docs/reference/directives.md has all"))


FOREIGN_DIRECTIVES = {name.lower().lstrip("<"): cure for name, cure in directives.FOREIGN.items()}
REFUSED_DIRECTIVES = {name.lower(): cure for name, cure in directives.REFUSED.items()}
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
                code, what, cure = problem
                kind = NOTE if name in FOREIGN else PROBLEM
                yield Finding(group.line.place, code, f"daemon group '{group.name}': {what}", cure, kind)
            seen.setdefault(name, value)
        if "python" in seen and "python-home" in seen:
            yield Finding(group.line.place, "WSGID0011", "python= and python-home= both choose the interpreter",
                          "keep one")


def option_problem(name: str, value: str, seen: dict[str, str]) -> tuple[str, str, str] | None:
    """(code, what, cure)"""
    if not name:
        return "WSGID0008", f"'{value}' is not an option", "write option=value, and quotes around a value with blanks"
    if name in FOREIGN:
        return "WSGID0013", f"{name}= has no effect here", FOREIGN[name]
    if name not in OPTIONS:
        cure = meant(name, [*OPTIONS, *FOREIGN], "docs/reference/options.md has all")
        return "WSGID0002", f"there is no option {name}=", cure
    if name in seen and OPTIONS[name].type not in ("paths", "groups", "assignments"):
        return "WSGID0004", f"{name}= is given twice ({seen[name]} and {value})", "keep one"
    problem = value_problem(OPTIONS[name], value)
    return (problem[0], f"{name}={value}: {problem[1]}", problem[2]) if problem else None


def value_problem(option: Option, value: str) -> tuple[str, str, str] | None:
    """(code, what, cure)"""
    if option.type == "user":
        try:
            identity = reach.identity_of(value)
        except KeyError:
            return "WSGID0005", "there is no such user", "name one that exists, or #UID"
        if identity.uid < option.least:
            return "WSGID0007", "that is root, and an application never runs as root", "name another user"
        return None
    if option.type in ("groupid", "groups"):
        missing = [name for name in value.split(",") if reach.group_id(name) is None]
        return ("WSGID0006", f"there is no group {missing[0]}", "name one that exists, or #GID") if missing else None
    problem = option_values.problem(option, value)
    return ("WSGID0003", problem, "correct the value") if problem else None


def check_groups(subject: Subject) -> Findings:
    first: dict[str, Group] = {}
    for group in subject.groups:
        other = first.setdefault(group.name, group)
        if other.options != group.options:
            yield Finding(group.line.place, "WSGID0010", f"daemon group '{group.name}' is defined with other options "
                          f"at {other.line.place}", "make both lines the same, or give this one another name")


# ------------------------------------------------------------------------------------------------ who


def httpd_identity(subject: Subject) -> Identity | None:
    """Whom httpd's children become; None if they stay who they are, or if it cannot be known."""
    name = subject.configuration.text("user")
    if not subject.is_root or name is None:
        return None
    try:
        identity = reach.identity_of(name)
    except KeyError:
        return None
    gid = reach.group_id(subject.configuration.text("group") or "")
    return replace(identity, gid=identity.gid if gid is None else gid)


def identity_of(subject: Subject, group: Group) -> Identity | None:
    """Whom a group's processes run as; None for whoever runs this, or if the name is wrong (told elsewhere)."""
    httpd = httpd_identity(subject)
    if not subject.is_root:
        return None
    name, gid = group.get("user"), reach.group_id(group.get("group") or "")
    try:
        identity = reach.identity_of(name) if name else httpd
    except KeyError:
        return httpd
    if identity and gid is not None:
        return replace(identity, gid=gid)
    # group= not named: httpd's Group, whoever the user is.
    return replace(identity, gid=httpd.gid) if identity and httpd else identity


def name_of(identity: Identity | None) -> str:
    return f"user {identity.name}" if identity else f"uid {os.geteuid()}"


def can_become(subject: Subject, group: Group) -> bool:
    """Whether what is found here is what the group's own user would find."""
    if subject.is_root:
        identity = identity_of(subject, group)
        return identity is not None and identity.uid != 0   # else it is told already that there is no such user
    name = group.get("user") or subject.configuration.text("user")
    try:
        return name is None or reach.identity_of(name).uid == os.geteuid()
    except KeyError:
        return True


def check_server(subject: Subject) -> Findings:
    """User and Group of httpd itself."""
    configuration = subject.configuration
    user, group = configuration.setting("user"), configuration.setting("group")
    unnamed = [one for one in subject.groups if not one.get("user")] or ([] if subject.groups else [None])
    if user is None:
        if unnamed and subject.is_root:
            place = unnamed[0].line.place if unnamed[0] else subject.place
            yield Finding(place, "WSGID0007", "httpd's User is not set, and an application never runs as root",
                          "name a user with User or with user=")
    else:
        yield from check_user(user, unnamed)
    if group is not None and group.words and reach.group_id(group.words[0]) is None:
        yield Finding(group.place, "WSGID0006", f"Group {group.words[0]}: there is no such group",
                      "name one that exists")


def check_user(line: Directive, unnamed: list[Group | None]) -> Findings:
    name = line.words[0] if line.words else ""
    try:
        identity = reach.identity_of(name)
    except KeyError:
        yield Finding(line.place, "WSGID0005", f"User {name}: there is no such user", "name one that exists")
        return
    if identity.uid == 0 and unnamed:
        yield Finding(line.place, "WSGID0007", "User is root, and an application never runs as root",
                      "name another user with User or with user=")


# ------------------------------------------------------------------------------------------------ sockets


def check_sockets(subject: Subject) -> Findings:
    line = subject.configuration.setting("wsgisocketprefix")
    runtime = subject.configuration.setting("defaultruntimedir")
    place = line.place if line else runtime.place if runtime else subject.place
    text = line.words[0] if line and line.words else None
    prefix = subject.configuration.path(text) if text else os.path.join(subject.runtime, "wsgid")
    directory = os.path.dirname(prefix)
    problem = socket_problem(prefix, directory, SOCKET_PREFIX_MAX if text else SOCKET_PATH_ROOM)
    if problem:
        yield Finding(place, "WSGID0061", f"no sockets can be made as {prefix}.*: {problem}",
                      "set WSGISocketPrefix to a path in a directory that root owns and everybody may enter")
        return
    blocked = reach.in_the_way(os.path.join(directory, "x"), httpd_identity(subject), os.F_OK)
    if blocked and blocked != os.path.join(directory, "x"):
        yield Finding(place, "WSGID0061", f"{name_of(httpd_identity(subject))}, who httpd runs as, cannot enter "
                      f"{blocked}, and so reach no socket", f"chmod o+x {blocked}, or set WSGISocketPrefix to another "
                      "place")


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


# ------------------------------------------------------------------------------------------------ names of groups


def check_references(subject: Subject) -> Findings:
    """WSGIProcessName and process-name= name groups that are defined."""
    known = {*subject.by_name, DEFAULT_GROUP, ""}
    for line in subject.configuration.directives:
        for name in groups_named(line):
            if name not in known and "%{" not in name:
                yield Finding(line.place, "WSGID0018", f"there is no daemon group '{name}'",
                              meant(name, list(subject.by_name), f"define it: WSGIDaemonProcess {name}"))


def groups_named(line: Directive) -> list[str]:
    if line.key in GROUP_DIRECTIVES:
        return line.words[:1]
    if line.key in ALIASES:
        return [value for name, value in options(heads(line.arguments, 2)[1]) if name in GROUP_OPTIONS]
    return line.words if line.key == "wsgirestrictprocess" else []


# ------------------------------------------------------------------------------------------------ interpreters, paths


def check_interpreters(subject: Subject) -> Findings:
    for group in used_groups(subject):
        if not can_become(subject, group):
            if not subject.is_root:
                yield not_root(group)
            continue
        identity = identity_of(subject, group)
        path, option = interpreter(subject, group)
        problem = subject.importer.interpreter_problem(path, identity, group, subject.configuration.root)
        if problem:
            yield interpreter_finding(group, f"{path}{f' ({option}=)' if option else ''}", name_of(identity), problem)


def interpreter_finding(group: Group, interpreter: str, user: str, problem: Problem) -> Finding:
    least = ".".join(map(str, LEAST))
    if problem.kind == OLD:     # as boot.py says it
        return Finding(group.line.place, "WSGID0300", f"daemon group '{group.name}': the interpreter {interpreter} "
                       f"{problem.what}; mod_wsgid needs {least} or later", "name another with python= or python-home=")
    cure = f"name another interpreter (Python {least} or later) with python= or python-home="
    if problem.kind == PERMISSION:
        cure = f"let this user pass, or {cure}"
    elif "shared librar" in problem.what:
        cure = f"say where that library is (env=LD_LIBRARY_PATH=DIRECTORY), or {cure}"
    return Finding(group.line.place, "WSGID0082", f"daemon group '{group.name}': {user} cannot run {interpreter}: "
                   f"{problem.what}", cure)


def not_root(group: Group) -> Finding:
    setting = "user=" if group.get("user") else "User"
    return Finding(group.line.place, "WSGID0423", f"daemon group '{group.name}' runs as another user than "
                   f"{name_of(None)} if root starts httpd: its interpreter, paths and imports",
                   f"run this as root, or, if {name_of(None)} starts httpd, drop {setting}, which "
                   "then has no effect (WSGID0024)", UNKNOWN)


def used_groups(subject: Subject) -> list[Group]:
    """Those that are defined, and the default one if scripts are served by it."""
    groups = list({group.name: group for group in subject.groups}.values())
    needed = any(script.group == DEFAULT_GROUP for script in subject.scripts)
    return [*groups, subject.default_group] if needed and DEFAULT_GROUP not in subject.by_name else groups


def interpreter(subject: Subject, group: Group) -> tuple[str, str]:
    """(path, the option that names it)"""
    configuration = subject.configuration
    if group.get("python"):
        return configuration.path(group.get("python")), "python"
    home = group.get("python-home")
    named = "python-home" if home else "WSGIPythonHome"
    home = home or configuration.text("wsgipythonhome")
    if home:
        places = [os.path.join(configuration.path(home), "bin", name) for name in ("python", "python3")]
        return next((place for place in places if os.path.lexists(place)), places[0]), named
    return subject.importer.default_python(identity_of(subject, group)), ""


def python_path(subject: Subject, group: Group) -> list[str]:
    values = group.all("python-path") or [subject.configuration.text("wsgipythonpath") or ""]
    return [subject.configuration.path(item) for value in values for item in value.split(":") if item]


def check_paths(subject: Subject) -> Findings:
    """home, python-path, env-file and chroot, as the group's user finds them."""
    for group in subject.groups:
        if not can_become(subject, group):
            continue
        identity, place, path = identity_of(subject, group), group.line.place, subject.configuration.path
        directories = [("home", path(value)) for value in group.all("home")]
        directories += [("python-path", value) for value in python_path(subject, group)]
        for option, directory in directories:
            problem = directory_problem(directory, identity)
            if problem:
                yield Finding(place, "WSGID0424", f"{option}={directory} of daemon group '{group.name}': {problem[0]}",
                              problem[1])
        for option, needs in (("env-file", os.path.isfile), ("chroot", os.path.isdir)):
            for value in group.all(option):
                if not needs(path(value)):
                    yield Finding(place, "WSGID0424", f"{option}={value} of daemon group '{group.name}' is not there",
                                  "correct the path")


def directory_problem(directory: str, identity: Identity | None) -> tuple[str, str] | None:
    if not os.path.exists(directory):
        return "there is no such directory", "correct the path"
    if not os.path.isdir(directory):
        return "that is not a directory", "name the directory"
    blocked = reach.in_the_way(os.path.join(directory, "."), identity, os.X_OK)
    return (f"{name_of(identity)} cannot enter {blocked.removesuffix('/.')}",
            f"chmod o+x {blocked.removesuffix('/.')}, or run the group as another user") if blocked else None


# ------------------------------------------------------------------------------------------------ scripts


def check_aliases(subject: Subject) -> Findings:
    """Aliases whose requests an earlier one takes, as alias.c says it at start."""
    earlier: list[Script] = []
    for script in subject.scripts:
        if script.line.key != "wsgiscriptalias":
            continue
        other = next((other for other in earlier if hosts(other.line.sections) == hosts(script.line.sections)
                      and is_below(script.url.rstrip("/"), other.url)), None)
        if other:
            yield Finding(script.line.place, "WSGID0027", f"WSGIScriptAlias {script.url} has no effect: that of "
                          f"{other.url} at {other.line.place} takes its requests", "write the longer URL first")
        earlier.append(script)


def check_django(subject: Subject) -> Findings:
    """Two Django sites in one process would both be the one that is loaded first (django_settings.py)."""
    first: dict[str, tuple[str, Script]] = {}
    for script in subject.scripts:
        settings, group = settings_of(script), subject.group_of(script)
        if settings is None or group is None or is_given_settings(group):
            continue
        running, other = first.setdefault(group.name, (settings, script))
        if running != settings:
            yield Finding(script.line.place, "WSGID0339", f"{script.path} ({settings}) and {other.path} ({running}) "
                          "are two Django sites in one process, which can be one only",
                          "give each its own WSGIDaemonProcess")


def settings_of(script: Script) -> str | None:
    try:
        with open(script.path if script.path and os.path.isfile(script.path) else os.devnull, "rb") as file:
            return django_settings.named_in(file.read())
    except OSError:
        return None         # check_script_file() says why


def is_given_settings(group: Group) -> bool:
    return any(name == "env" and value.startswith(f"{django_settings.VARIABLE}=") for name, value in group.options)


def check_scripts(subject: Subject) -> Findings:
    done: set[tuple[str, str, str | None]] = set()
    for script in subject.scripts:
        group = subject.group_of(script)
        if script.path is None or script.group is None:
            what = "script" if script.path is None else "daemon group"
            yield Finding(script.line.place, "WSGID0425", f"which {what} serves it depends on the request",
                          "look at it by hand", NOTE)
            continue
        if group is None:
            continue    # told already: there is no such group
        problems = list(check_script_file(subject, script, group))
        yield from problems
        yield from check_access(subject, script)
        what = (script.path, group.name, script.callable)
        if not problems and what not in done and can_become(subject, group) and os.path.isfile(script.path):
            done.add(what)
            yield from check_import(subject, script, group)


def check_script_file(subject: Subject, script: Script, group: Group) -> Findings:
    path, place = script.path or "", script.line.place
    if not os.path.exists(path):
        first = first_missing(path)
        yield Finding(place, "WSGID0330", f"{path} is not there" + (f" ({first} is missing)" if first != path else ""),
                      "correct WSGIScriptAlias, or put it there")
        return
    if not can_become(subject, group):
        return
    roles = [("which its application runs as", identity_of(subject, group), os.R_OK | (os.X_OK if os.path.isdir(path)
                                                                                      else 0)),
             ("which httpd runs as", httpd_identity(subject), os.F_OK)]
    for role, identity, needs in roles:
        blocked = reach.in_the_way(path, identity, needs)
        if blocked:
            what, cure = ("read", "chmod o+r") if blocked == path else ("enter", "chmod o+x")
            yield Finding(place, "WSGID0331", f"{name_of(identity)}, {role}, cannot {what} {blocked}"
                          f"{'' if blocked == path else f', and so not reach {path}'}", f"{cure} {blocked}, or move it")
            return


def first_missing(path: str) -> str:
    """The first part of a path that is not there."""
    while not os.path.exists(os.path.dirname(path)):
        path = os.path.dirname(path)
    return path


def check_import(subject: Subject, script: Script, group: Group) -> Findings:
    identity = identity_of(subject, group)
    path, _ = interpreter(subject, group)
    if script.callable is None or group.get("chroot") or \
            subject.importer.interpreter_problem(path, identity, group, subject.configuration.root):
        return
    problem = subject.importer.import_problem(
        path, identity, script=script.path, callable=script.callable,
        home=subject.configuration.path(group.get("home")) if group.get("home") else "",
        python_path=python_path(subject, group), group=group, root=subject.configuration.root)
    if problem:
        yield Finding(script.line.place, "WSGID0332", f"{script.path} under {path} as {name_of(identity)}: {problem}",
                      import_cure(problem))


def import_cure(problem: str) -> str:
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
    if best and [word.lower() for word in best[1].words] == ["all", "denied"] and best[1].key == "require":
        yield Finding(script.line.place, "WSGID0426", f"access to {script.path} is denied at {best[1].place}",
                      f"add: <Directory {os.path.dirname(script.path or '/')}> Require all granted </Directory>")


def access_weight(sections: tuple[Section, ...], script: Script) -> tuple[int, int, int] | None:
    """As httpd merges: shorter directories first, a host's after the server's, files last; None if it does not hold."""
    host = hosts(sections)
    if host and host != hosts(script.line.sections):
        return None
    directory = files = 0
    for section in sections:
        kind, words = section.name.lower(), section.words
        if kind == "directory" and script.path and covers(section, script.path):
            directory = len(words[0].rstrip("/").split("/"))
        elif kind in ("location", "locationmatch", "if", "directorymatch", "filesmatch"):
            return None     # only a request decides
        elif kind == "files" and words:
            if not fnmatch.fnmatchcase(os.path.basename(script.path or ""), words[0]):
                return None
            files = 1
        elif kind == "directory" or kind == "files" or kind.startswith(("limit", "proxy")):
            return None
    return files, directory, len(host)


# ------------------------------------------------------------------------------------------------ coming from mod_wsgi


def check_moving(subject: Subject) -> Findings:
    """What works otherwise than with mod_wsgi, where nothing else says so."""
    configuration = subject.configuration
    lines = [(line, line.words[0]) for line in configuration.named("wsgiapplicationgroup") if line.words]
    for line in configuration.named("wsgiscriptalias", "wsgiscriptaliasmatch"):
        given = options(heads(line.arguments, 2)[1])
        lines += [(line, value) for name, value in given if name == "application-group"]
    for line, name in lines:
        if name != DEFAULT_GROUP:
            yield Finding(line.place, "WSGID0017", f"application group {name} has no effect: a process has one "
                          "interpreter", "to keep applications apart, give each its own WSGIDaemonProcess", NOTE)
    if subject.loaded.get(THEIRS) is None:
        return
    for script in subject.scripts:
        if script.group == DEFAULT_GROUP:
            yield Finding(script.line.place, "WSGID0427", "with mod_wsgi this runs within httpd's own processes; here "
                          "it will run in the default daemon group: one process of 15 threads, as httpd's user",
                          "define a WSGIDaemonProcess for it, and name that with WSGIProcessName", NOTE)
