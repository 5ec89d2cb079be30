"""WSGIUserHeader: the application's user in the access log, and never at the client."""

from __future__ import annotations

import pytest
from httpdenv import wait_until
from httpdenv.client import request

CONFIGURATION = """
WSGIDaemonProcess site threads=2
WSGIProcessName site
WSGIApplicationGroup %{GLOBAL}
LogFormat "%u %U" users
CustomLog logs/users users
WSGIUserHeader X-Application-User
Alias /files ${FILES}/files
<Directory ${FILES}/files>
    Require all granted
</Directory>
<Location /app/hidden>
    WSGIErrorOverride On
</Location>
<Location /other>
    WSGIUserHeader X-Other
</Location>
WSGIScriptAlias /other ${FILES}/site.wsgi
WSGIScriptAlias /app ${FILES}/site.wsgi
"""
SCRIPT = """
def application(environ, start_response):
    path = environ["PATH_INFO"]
    user = [("x-application-user", "" if path == "/empty" else "anna lee")]
    if path == "/hints":
        environ["wsgi.early_hints"]([*user, ("Link", "</a.css>")])
    status = "404 Not Found" if path == "/hidden" else "200 OK"
    headers = [] if path == "/nobody" else user
    if path == "/file":
        headers.append(("Location", "/files/a.txt"))
    start_response(status, [*headers, ("Content-Type", "text/plain")])
    return [b"answer"]
"""


@pytest.fixture(scope="module")
def httpd(make_httpd):
    files = {"site.wsgi": SCRIPT, "files/a.txt": "file"}
    return make_httpd(CONFIGURATION, files=files, modules=["alias"])


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/app/page", "anna lee"),
        ("/app/hints", "anna lee"),
        ("/app/hidden", "anna lee"),
        ("/app/file", "anna lee"),
        ("/app/empty", '""'),
        ("/app/nobody", "-"),
    ],
)
def test_the_header_is_the_user_of_the_access_log_and_is_not_sent(httpd, path, logged):
    with httpd.wire() as wire:
        wire.send(request("GET", path, "Connection: close"))
        answer = wire.rest()
    assert b"anna" not in answer and b"pplication-user" not in answer.lower()
    log = httpd.root / "logs" / "users"
    wanted = f"{logged} {path}\n"
    wait_until(lambda: wanted in log.read_text(), lambda: f"{wanted!r} in {log.read_text()}", 10)


def test_without_the_directive_it_is_a_header_like_any_other(httpd):
    """An inner scope names another one."""
    assert httpd.get("/other/page").headers["X-Application-User"] == "anna lee"
    log = httpd.root / "logs" / "users"
    wait_until(lambda: "- /other/page\n" in log.read_text(), "the line of /other/page", 10)
