"""Finds two Django sites in one process: both would be the one that was loaded first, with its
settings and its database.

Each script has processes of its own, unless WSGIApplicationGroup puts several of them together. The
settings that a script asks for are read from its text: when it runs it is too late.
"""

import os
import sys

VARIABLE = "DJANGO_SETTINGS_MODULE"
# By env= or env-file=, before any script: then it is meant for all scripts.
GIVEN = VARIABLE in os.environ


def named_in(source: bytes) -> str | None:
    """The settings module that a script names, by setdefault() or an assignment of a literal; None
    if it does not.
    """
    for line in source.decode("utf-8", "replace").splitlines():
        code, found, rest = line.partition(VARIABLE)
        # Of `", "shop.settings")` or `"] = "shop.settings"`.
        pieces = rest[1:].replace("'", '"').split('"')
        is_name = len(pieces) == 3 and all(part.isidentifier() for part in pieces[1].split("."))
        if found and is_name and not code.lstrip().startswith("#"):
            return pieces[1]
    return None


def in_the_way_of(source: bytes) -> str | None:
    """The settings that Django runs with in this process, if a script names others; else None."""
    conf = sys.modules.get("django.conf")
    if conf is None or GIVEN or not conf.settings.configured:
        return None
    running: str | None = getattr(conf.settings, "SETTINGS_MODULE", None)
    wanted = named_in(source)
    return running if wanted is not None and wanted != running else None
