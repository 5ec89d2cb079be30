"""The command line: what it prints where, and that a failure is one line with a code. No httpd is
started here.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from httpdenv import machine
from httpdenv.serving import without_notes

from pywsgid import __version__
from pywsgid.cli import (
    control_client,
    control_sockets,
    file_access,
    main,
    messages,
    module,
    server,
    users,
)
from pywsgid.cli.serve import (
    application_files,
    httpd_conf,
    prechecks,
    serve_options,
    server_root,
    site,
    target,
)
from pywsgid.wire import process_abi
from pywsgid.wire.options import OPTIONS

CHECKOUT = Path(__file__).resolve().parents[3]
SOMEWHERE = server.Server("/usr/sbin/httpd", "/modules", frozenset({"core", "unixd", "event"}))


def pywsgid(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pywsgid", *words], cwd=CHECKOUT, capture_output=True, text=True
    )


def failure(*words: str) -> str:
    """The one line on stderr of a command that fails."""
    done = pywsgid(*words)
    assert done.returncode == 1
    assert done.stdout == ""
    lines = without_notes(done.stderr)
    assert len(lines) == 1, done.stderr
    assert re.match(r"pywsgid: WSGID04\d\d: ", lines[0])
    return lines[0]


def options(*words: str) -> dict:
    """The options of a command line."""
    parser = argparse.ArgumentParser()
    serve_options.declare(parser, "serve")
    return vars(parser.parse_args([*words, "hello:app"]))


def planned(*words: str, **changes) -> site.Site:
    """A site that needs nothing of this machine."""
    goal = target.Target("site.wsgi", "/srv/a b", script="/srv/a b/site.wsgi")
    values = {
        "server": SOMEWHERE,
        "root": "/tmp/wsgid-x",
        "module": "/m/mod_wsgid.so",
        "identity": None,
        "application": None,
        "target": goal,
        "script": goal.script,
        "interpreter": "python=/usr/bin/python3",
        "options": options(*words),
    }
    return site.Site(**{**values, **changes})


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
    assert main.main(["module-config"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pywsgid: WSGID0401: ") and "make" in err and err.count("\n") == 1


@pytest.mark.parametrize("place", ["pywsgid", ".", "build"])
def test_the_module_is_found_in_the_package_beside_it_and_in_a_checkout(
    monkeypatch, tmp_path, place
):
    (tmp_path / "pywsgid").mkdir()
    (tmp_path / "build").mkdir()
    (tmp_path / place / "mod_wsgid.so").touch()
    monkeypatch.setattr(module, "PACKAGE", str(tmp_path / "pywsgid"))
    assert os.path.samefile(module.find_module(), tmp_path / place / "mod_wsgid.so")


def test_version_is_that_of_the_package():
    assert pywsgid("version").stdout.startswith(f"pywsgid {__version__}, Python ")


def test_version_is_an_option_too():
    assert pywsgid("--version").stdout == pywsgid("version").stdout


def test_an_unknown_option_is_told_with_the_usage_of_its_command():
    done = pywsgid("serve", "hello:app", "--nothing")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == "pywsgid serve: error: unrecognized arguments: --nothing"


def test_no_command_is_a_usage_error():
    assert pywsgid().returncode == 2


def test_every_command_has_help():
    listing = pywsgid("--help").stdout
    for command in main.COMMANDS:
        assert command.name in listing
        assert command.description in " ".join(pywsgid(command.name, "--help").stdout.split())


def test_serve_of_a_missing_script_names_it():
    assert "WSGID0403: /nowhere/site.wsgi" in failure("serve", "/nowhere/site.wsgi")


def test_serve_of_a_directory_that_is_no_project_says_so(tmp_path):
    assert "contains no manage.py" in failure("serve", str(tmp_path))


def test_serve_of_a_script_with_a_syntax_error_names_the_line(tmp_path):
    path = tmp_path / "site.wsgi"
    path.write_text("import os\ndef application(:\n")
    assert f"WSGID0404: {path}, line 2: " in failure("serve", str(path))


def test_serve_of_a_module_that_is_nowhere_says_where_it_looked():
    place = machine.temporary_directory("wsgid-nothing-")  # every user can enter it
    try:
        where = ("--working-directory", str(place))
        line = failure("serve", "--port", "0", *where, "no_such_module:app")
    finally:
        place.rmdir()
    assert (
        f"WSGID0403: there is no module no_such_module in {place}" in line
        and "--python-home" in line
    )


def test_serve_on_a_port_that_is_taken_names_it(script):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        line = failure("serve", "--port", str(port), str(script))
    assert f"WSGID0405: cannot listen on 127.0.0.1:{port}" in line and "PORT=" in line


def test_serve_at_an_address_of_another_machine_says_so(script):
    line = failure("serve", "--host", "192.0.2.1", str(script))
    assert (
        "WSGID0405: cannot listen on 192.0.2.1:8000" in line
        and "name an address of this machine" in line
    )


@pytest.mark.parametrize(
    "words",
    [
        "--port=-1",
        "--port=65536",
        "--port=http",
        "--threads=0",
        "--env=1A=b",
        "--mount-point=shop",
        "--log-level=loud",
        "--umask=8",
        "--queue-timeout=soon",
        "--memory-limit=1T",
        "--env=A=${PATH}",
    ],
)
def test_serve_refuses_what_is_no_value_with_a_short_usage(words, script):
    done = pywsgid("serve", words, str(script))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 3


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--python", "/a", "--python-home", "/b"], "--python and --python-home both"),
        (["--https-only"], "--https-only has no effect without --https-port"),
        (
            ["--ssl-certificate-file", "/etc/passwd"],
            "no effect without --https-port: add --https-port",
        ),
        (["--https-port", "0"], "--https-port needs --ssl-certificate-file"),
        (["--document-root", "/nowhere"], "--document-root: /nowhere does not exist"),
        (["--url-alias", "/x", "/nowhere"], "--url-alias: /nowhere does not exist"),
        (["--include-file", "/nowhere"], "--include-file: /nowhere does not exist"),
        (["--reload", "--host", "0.0.0.0"], "other machines can reach 0.0.0.0"),
        (["--reload", "--host", "::"], "other machines can reach ::"),
        (["--group", "no_such_group"], "there is no group no_such_group"),
        (["--user", "no_such_user"], "there is no user no_such_user"),
        (["--user", "root"], "must not run as root"),
    ],
)
def test_options_that_cannot_be_had_are_refused_in_one_line(words, problem, script):
    line = failure("serve", "--port", "0", *words, str(script))
    assert "WSGID0410: " in line and problem in line


# -------- what TARGET is


@pytest.fixture
def application(tmp_path, monkeypatch):
    """A package, a module and a Django project, in the current directory."""
    for name, text in {
        "hello.py": "app = 1",
        "shop/__init__.py": "from shop.web import app",
        "shop/web.py": "app = 1",
        "factory.py": "def create_app(): pass",
        "star.py": "from os import *",
        "broken.py": "def (",
        "project/manage.py": MANAGE,
        "project/config/wsgi.py": "application = 1",
        "project/other/wsgi.py": "application = 1",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


MANAGE = """
import os
os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'config.settings.local')
"""


def find(text: str, callable_name: str = "application", **words) -> target.Target:
    return target.find(text, callable_name, None, **words)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("hello:app", "from hello import app as application"),
        ("shop:app", "from shop import app as application"),
        ("shop:web.app", "from shop import web\n\napplication = web.app"),
        ("factory:create_app()", "from factory import create_app\n\napplication = create_app()"),
        ("star:anything", "from star import anything as application"),
        ("somewhere.else_:app", "from somewhere.else_ import app as application"),
    ],
)
def test_a_callable_of_a_module_becomes_a_script_that_imports_it(application, text, line):
    found = find(text)
    assert (found.script, found.directory, found.module) == (
        "",
        str(application),
        re.split("[.:]", text)[0],
    )
    assert line in found.source
    compile(found.source, "x", "exec")


@pytest.mark.parametrize(
    ("text", "code", "problem"),
    [
        ("hello:application", "WSGID0404", "does not define `application`: name hello:app"),
        ("factory:app", "WSGID0404", "name factory:create_app(), because"),
        ("broken:app", "WSGID0404", "broken.py, line 1: "),
        ("hello.py", "WSGID0404", "add --callable-object app, because it defines app"),
        ("factory.py", "WSGID0404", "add `application = create_app()`"),
        ("shop/web.wsgi", "WSGID0403", "cannot be read (No such file"),
        ("hello", "WSGID0403", "name a WSGI script, MODULE:CALLABLE"),
        ("shop", "WSGID0403", "contains no manage.py"),
    ],
)
def test_what_is_no_application_is_refused_with_what_might_be_meant(
    application, text, code, problem
):
    with pytest.raises(messages.Failure) as failed:
        find(text)
    assert str(failed.value).startswith(code) and problem in str(failed.value)


def test_a_script_is_taken_as_it_is(application):
    assert find("hello.py", "app") == target.Target(
        "hello.py", str(application), str(application / "hello.py"), callable="app"
    )


def test_syntax_is_no_matter_if_another_interpreter_will_read_it(application):
    assert find("broken.py", other_python=True).script == str(application / "broken.py")


@pytest.mark.parametrize("text", ["project", "project/", "project/manage.py"])
def test_a_django_project_has_its_settings_neighbour_for_a_script(application, text):
    found, project = find(text), application / "project"
    assert (found.script, found.directory) == (str(project / "config/wsgi.py"), str(project))


def test_a_django_project_without_a_script_gets_one(application):
    for name in ("config", "other"):
        (application / "project" / name / "wsgi.py").unlink()
    assert '"DJANGO_SETTINGS_MODULE", "config.settings.local"' in find("project").source


# -------- the table of options


def test_every_option_of_wsgidaemonprocess_is_an_option_of_serve():
    names = {option.name for option in serve_options.options()}
    assert OPTIONS.keys() - names == {"home"}
    assert (
        next(option for option in serve_options.options() if option.name == "reload").metavar == ()
    )


def test_every_option_has_its_default_in_the_help():
    text = " ".join(pywsgid("serve", "--help").stdout.split())
    for option in serve_options.options():
        assert f"--{option.name}" in text
        assert option.help.endswith(".")
        if option.default not in (None, False, True):
            assert f"Default: {option.default}." in text


def test_setup_has_no_options_of_a_temporary_server():
    assert {"--server-root", "--reload"} <= set(pywsgid("serve", "--help").stdout.split())
    assert not {"--server-root", "--reload"} & set(pywsgid("setup", "--help").stdout.split())


def test_what_is_given_goes_to_the_daemon_and_nothing_else():
    text = httpd_conf.configuration(
        planned(
            "--threads",
            "3",
            "--env",
            "A=b c",
            "--env",
            "B=",
            "--python-path",
            "/x",
            "--chroot",
            "/srv",
            "--memory-limit",
            "1G",
        )
    )
    words = re.search("WSGIDaemonProcess app(.*)WSGIProcessName", text, re.S).group(1)
    assert re.findall('"(.*)"', words) == [
        "python=/usr/bin/python3",
        "home=/srv/a b",
        "python-path=/x",
        "threads=3",
        "chroot=/srv",
        "env=A=b c",
        "env=B=",
        "memory-limit=1G",
    ]


# -------- ways and words


def test_a_script_below_a_closed_directory_is_told_with_that_directory(tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    (closed / "deep").mkdir(parents=True)
    path = closed / "deep" / "site.wsgi"
    path.touch()
    # Whoever runs this, root too, is told what the check found: that it finds it is the next test's
    # matter.
    monkeypatch.setattr(prechecks, "blocked_at", lambda *_: str(closed))
    goal = target.Target(str(path), str(path.parent), script=str(path))
    with pytest.raises(
        messages.Failure, match=rf"WSGID0406: .* cannot enter {closed}, .*chmod o\+x {closed}"
    ):
        prechecks.check_way(planned(target=goal))


def test_a_script_that_was_closed_after_the_look_at_it_is_not_copied_to_where_everybody_reads(
    tmp_path, monkeypatch
):
    """Root copies; a link to a file of root's may be what closed it."""
    (tmp_path / "application").mkdir()
    (tmp_path / "secret").write_text("root's")
    script = tmp_path / "site.wsgi"
    script.symlink_to("secret")
    monkeypatch.setattr(application_files, "blocked_at", lambda path, *_: path)
    goal = target.Target(str(script), str(tmp_path), script=str(script))
    application_files.with_reachable_script(
        planned(target=goal, script=str(script), root=str(tmp_path))
    )
    assert not list((tmp_path / "application").iterdir())


