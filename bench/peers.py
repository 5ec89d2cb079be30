"""The servers that are measured: one WSGI application behind one httpd each, and how to find the
processes of each.

A peer is data: its lines of httpd.conf, and the command of a process of its own if it needs one.
Each runs behind its own httpd with the same lines of COMMON; logging is off in all of them.
Processes beside httpd run as httpd's user, talk over a UNIX socket, and get as many processes and
threads as ours.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from httpdenv import Httpd, Stage, machine, processes, wait_until

from bench import CHECKOUT, clients, cost, family, user
from bench.points import peer_of, threads_of

VENV = Path(os.environ.get("WSGID_BENCH_VENV", CHECKOUT / ".bench-venv"))
APPS = Path(__file__).with_name("apps")
# The path of the mod_wsgid.so of another build, to be measured beside this one.
OTHER = os.environ.get("WSGID_BENCH_OTHER", "")
STATIC_SIZES = (0, 1024, 65536, 1 << 20)
START_LIMIT = 60.0
STOP_LIMIT = 5.0
# httpd's parent replaces a child that ends, unless it has begun to stop.
SHUTDOWN_BEGINS = 0.05
# An httpd child has its pool of threads; other processes that httpd forks have one thread or a few.
CHILD_THREADS = 32
GROUP = "bench"
# For what runs beside httpd.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C", "HOME": "/"}

# Two children of fixed size: none is started or ended while a load runs, and either alone has
# enough threads for all connections of any load. The harness's own lines come before these.
COMMON = """
StartServers 2
ServerLimit 2
ThreadLimit 256
ThreadsPerChild 256
MaxRequestWorkers 512
MinSpareThreads 1
MaxSpareThreads 512
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
Timeout 60
DocumentRoot "${{APPS}}/static"
# As distributions have it; without it httpd looks for .htaccess in each part of the path, in each request.
<Directory />
Options FollowSymLinks
AllowOverride None
</Directory>
EnableSendfile {sendfile}
"""


@dataclass(frozen=True)
class Setup:
    """What the servers of a scenario have in common. `script` is a module of bench/apps."""

    script: str = "hello"
    processes: int = 1
    threads: int = 15
    groups: int = 1
    sendfile: bool = True
    # Whether the application needs the packages of the bench's virtualenv.
    packages: bool = False


@dataclass(frozen=True)
class Peer:
    """`text` gives the lines of httpd.conf; `command`, if any, is the process to start, given the
    path of its socket.

    `daemon` says whether a process below httpd's parent is the application's, by its command;
    `missing` is the reason why the peer cannot run here.
    """

    name: str
    title: str
    text: Callable[[Setup], str]
    modules: tuple[str, ...] = ()
    command: Callable[[Setup, str], list[str]] | None = None
    daemon: Callable[[str], bool] = lambda command: False
    needs: Callable[[], Path | None] = lambda: Path("/")
    ours: bool = False

    @property
    def missing(self) -> bool:
        path = self.needs()
        return path is None or not path.exists()


# -------- configuration of each peer


def _daemons(setup: Setup, more: str, select: str) -> str:
    """Daemon groups; if there are several, each has its own path."""
    options = f"processes={setup.processes} threads={setup.threads} {more}"
    if setup.groups == 1:
        return f'WSGIDaemonProcess {GROUP} {options}\n{select} {GROUP}\nWSGIScriptAlias / "{_script(setup)}"\n'
    lines = []
    for number in range(setup.groups):
        name = f"{GROUP}{number}"
        lines.append(
            f'WSGIDaemonProcess {name} {options}\nWSGIScriptAlias /{number} "{_script(setup)}"'
        )
        lines.append(f"<Location /{number}>\n{select} {name}\n</Location>")
    return "\n".join(lines) + "\n"


def _script(setup: Setup) -> str:
    return f"${{APPS}}/{setup.script}.py"


def _wsgid(setup: Setup) -> str:
    return _daemons(setup, f'python-home="{VENV}"' if setup.packages else "", "WSGIProcessName")


def _other_wsgid(setup: Setup) -> str:
    return f'LoadModule wsgid_module "{OTHER}"\n' + _wsgid(setup)


def _mod_wsgi(setup: Setup) -> str:
    common = 'WSGISocketPrefix "${ROOT}/run/wsgi"\nWSGIRestrictEmbedded On\nWSGIApplicationGroup %{GLOBAL}\n'
    return (
        _load_mod_wsgi(setup) + common + _daemons(setup, "display-name=(wsgi)", "WSGIProcessGroup")
    )


def _mod_wsgi_embedded(setup: Setup) -> str:
    return (
        _load_mod_wsgi(setup)
        + f'WSGIApplicationGroup %{{GLOBAL}}\nWSGIScriptAlias / "{_script(setup)}"\n'
    )


def _load_mod_wsgi(setup: Setup) -> str:
    enable = "WSGIEnableSendfile On\n" if setup.sendfile else ""
    return f'LoadModule wsgi_module "{_mod_wsgi_module()}"\nWSGIPythonHome "{VENV}"\n{enable}'


def _mod_wsgi_module() -> Path | None:
    return next(VENV.glob("lib/python3*/site-packages/mod_wsgi/server/mod_wsgi-*.so"), None)


def _proxy(scheme: str) -> Callable[[Setup], str]:
    # Without enablereuse, mod_proxy opens a new connection to a UNIX socket for each request.
    return lambda setup: (
        f'ProxyPass "/" "unix:${{ROOT}}/peer/socket|{scheme}://localhost/" enablereuse=on\n'
    )


def _uwsgi_command(setup: Setup, socket: str) -> list[str]:
    size = [f"--processes={setup.processes}", f"--threads={setup.threads}"]
    behave = [
        "--master",
        "--die-on-term",
        "--need-app",
        "--disable-logging",
        "--listen=100",
        "--chmod-socket=600",
        # An application's own threads and connections do not survive a fork.
        "--lazy-apps",
        "--enable-threads",
    ]
    return [_tool("uwsgi"), "--socket", socket, "--wsgi-file", f"{setup.script}.py", *size, *behave]


def _granian_command(setup: Setup, socket: str) -> list[str]:
    size = ["--workers", str(setup.processes), "--blocking-threads", str(setup.threads)]
    quiet = ["--no-access-log", "--log-level", "error"]
    return [
        _tool("granian"),
        "--interface",
        "wsgi",
        "--uds",
        socket,
        *size,
        *quiet,
        f"{setup.script}:application",
    ]


def _gunicorn_command(setup: Setup, socket: str) -> list[str]:
    size = ["--workers", str(setup.processes), "--threads", str(setup.threads)]
    quiet = ["--log-level", "error", "--no-control-socket", "--keep-alive", "60"]
    kind = ["--worker-class", "gthread", "--bind", f"unix:{socket}"]
    return [_tool("gunicorn"), *kind, *size, *quiet, f"{setup.script}:application"]


def _tool(name: str) -> str:
    return str(VENV / "bin" / name)


def _in_venv(name: str) -> Callable[[], Path]:
    return lambda: VENV / "bin" / name


PROXY = ("proxy", "proxy_http")
PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "wsgid",
            "mod_wsgid",
            _wsgid,
            daemon=processes.is_daemon,
            needs=machine.module_path,
            ours=True,
        ),
        Peer(
            "other",
            "mod_wsgid, the other build",
            _other_wsgid,
            daemon=processes.is_daemon,
            needs=lambda: Path(OTHER) if OTHER else None,
        ),
        Peer(
            "mod_wsgi",
            "mod_wsgi, daemon mode",
            _mod_wsgi,
            daemon=lambda command: command.startswith("(wsgi)"),
            needs=_mod_wsgi_module,
        ),
        Peer("embedded", "mod_wsgi, embedded", _mod_wsgi_embedded, needs=_mod_wsgi_module),
        Peer(
            "uwsgi",
            "uWSGI, mod_proxy_uwsgi",
            _proxy("uwsgi"),
            ("proxy", "proxy_uwsgi"),
            _uwsgi_command,
            needs=_in_venv("uwsgi"),
        ),
        Peer(
            "granian",
            "granian, mod_proxy_http",
            _proxy("http"),
            PROXY,
            _granian_command,
            needs=_in_venv("granian"),
        ),
        Peer(
            "gunicorn",
            "gunicorn, mod_proxy_http",
            _proxy("http"),
            PROXY,
            _gunicorn_command,
            needs=_in_venv("gunicorn"),
        ),
        Peer("static", "httpd, static file", lambda setup: ""),
    )
}


# -------- start and stop


@contextlib.contextmanager
def stage(file_bytes: int) -> Iterator[Stage]:
    """Puts the bench's applications and files where httpd's user can read them, with our module as
    the tests stage it.
    """
    ours = machine.stage()
    top = machine.temporary_directory("wsgid-bench-")
    try:
        apps = top / "apps"
        shutil.copytree(APPS, apps, ignore=shutil.ignore_patterns("__pycache__"))
        (apps / "static").mkdir()
        (apps / "static" / "hello").write_bytes(b"Hello, world!\n")
        (apps / "static" / "file").write_bytes(os.urandom(1 << 20) * (file_bytes >> 20))
        for size in STATIC_SIZES:
            (apps / "static" / str(size)).write_bytes(b"x" * size)
        yield replace(ours, apps=apps)
    finally:
        shutil.rmtree(top, ignore_errors=True)
        machine.remove_stage()


class Running:
    """A peer that serves. start_ms is the time from its start, httpd's included, to the first
    answer.
    """

    def __init__(self, peer: Peer, setup: Setup, where: Stage, probe: str) -> None:
        self.peer, self.setup, self._probe = peer, setup, probe
        text = COMMON.format(sendfile="On" if setup.sendfile else "Off") + peer.text(setup)
        # httpd logs at notice when it is ready; at that level it logs nothing about requests.
        self._httpd = Httpd(text, where, modules=peer.modules, ours=peer.ours, log_level="notice")
        self._process: subprocess.Popen[bytes] | None = None
        self.start_ms = 0.0
        self._is_ready = False

    @property
    def port(self) -> int:
        return self._httpd.ports["PORT"]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def start(self) -> Running:
        begun = time.perf_counter()
        self._start_beside()
        self._httpd.start()
        wait_until(lambda: clients.is_up(self.port, self._probe), self._why, START_LIMIT)
        self.start_ms = (time.perf_counter() - begun) * 1000
        self._is_ready = True
        return self

    def stop(self) -> None:
        """Ends all of it at once, whatever state it is in. Nobody waits for a request here, so
        httpd's children are killed; its parent cleans up.
        """
        if self._httpd.is_running:
            self._stop_httpd(self.parent)
        if self._is_ready and not os.environ.get("WSGID_KEEP"):
            shutil.rmtree(self._httpd.root, ignore_errors=True)
        else:
            self._httpd.remove()  # looks at every process of the machine, which takes long
        self._stop_beside()

    @staticmethod
    def _stop_httpd(parent: int) -> None:
        children = family.descendants(parent)
        with contextlib.suppress(ProcessLookupError):
            os.kill(parent, signal.SIGTERM)
        time.sleep(SHUTDOWN_BEGINS)
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            wait_until(lambda: not family.is_alive(parent), "httpd's parent to leave", STOP_LIMIT)
        except AssertionError:
            os.kill(parent, signal.SIGKILL)

    @property
    def parent(self) -> int:
        return self._httpd.pid

    def httpd_children(self) -> list[int]:
        """The processes of httpd that serve connections."""
        return [pid for pid in self._children(False) if cost.threads(pid) >= CHILD_THREADS]

    def httpd(self) -> list[int]:
        """Every process of httpd but the application's: their CPU is the cost of a request in
        httpd.
        """
        return [self.parent, *self._children(False)]

    def application(self) -> list[int]:
        """The application's processes, including their supervisor if that is not httpd."""
        if self._process is not None:
            return [self._process.pid, *family.descendants(self._process.pid)]
        return self._children(True)

    def _children(self, daemons: bool) -> list[int]:
        return [
            child
            for child in family.descendants(self.parent)
            if (command := family.command(child)) and self.peer.daemon(command) == daemons
        ]

    def _start_beside(self) -> None:
        if self.peer.command is None:
            return
        directory = self._httpd.root / "peer"
        directory.mkdir()
        user.give(directory)
        with (directory / "output").open("wb") as output:
            command = self.peer.command(self.setup, str(directory / "socket"))
            self._process = subprocess.Popen(
                command,
                cwd=self._httpd.stage.apps,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **user.identity(),
            )

    def _stop_beside(self) -> None:
        if self._process is None:
            return
        members = family.descendants(self._process.pid)
        with contextlib.suppress(subprocess.TimeoutExpired, ProcessLookupError):
            self._process.terminate()
            self._process.wait(STOP_LIMIT)
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                # The session is ours: if the number is reused, it belongs to another session.
                if os.getsid(pid) == self._process.pid:
                    os.kill(pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()

    def _why(self) -> str:
        output = self._httpd.root / "peer" / "output"
        printed = output.read_text(errors="replace")[-2000:] if output.exists() else ""
        return (
            f"{self.peer.name} to answer {self._probe}: {printed}{self._httpd.log_text(limit=2000)}"
        )


@contextlib.contextmanager
def serving(
    names: Sequence[str], setup: Setup, where: Stage, probe: str
) -> Iterator[dict[str, Running]]:
    """Starts the peers one after the other and stops them all at the end. A peer that does not
    start is left out. "granian:4" is granian with 4 threads, whatever the setup says.
    """
    with contextlib.ExitStack() as stack:
        found = {}
        for name in names:
            own = replace(setup, threads=threads_of(name) or setup.threads)
            running = Running(PEERS[peer_of(name)], own, where, probe)
            stack.callback(running.stop)
            try:
                found[name] = running.start()
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                print(
                    f"bench: without {name}, which did not start: {error}",
                    file=sys.stderr,
                    flush=True,
                )
                running.stop()
        yield found
