"""signal.signal() of an application: the same in scripts that are loaded at start and by requests."""

from __future__ import annotations

import os
import signal

import pytest
from httpdenv import wait_until

SCRIPT = """
import os, signal, sys, time

seen = []

def noted(number, frame):
    seen.append(number)

def raises(number, frame):
    raise LookupError("from a handler")

def leaves(number, frame):
    sys.exit("from a handler")

def error_of(number, handler):
    try:
        signal.signal(number, handler)
    except Exception as error:
        return type(error).__name__

before = signal.signal(signal.SIGALRM, noted)
again = signal.signal(signal.SIGALRM, noted)
signal.signal(signal.SIGWINCH, raises)
signal.signal(signal.SIGVTALRM, leaves)
signal.signal(signal.SIGTERM, noted)
errors = [error_of(signal.SIGKILL, noted), error_of(1000, noted), error_of(signal.SIGALRM, "text")]

def child(environ):
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(7))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
        os._exit(8)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

WHAT = {
    "pid": lambda environ: os.getpid(),
    "seen": lambda environ: seen.count(signal.SIGALRM),
    "terms": lambda environ: seen.count(signal.SIGTERM),
    "kept": lambda environ: (before == signal.SIG_DFL, again is noted,
                             signal.getsignal(signal.SIGALRM) is noted),
    "errors": lambda environ: errors,
    "later": lambda environ: error_of(signal.SIGALRM, noted),
    "child": child,
}

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(WHAT[environ["PATH_INFO"].strip("/")](environ)).encode()]
"""
AT_START = """
WSGIDaemonProcess site threads=2
WSGIScriptAlias /site ${FILES}/site.wsgi process-name=site
"""
BY_A_REQUEST = """
WSGIDaemonProcess site threads=2
<Location /site>
    WSGIProcessName site
</Location>
WSGIScriptAlias /site ${FILES}/site.wsgi
"""


@pytest.fixture(scope="module", params=(AT_START, BY_A_REQUEST), ids=("at start", "by a request"))
def httpd(request, make_httpd):
    httpd = make_httpd(request.param, files={"site.wsgi": SCRIPT})
    httpd.get("/site/pid")
    return httpd


def pid_of(httpd):
    return int(httpd.get("/site/pid").text)


def test_a_handler_is_called_and_is_the_applications_own(httpd):
    count = int(httpd.get("/site/seen").text)
    os.kill(pid_of(httpd), signal.SIGALRM)
    wait_until(lambda: int(httpd.get("/site/seen").text) == count + 1, "the handler to be called")
    assert httpd.get("/site/kept").text == "(True, True, True)"


def test_a_wrong_call_raises_what_python_raises(httpd):
    assert httpd.get("/site/errors").text == "['OSError', 'ValueError', 'TypeError']"


def test_the_application_itself_runs_in_a_thread_that_may_set_no_handler(httpd):
    assert httpd.get("/site/later").text == "ValueError"


def test_a_child_that_the_application_forks_sets_any_handler(httpd):
    assert httpd.get("/site/child").text == "7"


@pytest.mark.parametrize(
    ("number", "error"),
    [(signal.SIGWINCH, "LookupError"), (signal.SIGVTALRM, "SystemExit")],
)
def test_the_process_goes_on_if_a_handler_raises(httpd, number, error):
    pid = pid_of(httpd)
    with httpd.log.expects(f"WSGID0376: .*signal {int(number)} has raised {error}"):
        os.kill(pid, number)
    since = httpd.log.mark()
    os.kill(pid, signal.SIGUSR2)
    httpd.log.wait_for("WSGID0314", since)  # the main thread hears of signals
    assert pid_of(httpd) == pid


def test_sigterm_still_ends_the_process(httpd):
    pid = pid_of(httpd)
    httpd.log.wait_for("WSGID0378: .*signal 15", 0)
    with httpd.log.allows("WSGID"):
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: pid_of(httpd) != pid, "another process")
    assert httpd.get("/site/terms").text == "0"


@pytest.mark.parametrize("alias", (AT_START, BY_A_REQUEST), ids=("at start", "by a request"))
def test_a_restricted_application_sets_no_handler_and_notices_nothing(serve, alias):
    script = """
import signal

before = signal.signal(signal.SIGALRM, lambda *args: None)

def application(environ, start_response):
    signal.signal(signal.SIGTERM, lambda *args: None)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(before == signal.getsignal(signal.SIGALRM) == signal.SIG_DFL).encode()]
"""
    httpd = serve("WSGIRestrictSignal On" + alias, files={"site.wsgi": script})
    assert httpd.get("/site").text == "True"
    httpd.log.wait_for("WSGID0377: .*signal 14 in /.*/site.wsgi:4 is ignored", 0)
    httpd.log.wait_for("WSGID0377: .*signal 15 in /.*/site.wsgi:7 is ignored", 0)
    httpd.log.accept_all("WSGID0377")
