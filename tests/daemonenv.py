"""A daemon without httpd: the real process on real descriptors, and a client that speaks httpd's
side of the wire.

with Daemon(tmp_path, scripts=["hello.wsgi"]) as daemon:
    reply = daemon.connect().get("hello.wsgi")
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from httpdenv.waiting import wait_until
from wire.conversation import Parser

from pywsgid.daemon.transport import extension
from pywsgid.wire import process_abi, protocol

ROOT = Path(__file__).resolve().parents[1]
APPS = ROOT / "tests" / "apps"
LIMIT = 15  # seconds that anything here may take
IDS = itertools.count(1)


@dataclass
class Reply:
    """The daemon's answer to a request."""

    status: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    frames: list[tuple[str, bool]] = field(default_factory=list)  # (name, has END)
    logs: list[tuple[int, str]] = field(default_factory=list)
    abort: tuple[int, str] | None = None
    retry: bool = False
    overloaded: bool = False
    interim: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)
    file: tuple[int, int] | None = None  # offset and length in FILE; its bytes are in `body`
    complete: bool = False
    granted: int = 0

    @property
    def log_text(self) -> str:
        return "\n".join(text for _, text in self.logs)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class Client:
    """A connection to the daemon, as a child of httpd opens it."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(LIMIT)
        self.socket.connect(path)
        self.parser = Parser(protocol.FROM_DAEMON)
        self.descriptors: list[int] = []  # descriptors received with frames
        self.started: tuple[int, int] | None = None  # from STARTED: pid, microseconds waited

    def close(self) -> None:
        self.socket.close()
        while self.descriptors:
            os.close(self.descriptors.pop())

    def send(self, *parts: bytes) -> None:
        self.socket.sendall(b"".join(parts))

    def request(
        self,
        script: str | Path,
        body: bytes = b"",
        *,
        end: bool = True,
        on_demand: bool = False,
        sent: int | None = None,
        **environ: str,
    ) -> None:
        """Sends REQUEST. Keywords are environ keys, with `__` for a dot. `sent` is the time that
        the request claims; default: now.
        """
        values = {
            "REQUEST_METHOD": "POST" if body else "GET",
            "REQUEST_URI": environ.get("PATH_INFO", "/"),
            "SCRIPT_FILENAME": str(APPS / script),
            "SCRIPT_NAME": "",
            "PATH_INFO": "/",
            "QUERY_STRING": "",
            "REQUEST_SCHEME": "http",
            "wsgi.url_scheme": "http",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "mod_wsgi.callable_object": "application",
            "mod_wsgi.request_start": str(int(time.time() * 1e6)),
        }
        values |= {key.replace("__", "."): value for key, value in environ.items()}
        block = protocol.encode_environ(values)
        flags = (protocol.END if end else 0) | (protocol.ON_DEMAND if on_demand else 0)
        sent = time.time_ns() // 1000 if sent is None else sent
        self.send(
            *protocol.encode_request(
                next(IDS), block, body, flags, sent, block.index(b"REQUEST_METHOD\0")
            )
        )
        self.started = None

    def frame(self) -> tuple[int, int, bytes] | None:
        """The next frame after STARTED, which is stored in `started`; None at the end of the
        connection.
        """
        found = self._frame()
        if found and self.started is None:
            assert found[:2] == (protocol.STARTED, 0)
            self.started = protocol.parse_started(found[2])
            found = self._frame()
        assert not found or found[0] != protocol.STARTED
        return found

    def _frame(self) -> tuple[int, int, bytes] | None:
        while (found := self.parser.next_frame()) is None:
            data, descriptors, _, _ = socket.recv_fds(self.socket, 65536, 1)
            self.descriptors += descriptors
            if not data:
                self.parser.eof()
                return None
            self.parser.feed(data)
        return found

    def reply(self, body: Callable[[int], bytes | None] | None = None) -> Reply:
        """Reads to the end of the exchange. Calls `body` with each credit for the data to send;
        None from it sends END.
        """
        reply = Reply()
        while not (reply.complete or reply.abort or reply.retry or reply.overloaded):
            frame = self.frame()
            if frame is None:
                break
            self._take(reply, *frame)
            if frame[0] == protocol.CREDIT and body is not None:
                self._feed(body, protocol.parse_credit(frame[2]))
        return reply

    def _feed(self, body: Callable[[int], bytes | None], credit: int) -> None:
        piece = body(credit)
        self.send(*protocol.encode_body(piece or b"", end=piece is None))

    def _take(self, reply: Reply, kind: int, flags: int, payload: bytes) -> None:
        end = bool(flags & protocol.END)
        reply.frames.append((protocol.type_name(kind), end))
        reply.complete |= end
        if kind == protocol.RESPONSE:
            head, first = protocol.parse_response(payload)
            reply.status, reply.headers = protocol.parse_head(head)
            reply.body += first
        elif kind == protocol.DATA:
            reply.body += payload
        elif kind == protocol.FILE:
            reply.file = protocol.parse_file(payload)
            reply.body += self._read_file(*reply.file)
        elif kind == protocol.INTERIM:
            reply.interim.append(protocol.parse_head(payload))
        elif kind == protocol.LOG:
            reply.logs.append(protocol.parse_log(payload))
        elif kind == protocol.ABORT:
            reply.abort = protocol.parse_abort(payload)
        elif kind == protocol.CREDIT:
            reply.granted += protocol.parse_credit(payload)
        elif kind == protocol.RETRY:
            reply.retry = True
        elif kind == protocol.OVERLOADED:
            reply.overloaded = True

    def _read_file(self, offset: int, length: int) -> bytes:
        descriptor = self.descriptors.pop(0)
        try:
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)

    def get(self, script: str | Path, **others: Any) -> Reply:
        self.request(script, **others)
        return self.reply()

    def is_closed(self) -> bool:
        """Whether the daemon has closed the connection, by an end of file or a reset."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True


