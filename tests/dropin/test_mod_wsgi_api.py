"""`import mod_wsgi` and `import apache`: the names that public code uses, what they hold, events,
metrics.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest
from dropinenv import differs, is_ours

CONFIGURATION = """
LogLevel wsgi:info
WSGIDaemonProcess shop processes=2 threads=3
WSGIDaemonProcess watched threads=2
WSGIDaemonProcess ends threads=2 maximum-requests=3
WSGIDaemonProcess asked threads=2
WSGIDaemonProcess slow threads=1 request-timeout=1 interrupt-timeout=3
WSGIDaemonProcess board threads=1 server-metrics=on
WSGIScriptAlias /shop ${FILES}/api.wsgi process-group=shop application-group=%{GLOBAL}
WSGIScriptAlias /own ${FILES}/api.wsgi process-group=shop
WSGIScriptAlias /named ${FILES}/api.wsgi process-group=shop application-group=named
WSGIScriptAlias /default ${FILES}/api.wsgi
WSGIScriptAlias /watched ${FILES}/watched.wsgi process-group=watched application-group=%{GLOBAL}
WSGIScriptAlias /ends ${FILES}/ends.wsgi process-group=ends application-group=%{GLOBAL}
WSGIScriptAlias /asked ${FILES}/ends.wsgi process-group=asked application-group=%{GLOBAL}
WSGIScriptAlias /slow ${FILES}/slow.wsgi process-group=slow application-group=%{GLOBAL}
WSGIScriptAlias /board ${FILES}/api.wsgi process-group=board application-group=%{GLOBAL}
"""
# What public code does: it chooses its settings by the import, before there is a request.
API = """
import json, logging, threading
try:
    from mod_wsgi import process_group
except ImportError:
    process_group = "development"
import apache, mod_wsgi

try:
    outside = mod_wsgi.request_data()
except RuntimeError:
    outside = "RuntimeError"
elsewhere = []

def in_thread():
    try:
        mod_wsgi.request_data()
    except RuntimeError:
        elsewhere.append("RuntimeError")

def application(environ, start_response):
    mod_wsgi.request_data()["seen"] = mod_wsgi.request_data().get("seen", 0) + 1
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    if environ["PATH_INFO"] == "/log":
        logger = logging.getLogger("shop.orders")
        logger.addHandler(mod_wsgi.LogHandler())
        logger.setLevel("DEBUG")
        for level in ("debug", "info", "warning", "error", "critical"):
            getattr(logger, level)("logged at %s", level)
        logger.error("two\\nlines")
    body = json.dumps({
        "process_group": process_group,
        "same group": process_group == environ["mod_wsgi.process_group"],
        "application_group": mod_wsgi.application_group,
        "same application": mod_wsgi.application_group == environ["mod_wsgi.application_group"],
        "version": [*mod_wsgi.version] == [*environ["mod_wsgi.version"]] and len(mod_wsgi.version),
        "maximum_processes": mod_wsgi.maximum_processes,
        "threads_per_process": mod_wsgi.threads_per_process,
        "outside": outside,
        "elsewhere": elsewhere[-1],
        "seen": mod_wsgi.request_data()["seen"],
        "active": mod_wsgi.active_requests[environ["mod_wsgi.request_id"]] == {"seen": 1},
        "number": len(mod_wsgi.active_requests),
        "metrics": [mod_wsgi.request_metrics(), mod_wsgi.process_metrics()],
        "server_metrics": type(mod_wsgi.server_metrics()).__name__,
        "wrapper": mod_wsgi.FileWrapper is environ["wsgi.file_wrapper"],
        "timeout": [issubclass(mod_wsgi.RequestTimeout, kind) for kind in (BaseException, Exception)],
        "handler": issubclass(mod_wsgi.LogHandler, logging.Handler),
        "names": [name for name in dir(mod_wsgi) if not name.startswith("_")],
        "apache": [apache.version, apache.description, apache.mpm_name, apache.build_date,
                   apache.maximum_processes, apache.threads_per_process],
    }).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]
"""
WATCHED = """
import json
import mod_wsgi
from mod_wsgi import start_recording_metrics, subscribe_events

events = []

def plain(value):
    return value if isinstance(value, (int, float, str, type(None))) else type(value).__name__

@subscribe_events
def first(name, **event):
    if name == "request_started":
        event["request_data"]["from"] = "subscriber"
        return {"application_object": Wrapped(event["application_object"])}
    if name == "response_started" and event["response_status"].startswith("404"):
        raise LookupError("a subscriber's mistake")

