"""The environment variables that a daemon process of a group gets, as apxs/spawn/environment.c
makes them.

Only TZ is missing: it is httpd's own.
"""

from __future__ import annotations

import os
from contextlib import suppress

from pywsgid.cli.check.wsgi_conf import Group
from pywsgid.cli.users import Identity, account_variables

# As in apxs/spawn/environment.c.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_LANG = "C.UTF-8"


def environment(python: str, identity: Identity | None, group: Group, root: str) -> dict[str, str]:
    """Returns all variables. `root` is the ServerRoot; env-file= may be relative to it."""
    home = os.path.dirname(os.path.dirname(python))
    made = {"PATH": SEARCH_PATH, "LANG": group.get("lang") or DEFAULT_LANG}
    made |= account_variables(identity)
    if os.path.exists(os.path.join(home, "pyvenv.cfg")):
        made |= {"PATH": f"{home}/bin:{SEARCH_PATH}", "VIRTUAL_ENV": home}
    if group.get("locale"):
        made["LC_ALL"] = group.get("locale") or ""
    return made | assigned(group, root)


def assigned(group: Group, root: str) -> dict[str, str]:
    """Returns the variables of env-file= and env=."""
    found: dict[str, str] = {}
    for path in group.all("env-file"):
        found |= _from_file(os.path.join(root, path))
    return found | dict(
        assignment.split("=", 1) for assignment in group.all("env") if "=" in assignment
    )


def _from_file(path: str) -> dict[str, str]:
    """NAME=VALUE lines. Any other line is left to the daemon, which refuses it."""
    found: dict[str, str] = {}
    with suppress(OSError), open(path, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            name, equals, value = line.strip().partition("=")
            if equals and name.isidentifier():
                quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
                found[name] = value[1:-1] if quoted else value
    return found
