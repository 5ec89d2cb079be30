"""A free-threaded Python serves without a GIL: all threads run at once, and nothing is lost or
mixed up.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from httpdenv import Crowd, Load, pythons, wait_until

THREADS = 15
NAMES = ("app", "many", "slow", "stuck", "back", "gil")
CONFIGURATION = """
WSGIDaemonProcess app python=@PYTHON@
WSGIDaemonProcess many python=@PYTHON@ maximum-requests=200
WSGIDaemonProcess slow python=@PYTHON@ slow-request=0.3
WSGIDaemonProcess stuck python=@PYTHON@ request-timeout=1 slow-request=0.3
WSGIDaemonProcess back python=@PYTHON@ python-path=${FILES}/extensions
WSGIDaemonProcess gil python=@PYTHON@ env=PYTHON_GIL=1
WSGIDaemonProcess flask python-home=@FLASK@
MaxKeepAliveRequests 0
WSGIScriptAlias /flask ${APPS}/flask_site.wsgi process-name=flask
WSGIScriptAlias /echo ${APPS}/echo.wsgi process-name=app
""" + "".join(
    f"WSGIScriptAlias /{name} ${{FILES}}/{name}.wsgi process-name={name}\n" for name in NAMES
)
# /meet answers once THREADS requests are in the application at the same time; the first line of the
# answer is the query.
SCRIPT = """
import hashlib, os, sys, threading, time

MEETING = threading.Barrier(@THREADS@)
TIRED = threading.Event()

def compute():
    return sum(number * number for number in range(200))

def application(environ, start_response):
    what, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    if what == "/meet":
        MEETING.wait(20)
    elif what == "/spin":
        end = time.monotonic() + 30
        while not TIRED.is_set() and time.monotonic() < end:
            compute()
    elif what == "/tire":
        TIRED.set()
    elif what == "/compute":
        compute()
    elif what == "/needs-the-gil":
        import needs_the_gil
    elif what == "/errors":
        for number in range(100):
            environ["wsgi.errors"].write("a line of ")
            environ["wsgi.errors"].write(query + "\\n")
    with open("/proc/self/maps") as maps:
        has_c = "_native" in maps.read()
    facts = [query, os.getpid(), sys._is_gil_enabled(), has_c, threading.get_ident()]
    body = "\\n".join(map(str, facts)).encode()
    start_response("200 OK", [("Content-Length", str(len(body))), ("X-Query", query)])
    return [body]
