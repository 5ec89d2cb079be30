"""`Location: /path` with status 200: httpd serves that path itself, as for CGI programs."""

from __future__ import annotations

import pytest
from dropinenv import differs
from httpdenv.client import request

CONFIGURATION = """
WSGIDaemonProcess site threads=2
WSGIProcessGroup site
WSGIApplicationGroup %{GLOBAL}
WSGIChunkedRequest Off
Alias /files ${FILES}/files
WSGIScriptAlias /app ${FILES}/site.wsgi
<Directory ${FILES}/files>
    Require all granted
</Directory>
<Directory ${FILES}/files/closed>
    Require all denied
</Directory>
<Location /files/inside>
    Require env REDIRECT_STATUS
</Location>
"""
SCRIPT = """
from urllib.parse import parse_qs

def application(environ, start_response):
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    if environ["PATH_INFO"] == "/loop":
        query["to"] = "/app/loop"
    if "read" in query:
        environ["wsgi.input"].read(int(query["read"]))
    if environ["PATH_INFO"] == "/second":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [("%s %s %s" % (environ["REQUEST_METHOD"], environ.get("CONTENT_LENGTH"),
                               len(environ["wsgi.input"].read()))).encode()]
    headers = [("Location", query["to"]), ("Set-Cookie", "seen=1"), ("Content-Type", "text/x")]
    start_response(query.get("status", "200 OK"), headers)
    return iter([b"the application's own body\\n"] * int(query.get("blocks", 1)))
"""


@pytest.fixture(scope="module")
def httpd(start):
    return start(
        CONFIGURATION,
        files={
            "site.wsgi": SCRIPT,
            "files/a.txt": "a file of httpd\n",
            "files/inside/b.txt": "inside\n",
            "files/closed/c.txt": "closed\n",
        },
        modules=["alias"],
    )


def test_a_path_in_Location_with_200_is_served_by_httpd_in_place_of_the_response(httpd):
    answer = httpd.get("/app/?to=/files/a.txt")
    assert (answer.status_code, answer.text) == (200, "a file of httpd\n")
    assert answer.headers["Content-Type"] == "text/plain" and "Location" not in answer.headers
    assert answer.headers["Accept-Ranges"] == "bytes"
    see = "cookies of a response with 200 and `Location: /path`"
    kept = differs(httpd, see, wsgid="seen=1", mod_wsgi=None)
    assert answer.headers.get("Set-Cookie") == kept
    part = httpd.get("/app/?to=/files/a.txt", headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.text) == (206, "file")
    assert httpd.get("/app/?to=/files/inside/b.txt").text == "inside\n"
    with httpd.log.allows("AH01630"):
        assert httpd.get("/files/inside/b.txt").status_code == 403  # not from outside


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("to=/files/closed/c.txt", 403),
        ("to=/files/none", 404),
        ("to=/app/loop", 500),
    ],
)
def test_what_httpd_does_not_serve_is_not_served_for_the_application_either(httpd, query, status):
    with httpd.log.allows("AH01630", "AH00124", "AH00128"):
        assert httpd.get("/app/?" + query).status_code == status


@pytest.mark.parametrize(
    ("query", "status"),
    [("to=/files/a.txt&status=302+Found", 302), ("to=http://other.example/&status=200+OK", 200)],
)
def test_another_status_or_another_server_stays_the_application_s_own_response(
    httpd, query, status
):
    answer = httpd.get("/app/?" + query, allow_redirects=False)
    assert answer.status_code == status and answer.text == "the application's own body\n"
    assert answer.headers["Location"].startswith(("/files/a.txt", "http://other"))


@pytest.mark.parametrize("read", [0, 10, 100000])
@pytest.mark.parametrize("size", [0, 100, 100000])
def test_the_body_of_a_request_is_gone_when_the_path_is_served(httpd, size, read):
    """What comes after it on the connection is the next request."""
    with httpd.wire() as wire:
        body = b"GET /stolen HTTP/1.1\r\n\r\n".ljust(size, b"x")[:size]
        target = f"/app/?to=/app/second&read={read}"
        wire.send(request("POST", target, f"Content-Length: {size}", body=body))
        answer = wire.read_response("POST")
        assert (answer.status, answer.body) == (200, b"GET None 0")
        if answer.all("Connection") != ["close"]:
            wire.send(request("GET", "/files/a.txt"))
            assert wire.read_response("GET").body == b"a file of httpd\n"


def test_HEAD_gets_the_headers_of_the_file(httpd):
    with httpd.wire() as wire:
        wire.send(request("HEAD", "/app/?to=/files/a.txt"))
        answer = wire.read_response("HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.all("Content-Length") == ["16"]
        wire.send(request("GET", "/files/a.txt"))
        assert wire.read_response("GET").body == b"a file of httpd\n"


def test_a_long_body_of_the_application_is_not_waited_for(httpd):
    assert httpd.get("/app/?to=/files/a.txt&blocks=1000000").text == "a file of httpd\n"
    assert httpd.get("/app/second").text == "GET None 0"
