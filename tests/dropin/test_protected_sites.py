"""Eight ways in which public configurations protect themselves with Python, shortened and in our own
words: each lets in who may and nobody else, also while httpd restarts, and while the daemon that
decides hangs or is killed.
"""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dropinenv import is_ours
from httpdenv import machine, processes
from httpdenv.client import request
from httpdenv.waiting import wait_until

# Timeout limits how long a decision may take.
ALL = """
Timeout 2
LogLevel authz_core:crit
WSGIDaemonProcess site
"""
GIT_BACKEND = Path("/usr/lib/git-core/git-http-backend")
NO_ANSWER = {500, 502, 503, 504}
REFUSED = {302, 401, 403}


def decides(httpd, may: Callable[[], int], may_not: Callable[[], int]) -> None:
    """Asserts that one request gets in and the other does not, whatever happens meanwhile."""
    with httpd.log.allows(".*"):
        assert may() == 200 and may_not() in REFUSED
        seen = while_asking(may, may_not, httpd.graceful)
        assert seen[0] == {200} if is_ours(httpd) else 200 in seen[0]
        assert seen[1] <= REFUSED
        if is_ours(httpd):
            hangs(httpd, may, may_not)
            seen = while_asking(may, may_not, lambda: send(httpd, signal.SIGKILL))
            assert 200 in seen[0] <= {200} | NO_ANSWER and seen[1] <= REFUSED | NO_ANSWER
        wait_until(lambda: may() == 200, "access again", 20)
        assert may_not() in REFUSED


def send(httpd, number: int) -> list[int]:
    """Sends a signal to the processes of the default group, which decides where no other group is
    named. Returns their pids.
    """
    pids = httpd.daemons("")
    for pid in pids:
        os.kill(pid, number)
    return pids


def while_asking(
    may: Callable[[], int], may_not: Callable[[], int], happens: Callable[[], object]
) -> tuple[set[int], set[int]]:
    """What both get while something happens, and for five requests after it."""
    seen: tuple[list[int], list[int]] = ([], [])
    end = threading.Event()

    def ask(question: Callable[[], int], answers: list[int]) -> None:
        while not end.is_set():
            answers.append(question())

    threads = [
        threading.Thread(target=ask, args=pair) for pair in zip((may, may_not), seen, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: all(seen), "answers")
        happens()
        enough = [len(answers) + 5 for answers in seen]
        wait_until(
            lambda: all(len(a) > n for a, n in zip(seen, enough, strict=True)), "answers", 30
        )
    finally:
        end.set()
        for thread in threads:
            thread.join()
    return {*seen[0]}, {*seen[1]}


def hangs(httpd, may: Callable[[], int], may_not: Callable[[], int]) -> None:
    pids = send(httpd, signal.SIGSTOP)
    for pid in pids:
        wait_until(lambda pid=pid: processes.status(pid)["State"].startswith("T"), "it to stop", 5)
    try:
        with ThreadPoolExecutor() as pool:
            answers = [pool.submit(question) for question in (may, may_not)]
            assert {answer.result() for answer in answers} <= NO_ANSWER
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: may() == 200, "access again", 20)


def get(httpd, path, **options) -> Callable[[], int]:
    options.setdefault("allow_redirects", False)
    return lambda: httpd.get(path, **options).status_code


# -------- a mirror of packages: some directories are for some networks

MIRROR = """
RemoteIPHeader X-Forwarded-For
RemoteIPInternalProxy 127.0.0.1
Alias /debian ${FILES}/debian
<Directory ${FILES}/debian>
    WSGIAccessScript ${FILES}/networks.wsgi
</Directory>
"""
NETWORKS = """
import ipaddress

NETWORKS = {"/debian/private/": "10.0.0.0/8", "/debian/": "0.0.0.0/0"}

def allow_access(environ, host):
    path = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
    network = next(NETWORKS[place] for place in NETWORKS if path.startswith(place))
    return ipaddress.ip_address(host) in ipaddress.ip_network(network)
"""


