"""`pywsgid serve TARGET` and `pywsgid setup TARGET DIR`: from an application to an httpd of its
own.

What happens, in order: look at the target, the options, the port and the machine; make the server
root; put copies there of what the application's user could not reach; write the configuration; then
start httpd in the foreground until a signal comes (serve), or leave it all with an apachectl
(setup). Each of the first steps ends in a Failure that is one line, or in a value that the next one
takes.

Rules: a temporary server root lies in /tmp under a short name (a UNIX socket's path holds about 107
bytes), and nothing else is written. Where root writes, nobody else may: what the application's user
writes has a directory of its own, and a file is always made anew, never opened, as there may be a
link in its place. What the configuration says is site.py's, how httpd is run foreground.py's.
"""

from __future__ import annotations

import argparse
import errno
import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, BinaryIO

from pywsgid.cli import reach
from pywsgid.cli.messages import Failure, note
from pywsgid.cli.module import PACKAGE
from pywsgid.cli.reach import Identity, first_in_the_way, in_the_way
from pywsgid.cli.serve import apachectl, foreground, target
from pywsgid.cli.serve.foreground import Stop, bracketed
from pywsgid.cli.serve.site import Site, configuration
from pywsgid.cli.server import NoServer, Server, find_server

# Everybody has it, and it is what a distribution's own packages are made for.
SYSTEM_PYTHON = "/usr/bin/python3"
CONFIGURATION = "httpd.conf"
SCRIPT = "application.wsgi"
APACHECTL = "apachectl"
DIRECTORIES = ("application", "htdocs", "logs", "run")
DEVELOPMENT = "development.wsgi"
# Its user's, with --reload: what the application has to write.
DEVELOPED = "development"
SELF_SIGNED = (
    "name it; for a try, `openssl req -x509 -nodes -newkey rsa:2048 -subj /CN=localhost -addext "
    "basicConstraints=critical,CA:FALSE -keyout key.pem -out cert.pem` makes both"
)
# run/wsgid.4194304.99999.999.sock has to fit into 107 characters.
LONGEST_ROOT = 107 - len("/run/wsgid.4194304.99999.999.sock")


def serve(arguments: argparse.Namespace, module: str) -> int:
    """Serves until a signal comes; 0 then. Failure if it cannot start or httpd ends by itself."""
    with foreground.stop_signals():
        try:
            site = planned(vars(arguments), module)
            with server_root(site) as root:
                site = written(replace(site, root=root))
                command = [
                    site.server.program,
                    "-d",
                    root,
                    "-f",
                    os.path.join(root, CONFIGURATION),
                    "-DFOREGROUND",
                ]
                return foreground.serve(
                    command, site.target.name, site.address, site.shutdown_timeout
                )
        except Stop:
            return 0


def setup(arguments: argparse.Namespace, module: str) -> int:
    """Writes a directory to keep, and says how to start it."""
    options = vars(arguments) | {"server-root": os.path.abspath(arguments.directory)}
    check_room(options["server-root"])
    site = planned(options, module)
    with server_root(site) as root:
        site = replace(site, root=root)
        if site.options["log-directory"] is None:
            site = replace(
                site, options={**site.options, "log-directory": os.path.join(root, "logs")}
            )
        site = written(site)
        control = os.path.join(root, APACHECTL)
        write(control, apachectl.script(site, CONFIGURATION), 0o755)
    configtest(control)
    print(
        f"{arguments.directory} is ready: `{control} start` serves {site.target.name} at {site.address.url}"
    )
    return 0


# -------- before the start


def check_room(directory: str) -> None:
    """That the directory is not there, is empty, or has only what an earlier setup left."""
    try:
        there = set(os.listdir(directory)) if os.path.isdir(directory) else set()
    except OSError as error:
        raise unwritable(directory, error) from error
    if CONFIGURATION in there:
        raise Failure(
            "WSGID0411",
            f"{directory} holds an {CONFIGURATION} already",
            "name another directory, or remove that file first",
        )
    others = sorted(there - {*DIRECTORIES, APACHECTL, DEVELOPED, "mod_wsgid.so", "pywsgid"})
    if others:
        raise Failure(
            "WSGID0411",
            f"{directory} is in use for something else ({others[0]} is there)",
            "name a directory that is not there yet: the server gets it to itself",
        )


