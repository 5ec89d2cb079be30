"""Configurations that real applications document, shortened and in our own words: each starts, each
URL is answered by the stand-in for its application, and `pywsgid check` finds no fault.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest
from dropinenv import is_ours
from httpdenv import StartFailed, machine

from pywsgid.cli import main

APPLICATION = """
import os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    seen = [environ["SCRIPT_NAME"] or "-", environ["PATH_INFO"] or "-", environ.get("REMOTE_USER", ""),
            environ.get("HTTP_AUTHORIZATION", "")]
    return [" ".join(part for part in seen if part).encode()]
"""
# As setuptools and pbr write scripts that can also be run by hand.
PBR_SCRIPT = f"""
import threading

if __name__ == "__main__":
    raise SystemExit("run by hand")
else:
    application = None
    with threading.Lock():
        if application is None:
{APPLICATION.replace(chr(10), chr(10) + "            ")}
"""
# In these, the server's default host, and what the vendor's files set for the whole server.
KEYSTONE = """
<VirtualHost *:${PORT}>
    WSGIDaemonProcess keystone-public processes=2 threads=1 @USER@ display-name=%{GROUP}
    WSGIProcessGroup keystone-public
    WSGIScriptAlias / ${FILES}/bin/keystone-wsgi-public
    WSGIApplicationGroup %{GLOBAL}
    WSGIPassAuthorization On
    LimitRequestBody 114688
    <IfVersion >= 2.4>
      ErrorLogFormat "%{cu}t %M"
    </IfVersion>
    ErrorLog logs/keystone.log
    CustomLog logs/keystone_access.log "%h %r"
    <Directory ${FILES}/bin>
        Require all granted
    </Directory>
</VirtualHost>
Alias /identity ${FILES}/bin/keystone-wsgi-public
<Location /identity>
    SetHandler wsgi-script
    Options +ExecCGI
    WSGIProcessGroup keystone-public
    WSGIApplicationGroup %{GLOBAL}
    WSGIPassAuthorization On
</Location>
"""
HORIZON = """
WSGIScriptAlias /horizon ${FILES}/openstack_dashboard/wsgi.py process-group=horizon
WSGIDaemonProcess horizon @USER@ processes=2 threads=10 display-name=%{GROUP}
WSGIProcessGroup horizon
WSGIApplicationGroup %{GLOBAL}
Alias /static ${FILES}/static/
Alias /horizon/static ${FILES}/static/
<Directory ${FILES}/openstack_dashboard>
    Require all granted
</Directory>
RedirectMatch ^/$ /horizon
"""
FREEIPA = """
FileETag None
WSGISocketPrefix run/wsgi
WSGIDaemonProcess ipa processes=2 threads=1 maximum-requests=500 @USER@ display-name=%{GROUP} \\
    socket-timeout=2147483647 lang=C.UTF-8 locale=C.UTF-8
WSGIImportScript ${FILES}/ipa/wsgi.py process-group=ipa application-group=ipa
WSGIScriptAlias /ipa ${FILES}/ipa/wsgi.py
WSGIScriptReloading Off
<Location /ipa>
    WSGIProcessGroup ipa
    WSGIApplicationGroup ipa
</Location>
<Location /ipa/session/login>
    Require all granted
</Location>
Alias /ipa/ui ${FILES}/static
WSGIDaemonProcess kdcproxy processes=2 threads=15 maximum-requests=5000 @USER@ display-name=%{GROUP}
WSGIImportScript ${FILES}/ipa/kdcproxy.py process-group=kdcproxy application-group=kdcproxy
WSGIScriptAlias /KdcProxy ${FILES}/ipa/kdcproxy.py
<Location /KdcProxy>
    Satisfy Any
    Order Deny,Allow
    Allow from all
    WSGIProcessGroup kdcproxy
    WSGIApplicationGroup kdcproxy
</Location>
"""
TRAC = """
WSGIDaemonProcess trac @USER@ threads=25 python-path=${FILES}/trac/lib
WSGIScriptAlias /trac ${FILES}/trac/apache/trac.wsgi
WSGIScriptAliasMatch ^/projects/([^/]+) ${FILES}/trac/apache/$1.wsgi
Alias /trac/chrome/common ${FILES}/static
<Directory ${FILES}/trac/apache>
    WSGIProcessGroup trac
    WSGIApplicationGroup %{GLOBAL}
    <IfModule mod_authz_core.c>
        Require all granted
    </IfModule>
