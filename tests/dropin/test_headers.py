"""Headers and status lines of responses."""

from __future__ import annotations

import json
import urllib.parse

import pytest
from httpdenv.client import request

CONFIGURATION = """
WSGIDaemonProcess site threads=4
WSGIProcessGroup site
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias / ${FILES}/site.wsgi
Header always set X-Always yes
Header set X-Httpd yes
LogFormat "%{HTTP_HOST}e %{REQUEST_METHOD}e %{PATH_INFO}e %{QUERY_STRING}e" variables
CustomLog logs/variables variables
Header set X-Variables "%{REQUEST_METHOD}e %{PATH_INFO}e %{QUERY_STRING}e %{HTTP_HOST}e"
"""
SCRIPT = """
import json, urllib.parse

def application(environ, start_response):
    wanted = json.loads(urllib.parse.unquote(environ["QUERY_STRING"]) or "{}")
    headers = [tuple(pair) for pair in wanted.get("headers", [])]
    start_response(wanted.get("status", "200 OK"), headers)
    return [wanted.get("body", "body").encode()]
"""


@pytest.fixture(scope="module")
def httpd(start):
    return start(CONFIGURATION, files={"site.wsgi": SCRIPT}, modules=["headers"])


def answer_to(httpd, *headers, status="200 OK", body="body", method="GET"):
    query = urllib.parse.quote(json.dumps({"headers": headers, "status": status, "body": body}))
    with httpd.wire() as wire:
        wire.send(request(method, f"/?{query}"))
        return wire.read_response(method)


@pytest.mark.parametrize(
    ("pairs", "name", "values"),
    [
        ([("X-One", "1")], "X-One", ["1"]),
        ([("x-lower", "1")], "x-lower", ["1"]),
        ([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], "Set-Cookie", ["a=1", "b=2"]),
        ([("Vary", "Cookie"), ("Vary", "Accept")], "Vary", ["Cookie,Accept"]),
        ([("WWW-Authenticate", "Basic"), ("WWW-Authenticate", "Digest")], "WWW-Authenticate", ["Basic", "Digest"]),
        ([("X-Latin", "\xe4")], "X-Latin", ["\xe4"]),
        ([("X-Empty", "")], "X-Empty", [""]),
        ([("X-Blank", " v ")], "X-Blank", ["v"]),
        ([("Content-Type", "text/x")], "Content-Type", ["text/x"]),
        ([("content-type", "text/x; charset=utf-8")], "Content-Type", ["text/x; charset=utf-8"]),
        ([("Content-Length", "4")], "Content-Length", ["4"]),
        ([("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")], "Last-Modified", ["Mon, 01 Jan 2024 00:00:00 GMT"]),
        ([("ETag", '"x"')], "ETag", ['"x"']),
        ([("Location", "/relative")], "Location", ["/relative"]),
        ([("Cache-Control", "no-cache")], "Cache-Control", ["no-cache"]),
        ([("X-Long", "v" * 6000)], "X-Long", ["v" * 6000]),
        ([], "X-Httpd", ["yes"]),
        ([], "X-Always", ["yes"]),
    ],
)  # fmt: skip
def test_headers_reach_the_client(httpd, pairs, name, values):
    status = "302 Found" if name == "Location" else "200 OK"
    assert answer_to(httpd, *pairs, status=status).all(name) == values


def test_a_header_twice_has_both_values(httpd):
    assert ", ".join(answer_to(httpd, ("X-Many", "1"), ("X-Many", "2")).all("X-Many")) == "1, 2"


def test_a_response_without_a_type_has_none(httpd):
    assert answer_to(httpd).all("Content-Type") == []


@pytest.mark.parametrize("name", ["Date", "Server"])
def test_httpd_sets_date_and_server_itself(httpd, name):
    assert len(answer_to(httpd, (name, "mine")).all(name)) == 1


@pytest.mark.parametrize("pair", [("Connection", "keep-alive"), ("Keep-Alive", "timeout=5")])
def test_headers_of_the_connection_do_not_harm_a_response(httpd, pair):
    with httpd.log.allows("WSGID0348"):
        answer = answer_to(httpd, pair)
    assert (answer.status, answer.body) == (200, b"body")


def test_the_same_length_twice_is_accepted(httpd):
    answer = answer_to(httpd, ("Content-Length", "4"), ("Content-Length", "4"))
    assert (answer.status, answer.all("Content-Length"), answer.body) == (200, ["4"], b"body")


@pytest.mark.parametrize(
    "status",
    ["200 OK", "201 Created", "202 Accepted", "203 Non-Authoritative", "206 Partial Content", "207 Multi-Status",
     "226 IM Used", "299 Own", "300 Multiple Choices", "301 Moved", "302 Found", "303 See Other",
     "307 Temporary Redirect", "308 Permanent Redirect", "400 Bad Request", "401 Unauthorized", "402 Pay",
     "403 Forbidden", "404 Not Found", "405 No", "409 Conflict", "410 Gone", "412 No", "413 Large", "418 Teapot",
     "422 Bad Entity", "428 Precondition", "429 Too Many", "451 Law", "499 Own", "500 Error", "501 No", "502 No",
     "503 Busy", "504 No", "507 Full", "511 Network", "599 Own"],
)  # fmt: skip
def test_status_lines_with_a_body(httpd, status):
    answer = answer_to(
        httpd, ("Content-Type", "text/plain"), ("Content-Length", "4"), status=status
    )
    assert (f"{answer.status} {answer.reason}", answer.body) == (status, b"body")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_status_lines_without_a_body(httpd, status):
    answer = answer_to(httpd, ("ETag", '"x"'), status=status, body="")
    assert (f"{answer.status} {answer.reason}", answer.body) == (status, b"")
    assert answer.all("Content-Type") == [] and answer.all("ETag") == ['"x"']


def test_a_304_keeps_no_length_of_a_body(httpd):
    answer = answer_to(httpd, status="304 Not Modified", body="")
    assert answer.all("Content-Length") == []


def test_a_local_location_with_status_200(httpd):
    httpd.write("target.txt", "the target")
    answer = answer_to(httpd, ("Location", "/?{}"), status="200 OK", body="")
    assert answer.body == b"body"


@pytest.mark.parametrize(
    "location", ["/path", "http://other.example/", "relative", "?query", "//host/path"]
)
def test_redirects_are_sent_as_they_are(httpd, location):
    answer = answer_to(httpd, ("Location", location), status="302 Found")
    assert (answer.status, answer.all("Location")) == (302, [location])


def test_variables_of_the_request_are_there_for_httpds_own_directives(httpd):
    with httpd.wire() as wire:
        wire.send(request("GET", "/path?", host="named.example"))
        assert wire.read_response().all("X-Variables") == ["GET /path  named.example"]
    log = (httpd.root / "logs" / "variables").read_text().splitlines()[-1]
    assert log.split() == ["named.example", "GET", "/path"]