def test_a_mirror_of_packages(start):
    files = {"networks.wsgi": NETWORKS, "debian/dists": "public", "debian/private/key": "private"}
    httpd = start(ALL + MIRROR, modules=["remoteip"], files=files)

    def ask(path, host):
        return get(httpd, path, headers={"X-Forwarded-For": host})

    assert ask("/debian/dists", "192.0.2.1")() == 200
    with httpd.log.allows("WSGID0522"):
        assert ask("/debian//%70rivate/key", "192.0.2.1")() == 403
        assert ask("/debian/dists/../private/key", "192.0.2.1")() == 403
    decides(httpd, ask("/debian/private/key", "10.1.2.3"), ask("/debian/private/key", "192.0.2.1"))


# -------- repositories for the owners of client certificates

CERTIFICATES = """
<VirtualHost 127.0.0.1:${TLS_PORT}>
    SSLEngine on
    SSLCertificateFile ${CERTS}/server.crt
    SSLCertificateKeyFile ${CERTS}/server.key
    SSLProtocol TLSv1.2
    Alias /pulp/repos ${FILES}/repos
    <Directory ${FILES}/repos>
        SSLVerifyClient optional_no_ca
        WSGIAccessScript ${FILES}/repo_auth.wsgi
        SSLOptions +StdEnvVars +ExportCertData
        Require all granted
    </Directory>
</VirtualHost>
"""
REPO_AUTH = """
import hashlib, os, ssl

with open(os.path.join(os.path.dirname(__file__), "known")) as file:
    KNOWN = file.read().split()

def allow_access(environ, host):
    if not environ["mod_ssl.is_https"]():
        return False
    pem = environ["mod_ssl.var_lookup"]("SSL_CLIENT_CERT")
    if not pem:
        environ["wsgi.errors"].write("no client certificate\\n")
        return False
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest() in KNOWN
"""


def test_repositories_for_client_certificates(start, certificates):
    pem = (certificates / "server.crt").read_text()
    known = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    files = {"repo_auth.wsgi": REPO_AUTH, "known": known, "repos/a/repomd.xml": "<repomd/>"}
    # mod_ssl comes last, and has to ask for the certificate first.
    text = "\n".join([ALL, *machine.load_lines(["ssl"]), CERTIFICATES])
    httpd = start(text, files=files)
    tls = {"port": "TLS_PORT", "scheme": "https", "verify": False}
    pair = str(certificates / "server.crt"), str(certificates / "server.key")
    path = "/pulp/repos/a/repomd.xml"
    decides(httpd, get(httpd, path, cert=pair, **tls), get(httpd, path, **tls))


# -------- web2py: the access script asks the application, over HTTP, with the visitor's cookie

WEB2PY = """
WSGIScriptAlias /app ${FILES}/app.wsgi process-group=site
Alias /app/static ${FILES}/static
<Location /app/static>
    WSGIAccessScript ${FILES}/access.wsgi
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


def test_web2py(start):
    files = {"access.wsgi": ACCESS, "app.wsgi": APPLICATION, "static/report.txt": "figures"}
    httpd = start(ALL + WEB2PY, files=files)
    cookie = {"Cookie": "session=42"}
    assert httpd.get("/app/static/report.txt", headers=cookie).text == "figures"
    assert httpd.get("/app/index").text == "false"
    path = "/app/static/report.txt"
    decides(httpd, get(httpd, path, headers=cookie), get(httpd, path))


# -------- git over HTTP: a user for each repository, and httpd's CGI

GIT = """
LogLevel authz_core:crit auth_basic:crit
ScriptAlias /git @BACKEND@
SetEnv GIT_PROJECT_ROOT ${FILES}/repositories
SetEnv GIT_HTTP_EXPORT_ALL 1
SetEnv GIT_CONFIG_COUNT 1
SetEnv GIT_CONFIG_KEY_0 safe.directory
SetEnv GIT_CONFIG_VALUE_0 *
<Files "git-http-backend">
    AuthType Basic
    AuthName "Git Access"
    AuthBasicProvider wsgi
    WSGIAuthUserScript ${FILES}/git_auth.py
    Require valid-user