def test_the_first_closed_directory_is_named(tmp_path):
    if os.geteuid() == 0:
        # pytest's directories are its user's alone.
        assert file_access.blocked_at(str(tmp_path / "x"), users.web_identity()) in [
            str(p) for p in tmp_path.parents
        ]
        return
    closed = tmp_path / "closed"
    (closed / "deep").mkdir(parents=True)
    closed.chmod(0)
    try:
        assert file_access.blocked_at(str(closed / "deep" / "x"), None) == str(closed)
    finally:
        closed.chmod(stat.S_IRWXU)


def test_nothing_is_in_the_way_of_what_everybody_reads():
    assert file_access.blocked_at("/etc/passwd", users.web_identity()) is None


def test_the_file_itself_is_named_if_the_way_is_open():
    assert file_access.blocked_at("/etc/passwd", users.web_identity(), os.X_OK) == "/etc/passwd"


def test_the_configuration_quotes_paths_and_loads_what_is_not_compiled_in():
    text = httpd_conf.configuration(planned())
    assert 'WSGIScriptAlias "/" "/srv/a b/site.wsgi"' in text
    assert '"home=/srv/a b"' in text
    assert 'LoadModule authz_core_module "/modules/mod_authz_core.so"' in text
    assert "unixd_module" not in text and "mpm_" not in text
    assert not re.search(r"^User ", text, re.M)


