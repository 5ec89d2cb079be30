"""The site that `pywsgid serve` and `pywsgid setup` build step by step: one application, and the
httpd for it.

command.py fills it in, httpd_conf.py and apachectl.py write files from it. Rules: nothing here
checks, starts or writes anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pywsgid.cli.serve.address import Address
from pywsgid.cli.serve.target import Target
from pywsgid.cli.server import Server
from pywsgid.cli.users import Identity, name_of
from pywsgid.wire.options import OPTIONS


@dataclass(frozen=True)
class Site:
    """All that the configuration is written from. In the end, `module` and `script` are paths that
    the application's user can reach."""

    server: Server
    root: str  # the ServerRoot
    module: str  # mod_wsgid.so
    identity: Identity | None  # the user that httpd becomes; None: the one who starts it
    application: Identity | None  # the user of the application; None: the one who starts httpd
    target: Target
    script: str
    interpreter: str  # an option of WSGIDaemonProcess: python=... or python-home=...
    options: dict[str, Any]  # by the names of serve_options.py

    @property
    def address(self) -> Address:
        """Where the application is found: over HTTPS if HTTP only redirects there."""
        secure = self.options["https-only"]
        port = self.options["https-port"] if secure else self.options["port"]
        return Address(
            "https" if secure else "http", self.options["host"], port, self.options["mount-point"]
        )

    @property
    def directory(self) -> str:
        """The application's working directory."""
        directory: str = self.options["working-directory"] or self.target.directory
        return directory

    @property
    def shutdown_timeout(self) -> float:
        """Seconds that a daemon process gets to finish its requests."""
        return float(self.options["shutdown-timeout"] or str(OPTIONS["shutdown-timeout"].default))

    def user_text(self, identity: Identity | None) -> str:
        """Returns a user of this site for a message."""
        owner = "the application" if identity == self.application else "httpd"
        return f"{owner}'s user {name_of(identity)}"
