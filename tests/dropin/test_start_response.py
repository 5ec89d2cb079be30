"""start_response(), write() and the iterable (PEP 3333)."""

from __future__ import annotations

import pytest
from dropinenv import differs

CONFIGURATION = """
WSGIDaemonProcess site threads=4
WSGIProcessGroup site
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias / ${FILES}/site.wsgi
"""
SCRIPT = """
import enum, sys

closed = []

class Text(str):
    pass

class Word(str, enum.Enum):
    VALUE = "chosen"

class Closing(list):
    def close(self):
        closed.append(len(self))

def plain(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"plain"]

def reason(environ, start_response):
    start_response("299 Very Own Reason", [("Content-Type", "text/plain")])
    return [b""]

def tuple_of_blocks(environ, start_response):
    start_response("200 OK", [])
    return (b"a", b"", b"b")

def generator(environ, start_response):
    start_response("200 OK", [])
    yield b"a"
    yield b""
    yield b"b"

def late_start(environ, start_response):
    yield_first = iter(())
    start_response("200 OK", [])
    yield b"late"

def empty_first(environ, start_response):
    def blocks():
        yield b""
        start_response("201 Created", [("X-Late", "yes")])
        yield b"body"
    return blocks()

def writes(environ, start_response):
    write = start_response("200 OK", [])
    write(b"one ")
    write(b"two ")
    return [b"three"]

def again_without_exc_info(environ, start_response):
    start_response("200 OK", [])
    try:
        start_response("201 Created", [])
    except Exception as error:
        return [type(error).__name__.encode()]
    return [b"accepted"]

def again_with_exc_info(environ, start_response):
    start_response("200 OK", [("X-First", "1")])
    try:
        raise KeyError("x")
    except KeyError:
        start_response("503 Changed", [("X-Second", "2")], sys.exc_info())
    return [b"changed"]

def exc_info_after_the_body_began(environ, start_response):
    write = start_response("200 OK", [("Content-Length", "30")])
    write(b"x" * 10)
    try:
        raise KeyError("mine")
    except KeyError:
        try:
            start_response("500 Changed", [], sys.exc_info())
        except KeyError:
            write(b"raised mine again   ")
    return []

def str_subclasses(environ, start_response):
    start_response(Text("200 OK"), [(Text("X-Name"), Text("value")), ("X-Word", Word.VALUE)])
    return [b"fine"]

def closes(environ, start_response):
    start_response("200 OK", [])
    return Closing([b"a", b"b"])

def was_closed(environ, start_response):
    start_response("200 OK", [])
    return [str(closed).encode()]

def bytearray_block(environ, start_response):
    start_response("200 OK", [])
    return [bytearray(b"array")]

def text_block(environ, start_response):
    start_response("200 OK", [])
    return ["text"]

def one_string(environ, start_response):
    start_response("200 OK", [])
    return b"bytes one by one"

def nothing_started(environ, start_response):
    return [b"x"]

def returns_none(environ, start_response):
    start_response("200 OK", [])

def bytes_status(environ, start_response):
    start_response(b"200 OK", [])
    return [b""]

def number_status(environ, start_response):
    start_response(200, [])
    return [b""]

def headers_tuple(environ, start_response):
    start_response("200 OK", (("X-A", "b"),))
    return [b""]

def bytes_header(environ, start_response):
    start_response("200 OK", [(b"X-A", b"b")])
    return [b""]

def newline_header(environ, start_response):
    start_response("200 OK", [("X-A", "b\\r\\nX-Forged: 1")])
    return [b""]

def blank_name(environ, start_response):
    start_response("200 OK", [("X A", "b")])
    return [b""]

def wide_header(environ, start_response):
    start_response("200 OK", [("X-A", "\\u20ac")])
    return [b""]

def kinds(environ, start_response):
    found = []
    for status, headers in ((200, []), ("20", []), ("abc OK", []), ("200 OK", None), ("200 OK", [("X", 1)])):
        try:
            start_response(status, headers)
            found.append("fine")
        except (TypeError, ValueError) as error:
            found.append("TypeError" if isinstance(error, TypeError) else "ValueError")
    start_response("200 OK", [])
    return [" ".join(found).encode()]

def no_reason(environ, start_response):
    start_response("200", [])
    return [b""]

class Object:
    def __init__(self, environ, start_response):
        start_response("200 OK", [])
    def __iter__(self):
        yield b"an object"

def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    return globals()[name](environ, start_response)
"""


@pytest.fixture(scope="module")
def httpd(start):
    return start(CONFIGURATION, files={"site.wsgi": SCRIPT})


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        ("plain", 200, b"plain"),
        ("tuple_of_blocks", 200, b"ab"),
        ("generator", 200, b"ab"),
        ("late_start", 200, b"late"),
        ("empty_first", 201, b"body"),
        ("writes", 200, b"one two three"),
        ("again_with_exc_info", 503, b"changed"),
        ("Object", 200, b"an object"),
    ],
)
def test_forms_of_an_application_that_the_pep_allows(httpd, name, status, body):
    answer = httpd.get(f"/{name}")
    assert (answer.status_code, answer.content) == (status, body)


def test_the_reason_is_the_applications_own(httpd):
    assert httpd.get("/reason").reason == "Very Own Reason"


def test_headers_of_the_second_call_replace_those_of_the_first(httpd):
    headers = httpd.get("/again_with_exc_info").headers
    assert headers["X-Second"] == "2" and "X-First" not in headers


def test_exc_info_is_raised_again_once_the_body_has_begun(httpd):
    assert (
        httpd.get("/exc_info_after_the_body_began").content == b"x" * 10 + b"raised mine again   "
    )


def test_a_second_call_without_exc_info(httpd):
    answer = httpd.get("/again_without_exc_info")
    assert (answer.status_code, answer.content) == differs(
        httpd,
        "a second `start_response()` without exc_info",
        wsgid=(200, b"CalledAgain"),
        mod_wsgi=(201, b"accepted"),
    )


def test_subclasses_of_str_are_text(httpd):
    answer = httpd.get("/str_subclasses")
    assert (answer.status_code, answer.headers["X-Name"], answer.headers["X-Word"]) == (
        200, "value", "chosen",
    )  # fmt: skip


def test_close_is_called_once(httpd):
    before = httpd.get("/was_closed").text.count("2")
    httpd.get("/closes")
    assert httpd.get("/was_closed").text.count("2") == before + 1


@pytest.mark.parametrize(
    "name",
    ["text_block", "nothing_started", "returns_none", "bytes_status", "number_status", "bytes_header",
     "newline_header", "wide_header", "bytearray_block", "headers_tuple", "blank_name", "one_string"],
)  # fmt: skip
def test_what_the_pep_forbids_is_an_error(httpd, name):
    with httpd.log.expects("WSGID03"):
        assert httpd.get(f"/{name}").status_code == 500


def test_exceptions_have_the_types_that_applications_catch(httpd):
    assert httpd.get("/kinds").text.split() == [
        "TypeError",
        *["ValueError"] * 2,
        *["TypeError"] * 2,
    ]


def test_a_status_without_a_reason(httpd):
    with httpd.log.allows("WSGID0341"):
        expected = differs(httpd, 'start_response("200"', wsgid=500, mod_wsgi=200)
        assert httpd.get("/no_reason").status_code == expected
