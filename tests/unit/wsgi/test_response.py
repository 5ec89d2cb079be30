"""wsgi/response.py: the rules of PEP 3333, with an exchange that only records its calls."""

from __future__ import annotations

import sys
from typing import NamedTuple
from wsgiref.validate import validator

import pytest
from responseenv import TEXT, Exchange, run, start

from pywsgid.daemon.transport.peer import PeerGone
from pywsgid.daemon.wsgi.file_wrapper import FileWrapper
from pywsgid.daemon.wsgi.response import Response
from pywsgid.daemon.wsgi.rules import LengthMismatch, Violation
from pywsgid.wire import protocol


def test_a_list_is_one_send_with_its_length():
    exchange = run([b"one ", b"two"])
    assert (exchange.sends, exchange.names, exchange.body) == (0, ["RESPONSE+"], b"one two")
    assert ("Content-Length", "7") in exchange.head[1]
    assert exchange.keep


def test_the_applications_own_list_of_headers_is_not_changed():
    headers = list(TEXT)
    run([b"x"], headers=headers)
    assert headers == TEXT


def test_a_large_list_is_split():
    exchange = run([b"x" * (protocol.MAX_DATA * 2 + 1)])
    assert exchange.names == ["RESPONSE", "DATA", "DATA+"]
    assert len(exchange.body) == protocol.MAX_DATA * 2 + 1


def test_each_block_of_a_generator_is_sent_at_once():
    exchange = Exchange()
    response = Response(exchange, "GET")
    seen = []

    def blocks():
        for number in range(3):
            yield b"%d" % number
            seen.append(len(exchange.frames))

    response.start_response("200 OK", list(TEXT))
    response.run(blocks())
    assert seen == [1, 2, 3]
    assert exchange.names == ["RESPONSE", "DATA", "DATA", "DATA+"]


def test_empty_blocks_send_nothing_not_even_the_head():
    exchange = Exchange()
    response = Response(exchange, "GET")

    def blocks():
        yield b""
        assert exchange.frames == []
        response.start_response(
            "404 Not Found", list(TEXT), sys.exc_info() if sys.exc_info()[0] else (None, None, None)
        )
        yield b"x"

    response.start_response("200 OK", list(TEXT))
    response.run(blocks())
    assert exchange.head[0] == "404 Not Found"


def test_an_empty_iterable_has_a_content_length_of_0():
    exchange = run(iter(()))
    assert (exchange.names, exchange.body) == (["RESPONSE+"], b"")
    assert ("Content-Length", "0") in exchange.head[1]


def test_start_response_may_come_with_the_first_block():
    exchange = Exchange()
    response = Response(exchange, "GET")

    def application():
        response.start_response("200 OK", list(TEXT))
        yield b"late"

    response.run(application())
    assert exchange.body == b"late"


def test_empty_blocks_may_come_before_start_response():
    """PEP 3333, "The start_response() Callable": it comes before the first block with bytes."""
    exchange = Exchange()
    response = Response(exchange, "GET")

    def application():
        yield b""
        yield b""
        response.start_response("201 Created", list(TEXT))
        yield b"late"

    response.run(application())
    assert (exchange.head[0], exchange.body) == ("201 Created", b"late")


def test_empty_blocks_alone_do_not_replace_start_response():
    exchange = Exchange()
    with pytest.raises(Violation, match="never called start_response"):
        Response(exchange, "GET").run([b"", b""])
    assert exchange.frames == []


def test_write_sends_at_once_and_the_iterable_follows():
    exchange = Exchange()
    response = Response(exchange, "GET")
    write = response.start_response("200 OK", list(TEXT))
    write(b"")
    assert exchange.frames == []
    write(b"one ")
    write(b"two ")
    response.run([b"three"])
    assert (exchange.names, exchange.body) == (
        ["RESPONSE", "DATA", "DATA", "DATA+"],
        b"one two three",
    )


def test_write_after_the_end_is_refused():
    exchange = Exchange()
    response = Response(exchange, "GET")
    write = response.start_response("200 OK", list(TEXT))
    response.run([b"x"])
    with pytest.raises(Violation, match="after the end"):
        write(b"y")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_status_without_a_body_sends_no_body(status):
    for result in ([b"abc"], iter([b"a", b"b"])):
        exchange = run(result, status)
        assert exchange.body == b""
        assert exchange.names[-1].endswith("+")
        assert "Content-Length" not in dict(exchange.head[1])