</Directory>
<LocationMatch "^(/trac|/projects/[^/]+)/login">
    AuthType Basic
    AuthName Trac
    AuthBasicProvider file
    AuthUserFile ${FILES}/passwords
    Require valid-user
</LocationMatch>
"""
GRAPHITE = """
<IfModule !mod_wsgi.c>
    Error "load mod_wsgi"
</IfModule>
WSGISocketPrefix run/wsgi
<VirtualHost *:${PORT}>
    ServerName graphite
    DocumentRoot ${FILES}/static
    WSGIDaemonProcess graphite processes=2 threads=5 display-name='%{GROUP}' inactivity-timeout=120
    WSGIProcessGroup graphite
    WSGIApplicationGroup %{GLOBAL}
    WSGIImportScript ${FILES}/conf/graphite.wsgi process-group=graphite application-group=%{GLOBAL}
    WSGIScriptAlias / ${FILES}/conf/graphite.wsgi
    Alias /content/ ${FILES}/static/
    <Location "/content/">
        SetHandler None
    </Location>
    <Directory ${FILES}/conf/>
        Require all granted
    </Directory>
</VirtualHost>
"""
MAILMAN = """
Alias /favicon.ico ${FILES}/static/file.txt
Alias /static ${FILES}/static
WSGIScriptAlias / ${FILES}/mailman/web/wsgi.py
WSGIDaemonProcess mailman-web display-name=mailman-web maximum-requests=1000 umask=0002 @USER@ \\
    python-path=${FILES}/mailman python-home=${FILES}/venv home=${FILES}/mailman
WSGIRestrictSignal Off
<Directory ${FILES}/mailman/web>
    <Files wsgi.py>
        Require all granted
    </Files>
    WSGIProcessGroup mailman-web
    WSGIApplicationGroup %{GLOBAL}
</Directory>
"""
KOJI = """
Alias /kojihub ${FILES}/koji-hub/kojixmlrpc.py/
<Directory ${FILES}/koji-hub>
    Options ExecCGI
    SetHandler wsgi-script
    WSGIApplicationGroup %{GLOBAL}
    Require all granted
</Directory>
<Location /kojihub/ssllogin>
    Require all granted
</Location>
Alias /kojifiles ${FILES}/static
<Directory ${FILES}/static>
    Options Indexes SymLinksIfOwnerMatch
    AllowOverride None
    Require all granted
</Directory>
Alias /koji ${FILES}/koji-web/wsgi_publisher.py
<Directory ${FILES}/koji-web>
    Options ExecCGI
    SetHandler wsgi-script
    WSGIApplicationGroup %{GLOBAL}
    Require all granted
</Directory>
Alias /koji-static/ ${FILES}/static/
"""
DJANGO = """
WSGIScriptAlias / ${FILES}/mysite/mysite/wsgi.py process-group=example.com
WSGIDaemonProcess example.com python-home=${FILES}/venv python-path=${FILES}/mysite
WSGIProcessGroup example.com
Alias /robots.txt ${FILES}/static/file.txt
Alias /static/ ${FILES}/static/
<Directory ${FILES}/mysite/mysite>
    <Files wsgi.py>
        Require all granted
    </Files>
</Directory>
WSGIPassAuthorization On
"""
DJANGO_EMBEDDED = """
WSGIScriptAlias / ${FILES}/mysite/mysite/wsgi.py
WSGIPythonPath ${FILES}/mysite
<Directory ${FILES}/mysite/mysite>
    <Files wsgi.py>
        Require all granted
    </Files>
</Directory>
"""
FLASK = """
<VirtualHost *:${PORT}>
    ServerName example.com
    WSGIDaemonProcess yourapplication @USER@ threads=5
    WSGIScriptAlias / ${FILES}/yourapplication/yourapplication.wsgi
    <Directory ${FILES}/yourapplication>
        WSGIProcessGroup yourapplication
        WSGIApplicationGroup %{GLOBAL}
        WSGIScriptReloading On
        Require all granted
    </Directory>
</VirtualHost>
"""
CERTBOT = """
<VirtualHost *:${PORT}>
    ServerName localhost
    WSGIDaemonProcess example threads=2
    WSGIProcessGroup example
    WSGIScriptAlias / ${FILES}/conf/graphite.wsgi
    RewriteEngine on
    RewriteCond %{SERVER_NAME} =redirected.example.com
    RewriteRule ^ https://%{SERVER_NAME}%{REQUEST_URI} [END,NE,R=permanent]
