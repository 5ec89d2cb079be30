"""A misconfiguration is reported in one line within a second and answered quickly, and the group
works again once it is fixed.
"""

from __future__ import annotations

import os
import pwd
import time

import pytest
from httpdenv import machine, wait_until

QUICK = 2.0  # seconds for an answer that cannot succeed
WITHIN = 1.0  # seconds from the start to the line that reports the problem


def quickly(httpd, path: str, *statuses: int):
    """Returns the answer; asserts that it has one of these statuses and comes at once."""
    response = httpd.get(path, timeout=10)
    assert response.status_code in statuses
    assert response.elapsed.total_seconds() < QUICK
    return response


BROKEN = "import a_module_that_does_not_exist\n"


def working_script(stage) -> str:
    return (stage.apps / "hello.wsgi").read_text()


def test_a_script_that_cannot_be_imported_is_logged_with_its_traceback_and_recovers_once_fixed(
    make_httpd, stage
):
    """The script is loaded at start, because the alias names its group without a variable."""
    httpd = make_httpd(
        "WSGIDaemonProcess app\nWSGIScriptAlias / ${FILES}/app.wsgi process-name=app\n",
        files={"app.wsgi": BROKEN},
    )
    for expected in (
        r"WSGID03\d\d",
        "Traceback",
        "ModuleNotFoundError.*a_module_that_does_not_exist",
    ):
        httpd.log.wait_for(expected, timeout=5)
    with httpd.log.expects(r"WSGID\d{4}"), httpd.log.allows("Traceback", "ModuleNotFoundError"):
        quickly(httpd, "/", 500, 503)
        httpd.write("app.wsgi", working_script(stage))
        recovers(httpd, "/")
    accept_all_of_ours(httpd)


def test_a_broken_script_loaded_on_first_use_is_a_500_and_recovers_once_fixed(make_httpd, stage):
    httpd = make_httpd("WSGIScriptAliasMatch ^/(.*) ${FILES}/$1.wsgi\n", files={"app.wsgi": BROKEN})
    with httpd.log.expects(r"WSGID03\d\d", "Traceback", "ModuleNotFoundError"):
        quickly(httpd, "/app", 500)
    httpd.write("app.wsgi", working_script(stage))
    assert httpd.get("/app").status_code == 200
    # The process held only a half-imported script, so it left to be replaced by a clean one.
    httpd.log.accept_all("WSGID0052.*exit code 84")


def test_a_script_that_takes_long_to_load_is_logged_with_its_stack(make_httpd, stage):
    slow = "import time\ntime.sleep(10.5)\n" + working_script(stage)
    httpd = make_httpd(
        "WSGIDaemonProcess app startup-timeout=60\nWSGIScriptAlias / ${FILES}/app.wsgi process-name=app\n",
        files={"app.wsgi": slow},
    )
    with httpd.log.expects("WSGID0371.*not ready after 10 s"):
        assert httpd.get("/", timeout=20).status_code == 200
    assert f'File "{httpd.files}/app.wsgi", line 2, in <module>' in httpd.log_text()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("def application(:\n", "SyntaxError"),
        ("raise SystemExit(3)\n", "SystemExit"),
        ("import os\nos._exit(7)\n", "7"),
        ("x = 1\n", "application"),
        ("raise RuntimeError('at import')\n", "at import"),
    ],
    ids=["syntax-error", "sys-exit", "os-exit", "no-application", "exception"],
)
def test_other_load_failures_are_logged_and_answered(make_httpd, content, words):
    httpd = make_httpd(
        "WSGIDaemonProcess app\nWSGIScriptAlias / ${FILES}/app.wsgi process-name=app\n",
        files={"app.wsgi": content},
    )
    httpd.log.wait_for(words, timeout=5)
    quickly(httpd, "/", 500, 502, 503)
    accept_all_of_ours(httpd)


LIMITS = ["memory-limit=1M", "memory-limit=9M", "virtual-memory-limit=20M", "memory-limit=16M"]


@pytest.mark.parametrize("limit", LIMITS)
def test_a_memory_limit_too_low_for_python_is_named_in_the_line_about_the_death(make_httpd, limit):
    """The limits range from no room for the interpreter itself to no room for its threads."""
    httpd = make_httpd(
        f"WSGIDaemonProcess app {limit}\nWSGIScriptAlias / ${{APPS}}/hello.wsgi process-name=app\n"
    )
    option, _, megabytes = limit.removesuffix("M").partition("=")
    httpd.log.wait_for(f"WSGID0056.* under {option}={int(megabytes) << 20}[;,] ", timeout=5)
    quickly(httpd, "/", 500, 503)
    httpd.stop()  # or it would keep trying
    httpd.log.accept_all(".")


