"""What `pywsgid serve` and `pywsgid setup` check before they write anything: the options together,
the port, the users, and the way to the application.

Rules: nothing is changed. Each check raises a Failure of one line, or returns a value for the site.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from dataclasses import replace
from typing import Any

from pywsgid.cli.file_access import blocked_at
from pywsgid.cli.messages import Failure
from pywsgid.cli.serve.address import bracketed
from pywsgid.cli.serve.application_files import is_example
from pywsgid.cli.serve.site import Site
from pywsgid.cli.server import NoServer, Server, find_server
from pywsgid.cli.users import Identity, group_id, identity_of, web_identity

TLS_FILES = ("ssl-certificate-file", "ssl-certificate-key-file")
NO_CERTIFICATE = (
    "add it; this makes both files for a test: `openssl req -x509 -nodes -newkey rsa:2048 "
    "-subj /CN=localhost -addext basicConstraints=critical,CA:FALSE -keyout key.pem -out cert.pem`"
)


def usable_server() -> Server:
    """Returns this machine's httpd. Raises Failure if there is none, or if it has no MPM."""
    try:
        server = find_server()
        server.mpm()
        return server
    except NoServer as error:
        raise Failure(
            "WSGID0402",
            str(error),
            "install Apache httpd 2.4 (Debian, Ubuntu: apt-get install apache2; "
            "Fedora, RHEL: dnf install httpd)",
        ) from error


# -------- options


def check_options(options: dict[str, Any]) -> None:
    """Raises Failure for options that exclude each other, need another one, or name a file that
    does not exist."""
    if options["python"] and options["python-home"]:
        raise Failure(
            "WSGID0410", "--python and --python-home both name an interpreter", "remove one of them"
        )
    if options.get("reload") and not is_loopback(options["host"]):
        raise Failure(
            "WSGID0410",
            "--reload shows source code and requests on error pages, and other machines can reach "
            f"{options['host']}",
            "remove --host (127.0.0.1 is the default), or remove --reload",
        )
    _check_tls(options)
    _check_files(options)


def _check_tls(options: dict[str, Any]) -> None:
    for name in TLS_FILES:
        if options["https-port"] is not None and not options[name]:
            raise Failure("WSGID0410", f"--https-port needs --{name}", NO_CERTIFICATE)
    for name in ("https-only", *TLS_FILES):
        if options["https-port"] is None and options[name]:
            raise Failure(
                "WSGID0410", f"--{name} has no effect without --https-port", "add --https-port PORT"
            )


def _check_files(options: dict[str, Any]) -> None:
    files = [(name, options[name]) for name in (*TLS_FILES, "document-root", "working-directory")]
    files += [("include-file", path) for path in options["include-file"] or []]
    files += [("url-alias", path) for _, path in options["url-alias"] or []]
    for name, path in files:
        if path and not os.path.exists(path):
            raise Failure("WSGID0410", f"--{name}: {path} does not exist", "correct the path")


def is_loopback(host: str) -> bool:
    """Returns whether only this machine can reach the host. A name counts with all its
    addresses."""
    try:
        found = socket.getaddrinfo(
            None if host == "*" else host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        return True  # check_port() reports it
    return all(
        ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found
    )


# -------- the port

PORT_IN_USE = (
    "stop the program that uses this port, or choose another port (--port 8001; make run PORT=8001)"
)
NOT_HERE = "name an address of this machine (--host 127.0.0.1, or --host 0.0.0.0 for all of them)"
PORT_FIXES: dict[int | None, str] = {
    errno.EACCES: "choose a port above 1023 (--port 8000), or run this command as root, "
    "with --user for the application",
    errno.EADDRNOTAVAIL: NOT_HERE,
    socket.EAI_NONAME: NOT_HERE,
}


def check_port(host: str, port: int) -> int:
    """Returns the port; a free one for 0. Raises Failure if nobody can listen there now."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            None if host == "*" else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As httpd does: connections of a server that has just stopped are not in the way.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise Failure(
            "WSGID0405",
            f"cannot listen on {bracketed(host)}:{port} ({error.strerror})",
            PORT_FIXES.get(error.errno, PORT_IN_USE),
        ) from error


# -------- users


def application_identity(options: dict[str, Any]) -> Identity | None:
    """Returns the user that the application runs as; None for the one who runs this command.

    Raises Failure if there is no such user or group, or if this process may not become it.
    """
    gid = _application_group(options["group"])
    if options["user"] is None:
        identity = web_identity()
    else:
        identity = _application_user(options["user"])
    return replace(identity, gid=gid) if identity and gid is not None else identity


def _application_group(name: str | None) -> int | None:
    gid = group_id(name) if name else None
    if name and gid is None:
        raise Failure(
            "WSGID0410", f"--group: there is no group {name}", "name a group that exists, or #GID"
        )
    return gid


def _application_user(name: str) -> Identity | None:
    try:
        identity = identity_of(name)
    except KeyError:
        raise Failure(
            "WSGID0410", f"--user: there is no user {name}", "name a user that exists, or #UID"
        ) from None
    if identity.uid == 0:
        raise Failure(
            "WSGID0410", "--user: an application must not run as root", "name another user"
        )
    if os.geteuid() == identity.uid:
        return None
    if os.geteuid() != 0:
        raise Failure(
            "WSGID0410",
            f"--user: only root can run the application as another user ({name})",
            "run this command as root, or remove --user",
        )
    return identity


# -------- the way to the application


def check_way(site: Site) -> None:
    """Raises Failure if the application's user cannot read the application, or if httpd's user
    cannot find the script. httpd itself does not read it."""
    target = site.target
    place = target.script or target.directory
    if is_example(place):
        return  # a copy is served if it is out of reach
    users = [(site.application, os.R_OK if target.script else os.R_OK | os.X_OK)]
    if target.script:
        users.append((site.identity, os.F_OK))
    for identity, needs in users:
        blocked = blocked_at(place, identity, needs)
        if blocked == place:
            raise Failure(
                "WSGID0406",
                f"{site.user_text(identity)} cannot read {place}",
                f"run `chmod o+r {place}`" if target.script else f"run `chmod o+rx {place}`",
            )
        if blocked:
            raise Failure(
                "WSGID0406",
                f"{site.user_text(identity)} cannot enter {blocked}, which is on the way to "
                f"{place}",
                f"run `chmod o+x {blocked}`, or move the application to a place that all users "
                "can reach, such as /srv",
            )
