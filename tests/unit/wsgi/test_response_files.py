"""wsgi/response.py: files as responses (wsgi.file_wrapper), as the frames that are sent."""

from __future__ import annotations

import io

import pytest
from responseenv import TEXT, Exchange, run

from pywsgid.daemon.wsgi.file_wrapper import FileWrapper
from pywsgid.daemon.wsgi.response import Response
from pywsgid.daemon.wsgi.rules import LengthMismatch


@pytest.fixture
def file(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    with open(tmp_path / "file", "rb") as file:
        yield file


def test_a_file_is_sent_as_its_descriptor_with_its_length(file):
    exchange = run(FileWrapper(file))
    assert (exchange.names, exchange.body, exchange.file) == (
        ["RESPONSE"],
        b"",
        (file.fileno(), 0, 10),
    )
    assert exchange.head[1] == [*TEXT, ("Content-Length", "10")]
    assert exchange.keep


def test_position_and_content_length_select_the_part(file):
    file.read(2)
    exchange = run(FileWrapper(file), headers=[("Content-Length", "5")])
    assert exchange.file == (file.fileno(), 2, 5)
    assert exchange.head[1] == [("Content-Length", "5")]


def test_a_file_that_is_too_short_is_noticed_before_anything_is_sent(file):
    file.read(2)
    exchange = Exchange()
    response = Response(exchange, "GET")
    response.start_response("200 OK", [("Content-Length", "9")])
    with pytest.raises(LengthMismatch):
        response.run(FileWrapper(file))
    assert exchange.all == []


def test_a_file_at_its_end_is_an_empty_body(file):
    file.read()
    exchange = run(FileWrapper(file))
    assert (exchange.names, exchange.file) == (["RESPONSE+"], None)
    assert exchange.head[1] == [*TEXT, ("Content-Length", "0")]
    assert run(FileWrapper(file), headers=[("Content-Length", "0")]).file is None


@pytest.mark.parametrize("length", [None, "10", "9999"])
def test_head_sends_the_length_of_a_file_but_not_the_file(file, length):
    exchange = run(
        FileWrapper(file), headers=[("Content-Length", length)] if length else None, method="HEAD"
    )
    assert (exchange.names, exchange.file) == (["RESPONSE+"], None)
    assert dict(exchange.head[1])["Content-Length"] == (length or "10")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_status_without_a_body_sends_no_file(file, status):
    exchange = run(FileWrapper(file), status)
    assert (exchange.names, exchange.file, exchange.head[1]) == (["RESPONSE+"], None, TEXT)


def test_a_file_may_follow_write(file):
    for headers, rest in (([("Content-Length", "6")], 4), (list(TEXT), 10)):
        exchange = Exchange()
        response = Response(exchange, "GET")
        response.start_response("200 OK", headers)(b"ab")
        response.run(FileWrapper(file))
        assert (exchange.names, exchange.file) == (["RESPONSE"], (file.fileno(), 0, rest))


def test_a_file_wrapped_by_middleware_is_an_ordinary_iterable(file):
    exchange = run(block for block in FileWrapper(file, 4))
    assert exchange.names == ["RESPONSE", "DATA", "DATA", "DATA+"]
    assert (exchange.body, exchange.file) == (b"0123456789", None)


def test_a_subclass_of_the_wrapper_is_iterated(file):
    class Upper(FileWrapper):
        def __next__(self):
            return super().__next__().replace(b"0", b"X")

    exchange = run(Upper(file))
    assert (exchange.body, exchange.file) == (b"X123456789", None)


def test_an_object_that_is_not_a_file_is_read_up_to_its_content_length():
    exchange = run(FileWrapper(io.BytesIO(b"0123456789"), 4), headers=[("Content-Length", "6")])
    assert (exchange.body, exchange.file) == (b"012345", None)
    with pytest.raises(LengthMismatch):
        run(FileWrapper(io.BytesIO(b"0123"), 4), headers=[("Content-Length", "6")])