def test_a_script_that_does_not_exist_is_a_404_and_is_logged(make_httpd):
    httpd = make_httpd(
        "WSGIScriptAlias / ${FILES}/missing.wsgi process-name=%{ENV:G}\nSetEnv G %{GLOBAL}\n"
    )
    with httpd.log.expects("WSGID0151.*missing.wsgi"):
        assert httpd.get("/").status_code == 404


def test_an_alias_to_a_directory_is_a_403_with_a_line_that_says_what_to_write(make_httpd, stage):
    httpd = make_httpd(
        "WSGIDaemonProcess app\nWSGIScriptAlias / ${FILES}/site process-name=%{ENV:G}\nSetEnv G app\n",
        files={"site/app.wsgi": working_script(stage)},
    )
    with httpd.log.expects("WSGID0152.*/site.*Name the script file in WSGIScriptAlias"):
        assert httpd.get("/").status_code == 403
    assert httpd.get("/app.wsgi").status_code == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="root's files need root")
def test_a_script_that_its_user_cannot_read_is_logged(make_httpd, stage):
    httpd = make_httpd(
        "WSGIScriptAlias / ${FILES}/secret.wsgi\n",
        start=None,
        files={"secret.wsgi": working_script(stage)},
    )
    (httpd.files / "secret.wsgi").chmod(0o600)
    since = httpd.log.mark()
    httpd.start()
    httpd.log.wait_for(r"WSGID\d{4}.*secret\.wsgi", since, 5)
    quickly(httpd, "/", 403, 500, 503)
    accept_all_of_ours(httpd)


