"""Finds the httpd of this machine, and writes words and LoadModule lines for its configuration.

Distributions differ in names, directories and what is compiled in, so httpd itself is asked. Rules:
no httpd is started and no file is written here; every path in a configuration goes through quote().
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

# An ordinary user's PATH does not have these everywhere.
SYSTEM_PATH = "/usr/sbin:/usr/local/sbin:/usr/local/apache2/bin:/usr/bin"
MODULE_DIRECTORIES = (
    "/usr/lib/apache2/modules",  # Debian, Ubuntu, SUSE
    "/usr/lib64/httpd/modules",  # Fedora, RHEL
    "/usr/lib64/apache2",  # SUSE
    "/usr/lib/httpd/modules",  # Arch
    "/usr/local/apache2/modules",  # httpd's own default
)
MPMS = ("event", "worker", "prefork")  # best first


class NoServer(Exception):
    """There is no usable httpd; the text says what is missing."""


@dataclass(frozen=True)
class Server:
    """An httpd: the path of its program, the directory of its modules, and the names of those that
    are compiled in ("unixd")."""

    program: str
    modules: str
    built_in: frozenset[str]

    def load(self, *names: str) -> list[str]:
        """Returns the LoadModule lines for those of `names` that are not compiled in."""
        return [
            f"LoadModule {name}_module {quote(self.file(name))}"
            for name in names
            if name not in self.built_in
        ]

    def file(self, name: str) -> str:
        """Returns the path that a module has if it is not compiled in."""
        return os.path.join(self.modules, f"mod_{name}.so")

    def has(self, name: str) -> bool:
        """Returns whether the module is compiled in or can be loaded."""
        return name in self.built_in or os.path.exists(self.file(name))

    def mpm(self) -> list[str]:
        """Returns the LoadModule line of the best MPM; no line if one is compiled in.

        Raises NoServer if there is no MPM.
        """
        if any(f"mpm_{name}" in self.built_in or name in self.built_in for name in MPMS):
            return []
        for name in MPMS:
            if self.has(f"mpm_{name}"):
                return self.load(f"mpm_{name}")
        raise NoServer(f"{self.modules} contains no MPM (mod_mpm_event.so)")


def find_server() -> Server:
    """Returns the first httpd on PATH, or where systems install it. Raises NoServer."""
    path = os.pathsep.join([os.environ.get("PATH", ""), SYSTEM_PATH])
    program = shutil.which("apache2", path=path) or shutil.which("httpd", path=path)
    if program is None:
        raise NoServer("there is no apache2 or httpd on PATH")
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
    places = ", ".join(MODULE_DIRECTORIES)
    raise NoServer(f"httpd's modules are in none of these directories: {places}")


def quote(word: object) -> str:
    """Returns a word of httpd's configuration.

    Raises ValueError for a line break and for `${`, because no quoting protects them.
    """
    text = str(word)
    if "\n" in text or "\r" in text:
        raise ValueError(f"{text!r} contains a line break")
    if "${" in text:
        raise ValueError(f"{text!r} contains ${{, where httpd expects the name of a variable")
    # httpd reads a backslash as an escape only before a quote or another backslash.
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
