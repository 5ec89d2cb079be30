"""How this machine's httpd was built and is started: its version, its default paths, and the
variables that Debian's apachectl sets."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass

from pywsgid.cli.server import NoServer, Server


@dataclass(frozen=True)
class Build:
    """What httpd says of itself."""

    root: str  # the default ServerRoot
    configuration: str  # the file that it reads
    runtime: str  # the default DefaultRuntimeDir
    version: tuple[int, ...]


def build_of(server: Server) -> Build:
    done = subprocess.run([server.program, "-V"], capture_output=True, text=True)
    settings = dict(re.findall(r'-D (\w+)="(.*)"', done.stdout))
    version = re.search(r"Apache/([\d.]+)", done.stdout)
    root = settings.get("HTTPD_ROOT", "/")
    return Build(
        root,
        os.path.join(root, settings.get("SERVER_CONFIG_FILE", "httpd.conf")),
        _runtime(server)
        or os.path.dirname(os.path.join(root, settings.get("DEFAULT_PIDLOG", "logs/httpd.pid"))),
        tuple(int(part) for part in version[1].split(".")) if version else (2, 4),
    )


def _runtime(server: Server) -> str | None:
    """The default DefaultRuntimeDir: httpd prints it only as the directory of its mutexes, and only
    for a configuration."""
    try:
        lines = [*server.mpm(), "ErrorLog /dev/null", "ServerName localhost"]
    except NoServer:
        return None
    words = [word for line in lines for word in ("-C", line)]
    done = subprocess.run(
        [server.program, "-t", "-D", "DUMP_RUN_CFG", "-f", "/dev/null", *words],
        capture_output=True,
        text=True,
    )
    found = re.search(r'^Mutex default: dir="(.+?)/*"', done.stdout, re.MULTILINE)
    return found[1] if found else None


def debian_variables(path: str, root: str) -> dict[str, str] | None:
    """Returns the variables that Debian's apachectl takes from envvars, beside the configuration or
    in `root`; None if there is no such file.

    It is a shell script, so it is run only if its owner could have run it anyway.
    """
    for directory in dict.fromkeys((os.path.dirname(path), root)):
        file = os.path.join(directory, "envvars")
        if os.path.isfile(file) and os.stat(file).st_uid in (0, os.geteuid()):
            command = f"set -a; . {shlex.quote(file)} >/dev/null 2>&1; env -0"
            done = subprocess.run(
                ["/bin/sh", "-c", command], capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
            pairs = (item.partition("=") for item in done.stdout.split("\0") if item)
            return {name: value for name, _, value in pairs}
    return None
