"""`pywsgid serve`, which `make run` calls, and `pywsgid setup`: from an application to its own
httpd, with nothing left behind however it ends.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from httpdenv import client, machine, processes, wait_until
from httpdenv.serving import PYTHONPATH, Run, get, without_notes

CHECKOUT = Path(__file__).resolve().parents[2]
HELLO = CHECKOUT / "conf" / "hello.wsgi"
BROKEN = "raise RuntimeError('not today')\n"
pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
OWN = """
import neighbour
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [neighbour.WORD]
"""


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., Run]]:
    running: list[Run] = []

    def start(*words: str | Path, **options) -> Run:
        running.append(Run(tmp_path, *words, **options))
        return running[-1]

    yield start
    for run in running:
        if run.process.poll() is None:
            run.end(signal.SIGTERM)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user can enter, unlike pytest's own directories."""
    directory = machine.temporary_directory("wsgid-apps-")
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name
)
def test_it_serves_until_a_signal_and_leaves_nothing(start, number):
    run = start(HELLO)
    assert "Hello!" in get(run.wait_for_address()).text
    wait_until(lambda: '"GET / HTTP/1.1" 200' in run.log, "the access log", 5)
    assert run.end(number) == 0
    run.assert_nothing_left()
    assert "Traceback" not in run.log


@pytest.mark.parametrize("options", [[], ["--reload"]], ids=["plain", "reload"])
def test_it_heals_itself_when_a_cleaner_of_temporary_files_has_deleted_its_files(start, options):
    run = start(HELLO, *options)
    address = run.wait_for_address()
    root = run.root
    files = sorted(path for path in root.rglob("*") if path.is_file() and "logs" not in path.parts)
    shutil.rmtree(root)
    wait_until(lambda: "restarts gracefully" in run.log, "it to notice", 10)
    wait_until(lambda: "Hello!" in get(address).text, "it to serve again", 20)
    for _ in range(5):
        assert "Hello!" in get(address).text
    assert [path for path in files if path.suffix in (".conf", ".wsgi") and not path.exists()] == []
    assert run.end(signal.SIGTERM) == 0
    run.assert_nothing_left()


def test_run_is_another_name_for_serve(start):
    assert "Hello!" in get(start(HELLO, command="run").wait_for_address()).text


def test_its_own_request_is_not_in_the_access_log(start):
    run = start(HELLO)
    get(run.wait_for_address() + "mine")
    wait_until(lambda: "GET /mine" in run.log, "the access log", 5)
    assert '"GET / HTTP' not in run.log


def test_what_programs_of_the_application_write_is_on_the_terminal(start, open_directory):
    (open_directory / "site.wsgi").write_text(
        OWN.replace("neighbour.WORD", "b''").replace(
            "import neighbour", "import os\nos.system('echo from a program')"
        )
    )
    run = start(open_directory / "site.wsgi")
    run.wait_for_address()
    wait_until(
        lambda: re.search(r"\[group app\] from a program$", run.log, re.M), lambda: run.log, 5
    )


def test_server_status_shows_the_groups(start):
    address = start(HELLO, "--server-status").wait_for_address()
    assert "<h2>app</h2>" in get(address + "wsgid-status").text
    assert "<h2>mod_wsgid</h2>" in get(address + "server-status").text
    assert "Hello!" in get(address).text


def test_modules_beside_the_script_can_be_imported(start, open_directory):
    (open_directory / "neighbour.py").write_text("WORD = b'found'\n")
    (open_directory / "own site.wsgi").write_text(OWN)
    assert get(start(open_directory / "own site.wsgi").wait_for_address()).text == "found"


def test_an_application_that_cannot_be_loaded_is_reported(start, open_directory):
    (open_directory / "broken.wsgi").write_text(BROKEN)
    run = start(open_directory / "broken.wsgi")
    run.wait_for_address()
    assert re.search(r"but answers with status 50[03]: the log says why", run.out)
    assert "RuntimeError: not today" in run.log