def planned(options: dict[str, Any], module: str) -> Site:
    """The site as the options want it, its server root not yet made."""
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
    httpd, application = reach.daemon_identity(), application_identity(options)
    site = Site(server, "", module, httpd, application, goal, goal.script, "", options)
    check_way(site)
    site = replace(site, interpreter=interpreter(site))
    check_module(site)
    return site


def usable_server() -> Server:
    try:
        server = find_server()
        server.mpm()
        return server
    except NoServer as error:
        raise Failure(
            "WSGID0402",
            str(error),
            "install Apache httpd 2.4 (Debian, Ubuntu: apt-get install apache2)",
        ) from error


def check_options(options: dict[str, Any]) -> None:
    """What one option needs of another."""
    if options["python"] and options["python-home"]:
        raise Failure(
            "WSGID0410", "--python and --python-home both choose the interpreter", "keep one"
        )
    if options.get("reload") and not is_loopback(options["host"]):
        raise Failure(
            "WSGID0410",
            f"--reload shows source and requests to whoever gets an error, and "
            f"{options['host']} is not this machine's alone",
            "leave out --host (127.0.0.1), or --reload",
        )
    tls = ("ssl-certificate-file", "ssl-certificate-key-file")
    if options["https-port"] is None:
        for name in ("https-only", *tls):
            if options[name]:
                raise Failure(
                    "WSGID0410", f"--{name} has no effect without HTTPS", "add --https-port"
                )
    else:
        for name in tls:
            if not options[name]:
                raise Failure("WSGID0410", f"--https-port needs --{name}", SELF_SIGNED)
    files = [(name, options[name]) for name in (*tls, "document-root", "working-directory")]
    files += [("include-file", path) for path in options["include-file"] or []]
    files += [("url-alias", path) for _, path in options["url-alias"] or []]
    for name, path in files:
        if path and not os.path.exists(path):
            raise Failure("WSGID0410", f"--{name}: there is no {path}", "correct the path")


