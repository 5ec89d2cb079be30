"""What the checks of `pywsgid check` are about: a configuration, and this machine as the users of
its daemon groups find it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from pywsgid.cli.check.conf_syntax import Directive
from pywsgid.cli.check.daemon_environment import environment
from pywsgid.cli.check.interpreter_probe import InterpreterProbe, Launch
from pywsgid.cli.check.wsgi_conf import DEFAULT_GROUP, Alias, Configuration, Group
from pywsgid.cli.users import Identity, group_id, identity_of, name_of

THEIRS = "wsgi_module"


@dataclass
class Subject:
    """All that a check may use."""

    configuration: Configuration
    loaded: dict[str, Directive | None]  # module -> its LoadModule line; None if compiled in
    module: str | None  # the mod_wsgid.so that belongs to this command
    probe: InterpreterProbe
    runtime: str  # DefaultRuntimeDir
    is_root: bool = field(default_factory=lambda: os.geteuid() == 0)
    place: str = ""  # of a finding about no line: the configuration itself

    def __post_init__(self) -> None:
        self.groups = self.configuration.groups()
        self.aliases = self.configuration.aliases()
        others = self.configuration.imports() + self.configuration.handled()
        self.scripts = self.aliases + others + self.configuration.deciders()
        self.by_name = {group.name or DEFAULT_GROUP: group for group in self.groups}

    # -------- groups

    @property
    def default_group(self) -> Group:
        """The group that the module creates if no line defines it."""
        return Group(DEFAULT_GROUP, Directive("WSGIDaemonProcess", "", self.place, 0), ())

    def group_of(self, alias: Alias) -> Group | None:
        """The group that serves a script; None if there is none, or if it depends on the
        request."""
        if alias.group == DEFAULT_GROUP:
            return self.by_name.get(DEFAULT_GROUP, self.default_group)
        return self.by_name.get(alias.group) if alias.group else None

    def used_groups(self) -> list[Group]:
        """The defined groups, and the default group if it serves a script."""
        groups = list({group.name: group for group in self.groups}.values())
        is_used = any(script.group == DEFAULT_GROUP for script in self.scripts)
        if is_used and DEFAULT_GROUP not in self.by_name:
            groups.append(self.default_group)
        return groups

    # -------- users

    def httpd_identity(self) -> Identity | None:
        """The user that httpd's children become; None if it is the one who runs this, or if User
        is wrong (user_checks.py reports it)."""
        name = self.configuration.text("user")
        if not self.is_root or name is None:
            return None
        try:
            identity = identity_of(name)
        except KeyError:
            return None
        gid = group_id(self.configuration.text("group") or "")
        return replace(identity, gid=identity.gid if gid is None else gid)

    def identity_of(self, group: Group) -> Identity | None:
        """The user of a group's processes; None if it is the one who runs this. If user= is wrong,
        it is httpd's user (option_checks.py reports it)."""
        if not self.is_root:
            return None
        httpd = self.httpd_identity()
        name, gid = group.get("user"), group_id(group.get("group") or "")
        try:
            identity = identity_of(name) if name else httpd
        except KeyError:
            return httpd
        if identity and gid is not None:
            return replace(identity, gid=gid)
        # Without group=, it is httpd's Group, whoever the user is.
        return replace(identity, gid=httpd.gid) if identity and httpd else identity

    def can_become(self, group: Group) -> bool:
        """Whether this process can run something as the group's user."""
        if self.is_root:
            identity = self.identity_of(group)
            return identity is not None and identity.uid != 0
        name = group.get("user") or self.configuration.text("user")
        try:
            return name is None or identity_of(name).uid == os.geteuid()
        except KeyError:
            return True

    # -------- interpreters

    def launch(self, group: Group) -> Launch:
        """How the processes of a group start."""
        identity = self.identity_of(group)
        path, option = self._interpreter(group)
        if not path:
            path = self.probe.default_python(identity)
        variables = environment(path, identity, group, self.configuration.root)
        return Launch(path, option, identity, variables)

    def _interpreter(self, group: Group) -> tuple[str, str]:
        """The path that a group or the server names, and the option that does; "" twice if none
        does."""
        configuration = self.configuration
        python = group.get("python")
        if python:
            return configuration.path(python), "python"
        home, option = group.get("python-home"), "python-home"
        if not home:
            home, option = configuration.text("wsgipythonhome"), "WSGIPythonHome"
        if not home:
            return "", ""
        directory = os.path.join(configuration.path(home), "bin")
        places = [os.path.join(directory, name) for name in ("python", "python3")]
        return next((place for place in places if os.path.lexists(place)), places[0]), option

    def python_path(self, group: Group) -> list[str]:
        """The directories of python-path= or WSGIPythonPath."""
        configuration = self.configuration
        values = group.all("python-path") or [configuration.text("wsgipythonpath") or ""]
        return [configuration.path(item) for value in values for item in value.split(":") if item]


def user_text(identity: Identity | None) -> str:
    """Returns a user for a message."""
    return f"user {name_of(identity)}"
