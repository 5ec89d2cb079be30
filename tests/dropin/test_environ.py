"""The keys of environ and their types."""

from __future__ import annotations

import json
import time

import pytest
from dropinenv import differs
from httpdenv.client import request

CONFIGURATION = """
ServerName http://named.example:8080
ServerAdmin admin@example.com
MergeSlashes Off
AcceptPathInfo On
SetEnv OWN value
SetEnv EMPTY ""
SetEnvIf Request_URI "^/app" FROM_SETENVIF=yes
WSGIDaemonProcess site processes=2 threads=3
WSGIProcessGroup site
WSGIScriptAlias /app ${FILES}/environ.wsgi
WSGIScriptAlias /slash/ ${FILES}/
WSGIScriptAlias /named ${FILES}/environ.wsgi application-group=%{GLOBAL}
<Location /https>
    SetEnv HTTPS 1
</Location>
WSGIScriptAlias /https ${FILES}/environ.wsgi
"""
SCRIPT = """
import json

def application(environ, start_response):
    seen = {key: [type(value).__name__, value if isinstance(value, (str, bool, int, float, tuple)) else None]
            for key, value in environ.items()}
    seen["__name__"] = ["str", __name__]
    seen["__file__"] = ["str", __file__]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(seen).encode()]
"""
# What mod_wsgi has beyond CGI and PEP 3333, and the types of both.
TYPES = {
    "apache.version": "tuple",
    "mod_wsgi.version": "tuple",
    "mod_wsgi.process_group": "str",
    "mod_wsgi.application_group": "str",
    "mod_wsgi.callable_object": "str",
    "mod_wsgi.handler_script": "str",
    "mod_wsgi.request_handler": "str",
    "mod_wsgi.script_name": "str",
    "mod_wsgi.path_info": "str",
    "mod_wsgi.listener_host": "str",
    "mod_wsgi.listener_port": "str",
    "mod_wsgi.request_id": "str",
    "mod_wsgi.request_start": "float",
    "mod_wsgi.queue_start": "float",
    "mod_wsgi.daemon_start": "float",
    "mod_wsgi.application_start": "float",
    "mod_wsgi.thread_id": "int",
    "mod_wsgi.server_pid": "str",
    "wsgi.version": "tuple",
    "wsgi.url_scheme": "str",
    "wsgi.multithread": "bool",
    "wsgi.multiprocess": "bool",
    "wsgi.run_once": "bool",
    "wsgi.input_terminated": "bool",
}


@pytest.fixture(scope="module")
def httpd(start):
    return start(CONFIGURATION, files={"environ.wsgi": SCRIPT})


def seen_by(httpd, target, *headers, method="GET", host="client.example", body=b""):
    with httpd.wire() as wire:
        wire.send(request(method, target, *headers, host=host, body=body))
        return json.loads(wire.read_response().body)


@pytest.fixture(scope="module")
def seen(httpd):
    return seen_by(httpd, "/app/path?query=1")


@pytest.mark.parametrize("key", sorted(TYPES))
def test_keys_of_mod_wsgi_and_of_the_pep_are_there_with_their_types(seen, key):
    assert seen[key][0] == TYPES[key]


VARIABLES = {
    "OWN", "EMPTY", "FROM_SETENVIF", "SERVER_SOFTWARE", "SERVER_NAME", "SERVER_ADDR",
    "SERVER_PORT", "SERVER_ADMIN", "SERVER_PROTOCOL", "REMOTE_ADDR", "REMOTE_PORT", "DOCUMENT_ROOT",
    "REQUEST_SCHEME", "CONTEXT_PREFIX", "CONTEXT_DOCUMENT_ROOT", "SCRIPT_FILENAME", "REQUEST_METHOD",
    "QUERY_STRING", "REQUEST_URI", "SCRIPT_NAME", "PATH_INFO",
}  # fmt: skip


def test_variables_are_those_of_cgi_and_of_setenv(httpd, seen):
    own = {key for key in seen if key.isupper() and not key.startswith("HTTP_")}
    more = differs(
        httpd,
        "GATEWAY_INTERFACE is missing",
        wsgid={"GATEWAY_INTERFACE"},
        mod_wsgi=set(),
    )
    assert own == VARIABLES | more


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("OWN", "value"),
        ("EMPTY", ""),
        ("FROM_SETENVIF", "yes"),
        ("REQUEST_METHOD", "GET"),
        ("QUERY_STRING", "query=1"),
        ("REQUEST_URI", "/app/path?query=1"),
        ("SCRIPT_NAME", "/app"),
        ("PATH_INFO", "/path"),
        ("SERVER_NAME", "client.example"),
        ("HTTP_HOST", "client.example"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_SCHEME", "http"),
        ("SERVER_ADMIN", "admin@example.com"),
        ("wsgi.url_scheme", "http"),
        ("wsgi.multiprocess", True),
        ("wsgi.multithread", True),
        ("wsgi.run_once", False),
        ("wsgi.input_terminated", True),
        ("wsgi.version", [1, 0]),
        ("mod_wsgi.process_group", "site"),
        ("mod_wsgi.callable_object", "application"),
        ("mod_wsgi.handler_script", ""),
        ("mod_wsgi.script_name", "/app"),
        ("mod_wsgi.path_info", "/path"),
        ("mod_wsgi.request_handler", "wsgi-script"),
    ],
)
def test_values(seen, key, value):
    assert seen[key][1] == value


