"""The rest of HTTP: HEAD, ErrorDocument, limits on bodies, trailers, filters, internal redirects,
includes.
"""

from __future__ import annotations

import gzip
import zlib

import pytest
from httpdenv import http2
from httpdenv.client import chunked, request
from httpdenv.versions import EVERY_WAY, HOSTS, MODULES, run_curl

CONFIGURATION = """
WSGIScriptAlias /method ${APPS}/method.wsgi
WSGIScriptAlias /on ${APPS}/method.wsgi
WSGIScriptAlias /off ${APPS}/method.wsgi
WSGIScriptAlias /deflated ${APPS}/method.wsgi
WSGIScriptAlias /off-deflated ${APPS}/method.wsgi
WSGIScriptAlias /stamped ${APPS}/method.wsgi
WSGIScriptAlias /stamped-deflated ${APPS}/method.wsgi
WSGIScriptAlias /lines ${APPS}/lines.wsgi
WSGIScriptAlias /streaming ${APPS}/streaming.wsgi
WSGIScriptAlias /zipped ${APPS}/streaming.wsgi
WSGIScriptAlias /status ${APPS}/status.wsgi
WSGIScriptAlias /overridden ${APPS}/status.wsgi
WSGIScriptAlias /raising ${APPS}/closing.wsgi
WSGIScriptAlias /echo ${APPS}/echo.wsgi
WSGIScriptAlias /input ${APPS}/input.wsgi
WSGIScriptAlias /limited ${APPS}/input.wsgi
WSGIScriptAlias /unchunked ${APPS}/echo.wsgi
WSGIScriptAlias /slow ${APPS}/echo.wsgi
WSGIScriptAlias /cached ${APPS}/counted.wsgi
WSGIScriptAlias /page ${APPS}/environ.wsgi
WSGIScriptAlias /hello ${APPS}/hello.wsgi
WSGIScriptAlias /broken ${APPS}/broken.wsgi

<Location /on>
    WSGIMapHEADToGET On
</Location>
<LocationMatch ^/off>
    WSGIMapHEADToGET Off
</LocationMatch>
<LocationMatch deflated>
    SetOutputFilter DEFLATE
</LocationMatch>
<LocationMatch ^/(lines/zip|zipped|broken)>
    SetOutputFilter DEFLATE
</LocationMatch>
<LocationMatch ^/stamped>
    Header set X-Stamp yes
    ExpiresActive On
    ExpiresDefault "access plus 1 day"
</LocationMatch>
<Location /overridden>
    WSGIErrorOverride On
</Location>
ErrorDocument 404 "httpd's page for 404"
ErrorDocument 503 /page
ErrorDocument 401 "httpd's page for 401"
<Location /limited>
    LimitRequestBody 100000
</Location>
<Location /unchunked>
    WSGIChunkedRequest Off
</Location>

CacheRoot ${ROOT}/files/cache
CacheEnable disk /cached
CacheQuickHandler off

RewriteEngine on
RewriteRule ^/rewritten/(.*) /page/$1?by=rewrite [PT]
<Directory ${FILES}>
    Options +Includes +FollowSymLinks
    AddType text/html .shtml
    AddOutputFilter INCLUDES .shtml
    DirectoryIndex index.shtml
    FallbackResource /page
</Directory>
Action via-wsgi /page virtual
<Location /acted>
    SetHandler via-wsgi
</Location>
""" + HOSTS.replace("Protocols", "RewriteEngine on\nRewriteOptions Inherit\nProtocols")
EXTRA = (
    "headers",
    "expires",
    "deflate",
    "filter",
    "cache",
    "cache_disk",
    "rewrite",
    "include",
    "dir",
    "actions",
)
FILES = {
    "including.shtml": '<p>before <!--#include virtual="/hello" --> between '
    '<!--#include virtual="/method?length" --> after</p>\n',
    "index.shtml": 'index of <!--#include virtual="/hello" -->',
    "breaking.shtml": 'before <!--#include virtual="/broken/raise" --> after',
}