@subscribe_events
def second(name, *, request_data=(), **event):
    events.append([name, {**{key: plain(value) for key, value in event.items()}, "data": dict(request_data)}])

class Wrapped:
    def __init__(self, application):
        self.application = application
    def __call__(self, environ, start_response):
        environ["wrapped"] = "yes"
        return self.application(environ, start_response)

before = [mod_wsgi.request_metrics(), mod_wsgi.process_metrics()]
start_recording_metrics()
start_recording_metrics()

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/raise":
        raise ValueError("on purpose")
    if path == "/events":
        start_response("200 OK", [])
        body = json.dumps(events).encode()
        events.clear()
        return [body]
    if path == "/metrics":
        start_response("200 OK", [])
        found = [before, mod_wsgi.request_metrics(), mod_wsgi.process_metrics()]
        return [json.dumps(found).encode()]
    size = len(environ["wsgi.input"].read())
    start_response("404 Not Found" if path == "/missing" else "201 Created", [])
    return (block for block in (b"%d " % size, environ["wrapped"].encode()))
"""
ENDS = """
import os, threading
import mod_wsgi

stop = threading.Event()
threading.Thread(target=stop.wait).start()  # the process would wait for it for ever

def write(text):
    print(text, flush=True)

@mod_wsgi.subscribe_shutdown
def stopping(name, **event):
    write("event %s %s" % (name, event["shutdown_reason"]))
    stop.set()

@mod_wsgi.subscribe_signals
def signalled(name, **event):
    write("event %s %s %d" % (name, event["signame"], event["signum"]))

@mod_wsgi.subscribe_events
def everything(name, **event):
    if name.startswith("process"):
        write("also " + name)

def application(environ, start_response):
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""
SLOW = """
import time
import mod_wsgi

def application(environ, start_response):
    try:
        while True:
            time.sleep(0.01)
    except mod_wsgi.RequestTimeout:
        print("caught RequestTimeout", flush=True)
        raise
"""
FILES = {
    "api.wsgi": API,
    "watched.wsgi": WATCHED,
    "ends.wsgi": ENDS,
    "slow.wsgi": SLOW,
}
INSTALLED = """
import mod_wsgi
import mod_wsgi.tool

def application(environ, start_response):
    start_response("200 OK", [])
    found = [mod_wsgi.tool.NAME, getattr(mod_wsgi, "own", ""), mod_wsgi.process_group]
    return [" ".join(found).encode()]
"""
PHASES = "server queue daemon application request input_read output_write gil_wait".split()
INTERVAL = {
    *(
        "pid start_time stop_time sample_period request_count request_throughput "
        "request_threads_maximum request_threads_started request_threads_active "
        "capacity_utilization request_threads_completed request_threads_buckets "
        "request_threads_busy_time request_threads_cpu_time request_threads_current_elapsed "
        "request_threads_max_duration gil_wait_count input_bytes input_reads output_bytes "
        "output_writes status_1xx status_2xx status_3xx status_4xx status_5xx "
        "cpu_user_utilization cpu_system_utilization cpu_utilization cpu_user_time "
        "cpu_system_time cpu_time memory_rss memory_max_rss"
    ).split(),
    *(f"{phase}_time{end}" for phase in PHASES for end in ("", "_min_us", "_max_us", "_buckets")),
}
PROCESS = {
    *(
        "pid restart_time current_time running_time request_count request_busy_time "
        "request_threads active_requests cpu_user_time cpu_system_time cpu_time memory_rss "
        "memory_max_rss threads"
    ).split()
}
# The keys of an event but "request_data".
TIMES = {*"request_id thread_id server_pid request_start queue_start daemon_start".split()} | {
    "application_start"
}
EVENTS = {
    "request_started": TIMES
    | {
        *"application_object callable_object request_environ daemon_connects daemon_restarts".split()
    },
    "response_started": {*"request_id response_status response_headers exception_info".split()},
    "request_exception": {"request_id", "exception_info"},
    "request_finished": TIMES
    | {
        *(
            "application_finish application_time input_reads input_length input_time output_writes "
            "output_length output_time status cpu_user_time cpu_system_time cpu_time "
            "gil_wait_time gil_wait_count"
        ).split()
    },
}


@pytest.fixture(scope="module")
def httpd(start):
    return start(CONFIGURATION, files=FILES)


