"""Reads httpd's error log by position, so that every line in it is either expected or a failure.

A record begins with httpd's own prefix, ``[time] [module:level] [pid N:tid M] ...``. It also
includes the lines without such a prefix that follow it, and the continuation lines that our module
marks (``| ``, ``WSGIDnnnn | ``), without their marks. A line without a prefix at the very beginning
of the log is a record of its own, without a level.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from httpdenv.waiting import wait_until

PREFIX = re.compile(
    r"\[(?P<time>[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d [^\]]+)\] \[(?P<module>[\w.-]*):(?P<level>\w+)\] "
    r"\[pid (?P<pid>\d+)(?::tid \d+)?\] ?(?P<text>.*)"
)
LATE = 5.0
SEVERE = {"emerg", "alert", "crit", "error", "warn"}
# httpd reports a crash of its child at notice; sanitizers and the interpreter write without a
# level.
FORBIDDEN = re.compile(
    r"exit signal|Sanitizer|runtime error:|Traceback|Exception ignored|Fatal Python error|garbage collected without"
)
# What httpd logs at warn about the machine, or about a server as small as ours. No test causes
# these lines.
HARMLESS = re.compile(
    # mod_ssl was compiled against another patch level of OpenSSL than the installed one
    r"^AH01882:"
    r"|^AH01873:"  # no SSLSessionCache: nothing here resumes a session
    # all threads of httpd are busy; logged up to a second later
    r"|^AH00484:|^AH10159:"
    # a child of httpd that stops finds its pollset closed when it would keep a connection
    r"|AH03093:"
)
# The context before the application's own text: [client ...], [group ...], [request ...]. At debug,
# httpd adds the place in the source.
_CONTEXT = r"(?:apxs/[\w/]+\.c\(\d+\): )?(?:\[(?:client|remote|group|request) [^\]]*\] ?)"
CONTEXT = re.compile(f"^{_CONTEXT}+")
# A continuation line of a record: its context, the code of the record it belongs to, and the rest.
CONTINUED = re.compile(rf"(?P<context>{_CONTEXT}*)(?P<code>WSGID\d{{4}} |)\| (?P<rest>.*)")
TRACEBACK = "Traceback (most recent call last)"
# What may appear between two tracebacks of one exception.
CHAINED = ("During handling of", "The above exception")


@dataclass(frozen=True)
class Record:
    """One record of the log, and where it begins."""

    position: int
    level: str
    module: str
    pid: int
    text: str

    def matches(self, pattern: str) -> bool:
        return re.search(pattern, self.text) is not None

    @property
    def message(self) -> str:
        """The text without the context that httpd or the daemon puts before it."""
        return CONTEXT.sub("", self.text)

    @property
    def is_bad(self) -> bool:
        if FORBIDDEN.search(self.text):
            return True
        return self.level in SEVERE and not HARMLESS.search(self.text)

    def __str__(self) -> str:
        return f"[{self.module}:{self.level}] [pid {self.pid}] {self.text}"


class ErrorLog:
    """One ErrorLog file. Positions are byte offsets; a file that does not exist yet counts as
    empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._checked = 0
        self._accepted: set[int] = set()
        self._allowed: list[tuple[float, tuple[str, ...], int]] = []  # until when, what, from where

    def mark(self) -> int:
        """Returns the position where the log ends now."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def records(self, since: int = 0) -> list[Record]:
        """The records, of complete lines, that begin at `since` or later."""
        return _joined(_parse(self._lines(since), since))

    def _lines(self, since: int) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(since)
                data = file.read()
        except FileNotFoundError:
            return b""
        return data[: data.rfind(b"\n") + 1]

    def find(self, pattern: str, since: int = 0) -> list[Record]:
        return [record for record in self.records(since) if record.matches(pattern)]

    def wait_for(self, pattern: str, since: int = 0, timeout: float = 5.0) -> Record:
        """Returns the first record from `since` on that matches. If it is a bad one, it counts as
        declared.
        """
        record = wait_until(
            lambda: self.find(pattern, since), f"{pattern!r} in {self.path.name}", timeout
        )[0]
        self._accepted.add(record.position)
        return record

    @contextmanager
    def expects(self, *patterns: str, timeout: float = 5.0) -> Iterator[list[Record]]:
        """Declares that every pattern will match a record logged within the `with` block.

        Matching records are accepted; if one begins a traceback, the whole traceback is. The list
        that the block receives holds the matching records once the block has ended.
        """
        since, found = self.mark(), []
        yield found
        for pattern in patterns:
            self.wait_for(pattern, since, timeout)
        found.extend(self._accept(patterns, since))

    @contextmanager
    def allows(self, *patterns: str) -> Iterator[None]:
        """Like expects(), but a pattern need not match: for lines that depend on which of two
        processes is faster. A matching line may also come LATE seconds after the block: what a
        daemon prints goes through its guardian.
        """
        since = self.mark()
        yield
        self._allowed.append((time.monotonic() + LATE, patterns, since))

    def accept_all(self, *patterns: str) -> None:
        """Accepts matching records in the whole log, earlier ones too: for a server that tests one
        failure only.
        """
        self._accept(patterns, 0)

    def _accept(self, patterns: tuple[str, ...], since: int) -> list[Record]:
        records = self.records(since)
        matched = [
            record for record in records if any(record.matches(pattern) for pattern in patterns)
        ]
        self._accepted.update(record.position for record in matched)
        for record in matched:
            if TRACEBACK in record.text:
                self._accepted.update(r.position for r in _rest_of_traceback(record, records))
        return matched

    def unexpected(self) -> list[Record]:
        """Returns the bad records that were not accepted and that no earlier call returned."""
        lines = self._lines(self._checked)
        self._accept_allowed()
        new = _joined(_parse(lines, self._checked))
        self._checked += len(lines)
        if any(CONTINUED.match(record.text) for record in new):  # maybe of an earlier record
            first_lines = {record.position for record in self.records()}
            new = [record for record in new if record.position in first_lines]
        return [record for record in new if record.is_bad and record.position not in self._accepted]

    def _accept_allowed(self) -> None:
        for _, patterns, since in self._allowed:
            self._accept(patterns, since)
        now = time.monotonic()
        self._allowed = [allowed for allowed in self._allowed if allowed[0] > now]


def _rest_of_traceback(first: Record, records: list[Record]) -> Iterator[Record]:
    """The records that follow `first` from the same process, up to the line that names the
    exception, chained exceptions included.
    """
    open_still = True
    for record in records:
        if record.pid != first.pid or record.position <= first.position:
            continue
        message = record.message
        if message.startswith((TRACEBACK, *CHAINED)):
            open_still = True
        elif not open_still and message.strip():
            return
        elif message.strip() and not message.startswith(" "):
            open_still = False
        yield record


def _parse(data: bytes, start: int) -> Iterator[Record]:
    """Parses complete lines into records; `start` is the offset of the first byte."""
    current: Record | None = None
    position = start
    for raw in data.splitlines(keepends=True):
        line = raw.decode("utf-8", "backslashreplace").rstrip("\r\n")
        match = PREFIX.match(line)
        if match or current is None:
            if current is not None:
                yield current
            current = _record(position, line, match)
        else:
            current = Record(
                current.position,
                current.level,
                current.module,
                current.pid,
                f"{current.text}\n{line}",
            )
        position += len(raw)
    if current is not None:
        yield current


def _joined(records: Iterator[Record]) -> list[Record]:
    """The records, each continuation line joined to the record it continues."""
    found: list[Record] = []
    last: dict[tuple[int, str, str], int] = {}  # pid, context and code -> index in `found`
    for record in records:
        match = CONTINUED.match(record.text)
        context = (
            match["context"] if match else record.text[: len(record.text) - len(record.message)]
        )
        code = match["code"].strip() if match else record.message[: len("WSGID0000")]
        key = record.pid, context, code if code.startswith("WSGID") else ""
        if match and key in last:
            before = found[last[key]]
            found[last[key]] = replace(before, text=f"{before.text}\n{match['rest']}")
        else:
            last[key] = len(found)
            text = f"{match['context']}{match['code']}| {match['rest']}" if match else record.text
            found.append(replace(record, text=text))
    return found


def _record(position: int, line: str, match: re.Match[str] | None) -> Record:
    if match is None:
        return Record(position, "", "", 0, line)
    return Record(position, match["level"], match["module"], int(match["pid"]), match["text"])