def test_an_unexpected_end_of_httpd_is_reported_and_everything_is_removed(start):
    run = start(HELLO)
    run.wait_for_address()
    root = run.root
    os.kill(int((root / "run" / "httpd.pid").read_text()), signal.SIGKILL)
    assert run.process.wait(15) == 1
    assert run.log.splitlines()[-1].startswith(
        "pywsgid: WSGID0407: httpd ended by itself (signal 9)"
    )
    run.assert_nothing_left()


def test_httpd_ends_when_serve_is_killed(start):
    run = start(HELLO)
    run.wait_for_address()
    root = run.root
    run.process.kill()
    try:
        wait_until(lambda: not processes.using(root), "httpd and its daemons to leave", 10)
    finally:
        shutil.rmtree(
            root, ignore_errors=True
        )  # the last process may still be removing its own files


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's daemons run as another user")
def test_a_closed_checkout_is_served_from_copies(start, tmp_path):
    """pytest's directories have mode 0700, like a clone in /root."""
    for name in ("pywsgid", "conf"):
        shutil.copytree(CHECKOUT / name, tmp_path / name)
    (tmp_path / "build").mkdir()
    shutil.copy(machine.module_path(), tmp_path / "build")
    os.symlink("../pywsgid", tmp_path / "build" / "pywsgid")
    run = start(tmp_path / "conf" / "hello.wsgi", checkout=tmp_path)
    assert "Hello!" in get(run.wait_for_address()).text
    assert "WSGID0409" in run.log
    run.end(signal.SIGINT)
    run.assert_nothing_left()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's daemons run as another user")
def test_an_application_out_of_reach_is_refused_in_one_line(start, tmp_path):
    (tmp_path / "own.wsgi").write_text(OWN)
    run = start(tmp_path / "own.wsgi")
    assert run.process.wait(15) == 1
    assert run.log.count("\n") == 1
    assert run.log.startswith("pywsgid: WSGID0406: the application's user ")
    assert "chmod o+x" in run.log


# -------- modules, projects, options

SHOP = """
import json, os, neighbour
def app(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "a=b; Path=/")])
    keys = "SCRIPT_NAME", "wsgi.url_scheme", "wsgi.multiprocess", "REMOTE_ADDR", "SERVER_PROTOCOL"
    shown = {key: environ[key] for key in keys}
    yield json.dumps({**shown, "cwd": os.getcwd(), "env": os.environ.get("NAME"),
                      "uid": os.getuid(), "gid": os.getgid(), "length": len(body)}).encode()
def make(): return app
"""


@pytest.fixture
def shop(open_directory) -> Path:
    """A package `shop`, with a module that imports another module of the package, and static
    files.
    """
    for name, text in {
        "shop/__init__.py": "",
        "shop/web.py": SHOP,
        "neighbour.py": "",
        "files/a.css": "a {}",
        "root/shop/b.txt": "from the root",
    }.items():
        (open_directory / name).parent.mkdir(parents=True, exist_ok=True)
        (open_directory / name).write_text(text)
    return open_directory


def test_a_callable_of_a_module_is_served_from_the_current_directory(start, shop):
    run = start("shop.web:app", "--env", "NAME=a b", checkout=shop)
    seen = get(run.wait_for_address()).json()
    assert (seen["cwd"], seen["env"], seen["SCRIPT_NAME"]) == (str(shop), "a b", "")


def test_a_factory_of_a_module_is_called(start, shop):
    run = start("shop.web:make()", "--working-directory", shop)
    assert get(run.wait_for_address()).json()["cwd"] == str(shop)


