"""Which group serves: WSGIProcessGroup, WSGIApplicationGroup, WSGIRestrictProcess, WSGICallableObject
and WSGIPassAuthorization, where they may be and what their variables become.
"""

from __future__ import annotations

import pytest
from dropinenv import differs

CONFIGURATION = """
WSGIDaemonProcess one threads=2
WSGIDaemonProcess two threads=2
WSGIDaemonProcess localhost:${PORT} threads=2
WSGIScriptAlias /location ${FILES}/a.wsgi
WSGIScriptAlias /global ${FILES}/a.wsgi
WSGIScriptAlias /env ${FILES}/a.wsgi
WSGIScriptAlias /unset ${FILES}/a.wsgi
WSGIScriptAlias /server ${FILES}/a.wsgi
WSGIScriptAlias /rewritten ${FILES}/a.wsgi
WSGIScriptAlias /restricted ${FILES}/a.wsgi
WSGIScriptAlias /allowed ${FILES}/a.wsgi
WSGIScriptAlias /application ${FILES}/a.wsgi
WSGIScriptAlias /callable ${FILES}/a.wsgi
WSGIScriptAlias /callable-missing ${FILES}/a.wsgi
WSGIScriptAlias /authorized ${FILES}/a.wsgi
WSGIScriptAlias /not-authorized ${FILES}/a.wsgi
WSGIScriptAlias /undefined ${FILES}/a.wsgi
WSGIScriptAlias /directory ${FILES}/directory/b.wsgi
WSGIScriptAlias /files ${FILES}/directory/c.wsgi
<Location /location>
    WSGIProcessGroup two
</Location>
<LocationMatch ^/global>
    WSGIProcessGroup %{GLOBAL}
</LocationMatch>
SetEnvIf Request_URI ^/env GROUP=two
<Location /env>
    WSGIProcessGroup %{ENV:GROUP}
</Location>
<Location /unset>
    WSGIProcessGroup %{ENV:UNSET}
</Location>
<Location /server>
    WSGIProcessGroup %{SERVER}
</Location>
RewriteEngine On
RewriteRule ^/rewritten - [E=CHOSEN:one]
<Location /rewritten>
    WSGIProcessGroup %{ENV:CHOSEN}
</Location>
<Location /restricted>
    WSGIProcessGroup one
    WSGIRestrictProcess two
</Location>
<Location /allowed>
    WSGIProcessGroup two
    WSGIRestrictProcess one two
</Location>
<Location /application>
    WSGIProcessGroup one
    WSGIApplicationGroup %{RESOURCE}
</Location>
<Location /callable>
    WSGIProcessGroup one
    WSGIApplicationGroup %{GLOBAL}
    WSGICallableObject other
</Location>
<Location /callable-missing>
    WSGIProcessGroup one
    WSGIApplicationGroup %{GLOBAL}
    WSGICallableObject nothing
</Location>
<Location /authorized>
    WSGIPassAuthorization On
</Location>
<Location /undefined>
    WSGIProcessGroup nowhere
</Location>
<Directory ${FILES}/directory>
    WSGIProcessGroup one
    <Files c.wsgi>
        WSGIProcessGroup two
    </Files>
</Directory>
WSGIScriptAlias / ${FILES}/a.wsgi
"""
SCRIPT = """
def answer(name, environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    seen = [name, environ["mod_wsgi.process_group"], environ.get("HTTP_AUTHORIZATION", "")]
    return [";".join(seen).encode()]

def application(environ, start_response):
    return answer("application", environ, start_response)

def other(environ, start_response):
    return answer("other", environ, start_response)
"""


@pytest.fixture(scope="module")
def httpd(start):
    files = {"a.wsgi": SCRIPT, "directory/b.wsgi": SCRIPT, "directory/c.wsgi": SCRIPT}
    return start(CONFIGURATION, files=files, modules=["rewrite"])


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/location/x", "application;two;"),
        ("/global", "application;;"),
        ("/env", "application;two;"),
        ("/rewritten", "application;one;"),
        ("/allowed", "application;two;"),
        ("/application", "application;one;"),
        ("/callable", "other;one;"),
        ("/authorized", "application;;Basic eDp5"),
        ("/not-authorized", "application;;"),
        ("/directory", "application;one;"),
        ("/files", "application;two;"),
        ("/", "application;;"),
    ],
)
def test_the_group_and_the_callable_of_a_place(httpd, path, seen):
    assert httpd.get(path, headers={"Authorization": "Basic eDp5"}).text == seen


def test_the_group_that_is_named_after_the_server(httpd):
    assert httpd.get("/server").text == f"application;localhost:{httpd.ports['PORT']};"


def test_a_variable_that_is_not_set_chooses(httpd):
    expected = differs(httpd, "chosen by a variable that is not set", wsgid=200, mod_wsgi=500)
    assert httpd.get("/unset").status_code == expected


def test_a_group_with_a_blank_in_its_name(start):
    text = """
    WSGIDaemonProcess "with blank"
    WSGIProcessGroup "with blank"
    WSGIScriptAlias / ${FILES}/a.wsgi
    """
    assert start(text, files={"a.wsgi": SCRIPT}).get("/").text == "application;with blank;"


@pytest.mark.parametrize("path", ["/restricted", "/undefined", "/callable-missing"])
def test_what_is_an_error(httpd, path):
    with httpd.log.allows("WSGID", "Traceback"):
        assert httpd.get(path).status_code == 500
