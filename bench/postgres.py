"""A PostgreSQL server of the bench's own, in a temporary directory and reachable only over a UNIX
socket.

It runs as the applications' user, so that no password is needed. Nothing of it is left after
stop().
"""

from __future__ import annotations

import contextlib
import glob
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from httpdenv import machine, wait_until

from bench import family, user

# Enough for every server of a run: each thread of each process may hold a connection.
CONNECTIONS = 1500
START_LIMIT = 30.0


class NoPostgres(RuntimeError):
    """PostgreSQL's server is not installed."""


def tool(name: str) -> str:
    """The path of a program of the server package, which distributions keep off PATH."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}")) or [shutil.which(name)]
    if not found[-1]:
        raise NoPostgres(f"no {name}: on Debian and Ubuntu, apt-get install postgresql")
    return found[-1]


@dataclass(frozen=True)
class Server:
    """`connection` is the connection string, `pid` the process from which all others descend."""

    connection: str
    pid: int

    def processes(self) -> list[int]:
        """The server's processes: one for each connection, and those that look after the rest."""
        return [self.pid, *family.children(self.pid)]


@contextlib.contextmanager
def database(tables: str) -> Iterator[Server]:
    """Yields a running server, on which the SQL of `tables` was executed."""
    top = machine.temporary_directory("wsgid-postgres-")
    user.give(top)
    name = user.account().pw_name
    try:
        with _server(top, name) as pid:
            string = f"host={top} user={name} dbname=postgres"
            subprocess.run(
                [tool("psql"), "-q", string],
                input=tables,
                text=True,
                check=True,
                cwd=top,
                **user.identity(),
            )
            yield Server(string, pid)
    finally:
        shutil.rmtree(top, ignore_errors=True)


@contextlib.contextmanager
def _server(top: Path, name: str) -> Iterator[int]:
    data, identity = top / "data", user.identity()
    subprocess.run(
        [tool("initdb"), "-D", data, "-U", name, "--auth=trust", "--no-sync"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=top,
        **identity,
    )
    settings = [
        "listen_addresses=",
        f"unix_socket_directories={top}",
        "fsync=off",
        f"max_connections={CONNECTIONS}",
    ]
    command = [tool("postgres"), "-D", data, *(word for text in settings for word in ("-c", text))]
    with (top / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=top, **identity)
    try:
        socket = top / ".s.PGSQL.5432"
        wait_until(
            lambda: _is_up(top, name) or process.poll() is not None,
            lambda: f"PostgreSQL at {socket}: {(top / 'log').read_text()}",
            START_LIMIT,
        )
        if process.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended: {(top / 'log').read_text()}")
        yield process.pid
    finally:
        # The fast shutdown, which does not wait for clients to disconnect.
        process.send_signal(signal.SIGINT)
        process.wait(START_LIMIT)


def _is_up(top: Path, name: str) -> bool:
    command = [tool("pg_isready"), "-q", "-h", top, "-U", name]
    return subprocess.run(command, check=False, cwd=top, **user.identity()).returncode == 0