@pytest.fixture(scope="module")
def httpd(make_httpd):
    server = make_httpd(CONFIGURATION, modules=[*MODULES, *EXTRA], files=FILES, start=None)
    (server.files / "cache").mkdir()
    (server.files / "cache").chmod(0o777)
    return server.start()


# ---- HEAD


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/method", "HEAD"),  # Auto, and no filter needs the body
        ("/deflated", "GET"),  # Auto, and mod_deflate derives headers from the body
        ("/on", "GET"),
        ("/off", "HEAD"),
        ("/off-deflated", "HEAD"),
        ("/stamped", "HEAD"),  # mod_headers and mod_expires do not look at the body
        ("/stamped-deflated", "GET"),
    ],
)
def test_head_reaches_the_application_as_configured(httpd, path, method):
    response = httpd.request("HEAD", path, headers={"Accept-Encoding": "gzip"})
    assert (response.status_code, response.headers["X-Method"], response.content) == (
        200,
        method,
        b"",
    )


@pytest.mark.parametrize("path", ["/method", "/deflated", "/on", "/off"])
def test_head_has_no_body_and_the_connection_stays_usable(httpd, path):
    with httpd.wire() as wire:
        wire.send(request("HEAD", path, "Accept-Encoding: gzip") + request("GET", "/hello"))
        assert wire.read_response("HEAD").status == 200
        assert wire.read_response().body == b"Hello World!\n"


def test_head_through_mod_deflate_has_the_headers_of_get(httpd):
    gzipped = {"Accept-Encoding": "gzip"}
    head, get = (
        httpd.request("HEAD", "/deflated", headers=gzipped),
        httpd.get("/deflated", headers=gzipped),
    )
    assert head.headers["Content-Encoding"] == get.headers["Content-Encoding"] == "gzip"
    assert head.headers["Vary"] == get.headers["Vary"]


@pytest.mark.parametrize("over", EVERY_WAY)
def test_head_over_every_version_of_http(httpd, over):
    done = run_curl(httpd, over, "/on?length", "--head")
    assert (done.code, done.status) == (0, 200), done.error
    assert done.header("x-method") == "GET"
    assert int(done.header("content-length")) > 200


# ---- ErrorDocument


def test_the_applications_own_error_page_is_the_default(httpd):
    response = httpd.get("/status/404")
    assert (response.status_code, response.text) == (404, "the application's page for 404")
    assert response.reason == "Of The Application"


def test_error_override_sends_the_error_document_instead(httpd):
    response = httpd.get("/overridden/404")
    assert (response.status_code, response.text) == (404, "httpd's page for 404")
    assert "X-Own" not in response.headers
    # These headers of the application must still reach the client.
    assert response.headers["Set-Cookie"] == "seen=yes"


def test_error_override_keeps_the_challenge_of_a_401(httpd):
    response = httpd.get("/overridden/401")
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (
        401,
        'Basic realm="here"',
    )


def test_an_error_document_may_be_a_wsgi_resource(httpd):
    """REDIRECT_STATUS gives it the original status. The status of its own response is final,
    because PEP 3333 knows no other.
    """
    answer = httpd.get("/overridden/503").json()
    assert (answer["REDIRECT_STATUS"], answer["REDIRECT_URL"]) == ("503", "/overridden/503")


@pytest.mark.parametrize("status", [200, 302, 304])
def test_error_override_does_not_affect_other_statuses(httpd, status):
    response = httpd.get(f"/overridden/{status}", allow_redirects=False)
    assert (response.status_code, response.headers["X-Own"]) == (status, "yes")


def test_the_connection_stays_usable_after_an_error_document(httpd):
    with httpd.session() as session:
        for _ in range(3):
            assert session.get(httpd.url("/overridden/404"), timeout=10).status_code == 404
            assert (
                session.post(httpd.url("/overridden/404"), data=b"x" * 1000, timeout=10).status_code
                == 404
            )


