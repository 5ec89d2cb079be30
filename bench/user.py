"""The user as which applications and databases run: httpd's, if this program may choose."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from httpdenv import machine


def account() -> pwd.struct_passwd:
    """httpd's user, or the one who runs this program."""
    return pwd.getpwnam(machine.web_user()) if os.geteuid() == 0 else pwd.getpwuid(os.getuid())


def identity() -> dict[str, object]:
    """Arguments of subprocess that start a process as that user."""
    if os.geteuid() != 0:
        return {}
    return {"user": account().pw_uid, "group": account().pw_gid, "extra_groups": []}


def give(path: Path) -> None:
    """Makes that user the owner."""
    os.chown(path, account().pw_uid, account().pw_gid)
