"""Clients beyond `requests`: bytes on a socket, and curl for HTTP/2."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass, field


@dataclass
class Response:
    """A response as received: `headers` in order, with names as sent."""

    version: str
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    complete: bool = field(default=True)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Wire:
    """One connection, driven byte by byte."""

    def __init__(self, port: int, timeout: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read_response(self, method: str = "GET") -> Response:
        """The next response. Its body ends by Content-Length, by chunks or with the connection."""
        version, status, reason = self._status_line()
        headers = list(self._headers())
        response = Response(version, status, reason, headers, b"")
        if method != "HEAD" and status >= 200 and status not in (204, 304):
            self._read_body(response)
        return response

    def rest(self) -> bytes:
        """Everything until the server closes."""
        return self.file.read()

    def _status_line(self) -> tuple[str, int, str]:
        line = self.file.readline()
        if not line:
            raise ConnectionError("closed before a status line")
        version, status, reason = (line.decode("latin-1").rstrip("\r\n").split(" ", 2) + [""])[:3]
        return version, int(status), reason

    def _headers(self) -> list[tuple[str, str]]:
        found = []
        while line := self.file.readline().decode("latin-1").rstrip("\r\n"):
            name, _, value = line.partition(":")
            found.append((name, value.strip(" \t")))
        return found

    def _read_body(self, response: Response) -> None:
        if "chunked" in response.all("Transfer-Encoding"):
            response.body, response.complete = self._chunks()
        elif lengths := response.all("Content-Length"):
            response.body = self.file.read(int(lengths[0]))
            response.complete = len(response.body) == int(lengths[0])
        else:
            response.body = self.rest()

    def _chunks(self) -> tuple[bytes, bool]:
        body = b""
        while line := self.file.readline():
            size = int(line.split(b";")[0], 16)
            if size == 0:
                list(self._headers())
                return body, True
            body += self.file.read(size)
            self.file.readline()
        return body, False


def request(
    method: str, target: str, *headers: str, body: bytes = b"", host: str = "localhost"
) -> bytes:
    """The bytes of an HTTP/1.1 request."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*pieces: bytes) -> bytes:
    """A chunked body with these chunks."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def has_http2_curl() -> bool:
    if shutil.which("curl") is None:
        return False
    return (
        "HTTP2"
        in subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout
    )


def curl(
    url: str, *options: str, data: bytes | None = None, timeout: float = 60.0
) -> tuple[int, str, bytes]:
    """Returns curl's status code, the HTTP version it used ("1.1", "2"), and the body.
    AssertionError if curl itself failed.
    """
    mark = b"\n--curl-- "
    command = ["curl", "-sS", "--insecure", "--max-time", str(timeout), *options, url]
    command += ["--write-out", mark.decode() + "%{http_code} %{http_version}"]
    clean = {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
    }
    done = subprocess.run(
        command, input=data, capture_output=True, env=clean, timeout=timeout + 10, check=False
    )
    assert done.returncode == 0, f"curl {url}: exit code {done.returncode}: {done.stderr.decode()}"
    body, _, words = done.stdout.rpartition(mark)
    status, version = words.decode().split()
    return int(status), version, body