</VirtualHost>
<VirtualHost *:${TLS_PORT}>
    ServerName localhost
    COPY
    WSGIProcessGroup example
    WSGIScriptAlias / ${FILES}/conf/graphite.wsgi
    SSLEngine on
    SSLCertificateFile ${CERTS}/server.crt
    SSLCertificateKeyFile ${CERTS}/server.key
</VirtualHost>
"""
HOSTING = """
<VirtualHost *:${PORT}>
    ServerName one.example.com
    ServerAlias www.one.example.com
    DocumentRoot ${FILES}/home/one
    <IfModule mod_wsgi.c>
        WSGIDaemonProcess one.example.com @USER@ processes=1 threads=5 display-name=%{GROUP} home=${FILES}/home/one
        WSGIProcessGroup one.example.com
        WSGIScriptAlias /app ${FILES}/home/one/passenger_wsgi.py
    </IfModule>
    <Directory ${FILES}/home/one>
        Options +ExecCGI +SymLinksIfOwnerMatch
        AllowOverride All
        AddHandler wsgi-script .wsgi
        Require all granted
    </Directory>
</VirtualHost>
<VirtualHost *:${OTHER_PORT}>
    ServerName two.example.com
    DocumentRoot ${FILES}/home/two
    <IfModule wsgi_module>
        WSGIDaemonProcess two.example.com processes=1 threads=5 python-path='' lang=''
        WSGIProcessGroup two.example.com
        WSGIApplicationGroup %{SERVER}
    </IfModule>
    <Directory ${FILES}/home/two>
        Options +ExecCGI
        AllowOverride FileInfo
        Require all granted
    </Directory>
</VirtualHost>
"""
REVIEWBOARD = """
<VirtualHost *:${PORT}>
    ServerName reviews.example.com
    DocumentRoot ${FILES}/static
    ErrorDocument 500 /file.txt
    WSGIDaemonProcess reviewboard threads=5
    WSGIPassAuthorization On
    WSGIScriptAlias "/reviews" "${FILES}/conf/graphite.wsgi/reviews"
    <Directory "${FILES}/conf">
        AllowOverride All
        Options -Indexes +FollowSymLinks
        WSGIProcessGroup reviewboard
        WSGIApplicationGroup %{GROUP}
        Require all granted
    </Directory>
