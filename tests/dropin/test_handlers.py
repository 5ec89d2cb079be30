"""Scripts that a handler leads to, in directories and in .htaccess."""

from __future__ import annotations

import pytest

CONFIGURATION = """
WSGIDaemonProcess site threads=4
WSGIDaemonProcess other
<Directory ${FILES}/handler>
    Options +ExecCGI
    AddHandler wsgi-script .wsgi
    WSGIProcessGroup site
</Directory>
<Directory ${FILES}/set>
    Options +ExecCGI
    SetHandler wsgi-script
    WSGIProcessGroup site
</Directory>
<Directory ${FILES}/without-group>
    Options +ExecCGI
    AddHandler wsgi-script .wsgi
</Directory>
<Directory ${FILES}/without-exec>
    Options -ExecCGI
    AddHandler wsgi-script .wsgi
</Directory>
<Directory ${FILES}/htaccess>
    Options +ExecCGI
    AllowOverride FileInfo
</Directory>
<Directory ${FILES}/index>
    Options +ExecCGI
    AddHandler wsgi-script .wsgi
    WSGIProcessGroup site
    DirectoryIndex app.wsgi
</Directory>
<Directory ${FILES}/rewritten>
    Options +ExecCGI +FollowSymLinks
    AddHandler wsgi-script .wsgi
    WSGIProcessGroup site
    RewriteEngine On
    RewriteBase /rewritten
    RewriteCond %{REQUEST_FILENAME} !-f
    RewriteRule ^(.*)$ /rewritten/app.wsgi/$1 [QSA,PT,L]
</Directory>
Alias /aliased/ ${FILES}/handler/
<VirtualHost 127.0.0.1:${PORT}>
</VirtualHost>
<VirtualHost 127.0.0.1:${B_PORT}>
</VirtualHost>
"""
SCRIPT = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    keys = ("mod_wsgi.process_group", "SCRIPT_NAME", "PATH_INFO", "REQUEST_URI")
    return [" ".join(environ[key] or "-" for key in keys).encode()]
"""
ELSE = SCRIPT.replace("application", "elsewhere")
PLACES = ("handler", "without-group", "without-exec", "index", "rewritten", "htaccess")
FILES = {f"{place}/app.wsgi": SCRIPT for place in PLACES} | {
    "set/app": SCRIPT,
    "htaccess/.htaccess": "AddHandler wsgi-script .wsgi\n",
    "htaccess/named/.htaccess": "WSGICallableObject elsewhere\n",
    "htaccess/named/app.wsgi": ELSE,
    "rewritten/static.txt": "static",
}


@pytest.fixture(scope="module")
def httpd(start):
    return start(CONFIGURATION, files=FILES, modules=["rewrite", "dir"])


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/handler/app.wsgi", "site /handler/app.wsgi - /handler/app.wsgi"),
        ("/handler/app.wsgi/x/y?q", "site /handler/app.wsgi /x/y /handler/app.wsgi/x/y?q"),
        ("/set/app/x", "site /set/app /x /set/app/x"),
        ("/aliased/app.wsgi/x", "site /aliased/app.wsgi /x /aliased/app.wsgi/x"),
        ("/index/", "site /index/app.wsgi - /index/"),
        ("/rewritten/some/path?q", "site /rewritten/app.wsgi /some/path /rewritten/some/path?q"),
        ("/without-group/app.wsgi/x", "- /without-group/app.wsgi /x /without-group/app.wsgi/x"),
        ("/htaccess/app.wsgi/x", "- /htaccess/app.wsgi /x /htaccess/app.wsgi/x"),
        ("/htaccess/named/app.wsgi", "- /htaccess/named/app.wsgi - /htaccess/named/app.wsgi"),
    ],
)
def test_where_a_handler_leads_to(httpd, path, seen):
    assert httpd.get(path).text == seen


def test_a_handler_in_another_virtual_host(httpd):
    answer = httpd.get("/without-group/app.wsgi", port="B_PORT")
    assert answer.text.startswith("- /without-group/app.wsgi")


def test_static_files_beside_a_script_stay_static(httpd):
    assert httpd.get("/rewritten/static.txt").text == "static"


def test_without_exec_cgi_a_script_is_forbidden(httpd):
    with httpd.log.allows("WSGID", "AH"):
        assert httpd.get("/without-exec/app.wsgi").status_code == 403


def test_without_exec_cgi_a_missing_script_is_forbidden_too(httpd):
    with httpd.log.allows("WSGID", "AH"):
        assert httpd.get("/without-exec/none.wsgi").status_code == 403


def test_a_missing_script_is_a_404(httpd):
    with httpd.log.allows("WSGID", "AH"):
        assert httpd.get("/handler/none.wsgi").status_code == 404
