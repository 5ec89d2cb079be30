"""WSGIScriptAlias and WSGIScriptAliasMatch with their options."""

from __future__ import annotations

import pytest

CONFIGURATION = """
WSGIDaemonProcess site threads=2
WSGIDaemonProcess other threads=2
WSGIProcessGroup site
WSGIApplicationGroup %{GLOBAL}
Alias /app/static ${FILES}/static
WSGIScriptAlias /app/deeper ${FILES}/b.wsgi
WSGIScriptAlias /app ${FILES}/a.wsgi
WSGIScriptAlias /options ${FILES}/a.wsgi process-group=other application-group=%{GLOBAL} callable-object=second pass-authorization=On
WSGIScriptAlias /twice ${FILES}/a.wsgi
WSGIScriptAlias /twice ${FILES}/b.wsgi
WSGIScriptAlias /scripts ${FILES}/scripts
WSGIScriptAlias /slash/ ${FILES}/scripts/
WSGIScriptAlias /part ${FILES}/a.wsgi/part
WSGIScriptAlias "/with blank" "${FILES}/with blank.wsgi"
WSGIScriptAliasMatch ^/match/([^/]+) ${FILES}/scripts/$1.wsgi
WSGIScriptAliasMatch ^/many/([^/]+)/([^/]+) ${FILES}/$1/$2.wsgi
WSGIScriptAliasMatch "^/wiki(/.*)?$" "${FILES}/a.wsgi$1"
WSGIScriptAliasMatch ^/grouped ${FILES}/a.wsgi process-group=other application-group=%{GLOBAL}
<VirtualHost 127.0.0.1:${PORT}>
</VirtualHost>
<VirtualHost 127.0.0.1:${ROOT_PORT}>
    Alias /robots.txt ${FILES}/static/robots.txt
    WSGIScriptAlias / ${FILES}/a.wsgi
</VirtualHost>
<VirtualHost 127.0.0.1:${TAIL_PORT}>
    WSGIScriptAlias / ${FILES}/a.wsgi/
</VirtualHost>
"""
SCRIPT = """
def answer(name, environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    seen = [name, environ["mod_wsgi.process_group"], environ["SCRIPT_NAME"] or "-", environ["PATH_INFO"] or "-",
            environ.get("HTTP_AUTHORIZATION", "")]
    return [" ".join(seen).strip().encode()]

def application(environ, start_response):
    return answer("@NAME@", environ, start_response)

def second(environ, start_response):
    return answer("second", environ, start_response)
"""
FILES = {
    f"{path}.wsgi": SCRIPT.replace("@NAME@", path.rpartition("/")[2])
    for path in ("a", "b", "with blank", "scripts/one", "scripts/two", "scripts/deep/three")
} | {"static/robots.txt": "robots", "static/file.txt": "static"}


@pytest.fixture(scope="module")
def httpd(start):
    return start(CONFIGURATION, files=FILES)


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/app", "a site /app -"),
        ("/app/", "a site /app /"),
        ("/app/x/y", "a site /app /x/y"),
        ("/app/deeper/x", "b site /app/deeper /x"),
        ("/twice", "a site /twice -"),
        ("/scripts/one.wsgi/x", "one site /scripts/one.wsgi /x"),
        ("/slash/two.wsgi/x", "two site /slash/two.wsgi /x"),
        ("/part", "a site - /part"),
        ("/part/x", "a site - /part/x"),
        ("/with%20blank/x", "with blank site /with blank /x"),
        ("/match/one/x", "one site /match/one /x"),
        ("/many/scripts/two/x", "two site /many/scripts/two /x"),
        ("/wiki/page", "a site /wiki /page"),
        ("/wiki", "a site /wiki -"),
        ("/grouped/x", "a other /grouped /x"),
        ("/options/x", "second other /options /x Basic eDp5"),
    ],
)
def test_where_an_alias_leads_to(httpd, path, seen):
    assert httpd.get(path, headers={"Authorization": "Basic eDp5"}).text == seen


@pytest.mark.parametrize("path", ["/apple", "/scripts/none.wsgi", "/match/none", "/none"])
def test_what_no_alias_matches_is_a_404(httpd, path):
    with httpd.log.allows("WSGID", "AH"):
        assert httpd.get(path).status_code == 404


def test_an_alias_of_httpd_goes_before(httpd):
    assert httpd.get("/app/static/file.txt").text == "static"


@pytest.mark.parametrize(
    ("path", "seen"),
    [("/", "a site - /"), ("/x/y", "a site - /x/y"), ("/robots.txt", "robots")],
)
def test_an_application_at_the_root(httpd, path, seen):
    assert httpd.get(path, port="ROOT_PORT").text == seen


@pytest.mark.parametrize(("path", "seen"), [("/", "a site - /"), ("/x/y", "a site - /x/y")])
def test_an_application_at_the_root_with_a_slash_behind_the_script(httpd, path, seen):
    assert httpd.get(path, port="TAIL_PORT").text == seen