</VirtualHost>
"""
MYSITE = "import mysite.settings\n" + APPLICATION
FILES = {
    "bin/keystone-wsgi-public": PBR_SCRIPT,
    "openstack_dashboard/wsgi.py": APPLICATION,
    "static/file.txt": "a static file",
    "ipa/wsgi.py": APPLICATION,
    "ipa/kdcproxy.py": APPLICATION,
    "trac/apache/trac.wsgi": APPLICATION,
    "trac/apache/one.wsgi": APPLICATION,
    "trac/lib/trac.py": "",
    "passwords": "user:{SHA}GpHWL3ymc5liWkNopqtdSjuqYHM=\n",
    "conf/graphite.wsgi": APPLICATION,
    "mailman/web/wsgi.py": APPLICATION,
    "koji-hub/kojixmlrpc.py": APPLICATION,
    "koji-web/wsgi_publisher.py": APPLICATION,
    "mysite/mysite/__init__.py": "",
    "mysite/mysite/settings.py": "",
    "mysite/mysite/wsgi.py": MYSITE,
    "yourapplication/yourapplication.wsgi": APPLICATION,
    "home/one/passenger_wsgi.py": APPLICATION,
    "home/one/script.wsgi": APPLICATION,
    "home/two/script.wsgi": APPLICATION,
    "home/two/.htaccess": "AddHandler wsgi-script .wsgi\nWSGIPassAuthorization On\n",
}
SECRET = {"Authorization": "Basic dXNlcjpwdw=="}  # user, pw


@dataclass(frozen=True)
class Case:
    """`answers` are paths, with the port if it is not the first, and what the answer contains."""

    text: str
    answers: dict[str, str]
    peer_starts: bool = True


CASES = {
    "keystone": Case(
        KEYSTONE,
        {"/v3": "- /v3 Basic dXNlcjpwdw==", "/identity/v3": "/identity /v3 Basic dXNlcjpwdw=="},
    ),
    "horizon": Case(
        HORIZON,
        {
            "/horizon/auth/login": "/horizon /auth/login",
            "/horizon/static/file.txt": "a static file",
            "/": "/horizon -",
        },
    ),
    "freeipa": Case(
        FREEIPA,
        {
            "/ipa/json": "/ipa /json",
            "/ipa/session/login": "/ipa /session/login",
            "/ipa/ui/file.txt": "a static file",
            "/KdcProxy": "/KdcProxy -",
        },
    ),
    "trac": Case(
        TRAC,
        {
            "/trac/wiki": "/trac /wiki",
            "/trac/login": "/trac /login user",
            "/projects/one/ticket": "/projects/one /ticket",
            "/projects/one/login": "/projects/one /login user",
            "/trac/chrome/common/file.txt": "a static file",
        },
    ),
    "graphite": Case(
        GRAPHITE,
        {"/render/?x": "- /render/", "/content/file.txt": "a static file"},
    ),
    "mailman": Case(
        MAILMAN,
        {"/postorius/lists": "- /postorius/lists", "/favicon.ico": "a static file"},
    ),
    "koji": Case(
        KOJI,
        {
            "/kojihub": "/kojihub /",
            "/koji/packages": "/koji /packages",
            "/kojifiles/file.txt": "a static file",
        },
    ),
    "django": Case(
        DJANGO,
        {"/admin/": "- /admin/ Basic dXNlcjpwdw==", "/static/file.txt": "a static file"},
    ),
    "django, embedded": Case(DJANGO_EMBEDDED, {"/admin/": "- /admin/"}),
    "flask": Case(FLASK, {"/": "- /", "/x": "- /x"}),
    "certbot": Case(
        CERTBOT.replace("COPY", "# WSGIDaemonProcess example threads=2"),
        {"/x": "- /x", "TLS_PORT /x": "- /x"},
    ),
    "certbot, whole copy": Case(
        CERTBOT.replace("COPY", "WSGIDaemonProcess example threads=2"),
        {"/x": "- /x", "TLS_PORT /x": "- /x"},
        peer_starts=False,  # "name duplicates previous definition": what users complain of
    ),
    "hosting": Case(
        HOSTING,
        {
            "/app/x": "/app /x",
            "/script.wsgi/x": "/script.wsgi /x",
            "OTHER_PORT /script.wsgi/x": "/script.wsgi /x Basic dXNlcjpwdw==",
        },
    ),
    "reviewboard": Case(
        REVIEWBOARD,
        {"/reviews/r/1": "- /reviews/r/1 Basic dXNlcjpwdw=="},
    ),
}
MODULES = (
    "ssl",
    "rewrite",
    "auth_basic",
    "authn_file",
    "authz_user",
    "access_compat",
    "autoindex",
    "dir",
)


def with_user(text):
    if os.geteuid() != 0:
        return text.replace("@USER@", "")
    entry = machine.other_users()[0]
    return text.replace("@USER@", f"user={entry.pw_name} group=#{entry.pw_gid}")


each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture
def httpd(start, case):
    server = start(with_user(case.text), files=FILES, modules=MODULES, begin=False)
    if "/venv" in case.text:
        make = [sys.executable, "-m", "venv", "--without-pip", server.files / "venv"]
        subprocess.run(make, check=True)
    if not is_ours(server) and not case.peer_starts:
        with pytest.raises(StartFailed):
            server.start()
        pytest.skip("mod_wsgi does not start with it")
    return server.start()


@each_case
def test_each_url_is_answered_by_the_application(httpd, case):
    for place, answer in case.answers.items():
        port, _, path = place.rpartition(" ")
        scheme = "https" if port == "TLS_PORT" else "http"
        got = httpd.get(path, port=port or "PORT", scheme=scheme, headers=SECRET)
        assert got.text == answer, place


@each_case
def test_check_finds_no_fault(httpd):
    if not is_ours(httpd):
        pytest.skip("only mod_wsgid has a check")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        words = ["-D", "ROOT_RUNS"] if os.geteuid() == 0 else []
        code = main.main(["check", *words, str(httpd.root / "conf" / "httpd.conf")])
    notes = [line for line in out.getvalue().splitlines()[:-1] if ": note: " in line]
    others = [line for line in out.getvalue().splitlines()[:-1] if ": note: " not in line]
    assert (code, others) == (0, [])
    assert not [note for note in notes if "WSGIImportScript" in note]
