"""WSGIDispatchScript: a script chooses the group and the callable of a request. WSGIHandlerScript:
a script as a handler of httpd.
"""

from __future__ import annotations

import os

import pytest
from dropinenv import differs

CONFIGURATION = """
WSGIDaemonProcess one
WSGIDaemonProcess two
<Location />
    WSGIApplicationGroup %{GLOBAL}
</Location>
WSGIScriptAlias /app ${FILES}/app.wsgi
WSGIScriptAlias /restricted ${FILES}/app.wsgi
WSGIScriptAlias /plain ${FILES}/app.wsgi
WSGIScriptAlias /broken ${FILES}/app.wsgi
<LocationMatch "^/(app|restricted|plain|broken|of-the-url)">
    WSGIProcessGroup one
</LocationMatch>
<LocationMatch "^/(app|restricted)">
    SetEnv GROUP two
    WSGIDispatchScript ${FILES}/dispatch.py application-group=%{GLOBAL}
</LocationMatch>
<Location /restricted>
    WSGIRestrictProcess one
</Location>
<Location /broken>
    WSGIDispatchScript ${FILES}/broken.py application-group=%{GLOBAL}
</Location>
WSGIHandlerScript bobo ${FILES}/handler.py process-group=two application-group=%{GLOBAL}
WSGIHandlerScript nobody ${FILES}/handler.py
AddHandler bobo .bob
<Location /virtual>
    SetHandler bobo
</Location>
<Location /of-the-url>
    SetHandler nobody
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
def process_group(environ):
    query = environ["QUERY_STRING"]
    if query == "raises":
        raise ValueError("on purpose")
    if query == "sees":
        environ["wsgi.errors"].write("sees %s %s\\n" % (environ["GROUP"], environ["mod_wsgi.process_group"]))
    return {"two": "two", "bytes": b"two", "env": "%{ENV:GROUP}", "lost": "nowhere", "number": 5}.get(query)

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
    name = os.path.basename(environ["mod_wsgi.handler_script"])
    keys = ("mod_wsgi.process_group", "mod_wsgi.callable_object", "SCRIPT_NAME", "PATH_INFO",
            "HTTP_AUTHORIZATION")
    return [" ".join([text, name, *(environ.get(key) or "-" for key in keys)]).encode()]
"""


@pytest.fixture(scope="module")
def httpd(start):
    files = {
        "app.wsgi": APP,
        "dispatch.py": DISPATCH,
        "broken.py": "import no_such_module",
        "handler.py": HANDLER,
        "page.bob": "a page",
    }
    return start(CONFIGURATION, files=files)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/app?two", "two chosen other"),
        ("/app?bytes", "two - application"),
        ("/app?env", "two - application"),
        ("/app?none", "one - application"),
        ("/plain?two", "one - application"),
        ("/restricted?none", "one - application"),
    ],
)
def test_a_script_chooses_the_group_and_the_callable(httpd, path, answer):
    assert httpd.get(path).text == answer


def test_the_body_goes_where_the_script_says(httpd):
    body = os.urandom(200_000)
    assert httpd.post("/app?two", body).content == b"two chosen other" + body


def test_the_script_sees_what_SetEnv_sets_and_the_group_that_it_runs_in(httpd):
    with httpd.log.expects("sees two") as found:
        httpd.get("/app?sees")
    assert found[0].message.split("sees two")[1].strip() == ""  # embedded mode; the default group


@pytest.mark.parametrize("path", ["/app?lost", "/app?number", "/app?raises", "/restricted?two"])
def test_without_a_choice_the_request_runs_nowhere(httpd, path):
    with httpd.log.allows("WSGID", "Traceback"):
        assert httpd.get(path).status_code == 500


def test_a_dispatch_script_that_cannot_be_loaded(httpd):
    see = "a WSGIDispatchScript that cannot be loaded"
    with httpd.log.allows("WSGID", "Traceback"):
        assert httpd.get("/broken").status_code == differs(httpd, see, wsgid=500, mod_wsgi=200)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/page.bob", "a page handler.py two handle_request /page.bob - -"),
        ("/page.bob/more", "a page handler.py two handle_request /page.bob /more -"),
        ("/virtual", "no file handler.py two handle_request /virtual - -"),
        ("/of-the-url", "no file handler.py one handle_request /of-the-url - -"),
    ],
)
def test_a_handler_script_answers_for_what_the_url_leads_to(httpd, path, answer):
    assert httpd.get(path, headers={"Authorization": "Basic eDp5"}).text == answer


@pytest.mark.parametrize(
    "line",
    [
        "WSGIDispatchScript ${FILES}/dispatch.py",
        "WSGIAccessScript ${FILES}/access.py",
        "WSGIHandlerScript mine ${FILES}/handler.py",
    ],
)
def test_a_htaccess_file_that_names_a_script(httpd, line):
    place = line.split()[0]
    text = line.replace("${FILES}", str(httpd.files)) + "\n"
    httpd.write(f"htaccess/{place}/.htaccess", text)
    httpd.write(f"htaccess/{place}/page.txt", "text")
    httpd.write("access.py", "def allow_access(environ, host): return True")
    with httpd.log.allows("not allowed here"):
        answer = httpd.get(f"/htaccess/{place}/page.txt").status_code
    see = "not in .htaccess, whose author could run code"
    theirs = 200 if place == "WSGIAccessScript" else 500
    assert answer == differs(httpd, see, wsgid=500, mod_wsgi=theirs)


def test_a_handler_script_may_see_the_Authorization_header(start):
    text = """
    WSGIHandlerScript secret ${FILES}/handler.py pass-authorization=On application-group=%{GLOBAL}
    <Location />
        SetHandler secret
    </Location>
    """
    server = start(text, files={"handler.py": HANDLER})
    assert server.get("/", headers={"Authorization": "Basic eDp5"}).text.endswith(" Basic eDp5")