@pytest.mark.parametrize("over", EVERY_WAY)
def test_error_override_over_every_version_of_http(httpd, over):
    done = run_curl(httpd, over, "/overridden/404")
    assert (done.code, done.status, done.body) == (0, 404, b"httpd's page for 404"), done.error


# ---- bodies: chunked, trailers, limits


def test_chunked_requests_are_refused_where_they_are_off(httpd):
    with httpd.log.expects("WSGID0155.*POST /unchunked"), httpd.wire() as wire:
        wire.send(request("POST", "/unchunked", "Transfer-Encoding: chunked", body=chunked(b"abc")))
        assert wire.read_response().status == 411
    assert httpd.post("/unchunked", b"abc").content == b"abc"


def test_trailers_are_dropped(httpd):
    evil = b"3\r\nabc\r\n0\r\nContent-Length: 1000\r\nHost: elsewhere\r\nX-Trailer: yes\r\n\r\n"
    with httpd.wire() as wire:
        for _ in range(3):
            wire.send(
                request(
                    "POST", "/echo", "Transfer-Encoding: chunked", "Trailer: X-Trailer", body=evil
                )
            )
            assert wire.read_response().body == b"abc"
        wire.send(request("GET", "/page", "Trailer: X-Trailer"))
        assert b"TRAILER" not in wire.read_response().body


@pytest.mark.parametrize("way", ["all", "odd", "unread"])
@pytest.mark.parametrize("over", ["http/1.1", "tls"])
def test_a_declared_body_over_the_limit_is_a_413(httpd, over, way):
    options = ["-H", "Expect:", "--data-binary", "@-"]
    since = httpd.log.mark()
    with httpd.log.allows("AH01588", "WSGID0171"):
        done = run_curl(httpd, over, f"/limited/{way}", *options, data=b"x" * 150_000)
    assert done.status == 413, done.error
    httpd.log.wait_for(r"WSGID0171.*\(httpd has refused it\)", since)


def test_a_declared_body_over_the_limit_is_a_413_over_http_2(httpd):
    answer = http2.post(httpd.ports["PORT"], "/limited/all", 150_000)
    assert (answer.status, answer.ended) == (413, True)


