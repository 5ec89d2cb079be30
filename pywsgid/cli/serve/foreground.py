"""Runs an httpd in the foreground: starts it, copies its log to the terminal, prints its address,
and stops it with all its processes.

Rules: httpd gets a session of its own. Ctrl-C then reaches this process alone, and only this
process stops httpd. Both of httpd's outputs go through one pipe, because httpd can open /dev/stderr
again then, whatever stderr of this process is. What httpd serves is not known here
(httpd_conf.py).
"""

from __future__ import annotations

import ctypes
import math
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pywsgid.cli.messages import Failure, note
from pywsgid.cli.processes import has_exited, signal_session, wait_for_exit
from pywsgid.cli.serve.address import Address

STOP_MARGIN = 3  # seconds for httpd to stop after its daemons had theirs
ORPHAN_LIMIT = 2  # seconds for daemon processes to finish after httpd was killed
HEAL_INTERVAL = 1.0  # seconds between two looks at the files of the server root
PROBE_PAUSE = 0.02  # seconds between two requests that find out whether httpd answers
PR_SET_PDEATHSIG = 1  # prctl(2)
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


class Stop(BaseException):
    """A signal asks this process to stop; a second one, to stop at once."""


def serve(
    command: list[str],
    name: str,
    address: Address,
    shutdown_timeout: float,
    heal: Callable[[], bool],
) -> int:
    """Runs httpd until a signal comes, and returns 0 then. `name` is what it serves. `heal` is
    called each second; when it returns True, httpd restarts gracefully.

    Call it within stop_signals(). Raises Failure if httpd ends by itself.
    """
    process = start(command)
    threading.Thread(target=watch, args=(process, name, address), daemon=True).start()
    try:
        copy_log(process, heal)
        status = process.wait()
    except Stop:
        stop(process, shutdown_timeout + STOP_MARGIN)
        return 0
    raise Failure(
        "WSGID0407",
        f"httpd ended by itself ({describe(status)})",
        "read its own log lines above: they name the cause",
    )


def start(command: list[str]) -> subprocess.Popen[bytes]:
    """Starts httpd. It gets SIGTERM should this process be killed."""
    libc = ctypes.CDLL(None, use_errno=True)

    def end_with_parent() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    return subprocess.Popen(
        command,
        bufsize=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=end_with_parent,
    )


def copy_log(process: subprocess.Popen[bytes], heal: Callable[[], bool] = lambda: False) -> None:
    """Copies the log to stderr until the last process that holds it has ended: httpd, its children
    and the daemons. Raises Stop if the terminal has gone."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    due = time.monotonic() + HEAL_INTERVAL
    while True:
        if time.monotonic() >= due:
            if heal():
                process.send_signal(signal.SIGUSR1)
            due = time.monotonic() + HEAL_INTERVAL
        if not select.select([descriptor], [], [], HEAL_INTERVAL)[0]:
            continue
        chunk = os.read(descriptor, 65536)
        if not chunk:
            return
        write_all(sys.stderr.fileno(), chunk)


def write_all(descriptor: int, chunk: bytes) -> None:
    while chunk:
        try:
            chunk = chunk[os.write(descriptor, chunk) :]
        except BrokenPipeError:
            raise Stop from None


def stop(process: subprocess.Popen[bytes], limit: float) -> None:
    """Asks httpd to stop. After `limit` seconds, or at a second Ctrl-C, kills what is left of its
    session."""
    try:
        process.terminate()
        signal.alarm(math.ceil(limit))
        copy_log(process)
        wait_for_exit(process)
    except Stop:
        note("httpd has not stopped yet: killing it")
    finally:
        signal.alarm(0)
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal_session(process, signal.SIGKILL)
        process.wait()


def describe(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def watch(process: subprocess.Popen[bytes], name: str, address: Address) -> None:
    """Prints the address once httpd answers. After httpd has ended, ends what it left behind: when
    httpd is killed, its children react to nothing but SIGKILL. Runs in a thread of its own."""
    announce(process, name, address)
    with suppress(ChildProcessError):
        wait_for_exit(process)
    signal_session(process, signal.SIGTERM)
    time.sleep(ORPHAN_LIMIT)
    signal_session(process, signal.SIGKILL)


def announce(process: subprocess.Popen[bytes], name: str, address: Address) -> None:
    """Waits until something answers at the address, and prints it."""
    while process.returncode is None and not has_exited(process):
        status = address.status()
        if status is None:
            time.sleep(PROBE_PAUSE)
            continue
        problem = f", but answers with status {status}: the log says why" if status >= 500 else ""
        print(f"{name} is served at {address.url} (Ctrl-C stops){problem}", flush=True)
        return


@contextmanager
def stop_signals() -> Iterator[None]:
    """Within it, each stop signal raises Stop, even if this process inherited it ignored, as from a
    shell that starts it in the background."""
    before = {number: signal.signal(number, raise_stop) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_stop(number: int, frame: object) -> None:
    raise Stop
