"""What this machine has: httpd, its modules, our build, free ports, a certificate.

Daemons run as another user, which may not be able to reach the checkout (below a home directory of
mode 0700). In that case the files they need are copied to a place that everybody can reach.
"""

from __future__ import annotations

import functools
import os
import pwd
import random
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PLAIN_PATH = re.compile(r"[\w./+-]+")
MPMS = ("event", "worker", "prefork")
# Below the range from which Linux assigns ports by itself, so that no client socket takes a port
# between choice and use.
PORTS = range(20000, 32000)
# The accounts of Debian, Red Hat, Arch and BSD; the last one exists everywhere.
USERS = ("www-data", "apache", "http", "www", "nobody")


@dataclass(frozen=True)
class Stage:
    """Where the httpds of a session find what is under test; everybody can read it.

    `python` has the packages of the tests; `copied` is the directory of the copy, if there is one.
    """

    module: Path
    apps: Path
    python: Path
    copied: Path | None = None


@functools.cache
def httpd() -> str:
    """The server's executable."""
    for name in ("apache2", "httpd"):
        path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if path:
            return path
    raise RuntimeError("no apache2 or httpd: on Debian and Ubuntu, apt-get install apache2")


@functools.cache
def modules_directory() -> Path:
    """Where httpd's own modules are."""
    debian = Path("/usr/lib/apache2/modules")
    if debian.is_dir():
        return debian
    return Path(
        subprocess.run(
            ["apxs", "-q", "LIBEXECDIR"], check=True, capture_output=True, text=True
        ).stdout.strip()
    )


@functools.cache
def built_in() -> frozenset[str]:
    """The modules compiled into httpd: "unixd" for mod_unixd.c."""
    out = subprocess.run([httpd(), "-l"], check=True, capture_output=True, text=True).stdout
    names = (line.strip() for line in out.splitlines())
    return frozenset(
        name.removeprefix("mod_").removesuffix(".c") for name in names if name.endswith(".c")
    )


def load_lines(names: list[str]) -> list[str]:
    """LoadModule lines for what is not compiled in. If a name does not exist here, httpd reports
    it.
    """
    missing = [name for name in dict.fromkeys(names) if name not in built_in()]
    return [
        f"LoadModule {_record_of(name)} {modules_directory()}/mod_{name}.so" for name in missing
    ]


def _record_of(name: str) -> str:
    return (
        "mpm_" + name.removeprefix("mpm_") + "_module"
        if name.startswith("mpm_")
        else f"{name}_module"
    )


@functools.cache
def web_user() -> str:
    """The user of httpd's children: httpd's account if the tests run as root, else the user that
    runs the tests.
    """
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    return next(name for name in USERS if _has_user(name))


@functools.cache
def other_users() -> list[pwd.struct_passwd]:
    """Ordinary accounts, neither root nor httpd's, for daemons and servers of other users."""
    return [
        entry
        for entry in pwd.getpwall()
        if entry.pw_uid not in (0, pwd.getpwnam(web_user()).pw_uid)
    ]


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


