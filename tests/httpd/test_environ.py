"""The environ that an application sees: the mount point, the request, the client and the server."""

from __future__ import annotations

import json
import os

import pytest
from httpdenv.client import request
from httpdenv.waiting import wait_until

CONFIGURATION = """
ServerAdmin admin@localhost
MergeSlashes Off
HostnameLookups On
LogFormat "%{HTTP_HOST}e %{REQUEST_METHOD}e %{PATH_INFO}e %{QUERY_STRING}e" variables
CustomLog logs/access_log variables
Header set X-Variables "%{HTTP_HOST}e %{REQUEST_METHOD}e %{PATH_INFO}e %{QUERY_STRING}e"
SetEnvIf X-Https (.+) HTTPS=$1
WSGIScriptAlias /at/a/mount ${APPS}/environ.wsgi
WSGIScriptAlias /directory ${APPS}
WSGIScriptAliasMatch "^/match/([^/]+)" ${APPS}/$1.wsgi
SetEnv OWN_VARIABLE "a value"
SetEnv wsgi.url_scheme forged
SetEnvIf Request_URI "^/at" FROM_SETENVIF=yes
<VirtualHost 127.0.0.1:${PORT}>
    ServerName localhost
    # Not inherited from the main server.
    AllowEncodedSlashes NoDecode
</VirtualHost>
<VirtualHost 127.0.0.1:${ROOT_PORT}>
    ServerName root.example
    WSGIScriptAlias / ${APPS}/environ.wsgi
</VirtualHost>
<VirtualHost 127.0.0.1:${DECODED_PORT}>
    AllowEncodedSlashes On
    WSGIScriptAlias / ${APPS}/environ.wsgi
</VirtualHost>
<VirtualHost 127.0.0.1:${TLS_PORT}>
    SSLEngine on
    SSLCertificateFile ${CERTS}/server.crt
    SSLCertificateKeyFile ${CERTS}/server.key
    WSGIScriptAlias / ${APPS}/environ.wsgi
</VirtualHost>
"""


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION, modules=["ssl", "headers"])


def environ(
    httpd,
    target: str,
    port: str = "PORT",
    method: str = "GET",
    *headers: str,
    host: str = "localhost",
):
    """The environ of a request; its target is sent unchanged."""
    with httpd.wire(port) as wire:
        wire.send(request(method, target, *headers, host=host))
        return json.loads(wire.read_response().body)


def paths(seen) -> tuple[str, str]:
    return seen["SCRIPT_NAME"], seen["PATH_INFO"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/at/a/mount", ("/at/a/mount", "")),
        ("/at/a/mount/", ("/at/a/mount", "/")),
        ("/at/a/mount/x/y", ("/at/a/mount", "/x/y")),
        ("/at/a/mount/x/", ("/at/a/mount", "/x/")),
        ("/directory/environ.wsgi", ("/directory/environ.wsgi", "")),
        ("/directory/environ.wsgi/x", ("/directory/environ.wsgi", "/x")),
        ("/match/environ", ("/match/environ", "")),
        ("/match/environ/x", ("/match/environ", "/x")),
    ],
)
def test_script_name_and_path_info_split_at_the_mount_point(httpd, target, expected):
    assert paths(environ(httpd, target)) == expected


@pytest.mark.parametrize(
    ("target", "info"),
    [("/", "/"), ("/x", "/x"), ("/x/", "/x/"), ("/at/a/mountain", "/at/a/mountain")],
)
def test_an_application_at_the_root_has_no_script_name(httpd, target, info):
    assert paths(environ(httpd, target, "ROOT_PORT")) == ("", info)


def test_a_mount_point_matches_whole_segments(httpd):
    assert httpd.get("/at/a/mountain").status_code == 404


def test_path_info_is_unquoted_bytes_in_latin_1(httpd):
    info = paths(environ(httpd, "/at/a/mount/caf%C3%A9%20%E2%98%83"))[1]
    assert info == "/café ☃".encode().decode("latin-1")


def test_path_info_that_is_not_utf_8_arrives(httpd):
    assert paths(environ(httpd, "/at/a/mount/%ff%fe"))[1] == "/\xff\xfe"


def test_encoded_slashes_stay_encoded_with_nodecode(httpd):
    assert paths(environ(httpd, "/at/a/mount/a%2Fb"))[1].lower() == "/a%2fb"


def test_encoded_slashes_are_decoded_if_allowed(httpd):
    assert paths(environ(httpd, "/a%2Fb", "DECODED_PORT"))[1] == "/a/b"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/at/a/mount/a//b", ("/at/a/mount", "/a/b")),
        ("//at//a/mount//b//", ("/at/a/mount", "/b/")),
        ("/directory/environ.wsgi/a//b", ("/directory/environ.wsgi", "/a/b")),
        ("/directory//environ.wsgi//a", ("/directory/environ.wsgi", "/a")),
    ],
)
def test_double_slashes_do_not_move_the_end_of_script_name(httpd, target, expected):
    assert paths(environ(httpd, target)) == expected


def test_double_slashes_of_path_info_collapse(httpd):
    """As with mod_wsgi."""
    assert paths(environ(httpd, "/at/a/mount//x///y"))[1] == "/x/y"


def test_request_uri_is_what_the_client_sent(httpd):
    target = "/at/a/mount/a%2Fb//c?x=%20&y"
    assert environ(httpd, target)["REQUEST_URI"] == target


