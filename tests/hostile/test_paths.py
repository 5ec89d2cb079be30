"""Paths that httpd and an application may read differently: what is denied stays denied, and no file
but the script is reached.
"""

from __future__ import annotations

import pytest
from httpdenv.client import request

CONFIGURATION = """
WSGIDaemonProcess app threads=2
WSGIProcessName app
DocumentRoot ${FILES}/static
WSGIScriptAlias /app ${APPS}/environ.wsgi
WSGIScriptAlias /scripts ${FILES}/scripts/
<Location /app/admin>
    Require all denied
</Location>
"""
SCRIPT = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"script " + environ["PATH_INFO"].encode("latin-1")]
"""
SECRET = "the secret"


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(
        CONFIGURATION,
        files={
            "static/index.html": "",
            "scripts/one.wsgi": SCRIPT,
            "secret/key.txt": SECRET,
            "secret/two.wsgi": SCRIPT,
        },
    )


def ask(httpd, target: str) -> tuple[int, bytes]:
    with httpd.wire() as wire:
        wire.send(request("GET", target, "Connection: close"))
        response = wire.read_response()
        return response.status, response.body


DENIED = [
    "/app/admin",
    "/app/admin/",
    "/app/admin/x",
    "/app//admin",
    "//app/admin",
    "/app/./admin",
    "/app/x/../admin",
    "/app/x/%2e%2e/admin",
    "/app/x/.%2E/admin",
    "/app/%61dmin",
    "/%61pp/admin",
    "/app/admin?x",
    "/app/admin/../admin",
    "/x/../app/admin",
    "http://localhost/app/admin",
]


@pytest.mark.parametrize("target", DENIED)
def test_what_is_denied_is_denied_however_it_is_written(httpd, target):
    with httpd.log.allows("AH01630"):
        assert ask(httpd, target)[0] == 403


NOWHERE = {
    "/app/../../../../etc/passwd": 400,
    "/../etc/passwd": 400,
    "/app/%2e%2e/%2e%2e/etc/passwd": 400,
    "/scripts/../secret/key.txt": 404,
    "/scripts/%2e%2e/secret/two.wsgi": 404,
    "/scripts/..%2fsecret/two.wsgi": 404,
    "/scripts/%2e%2e%2fsecret%2ftwo.wsgi": 404,
    "/scripts/one.wsgi%00.txt": 404,
    "/scripts/one.wsgi%2fx": 404,
    "/app%2fadmin": 404,
    "/app/x%2fadmin": 404,
    "/scripts/..\\secret\\two.wsgi": 404,
    "/scripts/": 403,
    "/scripts/missing.wsgi": 404,
    "/app/%": 400,
    "/app/%zz": 400,
    "/APP": 404,
    "app": 400,
}


@pytest.mark.parametrize("target", NOWHERE)
def test_a_path_that_leads_nowhere_gets_an_error(httpd, target):
    with httpd.log.allows("WSGID015[12]", "AH"):
        status, body = ask(httpd, target)
    assert status == NOWHERE[target]
    assert SECRET.encode() not in body and b"script" not in body


REACHED = {
    "/scripts/one.wsgi": b"",
    "/scripts/one.wsgi/a/../b": b"/b",
    "/scripts/one.wsgi//a": b"/a",
    "/scripts/./one.wsgi/x": b"/x",
    "/scripts/one.wsgi/%0d%0aX:%20y": b"/\r\nX: y",
    "/scripts/one.wsgi/%252e%252e/a": b"/%2e%2e/a",
    "/scripts/one.wsgi/..;/a": b"/..;/a",
    "/scripts/one.wsgi/%ff": b"/\xff",
    "/scripts/one.wsgi/a%20b": b"/a b",
}


@pytest.mark.parametrize("target", REACHED)
def test_the_application_gets_the_path_that_httpd_has_checked(httpd, target):
    path = REACHED[target].decode("latin-1").encode("latin-1")
    assert ask(httpd, target) == (200, b"script " + path)
