"""What the real applications need beside their server: PostgreSQL, SQLite, and another HTTP service.

All of it is the bench's own and ends with it. The applications find it in `settings.json` beside
their scripts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import postgres, user

ROWS = 10000
FORTUNES, ACCOUNTS = 12, 100
NAME, PASSWORD, SALT = "account42", "a password", "salt"


@dataclass(frozen=True)
class Around:
    """The processes around the application: of the database, and of the other service."""

    postgresql: postgres.Server

    def database_processes(self) -> list[int]:
        return self.postgresql.processes()


def tables() -> Iterator[str]:
    """SQL that both databases understand."""
    yield "CREATE TABLE world (id integer PRIMARY KEY, value integer NOT NULL)"
    yield "CREATE TABLE fortune (id integer PRIMARY KEY, message text NOT NULL)"
    yield "CREATE TABLE account (name varchar(50) PRIMARY KEY, password text NOT NULL)"
    worlds = (f"({number},{number * 7919 % ROWS})" for number in range(1, ROWS + 1))
    yield f"INSERT INTO world VALUES {','.join(worlds)}"
    texts = (f"({number},'{_fortune(number)}')" for number in range(1, FORTUNES + 1))
    yield f"INSERT INTO fortune VALUES {','.join(texts)}"
    accounts = (f"('account{number}','{_stored()}')" for number in range(ACCOUNTS))
    yield f"INSERT INTO account VALUES {','.join(accounts)}"
    yield "ANALYZE"


def _fortune(number: int) -> str:
    """One of them has to be escaped."""
    text = hashlib.md5(str(number).encode()).hexdigest() * 2
    return f"<script>alert({number})</script>" if number == 1 else f"A fortune: {text}"


def _stored() -> str:
    """As kinds.py of the applications checks it."""
    return f"{SALT}${hashlib.pbkdf2_hmac('sha256', PASSWORD.encode(), SALT.encode(), 1000).hex()}"


@contextlib.contextmanager
def around(apps: Path) -> Iterator[Around]:
    """Starts everything and writes `settings.json` into the directory of the applications.

    Raises postgres.NoPostgres.
    """
    sql = ";\n".join(tables())
    with postgres.database(f"{sql};\n") as server, service(apps) as port:
        settings = {
            "postgresql": server.connection,
            "sqlite": str(make_sqlite(apps / "sqlite")),
            "service": f"http://127.0.0.1:{port}/",
        }
        (apps / "settings.json").write_text(json.dumps(settings))
        yield Around(server)


def make_sqlite(directory: Path) -> Path:
    """A database that is written as servers write it: readers do not wait for writers (WAL)."""
    directory.mkdir(exist_ok=True)
    path = directory / "database"
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for statement in tables():
            connection.execute(statement)
        connection.commit()
    for made in (directory, *directory.iterdir()):
        user.give(made)
    return path


@contextlib.contextmanager
def service(apps: Path) -> Iterator[int]:
    """Yields the port of the other HTTP service."""
    command = [sys.executable, str(apps / "service.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()
