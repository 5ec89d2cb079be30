"""Checks how far the daemon groups are apart: their users and groups, and who else can replace the
code that they run.

Rules: the user who deploys the code owns it, and may be anybody. What counts are the users that
requests can take over: httpd's, those of other groups, and everybody. Only root can become them;
without root, this is about everybody alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from pywsgid.cli import file_access
from pywsgid.cli.check.conf_syntax import Directive
from pywsgid.cli.check.findings import NOTE, Finding, Findings
from pywsgid.cli.check.subject import Subject, user_text
from pywsgid.cli.check.wsgi_conf import Group, hosts
from pywsgid.cli.users import Identity, identity_of

# What runs programs as httpd's user, as in apxs/config/trust.c.
RUNNERS = (
    "cgi_module",
    "cgid_module",
    "fcgid_module",
    "php_module",
    "php7_module",
    "perl_module",
    "lua_module",
)


def check_users(subject: Subject) -> Findings:
    """Groups with httpd's user beside others, and with httpd's group beside their own user."""
    httpd = subject.httpd_identity()
    if httpd is None:
        return
    groups = subject.used_groups()
    if len(groups) > 1 or any(name in subject.loaded for name in RUNNERS):
        shared = [group for group in groups if _uid(subject, group) == httpd.uid]
        yield from _noted(
            shared,
            "WSGID0030",
            f"as httpd's User {httpd.name}, as CGI programs and PHP do: whatever runs as that user "
            "can stop and trace these processes",
            "give each group a user of its own (user=NAME group=NAME)",
        )
    yield from _noted(
        [group for group in groups if _has_httpds_group(group, httpd)],
        "WSGID0031",
        "with httpd's Group, because user= is given without group=: these processes can read every "
        "file that is open to that group, such as those of other sites",
        "add the user's own group (group=NAME)",
    )


def _noted(groups: list[Group], code: str, how: str, fix: str) -> Findings:
    """One note, at the first of these groups, if there are any."""
    if groups:
        names = ", ".join(f"'{group.name}'" for group in groups)
        run = f"daemon groups {names} run" if len(groups) > 1 else f"daemon group {names} runs"
        yield Finding(groups[0].line.place, code, f"{run} {how}", fix, NOTE)


def _uid(subject: Subject, group: Group) -> int | None:
    identity = subject.identity_of(group)
    return identity.uid if identity else None


def _has_httpds_group(group: Group, httpd: Identity) -> bool:
    """Whether group= would change anything."""
    name = group.get("user")
    if not name or group.get("group"):
        return False
    try:
        identity = identity_of(name)
        return identity.uid != 0 and identity.gid != httpd.gid
    except KeyError:
        return False  # option_checks.py reports it


def check_assigned_users(subject: Subject) -> Findings:
    """AssignUserID of mpm-itk: requests of a host come from a process of that user, which needs
    socket-user=."""
    for line in subject.configuration.named("assignuserid"):
        for name in line.words[:1]:
            for group in _groups_of_host(subject, line):
                if (group.get("socket-user") or subject.configuration.text("user")) != name:
                    yield Finding(
                        line.place,
                        "WSGID0451",
                        f"httpd serves this host as user {name}, who may not connect to daemon "
                        f"group '{group.name}'",
                        f"give it socket-user={name}, and hosts with other users other groups",
                    )


def _groups_of_host(subject: Subject, line: Directive) -> list[Group]:
    """The groups that serve scripts of the host that a line is in."""
    scripts = [one for one in subject.scripts if hosts(one.line.sections) == hosts(line.sections)]
    found = [subject.group_of(one) for one in scripts if one.url]
    return list({group.name: group for group in found if group}.values())


# -------- the code


def check_writers(subject: Subject) -> Findings:
    """Scripts, home=, python-path= and interpreters, with the directories on the way to them."""
    others = _identities(subject)
    for group in subject.used_groups():
        own = subject.identity_of(group)
        writers = [one for one in others if own and one.uid != own.uid]
        found: dict[str, str] = {}
        for path in _code(subject, group):
            for who, place in _writable(path, writers):
                found.setdefault(place, who)
        for place, who in found.items():
            yield Finding(
                group.line.place,
                "WSGID0448",
                f"{who} can change {place}, and with it what daemon group '{group.name}' runs",
                "let only root, or the user who deploys, own it and write to it (chown, chmod)",
                NOTE,
            )


def _identities(subject: Subject) -> list[Identity]:
    """The users that requests can take over, one for each uid."""
    found = [subject.httpd_identity(), *map(subject.identity_of, subject.used_groups())]
    return list({one.uid: one for one in found if one and one.uid != 0}.values())


def _code(subject: Subject, group: Group) -> list[str]:
    """What a process of the group executes or imports, as far as the configuration names it."""
    scripts = [one.path for one in subject.scripts if one.path and subject.group_of(one) == group]
    home = [subject.configuration.path(value) for value in group.all("home")]
    paths = [*scripts, *home, *subject.python_path(group), subject.launch(group).python]
    return [path for path in dict.fromkeys(paths) if os.path.exists(path)]


def _writable(path: str, writers: list[Identity]) -> Iterator[tuple[str, str]]:
    """Yields who can change a path, and which directory on the way to it, or the path itself."""
    place = file_access.writable_by_all(path)
    if place:
        yield "everybody", place
    for identity in writers:
        place = file_access.first_writable(path, identity)
        if place:
            yield user_text(identity), place
