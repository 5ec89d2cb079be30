"""`pywsgid run SCRIPT`: one script behind an httpd of its own, in the foreground, until Ctrl-C.

What happens, in order: look at the script, the port and the machine; make a temporary server root; put copies there of
what the daemon's user could not reach; write httpd.conf; start httpd and pass its log on until nobody holds it any
more; remove the server root. Each of the first steps ends in a Failure that is one line, or in a value that the next
one takes.

Rules: the server root lies in /tmp under a short name (a UNIX socket's path holds about 107 bytes) and is the only
thing written; httpd runs in a session of its own, so that Ctrl-C reaches this process alone and the stop has one
author.
"""

from __future__ import annotations

import ctypes
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from pywsgid.cli import Failure
from pywsgid.module import PACKAGE
from pywsgid.reach import Identity, daemon_identity, first_in_the_way, in_the_way
from pywsgid.server import NoServer, Server, find_server, quote

GROUP = "app"
# Everybody has it, and it is what a distribution's own packages are made for.
SYSTEM_PYTHON = "/usr/bin/python3"
# Daemons have shutdown-timeout (5 s) to finish; httpd itself needs a second for its children.
STOP_LIMIT = 8
# What daemons get to finish when httpd was killed.
ORPHAN_LIMIT = 2
PROBE_PAUSE = 0.02
PROBE_NAME = "pywsgid-run"
PR_SET_PDEATHSIG = 1
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}


class Stop(BaseException):
    """A signal asked for the end, or for a quicker one."""


@dataclass(frozen=True)
class Site:
    """All that the configuration is written from. A script and a module are where the daemon's user can reach them."""

    server: Server
    root: str
    module: str
    script: str
    python: str
    host: str
    port: int
    identity: Identity | None

    @property
    def url(self) -> str:
        name = "localhost" if self.host in ("127.0.0.1", *ANY_ADDRESS) else bracketed(self.host)
        return f"http://{name}:{self.port}/"


def run(script: str, host: str, port: int, module: str) -> int:
    """Serves until a signal comes; 0 then. Failure if it cannot start or httpd ends by itself."""
    with stop_signals():
        try:
            server = usable_server()
            check_script(script)
            port = check_port(host, port)
            identity = daemon_identity()
            check_way(script, identity)
            python = usable_python(identity)
            with server_root() as root:
                site = Site(server, root, module, os.path.abspath(script), python, host, port, identity)
                return serve(stage(site))
        except Stop:
            return 0


# ------------------------------------------------------------------------------------------------ before the start


def usable_server() -> Server:
    try:
        server = find_server()
        server.mpm()
        return server
    except NoServer as error:
        raise Failure("WSGID0402", str(error),
                      "install Apache httpd 2.4 (Debian, Ubuntu: apt-get install apache2)") from error


