"""The options of `pywsgid serve` and `pywsgid setup`. argparse, --help and docs/reference/serve.md
all come from this one table.

Where mod_wsgi-express has an option, ours has the same name. Each option of WSGIDaemonProcess is an
option of the same name; its row comes from pywsgid/wire/options.py. Only `home` has another name:
--working-directory.

Rules: this file does not know what an option does; httpd_conf.py does.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from functools import partial

from pywsgid.cli import option_values
from pywsgid.cli.serve.command_option import Option, log_level, path, port, size, url_path, word
from pywsgid.cli.serve.hidden_values import from_environment
from pywsgid.wire.options import OPTIONS

# -------- the options of WSGIDaemonProcess

# `home` is --working-directory. --reload of serve is something else than reload= of a group
# (pywsgid/daemon/application/development.py).
RENAMED = ("home", "reload")
REPEATED_TYPES = ("paths", "groups", "assignments")
METAVARS = {
    "integer": "N",
    "range": "N|MIN-MAX",
    "seconds": "SECONDS",
    "size": "BYTES",
    "octal": "MODE",
    "flag": "on|off",
    "user": "USER",
    "groupid": "GROUP",
    "groups": "GROUPS",
    "path": "PATH",
    "paths": "DIRECTORY",
    "assignments": "NAME[=VALUE]",
}
# Options whose help differs from that of WSGIDaemonProcess.
HELP = {
    "user": "User that the application runs as. Default: the web server's user (www-data, apache "
    "...) if root runs the command, else the user who runs it.",
    "group": "Primary group of the application. Default: the primary group of its user.",
    "env": "Environment variable of the application. Without =VALUE, the value is the one that "
    "this command has. Prefer that, or --env-file, for secrets: a command line is in the shell's "
    "history, and every user can read it until this command hides the value.",
    "python": "Python interpreter that the application runs under. Default: the one that runs "
    "pywsgid, if the application's user can run it.",
    "python-home": "Virtual environment that the application runs in. Default: the one that "
    "pywsgid runs in, if any.",
    "python-path": "Directories that are searched for modules before all others. Their .pth files "
    "are read, too.",
}


def daemon_value(name: str, text: str) -> str:
    """Returns the value of a WSGIDaemonProcess option, with absolute paths.

    Raises ArgumentTypeError for what is not a value of its type.
    """
    option = OPTIONS[name]
    text = from_environment(text, os.environ) if option.type == "assignments" else text
    problem = option_values.problem(option, word(text))
    if problem:
        raise argparse.ArgumentTypeError(f"{text} {problem}")
    if option.type == "path":
        return path(text)
    return (
        ":".join(path(item) for item in text.split(":") if item) if option.type == "paths" else text
    )


def daemon_option(name: str) -> Option:
    """Returns the option of that name of WSGIDaemonProcess. It has no default here: what the user
    does not give is not written, and the module has its own default.
    """
    option = OPTIONS[name]
    text = HELP.get(name, option.help)
    if option.default is not None:
        text += f" Default: {shown(option.default)}."
    metavar = option.unit if option.type == "choice" else METAVARS.get(option.type, "TEXT")
    return Option(
        name,
        (metavar,),
        text,
        None,
        partial(daemon_value, name),
        repeated=option.type in REPEATED_TYPES,
    )


def shown(default: object) -> str:
    """Returns a default for the help: 8M for 8388608, 15 for 15.0."""
    if not isinstance(default, (int, float)):
        return str(default)
    for letter in "GMK":
        if default and default % option_values.UNITS[letter] == 0:
            return f"{default // option_values.UNITS[letter]}{letter}"
    return f"{default:g}"


def daemon_options(*names: str) -> tuple[Option, ...]:
    return tuple(daemon_option(name) for name in names)


# -------- the table

TARGETS = (
    "TARGET is a WSGI script (a Python file that defines `application`), MODULE:CALLABLE or "
    "MODULE:FACTORY(), or the directory of a Django project."
)

FIRST = ("processes", "threads", "user", "group", "env", "python-home", "python-path")

SECTIONS: tuple[tuple[str, tuple[Option, ...]], ...] = (
    (
        "Address",
        (
            Option(
                "host",
                ("ADDRESS",),
                "Address to listen on; 0.0.0.0 for all addresses of this machine.",
                "127.0.0.1",
            ),
            Option("port", ("PORT",), "Port to listen on; 0 for any free port.", 8000, port),
            Option(
                "server-name",
                ("NAME",),
                "Name of the site in the links and redirects that httpd creates.",
                "localhost",
            ),
            Option(
                "trust-proxy",
                ("ADDRESS",),
                "Proxy or network (10.0.0.0/8) in front of this server that is trusted to report "
                "the client's address and, in X-Forwarded-Proto, whether the client uses HTTPS "
                "(mod_remoteip).",
                repeated=True,
            ),
            Option(
                "trust-proxy-header",
                ("NAME",),
                "Header in which a trusted proxy reports the client's address.",
                "X-Forwarded-For",
            ),
        ),
    ),
    (
        "Application",
        (
            Option(
                "callable-object", ("NAME",), "Name of the application in a script.", "application"
            ),
            Option(
                "working-directory",
                ("DIRECTORY",),
                "Working directory of the application; its modules are searched here, too. "
                "Default: the directory of the script or of the Django project, or the current "
                "directory.",
                None,
                path,
            ),
            *daemon_options(*FIRST),
        ),
    ),
    (
        "URLs and files",
        (
            Option(
                "mount-point", ("URL",), "URL path at which the application begins.", "/", url_path
            ),
            Option(
                "url-alias",
                ("URL", "PATH"),
                "File or directory that httpd serves itself at this URL path.",
                None,
                (url_path, path),
                repeated=True,
            ),
            Option(
                "document-root",
                ("DIRECTORY",),
                "Directory of files that httpd serves itself, each at its own path. The "
                "application gets all other requests.",
                None,
                path,
            ),
            Option(
                "compress-responses",
                (),
                "Compress text responses (mod_deflate).",
                False,
            ),
            Option(
                "limit-request-body",
                ("BYTES",),
                "Size of the largest request body. A larger one is answered with 413. Default: "
                "httpd's own limit (1 GB).",
                None,
                size,
            ),
        ),
    ),
    (
        "TLS and HTTP/2",
        (
            Option(
                "https-port",
                ("PORT",),
                "Port for HTTPS, in addition to HTTP; needs the next two options.",
                None,
                port,
            ),
            Option(
                "ssl-certificate-file",
                ("FILE",),
                "The certificate (PEM), followed by intermediate certificates.",
                None,
                path,
            ),
            Option(
                "ssl-certificate-key-file",
                ("FILE",),
                "The certificate's private key (PEM).",
                None,
                path,
            ),
            Option("https-only", (), "Redirect HTTP requests to HTTPS.", False),
            Option("http2", (), "Offer HTTP/2 (mod_http2).", False),
        ),
    ),
    (
        "Logs",
        (
            Option(
                "log-level",
                ("LEVEL",),
                "How much httpd and the application log: warn, info or debug, or words as in "
                'httpd\'s LogLevel: "warn wsgid:debug".',
                "notice wsgid:info",
                log_level,
            ),
            Option(
                "log-directory",
                ("DIRECTORY",),
                "Directory of error_log and access_log. Default: the terminal (serve), or the "
                "directory logs in DIR (setup).",
                None,
                path,
            ),
            Option("access-log", (), "Log each request.", True, negatable=True),
        ),
    ),
    (
        "httpd",
        (
            Option(
                "server-root",
                ("DIRECTORY",),
                "Directory that the configuration is written to. It remains when the server "
                "stops. Default: a temporary directory, which is removed.",
                None,
                path,
                commands=("serve",),
            ),
            Option(
                "server-status",
                (),
                "Status pages, for requests from this machine only: the application's processes "
                "at /wsgid-status, httpd's own at /server-status (mod_status).",
                False,
            ),
            Option(
                "include-file",
                ("FILE",),
                "More configuration of httpd, included at the end.",
                None,
                path,
                repeated=True,
            ),
        ),
    ),
    (
        "Development",
        (
            Option(
                "reload",
                (),
                "Load changed source files and templates at once, and show exceptions in the "
                "browser. Only with a --host that other machines cannot reach.",
                False,
                commands=("serve",),
            ),
        ),
    ),
    (
        "More of WSGIDaemonProcess",
        daemon_options(*(name for name in OPTIONS if name not in (*FIRST, *RENAMED))),
    ),
)


def options(command: str = "serve") -> Iterator[Option]:
    """Yields the options of a command, in the order of the table."""
    return (option for _, section in SECTIONS for option in section if command in option.commands)


def declare(parser: argparse.ArgumentParser, command: str) -> None:
    """Adds TARGET and all options of a command to its parser.

    The usage is short: a long one would hide the error message that follows it.
    """
    words = "TARGET DIR" if command == "setup" else "TARGET"
    parser.usage = f"%(prog)s [option ...] {words}\n       %(prog)s --help"
    parser.epilog = TARGETS
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="the application: a script, MODULE:CALLABLE, or a directory",
    )
    for title, section in SECTIONS:
        group = parser.add_argument_group(title)
        for option in section:
            if command in option.commands:
                option.declare(group)
