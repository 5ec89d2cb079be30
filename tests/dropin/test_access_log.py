"""The user in the access log."""

from __future__ import annotations

import pytest
from dropinenv import differs
from httpdenv import wait_until

CONFIGURATION = """
LogFormat "%u %U" users
CustomLog logs/users users
WSGIDaemonProcess site
WSGIProcessGroup site
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias / ${FILES}/site.wsgi
<Location /closed>
    AuthType Basic
    AuthName "Site"
    AuthBasicProvider file
    AuthUserFile ${FILES}/passwords
    Require valid-user
</Location>
<IfModule mod_wsgid.c>
    WSGIUserHeader X-Application-User
</IfModule>
"""
SCRIPT = """
def application(environ, start_response):
    headers = [("X-Application-User", "anna")] if environ["PATH_INFO"] == "/anna" else []
    start_response("200 OK", headers)
    return [environ.get("REMOTE_USER", "").encode()]
"""
FILES = {"site.wsgi": SCRIPT, "passwords": "spy:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"}


@pytest.fixture(scope="module")
def httpd(start):
    return start(CONFIGURATION, files=FILES, modules=["auth_basic", "authn_file", "authz_user"])


def logged(httpd, line) -> None:
    log = httpd.root / "logs" / "users"
    wait_until(lambda: line in log.read_text().splitlines(), lambda: f"{line!r}: {log.read_text()}")


def test_the_user_whom_httpd_knows(httpd):
    assert httpd.get("/closed", auth=("spy", "secret")).text == "spy"
    logged(httpd, "spy /closed")
    httpd.get("/open")
    logged(httpd, "- /open")


def test_the_user_whom_only_the_application_knows(httpd):
    answer = httpd.get("/anna")
    see = "the application's user in the access log"
    user, header = differs(httpd, see, wsgid=("anna", None), mod_wsgi=("-", "anna"))
    assert answer.headers.get("X-Application-User") == header
    logged(httpd, f"{user} /anna")
