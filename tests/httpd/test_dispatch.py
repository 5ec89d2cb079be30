"""WSGIDispatchScript: a script chooses the group and the callable of a request. WSGIHandlerScript:
a script as a handler of httpd.
"""

from __future__ import annotations

import os
import signal

import pytest
from httpdenv import processes
from httpdenv.waiting import wait_until

CONFIGURATION = """
WSGIDaemonProcess gate threads=4 socket-timeout=1
WSGIDaemonProcess one
WSGIDaemonProcess two
WSGIScriptAlias /app ${FILES}/app.wsgi process-name=one
WSGIScriptAlias /restricted ${FILES}/app.wsgi process-name=one
WSGIScriptAlias /plain ${FILES}/app.wsgi process-name=one
<LocationMatch "^/(app|restricted)">
    SetEnv GROUP two
    WSGIDispatchScript ${FILES}/dispatch.py process-group=gate application-group=%{GLOBAL}
</LocationMatch>
<Location /restricted>
    WSGIRestrictProcess one
</Location>
WSGIHandlerScript bobo ${FILES}/handler.py process-group=two application-group=%{GLOBAL}
WSGIHandlerScript nobody ${FILES}/handler.py
AddHandler bobo .bob
<Location /virtual>
    SetHandler bobo
</Location>
<Location /of-the-url>
    SetHandler nobody
    WSGIProcessName one
</Location>
<Directory ${FILES}/htaccess>
    AllowOverride All
</Directory>
"""
APP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    keys = ("mod_wsgi.process_group", "mod_wsgi.application_group", "mod_wsgi.callable_object")
    body = environ["wsgi.input"].read()
    return [" ".join(environ[key] or "-" for key in keys).encode() + body]

other = application
"""
DISPATCH = """
import time

def process_group(environ):
    if environ["QUERY_STRING"] == "hang":
        time.sleep(3)
    if environ["QUERY_STRING"] == "number":
        return 5
    choices = {"two": "two", "env": "%{ENV:GROUP}", "none": None, "lost": "nowhere"}
    return choices.get(environ["QUERY_STRING"])

def callable_object(environ):
    return "other" if environ["QUERY_STRING"] == "two" else None

def application_group(environ):
    return "chosen" if environ["QUERY_STRING"] == "two" else None
"""
HANDLER = """
import os

def handle_request(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    path = environ["SCRIPT_FILENAME"]
    text = open(path).read() if os.path.isfile(path) else "no file"
    keys = ("mod_wsgi.process_group", "mod_wsgi.callable_object", "SCRIPT_NAME", "PATH_INFO")
    name = os.path.basename(environ["mod_wsgi.handler_script"])
    return [" ".join([text, name, *(environ[key] or "-" for key in keys)]).encode()]
"""


@pytest.fixture(scope="module")
def httpd(make_httpd):
    files = {
        "app.wsgi": APP,
        "dispatch.py": DISPATCH,
        "handler.py": HANDLER,
        "page.bob": "a page",
        "htaccess/.htaccess": "WSGIHandlerScript mine /x\n",
        "htaccess/page.txt": "text",
    }
    return make_httpd(CONFIGURATION, files=files)


def test_restriction_holds_for_the_choice(httpd):
    with httpd.log.expects("WSGID0156.*group 'two'|group 'two'.*WSGIRestrictProcess"):
        assert httpd.get("/restricted?two").status_code == 500


@pytest.mark.parametrize(
    ("query", "code", "status"),
    [("lost", "WSGID0160", 500), ("number", "WSGID0340", 500), ("hang", "WSGID0167", 504)],
)
def test_without_a_choice_the_request_runs_nowhere(httpd, query, code, status):
    with httpd.log.expects(code):
        assert httpd.get("/app?" + query).status_code == status


def test_stopped_dispatcher_lets_nothing_run(httpd):
    (pid,) = httpd.daemons("gate")
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: processes.status(pid)["State"].startswith("T"), "it to stop", 5)
    try:
        with httpd.log.expects("WSGID0167"):
            assert httpd.get("/app?none").status_code == 504
    finally:
        os.kill(pid, signal.SIGCONT)


def test_variables_do_not_choose_the_script(make_httpd):
    """SetEnv may be in a .htaccess file."""
    configuration = """
        WSGIDaemonProcess one
        SetEnv mod_wsgi.handler_script ${FILES}/handler.py
        SetEnv mod_wsgi.callable_object handle_request
        WSGIScriptAlias / ${FILES}/app.wsgi process-name=one
    """
    files = {"app.wsgi": APP, "handler.py": HANDLER}
    assert make_httpd(configuration, files=files).get("/").text == "one - application"


def test_htaccess_names_no_script(httpd):
    with httpd.log.expects("WSGIHandlerScript not allowed here"):
        assert httpd.get("/htaccess/page.txt").status_code == 500