def is_loopback(host: str) -> bool:
    """Whether only this machine gets there, whatever address a name has."""
    try:
        found = socket.getaddrinfo(
            None if host == "*" else host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        return True  # check_port() says what is wrong with it
    return all(
        ipaddress.ip_address(address[0].partition("%")[0]).is_loopback for *_, address in found
    )


TAKEN = "stop what listens there, or choose another port (--port 8001; make run PORT=8001)"
ELSEWHERE = "name an address of this machine (--host 127.0.0.1; --host 0.0.0.0 for all it has)"
NO_PORT = {
    errno.EACCES: "choose a port from 1024 (--port 8000), or start it as root, with --user for the application",
    errno.EADDRNOTAVAIL: ELSEWHERE,
    socket.EAI_NONAME: ELSEWHERE,
}


def check_port(host: str, port: int) -> int:
    """The port, chosen by the system if it is 0; nobody listens on it now."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            None if host == "*" else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As httpd does it: connections of a server that has just stopped do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
            return probe.getsockname()[1]
    except OSError as error:
        fix = NO_PORT.get(error.errno, TAKEN)
        raise Failure(
            "WSGID0405", f"cannot listen on {bracketed(host)}:{port} ({error.strerror})", fix
        ) from error


# -------- who, and by what way


def application_identity(options: dict[str, Any]) -> Identity | None:
    """Whom the application runs as; None for whoever runs this."""
    name, gid = options["user"], None
    if options["group"]:
        gid = reach.group_id(options["group"])
        if gid is None:
            raise Failure(
                "WSGID0410",
                f"--group: there is no group {options['group']}",
                "name one that exists",
            )
    if name is None:
        identity = reach.daemon_identity()
        return replace(identity, gid=gid) if identity and gid is not None else identity
    try:
        identity = reach.identity_of(name)
    except KeyError:
        raise Failure(
            "WSGID0410", f"--user: there is no user {name}", "name one that exists"
        ) from None
    if identity.uid == 0:
        raise Failure("WSGID0410", "--user: an application never runs as root", "name another user")
    if os.geteuid() == identity.uid:
        return None
    if gid is not None:
        identity = replace(identity, gid=gid)
    if os.geteuid() != 0:
        raise Failure(
            "WSGID0410",
            f"--user: only root can serve as another user than itself, and so not as {name}",
            "start this as root, or leave the option out",
        )
    return identity


def check_way(site: Site) -> None:
    """That the application's user gets to the application, and httpd to the script."""
    goal = site.target
    place = goal.script or goal.directory
    if is_example(place):
        return  # it may be copied to where everybody gets
    needs = os.R_OK if goal.script else os.R_OK | os.X_OK
    for identity, asked in (
        (site.application, needs),
        (site.identity, os.F_OK if goal.script else None),
    ):
        blocked = in_the_way(place, identity, asked) if asked is not None else None
        if blocked:
            what, fix = (
                ("read", f"chmod o+r {blocked}")
                if blocked == place
                else ("enter", f"chmod o+x {blocked}, or move the application (to /srv, say)")
            )
            raise Failure(
                "WSGID0406",
                f"user {user_of(identity)}, who {roles(site, identity)}, cannot {what} "
                f"{blocked}, and so not use {place}",
                fix,
            )


def roles(site: Site, identity: Identity | None) -> str:
    return "the application runs as" if identity == site.application else "httpd runs as"


def is_example(script: str) -> bool:
    """conf/hello.wsgi of a checkout is ours and needs nothing beside itself."""
    return os.path.realpath(script) == example()


def example() -> str:
    return os.path.join(os.path.dirname(os.path.realpath(PACKAGE)), "conf", "hello.wsgi")


def user_of(identity: Identity | None) -> str:
    return identity.name if identity else str(os.geteuid())


# -------- the interpreter


def interpreter(site: Site) -> str:
    """The option of WSGIDaemonProcess that names it."""
    options = site.options
    for name in ("python", "python-home"):
        if options[name]:
            check_python(name, executable(site), site.application)
            return f"{name}={options[name]}"
    return "python=" + usable_python(site.application)


def executable(site: Site) -> str:
    """The interpreter that `interpreter` leads to."""
    home = site.options["python-home"]
    if home:
        places = [os.path.join(home, "bin", name) for name in ("python", "python3")]
        return next((place for place in places if os.path.exists(place)), places[0])
    return site.options["python"] or site.interpreter.partition("=")[2]


def check_python(option: str, python: str, identity: Identity | None) -> None:
    if not os.path.exists(python):
        raise Failure("WSGID0408", f"--{option}: there is no {python}", "correct the path")
    if not runs_as(python, identity):
        raise Failure(
            "WSGID0408",
            f"--{option}: user {user_of(identity)} cannot run {python}"
            f"{because(python, identity)}, or it is older than Python 3.10",
            "name one that it can",
        )


def usable_python(identity: Identity | None) -> str:
    """What runs this, if the application's user can run it; else the interpreter that it was made
    from, or the system's."""
    base = getattr(sys, "_base_executable", None) or sys.executable
    for python in dict.fromkeys((sys.executable, base, SYSTEM_PYTHON)):
        if runs_as(python, identity):
            if python != sys.executable:
                note(
                    f"WSGID0409: user {user_of(identity)} cannot run {sys.executable}"
                    f"{because(sys.executable, identity)}; the application runs under {python}"
                )
            return python
    tried = f"{sys.executable}{because(sys.executable, identity)} nor {SYSTEM_PYTHON}"
    raise Failure(
        "WSGID0408",
        f"user {user_of(identity)} can run neither {tried}",
        "install Python 3.10 or later where every user can reach it",
    )


def runs_as(python: str, identity: Identity | None) -> bool:
    """Tried, not guessed: an interpreter also needs its library, its virtualenv and its shared
    objects.
    """
    return run_python(python, identity, "import sys; sys.exit(sys.version_info < (3, 10))")


def run_python(python: str, identity: Identity | None, code: str, *words: str) -> bool:
    try:
        done = subprocess.run(
            [python, "-I", "-c", code, *words],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **reach.becoming(identity),
        )
    except OSError:
        return False
    return done.returncode == 0


def because(path: str, identity: Identity | None) -> str:
    blocked = in_the_way(path, identity, os.X_OK)
    return f" ({blocked} is closed to it)" if blocked else ""


FIND = "import sys; sys.path[:0] = sys.argv[2:]; import importlib.util as u; sys.exit(u.find_spec(sys.argv[1]) is None)"


def check_module(site: Site) -> None:
    """That MODULE of MODULE:CALLABLE is where the application's interpreter looks for it."""
    name = site.target.module
    places = [*(site.options["python-path"] or []), site.directory]
    if not name or run_python(executable(site), site.application, FIND, name, *places):
        return
    raise Failure(
        "WSGID0403",
        f"there is no module {name} in {' or '.join(places)}, nor is it installed for "
        f"{executable(site)}",
        "correct the name; --working-directory or --python-path says where it is, "
        "--python-home in which virtualenv",
    )


# -------- the server root


@contextmanager
def server_root(site: Site) -> Iterator[str]:
    """The directory with its subdirectories; removed at the end unless it was named."""
    named = site.options["server-root"]
    root = named or tempfile.mkdtemp(prefix="wsgid-", dir="/tmp")
    try:
        if len(os.fsencode(root)) > LONGEST_ROOT:
            raise Failure(
                "WSGID0411",
                f"{root} is too long for the sockets below it (at most {LONGEST_ROOT} characters)",
                "name a shorter directory",
            )
        if named is None:
            os.chmod(root, 0o755)
        for directory in (root, *(os.path.join(root, name) for name in DIRECTORIES)):
            make_directory(directory)
        if named is not None:
            for name in ("", "logs", "run"):
                check_hands(site, os.path.join(root, name))
        if os.geteuid() == 0:
            # The application's user may have had it.
            take(os.path.join(root, "application"), 0, 0)
        yield root
    finally:
        if named is None:
            shutil.rmtree(root, ignore_errors=True)


def check_hands(site: Site, path: str) -> None:
    """That none of the users that requests may reach can put something else where root, or root's
    httpd, writes.
    """
    for identity in dict.fromkeys((site.identity, site.application)):
        open_to_it = identity and reach.first_writable(path, identity)
        if open_to_it:
            raise Failure(
                "WSGID0411",
                f"user {user_of(identity)}, who {roles(site, identity)}, can change what is in "
                f"{open_to_it}, and root writes to {path.rstrip('/')}",
                "name a directory that only root can change (below /srv, say)",
            )


def take(path: str, uid: int, gid: int) -> None:
    """Makes a directory that user's alone, whoever's it was."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, 0o755)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unwritable(path, error) from error


def make_directory(path: str) -> None:
    """Open to all whatever the umask is; one that is there stays as it is."""
    try:
        if not os.path.isdir(path):
            os.makedirs(path)
            os.chmod(path, 0o755)
    except OSError as error:
        raise Failure(
            "WSGID0411",
            f"{error.filename} cannot be made ({error.strerror})",
            "name a directory of your own",
        ) from error


def written(site: Site) -> Site:
    """The site with all its files in place."""
    blocked = in_the_way(os.path.join(site.root, "application"), site.identity)
    if blocked:
        raise Failure(
            "WSGID0411",
            f"user {user_of(site.identity)}, who httpd runs as, cannot enter {blocked}",
            "name a directory that it can enter (below /srv, say)",
        )
    site = with_reachable_script(replace(site, module=reachable_module(site)))
    if site.options["log-directory"]:
        make_directory(site.options["log-directory"])
        check_hands(site, os.path.abspath(site.options["log-directory"]))
    try:
        text = configuration(site)
    except ValueError as error:
        raise Failure(
            "WSGID0410", str(error), "httpd cannot have it in its configuration: rename that"
        ) from error
    write(os.path.join(site.root, CONFIGURATION), text)
    return site


def reachable_module(site: Site) -> str:
    package = daemon_of(site.module)
    files = [os.path.join(package, name) for name in os.listdir(package) if name.endswith(".py")]
    blocked = first_in_the_way(files, site.application)
    if blocked is None:
        return site.module
    note(
        f"WSGID0409: user {user_of(site.application)} cannot enter {blocked}; serving a copy of mod_wsgid.so and "
        f"pywsgid in {site.root}"
    )
    copy = os.path.join(site.root, "pywsgid")
    shutil.copytree(
        package,
        copy,
        ignore=shutil.ignore_patterns("__pycache__", "mod_wsgid.so"),
        dirs_exist_ok=True,
    )
    open_to_all(copy)
    return copy_file(site.module, site.root)


def daemon_of(module: str) -> str:
    """The package that a module starts: pywsgid beside it, or the directory that it lies in itself
    (apxs/spawn/interpreter.c)."""
    here = os.path.dirname(module)
    for package in (os.path.join(here, "pywsgid"), here):
        if os.path.exists(os.path.join(package, "daemon", "boot.py")):
            return package
    raise Failure(
        "WSGID0401",
        f"no pywsgid/daemon/boot.py beside {module}",
        "run `make`, or `make install`, again",
    )


def with_reachable_script(site: Site) -> Site:
    """With the script that is to be written, or a copy of the example if that is out of reach."""
    place = os.path.join(site.root, "application")
    if (
        site.script
        and is_example(site.script)
        and any(in_the_way(site.script, identity) for identity in (site.application, site.identity))
    ):
        copy = copy_file(example(), place)  # and not what may stand in its place by now
        site = replace(site, script=copy, target=replace(site.target, directory=place, script=copy))
    if site.options.get("reload"):
        return with_development_script(site, place)
    if site.target.source:
        return replace(site, script=write(os.path.join(place, SCRIPT), site.target.source))
    return site


def with_development_script(site: Site, place: str) -> Site:
    """With a script that wraps the application. Its user touches it when a source changes, so that
    it is its own.
    """
    developed = os.path.join(site.root, DEVELOPED)
    marker = os.path.join(developed, "loaded")
    make_directory(developed)
    try:
        with suppress(FileNotFoundError):
            os.unlink(marker)
    except OSError as error:
        raise unwritable(marker, error) from error
    if site.application:
        take(developed, site.application.uid, site.application.gid)
    directories = dict.fromkeys(
        [site.target.directory, site.directory, *(site.options["python-path"] or [])]
    )
    script = write(
        os.path.join(place, DEVELOPMENT),
        develop_script(site, marker, list(directories)),
        owner=site.application,
    )
    return replace(site, script=script, target=replace(site.target, callable="application"))


def develop_script(site: Site, marker: str, directories: list[str]) -> str:
    goal = site.target
    what = {"script": goal.script, "name": goal.callable} if goal.script else {"code": goal.source}
    words = {**what, "directories": directories, "hosts": [site.options["server-name"]]}
    arguments = "".join(f"    {name}={value!r},\n" for name, value in words.items())
    return (
        f'"""Written by pywsgid: {goal.name} with reloading and tracebacks."""\n\nfrom pywsgid.daemon.application import development\n\n'
        f"application = development.application(\n    {marker!r},\n{arguments}    touch=__file__,\n)\n"
    )


def copy_file(path: str, directory: str) -> str:
    copy = os.path.join(directory, os.path.basename(path))
    with open(path, "rb") as source, created(copy) as file:
        shutil.copyfileobj(source, file)
    return copy


def write(path: str, text: str, mode: int = 0o644, owner: Identity | None = None) -> str:
    with created(path, mode, owner) as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    return path


@contextmanager
def created(path: str, mode: int = 0o644, owner: Identity | None = None) -> Iterator[BinaryIO]:
    """A new file in place of whatever is there; `owner`'s once it is written."""
    try:
        with suppress(FileNotFoundError):
            os.unlink(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            yield file
            os.fchmod(descriptor, mode)
            if owner:
                os.fchown(descriptor, owner.uid, owner.gid)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: str, error: OSError) -> Failure:
    return Failure(
        "WSGID0411", f"{path} cannot be written ({error.strerror})", "name a directory of your own"
    )


def open_to_all(top: str) -> None:
    """Whatever the umask of the clone was."""
    for directory, _, names in os.walk(top):
        os.chmod(directory, 0o755)
        for name in names:
            os.chmod(os.path.join(directory, name), 0o644)


def configtest(control: str) -> None:
    """That httpd takes what was written, with the user's own files in it."""
    done = subprocess.run([control, "configtest"], capture_output=True, text=True)
    if done.returncode:
        lines = (done.stdout + done.stderr).split("\n")
        raise Failure(
            "WSGID0412",
            f"httpd refuses the configuration: {' '.join(line for line in lines if line)}",
            "correct what it names",
        )
