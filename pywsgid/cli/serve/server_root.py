"""The directory that `pywsgid serve` and `pywsgid setup` write: the ServerRoot of an httpd.

Rules: a temporary one is in /tmp under a short name, because a UNIX socket's path has at most 107
bytes. Where root writes, no user that requests can reach may write: what the application's user
writes has a directory of its own.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pywsgid.cli import file_access
from pywsgid.cli.messages import Failure
from pywsgid.cli.serve.generated_files import change_owner, make_directory, unwritable
from pywsgid.cli.serve.site import Site

CONFIGURATION = "httpd.conf"
APACHECTL = "apachectl"
DIRECTORIES = ("application", "htdocs", "logs", "run")
# With --reload: the directory that the application's user writes to.
DEVELOPMENT_DIRECTORY = "development"
# What an earlier run may have left in a directory.
OUR_FILES = {*DIRECTORIES, APACHECTL, DEVELOPMENT_DIRECTORY, "mod_wsgid.so", "pywsgid"}
# run/wsgid.4194304.99999.999.sock has to fit into 107 bytes.
ROOT_MAX = 107 - len("/run/wsgid.4194304.99999.999.sock")


def check_unused(directory: str) -> None:
    """Raises Failure unless the directory does not exist, is empty, or has only what an earlier
    setup left there."""
    try:
        names = set(os.listdir(directory)) if os.path.isdir(directory) else set()
    except OSError as error:
        raise unwritable(directory, error) from error
    if CONFIGURATION in names:
        raise Failure(
            "WSGID0411",
            f"{directory} already contains an {CONFIGURATION}",
            "name another directory, or remove that file first",
        )
    others = sorted(names - OUR_FILES)
    if others:
        raise Failure(
            "WSGID0411",
            f"{directory} contains something else ({others[0]})",
            "name a directory that does not exist yet: the server needs one of its own",
        )


@contextmanager
def server_root(site: Site) -> Iterator[str]:
    """Creates the directory with its subdirectories and yields its path. Removes it at the end,
    unless an option names it. Raises Failure."""
    named = site.options["server-root"]
    root = named or tempfile.mkdtemp(prefix="wsgid-", dir="/tmp")
    try:
        _make(root, is_temporary=named is None)
        if named is not None:
            for name in ("", "logs", "run"):
                check_only_ours(site, os.path.join(root, name))
        if os.geteuid() == 0:
            # In an earlier run it may have belonged to the application's user.
            change_owner(os.path.join(root, "application"), 0, 0)
        yield root
    finally:
        if named is None:
            shutil.rmtree(root, ignore_errors=True)


def _make(root: str, is_temporary: bool) -> None:
    if len(os.fsencode(root)) > ROOT_MAX:
        raise Failure(
            "WSGID0411",
            f"the path {root} is longer than {ROOT_MAX} bytes, and the paths of the sockets "
            "in it would be too long",
            "name a directory with a shorter path",
        )
    if is_temporary:
        os.chmod(root, 0o755)
    for directory in (root, *(os.path.join(root, name) for name in DIRECTORIES)):
        make_directory(directory)


def create_again(root: str) -> None:
    """Creates the directories that are missing. Raises Failure if one that is not ours is there."""
    try:
        with suppress(FileExistsError):
            os.mkdir(root)
        found = os.lstat(root)
    except OSError as error:
        raise unwritable(root, error) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Failure(
            "WSGID0411", f"{root} is somebody else's now", "stop httpd and start it again"
        )
    _make(root, is_temporary=True)


def check_only_ours(site: Site, path: str) -> None:
    """Raises Failure if the user of httpd's children or of the application can replace something
    on the way to `path`, where root, or the httpd that root starts, writes."""
    for identity in dict.fromkeys((site.identity, site.application)):
        writable = identity and file_access.first_writable(path, identity)
        if writable:
            raise Failure(
                "WSGID0411",
                f"{site.user_text(identity)} can change {writable}, so root must not write to "
                f"{path.rstrip('/')}",
                "name a directory that only root can change, such as one in /srv",
            )