def test_head_sends_the_length_but_no_body():
    exchange = run([b"abc"], method="HEAD")
    assert exchange.body == b""
    assert dict(exchange.head[1])["Content-Length"] == "3"


def test_head_invents_no_length():
    """An application that leaves the body out for HEAD must not appear to say that the body is
    empty.
    """
    assert "Content-Length" not in dict(run([], method="HEAD").head[1])
    assert "Content-Length" not in dict(run(iter(()), method="HEAD").head[1])


def test_head_does_not_run_an_endless_iterable():
    def endless():
        while True:
            yield b"x"

    exchange = run(endless(), method="HEAD")
    assert exchange.body == b""


def test_head_keeps_the_applications_length():
    exchange = run([], headers=[("Content-Length", "1000")], method="HEAD")
    assert exchange.head[1] == [("Content-Length", "1000")]


# ---- Content-Length


@pytest.mark.parametrize("blocks", [[b"ab"], []])
def test_a_list_that_is_too_short_is_noticed_before_anything_is_sent(blocks):
    exchange = Exchange()
    response = Response(exchange, "GET")
    response.start_response("200 OK", [("Content-Length", "3")])
    with pytest.raises(LengthMismatch):
        response.run(blocks)
    assert exchange.all == []


def test_a_generator_that_is_too_short_does_not_end_the_response():
    exchange = Exchange()
    response = Response(exchange, "GET")
    response.start_response("200 OK", [("Content-Length", "3")])
    with pytest.raises(LengthMismatch):
        response.run(iter([b"ab"]))
    assert not any(end for _, end, _ in exchange.all)


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("kind", [list, iter])
@pytest.mark.parametrize("blocks", [[b"abcd"], [b"ab", b"cd", b"ef"], [b"abc", b"d"]])
def test_of_a_body_that_is_too_long_the_right_bytes_are_sent(blocks, kind, complete):
    exchange = Exchange()
    exchange.complete = complete
    response = Response(exchange, "GET")
    response.start_response("200 OK", [("Content-Length", "3")])
    with pytest.raises(LengthMismatch):
        response.run(kind(blocks))
    response.fail(500, "does nothing any more")
    assert (exchange.body, exchange.names[-1][-1]) == (b"abc", "+")


def test_a_write_beyond_the_length_is_the_applications_error():
    exchange = Exchange()
    write = Response(exchange, "GET").start_response("200 OK", [("Content-Length", "3")])
    write(b"ab")
    with pytest.raises(LengthMismatch):
        write(b"cd")
    assert exchange.body == b"ab"


@pytest.mark.parametrize("blocks", [[b"abc"], [b"a", b"", b"bc"]])
def test_the_block_that_completes_the_length_takes_the_end_with_it(blocks):
    exchange = Exchange()

    def body():
        yield from blocks
        assert exchange.names[-1].endswith("+")
        yield b""
        assert exchange.body == b"abc"
        yield b"d"

    response = Response(exchange, "GET")
    response.start_response("200 OK", [("Content-Length", "3")])
    with pytest.raises(LengthMismatch):
        response.run(body())
    response.fail(500, "")
    assert exchange.body == b"abc"


def test_while_a_part_of_the_request_is_missing_the_end_waits_for_the_end_of_the_iterable():
    exchange = Exchange()
    exchange.complete = False

    def body():
        yield b"abc"
        assert exchange.names == ["RESPONSE"]

    response = Response(exchange, "GET")
    response.start_response("200 OK", [("Content-Length", "3")])
    response.run(body())
    assert exchange.names == ["RESPONSE", "DATA+"]


def test_the_right_length_is_accepted():
    for result in ([b"abc"], iter([b"a", b"bc"])):
        exchange = run(result, headers=[("content-length", "3")])
        assert exchange.body == b"abc"
        assert len(exchange.head[1]) == 1


# ---- start_response


@pytest.mark.parametrize(
    "status",
    [
        b"200 OK",
        200,
        None,
        "",
        "20",
        "OK",
        "200",
        "200OK",
        "2000 OK",
        "20 OK",
        "-20 OK",
        " 200 OK",
        "\u0662\u0660\u0660 OK",
        "100 Continue",
        "101 Switching Protocols",
        "199 X",
        "000 X",
        "200 OK\r\nX: y",
        "200 OK\n",
        "200 O\0K",
        "200 \u2603",
        "200 \x7f",
    ],
)
def test_an_invalid_status_is_refused(status):
    with pytest.raises(Violation):
        start(status)


