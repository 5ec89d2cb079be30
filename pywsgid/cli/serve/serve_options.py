"""The one table of the options of `pywsgid serve` and `pywsgid setup`; --help, argparse and
docs/reference/serve.md derive from it.

Names are mod_wsgi-express's where it has them. The options of WSGIDaemonProcess are not repeated
here: each of them is an option by its own name, from its own table (options.py), but for `home`,
which is --working-directory.

Rules: a path is made absolute where it is read, as httpd would take it relative to its ServerRoot.
`kind` is a function from text to value that raises argparse.ArgumentTypeError. This file knows no
httpd; what options mean is site.py's.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from pywsgid.cli import option_values
from pywsgid.wire.log_format import LEVEL_NAMES
from pywsgid.wire.options import OPTIONS


def port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text}: not a port from 0 to 65535")
    return int(text)


def url_path(text: str) -> str:
    if not text.startswith("/"):
        raise argparse.ArgumentTypeError(f"{text}: not a URL path; it begins with a slash")
    return text


def word(text: str) -> str:
    """One word for httpd; what would end the line that it stands in is no word."""
    if not text or any(ord(character) < 32 for character in text):
        raise argparse.ArgumentTypeError("empty, or with a control character in it")
    if "${" in text:
        raise argparse.ArgumentTypeError(f"{text}: ${{ begins a variable of httpd's")
    return text


def path(text: str) -> str:
    return os.path.abspath(word(text))


def size(text: str) -> int:
    match = re.fullmatch(r"(\d+)([KMG]?)", text.upper(), re.ASCII)
    if not match:
        raise argparse.ArgumentTypeError(f"{text}: not a number of bytes (K, M or G may follow)")
    return int(match[1]) * option_values.UNITS[match[2]]


def log_level(text: str) -> str:
    """As in httpd's LogLevel: a level, or several words of which all but one name a module."""
    for item in text.split():
        if item.rpartition(":")[2] not in LEVEL_NAMES:
            known = ", ".join(LEVEL_NAMES[:8])
            raise argparse.ArgumentTypeError(
                f"{item}: not a level; levels are {known}, trace1 to trace8"
            )
    return text


@dataclass(frozen=True)
class Option:
    """One option. `metavar` has a word for each argument, and none for a flag; `kind` may be one
    for each argument.
    """

    name: str
    metavar: tuple[str, ...]
    help: str
    default: Any = None  # None: none, or help says which
    kind: Callable[[str], Any] | tuple[Callable[[str], Any], ...] = word
    repeated: bool = False
    negatable: bool = False  # a flag that has a --no- form
    commands: tuple[str, ...] = ("serve", "setup")

    @property
    def syntax(self) -> str:
        """As it is typed: --url-alias URL PATH."""
        return " ".join(
            [
                f"--{self.name}" if not self.negatable else f"--{self.name}, --no-{self.name}",
                *self.metavar,
            ]
        )

    @property
    def note(self) -> str:
        """What follows the help: the default, and whether it may be repeated."""
        default = "on" if self.default is True else self.default
        return (f" Default: {default}." if default not in (None, False) else "") + (
            " May be repeated." if self.repeated else ""
        )

    def declare(self, group: argparse._ArgumentGroup, command: str) -> None:
        words: dict[str, Any] = {
            "help": (self.help + self.note).replace("%", "%%"),
            "default": self.default,
        }
        if self.negatable:
            words["action"] = argparse.BooleanOptionalAction
        elif not self.metavar:
            words["action"] = "store_true"
        else:
            words["metavar"] = self.metavar if len(self.metavar) > 1 else self.metavar[0]
            words["type"] = self.kind if callable(self.kind) else word
            words["action"] = (
                _Each if not callable(self.kind) else "append" if self.repeated else "store"
            )
            if not callable(self.kind):
                words |= {"nargs": len(self.metavar), "kinds": self.kind}
        group.add_argument(f"--{self.name}", dest=self.name, **words)


class _Each(argparse.Action):
    """Several arguments, each of its own kind; always repeatable."""

    def __init__(
        self, *words: Any, kinds: tuple[Callable[[str], Any], ...], **options: Any
    ) -> None:
        super().__init__(*words, **options)
        self._kinds = kinds

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        try:
            converted = tuple(kind(value) for kind, value in zip(self._kinds, values, strict=True))
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentError(self, str(error)) from error
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), converted])


# -------- the options of WSGIDaemonProcess

# `home` is --working-directory; --reload is a matter of its own (develop.py).
RENAMED = ("home", "reload")
REPEATED_TYPES = ("paths", "groups", "assignments")
METAVARS = {
    "integer": "N",
    "seconds": "SECONDS",
    "size": "BYTES",
    "octal": "MODE",
    "flag": "on|off",
    "user": "USER",
    "groupid": "GROUP",
    "groups": "GROUPS",
    "path": "PATH",
    "paths": "DIRECTORY",
    "assignments": "NAME=VALUE",
}
# Where what the table says is not the whole truth for a command that root may start.
HELP = {
    "user": "User that the application runs as. Default: the web server's (www-data, apache ...) if root starts this, "
    "else whoever starts it.",
    "group": "Primary group of the application. Default: the one of its user.",
    "python": "Python interpreter that the application runs under. Default: the one that runs pywsgid, if the "
    "application's user can reach it.",
    "python-home": "Virtual environment of the application, in place of the one that pywsgid runs in.",
    "python-path": "Directories to look for modules in before all others, .pth files in them included.",
}


