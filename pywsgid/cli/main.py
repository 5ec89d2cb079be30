"""The command line: `pywsgid COMMAND`, or `python -m pywsgid COMMAND`.

Rules: a command is one entry of COMMANDS: its name, a line of help, a function that declares its
arguments and one that runs it. What a command says on success goes to stdout; a failure is one line
on stderr that begins with its code (docs/errors.md), and exit status 1. Wrong usage is argparse's,
with status 2. A command imports what it needs when it runs, so that `pywsgid version` needs
nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pywsgid.cli.messages import Failure


@dataclass(frozen=True)
class Command:
    name: str
    help: str
    declare: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    aliases: tuple[str, ...] = ()


def no_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares nothing."""


def version(arguments: argparse.Namespace) -> int:
    from pywsgid import __version__

    print(f"pywsgid {__version__}, Python {sys.version.split()[0]}")
    return 0


def module_config(arguments: argparse.Namespace) -> int:
    """Prints what to write into httpd's configuration, and nothing else."""
    from pywsgid.cli.server import quote

    print(f"LoadModule wsgid_module {quote(built_module())}")
    return 0


def built_module() -> str:
    from pywsgid.cli.module import NoModule, find_module

    try:
        return find_module()
    except NoModule as error:
        raise Failure(
            "WSGID0401",
            f"the module has not been built: {error}",
            "run `make`, or `pip install` pywsgid",
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
        "directory", metavar="DIR", help="the directory to write; made if it is not there"
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


def declare_question(parser: argparse.ArgumentParser) -> None:
    from pywsgid.cli import control_client

    control_client.declare(parser)


def declare_questions_of_one(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", help="the daemon group; %%{GLOBAL} is the default group"
    )
    declare_question(parser)


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


COMMANDS = (
    Command(
        "check",
        "find what would fail before httpd starts, and what to change coming from mod_wsgi",
        declare_check,
        check,
    ),
    Command(
        "module-config",
        "print the LoadModule line for httpd's configuration",
        no_arguments,
        module_config,
    ),
    Command(
        "serve",
        "serve an application through an httpd of its own, in the foreground",
        declare_serve,
        serve,
        aliases=("run",),
    ),
    Command(
        "setup",
        "write the same as a directory to keep, with an apachectl of its own",
        declare_setup,
        setup,
    ),
    Command(
        "status",
        "say which daemons run, since when, and what their threads do now",
        declare_question,
        status,
    ),
    Command(
        "reload",
        "replace each process of a group by one with the present code, losing nothing",
        declare_questions_of_one,
        reload,
    ),
    Command(
        "restart",
        "have each process of a group leave and another one start",
        declare_questions_of_one,
        restart,
    ),
    Command(
        "stacks",
        "print the Python stack of every thread of a group",
        declare_questions_of_one,
        stacks,
    ),
    Command("version", "print the version", no_arguments, version),
)
BY_NAME = {command.name: command for command in COMMANDS}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="pywsgid", description="Serve WSGI applications from Apache httpd (mod_wsgid)."
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
            description=command.help.capitalize() + ".",
            aliases=command.aliases,
            allow_abbrev=False,
        )
        command.declare(sub)
        sub.set_defaults(command=command, parser=sub)
    return top


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of a command; its own usage is what wrong ones are told with."""
    top = parser()
    arguments, others = top.parse_known_args(words)
    if others:
        getattr(arguments, "parser", top).error(f"unrecognized arguments: {' '.join(others)}")
    if arguments.command is None:
        top.print_help(sys.stderr)
        raise SystemExit(2)
    return arguments


def main(words: Sequence[str] | None = None) -> int:
    arguments = parsed(words)
    try:
        return arguments.command.run(arguments)
    except Failure as failure:
        print(f"pywsgid: {failure}", file=sys.stderr)
        return 1