@pytest.mark.parametrize(
    "status",
    ["200 OK", "299 ", "404 Not Found", "999 Anything", "200 d\xe9j\xe0 vu", "200 with\ttab"],
)
def test_a_valid_status_is_accepted(status):
    start(status)


@pytest.mark.parametrize(
    "headers",
    [
        None,
        (),
        {"a": "b"},
        [["A", "b"]],
        [("A",)],
        [("A", "b", "c")],
        ["Ab"],
        [(b"A", "b")],
        [("A", b"b")],
        [("A", 1)],
        [("A", None)],
        [(1, "b")],
        [([], "b")],
        [("", "b")],
        [("A B", "b")],
        [("A:", "b")],
        [("A\r\nB", "b")],
        [("\xe9", "b")],
        [("A\0", "b")],
        [("A", "b\r\nC: d")],
        [("A", "b\n")],
        [("A", "b\0c")],
        [("A", "b\x1b")],
        [("A", "b\x7f")],
        [("A", "\u2603")],
        [("Content-Length", "x")],
        [("Content-Length", "-1")],
        [("Content-Length", "+1")],
        [("Content-Length", " 1")],
        [("Content-Length", "")],
        [("Content-Length", "1,1")],
        [("Content-Length", "\u0661")],
        [("Content-Length", "9" * 19)],
        [("Content-Length", "1"), ("content-length", "2")],
    ],
    ids=repr,
)
def test_invalid_headers_are_refused(headers):
    exchange = Exchange()
    with pytest.raises(Violation, match="PEP 3333"):
        Response(exchange, "GET").start_response("200 OK", headers)
    assert exchange.all == []


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "keep-alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "Trailers",
        "UPGRADE",
    ],
)
def test_hop_by_hop_headers_are_left_out_every_time(name):
    for _ in range(2):  # also when the head is known
        exchange = run([b""], headers=[(name, "x"), ("A", "b")])
        assert exchange.head[1] == [("A", "b"), ("Content-Length", "0")]


def test_transfer_encoding_is_refused_every_time():
    for _ in range(2):  # a refused name must not be cached as a valid one
        with pytest.raises(Violation, match="Transfer-Encoding"):
            start(headers=[("Transfer-Encoding", "chunked")])


class Text(str):
    """What frameworks give: Django's SafeString, Markup, an Enum."""

    def __str__(self) -> str:
        return "another text"

    def encode(self, *_: object) -> bytes:
        return b"another text"

    def lower(self) -> str:
        return "another text"


class Unhashable(str):
    __hash__ = None


@pytest.mark.parametrize("text", [Text, Unhashable])
def test_the_text_of_a_subclass_of_str_is_sent(text):
    for _ in range(2):  # also when the head is known
        headers = [(text("A"), text("b")), (text("Content-Length"), text("3"))]
        exchange = run([b"abc"], status=text("200 Fine"), headers=headers)
        assert exchange.head == ("200 Fine", [("A", "b"), ("Content-Length", "3")])


def test_lists_and_tuples_may_be_subclasses():
    class Pairs(list):
        pass

    class Pair(NamedTuple):
        name: str
        value: str

    assert run([b""], headers=Pairs([Pair("A", "b")])).head[1][0] == ("A", "b")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((b"200 OK", []), TypeError),
        (("200 OK", ()), TypeError),
        (("200 OK", [("A", 1)]), TypeError),
        (("200 OK", [(1, "b")]), TypeError),
        (("200 OK", [["A", "b"]]), TypeError),
        (("OK", []), ValueError),
        (("200 OK", [("A", "b\r\n")]), ValueError),
    ],
)
def test_exceptions_are_of_the_types_that_applications_catch(arguments, expected):
    with pytest.raises(expected):
        Response(Exchange(), "GET").start_response(*arguments)


def test_start_response_twice_is_a_runtime_error():
    response = Response(Exchange(), "GET")
    response.start_response("200 OK", [])
    with pytest.raises(RuntimeError, match="again without exc_info"):
        response.start_response("200 OK", [])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("A", "")],
        [("A", "b"), ("A", "c")],
        [("X-Odd!#$%&'*+.^_`|~", "b")],
        [("A", "d\xe9j\xe0 \xa0\xff")],
        [("A", "b\tc")],
        [("Content-Length", "0")],
        [("Content-Length", "1"), ("Content-Length", "1")],
    ],
    ids=repr,
)
def test_valid_headers_are_accepted(headers):
    start(headers=headers)


