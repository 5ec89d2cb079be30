"""Users and groups of this machine: their numbers, and what a process needs to run as one of them.

Rules: this file only reads the system's databases. It changes no process and checks no file
(file_access.py does).
"""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from typing import Any

from pywsgid.cli.messages import Failure

# The web server's user on Debian, on Fedora and RHEL, and on Arch. `nobody` exists everywhere, so
# it comes last.
WEB_USERS = ("www-data", "apache", "http", "nobody")
NO_ID = (1 << 32) - 1  # (uid_t)-1


@dataclass(frozen=True)
class Identity:
    """A user, with the primary group that its processes get.

    Functions that take `Identity | None` read None as the user who runs this command.
    """

    name: str
    uid: int
    gid: int


def identity_of(name: str) -> Identity:
    """Returns the user with that name, or with the number in `#UID`: that one needs no account, and
    is then in the group with its number.

    Raises KeyError if there is no such user.
    """
    uid = int(name[1:]) if name.startswith("#") and name[1:].isdecimal() else -1
    try:
        entry = pwd.getpwnam(name) if uid < 0 else pwd.getpwuid(uid)
    except KeyError:
        if not 0 <= uid < NO_ID:
            raise
        return Identity(name, uid, uid)
    return Identity(entry.pw_name, entry.pw_uid, entry.pw_gid)


def web_identity() -> Identity | None:
    """Returns the user that an httpd of ours becomes: the web server's, or None if root does not
    start it, because only root can become another user.

    Raises Failure if none of WEB_USERS exists.
    """
    if os.geteuid() != 0:
        return None
    for name in WEB_USERS:
        try:
            return identity_of(name)
        except KeyError:
            continue
    known = ", ".join(WEB_USERS)
    raise Failure(
        "WSGID0410",
        f"httpd must not run as root, and this machine has none of the users {known}",
        "create one of them, or run this command as an ordinary user",
    )


def group_id(name: str) -> int | None:
    """Returns the number of the group with that name or `#GID`; None if there is no such group."""
    if name.startswith("#") and name[1:].isdecimal():
        return int(name[1:])
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def user_name(uid: int) -> str:
    """Returns the name of a user, or `#UID` if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def name_of(identity: Identity | None) -> str:
    """Returns the name of a user for a message."""
    return identity.name if identity else user_name(os.geteuid())


def account_variables(identity: Identity | None) -> dict[str, str]:
    """Returns HOME, USER and LOGNAME of that user; HOME alone if the user has no account."""
    try:
        entry = pwd.getpwuid(identity.uid if identity else os.geteuid())
    except KeyError:
        return {"HOME": "/"}
    home = entry.pw_dir if entry.pw_dir.startswith("/") else "/"
    return {"HOME": home, "USER": entry.pw_name, "LOGNAME": entry.pw_name}


def subprocess_options(identity: Identity | None) -> dict[str, Any]:
    """Returns the arguments of subprocess.Popen that run a program as that user."""
    if identity is None:
        return {}
    groups = os.getgrouplist(identity.name, identity.gid)
    return {"user": identity.uid, "group": identity.gid, "extra_groups": groups}