@pytest.mark.parametrize("way", ["all", "odd"])
@pytest.mark.parametrize("size", [150_000, 2_000_000])
def test_a_chunked_body_over_the_limit_is_a_413(httpd, way, size):
    """The limit is found to be exceeded only while the application reads; whatever the application
    then answers does not count.
    """
    with httpd.log.allows("AH0158", "AH0159", "WSGID", "Traceback"), httpd.wire() as wire:
        wire.send(request("POST", f"/limited/{way}", "Transfer-Encoding: chunked"))
        try:
            for _ in range(size // 10_000):
                wire.send(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
            wire.send(b"0\r\n\r\n")
        except OSError:
            pass  # refused before the whole body was sent
        assert wire.read_response().status == 413
    assert httpd.get("/hello").status_code == 200


def test_a_body_within_the_limit_is_read(httpd):
    assert httpd.post("/limited/all", b"x" * 99_999).json()["total"] == 99_999


def test_a_body_that_arrives_too_slowly_is_a_408(make_httpd):
    httpd = make_httpd(
        "WSGIScriptAlias / ${APPS}/echo.wsgi\nRequestReadTimeout body=1\n", modules=["reqtimeout"]
    )
    for size in (1000, 1_000_000):  # read by httpd ahead, and by the application
        with httpd.log.allows("AH01382", "WSGID", "Traceback"), httpd.wire() as wire:
            wire.send(request("POST", "/", f"Content-Length: {size}", body=b"x" * 100))
            assert wire.read_response().status == 408
    assert httpd.post("/", b"abc").content == b"abc"


# ---- filters


def test_mod_deflate_compresses(httpd):
    with httpd.wire() as wire:
        wire.send(request("GET", "/lines/zip?1000", "Accept-Encoding: gzip"))
        response = wire.read_response()
    assert response.all("Content-Encoding") == ["gzip"]
    assert gzip.decompress(response.body) == b"a line of text that looks like the others\n" * 1000
    assert len(response.body) < 2000


def test_each_block_goes_through_mod_deflate_at_once(httpd):
    """The application does not make the second block before the client has the first."""
    steps = httpd.files / "zip-steps"
    with httpd.wire() as wire:
        wire.send(request("GET", f"/zipped{steps}?2", "Accept-Encoding: gzip"))
        assert wire.file.readline().split()[1] == b"200"
        while wire.file.readline().strip():
            pass
        inflate, text = zlib.decompressobj(31), b""
        while b"block 0\n" not in text:
            size = int(wire.file.readline(), 16)
            text += inflate.decompress(wire.file.read(size))
            wire.file.readline()
        steps.write_text("go\n")


def test_a_broken_response_is_visible_through_mod_deflate(httpd):
    with httpd.log.expects("WSGID0342", "Traceback"):
        done = run_curl(httpd, "http/1.1", "/broken/raise", "-H", "Accept-Encoding: gzip")
    # If mod_deflate still holds everything, nobody has seen any of it yet, and the client gets a
    # plain error.
    assert done.code != 0 or done.status >= 500


def test_mod_cache_answers_from_its_copy(httpd):
    first = httpd.get("/cached/one").text
    assert first.startswith("run ") and len(first) > 10_000
    assert [httpd.get("/cached/one").text for _ in range(3)] == [first] * 3
    other = httpd.get("/cached/two").text
    assert other.startswith("run ") and other != first


def test_a_broken_response_is_not_cached(make_httpd):
    httpd = make_httpd(
        "WSGIScriptAlias /broken ${APPS}/broken.wsgi\nCacheRoot ${ROOT}/files/cache\nCacheEnable disk /\n"
        "CacheQuickHandler off\nCacheDefaultExpire 60\nCacheIgnoreNoLastMod On\n",
        modules=["cache", "cache_disk"],
        start=None,
    )
    (httpd.files / "cache").mkdir()
    (httpd.files / "cache").chmod(0o777)
    httpd.start()
    for _ in range(2):
        with httpd.log.expects("WSGID0342", "Traceback"):
            assert run_curl(httpd, "http/1.1", "/broken/raise").code != 0


# ---- internal redirects and includes


def test_a_rewritten_request_reaches_the_application(httpd):
    answer = httpd.get("/rewritten/to/here").json()
    assert (answer["SCRIPT_NAME"], answer["PATH_INFO"], answer["QUERY_STRING"]) == (
        "/page",
        "/to/here",
        "by=rewrite",
    )


def test_a_fallback_resource_is_reached(httpd):
    answer = httpd.get("/no/such/file?a=b").json()
    assert answer["SCRIPT_NAME"] == "/page"
    assert answer["REQUEST_URI"] == "/no/such/file?a=b"
    assert answer["QUERY_STRING"] == "a=b"


def test_an_action_is_an_internal_redirect_with_its_body(httpd):
    answer = httpd.post("/acted/upon", b"a body").json()
    assert answer["REDIRECT_URL"] == "/acted/upon"
    assert answer["REQUEST_METHOD"] == "POST"
    assert answer["CONTENT_LENGTH"] == "6"


def test_a_page_includes_wsgi_resources(httpd):
    text = httpd.get("/including.shtml").text
    assert "before Hello World!\n between GET and" in text
    assert text.endswith(" after</p>\n")
    assert "HTTP/1.1" not in text


def test_a_directory_index_can_be_a_wsgi_resource(httpd):
    assert httpd.get("/").text == "index of Hello World!\n"


def test_an_include_that_breaks_off_breaks_its_page(httpd):
    with httpd.log.expects("WSGID0342", "Traceback"):
        done = run_curl(httpd, "http/1.1", "/breaking.shtml")
    assert done.code != 0 or b"after" not in done.body