def test_ever_new_header_names_do_not_fill_the_memory():
    from pywsgid.daemon.wsgi import response, rules

    start(headers=[(f"X-{number}", "") for number in range(rules.NAMES_REMEMBERED * 2)])
    assert len(response._shared.names) <= rules.NAMES_REMEMBERED


def test_a_second_start_response_needs_exc_info():
    response = Response(Exchange(), "GET")
    response.start_response("200 OK", list(TEXT))
    with pytest.raises(Violation, match="without exc_info"):
        response.start_response("200 OK", list(TEXT))


def failed():
    try:
        raise KeyError("the reason")
    except KeyError:
        return sys.exc_info()


def test_exc_info_replaces_headers_that_were_not_sent():
    exchange = Exchange()
    response = Response(exchange, "GET")
    response.start_response("200 OK", [("X-First", "1"), ("Content-Length", "5")])
    response.start_response("500 Sorry", [("X-Second", "2")], failed())
    response.run([b"no"])
    assert exchange.head == ("500 Sorry", [("X-Second", "2"), ("Content-Length", "2")])


def test_exc_info_after_the_head_is_raised_again():
    response = Response(Exchange(), "GET")
    response.start_response("200 OK", list(TEXT))(b"out")
    with pytest.raises(KeyError, match="the reason"):
        response.start_response("500 Sorry", list(TEXT), failed())


@pytest.mark.parametrize("exc_info", [True, (), [1, 2, 3], "abc"])
def test_exc_info_must_be_a_tuple_of_three(exc_info):
    with pytest.raises(Violation, match="tuple of three"):
        Response(Exchange(), "GET").start_response("200 OK", list(TEXT), exc_info)


# ---- the application's result


