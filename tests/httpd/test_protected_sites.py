"""Configurations as sites publish them, shortened: each lets in who may and nobody else, also while
the daemon that decides is stopped.
"""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
from pathlib import Path

import pytest
from httpdenv import processes
from httpdenv.client import request
from httpdenv.waiting import wait_until

GATE = "WSGIDaemonProcess gate threads=4 socket-timeout=1\nWSGIDaemonProcess site\n"
QUIET = "LogLevel auth_basic:crit authz_core:crit\n"
GIT_BACKEND = Path("/usr/lib/git-core/git-http-backend")


def stopped_gate_lets_in_nobody(httpd, path, **options):
    """Asks with what opens the door otherwise."""
    wait_until(lambda: httpd.get(path, **options).status_code == 200, "access", 10)
    (pid,) = httpd.daemons("gate")
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: processes.status(pid)["State"].startswith("T"), "it to stop", 5)
    try:
        with httpd.log.expects("WSGID0167"):
            assert httpd.get(path, **options).status_code in (500, 504)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: httpd.get(path, **options).status_code == 200, "access again", 10)


# -------- a mirror of packages: some directories are for some networks

MIRROR = """
RemoteIPHeader X-Forwarded-For
RemoteIPInternalProxy 127.0.0.1
Alias /debian ${FILES}/debian
<Directory ${FILES}/debian>
    WSGIAccessScript ${FILES}/networks.wsgi process-group=gate
</Directory>
"""
NETWORKS = """
import ipaddress
import os
NETWORKS = {"/debian/private/": "10.0.0.0/8", "/debian/": "0.0.0.0/0"}
ROOT = os.path.dirname(__file__)

def allow_access(environ, host):
    path = environ["SCRIPT_FILENAME"]
    network = next(NETWORKS[place] for place in NETWORKS if path.startswith(ROOT + place))
    return ipaddress.ip_address(host) in ipaddress.ip_network(network)
"""


def test_mirror_of_packages(make_httpd):
    httpd = make_httpd(
        GATE + MIRROR,
        modules=["remoteip"],
        files={
            "networks.wsgi": NETWORKS,
            "debian/dists": "public",
            "debian/private/key": "private",
        },
    )

    def status(path, host):
        return httpd.get(path, headers={"X-Forwarded-For": host}).status_code

    assert status("/debian/dists", "192.0.2.1") == 200
    assert status("/debian/private/key", "10.1.2.3") == 200
    with httpd.log.expects("WSGID0522"):
        assert status("/debian/private/key", "192.0.2.1") == 403
    with httpd.log.expects("WSGID0522"):
        assert status("/debian//%70rivate/key", "192.0.2.1") == 403
    stopped_gate_lets_in_nobody(
        httpd, "/debian/private/key", headers={"X-Forwarded-For": "10.0.0.1"}
    )


# -------- web2py: the access script asks the application, over HTTP, with the visitor's cookie

WEB2PY = """
WSGIScriptAlias /app ${FILES}/app.wsgi process-group=site
Alias /app/static ${FILES}/static
<Location /app/static>
    WSGIAccessScript ${FILES}/access.wsgi process-group=gate
</Location>
"""
ACCESS = """
import urllib.parse, urllib.request

def allow_access(environ, host):
    url = "http://%s:%s/app/check_access?%s" % (
        environ["SERVER_ADDR"],
        environ["SERVER_PORT"],
        urllib.parse.urlencode({"uri": environ["REQUEST_URI"]}),
    )
    question = urllib.request.Request(url, headers={"Cookie": environ.get("HTTP_COOKIE", "")})
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(question).read() == b"true"
"""
APPLICATION = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"true" if "session=42" in environ.get("HTTP_COOKIE", "") else b"false"]
"""


def test_web2py(make_httpd):
    httpd = make_httpd(
        GATE + WEB2PY,
        files={"access.wsgi": ACCESS, "app.wsgi": APPLICATION, "static/report.txt": "figures"},
    )
    cookie = {"Cookie": "session=42"}
    assert httpd.get("/app/static/report.txt", headers=cookie).text == "figures"
    assert httpd.get("/app/index").text == "false"
    with httpd.log.expects("WSGID0522"):
        assert httpd.get("/app/static/report.txt").status_code == 403
    stopped_gate_lets_in_nobody(httpd, "/app/static/report.txt", headers=cookie)


# -------- git over HTTP: a user for each repository, and httpd's CGI

GIT = """
ScriptAlias /git @BACKEND@
SetEnv GIT_PROJECT_ROOT ${FILES}/repositories
SetEnv GIT_HTTP_EXPORT_ALL 1
SetEnv GIT_CONFIG_COUNT 1
SetEnv GIT_CONFIG_KEY_0 safe.directory
SetEnv GIT_CONFIG_VALUE_0 *
<Location /git>
    AuthType Basic
    AuthName "Git"
    AuthBasicProvider wsgi
    WSGIAuthUserScript ${FILES}/git_auth.py process-group=gate
    Require valid-user