def daemon_value(name: str, text: str) -> str:
    """A value of a WSGIDaemonProcess option, paths made absolute."""
    option = OPTIONS[name]
    problem = option_values.problem(option, word(text))
    if problem:
        raise argparse.ArgumentTypeError(f"{text}: {problem}")
    if option.type == "path":
        return path(text)
    return (
        ":".join(path(item) for item in text.split(":") if item) if option.type == "paths" else text
    )


def daemon_option(name: str) -> Option:
    """As WSGIDaemonProcess has it. What is not given is not written either: the default is the
    module's own.
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
    """8388608 -> 8M, 15.0 -> 15."""
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
    "TARGET is a WSGI script (a Python file that defines `application`), MODULE:CALLABLE (MODULE:FACTORY() "
    "too), or the directory of a Django project."
)

FIRST = ("processes", "threads", "user", "group", "env", "python-home", "python-path")

SECTIONS: tuple[tuple[str, tuple[Option, ...]], ...] = (
    (
        "Address",
        (
            Option(
                "host",
                ("ADDRESS",),
                "Address to listen on; 0.0.0.0 for every one of this machine's.",
                "127.0.0.1",
            ),
            Option("port", ("PORT",), "Port to listen on; 0 for any that is free.", 8000, port),
            Option(
                "server-name",
                ("NAME",),
                "The site's name, for links and redirects that httpd makes itself.",
                "localhost",
            ),
            Option(
                "trust-proxy",
                ("ADDRESS",),
                "Proxy or network (10.0.0.0/8) in front of this server that is believed "
                "when it says who the client is, and by X-Forwarded-Proto whether it came over TLS (mod_remoteip).",
                repeated=True,
            ),
            Option(
                "trust-proxy-header",
                ("NAME",),
                "Header in which such a proxy names the client.",
                "X-Forwarded-For",
            ),
        ),
    ),
    (
        "Application",
        (
            Option(
                "callable-object", ("NAME",), "The application's name in a script.", "application"
            ),
            Option(
                "working-directory",
                ("DIRECTORY",),
                "Directory that the application is started in, and where its "
                "modules are looked for. Default: the script's, the Django project's, or the current one.",
                None,
                path,
            ),
            *daemon_options(*FIRST),
        ),
    ),
    (
        "URLs and files",
        (
            Option("mount-point", ("URL",), "Where the application begins.", "/", url_path),
            Option(
                "url-alias",
                ("URL", "PATH"),
                "A file, or a directory of files, that httpd serves itself.",
                None,
                (url_path, path),
                repeated=True,
            ),
            Option(
                "document-root",
                ("DIRECTORY",),
                "Files in here are served by httpd where one has the request's path; "
                "everything else is the application's.",
                None,
                path,
            ),
            Option(
                "compress-responses",
                (),
                "Compress text on its way to the client (mod_deflate).",
                False,
            ),
            Option(
                "limit-request-body",
                ("BYTES",),
                "Largest upload; larger ones are refused with 413. Default: httpd's "
                "own limit (1 GB).",
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
                "Also serve HTTPS, on this port; needs the next two.",
                None,
                port,
            ),
            Option(
                "ssl-certificate-file",
                ("FILE",),
                "The certificate (PEM), intermediate ones behind it.",
                None,
                path,
            ),
            Option("ssl-certificate-key-file", ("FILE",), "Its private key (PEM).", None, path),
            Option("https-only", (), "Redirect HTTP to HTTPS.", False),
            Option("http2", (), "Offer HTTP/2 (mod_http2).", False),
        ),
    ),
    (
        "Logs",
        (
            Option(
                "log-level",
                ("LEVEL",),
                "How much httpd and the application log: warn, info, debug, or as in LogLevel: "
                '"warn wsgid:debug".',
                "notice wsgid:info",
                log_level,
            ),
            Option(
                "log-directory",
                ("DIRECTORY",),
                "Directory for error_log and access_log. Default: the terminal "
                "(serve), or logs in the directory (setup).",
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
                "Where the configuration is written; kept at the end. Default: a "
                "temporary directory, removed at the end.",
                None,
                path,
                commands=("serve",),
            ),
            Option(
                "server-status",
                (),
                "Show what is going on, to this machine alone: the application's processes at "
                "/wsgid-status, httpd's own at /server-status (mod_status).",
                False,
            ),
            Option(
                "include-file",
                ("FILE",),
                "More configuration for httpd, included at the end.",
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
                "Take up changed source files and templates at once, and show exceptions in the browser. "
                "Only where nobody but this machine gets to.",
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
    return (option for _, section in SECTIONS for option in section if command in option.commands)


def declare(parser: argparse.ArgumentParser, command: str) -> None:
    """Adds TARGET and all options. A usage with all of them would hide the line that says what is
    wrong.
    """
    parser.usage = f"%(prog)s [option ...] TARGET{' DIR' if command == 'setup' else ''}\n       %(prog)s --help"
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
                option.declare(group, command)
