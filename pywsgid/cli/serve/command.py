"""`pywsgid serve TARGET` and `pywsgid setup TARGET DIR`: one httpd for one application.

The steps: find the application (target.py); check options, port and machine (prechecks.py,
interpreter.py); create the server root (server_root.py); copy into it what the application's user
cannot reach (application_files.py); write the configuration (httpd_conf.py). `serve` then runs
httpd in the foreground until a signal comes (foreground.py). `setup` adds an apachectl and leaves
the directory to the user.

Rules: each step raises a Failure of one line, or returns a site that the next step completes.
Nothing outside the server root and the log directory is written.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from dataclasses import replace
from typing import Any

from pywsgid.cli.file_access import blocked_at
from pywsgid.cli.messages import Failure
from pywsgid.cli.serve import apachectl, foreground, httpd_conf, target
from pywsgid.cli.serve.application_files import with_reachable_files
from pywsgid.cli.serve.foreground import Stop
from pywsgid.cli.serve.generated_files import make_directory, write
from pywsgid.cli.serve.healing import Healer
from pywsgid.cli.serve.hidden_values import hide_values
from pywsgid.cli.serve.interpreter import check_module, interpreter_option
from pywsgid.cli.serve.prechecks import (
    application_identity,
    check_options,
    check_port,
    check_way,
    usable_server,
)
from pywsgid.cli.serve.server_root import (
    APACHECTL,
    CONFIGURATION,
    check_only_ours,
    check_unused,
    server_root,
)
from pywsgid.cli.serve.site import Site
from pywsgid.cli.users import web_identity


def serve(arguments: argparse.Namespace, module: str) -> int:
    """Serves until a signal comes, and returns 0 then. `module` is the path of mod_wsgid.so.

    Raises Failure if it cannot start, or if httpd ends by itself.
    """
    with foreground.stop_signals():
        try:
            site = planned(vars(arguments), module)
            with server_root(site) as root:
                planned_site = replace(site, root=root)
                site = written(planned_site)
                healer = Healer(root, lambda: written(planned_site))
                configuration = os.path.join(root, CONFIGURATION)
                command = [site.server.program, "-d", root, "-f", configuration, "-DFOREGROUND"]
                return foreground.serve(
                    command, site.target.name, site.address, site.shutdown_timeout, healer.heal
                )
        except Stop:
            return 0


def setup(arguments: argparse.Namespace, module: str) -> int:
    """Writes a server directory to keep, and prints how to start it. Raises Failure."""
    options = vars(arguments) | {"server-root": os.path.abspath(arguments.directory)}
    check_unused(options["server-root"])
    site = planned(options, module)
    with server_root(site) as root:
        logs = site.options["log-directory"] or os.path.join(root, "logs")
        site = replace(site, root=root, options={**site.options, "log-directory": logs})
        site = written(site)
        control = os.path.join(root, APACHECTL)
        write(control, apachectl.script(site, CONFIGURATION), 0o755)
    configtest(control)
    print(
        f"{arguments.directory} is ready: `{control} start` serves {site.target.name} "
        f"at {site.address.url}"
    )
    return 0


def planned(options: dict[str, Any], module: str) -> Site:
    """Returns the site that the options describe. Its server root does not exist yet.

    Raises Failure for what would not work.
    """
    hide_values()
    server = usable_server()
    check_options(options)
    goal = target.find(
        options["target"],
        options["callable-object"],
        options["working-directory"],
        bool(options["python"] or options["python-home"]),
    )
    options = {**options, "port": check_port(options["host"], options["port"])}
    if options["https-port"] is not None:
        options["https-port"] = check_port(options["host"], options["https-port"])
    httpd, application = web_identity(), application_identity(options)
    site = Site(server, "", module, httpd, application, goal, goal.script, "", options)
    check_way(site)
    site = replace(site, interpreter=interpreter_option(site))
    check_module(site)
    return site


def written(site: Site) -> Site:
    """Writes all files into the server root, and returns the site as it is served. Raises
    Failure."""
    blocked = blocked_at(os.path.join(site.root, "application"), site.identity)
    if blocked:
        raise Failure(
            "WSGID0411",
            f"{site.user_text(site.identity)} cannot enter {blocked}",
            "name a directory that this user can enter, such as one in /srv",
        )
    site = with_reachable_files(site)
    logs = site.options["log-directory"]
    if logs:
        make_directory(logs)
        check_only_ours(site, os.path.abspath(logs))
    try:
        text = httpd_conf.configuration(site)
    except ValueError as error:
        raise Failure(
            "WSGID0410", str(error), "httpd's configuration cannot contain that: rename the file"
        ) from error
    write(os.path.join(site.root, CONFIGURATION), text, 0o600)  # --env may name secrets
    return site


def configtest(control: str) -> None:
    """Raises Failure if httpd does not accept the configuration, with the files that it
    includes."""
    done = subprocess.run([control, "configtest"], capture_output=True, text=True)
    if done.returncode:
        lines = (done.stdout + done.stderr).split("\n")
        raise Failure(
            "WSGID0412",
            f"httpd refuses the configuration: {' '.join(line for line in lines if line)}",
            "correct the file and line that httpd names",
        )