def test_an_application_that_imports_mod_wsgi_finds_its_names_and_values(httpd):
    for _ in range(4):  # each request has data of its own
        found = httpd.get("/shop").json()
    names = found.pop("names")
    version, description, mpm, built, *sizes = found.pop("apache")
    assert found == {
        "process_group": "shop",
        "same group": True,
        "application_group": "",
        "same application": True,
        "version": 3,
        "maximum_processes": 2,
        "threads_per_process": 3,
        "outside": "RuntimeError",
        "elsewhere": "RuntimeError",
        "seen": 1,
        "active": True,
        "number": 1,
        "metrics": [None, None],
        "server_metrics": "NoneType",
        "wrapper": True,
        "timeout": [True, False],
        "handler": True,
    }
    assert names == sorted(
        "FileWrapper LogHandler RequestTimeout active_requests application_group event_callbacks "
        "maximum_processes process_group process_metrics request_data request_metrics "
        "server_metrics shutdown_callbacks signal_callbacks start_recording_metrics "
        "subscribe_events subscribe_shutdown subscribe_signals threads_per_process "
        "version".split()
    )
    assert description.startswith("Apache/" + ".".join(map(str, version)))
    assert mpm == "event" and re.search(r"\d{4}", built)
    see = "`apache.maximum_processes`"
    assert sizes == differs(httpd, see, wsgid=[2, 3], mod_wsgi=[1, 32])


@pytest.mark.parametrize(
    ("path", "group", "application"),
    [
        ("/own", "shop", "localhost:%d|/own"),
        ("/named", "shop", "named"),
        ("/default", "", "localhost:%d|/default"),
    ],
)
def test_the_names_of_the_groups(httpd, path, group, application):
    found = httpd.get(path).json()
    assert found["process_group"] == group and found["same group"]
    wanted = application % httpd.ports["PORT"] if "%d" in application else application
    assert found["application_group"] == wanted and found["same application"]


def test_server_metrics_of_a_group_that_asks_for_them(httpd):
    expected = differs(httpd, "`server_metrics()`", wsgid="NoneType", mod_wsgi="dict")
    assert httpd.get("/board").json()["server_metrics"] == expected


def test_a_LogHandler_logs_at_the_level_of_the_record(httpd):
    since = httpd.log.mark()
    levels = {"info": "info", "warning": "warn", "error": "error", "critical": "crit"}
    with httpd.log.expects("logged at warning", "logged at error", "logged at critical", "two"):
        httpd.get("/shop/log")
    for name, level in levels.items():
        found = httpd.log.find(f"logged at {name}", since)
        assert [record.level for record in found] == [level], name
    assert not httpd.log.find("logged at debug", since) or is_ours(httpd)


def test_subscribers_see_each_request_and_may_replace_the_application(httpd):
    httpd.get("/watched/events")
    answer = httpd.post("/watched/upload?a=b", data=b"x" * 70000)
    assert (answer.status_code, answer.text) == (201, "70000 yes")
    got = dict(httpd.get("/watched/events").json()[1:][:3])
    assert list(got) == ["request_started", "response_started", "request_finished"]
    for name, event in got.items():
        missing, more = EVENTS[name] - {*event}, {*event} - {"data"} - EVENTS[name]
        assert not more and (not missing or missing == {"application_start"} and not is_ours(httpd))
    started, response, finished = got.values()
    shared = (TIMES & {*finished}) - {"application_start"}
    assert {key: finished[key] for key in shared} == {key: started[key] for key in shared}
    assert started["application_object"] == "Wrapped" and started["request_environ"] == "dict"
    assert (started["daemon_connects"], started["daemon_restarts"]) == (1, 0)
    assert started["callable_object"] == "application" and started["server_pid"] > 1
    assert started["data"] == {"from": "subscriber"}
    times = ["request_start", "queue_start", "daemon_start", "application_start"]
    instants = [*(started[key] for key in times), finished["application_finish"]]
    assert instants == sorted(instants) and instants[-1] - instants[0] < 30
    assert (response["response_status"], response["exception_info"]) == ("201 Created", None)
    assert response["response_headers"] == "list"
    assert (finished["status"], finished["input_length"]) == (201, 70000)
    assert finished["input_reads"] >= 1 and finished["output_writes"] >= 2
    assert finished["output_length"] == len("70000 yes")
    assert finished["cpu_time"] == finished["cpu_user_time"] + finished["cpu_system_time"] >= 0
    assert finished["application_time"] >= 0 and finished["thread_id"] in (1, 2)
    if is_ours(httpd):
        differs(httpd, "`gil_wait_time`", wsgid=0, mod_wsgi=0)
        assert (finished["gil_wait_time"], finished["gil_wait_count"]) == (0, 0)