def test_the_configuration_names_a_user_when_root_starts_it():
    text = httpd_conf.configuration(planned(identity=users.Identity("www-data", 33, 34)))
    assert "\nUser www-data\nGroup #34\n" in text


@pytest.mark.parametrize(
    "host, url",
    [
        ("127.0.0.1", "http://localhost:8000/"),
        ("0.0.0.0", "http://localhost:8000/"),
        ("::1", "http://[::1]:8000/"),
        ("192.0.2.1", "http://192.0.2.1:8000/"),
    ],
)
def test_the_address_that_is_printed_can_be_opened(host, url):
    assert planned("--host", host).address.url == url


def test_quote_survives_quotes_and_backslashes_and_refuses_line_breaks():
    assert server.quote('a "b" \\') == '"a \\"b\\" \\\\"'
    for text in ("a\nb", "a${b}"):
        with pytest.raises(ValueError):
            server.quote(text)


def test_port_0_is_replaced_by_a_free_one():
    assert prechecks.check_port("127.0.0.1", 0) > 0


# -------- pywsgid status


@pytest.mark.parametrize(
    ("times", "half", "most"),
    [
        ({0: 1}, 16, 31.68),
        ({3: 10}, 192, 254.72),  # 128 to 256
        ({0: 50, 4: 50}, 32, 506.88),  # the second half 256 to 512
        ({23: 5}, 32 << 22, 32 << 22),  # nobody knows how much longer
        ({}, 0, 0),
    ],
)
def test_what_a_histogram_says_of_most_requests(times, half, most):
    buckets = [times.get(number, 0) for number in range(process_abi.PAGE_BUCKETS)]
    assert control_client.quantile(buckets, 0.5) == pytest.approx(half)
    assert control_client.quantile(buckets, 0.99) == pytest.approx(most)


