"""Other modules next to an application: mod_status, mod_rewrite, mod_deflate, mod_headers,
mod_auth_basic and more.
"""

from __future__ import annotations

import pytest
from httpdenv.client import request

CONFIGURATION = """
RewriteEngine On
RewriteRule ^/rewritten/(.*)$ /environ/$1?from=rewrite [PT]
RewriteRule ^/gone$ - [G]
AddOutputFilterByType DEFLATE text/plain
Header always set X-From-Httpd yes
RequestHeader set X-Added-By-Httpd yes
<Location /server-status>
    SetHandler server-status
    Require all granted
</Location>
<Location /protected>
    AuthType Basic
    AuthName "protected"
    AuthUserFile ${FILES}/passwords
    Require valid-user
</Location>
ErrorDocument 404 /environ/error-page
Alias /static ${FILES}/static
WSGIScriptAlias /lines ${APPS}/lines.wsgi
WSGIScriptAlias /environ ${APPS}/environ.wsgi
WSGIScriptAlias /protected ${APPS}/environ.wsgi
WSGIScriptAlias /hello ${APPS}/hello.wsgi
<VirtualHost 127.0.0.1:${PORT}>
    RewriteEngine On
    RewriteOptions Inherit
</VirtualHost>
<VirtualHost 127.0.0.1:${WHOLE_PORT}>
    WSGIScriptAlias / ${APPS}/environ.wsgi
</VirtualHost>
"""
MODULES = [
    "rewrite",
    "deflate",
    "filter",
    "headers",
    "status",
    "auth_basic",
    "authn_file",
    "authz_user",
]
PASSWORDS = "user:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"  # password


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(
        CONFIGURATION, modules=MODULES, files={"passwords": PASSWORDS, "static/file.txt": "a file"}
    )


def test_mod_status_works_beside_applications(httpd):
    httpd.get("/hello")
    assert "Total Accesses" in httpd.get("/server-status?auto").text


def test_mod_rewrite_leads_to_an_application(httpd):
    seen = httpd.get("/rewritten/x/y").json()
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"], seen["QUERY_STRING"]) == (
        "/environ",
        "/x/y",
        "from=rewrite",
    )
    assert httpd.get("/gone").status_code == 410


def test_mod_deflate_compresses_responses(httpd):
    with httpd.wire() as wire:
        wire.send(request("GET", "/lines?1000", "Accept-Encoding: gzip"))
        response = wire.read_response()
    assert response.all("Content-Encoding") == ["gzip"]
    assert len(response.body) < 5000
    assert httpd.get("/lines?1000").text.count("\n") == 1000


def test_mod_headers_adds_to_both_directions(httpd):
    response = httpd.get("/environ")
    assert response.headers["X-From-Httpd"] == "yes"
    assert response.json()["HTTP_X_ADDED_BY_HTTPD"] == "yes"


def test_the_application_gets_the_authenticated_user_but_not_the_password(httpd):
    with httpd.log.allows("AH01617", "AH01618"):
        assert httpd.get("/protected").status_code == 401
        response = httpd.get("/protected", auth=("user", "password"))
    seen = response.json()
    assert (seen["REMOTE_USER"], seen["AUTH_TYPE"]) == ("user", "Basic")
    assert "HTTP_AUTHORIZATION" not in seen


def test_files_are_served_beside_applications(httpd):
    assert httpd.get("/static/file.txt").text == "a file"


def test_an_application_can_be_an_error_document(httpd):
    with httpd.log.allows("AH00128"):
        response = httpd.get("/nothing-here")
    assert response.status_code in (200, 404)
    seen = response.json()
    assert seen["REDIRECT_STATUS"] == "404"
    assert seen["REDIRECT_URL"] == "/nothing-here"


def test_the_aliases_of_a_virtual_host_come_before_those_of_the_main_server(httpd):
    assert httpd.get("/hello").text == "Hello World!\n"
    assert httpd.get("/hello", port="WHOLE_PORT").json()["PATH_INFO"] == "/hello"
    assert httpd.get("/anything", port="WHOLE_PORT").json()["PATH_INFO"] == "/anything"
