"""WSGITrustedProxyHeaders and WSGITrustedProxies."""

from __future__ import annotations

import json

import pytest
from httpdenv.client import request

HEADERS = (
    "X-Forwarded-For X-Forwarded-Proto X-Forwarded-Host X-Forwarded-Port X-Forwarded-Script-Name"
)
CONFIGURATION = f"""
WSGIDaemonProcess site threads=2
WSGIProcessGroup site
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias / ${{FILES}}/site.wsgi
<Location /all>
    WSGITrustedProxyHeaders {HEADERS}
</Location>
<Location /trusted>
    WSGITrustedProxies 127.0.0.1
    WSGITrustedProxyHeaders {HEADERS}
</Location>
<Location /network>
    WSGITrustedProxies 10.1.0.0/16 127.0.0.0/8
    WSGITrustedProxyHeaders {HEADERS}
</Location>
<Location /untrusted>
    WSGITrustedProxies 10.1.2.3
    WSGITrustedProxyHeaders {HEADERS}
</Location>
<Location /real-ip>
    WSGITrustedProxies 127.0.0.1
    WSGITrustedProxyHeaders X-Real-IP
</Location>
<Location /https>
    WSGITrustedProxies 127.0.0.1
    WSGITrustedProxyHeaders X-Forwarded-HTTPS
</Location>
"""
SCRIPT = """
import json

KEYS = ("REMOTE_ADDR", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME", "PATH_INFO", "wsgi.url_scheme")

def application(environ, start_response):
    seen = {key: value for key, value in environ.items() if key in KEYS or key.startswith("HTTP_X_")}
    start_response("200 OK", [])
    return [json.dumps(seen).encode()]
"""


@pytest.fixture(scope="module")
def httpd(start):
    return start(CONFIGURATION, files={"site.wsgi": SCRIPT})


def seen(httpd, path, *headers):
    with httpd.wire() as wire:
        wire.send(request("GET", path, *headers, host="inside.example"))
        return json.loads(wire.read_response().body)


def test_without_the_directive_headers_are_passed_on_and_change_nothing(httpd):
    found = seen(httpd, "/none", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https")
    assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"]) == ("127.0.0.1", "http")
    assert (found["HTTP_X_FORWARDED_FOR"], found["HTTP_X_FORWARDED_PROTO"]) == ("1.2.3.4", "https")


@pytest.mark.parametrize("place", ["/all", "/trusted", "/network"])
@pytest.mark.parametrize(
    ("header", "key", "value"),
    [
        ("X-Forwarded-For: 1.2.3.4", "REMOTE_ADDR", "1.2.3.4"),
        ("X-Forwarded-Proto: https", "wsgi.url_scheme", "https"),
        ("X-Forwarded-Host: outside.example", "HTTP_HOST", "outside.example"),
        ("X-Forwarded-Port: 8443", "SERVER_PORT", "8443"),
        ("X-Forwarded-Script-Name: /outside", "SCRIPT_NAME", "/outside"),
    ],
)
def test_what_a_trusted_peer_says(httpd, place, header, key, value):
    with httpd.log.allows("WSGID0183"):
        assert seen(httpd, place, header)[key] == value


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "X-Forwarded-Host: outside.example",
     "X-Forwarded-Port: 8443", "X-Forwarded-Script-Name: /outside", "X-Real-IP: 1.2.3.4",
     "X-Client-IP: 1.2.3.4", "X-Forwarded-HTTPS: On", "X-Scheme: https", "X-Script-Name: /outside"],
)  # fmt: skip
def test_what_an_untrusted_peer_says_is_taken_away(httpd, header):
    found = seen(httpd, "/untrusted", header)
    assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"]) == ("127.0.0.1", "http")
    assert (found["HTTP_HOST"], found["SCRIPT_NAME"]) == ("inside.example", "")
    assert not [key for key in found if key.startswith("HTTP_X_")]


def test_only_the_named_header_of_a_kind_is_trusted(httpd):
    found = seen(httpd, "/real-ip", "X-Real-IP: 1.2.3.4", "X-Forwarded-For: 5.6.7.8")
    assert (found["REMOTE_ADDR"], found.get("HTTP_X_FORWARDED_FOR")) == ("1.2.3.4", None)


@pytest.mark.parametrize(
    ("chain", "client"),
    [("1.2.3.4", "1.2.3.4"), ("9.9.9.9, 1.2.3.4", "1.2.3.4"), ("9.9.9.9, 1.2.3.4, 127.0.0.1", "1.2.3.4")],
)  # fmt: skip
def test_the_client_is_the_last_address_that_is_not_a_trusted_proxy(httpd, chain, client):
    assert seen(httpd, "/trusted", f"X-Forwarded-For: {chain}")["REMOTE_ADDR"] == client


@pytest.mark.parametrize(("value", "scheme"), [("On", "https"), ("1", "https")])
def test_a_header_that_says_https(httpd, value, scheme):
    assert seen(httpd, "/https", f"X-Forwarded-HTTPS: {value}")["wsgi.url_scheme"] == scheme
