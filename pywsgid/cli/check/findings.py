"""What the checks of `pywsgid check` have in common: a finding, what is checked, and who runs what
there.

A finding is one line: where, what, fix. It has the code under which the module or the daemon would
say the same, or one of its own (docs/errors.d/build.md). How a configuration is read is
conf_reader.py's, what it means wsgi_conf.py's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pywsgid.cli import reach
from pywsgid.cli.check.conf_reader import Directive, ModuleBlock
from pywsgid.cli.check.importing import Importer
from pywsgid.cli.check.wsgi_conf import DEFAULT_GROUP, Configuration, Group, Script
from pywsgid.cli.reach import Identity

PROBLEM, NOTE, UNKNOWN = "problem", "note", "unknown"
OURS, THEIRS = "wsgid_module", "wsgi_module"
# As <IfModule> may ask for either: by the identifier of LoadModule, or by the source file.
NAMES_OF_OURS, NAMES_OF_THEIRS = (OURS, "mod_wsgid.c"), (THEIRS, "mod_wsgi.c")


@dataclass(frozen=True)
class Finding:
    place: str
    code: str
    what: str
    fix: str
    kind: str = PROBLEM

    def __str__(self) -> str:
        label = (
            "" if self.kind == PROBLEM else f"{'note' if self.kind == NOTE else 'not checked'}: "
        )
        return f"{self.place}: {label}{self.code}: {self.what}: {self.fix}"


Findings = Iterator[Finding]


@dataclass
class Subject:
    """All that a check may look at."""

    configuration: Configuration
    loaded: dict[str, Directive | None]  # module -> its LoadModule line, if it is not compiled in
    module: str | None  # mod_wsgid.so as pywsgid knows it
    importer: Importer
    runtime: str  # DefaultRuntimeDir
    is_root: bool = field(default_factory=lambda: os.geteuid() == 0)
    place: str = ""  # for what stands in no line: the configuration itself
    blocks: list[ModuleBlock] = field(default_factory=list)  # all <IfModule>

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


# -------- who


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
    """Whom a group's processes run as; None for whoever runs this, or if the name is wrong (told
    elsewhere).
    """
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
        return (
            identity is not None and identity.uid != 0
        )  # else it is told already that there is no such user
    name = group.get("user") or subject.configuration.text("user")
    try:
        return name is None or reach.identity_of(name).uid == os.geteuid()
    except KeyError:
        return True


# -------- with what


def interpreter(subject: Subject, group: Group) -> tuple[str, str]:
    """(path, the option that names it)"""
    configuration = subject.configuration
    if group.get("python"):
        return configuration.path(group.get("python")), "python"
    home = group.get("python-home")
    named = "python-home" if home else "WSGIPythonHome"
    home = home or configuration.text("wsgipythonhome")
    if home:
        places = [
            os.path.join(configuration.path(home), "bin", name) for name in ("python", "python3")
        ]
        return next((place for place in places if os.path.lexists(place)), places[0]), named
    return subject.importer.default_python(identity_of(subject, group)), ""


def python_path(subject: Subject, group: Group) -> list[str]:
    values = group.all("python-path") or [subject.configuration.text("wsgipythonpath") or ""]
    return [
        subject.configuration.path(item) for value in values for item in value.split(":") if item
    ]
