"""Headers in both directions: duplicate and unusual ones, those that must not reach the client, and
those that must not reach the application.
"""

from __future__ import annotations

import base64
import json

import pytest
from httpdenv.client import request

CONFIGURATION = """
WSGIScriptAlias /raw ${APPS}/raw.wsgi
WSGIScriptAlias /environ ${APPS}/environ.wsgi
WSGIScriptAlias /hello ${APPS}/hello.wsgi
WSGIScriptAlias /hidden ${APPS}/authorization.wsgi
WSGIScriptAlias /passed ${APPS}/authorization.wsgi pass-authorization=On
WSGIScriptAlias /location ${APPS}/authorization.wsgi
<Location /location>
    WSGIPassAuthorization On
</Location>
"""

TEXT = ("Content-Type", "text/plain")
CREDENTIALS = "Basic " + base64.b64encode(b"user:password").decode()

# What an application must not be able to send: (status, headers).
FORBIDDEN = {
    "line feed in a value": ("200 OK", [TEXT, ("X-A", "one\nX-Injected: two")]),
    "carriage return in a value": ("200 OK", [TEXT, ("X-A", "one\rX-Injected: two")]),
    "a whole second response in a value": (
        "200 OK",
        [TEXT, ("X-A", "1\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")],
    ),
    "NUL in a value": ("200 OK", [TEXT, ("X-A", "one\0two")]),
    "line feed in a name": ("200 OK", [TEXT, ("X-A\nX-Injected", "two")]),
    "NUL in a name": ("200 OK", [TEXT, ("X-A\0", "two")]),
    "line feed in the status": ("200 OK\nX-Injected: yes", [TEXT]),
    "carriage return in the status": ("200 OK\r\nX-Injected: yes", [TEXT]),
    "NUL in the status": ("200 O\0K", [TEXT]),
    "other control characters in a value": ("200 OK", [TEXT, ("X-A", "one\x01two")]),
    "Transfer-Encoding": ("200 OK", [TEXT, ("Transfer-Encoding", "chunked")]),
    "a final 100": ("100 Continue", [TEXT]),
    "a final 101": ("101 Switching Protocols", [TEXT]),
    "a final 103": ("103 Early Hints", [TEXT]),
    "status below all": ("099 Low", [TEXT]),
    "status beyond all": ("1000 High", [TEXT]),
    "Content-Length that is a word": ("200 OK", [TEXT, ("Content-Length", "many")]),
    "Content-Length below zero": ("200 OK", [TEXT, ("Content-Length", "-4")]),
    "Content-Length with a sign": ("200 OK", [TEXT, ("Content-Length", "+4")]),
    "Content-Length empty": ("200 OK", [TEXT, ("Content-Length", "")]),
    "Content-Length beyond 64 bits": ("200 OK", [TEXT, ("Content-Length", "9" * 30)]),
    "two different Content-Lengths": (
        "200 OK",
        [TEXT, ("Content-Length", "4"), ("Content-Length", "5")],
    ),
    "Content-Length as a list": ("200 OK", [TEXT, ("Content-Length", "4, 4")]),
}


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION)


def raw_request(status, headers, body=("body",)) -> bytes:
    wanted = json.dumps({"status": status, "headers": list(headers), "body": list(body)}).encode()
    return request("POST", "/raw", f"Content-Length: {len(wanted)}", body=wanted)


def raw(httpd, status, headers, body=("body",)):
    with httpd.wire() as wire:
        wire.send(raw_request(status, headers, body))
        return wire.read_response()


def environ(httpd, *headers: str):
    with httpd.wire() as wire:
        wire.send(request("GET", "/environ", *headers))
        return json.loads(wire.read_response().body)


# -------- from the application


@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_forbidden_response_is_a_500_and_is_logged_and_the_daemon_survives(httpd, what):
    status, headers = FORBIDDEN[what]
    pids = httpd.wait_for_daemons(None, 1)
    with httpd.log.expects(r"WSGID0(3\d\d|169)"), httpd.log.allows("Traceback"):
        response = raw(httpd, status, headers)
    assert response.status == 500
    assert response.all("X-Injected") == []
    assert httpd.get("/hello").status_code == 200
    assert httpd.daemons() == pids


def test_headers_about_the_connection_are_left_out_and_logged_once(httpd):
    about = [("Connection", "keep-alive"), ("Keep-Alive", "timeout=99"), ("Upgrade", "websocket")]
    with httpd.log.expects("WSGID0348.*Connection, Keep-Alive, Upgrade.*raw.wsgi"):
        response = raw(httpd, "200 OK", [TEXT, *about])
    again = raw(httpd, "200 OK", [TEXT, ("X-Other", "1"), *about])
    for each in (response, again):
        assert each.status == 200
        assert each.body == b"body"
        assert not set(each.all("Connection") + each.all("Keep-Alive")) & {
            "keep-alive",
            "timeout=99",
        }
        assert each.all("Upgrade") == []


def test_the_same_content_length_twice_is_one(httpd):
    response = raw(httpd, "200 OK", [TEXT, ("Content-Length", "4"), ("Content-Length", "4")])
    assert (response.status, response.all("Content-Length")) == (200, ["4"])
    assert response.body == b"body"


def test_cookies_are_not_joined(httpd):
    cookies = ["a=1; Path=/", "b=2; Path=/; HttpOnly", "a=1; Path=/"]
    response = raw(httpd, "200 OK", [TEXT, *(("Set-Cookie", cookie) for cookie in cookies)])
    assert response.all("Set-Cookie") == cookies


def test_duplicate_headers_are_all_sent(httpd):
    response = raw(
        httpd,
        "200 OK",
        [TEXT, ("X-Twice", "one"), ("X-Twice", "two"), ("Link", "<a>"), ("Link", "<b>")],
    )
    assert ", ".join(response.all("X-Twice")) == "one, two"
    assert ", ".join(response.all("Link")) == "<a>, <b>"