def test_the_options_of_urls_tls_and_processes(start, shop, certificates):
    """All of them in one server, because they must not interfere with each other."""
    run = start(
        "shop.web:app",
        "--python-path",
        shop,
        "--working-directory",
        "/",
        "--mount-point",
        "/shop",
        "--url-alias",
        "/static",
        shop / "files",
        "--url-alias",
        "/one.css",
        shop / "files" / "a.css",
        "--document-root",
        shop / "root",
        "--processes",
        "2",
        "--threads",
        "3",
        "--limit-request-body",
        "1K",
        "--https-port",
        "0",
        "--https-only",
        "--http2",
        "--ssl-certificate-file",
        certificates / "server.crt",
        "--ssl-certificate-key-file",
        certificates / "server.key",
        "--compress-responses",
        "--trust-proxy",
        "127.0.0.1",
        "--server-name",
        "localhost",
        "--log-level",
        "warn wsgid:info",
    )
    wait_until(
        lambda: "served at" in run.out or run.process.poll() is not None,
        lambda: f"it: {run.log}",
        20,
    )
    url = re.search(r"served at (https://localhost:\d+)/shop ", run.out).group(1)
    seen = get(f"{url}/shop/x", headers={"X-Forwarded-For": "192.0.2.7"}).json()
    assert (
        seen["SCRIPT_NAME"] == "/shop" and seen["cwd"] == "/" and seen["wsgi.multiprocess"] is True
    )
    assert (seen["wsgi.url_scheme"], seen["REMOTE_ADDR"]) == ("https", "192.0.2.7")
    assert get(f"{url}/static/a.css").headers["Content-Type"].startswith("text/css")
    assert get(f"{url}/one.css").text == "a {}"
    assert get(f"{url}/shop/b.txt").text == "from the root"
    assert get(f"{url}/shop/x").headers["Content-Encoding"] == "gzip"
    assert get(f"{url}/shop/", data=b"x" * 2000).status_code == 413
    assert client.curl(f"{url}/shop/", "--http2")[1] == "2"
    # Over plain HTTP everything is redirected, even a file in the document root.
    plain = url.replace("https", "http").rpartition(":")[0] + ":" + listening(run)[0]
    for path in ("/shop/b.txt", "/shop/x?y=%2F"):
        answer = get(plain + path, allow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (301, url + path)


def listening(run: Run) -> list[str]:
    """The ports in the configuration that was written, HTTP first."""
    return re.findall(r'^Listen "127\.0\.0\.1:(\d+)"', (run.root / "httpd.conf").read_text(), re.M)


def test_only_a_trusted_proxy_may_claim_that_the_client_used_tls(start, shop):
    believed = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
    for trusted, scheme, client_address in (
        ("127.0.0.0/8", "https", "192.0.2.7"),
        ("10.0.0.1", "http", "127.0.0.1"),
    ):
        run = start("shop.web:app", "--trust-proxy", trusted, checkout=shop)
        seen = get(run.wait_for_address(), headers=believed).json()
        assert (seen["wsgi.url_scheme"], seen["REMOTE_ADDR"]) == (scheme, client_address)
        run.end(signal.SIGINT)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's daemons run as another user")
def test_another_user_runs_the_application(start, shop):
    other = machine.other_users()[0]
    run = start("shop.web:app", "--user", other.pw_name, checkout=shop)
    seen = get(run.wait_for_address()).json()
    assert (seen["uid"], seen["gid"]) == (other.pw_uid, other.pw_gid)
    run.end(signal.SIGINT)
    run = start(
        "shop.web:app", "--user", other.pw_name, "--group", f"#{other.pw_gid + 1}", checkout=shop
    )
    assert get(run.wait_for_address()).json()["gid"] == other.pw_gid + 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start it as somebody else")
def test_an_ordinary_user_can_use_serve_and_setup(start, shop, open_directory):
    other = machine.other_users()[0]
    if not machine.is_reachable_by_all(
        Path(sys.executable).resolve()
    ) or not machine.is_reachable_by_all(CHECKOUT):
        pytest.skip("the checkout or its Python is out of an ordinary user's reach")
    run = start("shop.web:app", checkout=shop, user=other.pw_uid)
    assert get(run.wait_for_address()).json()["uid"] == other.pw_uid
    assert run.end(signal.SIGINT) == 0
    run.assert_nothing_left()
    own = open_directory / "own"
    own.mkdir()
    os.chown(own, other.pw_uid, -1)
    done = subprocess.run(
        [sys.executable, "-m", "pywsgid", "setup", "--port", "0", "shop.web:app", own / "server"],
        cwd=shop,
        env=PYTHONPATH,
        user=other.pw_uid,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    url = re.search(r"http://\S+/", done.stdout)[0]
    for word in ("start", "stop"):
        subprocess.run(
            [own / "server" / "apachectl", word], user=other.pw_uid, check=True, capture_output=True
        )
        if word == "start":
            assert get(url).json()["uid"] == other.pw_uid


def make_project(directory: Path) -> None:
    command = [sys.executable, "-m", "django", "startproject", "site_of_mine", directory]
    subprocess.run(
        command, check=True, env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    )
    subprocess.run(["chmod", "-R", "a+rX", directory], check=True)


def test_a_django_project_is_served_by_its_directory(start, open_directory):
    project = open_directory / "project"
    project.mkdir()
    make_project(project)
    run = start(project)
    assert "install worked successfully" in " ".join(get(run.wait_for_address()).text.split())
    run.end(signal.SIGINT)
    # A project from the time before startproject wrote a wsgi.py.
    (project / "site_of_mine" / "wsgi.py").unlink()
    run = start(".", checkout=project)
    assert get(run.wait_for_address()).status_code == 200


def test_a_named_server_root_is_kept_and_can_be_used_again(start, open_directory, shop):
    root = open_directory / "server"
    for _ in range(2):
        run = start("shop.web:app", "--server-root", root, "--no-access-log", checkout=shop)
        assert get(run.wait_for_address()).status_code == 200
        assert run.end(signal.SIGINT) == 0
        assert "CustomLog" not in (root / "httpd.conf").read_text()


# -------- --reload

DEVELOPED = """
import neighbour
def application(environ, start_response):
    if environ["PATH_INFO"] == "/raise":
        raise ValueError("<shown>")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [neighbour.WORD]
"""


@pytest.fixture
def developed(start, open_directory) -> tuple[Run, Path, str]:
    (open_directory / "site.wsgi").write_text(DEVELOPED)
    (open_directory / "neighbour.py").write_text("WORD = b'first'\n")
    run = start(open_directory / "site.wsgi", "--reload")
    return run, open_directory / "neighbour.py", run.wait_for_address()


def wait_for_text(url: str, text: str) -> None:
    """Waits for the text; every answer until then must be a 200."""

    def arrived() -> bool:
        answer = get(url)
        assert answer.status_code == 200, answer.text
        return answer.text == text

    wait_until(arrived, f"{text!r}", 20)


def test_a_changed_module_is_reloaded(developed):
    _, module, url = developed
    assert get(url).text == "first"
    for number in range(3):
        # The new file has the same size and may have the same second of modification: Python must
        # not use the old compiled file for it.
        module.write_text(f"WORD = b'next {number}'\n")
        wait_for_text(url, f"next {number}")


def test_a_syntax_error_is_reported_and_the_old_code_serves_until_it_is_fixed(developed):
    run, module, url = developed
    module.write_text("WORD = = b'wrong'\n")
    wait_until(
        lambda: "SyntaxError: invalid syntax" in run.log, "the syntax error on the terminal", 20
    )
    assert get(url).text == "first"
    module.write_text("WORD = b'fixed'\n")
    wait_for_text(url, "fixed")


def test_an_exception_is_shown_with_reload_and_only_then(developed, start, open_directory):
    run, _, url = developed
    page = get(url + "raise")
    assert page.status_code == 500 and page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "ValueError: &lt;shown&gt;" in page.text and "raise ValueError" in page.text
    assert str(open_directory / "site.wsgi") in page.text
    wait_until(
        lambda: "WSGID0340: the application raised ValueError: <shown>" in run.log,
        "it on the terminal",
        5,
    )
    assert "shown" not in get(url + "raise", headers={"Host": "rebound.example"}).text
    run.end(signal.SIGINT)
    page = get(start(open_directory / "site.wsgi").wait_for_address() + "raise")
    assert page.status_code == 500
    assert "shown" not in page.text and "wsgi" not in page.text


def test_an_application_that_cannot_be_loaded_at_first_is_shown_until_it_is_fixed(
    start, open_directory
):
    script = open_directory / "site.wsgi"
    script.write_text(DEVELOPED)  # the module that it imports is missing
    run = start(script, "--reload")
    url = run.wait_for_address()
    assert "but answers with status 500" in run.out
    assert "No module named &#x27;neighbour&#x27;" in get(url).text
    (open_directory / "neighbour.py").write_text("WORD = = 1\n")
    wait_until(lambda: "SyntaxError" in get(url).text, "the next mistake in the browser", 20)
    (open_directory / "neighbour.py").write_text("WORD = b'there'\n")
    wait_until(lambda: get(url).text == "there", "the application", 20)


def test_reload_shows_flasks_exceptions_and_django_serves_static_files(start, open_directory):
    (open_directory / "shop.py").write_text(
        "import flask\napp = flask.Flask('shop')\napp.get('/')(lambda: 1 / 0)\n"
    )
    run = start("shop:app", "--reload", checkout=open_directory)
    assert "ZeroDivisionError" in get(run.wait_for_address()).text
    project = open_directory / "project"
    project.mkdir()
    make_project(project)
    run = start(project, "--reload")
    assert (
        get(run.wait_for_address() + "static/admin/css/base.css").headers["Content-Type"]
        == "text/css"
    )


def links_instead_of_files(directory: Path, victim: Path) -> None:
    """Replaces every file that the application's user can replace in a server root with a link."""
    command = ["find", directory, "-type", "f", "-exec", "ln", "-sf", victim, "{}", ";"]
    subprocess.run(
        command,
        user=machine.web_user(),
        group=machine.group_of(machine.web_user()),
        extra_groups=[],
        stderr=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's daemons run as another user")
@pytest.mark.parametrize("was_its_own", [False, True], ids=["ours", "its"])
def test_root_does_not_follow_links_that_the_applications_user_puts_in_place_of_files(
    start, open_directory, shop, was_its_own
):
    root, victim = open_directory / "server", open_directory / "victim"
    victim.write_text("root's")
    victim.chmod(0o600)
    for _ in range(2):
        run = start("shop.web:app", "--reload", "--server-root", root, checkout=shop)
        assert get(run.wait_for_address()).status_code == 200
        assert run.end(signal.SIGINT) == 0
        if was_its_own:
            for path in (root / "application", *root.glob("application/*")):
                shutil.chown(path, machine.web_user())
        links_instead_of_files(root, victim)
    found = victim.stat()
    assert (victim.read_text(), found.st_uid, found.st_mode & 0o777) == ("root's", 0, 0o600)
    run = start("shop.web:app", "--reload", "--server-root", root, checkout=shop)
    assert get(run.wait_for_address()).status_code == 200
    its = [
        path.name
        for path in root.rglob("*")
        if path.owner() == machine.web_user() and path.is_dir()
    ]
    assert its == ["development"]
    assert not (root / "application" / "development.wsgi").is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's daemons run as another user")
@pytest.mark.parametrize("option", ["--server-root", "--log-directory"])
def test_root_does_not_write_below_a_directory_of_the_applications_user(
    start, open_directory, shop, option
):
    its = open_directory / "its"
    (its / "deep").mkdir(parents=True)
    shutil.chown(its, machine.web_user())
    run = start("shop.web:app", option, its / "deep", checkout=shop)
    assert run.process.wait(15) == 1
    (line,) = without_notes(run.log)
    assert re.match(
        rf"pywsgid: WSGID0411: the application's user {machine.web_user()} can change {its}, so ",
        line,
    )
    shutil.chown(its, 0)
    its.chmod(0o1777)  # as /tmp: nobody can replace another user's files
    run = start("shop.web:app", option, its / "deep", checkout=shop)
    assert get(run.wait_for_address()).status_code == 200


def test_httpd_serves_djangos_collected_static_files(start, open_directory):
    project, static = open_directory / "project", open_directory / "static"
    project.mkdir()
    make_project(project)
    with open(project / "site_of_mine" / "settings.py", "a") as settings:
        settings.write(f"STATIC_ROOT = {str(static)!r}\n")
    subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--no-input"],
        cwd=project,
        check=True,
        capture_output=True,
    )
    subprocess.run(["chmod", "-R", "a+rX", static], check=True)
    run = start(project, "--url-alias", "/static/", static)
    assert get(run.wait_for_address() + "static/admin/css/base.css").status_code == 200


# -------- setup


def setup(directory: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [machine.stage().python, "-m", "pywsgid", "setup", *words]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, env=PYTHONPATH)


def control(directory: Path, word: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [directory / "apachectl", word], capture_output=True, text=True, timeout=30
    )


def has_restarted(log):
    """Whether httpd serves again after a SIGHUP."""
    return "resuming normal operations" in log.partition("SIGHUP received")[2]


def test_setup_writes_a_directory_with_an_apachectl_of_its_own(shop):
    directory = shop / "kept"
    done = setup(shop, "--port", "0", "shop.web:app", directory)
    assert done.returncode == 0, done.stderr
    url = re.search(
        r"is ready: `(.+) start` serves shop.web:app at (http://\S+/)", done.stdout
    ).group(2)
    assert control(directory, "configtest").returncode == 0
    assert control(directory, "status").returncode == 3
    try:
        assert control(directory, "start").returncode == 0
        assert get(url).json()["cwd"] == str(shop)
        assert re.search(rf"^running: pid \d+, {url}$", control(directory, "status").stdout)
        assert "already running" in control(directory, "start").stdout
        for word in ("graceful", "restart"):
            assert control(directory, word).returncode == 0
        wait_until(
            lambda: has_restarted((directory / "logs" / "error_log").read_text()),
            "the restart",
            10,
        )
        assert get(url).status_code == 200
        assert '"GET / HTTP/1.1" 200' in (directory / "logs" / "access_log").read_text()
    finally:
        assert control(directory, "stop").returncode == 0
    assert not processes.using(directory)
    assert not list((directory / "run").iterdir())
    assert "not running" in control(directory, "stop").stdout
    assert "apachectl start" in control(directory, "help").stdout
    assert "Syntax OK" in control(directory, "-t").stderr
    unknown = control(directory, "strat")
    assert (unknown.returncode, unknown.stdout) == (
        2,
        "",
    ) and "strat is not a command: use one of start" in unknown.stderr


def test_setup_does_not_overwrite_a_configuration(shop):
    (shop / "httpd.conf").write_text("mine")
    done = setup(shop, "shop.web:app", shop)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("pywsgid: WSGID0411: ")
    assert (shop / "httpd.conf").read_text() == "mine"


def test_setup_refuses_a_directory_with_other_files(shop):
    before = sorted(shop.rglob("*"))
    done = setup(shop, "shop.web:app", shop)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"WSGID0411: {shop} contains something else" in done.stderr
    assert sorted(shop.rglob("*")) == before


def test_setup_can_be_repeated_once_its_configuration_is_removed(shop):
    directory = shop / "kept"
    for _ in range(2):
        assert setup(shop, "--port", "0", "shop.web:app", directory).returncode == 0
        (directory / "httpd.conf").unlink()


def test_setup_reports_what_httpd_refuses(shop):
    (shop / "more.conf").write_text("Nonsense on\n")
    done = setup(shop, "--port", "0", "--include-file", "more.conf", "shop.web:app", shop / "kept")
    (line,) = without_notes(done.stderr)
    assert done.returncode == 1
    assert "WSGID0412" in line and "Invalid command 'Nonsense'" in line and "more.conf" in line
