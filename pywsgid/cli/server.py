"""The httpd of this machine and a minimal configuration for it, as text.

Rules: nothing is started here and nothing is written; every path goes through quote(). Where
distributions differ (names, directories, what is compiled in), httpd itself is asked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

# Not on an ordinary user's PATH everywhere.
SYSTEM_PATH = "/usr/sbin:/usr/local/sbin:/usr/local/apache2/bin:/usr/bin"
MODULE_DIRECTORIES = (
    "/usr/lib/apache2/modules",  # Debian, Ubuntu, SUSE
    "/usr/lib64/httpd/modules",  # Fedora, RHEL
    "/usr/lib64/apache2",  # SUSE
    "/usr/lib/httpd/modules",  # Arch
    "/usr/local/apache2/modules",  # httpd's own default
)
MPMS = ("event", "worker", "prefork")


class NoServer(Exception):
    """There is no usable httpd; the text says what is missing."""


@dataclass(frozen=True)
class Server:
    """An httpd: its program, where its modules are, and which it was built with ("unixd")."""

    program: str
    modules: str
    built_in: frozenset[str]

    def load(self, *names: str) -> list[str]:
        """The LoadModule lines for those of `names` that are not compiled in."""
        return [
            f"LoadModule {name}_module {quote(self.file(name))}"
            for name in names
            if name not in self.built_in
        ]

    def file(self, name: str) -> str:
        return os.path.join(self.modules, f"mod_{name}.so")

    def has(self, name: str) -> bool:
        return name in self.built_in or os.path.exists(self.file(name))

    def mpm(self) -> list[str]:
        """What to load for the best process model there is; nothing if one is compiled in."""
        if any(f"mpm_{name}" in self.built_in or name in self.built_in for name in MPMS):
            return []
        for name in MPMS:
            if self.has(f"mpm_{name}"):
                return self.load(f"mpm_{name}")
        raise NoServer(f"no MPM (mod_mpm_event.so) in {self.modules}")


def find_server() -> Server:
    """The first httpd on PATH or where systems keep it. NoServer if there is none."""
    path = os.pathsep.join([os.environ.get("PATH", ""), SYSTEM_PATH])
    program = shutil.which("apache2", path=path) or shutil.which("httpd", path=path)
    if program is None:
        raise NoServer("no apache2 or httpd on PATH")
    return Server(program, _module_directory(path), _built_in(program))


def _built_in(program: str) -> frozenset[str]:
    """`httpd -l` prints one source file a line: mod_unixd.c, core.c."""
    done = subprocess.run([program, "-l"], capture_output=True, text=True)
    names = (line.strip() for line in done.stdout.splitlines())
    return frozenset(
        name.removeprefix("mod_").removesuffix(".c") for name in names if name.endswith(".c")
    )


def _module_directory(path: str) -> str:
    for name in ("apxs", "apxs2"):
        apxs = shutil.which(name, path=path)
        if apxs:
            done = subprocess.run([apxs, "-q", "LIBEXECDIR"], capture_output=True, text=True)
            if done.returncode == 0 and os.path.isdir(done.stdout.strip()):
                return done.stdout.strip()
    for directory in MODULE_DIRECTORIES:
        if os.path.isdir(directory):
            return directory
    raise NoServer("no directory of httpd modules in any of " + ", ".join(MODULE_DIRECTORIES))


def quote(word: object) -> str:
    """A word of httpd's configuration; ValueError for a line break and for a variable, which no
    quoting can hold.
    """
    text = str(word)
    if "\n" in text or "\r" in text:
        raise ValueError(f"a line break in {text!r}")
    if "${" in text:
        raise ValueError(f"${{, which begins a variable of httpd's, in {text!r}")
    # httpd takes a backslash for an escape only before a quote or a backslash.
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
