"""What a daemon inherits from httpd: nine descriptors and nothing else, checked from inside and
from outside.
"""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from httpdenv import machine, processes

CONFIGURATION = """
WSGIDaemonProcess app IDENTITY env=GIVEN=yes lang=C.UTF-8 umask=0027
WSGIProcessName app
WSGIScriptAlias /clean ${APPS}/clean.wsgi
WSGIScriptAlias /whoami ${APPS}/whoami.wsgi
<VirtualHost 127.0.0.1:${PORT}>
</VirtualHost>
<VirtualHost 127.0.0.1:${TLS_PORT}>
    SSLEngine on
    SSLCertificateFile ${CERTS}/server.crt
    SSLCertificateKeyFile ${CERTS}/server.key
    ErrorLog logs/tls_error_log
    CustomLog logs/access_log "%h"
</VirtualHost>
"""

# docs/design.md, "What a daemon inherits"; the daemon opened all others itself.
INHERITED = {
    0: r"/dev/null",
    1: r"pipe:.*",
    2: r"pipe:.*",
    3: r"socket:.*",
    4: r"/memfd:wsgid-configuration.*",
    5: r"pipe:.*",
    6: r"/memfd:.*",
    7: r"pipe:.*",
    8: r"socket:.*",
}
# What a daemon opens itself: epoll and the wake-up descriptor, connections from httpd, a pipe for
# signals, the directory being listed.
OWN = r"anon_inode:\[(eventpoll|eventfd|signalfd|timerfd)\]|socket:.*|pipe:.*|/proc/(self|\d+)/fd"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")


@pytest.fixture(scope="module")
def httpd(make_httpd):
    user = machine.other_users()[0] if os.geteuid() == 0 else None
    identity = f"user={user.pw_name} group=#{user.pw_gid}" if user else ""
    environment = {
        "SECRET_OF_THE_ADMINISTRATOR": "1",
        "PYTHONPATH": "/nowhere",
        "PYTHONSTARTUP": "/nowhere",
    }
    return make_httpd(
        CONFIGURATION.replace("IDENTITY", identity), modules=["ssl"], environment=environment
    )


@pytest.fixture
def warmed_up(httpd):
    """The httpd after requests to both virtual hosts, so that every connection exists."""
    httpd.get("/whoami")
    httpd.get("/whoami", port="TLS_PORT", scheme="https")
    return httpd


def test_a_daemon_has_only_the_documented_descriptors(warmed_up):
    seen = {
        int(number): target for number, target in warmed_up.get("/clean/descriptors").json().items()
    }
    for number, target in seen.items():
        expected = (
            INHERITED.get(number, OWN)
            if number in (0, 1, 2)
            else f"{INHERITED.get(number, OWN)}|{OWN}"
        )
        assert re.fullmatch(expected, target), f"descriptor {number} is {target}: {seen}"


def test_no_log_or_listening_socket_of_httpd_is_open(warmed_up):
    targets = list(warmed_up.get("/clean/descriptors").json().values())
    assert [target for target in targets if "_log" in target] == []
    parents = {
        target
        for target in processes.descriptors(warmed_up.pid).values()
        if target.startswith("socket:")
    }
    own = {target for target in targets if target.startswith("socket:")}
    shared = parents & own
    assert len(shared) <= 2, f"shared with httpd's parent, besides the two listeners: {shared}"


