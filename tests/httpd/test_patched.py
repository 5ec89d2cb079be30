"""Scripts that replace Python's threads, locks, sleep and select: monkey.patch_all() of gevent,
eventlet.monkey_patch(). The daemon goes on using its own.
"""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from httpdenv import pythons, wait_until

CONFIGURATION = """
WSGIDaemonProcess app threads=1 python-home=@HOME@ env=WSGID_PATCH=@PATCH@ env=PYTHONWARNINGS=ignore
WSGIDaemonProcess several threads=5 python-home=@HOME@ env=WSGID_PATCH=@PATCH@ env=PYTHONWARNINGS=ignore
WSGIScriptAlias /several ${FILES}/patched.wsgi
<Location /several>
    WSGIProcessName several
</Location>
"""
AT_START = "WSGIScriptAlias / ${FILES}/patched.wsgi process-name=app"
BY_A_REQUEST = """
WSGIScriptAlias / ${FILES}/patched.wsgi
<LocationMatch "^/(?!several)">
    WSGIProcessName app
</LocationMatch>
"""

# An application after which nothing works any more that the daemon could have taken from there.
WILD = """
import _thread, logging, os, select, selectors, signal, socket, sys, threading, time

NAMES = {
    _thread: "allocate_lock start_new_thread get_ident RLock",
    os: "write read pread getpid pipe2 close stat eventfd_write register_at_fork",
    select: "poll select epoll",
    socket: "socket socketpair",
    selectors: "DefaultSelector",
    signal: "signal set_wakeup_fd pthread_sigmask",
    threading: "Thread Lock RLock Condition Event current_thread enumerate get_ident main_thread local",
    time: "sleep time time_ns monotonic monotonic_ns",
}


def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


def refuse(*_, **__):
    raise RuntimeError("patched")


for module, names in NAMES.items():
    for name in names.split():
        setattr(module, name, refuse)
"""


@pytest.fixture(scope="module", params=("gevent", "eventlet"))
def patch(request):
    return request.param


@pytest.fixture(scope="module", params=(AT_START, BY_A_REQUEST), ids=("at start", "by a request"))
def alias(request):
    return request.param


@pytest.fixture(scope="module")
def home(patch):
    python = pythons.for_daemons()
    if python is None:
        pytest.skip("no Python >= 3.10 on this machine that the daemons' user can reach")
    return pythons.virtualenv(python, patch)


@pytest.fixture(scope="module")
def script(stage):
    return (stage.apps / "patched.wsgi").read_text()


@pytest.fixture(scope="module")
def httpd(make_httpd, patch, home, script, alias):
    text = (CONFIGURATION + alias).replace("@HOME@", str(home)).replace("@PATCH@", patch)
    httpd = make_httpd(text, files={"patched.wsgi": script}, start=None)
    with httpd.log.allows("WSGID0373: group 'several'"):
        httpd.start()
        httpd.log.wait_for("WSGID0303: group 'app': ready", timeout=30)
        httpd.log.wait_for("WSGID0303: group 'several': ready", timeout=30)
    return httpd


@pytest.fixture(autouse=True)
def allowed(httpd):
    """The script is loaded at the start, or by the first request."""
    with httpd.log.allows("WSGID0373: group 'several'"):
        yield


def ask(httpd, path: str, count: int = 1, **options) -> set[str]:
    """The answers of `count` clients at once, without the pid behind each."""
    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(lambda _: httpd.request("POST", path, **options), range(count)))
    assert {response.status_code for response in found} == {200}
    return {response.text.split()[0] for response in found}


def test_twenty_clients_are_answered(httpd):
    assert ask(httpd, "/", 20) == {"hello"}


def test_bodies_are_received(httpd):
    assert ask(httpd, "/", 3, data=b"x" * 1_000_000) == {"hello" + "x" * 1_000_000}


def test_a_request_may_sleep(httpd):
    began = time.monotonic()
    assert ask(httpd, "/sleep") == {"slept"}
    assert time.monotonic() - began >= 0.2


def test_a_lock_is_held_by_one_request_at_a_time(httpd):
    assert ask(httpd, "/locked", 20) == {"alone"}


def test_threads_of_the_application_run(httpd):
    assert ask(httpd, "/threads", 5) == {"10"}


def test_records_and_lines_reach_the_log(httpd):
    since = httpd.log.mark()
    with httpd.log.expects("shop: a record of the application"):
        ask(httpd, "/log")
    assert httpd.log.wait_for("a line of the application", since)


def test_several_threads_serve_and_the_log_says_what_may_hang(allowed, httpd):
    assert ask(httpd, "/several/sleep", 5) == {"slept"}
    assert len(httpd.log.find("WSGID0373: group 'several'.*set threads=1")) == 1
    assert not httpd.log.find("WSGID0373: group 'app'")


def test_a_changed_script_is_loaded(allowed, httpd, script):
    old = httpd.daemons("app")
    httpd.write("patched.wsgi", script + "\n# changed\n")
    httpd.wait_for_daemons("app", 1, without=old)
    assert ask(httpd, "/", 3) == {"hello"}


def test_a_terminated_process_finishes_its_requests(allowed, httpd):
    (old,) = httpd.daemons("app")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(ask, httpd, "/sleep")
        wait_until(lambda: httpd.log.find("WSGID0303"), "ready")
        os.kill(old, signal.SIGTERM)
        assert answer.result() == {"slept"}
    httpd.wait_for_daemons("app", 1, without=[old])


def test_a_stop_leaves_nothing_and_takes_no_time(allowed, httpd):
    began = time.monotonic()
    httpd.stop()
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("place", ("", "process-name=app"), ids=("by a request", "at start"))
def test_nothing_that_an_application_replaces_is_missed(serve, place):
    """Among them what agents wrap: it is served, reloaded and stopped as any other."""
    httpd = serve(
        "WSGIDaemonProcess app request-timeout=60 maximum-requests=1000\nWSGIProcessName app\n"
        f"WSGIScriptAlias / ${{FILES}}/wild.wsgi {place}",
        files={"wild.wsgi": WILD},
    )
    httpd.log.wait_for("WSGID0303: group 'app': ready")
    assert ask(httpd, "/", 20) == {"hello"}
    old = httpd.daemons("app")
    httpd.write("wild.wsgi", WILD + "\n")
    httpd.wait_for_daemons("app", 1, without=old)
    assert ask(httpd, "/", 20) == {"hello"}
    httpd.stop()
    for what in ("WSGID0325", "WSGID0058", "Traceback"):
        assert not httpd.log.find(what)
