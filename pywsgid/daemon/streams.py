"""sys.stdout and sys.stderr of the application: what is written there becomes lines of the log.

Rules: any thread may write, and each has an unfinished line of its own. A record that a
StreamHandler of `logging` writes keeps its level (application/log_records.py).
"""

from __future__ import annotations

import io
import sys

from pywsgid.daemon import logs
from pywsgid.daemon.cpython import Local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Stream(io.TextIOBase):
    """sys.stdout or sys.stderr. `descriptor` is what fileno() returns."""

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    mode = "w"
    line_buffering = True
    write_through = False
    # Whether any thread has ever left a line unfinished: only then is it checked after a request.
    has_begun = False

    def __init__(self, log: logs.Log, level: int, name: str, descriptor: int) -> None:
        self._log = log
        self._level = level
        self._descriptor = descriptor
        self._started = Local()  # .text: the unfinished line of a thread
        self.name = name
        self.buffer = Bytes(self)

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not " + type(text).__name__)
        record = logs.current_record() if logs.current_record is not None else None
        if record is not None:
            record.log(self._log.write_lines, self._level, text)
        else:
            self._write(text)
        return len(text)

    def _write(self, text: str) -> None:
        started = self._started
        whole = getattr(started, "text", "") + text
        if "\n" in whole:
            whole, _, started.text = whole.rpartition("\n")
            self._log.write_lines(self._level, logs.loose_lines(whole + "\n"))
        elif len(whole) >= logs.LINE_MAX:
            started.text = ""
            self._log.write_lines(self._level, logs.loose_lines(whole))
        else:
            started.text = whole
        if started.text:
            self.has_begun = True

    def flush(self) -> None:
        """Logs the unfinished line of this thread."""
        text = getattr(self._started, "text", "")
        if text:
            self._started.text = ""
            self._log.write_lines(self._level, logs.loose_lines(text))

    def close(self) -> None:
        """Only flushes: the interpreter and the next print() still need the stream."""
        self.flush()

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def detach(self) -> Any:
        """The buffer; the stream itself can be used as before."""
        return self.buffer

    def reconfigure(self, **_: object) -> None:
        """Does nothing: programs ask for UTF-8 or line buffering, and the stream has both."""


class Bytes(io.BufferedIOBase):
    """The `buffer` of a text stream of ours. Programs put a TextIOWrapper around it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    @property
    def raw(self) -> Any:
        return self

    @property
    def name(self) -> str:
        return str(self._stream.name)

    mode = "wb"

    def write(self, data: Any) -> int:
        self._stream.write(str(data, "utf-8", "backslashreplace"))
        return len(data)

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        """Does nothing: a wrapper that goes flushes it and closes it."""

    def fileno(self) -> int:
        descriptor: int = self._stream.fileno()
        return descriptor

    def writable(self) -> bool:
        return True


def capture_streams(log: logs.Log) -> tuple[Stream, Stream]:
    """Replaces sys.stdout and sys.stderr; returns the two streams."""
    stdout = Stream(log, logs.NOTICE, "<stdout>", 1)
    stderr = Stream(log, logs.WARN, "<stderr>", 2)
    sys.stdout, sys.stderr = stdout, stderr
    return stdout, stderr