</Files>
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
def test_git_http_backend(start):
    text = GIT.replace("@BACKEND@", str(GIT_BACKEND)).replace(
        "@DIRECTORY@", str(GIT_BACKEND.parent)
    )
    modules = ["auth_basic", "authz_user", "cgid"]
    httpd = start(ALL + text, modules=modules, files={"git_auth.py": GIT_AUTH}, begin=False)
    for name in ("first", "second"):
        repository = httpd.files / "repositories" / f"{name}.git"
        subprocess.run(["git", "init", "-q", "--bare", repository], check=True)
    httpd.start()
    refs = "/git/%s.git/info/refs?service=git-upload-pack"

    def ask(name, *auth):
        return get(httpd, refs % name, auth=auth or None)

    answer = httpd.get(refs % "first", auth=("ada", "ada-key"))
    assert answer.headers["Content-Type"] == "application/x-git-upload-pack-advertisement"
    assert ask("second", "bob", "bob-key")() == 200
    assert ask("second", "ada", "ada-key")() == ask("first", "ada", "bob-key")() == 401
    assert ask("first")() == ask("first", "eve", "x")() == ask("third", "bob", "bob-key")() == 401
    with httpd.wire() as wire:  # the URL as the client writes it names the repository of bob
        key = base64.b64encode(b"bob:bob-key").decode()
        path = refs % "second.git/../first"
        wire.send(request("GET", path, f"Authorization: Basic {key}"))
        assert wire.read_response().status == 401
    decides(httpd, ask("first", "ada", "ada-key"), ask("first", "bob", "bob-key"))


# -------- Trac: the login page asks httpd, the rest of the site is open

TRAC = """
LogLevel authz_core:crit auth_basic:crit
WSGIScriptAlias /trac ${APPS}/environ.wsgi process-group=site
<Location /trac/login>
    AuthType Basic
    AuthName "Trac"
    AuthBasicProvider wsgi
    WSGIAuthUserScript ${FILES}/trac_auth.wsgi
    WSGIAuthGroupScript ${FILES}/trac_auth.wsgi
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


def test_trac(start):
    users = "".join(
        f"{name}:{hashlib.sha256(word.encode()).hexdigest()}\n"
        for name, word in {"ada": "lovelace", "bob": "builder"}.items()
    )
    files = {"trac_auth.wsgi": TRAC_AUTH, "users": users}
    httpd = start(ALL + TRAC, modules=["auth_basic", "authz_user"], files=files)

    def ask(*auth):
        return get(httpd, "/trac/login", auth=auth or None)

    assert "REMOTE_USER" not in httpd.get("/trac").json()
    assert httpd.get("/trac/login", auth=("ada", "lovelace")).json()["REMOTE_USER"] == "ada"
    assert ask()() == ask("ada", "byron")() == 401
    decides(httpd, ask("ada", "lovelace"), ask("bob", "builder"))  # who is no developer


# -------- an administrator's area: some addresses, or a group

ADMIN = """
LogLevel authz_core:crit auth_basic:crit
Alias /media ${FILES}/media
<Location /media>
    AuthType Basic
    AuthName Admin
    AuthBasicProvider wsgi
    WSGIAuthUserScript ${FILES}/wsgi_auth.py
    WSGIAuthGroupScript ${FILES}/wsgi_auth.py
    <RequireAny>
        Require ip 192.0.2.1
        Require wsgi-group Administration_Group
    </RequireAny>
</Location>
"""
ADMIN_AUTH = """
def check_password(environ, user, password):
    return password == "key" if user in ("ada", "bob") else None

