"""The daemon as a process: the Python versions that it runs under, and the state of the interpreter
that the application finds.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from daemonenv import ROOT, Daemon, HeldRequest
from httpdenv import pythons

from pywsgid.wire import process_abi, protocol


def interpreters():
    """Other Pythons of this machine: name -> path, or None if there is none."""
    found = {}
    for version in (
        "2.7",
        "3.6",
        "3.8",
        "3.9",
        "3.10",
        "3.11",
        "3.12",
        "3.13",
        "3.13t",
        "3.14",
        "3.14t",
    ):
        at = sorted(
            (Path.home() / ".pyenv" / "versions").glob(
                f"{version.rstrip('t')}.*{'t' if version[-1] == 't' else ''}/bin/python"
            )
        )
        found[version] = str(at[-1]) if at else shutil.which(f"python{version}")
    for python in pythons.installed():
        name = "%d.%d" % python.version + "t" * python.free_threaded
        found[name] = found.get(name) or str(python.executable)
    return found


def interpreter(version):
    path = interpreters()[version]
    if (
        path is None
        or subprocess.run([path, "-c", ""], check=False, capture_output=True).returncode != 0
    ):
        pytest.skip(f"no Python {version} on this machine")
    return path


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.9"])
def test_a_python_that_is_too_old_is_refused_with_a_message(tmp_path, version):
    with Daemon(tmp_path, python=interpreter(version), ready=False) as daemon:
        assert daemon.wait() == process_abi.EXIT_INTERPRETER
        assert f"is Python {version}, but mod_wsgid needs 3.10" in daemon.wait_for_log("WSGID0300")
        assert len(daemon.log_text().splitlines()) == 1


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8", "3.9"])
def test_the_command_line_refuses_a_python_that_is_too_old(version):
    command = [interpreter(version), "-m", "pywsgid", "serve", "x"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("pywsgid: WSGID0447: ") and done.stderr.count("\n") == 1
    assert f"is Python {version}; mod_wsgid needs 3.10 or later" in done.stderr


def echo_late(client):
    """Answers the first credit with the rest of the body, END included."""
    assert client.frame()[0] == protocol.CREDIT
    client.send(*protocol.encode_body(b"and end", end=True))
    return client.reply()


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13", "3.13t", "3.14", "3.14t"])
def test_every_python_serves_drains_and_fails_alike(tmp_path, version):
    with Daemon(tmp_path, python=interpreter(version), scripts=["hello.wsgi"]) as daemon:
        client = daemon.connect()
        assert client.get("hello.wsgi").body == b"Hello World!\n"
        client.request("echo.wsgi", b"start ", end=False)
        reply = echo_late(client)
        assert reply.body == b"start and end"
        assert daemon.get("rules.wsgi", PATH_INFO="/raise").abort[0] == 500
        assert daemon.get("output.wsgi", PATH_INFO="/warning", QUERY_STRING="sold").logs == [
            (4, "app: sold")
        ]
        assert daemon.get("whoami.wsgi").complete
        gate = HeldRequest(daemon, tmp_path)
        daemon.signal(signal.SIGTERM)
        daemon.wait_for_log("WSGID0310")
        assert gate.release().complete
        assert daemon.wait() == 0
        assert "Traceback" not in daemon.log_text()


def test_only_the_package_can_be_imported_from_its_directory(client, write):
    """Neither the package's modules by their own names nor other files beside the package can be
    imported.
    """
    script = write(
        "import sys\ndef application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    return [repr((sys.path, sys.argv, sys.modules['pywsgid'].__path__)).encode()]\n"
    )
    path, argv, package = eval(client.get(script).body)
    assert str(ROOT) not in path
    assert str(ROOT / "pywsgid") not in path
    assert argv == ["mod_wsgid"]
    assert package == [str(ROOT / "pywsgid")]


def test_only_the_package_can_be_imported_through_a_symbolic_link(tmp_path, write):
    """As in build/ of a checkout: Python resolves the link before it adds the directory to the
    path.
    """
    script = write(
        "import sys\ndef application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    return [repr(sys.path).encode()]\n"
    )
    link = tmp_path / "pywsgid"
    link.symlink_to(ROOT / "pywsgid")
    with Daemon(tmp_path, boot=link / "daemon" / "boot.py") as daemon:
        path = eval(daemon.get(script).body)
    assert {str(link), str(ROOT / "pywsgid")}.isdisjoint(path)


def test_a_pywsgid_of_the_application_does_not_interfere(tmp_path, write):
    (tmp_path / "site" / "pywsgid").mkdir(parents=True)
    (tmp_path / "site" / "pywsgid" / "__init__.py").write_text(
        "raise RuntimeError('the wrong one')"
    )
    with Daemon(tmp_path, python_path=str(tmp_path / "site"), scripts=["hello.wsgi"]) as daemon:
        assert daemon.get("hello.wsgi").complete


def test_python_path_comes_first_with_its_pth_files(tmp_path, write):
    for name in ("one", "two", "three", "home"):
        (tmp_path / name).mkdir()
    (tmp_path / "two" / "more.pth").write_text(f"{tmp_path / 'three'}\n")
    script = write(
        "import sys\ndef application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    return [repr(sys.path).encode()]\n"
    )
    paths = [str(tmp_path / "one"), str(tmp_path / "two"), str(tmp_path / "none")]
    with Daemon(tmp_path, python_path=paths, home=str(tmp_path / "home")) as daemon:
        found = eval(daemon.get(script).body)
        assert found[:4] == [str(tmp_path / name) for name in ("home", "one", "two", "three")]
        assert str(tmp_path / "none") in daemon.wait_for_log("WSGID0308")


def test_the_title_is_what_ps_shows(tmp_path):
    with Daemon(tmp_path, display_name="shop %{GROUP}") as daemon:
        command = Path(f"/proc/{daemon.pid}/cmdline").read_bytes().rstrip(b"\0")
        assert command == b"shop wsgid:unit"
        assert Path(f"/proc/{daemon.pid}/comm").read_text() == "shop wsgid:unit\n"


def test_only_modules_that_a_request_needs_are_imported(tmp_path, write):
    """Every import costs each application start-up time and memory. Compared with `python -c
    pass`.
    """
    script = write(
        "import sys\ndef application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    return [' '.join(sys.modules).encode()]\n"
    )
    program = "import sys; print(*sys.modules)"
    bare = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()
    with Daemon(tmp_path, scripts=[script]) as daemon:
        loaded = set(daemon.get(script).body.decode().split()) - set(bare)
    allowed = "threading select mmap struct faulthandler binascii math errno itertools"
    allowed += " pwd"  # imported by site, where HOME is not set
    allowed += " collections functools operator keyword reprlib types"  # imported by threading
    allowed += " mod_wsgi apache"  # empty until they are used
    allowed += " importlib warnings"  # imported by boot.py
    allowed += " io"  # imported by logs.py; up to 3.13, Python imports it at start
    roots = {name.partition(".")[0] for name in loaded}
    assert {name for name in roots if not name.startswith(("pywsgid", "_"))} <= set(allowed.split())