def test_the_context_of_an_alias(seen, httpd):
    expected = differs(httpd, "CONTEXT_PREFIX below an alias", wsgid="/app", mod_wsgi="")
    assert seen["CONTEXT_PREFIX"][1] == expected


def test_times_are_those_of_the_request(httpd):
    before = time.time()
    seen = seen_by(httpd, "/app")
    keys = ("request_start", "queue_start", "daemon_start", "application_start")
    times = [before - 0.001, *(seen[f"mod_wsgi.{key}"][1] for key in keys), time.time()]
    assert times == sorted(times)


def test_the_version_is_that_of_an_api_that_applications_know(seen):
    assert seen["mod_wsgi.version"][1][0] >= 5


def test_a_script_knows_its_file_and_that_mod_wsgi_runs_it(seen, httpd):
    assert seen["__file__"][1] == str(httpd.files / "environ.wsgi")
    assert seen["__name__"][1].startswith("_mod_wsgi_")


def test_a_request_without_a_body_has_neither_length_nor_type(seen):
    assert not {"CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & set(seen)


def test_a_body_has_length_and_type_once(httpd):
    found = seen_by(
        httpd, "/app", "Content-Length: 2", "Content-Type: text/x", method="POST", body=b"ab"
    )
    assert (found["CONTENT_LENGTH"][1], found["CONTENT_TYPE"][1]) == ("2", "text/x")
    assert not {"HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE"} & set(found)


@pytest.mark.parametrize(
    ("target", "name", "info"),
    [
        ("/app", "/app", ""),
        ("/app/", "/app", "/"),
        ("/app/a%20b", "/app", "/a b"),
        ("/app/a//b", "/app", "/a/b"),
        ("/app//a", "/app", "/a"),
        ("/app/a/../b", "/app", "/b"),
        ("/app/%C3%A4", "/app", "/\xc3\xa4"),
        ("/slash/environ.wsgi/x", "/slash/environ.wsgi", "/x"),
        ("/named/x", "/named", "/x"),
    ],
)
def test_the_path_is_split_at_the_mount_point(httpd, target, name, info):
    found = seen_by(httpd, target)
    assert (found["SCRIPT_NAME"][1], found["PATH_INFO"][1]) == (name, info)


@pytest.mark.parametrize(
    ("headers", "key", "value"),
    [
        (["X-One: a", "X-One: b"], "HTTP_X_ONE", "a, b"),
        (["Cookie: a=1", "Cookie: b=2"], "HTTP_COOKIE", "a=1, b=2"),
        (["x-lower-CASE: v"], "HTTP_X_LOWER_CASE", "v"),
        (["X-Blank:   v  "], "HTTP_X_BLANK", "v"),
        (["X-Empty:"], "HTTP_X_EMPTY", ""),
        (["X-Latin: \xe4"], "HTTP_X_LATIN", "\xe4"),
        (["X-Folded: a", " b"], "HTTP_X_FOLDED", "a b"),
    ],
)
def test_headers_become_variables(httpd, headers, key, value):
    assert seen_by(httpd, "/app", *headers)[key][1] == value


@pytest.mark.parametrize("header", ["X_Forwarded_For: 1", "X.Dot: 1", "Auth_Type: 1"])
def test_a_header_that_looks_like_another_one_is_left_out(httpd, header):
    name = header.partition(":")[0].upper().replace(".", "_")
    assert f"HTTP_{name}" not in seen_by(httpd, "/app", header)


def test_a_proxy_header_never_reaches_the_application(httpd):
    assert "HTTP_PROXY" not in seen_by(httpd, "/app", "Proxy: http://evil.example")


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "FOO"]
)
def test_any_method_reaches_the_application(httpd, method):
    found = seen_by(httpd, "/app", "Content-Length: 0", method=method)
    assert found["REQUEST_METHOD"][1] == method


def test_a_variable_named_https_makes_the_scheme(httpd):
    found = seen_by(httpd, "/https")
    assert found["wsgi.url_scheme"][1] == "https"
    assert "HTTPS" not in found


def test_the_application_group_of_an_option(httpd):
    assert seen_by(httpd, "/named")["mod_wsgi.application_group"][1] == ""


def test_the_application_group_is_named_after_the_server_and_the_mount_point(seen):
    assert seen["mod_wsgi.application_group"][1] == "named.example:8080|/app"
