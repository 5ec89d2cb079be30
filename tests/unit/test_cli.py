"""The command line: what it prints where, and that a failure is one line with a code. No httpd is started here."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pywsgid import __version__, cli, module, reach, run, server

CHECKOUT = Path(__file__).resolve().parents[2]
SOMEWHERE = server.Server("/usr/sbin/httpd", "/modules", frozenset({"core", "unixd"}))


def pywsgid(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pywsgid", *words], cwd=CHECKOUT, capture_output=True, text=True)


def failure(*words: str) -> str:
    """The one line on stderr of a command that fails."""
    done = pywsgid(*words)
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert re.match(r"pywsgid: WSGID04\d\d: ", lines[0])
    return lines[0]


def site(**changes) -> run.Site:
    values = {"server": SOMEWHERE, "root": "/tmp/wsgid-x", "module": "/m/mod_wsgid.so", "script": "/srv/a b/site.wsgi",
              "python": "/usr/bin/python3", "host": "127.0.0.1", "port": 8000, "identity": None}
    return run.Site(**{**values, **changes})


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "site.wsgi"
    path.write_text("def application(environ, start_response): pass\n")
    return path


def test_module_config_prints_one_line_for_httpd_and_nothing_else():
    done = pywsgid("module-config")
    assert (done.returncode, done.stderr) == (0, "")
    path = re.fullmatch(r'LoadModule wsgid_module "(.+/mod_wsgid\.so)"\n', done.stdout).group(1)
    assert os.path.isabs(path) and os.path.isfile(path)


def test_module_config_without_a_module_says_how_to_build_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(module, "PACKAGE", str(tmp_path / "pywsgid"))
    assert cli.main(["module-config"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pywsgid: WSGID0401: ") and "make" in err and err.count("\n") == 1


@pytest.mark.parametrize("place", ["pywsgid", ".", "build"])
def test_the_module_is_found_in_the_package_beside_it_and_in_a_checkout(monkeypatch, tmp_path, place):
    (tmp_path / "pywsgid").mkdir()
    (tmp_path / "build").mkdir()
    (tmp_path / place / "mod_wsgid.so").touch()
    monkeypatch.setattr(module, "PACKAGE", str(tmp_path / "pywsgid"))
    assert os.path.samefile(module.find_module(), tmp_path / place / "mod_wsgid.so")


def test_version_is_that_of_the_c_header():
    header = (CHECKOUT / "apxs" / "wsgid.h").read_text()
    assert re.search(r'#define WSGID_VERSION "(.+)"', header).group(1) == __version__
    assert pywsgid("version").stdout.startswith(f"pywsgid {__version__}, Python ")


def test_no_command_is_a_usage_error():
    assert pywsgid().returncode == 2


def test_every_command_has_help():
    listing = pywsgid("--help").stdout
    for command in cli.COMMANDS:
        assert command.name in listing
        assert command.help.capitalize() in " ".join(pywsgid(command.name, "--help").stdout.split())


def test_run_of_a_missing_script_names_it():
    assert "WSGID0403: /nowhere/site.wsgi" in failure("run", "/nowhere/site.wsgi")


def test_run_of_a_directory_says_so(tmp_path):
    assert "Is a directory" in failure("run", str(tmp_path))


def test_run_of_a_script_with_a_syntax_error_names_the_line(tmp_path):
    path = tmp_path / "site.wsgi"
    path.write_text("import os\ndef application(:\n")
    assert f"WSGID0404: {path}, line 2: " in failure("run", str(path))


def test_run_on_a_port_that_is_taken_names_it(script):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        line = failure("run", "--port", str(port), str(script))
    assert f"WSGID0405: cannot listen on 127.0.0.1:{port}" in line and "PORT=" in line


@pytest.mark.parametrize("text", ["-1", "65536", "http"])
def test_run_refuses_what_is_no_port(text, script):
    assert pywsgid("run", f"--port={text}", str(script)).returncode == 2


def test_a_script_below_a_closed_directory_is_told_with_that_directory(tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    (closed / "deep").mkdir(parents=True)
    path = closed / "deep" / "site.wsgi"
    path.touch()
    # Whoever runs this, root too, is told what the check found: that it finds it is the next test's matter.
    monkeypatch.setattr(run, "in_the_way", lambda *_: str(closed))
    with pytest.raises(cli.Failure, match=rf"WSGID0406: .* cannot enter {closed}, .*chmod o\+x {closed}"):
        run.check_way(str(path), None)


def test_in_the_way_names_the_first_closed_directory(tmp_path):
    if os.geteuid() == 0:
        # pytest's directories are its user's alone.
        assert reach.in_the_way(str(tmp_path / "x"), reach.daemon_identity()) in [str(p) for p in tmp_path.parents]
        return
    closed = tmp_path / "closed"
    (closed / "deep").mkdir(parents=True)
    closed.chmod(0)
    try:
        assert reach.in_the_way(str(closed / "deep" / "x"), None) == str(closed)
    finally:
        closed.chmod(stat.S_IRWXU)


def test_nothing_is_in_the_way_of_what_everybody_reads():
    assert reach.in_the_way("/etc/passwd", reach.daemon_identity()) is None


def test_the_file_itself_is_named_if_the_way_is_open():
    assert reach.in_the_way("/etc/passwd", reach.daemon_identity(), os.X_OK) == "/etc/passwd"


def test_the_configuration_quotes_paths_and_loads_what_is_not_compiled_in():
    text = run.configuration(site(server=server.Server("httpd", "/modules", frozenset({"core", "unixd", "event"}))))
    assert 'WSGIScriptAlias / "/srv/a b/site.wsgi"' in text
    assert '"home=/srv/a b"' in text
    assert 'LoadModule authz_core_module "/modules/mod_authz_core.so"' in text
    assert "unixd_module" not in text and "mpm_" not in text
    assert not re.search(r"^User ", text, re.M)


def test_the_configuration_names_a_user_when_root_starts_it():
    lines = run.identity_lines(reach.Identity("www-data", 33, 34))
    assert lines == ["User www-data", "Group #34"]


@pytest.mark.parametrize("host, url", [("127.0.0.1", "http://localhost:8000/"), ("0.0.0.0", "http://localhost:8000/"),
                                       ("::1", "http://[::1]:8000/"), ("192.0.2.1", "http://192.0.2.1:8000/")])
def test_the_address_that_is_printed_can_be_opened(host, url):
    assert site(host=host).url == url


def test_quote_survives_quotes_and_backslashes_and_refuses_line_breaks():
    assert server.quote('a "b" \\') == '"a \\"b\\" \\\\"'
    with pytest.raises(ValueError):
        server.quote("a\nb")


def test_port_0_is_replaced_by_a_free_one():
    assert run.check_port("127.0.0.1", 0) > 0
