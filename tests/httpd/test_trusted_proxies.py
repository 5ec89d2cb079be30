"""WSGITrustedProxies and WSGITrustedProxyHeaders: who is believed about the client."""

from __future__ import annotations

import json

import pytest
from httpdenv.client import request
from httpdenv.waiting import wait_until

CONFIGURATION = """
WSGIScriptAlias /plain ${APPS}/environ.wsgi
WSGIScriptAlias /trusted ${APPS}/environ.wsgi
WSGIScriptAlias /untrusted ${APPS}/environ.wsgi
WSGIScriptAlias /anybody ${APPS}/environ.wsgi
WSGIScriptAlias /remoteip ${APPS}/environ.wsgi
WSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Proto X-Forwarded-Host
WSGITrustedProxyHeaders X-Forwarded-Port X-Forwarded-Server X-Script-Name
<Location /trusted>
    WSGITrustedProxies 192.0.2.1 127.0.0.0/8 10.0.0.0/8 2001:db8::/32
</Location>
<Location /untrusted>
    WSGITrustedProxies 10.0.0.0/8
</Location>
<Location /plain>
    WSGITrustedProxies 127.0.0.1
    WSGITrustedProxyHeaders X-Real-IP
</Location>
LogFormat "%{HTTP_HOST}e %{REMOTE_ADDR}e" variables
CustomLog logs/access_log variables
<VirtualHost 127.0.0.1:${REMOTEIP_PORT}>
    RemoteIPHeader X-Forwarded-For
    RemoteIPInternalProxy 127.0.0.1 10.0.0.0/8
    WSGITrustedProxies 127.0.0.1
    WSGIScriptAlias /trusted ${APPS}/environ.wsgi
</VirtualHost>
"""
ALL = (
    "X-Forwarded-For: 203.0.113.9, 198.51.100.2, 10.1.1.1",
    "X-Real-IP: 203.0.113.66",
    "X-Forwarded-Proto: https",
    "X-HTTPS: on",
    "X-Forwarded-Host: shop.example",
    "X-Host: other.example",
    "X-Forwarded-Port: 443",
    "X-Forwarded-Server: front.example",
    "X-Script-Name: /shop",
)


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION, modules=["remoteip"])


def environ(httpd, target: str, *headers: str, port: str = "PORT"):
    with httpd.wire(port) as wire:
        wire.send(request("GET", target, *headers))
        return json.loads(wire.read_response().body)


def headers_of(seen) -> dict[str, str]:
    return {name: value for name, value in seen.items() if name.startswith("HTTP_X_")}


def test_a_trusted_proxy_says_who_the_client_is(httpd):
    seen = environ(httpd, "/trusted/x", *ALL)
    assert seen["REMOTE_ADDR"] == "198.51.100.2"
    assert (seen["wsgi.url_scheme"], seen["HTTP_HOST"]) == ("https", "shop.example")
    assert (seen["SERVER_NAME"], seen["SERVER_PORT"]) == ("front.example", "443")
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/shop", "/x")
    assert (seen["mod_wsgi.script_name"], seen["mod_wsgi.mount_point"]) == ("/trusted", "/shop")


def test_only_the_trusted_header_of_each_purpose_is_passed_on(httpd):
    assert headers_of(environ(httpd, "/trusted/x", *ALL)) == {
        "HTTP_X_FORWARDED_FOR": "198.51.100.2, 10.1.1.1",
        "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_X_FORWARDED_HOST": "shop.example",
        "HTTP_X_FORWARDED_PORT": "443",
        "HTTP_X_FORWARDED_SERVER": "front.example",
        "HTTP_X_SCRIPT_NAME": "/shop",
    }


def test_forged_headers_of_anybody_else_do_not_reach_the_application(httpd):
    seen = environ(httpd, "/untrusted/x", *ALL, "X-Other: kept")
    assert headers_of(seen) == {"HTTP_X_OTHER": "kept"}
    assert (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"]) == ("127.0.0.1", "http")
    assert (seen["HTTP_HOST"], seen["SCRIPT_NAME"]) == ("localhost", "/untrusted")


def test_without_trusted_proxies_everybody_is_believed_and_that_is_said_once(httpd):
    sent = "X-Forwarded-For: 203.0.113.9, 198.51.100.2"
    with httpd.log.expects("WSGID0183"):
        assert environ(httpd, "/anybody", sent)["REMOTE_ADDR"] == "203.0.113.9"
    assert environ(httpd, "/anybody", sent)["REMOTE_ADDR"] == "203.0.113.9"


def test_headers_without_a_trusted_one_of_their_purpose_stay(httpd):
    seen = environ(httpd, "/plain", *ALL)
    assert seen["REMOTE_ADDR"] == "203.0.113.66"
    assert seen["HTTP_HOST"] == "localhost"
    assert "HTTP_X_FORWARDED_FOR" not in seen
    assert seen["HTTP_X_HOST"] == "other.example"


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("10.2.2.2, 10.1.1.1", "10.2.2.2"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:db9::1, 2001:db8::1", "2001:db9::1"),
        (" 198.51.100.2 ,10.1.1.1", "198.51.100.2"),
        ("unknown", "127.0.0.1"),
        ("198.51.100.2, localhost", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_the_client_is_the_last_address_that_is_no_proxys(httpd, value, address):
    assert environ(httpd, "/trusted", f"X-Forwarded-For: {value}")["REMOTE_ADDR"] == address


@pytest.mark.parametrize(
    ("value", "scheme"), [("https", "https"), ("HTTPS", "https"), ("http", "http"), ("ftp", "http")]
)
def test_the_scheme_is_one_of_two(httpd, value, scheme):
    seen = environ(httpd, "/trusted", f"X-Forwarded-Proto: {value}")
    assert seen["wsgi.url_scheme"] == scheme


def test_an_empty_script_name_is_the_root(httpd):
    assert environ(httpd, "/trusted/x", "X-Script-Name: ")["SCRIPT_NAME"] == ""


def test_the_client_that_mod_remoteip_has_found_stays(httpd):
    """It has used up all of X-Forwarded-For but what the client itself may have written."""
    seen = environ(httpd, "/trusted", *ALL, port="REMOTEIP_PORT")
    assert seen["REMOTE_ADDR"] == "198.51.100.2"
    assert seen["wsgi.url_scheme"] == "https"


def test_httpds_log_sees_what_the_application_sees(httpd):
    environ(httpd, "/trusted/log", *ALL)
    log = httpd.root / "logs" / "access_log"
    wait_until(lambda: "shop.example 198.51.100.2" in log.read_text(), "the access log")


@pytest.mark.parametrize("address", ["proxy.example", "192.0.2.0/99"])
def test_only_addresses_are_proxies(make_httpd, address):
    httpd = make_httpd(f"WSGITrustedProxies {address}", start=None)
    code, output = httpd.configtest()
    assert code != 0 and "WSGID0184" in output


def test_another_header_is_a_notice(make_httpd):
    httpd = make_httpd("WSGITrustedProxyHeaders X-Forwarded-Fro", start=None)
    code, output = httpd.configtest()
    assert code == 0 and "WSGID0185" in output
