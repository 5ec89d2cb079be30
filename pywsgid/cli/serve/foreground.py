"""An httpd in the foreground: started, its log passed on to the terminal, its address announced,
ended with all it has.

Rules: httpd runs in a session of its own, so that Ctrl-C reaches this process alone and the stop
has one author; both of its outputs go through one pipe of ours, because /dev/stderr can then be
opened again whatever our own is. What it serves is site.py's.
"""

from __future__ import annotations

import ctypes
import http.client
import math
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pywsgid.cli.messages import Failure, note

# What httpd needs to stop when its daemons have had their time.
STOP_MARGIN = 3
# What daemons get to finish when httpd was killed.
ORPHAN_LIMIT = 2
PROBE_PAUSE = 0.02
# By this name our own look whether it answers is kept out of the access log.
PROBE_NAME = "pywsgid-probe"
PR_SET_PDEATHSIG = 1
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


class Stop(BaseException):
    """A signal asked for the end, or for a quicker one."""


@dataclass(frozen=True)
class Address:
    """Where the application answers first: what is printed, and what is looked at."""

    scheme: str
    host: str
    port: int
    path: str = "/"

    @property
    def url(self) -> str:
        name = "localhost" if self.host in ("127.0.0.1", *ANY_ADDRESS) else bracketed(self.host)
        return f"{self.scheme}://{name}:{self.port}{self.path}"

    def first_answer(self) -> int | None:
        """The status of a request, or None if nobody listens yet."""
        host = ANY_ADDRESS.get(self.host, self.host)
        connection = (
            http.client.HTTPSConnection(host, self.port, context=ssl._create_unverified_context())
            if self.scheme == "https"
            else http.client.HTTPConnection(host, self.port)
        )
        try:
            connection.request("GET", self.path, headers={"User-Agent": PROBE_NAME})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def serve(command: list[str], what: str, address: Address, shutdown_timeout: float) -> int:
    """Runs httpd until it ends or a signal comes: 0 then. Failure if it ends by itself."""
    process = start(command)
    threading.Thread(target=watch, args=(process, what, address), daemon=True).start()
    try:
        pass_log_on(process)
        status = process.wait()
    except Stop:
        end(process, shutdown_timeout + STOP_MARGIN)
        return 0
    raise Failure(
        "WSGID0407", f"httpd ended by itself ({describe(status)})", "see its log lines above"
    )


def start(command: list[str]) -> subprocess.Popen[bytes]:
    libc = ctypes.CDLL(None, use_errno=True)

    def die_with_us() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    return subprocess.Popen(
        command,
        bufsize=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=die_with_us,
    )


def pass_log_on(process: subprocess.Popen[bytes]) -> None:
    """Returns when the last process that holds the log has gone: httpd, its children and every
    daemon.
    """
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    while chunk := os.read(descriptor, 65536):
        write_all(sys.stderr.fileno(), chunk)


def write_all(descriptor: int, chunk: bytes) -> None:
    """A terminal that has gone away means stop."""
    while chunk:
        try:
            chunk = chunk[os.write(descriptor, chunk) :]
        except BrokenPipeError:
            raise Stop from None


def end(process: subprocess.Popen[bytes], limit: float) -> None:
    """Asks httpd to stop; after `limit` seconds, or at a second Ctrl-C, ends what is left of its
    session.
    """
    try:
        process.terminate()
        signal.alarm(math.ceil(limit))
        pass_log_on(process)
        await_exit(process)
    except Stop:
        note("stopping the hard way")
    finally:
        signal.alarm(0)
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal_session(process, signal.SIGKILL)
        process.wait()


def await_exit(process: subprocess.Popen[bytes]) -> None:
    """Without reaping it: its number stays its own, and the session's, until that is done."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def has_exited(process: subprocess.Popen[bytes]) -> bool:
    with suppress(ChildProcessError):
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    return True


def signal_session(process: subprocess.Popen[bytes], number: int) -> None:
    """To all that is left of the session of a process that has not been reaped."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def describe(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def watch(process: subprocess.Popen[bytes], what: str, address: Address) -> None:
    """Announces; then ends what outlives httpd: when it is killed, its children heed nothing but
    SIGKILL.
    """
    announce(process, what, address)
    with suppress(ChildProcessError):
        await_exit(process)
    signal_session(process, signal.SIGTERM)
    time.sleep(ORPHAN_LIMIT)
    signal_session(process, signal.SIGKILL)


def announce(process: subprocess.Popen[bytes], what: str, address: Address) -> None:
    """Prints the address once something answers there."""
    while process.returncode is None and not has_exited(process):
        status = address.first_answer()
        if status is None:
            time.sleep(PROBE_PAUSE)
            continue
        trouble = f", but answers with status {status}: the log says why" if status >= 500 else ""
        print(f"{what} is served at {address.url} (Ctrl-C stops){trouble}", flush=True)
        return


@contextmanager
def stop_signals() -> Iterator[None]:
    """Within it each stop signal raises Stop, even if the shell that started us in the background
    had it ignored.
    """
    before = {number: signal.signal(number, raise_stop) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_stop(number: int, frame: object) -> None:
    raise Stop
