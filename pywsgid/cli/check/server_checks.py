"""Checks what belongs to the server and not to one group: User, Group, and the place of the
sockets."""

from __future__ import annotations

import os
import stat

from pywsgid.cli import file_access
from pywsgid.cli.check.conf_syntax import Directive
from pywsgid.cli.check.findings import Finding, Findings
from pywsgid.cli.check.subject import Subject, user_text
from pywsgid.cli.users import Identity, group_id, identity_of

SOCKET_PREFIX_MAX = 72  # bytes of WSGISocketPrefix, as in apxs/config/directives.c
# As in apxs/slots/socket_directory.c: a path has 108 bytes, what follows the prefix needs 24.
SOCKET_PATH_ROOM = 108 - 24
NO_ROOT = "an application must not run as root"
USER_FIX = "name another user with User or user="


# -------- User and Group


def check_server(subject: Subject) -> Findings:
    configuration = subject.configuration
    user, group = configuration.setting("user"), configuration.setting("group")
    # The groups that run as httpd's user. Without any group, there is the default group.
    places = [one.line.place for one in subject.groups if not one.get("user")]
    if not subject.groups:
        places = [subject.place]
    if user is not None:
        yield from _check_user(user, bool(places))
    elif places and subject.is_root:
        yield Finding(places[0], "WSGID0007", f"httpd's User is not set, and {NO_ROOT}", USER_FIX)
    if group is not None and group.words and group_id(group.words[0]) is None:
        what = f"Group {group.words[0]}: there is no such group"
        yield Finding(group.place, "WSGID0006", what, "name a group that exists, or #GID")


def _check_user(line: Directive, is_used: bool) -> Findings:
    name = line.words[0] if line.words else ""
    try:
        identity = identity_of(name)
    except KeyError:
        what = f"User {name}: there is no such user"
        yield Finding(line.place, "WSGID0005", what, "name a user that exists, or #UID")
        return
    if identity.uid == 0 and is_used:
        yield Finding(line.place, "WSGID0007", f"User is root, and {NO_ROOT}", USER_FIX)


# -------- sockets


def check_sockets(subject: Subject) -> Findings:
    """WSGISocketPrefix, or DefaultRuntimeDir: httpd creates the sockets. Its children need no way
    there, except with ChrootDir (apxs/slots/socket_directory.c)."""
    line = subject.configuration.setting("wsgisocketprefix")
    runtime = subject.configuration.setting("defaultruntimedir")
    place = line.place if line else runtime.place if runtime else subject.place
    text = line.words[0] if line and line.words else None
    prefix = subject.configuration.path(text) if text else os.path.join(subject.runtime, "wsgid")
    longest = SOCKET_PREFIX_MAX if text else SOCKET_PATH_ROOM
    wrong = _prefix_wrong(prefix, longest)
    if not wrong and subject.configuration.setting("chrootdir"):
        wrong = _reach_wrong(prefix, subject.httpd_identity())
    if wrong:
        yield Finding(place, "WSGID0061", *wrong)


def _prefix_wrong(prefix: str, longest: int) -> tuple[str, str] | None:
    """The problem that httpd has with the sockets, and the fix."""
    if len(os.fsencode(prefix)) > longest:
        what = f"the paths of sockets cannot begin with {prefix}: it is longer than {longest} bytes"
        return what, "set WSGISocketPrefix to a shorter path"
    directory = os.path.dirname(prefix)
    problem = _directory_problem(directory)
    if problem:
        fix = "set WSGISocketPrefix to a path in a directory of root that no other user can change"
        return f"httpd cannot keep its sockets in {directory}: {problem}", fix
    return None


def _reach_wrong(prefix: str, identity: Identity | None) -> tuple[str, str] | None:
    """The problem that httpd's children have with the sockets if they need their paths, and the
    fix."""
    inside = os.path.join(os.path.dirname(prefix), "x")
    blocked = file_access.blocked_at(inside, identity, os.F_OK)
    if not blocked or blocked == inside:
        return None
    return (
        f"httpd runs as {user_text(identity)}, which cannot enter {blocked} to reach the sockets",
        f"run `chmod o+x {blocked}`, or set WSGISocketPrefix to a path in another directory",
    )


def _directory_problem(directory: str) -> str | None:
    try:
        found = os.stat(directory)
    except FileNotFoundError:
        above = os.path.dirname(directory)
        return None if os.path.isdir(above) else f"{above} does not exist"  # the start creates one
    except OSError as error:
        return str(error.strerror)
    if not stat.S_ISDIR(found.st_mode):
        return "it is not a directory"
    if found.st_uid not in (0, os.geteuid()):
        return f"it belongs to uid {found.st_uid} and not to root"
    writable = file_access.writable_by_all(os.path.join(directory, "x"))
    return f"everybody may write to {writable}" if writable else None