def test_an_empty_value_is_sent(httpd):
    assert raw(httpd, "200 OK", [TEXT, ("X-Empty", "")]).all("X-Empty") == [""]


def test_latin_1_values_are_sent_as_their_bytes(httpd):
    assert raw(httpd, "200 OK", [TEXT, ("X-Name", "Zo\xeb \xff")]).all("X-Name") == ["Zo\xeb \xff"]


def test_utf_8_bytes_decoded_as_latin_1_are_sent(httpd):
    value = "\u2603".encode().decode("latin-1")
    assert raw(httpd, "200 OK", [TEXT, ("X-Snow", value)]).all("X-Snow") == [value]


def test_tabs_and_inner_spaces_of_a_value_are_kept(httpd):
    assert raw(httpd, "200 OK", [TEXT, ("X-A", "one\ttwo  three")]).all("X-A") == [
        "one\ttwo  three"
    ]


def test_a_long_value_is_sent_whole(httpd):
    value = "v" * 100_000
    assert raw(httpd, "200 OK", [TEXT, ("X-Long", value)]).all("X-Long") == [value]


def test_many_headers_are_all_sent(httpd):
    response = raw(
        httpd, "200 OK", [TEXT, *((f"X-{number}", str(number)) for number in range(500))]
    )
    assert [value for name, value in response.headers if name.startswith("X-")] == [
        str(number) for number in range(500)
    ]


def test_the_content_type_is_the_applications(httpd):
    assert raw(httpd, "200 OK", [("content-type", "application/x-own; charset=utf-8")]).all(
        "Content-Type"
    ) == ["application/x-own; charset=utf-8"]


def test_no_content_type_is_invented(httpd):
    assert raw(httpd, "200 OK", []).all("Content-Type") == []


def test_location_reaches_the_client_with_any_status_but_200(httpd):
    """With 200, a path is served by httpd in place of the response (test_internal_redirect)."""
    for status in ("201 Created", "302 Found"):
        response = raw(httpd, status, [TEXT, ("Location", "/hello")])
        assert (response.status, response.all("Location")) == (int(status[:3]), ["/hello"])


def test_a_status_header_is_just_a_header(httpd):
    """PEP 3333, "The start_response() Callable": Status is CGI's, not WSGI's."""
    with httpd.log.allows(r"WSGID03\d\d"):
        assert raw(httpd, "200 OK", [TEXT, ("Status", "404 Gone")]).status in (200, 500)


def test_the_applications_date_and_server_headers_are_not_doubled(httpd):
    response = raw(
        httpd, "200 OK", [TEXT, ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"), ("Server", "mine")]
    )
    assert len(response.all("Date")) == 1
    assert len(response.all("Server")) == 1


# -------- from the client


def test_headers_become_environ_keys(httpd):
    seen = environ(httpd, "X-Some-Thing: value", "Accept: text/html", "X-Empty:")
    assert seen["HTTP_X_SOME_THING"] == "value"
    assert seen["HTTP_ACCEPT"] == "text/html"
    assert seen["HTTP_X_EMPTY"] == ""
    assert seen["HTTP_HOST"] == "localhost"


def test_repeated_headers_are_joined(httpd):
    assert environ(httpd, "X-Twice: one", "X-Twice: two")["HTTP_X_TWICE"] == "one, two"


def test_repeated_cookies_are_joined_as_cookies(httpd):
    """RFC 9113, section 8.2.3: HTTP/2 clients split Cookie; a comma would break it."""
    assert environ(httpd, "Cookie: a=1", "Cookie: b=2")["HTTP_COOKIE"] in ("a=1; b=2", "a=1, b=2")


def test_latin_1_bytes_arrive_unchanged(httpd):
    assert environ(httpd, "X-Name: Zo\xeb \xff")["HTTP_X_NAME"] == "Zo\xeb \xff"


@pytest.mark.parametrize("name", ["X_Forwarded_For", "X_Real-Ip", "_A", "REMOTE_USER"])
def test_headers_with_underscores_do_not_reach_the_application(httpd, name):
    seen = environ(httpd, f"{name}: forged")
    assert "forged" not in [value for value in seen.values() if isinstance(value, str)]


def test_an_underscore_does_not_replace_the_real_header(httpd):
    assert environ(httpd, "X-User: real", "X_User: forged")["HTTP_X_USER"] == "real"
    assert environ(httpd, "X_User: forged", "X-User: real")["HTTP_X_USER"] == "real"


@pytest.mark.parametrize(
    "header", ["Proxy: http://evil", "TE: trailers", "Keep-Alive: 300", "Proxy-Connection: close"]
)
def test_proxy_and_hop_by_hop_headers_do_not_reach_the_application(httpd, header):
    name = "HTTP_" + header.partition(":")[0].upper().replace("-", "_")
    assert name not in environ(httpd, header)


def test_content_type_and_length_have_keys_of_their_own(httpd):
    seen = httpd.post("/environ", b"abc", headers={"Content-Type": "text/x-own"}).json()
    assert (seen["CONTENT_TYPE"], seen["CONTENT_LENGTH"]) == ("text/x-own", "3")
    assert "HTTP_CONTENT_TYPE" not in seen
    assert "HTTP_CONTENT_LENGTH" not in seen


def test_authorization_is_hidden_unless_passed_on(httpd):
    headers = {"Authorization": CREDENTIALS}
    assert httpd.get("/hidden", headers=headers).text == "none"
    assert httpd.get("/passed", headers=headers).text == CREDENTIALS
    assert httpd.get("/location", headers=headers).text == CREDENTIALS
