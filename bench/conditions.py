"""The conditions of a measurement: machine, versions, date. No figure means anything without
them.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

from httpdenv import machine

from bench import CHECKOUT, load

PACKAGES = ("mod_wsgi", "uwsgi", "granian", "gunicorn")


def describe() -> dict[str, str]:
    """The conditions to show beside every figure; each value is a short text."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} CPUs ({_processor()}), {_memory()} GB",
        "system": f"{_distribution()}, Linux {platform.release().partition('-')[0]}",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "httpd": _version_from([machine.httpd(), "-v"], r"Apache/(\S+)"),
        "python": platform.python_version(),
        "mod_wsgid": _ours(),
        **{name: _version(name) for name in PACKAGES},
        "wrk": _version_from([load.executable(), "-v"], r"wrk (\S+)"),
    }


def _processor() -> str:
    match = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    return match[1].strip() if match else platform.machine()


def _memory() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30))


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _ours() -> str:
    """The version in the header, and the commit if this is a clone."""
    version = re.search(
        r'^__version__ = "([^"]+)"', (CHECKOUT / "pywsgid" / "__init__.py").read_text(), re.M
    )
    commit = _version_from(
        ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty", "--abbrev=10"], r"(\S+)"
    )
    return f"{version[1] if version else '?'} ({commit})"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _version_from(command: list[str], pattern: str) -> str:
    """The part of a command's output that the pattern matches; wrk -v exits with 1."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "?"
    match = re.search(pattern, done.stdout + done.stderr)
    return match[1] if match else "?"