"""
EXTENSION = """
#include <Python.h>
static struct PyModuleDef module = { PyModuleDef_HEAD_INIT, .m_name = "needs_the_gil", .m_size = -1 };
PyMODINIT_FUNC PyInit_needs_the_gil(void) { return PyModule_Create(&module); }
"""


@pytest.fixture(scope="module")
def python():
    found = pythons.for_daemons(free_threaded=True)
    if found is None:
        pytest.skip(
            "no free-threaded Python (python3.13t, python3.14t ...) that the daemons' user can reach"
        )
    return found


@pytest.fixture(scope="module")
def httpd(make_httpd, python):
    text = CONFIGURATION.replace("@PYTHON@", str(python.executable))
    text = text.replace("@FLASK@", str(pythons.virtualenv(python, "flask>=3")))
    script = SCRIPT.replace("@THREADS@", str(THREADS))
    httpd = make_httpd(text, start=None, files={f"{name}.wsgi": script for name in NAMES})
    (httpd.files / "extensions").mkdir(mode=0o755)
    httpd.start()
    httpd.log.wait_for("group 'flask': ready", timeout=30)
    return httpd


def ask(httpd, path: str) -> list[str]:
    """Query, pid, whether there is a GIL, whether the hot path is in C, thread."""
    answer = httpd.get(path, timeout=30)
    assert answer.status_code == 200
    return answer.text.splitlines()


def assert_they_meet(httpd, name: str) -> None:
    answers = Crowd(httpd, f"/{name}/meet", THREADS).join()
    assert [answer.status_code for answer in answers] == [200] * THREADS
    assert len({answer.text.splitlines()[-1] for answer in answers}) == THREADS, (
        "each in a thread of its own"
    )


def pywsgid(httpd, *words: str) -> str:
    command = [sys.executable, "-m", "pywsgid", *words, "--sockets", str(httpd.root / "run")]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


# -------- the interpreter


def test_it_serves_without_a_gil_and_with_the_hot_path_in_c(httpd):
    assert ask(httpd, "/app?x")[2:4] == ["False", "True"]
    assert httpd.log.find(
        r"group 'app': ready: Python 3\.[\d.]+ \(free-threaded\), 15 threads, slot 0"
    )


def test_it_can_run_with_a_gil(httpd):
    assert ask(httpd, "/gil?x")[2:4] == ["True", "True"]
    assert httpd.log.find(r"group 'gil': ready: Python 3\.[\d.]+ \(free-threaded, but with a GIL\)")


@pytest.mark.parametrize("name", ["app", "gil"])
def test_as_many_requests_as_threads_run_at_once(httpd, name):
    for _ in range(3):
        assert_they_meet(httpd, name)


# -------- under load


@pytest.mark.parametrize("connections", [16, 64])
def test_each_client_gets_its_own_answer_over_reloads(httpd, connections):
    """Load compares the first line of each answer with its query."""
    script = SCRIPT.replace("@THREADS@", str(THREADS))
    with Load(httpd, "/app/compute", connections) as load:
        for number in range(3):
            (old,) = httpd.daemons("app")
            httpd.write("app.wsgi", f"{script}# {connections} {number}\n")
            httpd.wait_for_daemons("app", 1, without=[old])
            load.wait_for_more(200)
    load.assert_nothing_lost()


def test_bodies_arrive_whole_in_both_directions(httpd):
    digests: list[tuple[str, str]] = []

    def exchange(number: int) -> None:
        for size in (1, 3_000, 70_000, 700_000):
            body = bytes([number]) * size + os.urandom(size)
            back = httpd.post("/echo", data=body, timeout=30).content
            digests.append((hashlib.sha256(body).hexdigest(), hashlib.sha256(back).hexdigest()))

    threads = [threading.Thread(target=exchange, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(digests) == 4 * THREADS
    assert [pair for pair in digests if pair[0] != pair[1]] == []


def test_lines_of_many_requests_are_not_mixed(httpd):
    with httpd.log.expects("a line of w"):
        for thread in [Crowd(httpd, f"/app/errors?w{number}w") for number in range(THREADS)]:
            thread.join()
    for number in range(THREADS):
        lines = httpd.log.find(f"a line of w{number}w$")
        assert len(lines) == 100
        assert len({re.search(r"\[request (\S+)\]", line.text)[1] for line in lines}) == 1


def test_processes_are_recycled_when_their_requests_are_over(httpd):
    with Load(httpd, "/many", 16) as load:
        wait_until(
            lambda: len(httpd.log.find("WSGID0350: group 'many'.*maximum-requests")) >= 4,
            "four replacement requests",
            30,
        )
    load.assert_nothing_lost()


def test_a_process_that_is_killed_is_replaced(httpd):
    (old,) = httpd.daemons("app")
    with httpd.log.expects(f"WSGID0052.*{old}"):
        os.kill(old, signal.SIGKILL)
        assert ask(httpd, "/app?x")[1] != str(old)


# -------- inspecting running threads


def test_stacks_are_shown_while_all_threads_run(httpd):
    pid = ask(httpd, "/app?x")[1]
    with Load(httpd, "/app/compute", 16) as load:
        spinning = Crowd(httpd, "/app/spin", 2)
        stacks = wait_until(
            lambda: (text := pywsgid(httpd, "stacks", "app")) and "in compute" in text and text,
            "one",
        )
        for _ in range(10):
            os.kill(int(pid), signal.SIGUSR2)
            load.wait_for_more(20)
        assert ask(httpd, "/app/tire")
        assert [answer.status_code for answer in spinning.join()] == [200, 200]
    load.assert_nothing_lost()
    assert re.search(r'File ".*/app.wsgi", line \d+, in compute\n', stacks)
    assert ask(httpd, "/app?x")[1] == pid
    assert "group 'app' slot 0" in pywsgid(httpd, "status")


def test_a_slow_request_is_logged_with_its_stack(httpd):
    slow = "WSGID0352: group 'slow': slow: GET /slow/spin"
    with httpd.log.expects(slow) as lines:
        spinning = Crowd(httpd, "/slow/spin")
        wait_until(lambda: httpd.log.find(slow), "the line")
        assert ask(httpd, "/slow/tire")
        assert [answer.status_code for answer in spinning.join()] == [200]
    assert re.search(r"line \d+, in (application|compute|<genexpr>)$", lines[0].text)


def test_all_requests_that_run_too_long_are_interrupted(httpd):
    pid = ask(httpd, "/stuck?x")[1]
    since = httpd.log.mark()
    with httpd.log.expects("WSGID0352", "WSGID0353", "WSGID0358", "Traceback"):
        answers = Crowd(httpd, "/stuck/spin", THREADS).join()
        wait_until(
            lambda: len(httpd.log.find("WSGID0358: no answer", since)) == THREADS, "a line for each"
        )
    assert [answer.status_code for answer in answers] == [504] * THREADS
    assert ask(httpd, "/stuck?x")[1] == pid


# -------- the GIL is enabled again; applications


def test_an_extension_that_needs_the_gil_is_logged_and_works(httpd, python):
    """A request imports it, long after the daemon has decided how many requests run at once."""
    where = "import sysconfig; print(sysconfig.get_path('include'), sysconfig.get_config_var('EXT_SUFFIX'))"
    done = subprocess.run(
        [python.executable, "-I", "-c", where], capture_output=True, text=True, check=True
    )
    include, suffix = done.stdout.split()
    if not (Path(include) / "Python.h").exists():
        pytest.skip(f"no header files for {python.executable}")
    source = httpd.write("extensions/needs_the_gil.c", EXTENSION)
    target = httpd.files / "extensions" / f"needs_the_gil{suffix}"
    subprocess.run(["gcc", "-shared", "-fPIC", f"-I{include}", source, "-o", target], check=True)
    target.chmod(0o755)
    assert ask(httpd, "/back?x")[2] == "False"
    with httpd.log.expects(
        "global interpreter lock .GIL. has been enabled to load module 'needs_the_gil'"
    ):
        assert ask(httpd, "/back/needs-the-gil?x")[2] == "True"
    for _ in range(3):
        assert_they_meet(httpd, "back")
    with Load(httpd, "/back/compute", 16) as load:
        load.wait_for_more(300)
    load.assert_nothing_lost()


def test_flask_is_served(httpd):
    assert httpd.get("/flask/user/Zo%C3%AB/7?a=1").json() == {
        "name": "Zoë",
        "number": 7,
        "query": {"a": "1"},
    }
    content = os.urandom(300_000)
    crowd = [Crowd(httpd, f"/flask/user/x/{number}") for number in range(THREADS)]
    answer = httpd.post("/flask/upload", files={"file": ("a.bin", content)}).json()
    assert answer["digest"] == hashlib.sha256(content).hexdigest()
    assert sorted(one.json()["number"] for each in crowd for one in each.join()) == list(
        range(THREADS)
    )