def test_subscribers_hear_of_an_exception_and_their_own_is_logged_and_harms_nobody(httpd):
    httpd.get("/watched/events")
    with httpd.log.expects("on purpose"), httpd.log.allows("WSGID", "Traceback"):
        assert httpd.get("/watched/raise").status_code == 500
    with httpd.log.expects("a subscriber's mistake"), httpd.log.allows("WSGID", "Traceback"):
        assert httpd.get("/watched/missing").status_code == 404
    seen = httpd.get("/watched/events").json()
    assert [name for name, _ in seen if name != "request_finished"] == [
        *("request_started", "request_exception"),
        *("request_started", "response_started"),
        *("request_started", "response_started"),
    ]
    raised = [event for name, event in seen if name == "request_exception"]
    assert [{*event} - {"data"} for event in raised] == [EVENTS["request_exception"]]
    assert raised[0]["exception_info"] == "tuple"
    assert [event["status"] for name, event in seen if name == "request_finished"] == [
        200,
        500,
        404,
    ]


def test_the_metrics_of_an_interval_count_its_requests_once(httpd):
    httpd.get("/watched/metrics")
    for _ in range(5):
        httpd.post("/watched/upload", data=b"12345")
    before, interval, process = httpd.get("/watched/metrics").json()
    assert before == [None, None]
    assert {*interval} == INTERVAL and {*process} == PROCESS
    # The request that asks is not among those that have finished, but the one before it is.
    assert interval["request_count"] == 6 == sum(interval["request_threads_completed"])
    assert (interval["status_2xx"], interval["status_5xx"]) == (6, 0)
    assert interval["input_bytes"] == 25 and interval["input_reads"] >= 5
    assert interval["start_time"] <= interval["stop_time"] and interval["sample_period"] > 0
    assert 0 < interval["capacity_utilization"] < 1 and interval["request_threads_maximum"] == 2
    for name in PHASES[:-2]:
        least, most = (interval[f"{name}_time_{end}_us"] for end in ("min", "max"))
        assert 0 <= least <= most and interval[f"{name}_time"] >= 0
        assert sum(interval[f"{name}_time_buckets"]) == 6
        assert len(interval[f"{name}_time_buckets"]) == 65
    assert process["request_count"] >= 6 and process["active_requests"] == 1
    assert process["restart_time"] <= process["current_time"] and process["memory_rss"] > 1 << 20
    assert {*process["threads"][0]} == {"thread_id", "request_count"}
    assert sum(thread["request_count"] for thread in process["threads"]) >= 6


def test_an_installed_package_of_that_name_is_extended(start):
    """As mod_wsgi-express is one."""
    text = """
    WSGIDaemonProcess site python-home=${FILES}/venv
    WSGIScriptAlias / ${FILES}/site.wsgi process-group=site application-group=%{GLOBAL}
    """
    server = start(text, files={"site.wsgi": INSTALLED}, begin=False)
    home = server.files / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    package = f"venv/lib/python3.{sys.version_info[1]}/site-packages/mod_wsgi"
    server.write(f"{package}/__init__.py", "own = 'own'\nprocess_group = 'installed'\n")
    server.write(f"{package}/tool.py", "NAME = 'tool'\n")
    server.start()
    see = "a package mod_wsgi that is installed"
    own = differs(server, see, wsgid="own", mod_wsgi="")
    assert server.get("/").text == f"tool {own} site"


def test_a_request_that_takes_too_long_gets_RequestTimeout(httpd):
    with httpd.log.expects("caught RequestTimeout"), httpd.log.allows("WSGID", "Traceback"):
        assert httpd.get("/slow").status_code == 504


def test_a_process_tells_its_subscribers_about_signals(httpd):
    pid = int(httpd.get("/asked").text)
    with httpd.log.allows("WSGID"):
        with httpd.log.expects("event process_signal SIGUSR2 12", "also process_signal"):
            os.kill(pid, signal.SIGUSR2)
        see = "SIGHUP to a process"
        event = differs(httpd, see, wsgid="process_stopping", mod_wsgi="process_signal SIGHUP")
        with httpd.log.expects("event " + event):
            os.kill(pid, signal.SIGHUP)


def test_a_process_tells_its_subscribers_why_it_ends(httpd):
    with httpd.log.allows("WSGID"):
        with httpd.log.expects("event process_stopping maximum_requests", "also process_stopping"):
            for _ in range(3):
                httpd.get("/ends")
        with httpd.log.expects("event process_stopping shutdown_signal"):
            os.kill(int(httpd.get("/asked").text), signal.SIGTERM)