EVIL = "\x1b]0;mine\x07\rover"
SAID = {
    "group": "app",
    "slot": 0,
    "pid": 1,
    "state": "serving",
    "since": 0,
    "python": "3.11.2",
    "uid": 1,
    "threads": 1,
    "queue": 0,
    "started": 0,
    "finished": 0,
    "errors": 0,
    "queue_times": [],
    "application_times": [],
    "running": [],
    "stacks": [["thread 1", "in f"]],
}
DEEP = b"[" * 200_000
# What stands in an answer in the place of what has to stand there.
NONSENSE = [
    {"running": [1]},
    {"running": [{"thread": 1}]},
    {"running": [{"thread": 1, "request": "", "elapsed": "long"}]},
    {"since": 1e300},
    {"since": float("nan")},
    {"since": -1e300},
    {"uid": 1 << 80},
    {"finished": -1},
    {"pid": True},
    {"queue_times": ["a"]},
    {"queue_times": [0] * 1000},
    {"application_times": [1e300]},
    {"slot": None},
    DEEP,
    b'{"slot": 1' + b"0" * 100_000 + b"}",
]


@pytest.mark.parametrize("words", [["status"], ["stacks", EVIL]], ids=["status", "stacks"])
def test_what_a_daemon_says_does_not_drive_the_terminal(tmp_path, capsys, words):
    """It is another user's process, and the terminal may be root's."""
    said = {
        **SAID,
        "group": EVIL,
        "python": EVIL,
        "running": [{"thread": 1, "request": EVIL, "elapsed": 1}],
        "stacks": [[EVIL, EVIL]],
    }
    with daemon_that_says(tmp_path / "x.1.0.0.ctl", json.dumps(said).encode()):
        assert main.main([*words, "--sockets", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "mine" in shown and all(line.isprintable() for line in shown.split("\n"))


def test_a_daemon_that_says_no_end_of_it_is_not_listened_to(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(control_sockets, "ANSWER_MAX", 1000)
    with daemon_that_says(tmp_path / "x.1.0.0.ctl", b" " * 1001 + b"{}"):
        assert main.main(["status", "--sockets", str(tmp_path)]) == 1
    assert "WSGID0442" in capsys.readouterr().err


@pytest.mark.parametrize(
    "answer", [b"{", b"[]", b"\xff", b'{"group": "app"}', b'{"group": "app", "pid": "1"}']
)
def test_a_daemon_that_is_not_understood_is_none(tmp_path, capsys, answer):
    with daemon_that_says(tmp_path / "x.1.0.0.ctl", answer):
        assert main.main(["status", "--sockets", str(tmp_path)]) == 1
    assert "WSGID0442" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "stacks"])
@pytest.mark.parametrize("nonsense", NONSENSE, ids=lambda value: str(value)[:40])
def test_a_daemon_that_talks_nonsense_is_told_in_a_line_and_the_others_are_shown(
    tmp_path, monkeypatch, capsys, command, nonsense
):
    monkeypatch.setattr(control_client, "RATE_INTERVAL", 0.01)
    answer = nonsense if isinstance(nonsense, bytes) else json.dumps(SAID | nonsense).encode()
    words = [command, "app"] if command == "stacks" else [command]
    with (
        daemon_that_says(tmp_path / "x.1.0.0.ctl", answer),
        daemon_that_says(tmp_path / "x.1.1.0.ctl", json.dumps({**SAID, "more": [[[]]]}).encode()),
    ):
        for options in ([], ["--json"]):
            assert main.main([*words, *options, "--sockets", str(tmp_path)]) == 0
            out, err = capsys.readouterr()
            assert ("in f" if command == "stacks" else "3.11.2") in out
            assert (
                err.startswith(f"pywsgid: WSGID0443: {tmp_path}/x.1.0.0.ctl: ")
                and err.count("\n") == 1
            )


@pytest.mark.parametrize("stacks", [[1], [["a"]], [["a", 1]], None, DEEP])
def test_stacks_that_are_nonsense_are_told_too(tmp_path, capsys, stacks):
    answers = {
        b"status": json.dumps(SAID).encode(),
        b"stacks": stacks
        if isinstance(stacks, bytes)
        else json.dumps(SAID | {"stacks": stacks}).encode(),
    }
    with daemon_that_says(tmp_path / "x.1.0.0.ctl", answers):
        assert main.main(["stacks", "app", "--sockets", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert out == "group 'app' slot 0: process 1\n"
    assert err.startswith("pywsgid: WSGID0443: ") and err.count("\n") == 1


@contextlib.contextmanager
def daemons_that_hang(*paths):
    """Control sockets that accept connections, as httpd's parent keeps them, and never answer."""
    with contextlib.ExitStack() as listeners:
        for path in paths:
            listener = listeners.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(path))
            listener.listen(1)
        yield


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_status_shows_what_does_not_answer_and_waits_once_for_all(
    tmp_path, monkeypatch, capsys, options
):
    monkeypatch.setattr(control_client, "RATE_INTERVAL", 0.01)
    hanging = [tmp_path / f"x.1.{slot}.ctl" for slot in ("0.1", "1.0", "1.1", "2.0", "2.1")]
    with (
        daemon_that_says(tmp_path / "x.1.0.0.ctl", json.dumps(SAID).encode()),
        daemons_that_hang(*hanging),
    ):
        began = time.monotonic()
        assert main.main(["status", *options, "--sockets", str(tmp_path)]) == 0
        took = time.monotonic() - began
    lines = capsys.readouterr().out.splitlines()
    assert took < 2 * control_sockets.PATIENCE
    assert len(lines) == 6 and "3.11.2" in lines[0]
    if options:
        known = [json.loads(line) for line in lines[1:]]
        assert [one["group"] for one in known] == ["app", None, None, None, None]
        assert [one["slot"] for one in known] == [1, 0, 1, 0, 1]
        assert {one["state"] for one in known} == {"no answer"}
    else:
        assert lines[1].startswith("group 'app' slot 1: no process answered within 1 s at ")
        for line, path in zip(lines[1:], hanging):
            assert str(path) in line and "see httpd's ErrorLog" in line


def test_a_full_backlog_is_no_answer_and_holds_nobody_up(tmp_path, capsys):
    path = tmp_path / "x.1.0.0.ctl"
    with daemons_that_hang(path), contextlib.ExitStack() as waiting:
        for _ in range(3):
            other = waiting.enter_context(socket.socket(socket.AF_UNIX))
            other.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                other.connect(str(path))
        assert main.main(["status", "--sockets", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("unknown group slot 0: no process answered")
    assert err.startswith("pywsgid: WSGID0442: ")


def test_stacks_of_others_are_shown_and_a_process_that_hangs_is_named(tmp_path, capsys):
    with (
        daemon_that_says(tmp_path / "x.1.0.0.ctl", json.dumps(SAID).encode()),
        daemons_that_hang(tmp_path / "x.1.0.1.ctl"),
    ):
        assert main.main(["stacks", "app", "--sockets", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "in f" in out
    assert err.startswith("pywsgid: group 'app' slot 1: no process answered within 1 s")


@contextlib.contextmanager
def daemon_that_says(path, answer):
    """A control socket whose every question is answered so; or each by its own of a dictionary of
    answers.
    """
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve():
        with contextlib.suppress(OSError):
            while True:
                with listener.accept()[0] as peer:
                    question = peer.recv(64).strip()
                    with contextlib.suppress(ConnectionError):
                        peer.sendall(answer[question] if isinstance(answer, dict) else answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def test_setup_in_a_directory_that_cannot_be_read_is_told(monkeypatch, tmp_path):
    """Root reads all, so this is what another user meets."""

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(
        messages.Failure, match="WSGID0411.*cannot be written .Permission denied.: name a dir"
    ):
        server_root.check_unused(str(tmp_path))
