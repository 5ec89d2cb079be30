"""Which script a URL leads to, and which daemon group serves it: aliases, variables, sections,
restrictions.
"""

import pytest

CONFIGURATION = """
WSGIDaemonProcess one home=/ python-path=/usr/share display-name="named %{GROUP}"
WSGIDaemonProcess two
WSGIDaemonProcess site.test:${PORT}
WSGIPythonPath /usr/lib
ServerName site.test:${PORT}
DocumentRoot ${FILES}

Alias /static ${APPS}/README.md
WSGIScriptAliasMatch ^/match/([a-z]+)(/.*)? ${APPS}/$1.wsgi$2
WSGIScriptAlias /one/ ${APPS}/environ.wsgi process-group=one
WSGIScriptAlias /directory ${FILES} process-name=two
WSGIScriptAlias /server ${APPS}/environ.wsgi process-group=%{SERVER}
WSGIScriptAlias /host ${APPS}/environ.wsgi process-group=%{HOST}
WSGIScriptAlias /resource ${APPS}/environ.wsgi application-group=%{RESOURCE} process-group=one
WSGIScriptAlias /env ${APPS}/environ.wsgi process-group=%{ENV:CHOSEN}
WSGIScriptAlias /section ${APPS}/environ.wsgi
WSGIScriptAlias /restricted ${APPS}/environ.wsgi process-group=%{ENV:CHOSEN}
WSGIScriptAlias /callable ${APPS}/callables.wsgi process-group=one callable-object=other
WSGIScriptAlias /default ${APPS}/environ.wsgi

<Location /section>
    WSGIProcessName two
</Location>
<Location /restricted>
    WSGIRestrictProcess two %{GLOBAL}
</Location>
<Location /handler>
    SetHandler wsgi-script
    Options +ExecCGI
    WSGIProcessName one
</Location>
Alias /handler ${APPS}

DirectoryIndex index.wsgi
RewriteEngine On
RewriteCond %{QUERY_STRING} ^choose=(.+)
RewriteRule . - [E=CHOSEN:%1]
RewriteRule ^/through/(.*) /one/$1 [PT]
RewriteRule ^/escape /directory/../../conf/httpd.conf [PT]
"""

INDEX = """
import json

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({name: value for name, value in environ.items() if isinstance(value, str)}).encode()]
"""


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(
        CONFIGURATION,
        modules=["rewrite", "dir"],
        files={"index.wsgi": INDEX, "sub/index.wsgi": INDEX},
    )


@pytest.fixture
def environ(httpd):
    """environ(path) -> the environ that the application sees."""

    def get(path, **headers):
        response = httpd.get(path, headers=headers)
        assert response.status_code == 200, response.text
        return response.json()

    return get


@pytest.mark.parametrize(
    ("path", "script_name", "path_info", "group"),
    [
        ("/one", "/one", "", "one"),
        ("/one/", "/one", "/", "one"),
        ("/one/a/b/", "/one", "/a/b/", "one"),
        ("//one//a", "/one", "/a", "one"),
        ("/one/%61%20b", "/one", "/a b", "one"),
        ("/through/x", "/one", "/x", "one"),
        ("/directory/index.wsgi/p", "/directory/index.wsgi", "/p", "two"),
        ("/directory/sub/index.wsgi", "/directory/sub/index.wsgi", "", "two"),
        ("/match/environ", "/match/environ", "", ""),
        ("/match/environ/p/q", "/match/environ", "/p/q", ""),
        ("/section/x", "/section", "/x", "two"),
        ("/default", "/default", "", ""),
        ("/handler/environ.wsgi/x", "/handler/environ.wsgi", "/x", "one"),
        ("/env?choose=one", "/env", "", "one"),
        ("/env?choose=two", "/env", "", "two"),
        ("/restricted?choose=two", "/restricted", "", "two"),
    ],
)
def test_url_leads_to_script_and_group(environ, path, script_name, path_info, group):
    seen = environ(path)
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == (script_name, path_info)
    assert seen["mod_wsgi.process_group"] == group


def test_directory_index_runs_the_script_of_its_alias(environ):
    assert environ("/directory/")["mod_wsgi.process_group"] == "two"


def test_prefix_matches_whole_segments_only(httpd):
    assert httpd.get("/oneself").status_code == 404


def test_alias_of_httpd_wins(httpd):
    assert httpd.get("/static").text.startswith("# Test applications")


def test_server_variable_is_the_configured_name_and_port(httpd, environ):
    assert environ("/server")["mod_wsgi.process_group"] == f"site.test:{httpd.ports['PORT']}"


def test_the_host_variable_is_the_host_that_the_client_requested(httpd, environ):
    name = f"site.test:{httpd.ports['PORT']}"
    assert environ("/host", Host=name)["mod_wsgi.process_group"] == name


def test_resource_variable_is_server_and_script(httpd, environ):
    seen = environ("/resource/a/b")
    assert seen["mod_wsgi.application_group"] == f"site.test:{httpd.ports['PORT']}|/resource"


def test_unset_variable_is_named_in_the_log(httpd):
    """An HTTP/1.0 request without Host."""
    with httpd.log.expects(r"WSGID0160: group '%\{HOST\}': this variable .* is not set"):
        with httpd.wire() as wire:
            wire.send(b"GET /host HTTP/1.0\r\n\r\n")
            assert wire.read_response().status == 500


def test_unset_environment_variable_means_the_default_group(environ):
    assert environ("/env")["mod_wsgi.process_group"] == ""


def test_group_from_a_variable_must_exist(httpd):
    with httpd.log.expects("'nobody'.*known"):
        assert httpd.get("/env?choose=nobody").status_code == 500


def test_restriction_holds_for_variables(httpd):
    with httpd.log.expects("WSGID0156: group 'one': WSGIRestrictProcess does not allow"):
        assert httpd.get("/restricted?choose=one").status_code == 500


def test_url_that_would_leave_the_directory_is_refused(httpd):
    with httpd.log.expects("WSGID0021"):
        assert httpd.get("/escape").status_code == 403
