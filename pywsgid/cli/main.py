"""The command line: `pywsgid COMMAND`, or `python -m pywsgid COMMAND`.

A command is one entry of COMMANDS: its name, a line of help, a function that declares its arguments
and a function that runs it. Rules: a command writes its results to stdout. A failure is one line on
stderr that begins with its code (docs/errors.md), and exit status 1. argparse reports wrong usage,
with exit status 2. A command imports what it needs when it runs, so that `pywsgid version` works
whatever is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pywsgid.cli.messages import Failure


@dataclass(frozen=True)
class Command:
    """`run` gets what argparse has parsed, and returns the exit status."""

    name: str
    help: str
    declare: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    aliases: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """The help as a sentence."""
        return self.help[0].upper() + self.help[1:] + "."


def declare_nothing(parser: argparse.ArgumentParser) -> None:
    """For a command without arguments."""


def version(arguments: argparse.Namespace) -> int:
    from pywsgid import __version__

    print(f"pywsgid {__version__}, Python {sys.version.split()[0]}")
    return 0


def module_config(arguments: argparse.Namespace) -> int:
    """Prints a line for httpd's configuration and nothing else."""
    from pywsgid.cli.server import quote

    print(f"LoadModule wsgid_module {quote(built_module())}")
    return 0


def built_module() -> str:
    """Returns the path of mod_wsgid.so. Raises Failure if it has not been built."""
    from pywsgid.cli.module import NoModule, find_module

    try:
        return find_module()
    except NoModule as error:
        raise Failure(
            "WSGID0401",
            f"mod_wsgid.so has not been built: {error}",
            "run `make` in the checkout, or install pywsgid again with `pip install`",
        ) from error


def declare_serve(parser: argparse.ArgumentParser) -> None:
    from pywsgid.cli.serve import serve_options

    serve_options.declare(parser, "serve")


def serve(arguments: argparse.Namespace) -> int:
    from pywsgid.cli.serve.command import serve

    return serve(arguments, built_module())


def declare_setup(parser: argparse.ArgumentParser) -> None:
    from pywsgid.cli.serve import serve_options

    serve_options.declare(parser, "setup")
    parser.add_argument(
        "directory", metavar="DIR", help="the directory to write; created if it does not exist"
    )


def setup(arguments: argparse.Namespace) -> int:
    from pywsgid.cli.serve.command import setup

    return setup(arguments, built_module())


def declare_check(parser: argparse.ArgumentParser) -> None:
    from pywsgid.cli.check import command

    command.declare(parser)


def check(arguments: argparse.Namespace) -> int:
    from pywsgid.cli.check.command import check
    from pywsgid.cli.module import NoModule, find_module

    try:
        return check(arguments, find_module())
    except NoModule:
        return check(arguments, None)


def declare_status(parser: argparse.ArgumentParser) -> None:
    from pywsgid.cli import control_client

    control_client.declare(parser, "json")


def declare_stacks(parser: argparse.ArgumentParser) -> None:
    declare_group(parser)
    declare_status(parser)


def declare_replacement(parser: argparse.ArgumentParser) -> None:
    from pywsgid.cli import control_client

    declare_group(parser)
    control_client.declare(parser, "timeout")


def declare_group(parser: argparse.ArgumentParser) -> None:
    """Declares the daemon group of a command that is about one."""
    parser.add_argument(
        "name", metavar="NAME", help="the daemon group; %%{GLOBAL} is the default group"
    )


def declare_scale(parser: argparse.ArgumentParser) -> None:
    from pywsgid.cli import control_client, control_pools

    control_pools.declare(parser)
    control_client.declare(parser, "sockets")


def status(arguments: argparse.Namespace) -> int:
    from pywsgid.cli import control_client

    return control_client.status(arguments)


def reload(arguments: argparse.Namespace) -> int:
    from pywsgid.cli import control_client

    return control_client.replace(arguments, "reload")


def restart(arguments: argparse.Namespace) -> int:
    from pywsgid.cli import control_client

    return control_client.replace(arguments, "restart")


def stacks(arguments: argparse.Namespace) -> int:
    from pywsgid.cli import control_client

    return control_client.stacks(arguments)


def scale(arguments: argparse.Namespace) -> int:
    from pywsgid.cli import control_pools

    return control_pools.scale(arguments)


COMMANDS = (
    Command(
        "check",
        "check httpd's configuration: report what would fail, and what to change "
        "when moving from mod_wsgi",
        declare_check,
        check,
    ),
    Command(
        "module-config",
        "print the LoadModule line for httpd's configuration",
        declare_nothing,
        module_config,
    ),
    Command(
        "serve",
        "serve one application with its own httpd, in the foreground",
        declare_serve,
        serve,
        aliases=("run",),
    ),
    Command(
        "setup",
        "write a server directory for one application, with its own configuration and apachectl",
        declare_setup,
        setup,
    ),
    Command(
        "status",
        "show the daemon processes, and what their threads are doing",
        declare_status,
        status,
    ),
    Command(
        "reload",
        "load the current code of a group in new processes, without losing a request",
        declare_replacement,
        reload,
    ),
    Command(
        "restart",
        "stop each process of a group, and start another one in its place",
        declare_replacement,
        restart,
    ),
    Command(
        "scale",
        "set how many processes a group has, until httpd is restarted",
        declare_scale,
        scale,
    ),
    Command(
        "stacks",
        "print the Python stack of every thread of a group",
        declare_stacks,
        stacks,
    ),
    Command("version", "print the version", declare_nothing, version),
)
BY_NAME = {command.name: command for command in COMMANDS}


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="pywsgid", description="Serve WSGI applications with Apache httpd (mod_wsgid)."
    )
    top.add_argument(
        "--version",
        action="store_const",
        const=BY_NAME["version"],
        dest="command",
        help="print the version",
    )
    commands = top.add_subparsers(metavar="COMMAND")
    for command in COMMANDS:
        sub = commands.add_parser(
            command.name,
            help=command.help,
            description=command.description,
            aliases=command.aliases,
            allow_abbrev=False,
        )
        command.declare(sub)
        sub.set_defaults(command=command, parser=sub)
    return top


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """Returns the parsed arguments. Wrong usage ends the process (SystemExit), with the usage of
    the command that was named and not that of `pywsgid`."""
    top = parser()
    arguments, others = top.parse_known_args(words)
    if others:
        getattr(arguments, "parser", top).error(f"unrecognized arguments: {' '.join(others)}")
    if arguments.command is None:
        top.print_help(sys.stderr)
        raise SystemExit(2)
    return arguments


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command that `words` (default: sys.argv) name, and returns the exit status."""
    try:
        try:
            arguments = parsed(words)
            command: Command = arguments.command
            return command.run(arguments)
        finally:
            sys.stdout.flush()
    except Failure as failure:
        print(f"pywsgid: {failure}", file=sys.stderr)
    except BrokenPipeError:  # its reader has seen enough: `pywsgid status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes again
    return 1
