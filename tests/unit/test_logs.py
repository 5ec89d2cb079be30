"""pywsgid.logs and pywsgid.errors: lines in the ErrorLog's form, captured streams, `logging`, wsgi.errors."""

from __future__ import annotations

import logging
import os
import re
import threading

import pytest

from pywsgid import logs, protocol
from pywsgid.errors import Errors
from pywsgid.peer import PeerGone

FORM = re.compile(
    r"\[(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d\.\d{6} \d{4}\] "
    r"\[wsgid:(\w+)\] \[pid (\d+):tid \d+\] (.*)"
)


class ReadableLog(logs.Log):
    path = None

    def lines(self):
        """(level, text) of each line."""
        return [FORM.fullmatch(line).group(2, 4) for line in self.path.read_text().splitlines()]


@pytest.fixture
def log(tmp_path):
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    log = ReadableLog(logs.DEBUG, "site", descriptor)
    log.path = tmp_path / "log"
    yield log
    os.close(descriptor)


def test_a_line_is_in_the_error_logs_form(log):
    log.write(logs.INFO, "WSGID0303: ready")
    assert log.lines() == [("info", "WSGID0303: ready")]


def test_every_line_of_a_text_is_a_line(log):
    log.write(logs.ERROR, "one\ntwo\r\n\nthree")
    assert [text for _, text in log.lines()] == ["one", "two", "", "three"]


@pytest.mark.parametrize("text", ["a\x1b[31mb", "a\0b", "a\rb", "\udcff", "a\x85b"])
def test_nothing_forges_a_line_or_drives_a_terminal(log, text):
    log.write(logs.ERROR, text)
    [(_, written)] = log.lines()
    assert written.isprintable()


def test_levels_are_filtered_but_notices_are_always_logged(log):
    log.level = logs.WARN
    for level in range(8):
        log.write(level, "x")
    assert [level for level, _ in log.lines()] == ["emerg", "alert", "crit", "error", "warn", "notice"]


def test_a_long_line_goes_on_in_the_next(log):
    log.write(logs.INFO, "x" * (logs.LINE_MAX + 10))
    assert [len(text) for _, text in log.lines()] == [logs.LINE_MAX, 10]


def test_a_log_that_cannot_be_written_hurts_nobody():
    reader, writer = os.pipe()
    os.close(reader)
    logs.Log(logs.DEBUG, "", writer).write(logs.ERROR, "x")
    os.close(writer)


# ---- streams


@pytest.fixture
def stream(log):
    return logs.Stream(log, logs.NOTICE, "<stdout>", 1)


def test_print_is_a_line_with_the_group(log, stream):
    print("hello", "world", file=stream)
    assert log.lines() == [("notice", "[group site] hello world")]


def test_pieces_wait_for_their_line(log, stream):
    stream.write("a")
    stream.write("b\nc")
    assert log.lines() == [("notice", "[group site] ab")]
    stream.flush()
    assert log.lines()[1:] == [("notice", "[group site] c")]


def test_lines_of_two_threads_do_not_mix(log, stream):
    stream.write("mine ")
    thread = threading.Thread(target=stream.write, args=("other\n",))
    thread.start()
    thread.join()
    stream.write("too\n")
    assert [text for _, text in log.lines()] == ["[group site] other", "[group site] mine too"]


def test_a_stream_is_what_libraries_expect(stream, log):
    assert stream.fileno() == 1
    assert not stream.isatty()
    assert stream.writable()
    assert stream.encoding == "utf-8"
    stream.reconfigure(line_buffering=True)
    stream.buffer.write("caf\xe9\n".encode())
    stream.buffer.flush()
    stream.writelines(["a\n", "b\n"])
    stream.close()
    print("still there", file=stream)
    assert [text.split("] ")[1] for _, text in log.lines()] == ["caf\xe9", "a", "b", "still there"]
    with pytest.raises(TypeError):
        stream.write(b"bytes")


# ---- logging


@pytest.mark.parametrize(("method", "level"), [("warning", "warn"), ("error", "error"), ("critical", "crit")])
def test_records_that_nobody_handles_get_their_level(log, monkeypatch, method, level):
    monkeypatch.setattr(logging, "lastResort", logging._defaultLastResort)
    logger = logging.Logger("shop")
    logs.adopt_logging(log)
    getattr(logger, method)("sold %d", 3)
    assert log.lines() == [(level, "[group site] shop: sold 3")]


def test_a_record_with_a_traceback_is_whole(log, monkeypatch):
    monkeypatch.setattr(logging, "lastResort", logging._defaultLastResort)
    logs.adopt_logging(log)
    try:
        raise ValueError("boom")
    except ValueError:
        logging.Logger("shop").exception("oh")
    text = "\n".join(text for _, text in log.lines())
    assert "Traceback" in text
    assert "ValueError: boom" in text


def test_a_record_that_does_not_fit_its_format_hurts_nobody(log, monkeypatch):
    monkeypatch.setattr(logging, "lastResort", logging._defaultLastResort)
    logs.adopt_logging(log)
    logging.Logger("shop").error("%d", "x")
    assert "unformattable" in log.lines()[0][1]


def test_a_last_resort_of_the_applications_own_stays(log, monkeypatch):
    own = logging.NullHandler()
    monkeypatch.setattr(logging, "lastResort", own)
    logs.adopt_logging(log)
    assert logging.lastResort is own


# ---- wsgi.errors


class Exchange:
    def __init__(self):
        self.lines, self.over = [], False

    def send(self, frames):
        if self.over:
            raise PeerGone()
        for frame in frames:
            assert frame[0] == protocol.LOG
            self.lines.append(protocol.parse_log(frame[protocol.HEADER_SIZE :]))


def make(log):
    exchange = Exchange()
    return exchange, Errors(exchange, log)


def test_lines_are_frames_at_error(log):
    exchange, errors = make(log)
    print("one\ntwo", file=errors)
    errors.writelines(["three", " four\n"])
    assert exchange.lines == [(logs.ERROR, "one"), (logs.ERROR, "two"), (logs.ERROR, "three four")]
    assert log.lines() == []


def test_flush_and_the_end_send_what_is_in_the_making(log):
    exchange, errors = make(log)
    errors.write("begun")
    assert exchange.lines == []
    errors.flush()
    errors.write("dangling")
    errors.detach()
    assert [text for _, text in exchange.lines] == ["begun", "dangling"]


def test_after_the_request_lines_go_to_the_process_log(log):
    exchange, errors = make(log)
    errors.detach()
    errors.write("late\n")
    assert (exchange.lines, log.lines()) == ([], [("error", "[group site] late")])


def test_when_the_client_has_gone_lines_go_to_the_process_log(log):
    exchange, errors = make(log)
    exchange.over = True
    errors.write("told\n")
    assert log.lines() == [("error", "told")]


@pytest.mark.parametrize("data", [b"bytes", None, 1])
def test_only_text_can_be_written(log, data):
    with pytest.raises(TypeError):
        make(log)[1].write(data)


def test_an_endless_line_is_sent_in_pieces(log):
    exchange, errors = make(log)
    for _ in range(20):
        errors.write("x" * 1000)
    assert exchange.lines


@pytest.mark.parametrize("text", ["caf\xe9 \u2603", "a\0b", "a\x1bb", "\udc80"])
def test_any_text_can_be_sent(log, text):
    exchange, errors = make(log)
    errors.write(text + "\n")
    assert len(exchange.lines) == 1