UNUSABLE = {
    "interpreter-missing": ("python=/nowhere/bin/python", "/nowhere does not exist: create it"),
    "interpreter-not-executable": (
        "python=/etc/passwd",
        r"may not execute /etc/passwd: allow it \(chmod o\+rx\)",
    ),
    "home-of-virtualenv-missing": (
        "python-home=/nowhere/venv",
        "/nowhere does not exist: create it",
    ),
    "home-missing": ("home=/nowhere/home", "/nowhere/home"),
    "chroot-missing": ("chroot=/nowhere/root", "/nowhere/root"),
    "chroot-empty": ("chroot=/etc", "chroot=/etc must contain the interpreter"),
    "env-file-missing": ("env-file=/nowhere/env", "/nowhere/env"),
    "interpreter-is-no-python": ("python=/bin/true", "exit code 0 .*a program that is not Python"),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_an_unusable_option_is_logged_within_a_second_and_answered_with_503(make_httpd, what):
    option, words = UNUSABLE[what]
    if option.startswith("chroot") and os.geteuid() != 0:
        pytest.skip("chroot is root's")
    httpd = make_httpd(
        f"WSGIDaemonProcess app {option}\nWSGIScriptAlias / ${{APPS}}/hello.wsgi process-name=app\n"
    )
    began = time.monotonic()
    httpd.log.wait_for(f"WSGID00[5-9]\\d.*{words}", timeout=WITHIN)
    assert time.monotonic() - began < WITHIN
    response = quickly(httpd, "/", 500, 503)
    if response.status_code == 503:
        assert int(response.headers["Retry-After"]) >= 1
    accept_all_of_ours(httpd)


def test_a_user_that_does_not_exist_is_refused_by_configtest(make_httpd):
    httpd = make_httpd("WSGIDaemonProcess app user=nobody-of-this-name\n", start=None)
    code, output = httpd.configtest()
    assert code != 0
    assert "WSGID0005" in output
    assert "nobody-of-this-name" in output


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's daemons need root")
def test_a_home_that_the_user_may_not_enter_is_logged(make_httpd, tmp_path):
    (tmp_path / "home").mkdir(mode=0o700)
    user = machine.other_users()[0].pw_name
    httpd = make_httpd(
        f"WSGIDaemonProcess app user={user} home={tmp_path}/home\n"
        "WSGIScriptAlias / ${APPS}/hello.wsgi process-name=app\n"
    )
    httpd.log.wait_for(f"WSGID00[5-9]\\d.*{tmp_path}/home", timeout=WITHIN)
    quickly(httpd, "/", 500, 503)
    accept_all_of_ours(httpd)


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's daemons need root")
def test_an_interpreter_that_the_user_cannot_reach_is_logged(make_httpd, tmp_path):
    """The interpreter is below a directory of mode 0700, as a build under root's home is."""
    (tmp_path / "private").mkdir(mode=0o700)
    (tmp_path / "private" / "python").symlink_to("/usr/bin/env")
    httpd = make_httpd(
        f"WSGIDaemonProcess app python={tmp_path}/private/python\n"
        "WSGIScriptAlias / ${APPS}/hello.wsgi process-name=app\n"
    )
    httpd.log.wait_for(
        f"WSGID00[5-9]\\d.*{pwd.getpwnam(machine.web_user()).pw_name}.*{tmp_path}/private.*may not enter",
        timeout=WITHIN,
    )
    quickly(httpd, "/", 500, 503)
    accept_all_of_ours(httpd)


def test_an_extension_that_cannot_be_loaded_is_logged_and_answered_with_503(make_httpd):
    httpd = make_httpd(
        "WSGIDaemonProcess app env=WSGID_NATIVE=/nowhere/_native.so\n"
        "WSGIScriptAlias / ${APPS}/hello.wsgi process-name=app\n"
    )
    httpd.log.wait_for(r"WSGID0329: group 'app'.*/nowhere/_native\.so.*`make`", timeout=WITHIN)
    httpd.log.wait_for(r"WSGID00\d\d.*exit code 85", timeout=WITHIN)
    quickly(httpd, "/", 503)
    accept_all_of_ours(httpd)


@pytest.mark.parametrize("when", ["at start", "with a request"])
def test_a_script_that_cannot_be_loaded_is_a_500_whenever_it_is_loaded(serve, when):
    """As with mod_wsgi. Once it is corrected, it is served without a restart."""
    script, known = "WSGIScriptAlias / ${FILES}/site.wsgi", " process-name=app"
    httpd = serve(
        f"WSGIDaemonProcess app\n{script}{known if when == 'at start' else ''}\n"
        "<Location />\n    WSGIProcessName app\n</Location>\n",
        files={"site.wsgi": "raise RuntimeError('broken')"},
    )
    if when == "at start":
        httpd.log.wait_for(r"WSGID00\d\d.*next.*app|WSGID0056", timeout=WITHIN)
    for _ in range(3):
        response = httpd.get("/")
        assert (response.status_code, response.headers.get("Retry-After")) == (500, None)
    httpd.write("site.wsgi", (httpd.stage.apps / "hello.wsgi").read_text())
    wait_until(lambda: httpd.get("/").status_code == 200, "the corrected script", 15)
    httpd.log.accept_all(".")


def test_a_group_that_cannot_start_does_not_affect_others(make_httpd):
    httpd = make_httpd(
        "WSGIDaemonProcess broken python=/nowhere/python\nWSGIDaemonProcess sound\n"
        "WSGIScriptAlias /broken ${APPS}/hello.wsgi process-name=broken\n"
        "WSGIScriptAlias /sound ${APPS}/whoami.wsgi process-name=sound\n"
    )
    pids = {httpd.get("/sound").json()["pid"] for _ in range(20)}
    quickly(httpd, "/broken", 500, 503)
    assert len(pids) == 1
    accept_all_of_ours(httpd)


def test_starts_of_a_process_that_cannot_boot_are_delayed(make_httpd):
    """The back-off starts it at once, then after 1, 2, 4 ... seconds: at most three or four starts
    within three seconds.
    """
    httpd = make_httpd(
        "WSGIDaemonProcess app\nWSGIScriptAlias / ${FILES}/app.wsgi process-name=app\n",
        files={"app.wsgi": BROKEN},
    )
    httpd.log.wait_for(r"WSGID0056", timeout=5)
    starts = len(httpd.log.find(r"WSGID0050"))
    for _ in range(20):
        quickly(httpd, "/", 500, 503)
    assert len(httpd.log.find(r"WSGID0050")) <= starts + 3
    accept_all_of_ours(httpd)


def recovers(httpd, path: str) -> None:
    """Waits for the back-off's next start, which a changed script brings forward."""
    wait_until(
        lambda: httpd.get(path).status_code == 200, "an answer from the fixed application", 5
    )


def accept_all_of_ours(httpd) -> None:
    """Stops httpd and accepts our lines: a group that cannot start keeps logging until its httpd
    stops, and these tests are about that.
    """
    httpd.stop()
    # The report of a SyntaxError has no traceback line of its own: it names the place and the
    # error.
    httpd.log.accept_all(r"WSGID\d{4}", "Traceback", "SyntaxError", r"^ ")


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's httpd is its own User")
def test_a_socket_directory_that_httpds_user_needs_and_may_not_enter_is_logged_at_the_start(
    make_httpd,
):
    """Once, not with each request. Children of httpd need the path only where /proc is missing."""
    text = 'WSGISocketPrefix ${FILES}/closed/x\nWSGIDaemonProcess x\nChrootDir "${ROOT}"\n'
    httpd = make_httpd(text, start=False)
    (httpd.files / "closed").mkdir(mode=0o700)
    with httpd.log.expects(f"WSGID0061.*httpd's User cannot enter {httpd.files}/closed", "AH00020"):
        with pytest.raises(AssertionError):
            httpd.start(timeout=2)
