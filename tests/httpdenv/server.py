"""One httpd: its files, its start and stop by the signals that apachectl sends, and the proof that
it leaves nothing behind.

An httpd is started in one of three ways: "daemon" (`-k start`, it detaches), "foreground"
(`-DFOREGROUND`, as in a container) and "debug" (`-X`, one process, no detaching).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import re
import resource
import shutil
import signal
import subprocess
import termios
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import requests

from httpdenv import configuration, machine, processes
from httpdenv.client import Wire
from httpdenv.errorlog import ErrorLog
from httpdenv.machine import Stage
from httpdenv.processes import Process
from httpdenv.waiting import wait_until

READY = "resuming normal operations"
# The daemons get shutdown-timeout (5 s by default) to leave; then the parent's cleanup kills them.
STOP_LIMIT = 15.0
# Python's socket timeouts and httpd's Timeout exceed this only where a test says so.
REQUEST_LIMIT = 30.0

OPTIONS = {"daemon": ["-k", "start"], "foreground": ["-DFOREGROUND"], "debug": ["-X"]}


class StartFailed(AssertionError):
    """httpd did not start; the message holds its output."""


class Httpd:
    """A real httpd with its own configuration.

    `text` is added to the base configuration (httpdenv.configuration lists the variables it may
    use); `ours` is False for an httpd without mod_wsgid; `user` runs the whole server as that
    account instead of as root, with the `capabilities` (of setpriv, as "+setuid"); `descriptors`
    are the soft and the hard limit that it starts with.
    """

    def __init__(
        self,
        text: str,
        stage: Stage,
        *,
        mpm: str = "event",
        modules: Iterable[str] = (),
        certificates: Path | None = None,
        log_level: str | None = None,
        ours: bool = True,
        together: bool = True,
        user: str | None = None,
        capabilities: str | None = None,
        environment: dict[str, str] | None = None,
        descriptors: tuple[int, int] | None = None,
    ) -> None:
        self.stage, self.mpm, self.user = stage, mpm, user
        self._capabilities = capabilities
        self.root = machine.temporary_directory("wsgid-")
        for name in ("conf", "logs", "run", "files"):
            (self.root / name).mkdir()
            (self.root / name).chmod(0o755)
        self.ports = {name: machine.free_port() for name in configuration.port_names(text)}
        self._certificates = certificates
        self._environment = environment or {}
        self._limits = ["prlimit", "--nofile=%d:%d" % descriptors] if descriptors else []
        self._preamble = configuration.load_ours(stage.module, together) if ours else ""
        self._modules = tuple(modules)
        self._log_level = log_level or ("info wsgid:debug" if ours else "info")
        self._logs: dict[Path, ErrorLog] = {}
        self.log = self.log_of("error_log")
        self._foreground: subprocess.Popen[bytes] | None = None
        self._descriptors = 0
        self.slots_added = 0  # at most so many since the start, for a higher processes=
        self._how = "daemon"
        self.configure(text)

    # -------- files

    @property
    def files(self) -> Path:
        """${FILES}, where a test puts its own scripts and maps."""
        return self.root / "files"

    def configure(self, text: str) -> None:
        """Rewrites httpd.conf; a graceful or a restart makes httpd read it. Ports keep their
        numbers.
        """
        for name in configuration.port_names(text):
            self.ports.setdefault(name, machine.free_port())
        defines = {
            "ROOT": self.root,
            "APPS": self.stage.apps,
            "FILES": self.files,
            "CERTS": self._certificates or "/",
        }
        defines.update(self.ports)
        known = {name: str(value) for name, value in defines.items()}
        whole = configuration.compose(
            text, known, self._preamble, self.mpm, self._modules, self._log_level
        )
        (self.root / "conf" / "httpd.conf").write_text(whole)
        # Debian's mime.types is in a package (mime-support) that nothing else here needs.
        (self.root / "conf" / "mime.types").write_text("text/html html\ntext/plain txt\n")
        self._hand_over()

    def write(self, name: str, text: str) -> Path:
        """Writes a file in ${FILES}, replaced atomically, readable by everybody."""
        path = self.files / name
        fresh = path.with_name(f".{path.name}.new")
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(text)
        fresh.chmod(0o644)
        fresh.rename(path)
        return path

    def log_of(self, name: str) -> ErrorLog:
        """The ErrorLog logs/NAME of a virtual host, checked for unexpected lines from now on."""
        path = self.root / "logs" / name
        return self._logs.setdefault(path, ErrorLog(path))

    def _hand_over(self) -> None:
        """Gives the files to the account that runs the server, if that is another one."""
        if self.user is None or os.geteuid() != 0:
            return
        entry = pwd.getpwnam(self.user)
        for path in [self.root, *self.root.rglob("*")]:
            os.chown(path, entry.pw_uid, entry.pw_gid)

    # -------- start and stop

    @property
    def pid(self) -> int:
        return int((self.root / "run" / "httpd.pid").read_text())

    @property
    def is_running(self) -> bool:
        with contextlib.suppress(FileNotFoundError, ValueError):
            process = processes.find(self.pid)
            # A PidFile may outlive its process, and by now another process may have the number.
            return process is not None and process.is_alive and str(self.root) in process.command
        return False

    def configtest(self, *words: str) -> tuple[int, str]:
        """`apachectl configtest`, with further arguments: the exit code and the output."""
        done = subprocess.run(
            [*self._command(), "-t", *words],
            capture_output=True,
            text=True,
            check=False,
            **self._identity(),
        )
        return done.returncode, done.stdout + done.stderr

    def start(
        self,
        how: str = "daemon",
        timeout: float = 10.0,
        *,
        terminal: int | None = None,
        open_files: int | None = None,
    ) -> Httpd:
        """Starts httpd and waits until it logs that it serves. `terminal` is a descriptor of what
        becomes its controlling terminal; `open_files` limits its descriptors (ulimit -n).
        """

        def prepare() -> None:
            if terminal is not None:
                fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
            if open_files is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))

        since, self._how = self.log.mark(), how
        command = [*self._command(), *OPTIONS[how]]
        output = self.root / "logs" / "startup_output"
        with output.open("ab") as file:
            # A session of its own: in the foreground, prefork sends SIGTERM to its whole process
            # group, which would include us.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if terminal is None else terminal,
                stdout=file,
                stderr=file,
                env=self._start_environment(),
                start_new_session=True,
                preexec_fn=prepare if terminal is not None or open_files else None,
                **self._identity(),
            )
            if how == "daemon":
                code = process.wait(timeout)
                if code != 0:
                    raise StartFailed(
                        f"exit code {code}: {output.read_text()}{self.log_text(since)}"
                    )
            else:
                self._foreground = process
        ready = self._accepts if how == "debug" else lambda: bool(self.log.find(READY, since))
        wait_until(
            lambda: ready() or self._died(),
            lambda: f"httpd to serve: {self.log_text(since)}",
            timeout,
        )
        self._descriptors = len(processes.descriptors(self.pid))
        return self

    def stop(self, timeout: float = STOP_LIMIT, sign: int = signal.SIGTERM) -> None:
        """`apachectl stop` (or another signal that ends httpd): waits, and asserts that nothing is
        left.
        """
        parent = processes.find(self.pid)
        assert parent is not None, "httpd is not running"
        family = self.family()
        os.kill(parent.pid, sign)
        self._reap(timeout)
        wait_until(lambda: not parent.is_alive, "httpd's parent to leave", timeout)
        wait_until(
            lambda: not [p for p in family if p.is_alive], _names("still there: ", family), 2.0
        )
        self.assert_nothing_left()

    def graceful(self, timeout: float = 10.0) -> None:
        """`apachectl graceful`; returns when the new generation serves."""
        self._signal_and_wait(signal.SIGUSR1, timeout)

    def restart(self, timeout: float = 20.0) -> None:
        """`apachectl restart`; returns when the new generation serves."""
        self._signal_and_wait(signal.SIGHUP, timeout)

    def interrupt(self, timeout: float = STOP_LIMIT) -> None:
        """Presses Ctrl-C, as in a terminal, for an httpd in the foreground."""
        self.stop(timeout, signal.SIGINT)

    def remove(self) -> None:
        """Ends what still runs and deletes the ServerRoot; WSGID_KEEP=1 keeps it for inspection."""
        family = self.family()
        if self.is_running:
            os.kill(self.pid, signal.SIGTERM)
        for process in family:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGKILL)
        if self._foreground is not None:
            self._foreground.kill()
            self._foreground.wait()
        if os.environ.get("WSGID_KEEP") != "1":
            shutil.rmtree(self.root, ignore_errors=True)

    def _command(self) -> list[str]:
        defines = ["-DROOT_RUNS"] if os.geteuid() == 0 and self.user is None else []
        return [
            *self._limits,
            *self._capable_account(),
            machine.httpd(),
            "-d",
            str(self.root),
            "-f",
            str(self.root / "conf" / "httpd.conf"),
            *defines,
        ]

    def _capable_account(self) -> list[str]:
        """What becomes the account and keeps the capabilities."""
        if self.user is None or self._capabilities is None:
            return []
        entry, sets = pwd.getpwnam(self.user), self._capabilities
        become = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
        return ["setpriv", *become, f"--inh-caps={sets}", f"--ambient-caps={sets}"]

    def _identity(self) -> dict[str, Any]:
        if self.user is None or os.geteuid() != 0 or self._capabilities is not None:
            return {}
        entry = pwd.getpwnam(self.user)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def _start_environment(self) -> dict[str, str]:
        plain = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C",
        }
        sanitizer = machine.sanitizer_environment(self.root / "logs")
        # The sanitizers' libraries have to come before all others.
        preload = [
            extra["LD_PRELOAD"] for extra in (sanitizer, self._environment) if "LD_PRELOAD" in extra
        ]
        joined = {"LD_PRELOAD": ":".join(preload)} if preload else {}
        return {**plain, **sanitizer, **self._environment, **joined}

    def _accepts(self) -> bool:
        """Whether it listens and has written its PidFile: under -X, httpd does not log that it
        serves.
        """
        with contextlib.suppress(OSError):
            self.wire().close()
            return self.is_running
        return False

    def _died(self) -> bool:
        """Raises StartFailed if the process in the foreground has ended."""
        if self._foreground is not None and self._foreground.poll() is not None:
            raise StartFailed(f"exit code {self._foreground.returncode}: {self.log_text(0)}")
        return False

    def _reap(self, timeout: float) -> None:
        if self._foreground is not None:
            self._foreground.wait(timeout)
            self._foreground = None

    def _signal_and_wait(self, sign: int, timeout: float) -> None:
        since = self.log.mark()
        os.kill(self.pid, sign)
        wait_until(lambda: self.log.find(READY, since), f"{READY!r} after signal {sign}", timeout)

    # -------- checks

    def assert_no_leaked_descriptors(self) -> None:
        """Asserts that the parent has no more descriptors open than after its start; daemons may be
        restarting just now.

        Not under -X, where the parent is also the child that keeps connections to clients and
        daemons.
        """
        if not self.is_running or self._how == "debug":
            return
        wait_until(
            lambda: len(processes.descriptors(self.pid)) <= self._descriptors + self.slots_added,
            lambda: (
                f"the parent to have {self._descriptors} descriptors again: {processes.descriptors(self.pid)}"
            ),
            15.0,  # an old child of httpd may need ten, and keeps the guardian of a removed group
        )

    def assert_nothing_left(self) -> None:
        """Asserts that no process, no socket and no file is left but logs, configuration and what
        the test itself wrote.
        """
        left = processes.using(self.root)
        assert not left, _names("processes left: ", left)
        # Under -X, httpd itself leaves its PidFile behind.
        own = {self.root / "run" / "httpd.pid"} if self._how == "debug" else set()
        remains = [str(path) for path in (self.root / "run").rglob("*") if path not in own]
        remains += [str(path) for path in self.root.rglob("*") if path.is_socket()]
        remains += [
            str(path)
            for path in self.root.iterdir()
            if path.name not in ("conf", "logs", "run", "files")
        ]
        assert not remains, f"files left: {remains}"

    def unexpected(self) -> list[str]:
        """Lines in any of its logs that no test declared, and the sanitizers' reports."""
        lines = [
            f"{log.path.name}: {record}" for log in self._all_logs() for record in log.unexpected()
        ]
        reports = [path for path in (self.root / "logs").glob("sanitizer.*") if path.stat().st_size]
        return lines + [f"{path.name}: {path.read_text(errors='replace')}" for path in reports]

    def log_text(self, since: int = 0, limit: int = 8000) -> str:
        """The end of the error log, for a failure message."""
        with contextlib.suppress(FileNotFoundError):
            return self.log.path.read_bytes()[since:][-limit:].decode("utf-8", "replace")
        return ""

    def _all_logs(self) -> list[ErrorLog]:
        for path in (self.root / "logs").glob("*error_log"):
            self.log_of(path.name)
        return list(self._logs.values())

    # -------- daemons, guardians, and httpd's own children

    def family(self) -> list[Process]:
        """Every process that belongs to this httpd: its parent, what descends from that, and
        orphans that have files or sockets below the ServerRoot.
        """
        found = {process.pid: process for process in processes.using(self.root)}
        if self.is_running and (parent := processes.find(self.pid)):
            found |= {p.pid: p for p in (parent, *processes.descendants(parent.pid))}
        return list(found.values())

    def daemons(self, group: str | None = None) -> list[int]:
        """The pids of the daemons that run now, of one group ("" is the default group) or of
        all.
        """
        return _pids_of(self._supervised()[1], group)

    def sockets(self) -> set[str]:
        """The paths of all sockets. Those between guardians have the number of a configuration in
        their names, which is left out.
        """
        paths = (str(path) for path in self.root.rglob("*") if path.is_socket())
        return {re.sub(r"\d+\.(door|ask)$", r"\1", path) for path in paths}

    def guardians(self, group: str | None = None) -> list[int]:
        """The pids of the guardians that run now, of one group or of all; those of an older
        configuration, too.
        """
        return _pids_of(self._supervised()[0], group)

    def _supervised(self) -> tuple[list[Process], list[Process]]:
        """The guardians and the daemons. A daemon is a child of httpd's parent, of its guardian, or
        of the process that supervises under -X. It has its guardian's title until it executes
        Python.
        """
        below = [(p, p.command) for p in processes.descendants(self.pid)]
        titled = {p.pid: p for p, command in below if processes.is_guardian(command)}
        guardians = [p for p in titled.values() if p.parent not in titled]
        daemons = [p for p, command in below if processes.is_daemon(command)]
        return guardians, daemons + [p for p in titled.values() if p.parent in titled]

    def children(self) -> list[int]:
        """The pids of httpd's own children, which serve connections. Guardians and the wake-up
        process, which comes and goes, are not among them.
        """
        return sorted(
            p.pid
            for p in processes.children(self.pid)
            if not processes.is_daemon(command := p.command)
            and not processes.is_guardian(command)
            and p.name != "wsgid-wakeup"
        )

    def wait_for_daemons(
        self, group: str | None, count: int, without: Iterable[int] = (), timeout: float = 10.0
    ) -> list[int]:
        """Waits until the group has `count` daemons, none of them in `without`."""
        gone = set(without)

        def enough() -> tuple[list[int], ...]:
            now = self.daemons(group)
            return (now,) if len(now) == count and not gone & set(now) else ()

        return wait_until(
            enough,
            lambda: f"{count} daemons of {group!r}; there are {self.daemons(group)}",
            timeout,
        )[0]

    # -------- requests

    def url(self, path: str = "/", port: str = "PORT", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.ports[port]}{path}"

    def session(self) -> requests.Session:
        """A client with keep-alive that ignores the proxies of the environment."""
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self._certificates / "server.crt") if self._certificates else False
        return session

    def request(
        self, method: str, path: str = "/", *, port: str = "PORT", **options: Any
    ) -> requests.Response:
        """Sends one request on a connection of its own."""
        options.setdefault("timeout", REQUEST_LIMIT)
        scheme = options.pop("scheme", "http")
        with self.session() as session:
            return session.request(method, self.url(path, port, scheme), **options)

    def get(self, path: str = "/", **options: Any) -> requests.Response:
        return self.request("GET", path, **options)

    def post(self, path: str = "/", data: Any = None, **options: Any) -> requests.Response:
        return self.request("POST", path, data=data, **options)

    def wire(self, port: str = "PORT", timeout: float = 10.0) -> Wire:
        return Wire(self.ports[port], timeout)


def _pids_of(found: Iterable[Process], group: str | None) -> list[int]:
    return sorted(p.pid for p in found if group is None or _group_of(p) == group)


def _group_of(process: Process) -> str:
    """The name of the group of a daemon or guardian, from its title or else from its
    configuration.
    """
    before = process.command
    configuration = processes.configuration(process.pid)
    # A daemon sets its title before it closes its configuration: if neither was visible, the title
    # is set by now.
    match = re.search(r"wsgid:(\S*)", before) or (
        None if configuration else re.search(r"wsgid:(\S*)", process.command)
    )
    if match:
        return "" if match[1] == "%{GLOBAL}" else match[1]
    return configuration.get("group", "")


def _names(what: str, family: list[Process]) -> str:
    return what + ", ".join(f"{process.pid} {process.command!r}" for process in family)
