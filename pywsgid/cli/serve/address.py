"""The address at which an application is served: its URL, and whether something answers there."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass

# The User-Agent of our own requests; the access log leaves them out.
PROBE_NAME = "pywsgid-probe"
# Where to connect if httpd listens on all addresses.
LOOPBACK_FOR = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}


@dataclass(frozen=True)
class Address:
    """`host` is what httpd listens on, `path` where the application begins."""

    scheme: str
    host: str
    port: int
    path: str = "/"

    @property
    def url(self) -> str:
        """A URL that a browser on this machine can open."""
        name = "localhost" if self.host in ("127.0.0.1", *LOOPBACK_FOR) else bracketed(self.host)
        return f"{self.scheme}://{name}:{self.port}{self.path}"

    def status(self) -> int | None:
        """Returns the HTTP status of a request; None if nothing listens yet."""
        host = LOOPBACK_FOR.get(self.host, self.host)
        connection = (
            http.client.HTTPSConnection(host, self.port, context=ssl._create_unverified_context())
            if self.scheme == "https"
            else http.client.HTTPConnection(host, self.port)
        )
        try:
            connection.request("GET", self.path, headers={"User-Agent": PROBE_NAME})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def bracketed(host: str) -> str:
    """Returns a host as it stands before `:PORT`: an IPv6 address needs brackets."""
    return f"[{host}]" if ":" in host else host