@functools.cache
def _own_ports() -> list[int]:
    """The ports that this worker of pytest-xdist may use, in random order. No other worker has
    them, and another run on this machine seldom begins with the same.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return random.sample(PORTS[worker::workers], len(PORTS[worker::workers]))


def free_port() -> int:
    """A port on 127.0.0.1 on which nobody listens. It is returned again only after thousands of
    others.
    """
    ports = _own_ports()
    while True:
        ports.append(ports.pop(0))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", ports[-1]))
            except OSError:
                continue
            return ports[-1]


def temporary_directory(prefix: str) -> Path:
    """A directory with a short path (sun_path holds 107 bytes) that everybody can reach."""
    path = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    path.chmod(0o755)
    return path


def sanitized() -> bool:
    """Whether this run uses a module built with AddressSanitizer and UBSan."""
    return os.environ.get("WSGID_SANITIZE") == "1"


def module_path() -> Path:
    """The module under test: WSGID_MODULE, or what `make` built."""
    default = CHECKOUT / "build" / ("sanitize/mod_wsgid.so" if sanitized() else "mod_wsgid.so")
    return Path(os.environ.get("WSGID_MODULE", default)).resolve()


def is_reachable_by_all(path: Path) -> bool:
    """Whether any user can reach and read `path`."""
    for part in [path, *path.parents]:
        mode = part.stat().st_mode
        if not mode & (stat.S_IXOTH if part.is_dir() else stat.S_IROTH):
            return False
    return True


@functools.cache
def stage() -> Stage:
    """What is under test, where every user can reach it: the checkout, or a copy of what is needed.

    The copy keeps the layout of the checkout, because the module finds pywsgid relative to itself.
    Each process that runs tests makes the copy once and calls remove_stage() at its end.
    """
    module, apps, python = module_path(), CHECKOUT / "tests" / "apps", Path(sys.executable)
    needed = (module, apps, python, Path(sys.prefix))
    is_reached = os.geteuid() != 0 or all(is_reachable_by_all(path) for path in needed)
    # Test configurations do not quote file names.
    if is_reached and all(PLAIN_PATH.fullmatch(str(path)) for path in needed):
        return Stage(module, apps, python)
    top = temporary_directory("wsgid-stage-")
    _copy_tree(CHECKOUT / "pywsgid", top / "pywsgid")
    _copy_tree(apps, top / "tests" / "apps")
    _copy_virtualenv(Path(sys.prefix), top)
    copy = (
        top / module.relative_to(CHECKOUT)
        if module.is_relative_to(CHECKOUT)
        else top / "build" / "mod_wsgid.so"
    )
    copy.parent.mkdir(parents=True)
    shutil.copy2(module, copy)
    (copy.parent / "pywsgid").symlink_to(top / "pywsgid")
    return Stage(copy, top / "tests" / "apps", top / ".venv" / "bin" / python.name, copied=top)


def remove_stage() -> None:
    """Removes the copy, if there is one."""
    if stage.cache_info().currsize and (top := stage().copied):
        shutil.rmtree(top)


def _copy_virtualenv(prefix: Path, top: Path) -> None:
    """Copies the virtual environment of the tests, with the copied pywsgid. Uses hard links where
    possible, because they take no time.
    """
    for options in ("-al", "-a"):
        done = subprocess.run(
            ["cp", options, prefix, top / ".venv"], stderr=subprocess.DEVNULL, check=False
        )
        if done.returncode == 0:
            break
        shutil.rmtree(top / ".venv", ignore_errors=True)
    for link in (top / ".venv").glob("lib/python3*/site-packages/pywsgid"):
        link.unlink()
        link.symlink_to(top / "pywsgid")


def _copy_tree(source: Path, target: Path) -> None:
    """Copies without compiled files and lets everybody read the copy, whatever the umask of the
    clone was.
    """
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [target, *target.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)


def make_certificate(directory: Path) -> None:
    """Writes server.key (readable by root only) and a self-signed server.crt for localhost."""
    key, certificate = directory / "server.key", directory / "server.crt"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    names = [
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]
    subprocess.run(
        [*command, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    key.chmod(0o600)


def sanitizer_environment(logs: Path) -> dict[str, str]:
    """The environment of httpd under WSGID_SANITIZE=1. It holds for httpd alone: daemons do not
    inherit it.
    """
    if not sanitized():
        return {}
    libraries = [_library_of_gcc(name) for name in ("libasan.so", "libubsan.so")]
    # httpd never frees its pools at exit, by design. Other tests find leaks, by descriptors and
    # sizes.
    common = f"log_path={logs}/sanitizer:exitcode=99"
    return {
        "LD_PRELOAD": ":".join(libraries),
        "ASAN_OPTIONS": f"detect_leaks=0:{common}",
        "UBSAN_OPTIONS": f"print_stacktrace=1:{common}",
    }


def _library_of_gcc(name: str) -> str:
    out = subprocess.run(
        ["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True
    )
    return out.stdout.strip()


def group_of(user: str) -> int:
    """The number of a user's primary group."""
    return pwd.getpwnam(user).pw_gid


def user_id(user: str) -> int:
    return pwd.getpwnam(user).pw_uid
