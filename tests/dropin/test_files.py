"""wsgi.file_wrapper, HEAD and Range."""

from __future__ import annotations

import pytest
from dropinenv import differs

CONFIGURATION = """
WSGIDaemonProcess site threads=4
WSGIProcessGroup site
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias / ${FILES}/site.wsgi
<Location /sendfile>
    WSGIEnableSendfile On
</Location>
<Location /head/on>
    WSGIMapHEADToGET On
</Location>
<Location /head/off>
    WSGIMapHEADToGET Off
</Location>
<Location /expires>
    ExpiresActive On
    ExpiresDefault "access plus 1 day"
    Header set X-Set yes
</Location>
<Location /deflate>
    SetOutputFilter DEFLATE
</Location>
"""
SCRIPT = """
import io, os, time

HERE = os.path.dirname(os.path.abspath(__file__))
closed = []

class Closes(io.BytesIO):
    def close(self):
        closed.append(1)
        super().close()

class Slow(list):
    def close(self):
        time.sleep(0.01)

def headers(environ, start_response, length=None):
    found = [("Content-Type", "application/octet-stream")]
    if length is not None:
        found.append(("Content-Length", str(length)))
    start_response("200 OK", found)

def whole(environ, start_response):
    headers(environ, start_response)
    return environ["wsgi.file_wrapper"](open(HERE + "/data", "rb"))

def blocks(environ, start_response):
    headers(environ, start_response, 10000)
    return environ["wsgi.file_wrapper"](open(HERE + "/data", "rb"), 100)

def offset(environ, start_response):
    headers(environ, start_response)
    file = open(HERE + "/data", "rb")
    file.seek(9990)
    return environ["wsgi.file_wrapper"](file)

def part(environ, start_response):
    headers(environ, start_response, 4)
    return environ["wsgi.file_wrapper"](open(HERE + "/data", "rb"))

def memory(environ, start_response):
    headers(environ, start_response)
    return environ["wsgi.file_wrapper"](io.BytesIO(b"in memory"))

def iterated(environ, start_response):
    headers(environ, start_response)
    return iter(environ["wsgi.file_wrapper"](io.BytesIO(b"iterated"), 3))

def inside(environ, start_response):
    headers(environ, start_response)
    for block in environ["wsgi.file_wrapper"](open(HERE + "/data", "rb")):
        yield block

def closing(environ, start_response):
    headers(environ, start_response)
    return environ["wsgi.file_wrapper"](Closes(b"x"))

def was_closed(environ, start_response):
    headers(environ, start_response)
    return [str(len(closed)).encode()]

def page(environ, start_response):
    headers(environ, start_response)
    return [b"x" * 6000]

def slow_page(environ, start_response):
    headers(environ, start_response)
    return Slow([b"x" * 6000])

def length_page(environ, start_response):
    headers(environ, start_response, 6000)
    return [b"x" * 6000]

def ranged(environ, start_response):
    start_response("206 Partial Content", [("Content-Range", "bytes 2-4/10"), ("Content-Length", "3")])
    return [b"cde"]

def method(environ, start_response):
    body = environ["REQUEST_METHOD"].encode()
    start_response("200 OK", [("X-Method", environ["REQUEST_METHOD"]), ("Content-Type", "text/plain"),
                              ("Content-Length", str(len(body)))])
    return [body]

def application(environ, start_response):
    return globals()[environ["PATH_INFO"].rpartition("/")[2]](environ, start_response)
"""
DATA = "".join(f"{number:09}\n" for number in range(1000))
FORMS = {
    "whole": DATA,
    "blocks": DATA,
    "offset": DATA[9990:],
    "part": DATA[:4],
    "memory": "in memory",
    "iterated": "iterated",
    "inside": DATA,
}


@pytest.fixture(scope="module")
def httpd(start):
    return start(
        CONFIGURATION,
        files={"site.wsgi": SCRIPT, "data": DATA},
        modules=["headers", "expires", "filter", "deflate"],
    )


@pytest.mark.parametrize("place", ["/", "/sendfile/"])
@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_wrapped_file(httpd, place, form):
    assert httpd.get(place + form).text == FORMS[form]


def test_a_wrapped_file_is_closed_once(httpd):
    before = int(httpd.get("/was_closed").text)
    httpd.get("/closing")
    assert int(httpd.get("/was_closed").text) == before + 1


def test_the_length_of_a_wrapped_file_is_known(httpd):
    assert httpd.get("/whole").headers["Content-Length"] == "10000"


@pytest.mark.parametrize("name", ["page", "slow_page", "length_page"])
def test_a_range_of_a_page_is_the_whole_page(httpd, name):
    answers = [httpd.get(f"/{name}", headers={"Range": "bytes=0-99"}) for _ in range(10)]
    assert {(answer.status_code, len(answer.content)) for answer in answers} == {(200, 6000)}


def test_a_range_of_a_wrapped_file(httpd):
    answer = httpd.get("/sendfile/whole", headers={"Range": "bytes=10-19"})
    expected = differs(
        httpd,
        "parts of a file in `wsgi.file_wrapper`",
        wsgid=(206, DATA[10:20]),
        mod_wsgi=(200, DATA),
    )
    assert (answer.status_code, answer.text) == expected


def test_a_range_of_a_post_means_nothing(httpd):
    answer = httpd.post("/sendfile/whole", b"x", headers={"Range": "bytes=10-19"})
    assert (answer.status_code, answer.text) == (200, DATA)


def test_a_range_that_the_application_made(httpd):
    answer = httpd.get("/ranged", headers={"Range": "bytes=2-4"})
    assert (answer.status_code, answer.headers["Content-Range"], answer.content) == (
        206, "bytes 2-4/10", b"cde",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/method", "HEAD"),
        ("/head/on/method", "GET"),
        ("/head/off/method", "HEAD"),
        ("/deflate/method", "GET"),
    ],
)
def test_head_reaches_the_application_as(httpd, path, method):
    answer = httpd.request("HEAD", path)
    assert (answer.headers["X-Method"], answer.content) == (method, b"")


def test_head_where_a_filter_only_sets_headers_reaches_the_application_as(httpd):
    method = differs(httpd, "only filters that need the body", wsgid="HEAD", mod_wsgi="GET")
    assert httpd.request("HEAD", "/expires/method").headers["X-Method"] == method


@pytest.mark.parametrize("form", ["whole", "part", "length_page"])
def test_head_and_get_have_the_same_length(httpd, form):
    head, get = httpd.request("HEAD", f"/{form}"), httpd.get(f"/{form}")
    assert head.headers.get("Content-Length") == get.headers["Content-Length"]
