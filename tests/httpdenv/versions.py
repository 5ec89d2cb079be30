"""The ways to speak HTTP that a test runs over, with a virtual host for each, and curl runs that
may fail.

httpd's own code differs by version: a stream of HTTP/2 has no socket, and TLS has a record layer in
between. Tests of such code run over each version: `@pytest.mark.parametrize("over", EVERY_WAY)` and
`run_curl(httpd, over, "/path")`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from dataclasses import dataclass

from httpdenv.server import Httpd

# Goes at the end of a configuration: the lines before it apply to every host.
HOSTS = """
<VirtualHost 127.0.0.1:${PORT}>
    Protocols h2c http/1.1
</VirtualHost>
<VirtualHost 127.0.0.1:${TLS_PORT}>
    SSLEngine on
    SSLCertificateFile ${CERTS}/server.crt
    SSLCertificateKeyFile ${CERTS}/server.key
    Protocols h2 http/1.1
</VirtualHost>
"""
MODULES = ("ssl", "http2")
EVERY_WAY = ("http/1.1", "tls", "h2c", "h2")

# (the port, the scheme, curl's option)
_WAYS = {
    "http/1.1": ("PORT", "http", "--http1.1"),
    "tls": ("TLS_PORT", "https", "--http1.1"),
    "h2c": ("PORT", "http", "--http2-prior-knowledge"),
    "h2": ("TLS_PORT", "https", "--http2"),
}
# curl's exit codes for an interrupted transfer (18, 55, 56) and for a reset stream (92).
BROKEN = (18, 55, 56, 92)
LIMIT = 30.0


@dataclass
class Transfer:
    """The result of a run of curl. `code` is its exit code; `headers` holds the heads as received,
    interim ones included.
    """

    code: int
    status: int
    version: str
    seconds: float
    headers: str
    body: bytes
    error: str

    def header(self, name: str) -> str | None:
        """The last value of a header."""
        found = [
            line.partition(":")[2].strip()
            for line in self.headers.splitlines()
            if _names(line, name)
        ]
        return found[-1] if found else None


def _names(line: str, name: str) -> bool:
    return line.partition(":")[0].lower() == name.lower()


def command(httpd: Httpd, over: str, path: str, *options: str) -> list[str]:
    port, scheme, option = _WAYS[over]
    return ["curl", "-sS", "--insecure", option, *options, httpd.url(path, port, scheme)]


def environment() -> dict[str, str]:
    """The environment without proxies."""
    return {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
    }


def run_curl(
    httpd: Httpd, over: str, path: str, *options: str, data: bytes | None = None
) -> Transfer:
    """Runs curl; `data` is its standard input. If curl itself fails, that is a result too, not an
    error.
    """
    mark = "--curl-- "
    write_out = f"%{{stderr}}{mark}%{{http_code}} %{{http_version}} %{{time_total}}\n"
    limits = ["--max-time", str(LIMIT), "--dump-header", "/dev/stderr", "--write-out", write_out]
    whole = command(httpd, over, path, *limits, *options)
    done = subprocess.run(
        whole, input=data, capture_output=True, env=environment(), timeout=LIMIT + 10, check=False
    )
    text = done.stderr.decode("latin-1")
    headers, _, rest = text.partition(mark)
    words, _, error = rest.partition("\n")
    status, version, seconds = words.split()
    return Transfer(
        done.returncode, int(status), version, float(seconds), headers, done.stdout, headers + error
    )


class CurlThatLeaves:
    """A curl that is killed while it waits: `with CurlThatLeaves(...) as client: ...;
    client.leave()`.

    SIGKILL ends it silently: no close_notify, no RST_STREAM.
    """

    def __init__(self, httpd: Httpd, over: str, path: str, *options: str) -> None:
        self._process = subprocess.Popen(
            command(httpd, over, path, "--no-buffer", *options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )

    def __enter__(self) -> CurlThatLeaves:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        self._process.stdout.close()

    def read(self, size: int) -> bytes:
        return self._process.stdout.read(size)

    def freeze(self) -> None:
        """Stops the client, so that it reads no further byte but keeps its connection."""
        self._process.send_signal(signal.SIGSTOP)

    def leave(self) -> None:
        self._process.kill()
        self._process.wait(10)


class Sender:
    """Sends bytes in a thread of its own, so that the test can read meanwhile. An exception there
    is kept for join().
    """

    def __init__(self, send, pieces) -> None:
        self.error: OSError | None = None
        self._thread = threading.Thread(target=self._run, args=(send, pieces), daemon=True)
        self._thread.start()

    def _run(self, send, pieces) -> None:
        try:
            for piece in pieces:
                send(piece)
        except OSError as error:
            self.error = error

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def join(self, timeout: float = LIMIT) -> None:
        self._thread.join(timeout)
        assert self.is_done, "still sending"