def check_script(script: str) -> None:
    """That it is there and is Python: what httpd and the daemon would say of it comes later and is longer."""
    try:
        with open(script, "rb") as file:
            source = file.read()
    except OSError as error:
        raise Failure("WSGID0403", f"{script} cannot be read ({error.strerror})",
                      "name a WSGI script that defines `application`") from error
    try:
        compile(source, script, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise Failure("WSGID0404", f"{script}, line {error.lineno}: {error.msg}", "mend the script") from error
    except ValueError as error:
        raise Failure("WSGID0404", f"{script} is not Python: {error}", "mend the script") from error


def check_way(script: str, identity: Identity | None) -> None:
    """That the daemon's user gets to the script; the example of a checkout may be copied to where it does."""
    script = os.path.abspath(script)
    blocked = in_the_way(script, identity)
    if blocked is None or is_example(script):
        return
    what, cure = ("read", f"chmod o+r {blocked}") if blocked == script else (
        "enter", f"chmod o+x {blocked}, or move the application (to /srv, say)")
    raise Failure("WSGID0406", f"user {user_of(identity)}, who the application runs as, cannot {what} {blocked}, "
                  f"and so not use {script}", cure)


def is_example(script: str) -> bool:
    """conf/hello.wsgi of a checkout is ours and needs nothing beside itself."""
    example = os.path.join(os.path.dirname(os.path.realpath(PACKAGE)), "conf", "hello.wsgi")
    return os.path.realpath(script) == example


def check_port(host: str, port: int) -> int:
    """The port, chosen by the system if it is 0; nobody listens on it now."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            None if host == "*" else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As httpd does it: connections of a server that has just stopped do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
            return probe.getsockname()[1]
    except OSError as error:
        raise Failure("WSGID0405", f"cannot listen on {bracketed(host)}:{port} ({error.strerror})",
                      "stop what listens there, or choose another port (make run PORT=8001)") from error


def usable_python(identity: Identity | None) -> str:
    """What runs this, if the daemon's user can run it; else the interpreter that it was made from, or the system's."""
    base = getattr(sys, "_base_executable", None) or sys.executable
    for python in dict.fromkeys((sys.executable, base, SYSTEM_PYTHON)):
        if runs_as(python, identity):
            if python != sys.executable:
                note(f"WSGID0409: user {user_of(identity)} cannot run {sys.executable}"
                     f"{because(sys.executable, identity)}; the application runs under {python}")
            return python
    tried = f"{sys.executable}{because(sys.executable, identity)} nor {SYSTEM_PYTHON}"
    raise Failure("WSGID0408", f"user {user_of(identity)} can run neither {tried}",
                  "install Python 3.10 or later where every user can reach it")


def runs_as(python: str, identity: Identity | None) -> bool:
    """Tried, not guessed: an interpreter also needs its library, its virtualenv and its shared objects."""
    become = {} if identity is None else {
        "user": identity.uid, "group": identity.gid, "extra_groups": os.getgrouplist(identity.name, identity.gid)}
    command = [python, "-I", "-c", "import sys; sys.exit(sys.version_info < (3, 10))"]
    try:
        done = subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, **become)
    except OSError:
        return False
    return done.returncode == 0


def because(path: str, identity: Identity | None) -> str:
    blocked = in_the_way(path, identity, os.X_OK)
    return f" ({blocked} is closed to it)" if blocked else ""


def user_of(identity: Identity | None) -> str:
    return identity.name if identity else str(os.geteuid())


# ------------------------------------------------------------------------------------------------ the server root


@contextmanager
def server_root() -> Iterator[str]:
    root = tempfile.mkdtemp(prefix="wsgid-", dir="/tmp")
    try:
        os.chmod(root, 0o755)
        for name in ("htdocs", "run"):
            os.mkdir(os.path.join(root, name))
            os.chmod(os.path.join(root, name), 0o755)
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def stage(site: Site) -> Site:
    """The site with copies in place of what its daemon's user cannot reach."""
    site = replace(site, module=reachable_module(site))
    return replace(site, script=reachable_script(site))


def reachable_module(site: Site) -> str:
    package = daemon_of(site.module)
    files = [os.path.join(package, name) for name in os.listdir(package) if name.endswith(".py")]
    blocked = first_in_the_way(files, site.identity)
    if blocked is None:
        return site.module
    note(f"WSGID0409: user {user_of(site.identity)} cannot enter {blocked}; serving a copy of mod_wsgid.so and pywsgid "
         f"in {site.root}")
    copy = os.path.join(site.root, "pywsgid")
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__", "mod_wsgid.so"))
    open_to_all(copy)
    return copy_file(site.module, site.root)


def daemon_of(module: str) -> str:
    """The package that a module starts: pywsgid beside it, or the directory that it lies in itself (apxs/spawn.c)."""
    here = os.path.dirname(module)
    for package in (os.path.join(here, "pywsgid"), here):
        if os.path.exists(os.path.join(package, "boot.py")):
            return package
    raise Failure("WSGID0401", f"no pywsgid/boot.py beside {module}", "run `make`, or `make install`, again")


def reachable_script(site: Site) -> str:
    """The script, which has passed check_way(): a copy of it if it could only pass as the example."""
    return copy_file(site.script, site.root) if in_the_way(site.script, site.identity) else site.script


def copy_file(path: str, directory: str) -> str:
    copy = os.path.join(directory, os.path.basename(path))
    shutil.copyfile(path, copy)
    os.chmod(copy, 0o644)
    return copy


def open_to_all(top: str) -> None:
    """Whatever the umask of the clone was."""
    for directory, _, names in os.walk(top):
        os.chmod(directory, 0o755)
        for name in names:
            os.chmod(os.path.join(directory, name), 0o644)


# ------------------------------------------------------------------------------------------------ the configuration


def configuration(site: Site) -> str:
    """httpd.conf: the least that serves one script."""
    lines = [
        *server_lines(site),
        *site.server.mpm(),
        *site.server.load("unixd", "authz_core", "log_config"),
        f"LoadModule wsgid_module {quote(site.module)}",
        *identity_lines(site.identity),
        *log_lines(),
        *script_lines(site),
    ]
    return "\n".join(lines) + "\n"


def server_lines(site: Site) -> list[str]:
    return [
        f"ServerRoot {quote(site.root)}",
        "DefaultRuntimeDir run",
        "PidFile run/httpd.pid",
        f"Listen {quote(f'{bracketed(site.host)}:{site.port}')}",
        f"ServerName localhost:{site.port}",
        "DocumentRoot htdocs",
    ]


def identity_lines(identity: Identity | None) -> list[str]:
    """Only root can become somebody else."""
    return [f"User {identity.name}", f"Group #{identity.gid}"] if identity else []


def log_lines() -> list[str]:
    """Everything to the terminal, but for our own look whether it answers."""
    return [
        "ErrorLog /dev/stderr",
        "LogLevel notice wsgid:info",
        'LogFormat "%h \\"%r\\" %>s %b" short',
        f"CustomLog /dev/stdout short \"expr=%{{HTTP_USER_AGENT}} != '{PROBE_NAME}'\"",
    ]


def script_lines(site: Site) -> list[str]:
    directory = os.path.dirname(site.script)
    return [
        "WSGISocketPrefix run/wsgid",
        f"WSGIDaemonProcess {GROUP} {quote('python=' + site.python)} {quote('home=' + directory)}",
        f"WSGIProcessName {GROUP}",
        f"WSGIScriptAlias / {quote(site.script)}",
        "<Directory />",
        "    Require all denied",
        "</Directory>",
        f"<Directory {quote(directory)}>",
        "    Require all granted",
        "</Directory>",
    ]


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


# ------------------------------------------------------------------------------------------------ in the foreground


def serve(site: Site) -> int:
    """Runs httpd until it ends or a signal comes."""
    path = os.path.join(site.root, "httpd.conf")
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(configuration(site))
    process = start(site, path)
    threading.Thread(target=watch, args=(site, process), daemon=True).start()
    try:
        pass_log_on(process)
        status = process.wait()
    except Stop:
        end(process)
        return 0
    raise Failure("WSGID0407", f"httpd ended by itself ({describe(status)})", "see its log lines above")


def start(site: Site, path: str) -> subprocess.Popen[bytes]:
    """Both of httpd's outputs go through one pipe of ours: /dev/stderr can be opened again whatever our own is."""
    libc = ctypes.CDLL(None, use_errno=True)

    def die_with_us() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    return subprocess.Popen(
        [site.server.program, "-d", site.root, "-f", path, "-DFOREGROUND"], bufsize=0, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=die_with_us)


def pass_log_on(process: subprocess.Popen[bytes]) -> None:
    """Returns when the last process that holds the log has gone: httpd, its children and every daemon."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    while chunk := os.read(descriptor, 65536):
        write_all(sys.stderr.fileno(), chunk)


def write_all(descriptor: int, chunk: bytes) -> None:
    """A terminal that has gone away means stop."""
    while chunk:
        try:
            chunk = chunk[os.write(descriptor, chunk):]
        except BrokenPipeError:
            raise Stop from None


def end(process: subprocess.Popen[bytes]) -> None:
    """Asks httpd to stop; after STOP_LIMIT, or at a second Ctrl-C, ends what is left of its session."""
    try:
        process.terminate()
        signal.alarm(STOP_LIMIT)
        pass_log_on(process)
        process.wait()
    except Stop:
        note("stopping the hard way")
    finally:
        signal.alarm(0)
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def describe(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def watch(site: Site, process: subprocess.Popen[bytes]) -> None:
    """Announces; then ends what outlives httpd: when it is killed, its children heed nothing but SIGKILL."""
    announce(site, process)
    process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        time.sleep(ORPHAN_LIMIT)
        os.killpg(process.pid, signal.SIGKILL)


def announce(site: Site, process: subprocess.Popen[bytes]) -> None:
    """Prints the address once something answers there."""
    while process.poll() is None:
        status = first_answer(site)
        if status is None:
            time.sleep(PROBE_PAUSE)
            continue
        trouble = f" answers, but with status {status}: see the log" if status >= 500 else ""
        print(f"{site.script} is served at {site.url}{trouble} (Ctrl-C stops)", flush=True)
        return


def first_answer(site: Site) -> int | None:
    """The status of a first request, or None if nobody listens yet."""
    connection = http.client.HTTPConnection(ANY_ADDRESS.get(site.host, site.host), site.port)
    try:
        connection.request("GET", "/", headers={"User-Agent": PROBE_NAME})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


# ------------------------------------------------------------------------------------------------ signals and words

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


@contextmanager
def stop_signals() -> Iterator[None]:
    """Within it each stop signal raises Stop, even if the shell that started us in the background had it ignored."""
    before = {number: signal.signal(number, raise_stop) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_stop(number: int, frame: object) -> None:
    raise Stop


def note(text: str) -> None:
    print(f"pywsgid: {text}", file=sys.stderr, flush=True)