</Location>
<Directory @DIRECTORY@>
    Options +ExecCGI
</Directory>
"""
GIT_AUTH = """
OWNERS = {"first": "ada", "second": "bob"}

def check_password(environ, user, password):
    repository = environ["PATH_INFO"].split("/")[1]
    if user not in OWNERS.values():
        return None
    return OWNERS.get(repository.removesuffix(".git")) == user and password == user + "-key"
"""


@pytest.mark.skipif(not GIT_BACKEND.exists(), reason="no git-http-backend")
def test_git_http_backend(make_httpd):
    text = GIT.replace("@BACKEND@", str(GIT_BACKEND)).replace(
        "@DIRECTORY@", str(GIT_BACKEND.parent)
    )
    httpd = make_httpd(
        GATE + QUIET + text,
        modules=["auth_basic", "authz_user", "cgid"],
        files={"git_auth.py": GIT_AUTH},
        start=None,
    )
    for name in ("first", "second"):
        repository = httpd.files / "repositories" / f"{name}.git"
        subprocess.run(["git", "init", "-q", "--bare", repository], check=True)
    httpd.start()
    refs = "/git/%s.git/info/refs?service=git-upload-pack"

    def status(name, *auth):
        return httpd.get(refs % name, auth=auth or None).status_code

    answer = httpd.get(refs % "first", auth=("ada", "ada-key"))
    assert answer.headers["Content-Type"] == "application/x-git-upload-pack-advertisement"
    assert status("second", "bob", "bob-key") == 200
    assert status("second", "ada", "ada-key") == status("first", "ada", "bob-key") == 401
    assert (
        status("first") == status("first", "eve", "x") == status("third", "bob", "bob-key") == 401
    )
    with httpd.wire() as wire:  # the URL as the client writes it names the repository of bob
        key = base64.b64encode(b"bob:bob-key").decode()
        path = refs % "second.git/../first"
        wire.send(request("GET", path, f"Authorization: Basic {key}"))
        assert wire.read_response().status == 401
    stopped_gate_lets_in_nobody(httpd, refs % "first", auth=("ada", "ada-key"))


# -------- Trac: the login page asks httpd, the rest of the site is open

TRAC = """
WSGIScriptAlias /trac ${APPS}/environ.wsgi process-group=site
<Location /trac/login>
    AuthType Basic
    AuthName "Trac"
    AuthBasicProvider wsgi
    WSGIAuthUserScript ${FILES}/trac_auth.wsgi process-group=gate
    WSGIAuthGroupScript ${FILES}/trac_auth.wsgi process-group=gate
    Require wsgi-group developers
</Location>
"""
TRAC_AUTH = """
import hashlib
import os

def users():
    with open(os.path.join(os.path.dirname(__file__), "users")) as file:
        return dict(line.rstrip().split(":") for line in file)

def check_password(environ, user, password):
    known = users().get(user)
    return None if known is None else known == hashlib.sha256(password.encode()).hexdigest()

def groups_for_user(environ, user):
    return ["developers"] if user == "ada" else []
"""


def test_trac(make_httpd):
    users = "".join(
        f"{name}:{hashlib.sha256(word.encode()).hexdigest()}\n"
        for name, word in {"ada": "lovelace", "bob": "builder"}.items()
    )
    httpd = make_httpd(
        GATE + QUIET + TRAC,
        modules=["auth_basic", "authz_user"],
        files={"trac_auth.wsgi": TRAC_AUTH, "users": users},
    )
    assert "REMOTE_USER" not in httpd.get("/trac").json()
    assert httpd.get("/trac/login", auth=("ada", "lovelace")).json()["REMOTE_USER"] == "ada"
    assert httpd.get("/trac/login").status_code == 401
    assert httpd.get("/trac/login", auth=("ada", "byron")).status_code == 401
    assert httpd.get("/trac/login", auth=("bob", "builder")).status_code == 401  # no developer
    stopped_gate_lets_in_nobody(httpd, "/trac/login", auth=("ada", "lovelace"))
