"""A PostgreSQL server of the bench's own, in a temporary directory and reachable only over a UNIX
socket.

It runs as the applications' user, so that no password is needed. Nothing of it is left after
stop().
"""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from httpdenv import machine, wait_until

TABLES = """
CREATE TABLE world (id integer PRIMARY KEY, value integer NOT NULL);
INSERT INTO world SELECT n, (n * 7919) % 10000 FROM generate_series(1, 10000) AS n;
CREATE TABLE fortune (id integer PRIMARY KEY, name text NOT NULL);
INSERT INTO fortune SELECT n, 'fortune ' || md5(n::text) FROM generate_series(1, 1000) AS n;
ANALYZE;
"""
START_LIMIT = 30.0


class NoPostgres(RuntimeError):
    """PostgreSQL's server is not installed."""


def tool(name: str) -> str:
    """The path of a program of the server package, which distributions keep off PATH."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}")) or [shutil.which(name)]
    if not found[-1]:
        raise NoPostgres(f"no {name}: on Debian and Ubuntu, apt-get install postgresql")
    return found[-1]


@contextlib.contextmanager
def database() -> Iterator[str]:
    """Yields the connection string of a running server with the tables of
    bench/apps/application.py.
    """
    account = pwd.getpwnam(machine.web_user()) if os.geteuid() == 0 else pwd.getpwuid(os.getuid())
    top = machine.temporary_directory("wsgid-postgres-")
    os.chown(top, account.pw_uid, account.pw_gid)
    identity = {"user": account.pw_uid, "group": account.pw_gid} if os.geteuid() == 0 else {}
    try:
        with _server(top, account.pw_name, identity):
            string = f"host={top} user={account.pw_name} dbname=postgres"
            subprocess.run(
                [tool("psql"), "-q", string], input=TABLES, text=True, check=True, **identity
            )
            yield string
    finally:
        shutil.rmtree(top, ignore_errors=True)


@contextlib.contextmanager
def _server(top: Path, user: str, identity: dict[str, int]) -> Iterator[None]:
    data = top / "data"
    subprocess.run(
        [tool("initdb"), "-D", data, "-U", user, "--auth=trust", "--no-sync"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=top,
        **identity,
    )
    settings = ["listen_addresses=", f"unix_socket_directories={top}", "fsync=off"]
    command = [tool("postgres"), "-D", data, *(word for text in settings for word in ("-c", text))]
    with (top / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=top, **identity)
    try:
        socket = top / ".s.PGSQL.5432"
        wait_until(
            lambda: _is_up(top, user, identity) or process.poll() is not None,
            lambda: f"PostgreSQL at {socket}: {(top / 'log').read_text()}",
            START_LIMIT,
        )
        if process.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended: {(top / 'log').read_text()}")
        yield
    finally:
        process.terminate()
        process.wait(START_LIMIT)


def _is_up(top: Path, user: str, identity: dict[str, int]) -> bool:
    done = subprocess.run(
        [tool("pg_isready"), "-q", "-h", top, "-U", user], check=False, **identity
    )
    return done.returncode == 0
