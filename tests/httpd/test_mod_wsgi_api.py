"""`import mod_wsgi` and `import apache`: what is ours. tests/dropin/test_mod_wsgi_api.py has what public
code uses of mod_wsgi's Python API.
"""

from __future__ import annotations

import os
import signal

import pytest
from httpdenv import wait_until

CONFIGURATION = """
LogLevel wsgid:info
WSGIDaemonProcess shop processes=2 threads=3 request-timeout=60
WSGIDaemonProcess plain threads=1
WSGIDaemonProcess watched threads=2 python-path=${FILES}/installed
WSGIDaemonProcess ends threads=2 env=FILES=${FILES}/out maximum-requests=3
WSGIScriptAlias /shop ${FILES}/api.wsgi process-group=shop application-group=%{GLOBAL}
WSGIScriptAlias /plain ${FILES}/plain.wsgi process-group=plain
WSGIScriptAlias /watched ${FILES}/watched.wsgi process-group=watched
WSGIScriptAlias /ends ${FILES}/ends.wsgi process-group=ends
"""
API = """
import logging
import mod_wsgi

def application(environ, start_response):
    logger = logging.getLogger("shop.orders")
    logger.addHandler(mod_wsgi.LogHandler())
    logger.error("logged %s", "once")
    start_response("200 OK", [])
    return [b""]
"""
PLAIN = """
import sys

def application(environ, start_response):
    found = [name for name in sys.modules if "mod_wsgi_api" in name]
    named = type(sys.modules["mod_wsgi"]).__name__, type(sys.modules["apache"]).__name__
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr((sorted(found), named)).encode()]
"""
WATCHED = """
import json
import mod_wsgi, apache
import mod_wsgi.tool, apache.deep
from mod_wsgi import start_recording_metrics, subscribe_events

events = []

def plain(value):
    return value if isinstance(value, (int, float, str, type(None))) else type(value).__name__

@subscribe_events
def first(name, **event):
    if name == "request_started":
        event["request_data"]["from"] = "subscriber"
        return {"application_object": Wrapped(event["application_object"])}

@subscribe_events
def second(name, *, request_data=(), **event):
    events.append([name, {**{key: plain(value) for key, value in event.items()}, "data": dict(request_data)}])

class Wrapped:
    def __init__(self, application):
        self.application = application
    def __call__(self, environ, start_response):
        environ["wrapped"] = "yes"
        return self.application(environ, start_response)

start_recording_metrics()
start_recording_metrics()

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/events":
        start_response("200 OK", [])
        body = json.dumps(events).encode()
        events.clear()
        return [body]
    size = len(environ["wsgi.input"].read())
    start_response("201 Created", [])
    return (block for block in (b"%d " % size, environ["wrapped"].encode(), mod_wsgi.tool.NAME.encode(),
                                apache.deep.NAME.encode(), mod_wsgi.own.encode()))
"""
ENDS = """
import os, threading
import mod_wsgi

stop = threading.Event()
threading.Thread(target=stop.wait).start()  # the process would wait for it for ever

def write(text):
    with open(os.environ["FILES"], "a") as file:
        file.write(text + "\\n")

@mod_wsgi.subscribe_shutdown
def stopping(name, **event):
    write("%s %s" % (name, event["shutdown_reason"]))
    stop.set()

@mod_wsgi.subscribe_signals
def signalled(name, **event):
    write("%s %s %d" % (name, event["signame"], event["signum"]))

@mod_wsgi.subscribe_events
def everything(name, **event):
    if name.startswith("process"):
        write("also " + name)

def application(environ, start_response):
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""
FILES = {
    "api.wsgi": API,
    "plain.wsgi": PLAIN,
    "watched.wsgi": WATCHED,
    "ends.wsgi": ENDS,
    # As mod_wsgi-express is, and as projects have a package or a directory named apache.
    "installed/mod_wsgi/__init__.py": "own = '-own'\nversion = process_group = 'installed'\n",
    "installed/mod_wsgi/tool.py": "NAME = '-tool'\n",
    "installed/apache/deep.py": "NAME = '-deep'\n",
}


@pytest.fixture(scope="module")
def httpd(make_httpd):
    httpd = make_httpd(CONFIGURATION, start=None, files=FILES)
    out = httpd.write("out", "")
    out.chmod(0o666)
    return httpd.start()


def lines(httpd) -> list[str]:
    return (httpd.files / "out").read_text().splitlines()


def test_a_record_that_a_LogHandler_has_logged_is_not_logged_a_second_time(httpd):
    with httpd.log.expects("logged once") as found:
        httpd.get("/shop/log")
    assert [(record.level, record.message.split("] ")[-1]) for record in found] == [
        ("error", "logged once")
    ]


def test_a_daemon_whose_application_does_not_import_it_has_two_empty_modules(httpd):
    names = ["pywsgid.daemon.mod_wsgi_api", "pywsgid.daemon.mod_wsgi_api.modules"]
    assert httpd.get("/plain").text == repr((names, ("ApiModule", "ApiModule")))


def test_subscribers_see_each_request_and_may_replace_the_application(httpd):
    httpd.get("/watched/events")
    answer = httpd.post("/watched/upload?a=b", data=b"x" * 70000)
    assert (answer.status_code, answer.text) == (201, "70000 yes-tool-deep-own")
    got = dict(httpd.get("/watched/events").json()[1:][:3])
    assert list(got) == ["request_started", "response_started", "request_finished"]
    started, response, finished = got.values()
    assert {key: finished[key] for key in started if key in finished and key != "data"} == {
        key: value for key, value in started.items() if key in finished and key != "data"
    }
    assert started["application_object"] == "Wrapped" and started["request_environ"] == "dict"
    assert (started["daemon_connects"], started["daemon_restarts"]) == (1, 0)
    assert started["callable_object"] == "application" and started["server_pid"] > 1
    assert started["data"] == {"from": "subscriber"}
    times = ["request_start", "queue_start", "daemon_start", "application_start"]
    instants = [*(started[key] for key in times), finished["application_finish"]]
    assert instants == sorted(instants) and instants[-1] - instants[0] < 30
    assert (response["response_status"], response["exception_info"]) == ("201 Created", None)
    assert response["response_headers"] == "list"
    assert (finished["status"], finished["input_length"], finished["input_reads"]) == (
        201,
        70000,
        1,
    )
    assert (finished["output_length"], finished["output_writes"]) == (23, 6)
    assert finished["cpu_time"] == finished["cpu_user_time"] + finished["cpu_system_time"] >= 0
    assert finished["application_time"] >= 0 and finished["thread_id"] in (1, 2)


def test_a_process_tells_its_subscribers_about_SIGUSR2_and_why_it_ends_before_it_waits(httpd):
    pid = int(httpd.get("/ends").text)
    with httpd.log.expects("WSGID0314"):
        os.kill(pid, signal.SIGUSR2)
        wait_until(lambda: "process_signal SIGUSR2 12" in lines(httpd), lambda: lines(httpd), 10)
    while int(httpd.get("/ends").text) == pid:
        pass
    wait_until(
        lambda: "process_stopping maximum_requests" in lines(httpd), lambda: lines(httpd), 20
    )
    assert "also process_signal" in lines(httpd) and "also process_stopping" in lines(httpd)
    other = int(httpd.get("/ends").text)
    os.kill(other, signal.SIGTERM)
    wait_until(lambda: "process_stopping shutdown_signal" in lines(httpd), lambda: lines(httpd), 20)


def test_a_broken_package_of_that_name_is_named_and_the_built_in_names_are_there(serve):
    httpd = serve(
        "WSGIDaemonProcess a python-path=${FILES}/installed\nWSGIScriptAlias / ${FILES}/a.wsgi process-group=a",
        files={
            "installed/mod_wsgi/__init__.py": "import no_such_module",
            "a.wsgi": "from mod_wsgi import process_group\n"
            "def application(environ, start_response):\n"
            "    start_response('200 OK', [])\n    return [repr(process_group).encode()]\n",
        },
    )
    httpd.log.wait_for("WSGID0500.*installed/mod_wsgi/__init__.py.*ModuleNotFoundError")
    assert httpd.get("/").text == "'a'"
