"""Scripts that a handler, and not an alias, leads to: AddHandler, SetHandler, ExecCGI,
.htaccess.
"""

from __future__ import annotations

import pytest

CONFIGURATION = """
DocumentRoot ${FILES}
<Directory ${FILES}/allowed>
    Options +ExecCGI
    AllowOverride FileInfo
    AddHandler wsgid-script .wsgi
</Directory>
<Directory ${FILES}/other-name>
    Options +ExecCGI
    AddHandler wsgi-script .wsgi
</Directory>
<Directory ${FILES}/by-type>
    Options +ExecCGI
    AddType application/x-httpd-wsgi .wsgi
    CGIPassAuth On
</Directory>
<Directory ${FILES}/rewritten>
    Options +ExecCGI +FollowSymLinks
    AddHandler wsgi-script .wsgi
    RewriteEngine On
    RewriteRule "^(?!app[.]wsgi)(.*)$" "app.wsgi/$1" [QSA]
</Directory>
<Directory ${FILES}/forbidden>
    Options -ExecCGI
    AddHandler wsgid-script .wsgi
</Directory>
<Directory ${FILES}/set>
    Options +ExecCGI
    SetHandler wsgid-script
</Directory>
"""


@pytest.fixture(scope="module")
def httpd(make_httpd, stage):
    source = (stage.apps / "environ.wsgi").read_text()
    callables = (stage.apps / "callables.wsgi").read_text()
    places = ("allowed", "other-name", "by-type", "rewritten", "forbidden", "plain")
    files = {f"{place}/app.wsgi": source for place in places}
    files["set/app"] = source
    files["allowed/named/app.wsgi"] = callables
    files["allowed/named/.htaccess"] = "WSGICallableObject other\n"
    return make_httpd(CONFIGURATION, files=files, modules=["rewrite"])


@pytest.mark.parametrize(
    "path", ["/allowed/app.wsgi", "/other-name/app.wsgi", "/by-type/app.wsgi", "/set/app"]
)
def test_a_handler_runs_a_script_where_exec_cgi_is_on(httpd, path):
    seen = httpd.get(f"{path}/more?query").json()
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"], seen["QUERY_STRING"]) == (
        path,
        "/more",
        "query",
    )


@pytest.mark.parametrize(
    ("path", "handler"),
    [
        ("/allowed/app.wsgi", "wsgi-script"),
        ("/other-name/app.wsgi", "wsgi-script"),
        ("/by-type/app.wsgi", "application/x-httpd-wsgi"),
    ],
)
def test_the_application_sees_the_handler_under_the_name_that_mod_wsgi_gives_it(
    httpd, path, handler
):
    assert httpd.get(path).json()["mod_wsgi.request_handler"] == handler


def test_request_uri_is_what_the_client_sent_before_any_rewriting(httpd):
    seen = httpd.get("/rewritten/some/path?query").json()
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/rewritten/app.wsgi", "/some/path")
    assert seen["REQUEST_URI"] == "/rewritten/some/path?query"


def test_credentials_reach_the_application_where_cgi_pass_auth_is_on(httpd):
    secret = {"Authorization": "Basic dXNlcjpwYXNzd29yZA=="}
    assert (
        httpd.get("/by-type/app.wsgi", headers=secret).json()["HTTP_AUTHORIZATION"]
        == secret["Authorization"]
    )
    assert "HTTP_AUTHORIZATION" not in httpd.get("/allowed/app.wsgi", headers=secret).json()


def test_without_exec_cgi_the_answer_is_a_403_and_is_logged(httpd):
    with httpd.log.expects("WSGID0153.*forbidden/app.wsgi"):
        response = httpd.get("/forbidden/app.wsgi")
    assert response.status_code == 403
    assert "wsgiref" not in response.text


def test_without_exec_cgi_a_script_that_does_not_exist_is_a_403_too(httpd):
    with httpd.log.expects("WSGID0153.*forbidden/missing.wsgi"):
        assert httpd.get("/forbidden/missing.wsgi").status_code == 403


def test_a_script_that_does_not_exist_is_a_404(httpd):
    with httpd.log.allows("WSGID0151"):
        assert httpd.get("/allowed/missing.wsgi").status_code == 404


def test_htaccess_can_name_the_callable(httpd):
    assert httpd.get("/allowed/named/app.wsgi").text == "other"


# -------- beside a daemon group

BESIDE = """
WSGIDaemonProcess one
WSGIScriptAlias /one ${APPS}/whoami.wsgi process-group=one
DocumentRoot ${FILES}
"""
DIRECTORY = """
<Directory ${FILES}>
    Options +ExecCGI
    %s
</Directory>
"""
WAYS = {
    "AddHandler": (DIRECTORY % "AddHandler wsgi-script .wsgi", None),
    "SetHandler": (DIRECTORY % "SetHandler wsgi-script", None),
    "AddType": (DIRECTORY % "AddType application/x-httpd-wsgi .wsgi", None),
    "RewriteRule": (DIRECTORY % "RewriteEngine On\nRewriteRule . - [H=wsgi-script]", None),
    "htaccess": (DIRECTORY % "AllowOverride All", "AddHandler wsgi-script .wsgi"),
    "htaccess with a list": (
        DIRECTORY % "AllowOverrideList AddHandler",
        "AddHandler wsgi-script .wsgi",
    ),
    "virtual host": (
        "<VirtualHost *>%s</VirtualHost>" % (DIRECTORY % "AddHandler wsgi-script .wsgi"),
        None,
    ),
    "another host's group": (
        DIRECTORY % "AddHandler wsgi-script .wsgi"
        + "<VirtualHost *>\n</VirtualHost>\n"
        + "<VirtualHost 127.0.0.1:${OTHER_PORT}>\nWSGIProcessGroup one\n</VirtualHost>",
        None,
    ),
    "variable": (
        "WSGIProcessGroup %{ENV:G}\n" + DIRECTORY % "AddHandler wsgi-script .wsgi",
        None,
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_handler_without_a_group_runs_in_the_default_group_beside_others(serve, stage, way):
    text, htaccess = WAYS[way]
    files = {"app.wsgi": (stage.apps / "environ.wsgi").read_text()}
    if htaccess:
        files[".htaccess"] = htaccess
    httpd = serve(BESIDE + text, files=files, modules=["rewrite"])
    assert httpd.get("/app.wsgi/x").json()["mod_wsgi.process_group"] == ""


NOT_USED = {
    "no handler": "",
    "a handler in a group": "<Directory ${FILES}>\nWSGIProcessGroup one\nSetHandler wsgi-script\n</Directory>",
    "handlers in a group": "WSGIProcessGroup one\n" + DIRECTORY % "SetHandler wsgi-script",
    "no .htaccess": DIRECTORY % "AllowOverride None\nAllowOverrideList None",
    ".htaccess without handlers": DIRECTORY % "AllowOverride AuthConfig Limit",
}


@pytest.mark.parametrize("case", NOT_USED)
def test_the_default_group_costs_no_process_where_nothing_can_use_it(serve, case):
    httpd = serve(BESIDE + NOT_USED[case])
    httpd.wait_for_daemons("one", 1)
    assert not httpd.guardians("%{GLOBAL}")
