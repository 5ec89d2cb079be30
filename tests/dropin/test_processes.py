"""What a daemon process is to the application: its interpreter, signals, threads, limits and end."""

from __future__ import annotations

import threading

import pytest
from dropinenv import differs
from httpdenv import wait_until

CONFIGURATION = """
WSGIApplicationGroup %{GLOBAL}
WSGIDaemonProcess site threads=4
WSGIDaemonProcess few threads=2 maximum-requests=3
WSGIDaemonProcess queue threads=1 queue-timeout=1
WSGIDaemonProcess slow threads=2 request-timeout=1 interrupt-timeout=1
WSGIDaemonProcess quiet threads=2
WSGIScriptAlias /site ${FILES}/site.wsgi process-group=site application-group=%{GLOBAL}
WSGIScriptAlias /later ${FILES}/later.wsgi
<Location /later>
    WSGIProcessGroup site
</Location>
WSGIScriptAlias /few ${FILES}/site.wsgi process-group=few application-group=%{GLOBAL}
WSGIScriptAlias /queue ${FILES}/site.wsgi process-group=queue application-group=%{GLOBAL}
WSGIScriptAlias /slow ${FILES}/site.wsgi process-group=slow application-group=%{GLOBAL}
"""
SCRIPT = """
import atexit, os, signal, subprocess, sys, threading, time

LOCAL = threading.local()
BACKGROUND = []
threading.Thread(target=lambda: BACKGROUND.append("ran"), daemon=True).start()
atexit.register(lambda: print("at exit", flush=True))

def pid(environ): return str(os.getpid())
def background(environ): return BACKGROUND[0]
def child(environ): return subprocess.run(["echo", "from a child"], capture_output=True, text=True).stdout
def forked(environ):
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
def main_thread(environ): return str(threading.current_thread() is threading.main_thread())
def executable(environ): return str(os.access(sys.executable, os.X_OK))
def stdin(environ): return repr(sys.stdin.read())
def sleep(environ): print("asleep", flush=True); time.sleep(3); return "slept"
def recursion(environ):
    def deeper(n): return 1 + deeper(n + 1)
    try:
        deeper(0)
    except RecursionError:
        return "RecursionError"
def environ_of_os(environ):
    os.environ["SET_BY_A_REQUEST"] = "1"
    return os.environ["SET_BY_A_REQUEST"]
def register_signal(environ):
    try:
        signal.signal(signal.SIGUSR1, lambda *args: None)
    except ValueError as error:
        return type(error).__name__
    return "ignored"

def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [globals()[name](environ).encode()]
"""
LATER = """
import signal

signal.signal(signal.SIGTERM, lambda *args: None)

def application(environ, start_response):
    start_response("200 OK", [])
    return [str(signal.getsignal(signal.SIGTERM)).encode()]
"""


@pytest.fixture(scope="module")
def httpd(start):
    return start(CONFIGURATION, files={"site.wsgi": SCRIPT, "later.wsgi": LATER})


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("background", "ran"),
        ("child", "from a child\n"),
        ("forked", "7"),
        ("main_thread", "False"),
        ("executable", "True"),
        ("stdin", "''"),
        ("recursion", "RecursionError"),
        ("environ_of_os", "1"),
    ],
)
def test_what_an_application_may_do(httpd, name, answer):
    assert httpd.get(f"/site/{name}").text == answer


def test_a_script_that_sets_a_signal_handler_is_served(httpd):
    with httpd.log.allows("WSGID", "Traceback"):
        assert httpd.get("/later").status_code == 200


def test_a_process_ends_after_maximum_requests(httpd):
    first = httpd.get("/few/pid").text
    wait_until(lambda: httpd.get("/few/pid").text != first, "another process")


def test_a_request_that_waits_too_long_for_a_thread(httpd):
    sleeping = threading.Thread(target=httpd.get, args=("/queue/sleep",))
    since = httpd.log.mark()
    sleeping.start()
    httpd.log.wait_for("asleep", since)
    with httpd.log.allows("WSGID"):
        answer = httpd.get("/queue/sleep")
    sleeping.join()
    assert answer.status_code == differs(httpd, "with `queue-timeout`", wsgid=503, mod_wsgi=504)


def test_a_request_that_runs_too_long(httpd):
    with httpd.log.allows("WSGID", "Traceback"):
        assert httpd.get("/slow/sleep").status_code == 504


def test_atexit_runs_when_httpd_stops(start):
    text = """
    WSGIDaemonProcess site
    WSGIScriptAlias / ${FILES}/site.wsgi process-group=site application-group=%{GLOBAL}
    """
    server = start(text, files={"site.wsgi": SCRIPT})
    server.get("/pid")
    server.stop()
    server.log.wait_for("at exit", 0)


def test_the_log_of_a_virtual_host_gets_what_its_group_prints(start):
    text = """
    <VirtualHost 127.0.0.1:${PORT}>
        ServerName one
        ErrorLog logs/own
        WSGIDaemonProcess site
        WSGIProcessGroup site
        WSGIApplicationGroup %{GLOBAL}
        WSGIScriptAlias / ${FILES}/site.wsgi
    </VirtualHost>
    """
    script = """
def application(environ, start_response):
    print("printed in a host", flush=True)
    start_response("200 OK", [])
    return [b"done"]
"""
    server = start(text, files={"site.wsgi": script})
    log = server.log_of("own")
    assert server.get("/").text == "done"
    log.wait_for("printed in a host", 0)
