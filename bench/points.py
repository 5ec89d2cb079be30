"""The points of the real applications, as data: which view, in which framework, on which database,
with how many processes and connections.

The scenario measures them, the marks judge them, the report and the plot show them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench import databases

BOUNDARY = "a-line-between-parts"
UPLOAD_BYTES = 200_000


@dataclass(frozen=True)
class Kind:
    """A view of the real applications. `text` says what it does, `important` which mark it has."""

    name: str
    text: str
    important: bool = False
    method: str = "GET"
    content_type: str = ""
    body: bytes = b""

    @property
    def path(self) -> str:
        return f"/{self.name}"


def _form() -> bytes:
    return f"name={databases.NAME}&password={databases.PASSWORD.replace(' ', '+')}".encode()


def _upload() -> bytes:
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n'
    title = part % ("title", "") + "a document\r\n"
    document = part % ("document", '; filename="document"\r\nContent-Type: application/pdf')
    # Not random, so that each run sends the same; newlines are what a parser looks at.
    content = bytes(number * 7 % 256 for number in range(UPLOAD_BYTES))
    return title.encode() + document.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


KINDS = {
    kind.name: kind
    for kind in (
        Kind("json", "a small JSON document", important=True),
        Kind("query", "one query", important=True),
        Kind("queries", "20 queries", important=True),
        Kind("fortunes", "a page from a template after a query", important=True),
        Kind("updates", "5 rows read and written in a transaction"),
        Kind("plaintext", "a line of text"),
        Kind(
            "login",
            "a session log-in",
            method="POST",
            content_type="application/x-www-form-urlencoded",
            body=_form(),
        ),
        Kind(
            "upload",
            "an upload of 200 kB in a form",
            method="POST",
            content_type=f"multipart/form-data; boundary={BOUNDARY}",
            body=_upload(),
        ),
        Kind("report", "a report of 2 MB, streamed"),
        Kind("service", "calls another service, which takes 30 ms"),
        Kind("compute", "computes for 5 ms"),
    )
}
# So slow that few requests end within the usual seconds: 200 requests per second at most, or waves
# of 15 (service).
SLOW = {
    ("flask", "report"),
    ("flask", "service"),
    ("flask", "compute"),
    ("django", "queries"),
    ("django", "report"),
    ("django", "service"),
    ("django", "compute"),
}
FRAMEWORKS = ("flask", "django")
DATABASES = ("postgresql", "sqlite")
PROCESSES = (1, 2, 4)
CONNECTIONS = (1, 16, 64)
TITLES = {"flask": "Flask", "django": "Django", "postgresql": "PostgreSQL", "sqlite": "SQLite"}
SQLITE_KINDS = ("query", "fortunes", "updates")
# The full grid is measured with these.
GRID_FRAMEWORK, GRID_KINDS, GRID_THREADS = "flask", ("json", "query"), (1, 4, 15)


@dataclass(frozen=True)
class Point:
    framework: str
    database: str
    kind: str
    processes: int
    connections: int
    # Of every server, in the grid; 0 where each peer has its best number, and ours THREADS.
    threads: int = 0

    @property
    def is_slow(self) -> bool:
        return (self.framework, self.kind) in SLOW

    @property
    def name(self) -> str:
        database = f" on {TITLES[self.database]}" if self.database == "sqlite" else ""
        threads = f", {plural(self.threads, 'thread')}" if self.threads else ""
        return (
            f"{self.kind}, {TITLES[self.framework]}{database}, "
            f"{plural(self.processes, 'process', 'processes')}{threads}, "
            f"{plural(self.connections, 'connection')}"
        )


def plural(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def real_points() -> Iterator[Point]:
    """Where each peer has its own best number of threads. All have marks."""
    for framework in FRAMEWORKS:
        for processes in (1, 2):
            for kind in KINDS.values():
                for connections in (16, 64) if kind.important else (16,):
                    yield Point(framework, "postgresql", kind.name, processes, connections)
        for kind in SQLITE_KINDS:
            yield Point(framework, "sqlite", kind, 1, 16)


def grid_points() -> Iterator[Point]:
    """The same number of threads for all, to see what it does."""
    for processes in PROCESSES:
        for threads in GRID_THREADS:
            for kind in GRID_KINDS:
                for connections in CONNECTIONS:
                    yield Point(GRID_FRAMEWORK, "postgresql", kind, processes, connections, threads)


def peer_of(contender: str) -> str:
    """The peer's name: "granian" of "granian:4", which is granian with 4 threads."""
    return contender.partition(":")[0]


def threads_of(contender: str) -> int | None:
    """The number of threads in the name of a contender, if there is one."""
    number = contender.partition(":")[2]
    return int(number) if number else None


@dataclass(frozen=True)
class Selection:
    """Which points to measure; an empty tuple takes all."""

    kinds: tuple[str, ...] = ()
    frameworks: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    processes: tuple[int, ...] = ()
    connections: tuple[int, ...] = ()

    def takes(self, point: Point) -> bool:
        wanted = (
            (self.kinds, point.kind),
            (self.frameworks, point.framework),
            (self.databases, point.database),
            (self.processes, point.processes),
            (self.connections, point.connections),
        )
        return all(not chosen or value in chosen for chosen, value in wanted)