class Statistics:
    """The statistics page, with the layout of process_abi.h."""

    def __init__(self, *fields: Any) -> None:
        (self.version, self.state, self.started, self.finished, self.replacement_requests, self.replacement_reason, self.watchdog, self.change,
         self.errors, self.since, self.threads, self.at_once, python, self.queue_time, self.application_time,
         *buckets) = fields  # fmt: skip
        self.python = python.rstrip(b"\0").decode()
        self.queue_times, self.application_times = (
            buckets[: process_abi.PAGE_BUCKETS],
            buckets[process_abi.PAGE_BUCKETS :],
        )


class Daemon:
    """The process. Its log is `log_text()`; its exit code is `code` once it has ended.

    `extension` and `environment` apply to every daemon started from then on. `extension` is the
    path of another build of pywsgid's extension, or "" for the one in the package.
    """

    extension = ""
    environment: dict[str, str] = {}

    def __init__(
        self,
        directory: Path,
        *,
        scripts: list[str | Path] = (),
        python: str = sys.executable,
        successor: int | None = None,
        listener: socket.socket | None = None,
        ready: bool = True,
        boot: Path = ROOT / "pywsgid" / "daemon" / "boot.py",
        **options: object,
    ) -> None:
        self.path = str(directory / "s")
        self.log_path = directory / "error_log"
        self.listener = listener or self._listen(self.path)
        self.python, self.boot, self.code = python, boot, None
        self.configuration = self._block(scripts, successor is not None, options)
        lifeline, self.lifeline = os.pipe2(os.O_CLOEXEC)
        self.page = os.memfd_create("page")
        os.ftruncate(self.page, process_abi.PAGE_SIZE)
        self.wakeup, self._wakeup_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.control_path = str(directory / "c")
        self.control = self._listen(self.control_path)
        self.pid = self._spawn(lifeline, successor)
        os.close(lifeline)
        if ready:
            wait_until(
                lambda: self.state() == process_abi.STATE_READY or self.has_ended(),
                f"ready: {self.log_text()}",
            )
            assert self.code is None, self.log_text()

    @staticmethod
    def _block(scripts: list[str | Path], is_successor: bool, options: dict[str, object]) -> bytes:
        """The configuration: the options that all daemons have, and further options by name, with _
        for -.
        """
        values = {
            "group": "unit",
            "slot": 0,
            "httpd-uid": os.getuid(),
            "log-level": 7,
            "httpd-version": "2.4.0",
            "wire-version": str(protocol.VERSION),
            "threads": 3,
            "socket-timeout": 5,
        }
        values |= {name.replace("_", "-"): value for name, value in options.items()}
        pairs = list(values.items()) + [
            ("script", f"application:{APPS / script}") for script in scripts
        ]
        pairs += [("successor", 1)] if is_successor else []
        flat = [
            (key, item)
            for key, value in pairs
            for item in (value if isinstance(value, list) else [value])
        ]
        return b"".join(f"{key}\0{value}\0".encode() for key, value in flat)

    def _listen(self, path: str) -> socket.socket:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen(100)
        listener.setblocking(False)
        return listener

    def _spawn(self, lifeline: int, successor: int | None) -> int:
        configuration = os.memfd_create("configuration")
        os.write(configuration, self.configuration)
        log = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        wanted = [null, log, log, self.listener.fileno(), configuration, lifeline, self.page]
        wanted += [self._wakeup_end, self.control.fileno()]
        wanted += [successor] if successor is not None else []
        aside = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 200) for descriptor in wanted]
        actions = [(os.POSIX_SPAWN_DUP2, source, number) for number, source in enumerate(aside)]
        environment = {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.environment,
        }
        if self.extension:
            environment[extension.SWITCH] = self.extension
        pid = os.posix_spawn(
            self.python,
            [self.python, str(self.boot)],
            environment,
            file_actions=actions,
            setsigdef=[signal.SIGINT, signal.SIGPIPE],
        )
        for descriptor in (*aside, null, log, configuration):
            os.close(descriptor)
        return pid

    def connect(self) -> Client:
        return Client(self.path)

    def get(self, script: str | Path, **others: Any) -> Reply:
        client = self.connect()
        try:
            return client.get(script, **others)
        finally:
            client.close()

    def ask(self, question: str) -> dict[str, Any]:
        """The control socket's answer to a question."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(LIMIT)
            connection.connect(self.control_path)
            connection.sendall(question.encode() + b"\n")
            return json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))

    def counts(self) -> tuple[int, int]:
        """The numbers of requests started and finished."""
        return struct.unpack_from("<QQ", os.pread(self.page, 24, 0), 8)

    def statistics(self) -> Statistics:
        """The whole statistics page except the rows."""
        return Statistics(
            *struct.unpack_from(
                process_abi.PAGE_FORMAT, os.pread(self.page, process_abi.PAGE_SCRIPTS, 0)
            )
        )

    def row(self, number: int) -> tuple[int, int, bytes]:
        """The row of a thread, counted from 0: since, requests, line."""
        at = process_abi.PAGE_ROWS + number * process_abi.PAGE_ROW_SIZE
        since, requests, line = struct.unpack(
            process_abi.PAGE_ROW_FORMAT, os.pread(self.page, process_abi.PAGE_ROW_SIZE, at)
        )
        return since, requests, line.partition(b"\0")[0]

    def state(self) -> int:
        return struct.unpack_from("<I", os.pread(self.page, 8, 0), 4)[0]

    def uses_extension(self) -> bool:
        return "_native" in Path(f"/proc/{self.pid}/maps").read_text()

    def log_text(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def replacement_requests(self) -> tuple[int, int]:
        """How often it has requested a replacement, and the reason of the last request."""
        return struct.unpack_from("<II", os.pread(self.page, 32, 0), 24)

    def has_woken(self) -> bool:
        """Whether it has written to the wake-up pipe since the last call."""
        try:
            return bool(os.read(self.wakeup, 4096))
        except BlockingIOError:
            return False

    def wait_for_log(self, text: str) -> str:
        wait_until(lambda: text in self.log_text(), f"{text!r} in the log: {self.log_text()}")
        return next(line for line in self.log_text().splitlines() if text in line)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def close_lifeline_with_byte(self) -> None:
        os.write(self.lifeline, b"\0")

    def refuse_replacement(self) -> None:
        """Does what httpd's parent does when the successor could not take over."""
        os.write(self.lifeline, bytes((process_abi.LIFELINE_FAILED,)))

    def wait_for_replacement_request(self, reason: int, number: int = 1) -> None:
        """Waits for its replacement request of this number, for this reason (process_abi.REPLACE_),
        and for the byte in the wake-up pipe that goes with it.
        """
        wait_until(
            lambda: self.replacement_requests() == (number, reason),
            f"replacement request {number}: {self.replacement_requests()} {self.log_text()}",
        )
        wait_until(self.has_woken, "the wake-up pipe")

    def has_ended(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def wait(self, limit: float = LIMIT) -> int:
        wait_until(self.has_ended, f"process {self.pid} to leave: {self.log_text()}", limit)
        return self.code

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if not self.has_ended():
            self.signal(signal.SIGTERM)
            try:
                self.wait(10)
            except AssertionError:
                self.signal(signal.SIGKILL)
                self.wait()
                if kind is None:
                    raise
        self.listener.close()
        self.control.close()
        for descriptor in (self.lifeline, self.page, self.wakeup, self._wakeup_end):
            os.close(descriptor)
        if kind is None:
            assert "WSGID0325" not in self.log_text(), self.log_text()


class HeldRequest:
    """A request that gate.wsgi holds until release()."""

    def __init__(self, daemon: Daemon, tmp_path: Path, name: str = "gate") -> None:
        self.path = tmp_path / name
        self.client = daemon.connect()
        self.client.request("gate.wsgi", PATH_INFO=str(self.path), QUERY_STRING=name)
        daemon.wait_for_log(f"at the gate {name}")

    def release(self) -> Reply:
        self.path.touch()
        return self.client.reply()