@pytest.mark.parametrize(
    "result",
    [
        None,
        42,
        b"bytes",
        "str",
        ["str"],
        [None],
        [bytearray(b"x")],
        [b"x", "y"],
        iter(["s"]),
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_bad_result_is_refused(result):
    response = Response(Exchange(), "GET")
    response.start_response("200 OK", list(TEXT))
    with pytest.raises(Violation):
        response.run(result)


@pytest.mark.parametrize(
    ("result", "fix"),
    [
        (["text"], "encode it"),
        (iter(["text"]), "encode it"),
        ("text", r'\[text\.encode\("utf-8"\)\]'),
        (b"body", r"\[body\]"),
        (None, "return a list of bytes"),
    ],
)
def test_a_bad_result_is_refused_with_a_fix(result, fix):
    response = Response(Exchange(), "GET")
    response.start_response("200 OK", list(TEXT))
    with pytest.raises(Violation, match=fix):
        response.run(result)


@pytest.mark.parametrize("result", [[b"x"], [], iter([b"x"]), iter(())])
def test_start_response_must_be_called(result):
    with pytest.raises(Violation, match="start_response"):
        Response(Exchange(), "GET").run(result)


@pytest.mark.parametrize("data", ["text", None, bytearray(b"x"), 1])
def test_write_accepts_bytes_only(data):
    write = Response(Exchange(), "GET").start_response("200 OK", list(TEXT))
    with pytest.raises(Violation, match="must be bytes"):
        write(data)


def test_a_failure_is_an_abort_and_the_connection_is_not_kept():
    exchange = Exchange()
    Response(exchange, "GET").fail(500, "WSGID0340: it raised")
    assert exchange.names == ["ABORT"]
    assert not exchange.keep


def test_the_validator_finds_no_fault():
    exchange = Exchange()
    response = Response(exchange, "GET")
    environ = {
        "REQUEST_METHOD": "GET",
        "SERVER_NAME": "x",
        "SERVER_PORT": "80",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    from pywsgid.daemon.wsgi.errors import Errors
    from pywsgid.daemon.wsgi.input import Input

    class Empty:
        body, complete = b"", True

    environ["wsgi.input"], environ["wsgi.errors"] = Input(Empty()), Errors(exchange, None)

    @validator
    def application(environ, start_response):
        start_response("200 OK", list(TEXT))
        return [b"fine"]

    result = application(environ, response.start_response)
    response.run(result)
    result.close()
    assert exchange.body == b"fine"


# ---- early hints, clients that leave


HINTS = [("Link", "</a.css>; rel=preload")]


def test_early_hints_are_sent_at_once():
    exchange = Exchange()
    response = Response(exchange, "GET")
    response.early_hints(HINTS)
    response.start_response("200 OK", list(TEXT))
    response.early_hints(HINTS)  # nothing has been sent yet
    assert exchange.names == ["INTERIM", "INTERIM"]
    assert protocol.parse_head(exchange.frames[0][2]) == ("103 Early Hints", HINTS)
    response.run([b"x"])
    assert exchange.names == ["INTERIM", "INTERIM", "RESPONSE+"]


def test_early_hints_are_too_late_once_the_response_has_begun():
    exchange = Exchange()
    response = Response(exchange, "GET")
    response.start_response("200 OK", list(TEXT))(b"x")
    response.early_hints(HINTS)
    response.run([])
    response.early_hints(HINTS)
    response.detach()
    response.early_hints(HINTS)
    assert exchange.names == ["RESPONSE", "DATA+"]


@pytest.mark.parametrize(
    "headers", [(), [("A", "b\r\n")], [("Transfer-Encoding", "x")], [("\u2603", "x")]]
)
def test_early_hints_are_checked_like_headers(headers):
    exchange = Exchange()
    with pytest.raises(Violation):
        Response(exchange, "GET").early_hints(headers)
    assert exchange.all == []


def test_early_hints_to_a_client_that_has_gone_are_ignored():
    exchange = Exchange()

    def send(parts):
        raise PeerGone()

    exchange.send = send
    Response(exchange, "GET").early_hints(HINTS)


def test_client_gone_checks_the_connection_and_is_true_after_the_request():
    exchange = Exchange()
    response = Response(exchange, "GET")
    assert not response.client_gone()
    exchange.gone = True
    assert response.client_gone()
    exchange.gone = False
    response.detach()
    assert response.client_gone()


@pytest.mark.parametrize("gone", [False, True])
def test_client_gone_after_the_last_block_is_whether_httpd_could_take_it(gone):
    exchange = Exchange()
    exchange.complete = True
    response = Response(exchange, "GET")
    response.start_response("200 OK", [*TEXT, ("Content-Length", "1")])(b"x")
    exchange.gone = gone  # as flush() leaves it
    exchange.is_hung_up = lambda: True  # what C says once the connection has been given back
    assert response.client_gone() is gone
    response.detach()
    assert response.client_gone()


def test_write_after_the_request_sends_nothing():
    exchange = Exchange()
    response = Response(exchange, "GET")
    write = response.start_response("200 OK", list(TEXT))
    response.detach()
    with pytest.raises(Violation, match="after the end"):
        write(b"x")
    assert exchange.all == []


def test_an_empty_block_checks_the_client():
    exchange = Exchange()
    response = Response(exchange, "GET")

    def waiting():
        yield b""
        exchange.gone = True
        yield b""
        raise AssertionError("went on without a client")

    response.start_response("200 OK", list(TEXT))
    with pytest.raises(PeerGone):
        response.run(waiting())


def test_large_blocks_of_a_list_are_not_copied():
    blocks = [b"x" * protocol.MAX_DATA, b"", b"y" * 500000]
    exchange = Exchange()
    kept = []
    exchange.read = kept.append
    response = Response(exchange, "GET")
    response.start_response("200 OK", list(TEXT))
    response.run(blocks)
    assert any(part is blocks[0] for part in kept[0])
    assert any(part is blocks[2] for part in kept[0])
    exchange = run(blocks)
    assert exchange.body == b"".join(blocks)
    assert exchange.names == ["RESPONSE", "DATA", "DATA", "DATA+"]


def test_a_cached_head_has_only_the_applications_headers(tmp_path):
    """Headers that were added for one response, and its length, do not appear in the next one with
    the same headers.
    """
    headers = [("X-Same", "each time")]
    for size in (3, 5, 0):
        assert run([b"x" * size], headers=headers).head == (
            "200 OK",
            [*headers, ("Content-Length", str(size))],
        )
    for size in (3, 5):
        (tmp_path / "file").write_bytes(b"x" * size)
        with (tmp_path / "file").open("rb") as file:
            exchange = run(FileWrapper(file), headers=headers)
            assert exchange.head == ("200 OK", [*headers, ("Content-Length", str(size))])


def test_ever_new_heads_do_not_fill_the_memory():
    from pywsgid.daemon.wsgi import response

    for number in range(response.HEADS_REMEMBERED + 100):
        run([b"x"], headers=[("X-Number", str(number))])
    assert len(response._shared.heads) <= response.HEADS_REMEMBERED