@pytest.mark.parametrize("query", ["", "a=1&b=2", "x=%C3%A9%20+", "?", "a//b"])
def test_query_string_is_raw(httpd, query):
    assert environ(httpd, f"/at/a/mount?{query}")["QUERY_STRING"] == query


def test_query_string_is_empty_without_a_query(httpd):
    assert environ(httpd, "/at/a/mount")["QUERY_STRING"] == ""


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "BREW"]
)
def test_any_method_reaches_the_application(httpd, method):
    with httpd.log.allows(
        "WSGIWarning: Unknown REQUEST_METHOD", r"warnings\.warn"
    ):  # from the validator
        assert (
            environ(httpd, "/at/a/mount", "PORT", method, "Content-Length: 0")["REQUEST_METHOD"]
            == method
        )


def test_server_and_client_addresses_are_in_environ(httpd):
    port = str(httpd.ports["PORT"])
    seen = environ(httpd, "/at/a/mount", host=f"localhost:{port}")
    assert (seen["SERVER_NAME"], seen["SERVER_PORT"]) == ("localhost", port)
    assert seen["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert seen["SERVER_SOFTWARE"].startswith("Apache")
    assert seen["SERVER_ADMIN"] == "admin@localhost"
    assert seen["SERVER_ADDR"] == "127.0.0.1"
    assert seen["REMOTE_ADDR"] == "127.0.0.1"
    assert seen["REMOTE_PORT"].isdigit()
    assert seen["SCRIPT_FILENAME"].endswith("/environ.wsgi")


def test_server_name_is_the_virtual_hosts(httpd):
    assert environ(httpd, "/", "ROOT_PORT", host="root.example")["SERVER_NAME"] == "root.example"


def test_url_scheme_is_http_without_tls(httpd):
    seen = environ(httpd, "/at/a/mount")
    assert seen["wsgi.url_scheme"] == "http"
    assert seen.get("HTTPS", "off").lower() != "on"


def test_url_scheme_is_https_with_tls(httpd):
    seen = httpd.get("/", port="TLS_PORT", scheme="https").json()
    assert seen["wsgi.url_scheme"] == "https"


@pytest.mark.parametrize(
    ("value", "scheme"), [("on", "https"), ("1", "https"), ("off", "http"), ("true", "http")]
)
def test_https_becomes_the_url_scheme(httpd, value, scheme):
    seen = environ(httpd, "/at/a/mount", "PORT", "GET", f"X-Https: {value}")
    assert seen["wsgi.url_scheme"] == scheme
    assert "HTTPS" not in seen


def test_set_env_is_passed_on(httpd):
    seen = environ(httpd, "/at/a/mount")
    assert seen["OWN_VARIABLE"] == "a value"
    assert seen["FROM_SETENVIF"] == "yes"


def test_set_env_cannot_forge_the_servers_own_keys(httpd):
    assert environ(httpd, "/at/a/mount")["wsgi.url_scheme"] == "http"


def test_the_wsgi_keys_are_there(httpd):
    seen = environ(httpd, "/at/a/mount")
    assert seen["wsgi.version"] == "tuple: (1, 0)"
    assert seen["wsgi.multithread"] is True
    assert seen["wsgi.multiprocess"] is (os.cpu_count() > 1)  # the default group's
    assert seen["wsgi.run_once"] is False
    assert {"wsgi.input", "wsgi.errors", "wsgi.file_wrapper"} <= seen.keys()


def test_mod_wsgis_keys_are_there(httpd):
    seen = environ(httpd, "/at/a/mount/x")
    assert seen["mod_wsgi.script_name"] == "/at/a/mount"
    assert seen["mod_wsgi.path_info"] == "/x"
    assert seen["mod_wsgi.process_group"] == ""
    assert seen["mod_wsgi.callable_object"] == "application"
    assert seen["mod_wsgi.handler_script"] == ""
    assert seen["mod_wsgi.request_handler"] == "wsgi-script"
    assert seen["mod_wsgi.version"] == "tuple: (6, 1, 1)"
    assert seen["apache.version"].startswith("tuple: (2, 4, ")
    assert seen["mod_wsgi.thread_id"] > 0


def test_the_context_is_httpds(httpd):
    seen = environ(httpd, "/at/a/mount/x")
    assert seen["CONTEXT_PREFIX"] == "/at/a/mount"
    assert seen["CONTEXT_DOCUMENT_ROOT"].endswith("/environ.wsgi")


def test_no_host_name_of_the_client_is_in_environ(httpd):
    """As with mod_wsgi."""
    assert "REMOTE_HOST" not in environ(httpd, "/at/a/mount")


def test_httpds_modules_see_the_variables_of_the_request(httpd):
    with httpd.wire() as wire:
        wire.send(request("PUT", "/at/a/mount/x?y=1", "Content-Length: 0", host="shop.example"))
        headers = wire.read_response().all("X-Variables")
    assert headers == ["shop.example PUT /x y=1"]
    log = httpd.root / "logs" / "access_log"
    wait_until(lambda: "shop.example PUT /x y=1\n" in log.read_text(), "the access log")


def test_the_daemons_own_environment_is_not_in_environ(httpd):
    assert "LANG" not in environ(httpd, "/at/a/mount")