def groups_for_user(environ, user):
    return ["Users", "Administration_Group"] if user == "ada" else ["Users"]
"""


def test_an_administrator_s_area(start):
    files = {"wsgi_auth.py": ADMIN_AUTH, "media/a.bin": "firmware"}
    httpd = start(ALL + ADMIN, modules=["auth_basic", "authz_user"], files=files)

    def ask(*auth):
        return get(httpd, "/media/a.bin", auth=auth or None)

    assert ask()() == ask("ada", "wrong")() == ask("eve", "key")() == 401
    decides(httpd, ask("ada", "key"), ask("bob", "key"))


# -------- Django: one script has the application and the functions

DJANGO = """
LogLevel authz_core:crit auth_basic:crit
WSGIScriptAlias / ${FILES}/mysite/wsgi.py
WSGIProcessGroup %{GLOBAL}
WSGIApplicationGroup %{GLOBAL}
<Location "/secret">
    AuthType Basic
    AuthName "Top Secret"
    Require valid-user
    AuthBasicProvider wsgi
    WSGIAuthUserScript ${FILES}/mysite/wsgi.py
</Location>
"""
DJANGO_SITE = """
import os, tempfile

import django
from django.conf import settings

NAME = os.path.join(tempfile.mkdtemp(), "database")
settings.configure(
    SECRET_KEY="key",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": NAME}},
)
django.setup()

from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
User.objects.create_user("ada", password="lovelace")

from django.contrib.auth.handlers.modwsgi import check_password, groups_for_user

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ.get("REMOTE_USER", "nobody").encode()]
"""


def test_django(start):
    paths = [path for path in sys.path if path.endswith("site-packages")]
    text = f"WSGIPythonPath {':'.join(paths)}\n" + DJANGO
    files = {"mysite/wsgi.py": DJANGO_SITE}
    httpd = start(ALL + text, modules=["auth_basic", "authz_user"], files=files)

    def ask(*auth):
        return get(httpd, "/secret", auth=auth or None)

    assert httpd.get("/open").text == "nobody"
    assert httpd.get("/secret", auth=("ada", "lovelace")).text == "ada"
    assert ask()() == ask("bob", "lovelace")() == 401
    decides(httpd, ask("ada", "lovelace"), ask("ada", "byron"))


# -------- a login form of httpd, with a session

FORM = """
LogLevel authz_core:crit auth_form:crit
Alias /files ${FILES}/files
Session On
SessionCookieName session path=/
<Location /files>
    AuthType Form
    AuthName "Files"
    AuthFormProvider wsgi
    AuthFormLoginRequiredLocation /login.txt
    WSGIAuthUserScript ${FILES}/wsgi_auth.py
    Require valid-user
</Location>
<Location /dologin>
    SetHandler form-login-handler
    AuthType Form
    AuthName "Files"
    AuthFormProvider wsgi
    AuthFormLoginSuccessLocation /files/a.txt
    AuthFormLoginRequiredLocation /login.txt
    WSGIAuthUserScript ${FILES}/wsgi_auth.py
</Location>
"""


def test_a_login_form(start):
    files = {"wsgi_auth.py": ADMIN_AUTH, "files/a.txt": "a file"}
    modules = ["auth_form", "session", "session_cookie", "request", "authz_user"]
    httpd = start(ALL + FORM, modules=modules, files=files)

    def log_in(user, password):
        data = {"httpd_username": user, "httpd_password": password}
        return httpd.post("/dologin", data, allow_redirects=False)

    cookie = log_in("ada", "key").headers["Set-Cookie"].partition(";")[0]
    forged = "session=" + "files-user=bob&files-pw=wrong"
    assert "files-user" not in str(log_in("ada", "wrong").headers.get("Set-Cookie"))
    decides(
        httpd,
        get(httpd, "/files/a.txt", headers={"Cookie": cookie}),
        get(httpd, "/files/a.txt", headers={"Cookie": forged}),
    )