def key_material(directory) -> list[bytes]:
    """The private key as it might be in memory: the lines of its PEM form, and its numbers in
    either byte order.
    """
    lines = (directory / "server.key").read_text().splitlines()[1:-1]
    text = subprocess.run(
        ["openssl", "rsa", "-in", directory / "server.key", "-noout", "-text"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    secrets = [line.encode() for line in lines[1:6]]
    for name in ("privateExponent", "prime1", "prime2"):
        digits = re.search(rf"{name}:\n((?:\s+[0-9a-f:]+\n)+)", text)
        number = bytes.fromhex(re.sub(r"[\s:]", "", digits[1])).lstrip(b"\0")
        secrets += [number[:32], number[32:64], number[::-1][:32]]
    return secrets


def hidden(secrets: list[bytes]) -> str:
    return " ".join(bytes(byte ^ 0xFF for byte in secret).hex() for secret in secrets)


def test_no_byte_of_the_tls_private_key_is_in_the_daemons_memory(warmed_up, certificates):
    answer = warmed_up.post("/clean/memory", hidden(key_material(certificates))).json()
    assert answer["scanned"] > 1_000_000
    assert answer["found"] == []


def test_a_secret_that_is_in_memory_would_be_found(warmed_up):
    answer = warmed_up.post(
        "/clean/memory", hidden([b"planted in this script, to be found in its memory"])
    ).json()
    assert answer["found"]


def test_the_key_is_in_httpds_own_memory(warmed_up, certificates):
    """Shows that the key is there to be inherited, so the search above could find it."""
    if os.geteuid() != 0:
        pytest.skip("httpd's memory can be read by root only")
    memory = b"".join(_readable_memory(warmed_up.pid))
    assert any(secret in memory for secret in key_material(certificates))


def _readable_memory(pid: int):
    with (
        open(f"/proc/{pid}/maps", encoding="utf-8") as maps,
        open(f"/proc/{pid}/mem", "rb", buffering=0) as memory,
    ):
        for line in maps:
            span, mode = line.split()[:2]
            if mode.startswith("rw"):
                start, end = (int(word, 16) for word in span.split("-"))
                memory.seek(start)
                try:
                    yield memory.read(end - start)
                except OSError:
                    continue


@as_root
def test_all_ids_are_dropped_and_root_cannot_be_regained(httpd):
    entry = machine.other_users()[0]
    seen = httpd.get("/clean/privileges").json()
    assert seen["Uid"] == [str(entry.pw_uid)] * 4
    assert seen["Gid"] == [str(entry.pw_gid)] * 4
    assert "0" not in seen["Groups"]
    assert {seen[name][0].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {""}
    attempts = {seen[name] for name in ("setuid", "seteuid", "setresuid", "setgid", "setgroups")}
    assert attempts == {"PermissionError"}


def test_the_environment_is_built_from_nothing(httpd):
    environment = httpd.get("/whoami").json()["environment"]
    assert environment["GIVEN"] == "yes"
    assert environment["LANG"] == "C.UTF-8"
    assert "SECRET_OF_THE_ADMINISTRATOR" not in environment
    assert [
        name
        for name in environment
        if name.startswith(("APACHE_", "LD_", "PYTHON", "ASAN", "UBSAN", "SUDO_"))
    ] == []


def test_the_umask_is_the_configured_one(httpd):
    assert httpd.get("/whoami").json()["umask"] == 0o027


def test_files_beside_pywsgid_cannot_be_imported_by_accident(httpd, stage):
    """pywsgid is loaded from beside the module, without adding its directory to sys.path."""
    path = httpd.get("/whoami").json()["path"]
    assert str(stage.module.parent) not in path
    assert str(stage.module.parent.parent) not in path
    assert "" not in path


def test_only_httpd_can_open_the_socket(httpd):
    sockets = [path for path in httpd.root.rglob("*") if path.is_socket()]
    assert sockets
    for path in sockets:
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o022 == 0


def test_the_daemon_ignores_other_users(httpd):
    """Only httpd's User may talk to it. Root may open any socket, and this test runs as root."""
    if os.geteuid() != 0:
        pytest.skip("takes another user's identity")
    entry = machine.other_users()[1]
    paths = [path for path in httpd.root.rglob("*") if path.is_socket()]
    program = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "try: s.connect(sys.argv[1])\n"
        "except PermissionError: sys.exit(77)\n"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-c", program, str(paths[0])],
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
        check=False,
    )
    assert done.returncode == 77


def test_the_process_title_names_the_group(httpd):
    (pid,) = httpd.daemons("app")
    assert "wsgid:app" in processes.find(pid).command
