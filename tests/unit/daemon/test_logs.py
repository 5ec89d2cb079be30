"""daemon/logs.py, daemon/streams.py and wsgi/errors.py: lines in the format of the ErrorLog,
captured streams, `logging`, wsgi.errors.
"""

from __future__ import annotations

import errno
import io
import logging
import logging.config
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from transportenv import LocalTransport

from pywsgid.daemon import logs, streams
from pywsgid.daemon.application import log_records
from pywsgid.daemon.transport.peer import PeerGone
from pywsgid.daemon.wsgi.errors import Errors
from pywsgid.daemon.wsgi.input import InputLost
from pywsgid.wire import protocol

CHECKOUT = Path(__file__).resolve().parents[3]
FORM = re.compile(r"\x02\[wsgid:(\w+)\] \[pid (\d+):tid \d+\] (.*)")


class ReadableLog(logs.Log):
    path = None

    def lines(self):
        """(level, text) of each line."""
        return [FORM.fullmatch(line).group(1, 3) for line in self.path.read_text().splitlines()]


@pytest.fixture
def log(tmp_path):
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    log = ReadableLog(logs.DEBUG, "site", descriptor)
    log.path = tmp_path / "log"
    yield log
    os.close(descriptor)


def test_a_line_has_the_format_of_the_error_log(log):
    log.write(logs.INFO, "WSGID0303: ready")
    assert log.lines() == [("info", "WSGID0303: ready")]


def test_every_line_of_a_text_is_a_line(log):
    log.write(logs.ERROR, "one\ntwo\r\n\nthree")
    assert [text for _, text in log.lines()] == ["one", "| two", "| ", "| three"]


@pytest.mark.parametrize("text", ["a\x1b[31mb", "a\0b", "a\rb", "\udcff", "a\x85b"])
def test_no_text_can_forge_a_line_or_control_a_terminal(log, text):
    log.write(logs.ERROR, text)
    [(_, written)] = log.lines()
    assert written.isprintable()


def test_levels_are_filtered_but_notices_are_always_logged(log):
    log.level = logs.WARN
    for level in range(8):
        log.write(level, "x")
    assert [level for level, _ in log.lines()] == [
        "emerg",
        "alert",
        "crit",
        "error",
        "warn",
        "notice",
    ]


def test_a_long_line_continues_in_the_next(log):
    log.write(logs.INFO, "WSGID0303: " + "x" * logs.LINE_MAX)
    assert [len(text) for _, text in log.lines()] == [
        logs.LINE_MAX,
        len("WSGID0303 | ") + len("WSGID0303: "),
    ]
    assert log.lines()[1][1].startswith("WSGID0303 | x")


@pytest.mark.parametrize("text", ["\u20ac" * 5000, "\\" * 9000, "a\u20ac" * 3000])
def test_no_piece_is_too_long_once_httpd_has_escaped_it(text):
    found = logs.pieces(text)
    assert "".join(found) == text
    for piece in found:
        assert (
            sum(4 if byte > 127 else 2 if byte == 0x5C else 1 for byte in piece.encode())
            <= logs.LINE_MAX
        )


def test_lines_of_one_record_have_its_code(log):
    log.write(logs.ERROR, "WSGID0325: oh\nTraceback\n  File")
    assert [text for _, text in log.lines()] == [
        "WSGID0325: oh",
        "WSGID0325 | Traceback",
        "WSGID0325 |   File",
    ]
    assert logs.record_lines("Traceback\nError", "WSGID0340") == [
        "WSGID0340 | Traceback",
        "WSGID0340 | Error",
    ]


class Worker:
    def __init__(self, name, errors=None):
        self.environ, self.errors = {logs.REQUEST_ID: name}, errors


def test_lines_of_a_thread_have_the_id_of_its_request(log, stream, monkeypatch):
    monkeypatch.setattr(logs.current, "worker", Worker("a/b+c"), raising=False)
    print("hello", file=stream)
    log.write(logs.WARN, "WSGID0344: oh\nno")
    log.write(logs.WARN, "WSGID0352: slow", {logs.REQUEST_ID: "other"})
    logs.current.worker.environ = None
    print("idle", file=stream)
    assert [text for _, text in log.lines()] == [
        "[request a/b+c] hello",
        "[request a/b+c] WSGID0344: oh",
        "[request a/b+c] WSGID0344 | no",
        "[request other] WSGID0352: slow",
        "idle",
    ]


@pytest.mark.parametrize("name", ["a] [evil\n[b", 7, ""])
def test_an_id_changed_by_the_application_cannot_forge_a_line(name):
    assert logs.request_mark({logs.REQUEST_ID: name}).isprintable()


def test_a_log_that_cannot_be_written_does_no_harm():
    reader, writer = os.pipe()
    os.close(reader)
    logs.Log(logs.DEBUG, "", writer).write(logs.ERROR, "x")
    os.close(writer)


# ---- streams


@pytest.fixture
def stream(log):
    return streams.Stream(log, logs.NOTICE, "<stdout>", 1)


def test_print_is_a_line_with_the_group(log, stream):
    print("hello", "world", file=stream)
    assert log.lines() == [("notice", "hello world")]


def test_pieces_wait_for_their_line(log, stream):
    stream.write("a")
    stream.write("b\nc")
    assert log.lines() == [("notice", "ab")]
    stream.flush()
    assert log.lines()[1:] == [("notice", "c")]


def test_lines_of_two_threads_do_not_mix(log, stream):
    stream.write("mine ")
    thread = threading.Thread(target=stream.write, args=("other\n",))
    thread.start()
    thread.join()
    stream.write("too\n")
    assert [text for _, text in log.lines()] == ["other", "mine too"]


def test_a_stream_can_be_wrapped_and_written_to_as_bytes(stream, log):
    wrapper = io.TextIOWrapper(stream.detach(), encoding="utf-8")
    print("caf\xe9", file=wrapper)
    wrapper.flush()
    del wrapper
    stream.buffer.writelines([b"one", b" line\n", b"another\n"])
    print("still there", file=stream)
    assert [text for _, text in log.lines()] == ["caf\xe9", "one line", "another", "still there"]


def test_wsgi_errors_can_be_written_to_as_bytes(log):
    exchange, errors = make(log)
    errors.buffer.write(b"one")
    errors.buffer.writelines([b" line\n"])
    with io.TextIOWrapper(errors.detach(), encoding="utf-8") as wrapper:
        wrapper.write("another\n")
    assert [text for _, text in exchange.lines] == ["one line", "another"]


def test_a_stream_has_the_methods_that_libraries_expect(stream, log):
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
    assert [text for _, text in log.lines()] == ["caf\xe9", "a", "b", "still there"]
    with pytest.raises(TypeError):
        stream.write(b"bytes")


# ---- logging


@pytest.fixture
def adopted(log, monkeypatch):
    """`logging` as an application finds it, without pytest's own handlers."""
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "parent", None)
    monkeypatch.setattr(logging, "lastResort", None)
    monkeypatch.setattr(logging, "basicConfig", logging.basicConfig)
    monkeypatch.setattr(logs, "current_record", None)
    before = logging.root.level
    logging.root.setLevel(logging.WARNING)
    yield lambda: log_records.adopt(log)
    logging.root.setLevel(before)


@pytest.fixture
def shop(adopted):
    adopted()
    logger = logging.getLogger("shop")
    yield logger
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    ("method", "level"),
    [
        ("debug", "debug"),
        ("info", "info"),
        ("warning", "warn"),
        ("error", "error"),
        ("critical", "crit"),
    ],
)
def test_records_have_their_levels(log, shop, method, level):
    getattr(shop, method)("sold %d", 3)
    getattr(logging, method)("by the root")  # calls basicConfig() itself
    assert log.lines() == [
        (level, "shop: sold 3"),
        (level, "by the root"),
    ]


@pytest.mark.parametrize(
    ("request_level", "least"),
    [
        (logs.ERROR, 30),
        (logs.WARN, 30),
        (logs.NOTICE, 30),
        (logs.INFO, 20),
        (logs.DEBUG, 10),
        (8, 1),
        (15, 1),
    ],
)
def test_loglevel_decides_which_records_loggers_pass(log, adopted, request_level, least):
    log.request_level = request_level
    adopted()
    assert logging.getLogger("shop").getEffectiveLevel() == least


def test_a_level_set_by_the_application_is_respected(shop):
    logging.root.setLevel(logging.ERROR)
    assert shop.getEffectiveLevel() == logging.ERROR


def test_a_record_belongs_to_the_request_of_its_thread(log, shop, monkeypatch):
    exchange, errors = make(log)
    monkeypatch.setattr(logs.current, "worker", Worker("x", errors), raising=False)
    log.level, log.request_level = logs.WARN, logs.INFO
    shop.info("one\ntwo")
    shop.debug("too much")
    errors.end()
    shop.info("not wanted here")
    shop.error("after its end")
    assert exchange.lines == [(logs.INFO, "shop: one"), (logs.INFO, "| two")]
    assert log.lines() == [("error", "[request x] shop: after its end")]


def test_a_record_includes_its_whole_traceback(log, shop):
    try:
        raise ValueError("boom")
    except ValueError:
        shop.exception("oh")
    texts = [text.removeprefix("") for _, text in log.lines()]
    assert texts[:2] == ["shop: oh", "| Traceback (most recent call last):"]
    assert texts[-1] == "| ValueError: boom"


def test_a_record_that_does_not_fit_its_format_does_no_harm(log, shop):
    shop.error("%d", "x")
    assert "shop: unformattable" in log.lines()[0][1]


def test_handlers_of_the_root_logger_replace_ours(log, shop):
    log.request_level = logs.DEBUG
    shop.debug("before")  # enabled, and logging caches that
    handler = logging.StreamHandler(streams.Stream(log, logs.WARN, "<stderr>", 2))
    logging.basicConfig(handlers=[handler], format="own: %(message)s")
    shop.debug("one that logging still remembers")
    shop.debug("not any more")
    shop.info("neither")
    shop.error("boom")
    assert [text for _, text in log.lines()] == [
        "shop: before",
        "own: one that logging still remembers",
        "own: boom",
    ]


def test_a_record_that_waits_for_a_slow_client_delays_no_other_thread(log, shop, monkeypatch):
    """log() waits until httpd reads the frame."""
    sends, may_go_on = threading.Event(), threading.Event()

    def slow(self, request_id, frames):
        sends.set()
        assert may_go_on.wait(10)

    def stuck():
        logs.current.worker = Worker("x", errors)
        shop.error("to a slow client")

    monkeypatch.setattr(Exchange, "log", slow)
    errors = make(log)[1]
    first = threading.Thread(target=stuck)
    first.start()
    assert sends.wait(10)
    second = threading.Thread(target=shop.error, args=("of another thread",))
    second.start()
    second.join(5)
    try:
        assert log.lines() == [("error", "shop: of another thread")]
    finally:
        may_go_on.set()
        first.join(10)
        second.join(10)


def test_a_filter_of_the_handler_is_respected(log, shop):
    handler = log_records.Handler(log)
    handler.addFilter(lambda record: record.levelno > logging.WARNING)
    shop.addHandler(handler)
    shop.propagate = False
    shop.warning("small")
    shop.error("big")
    assert [text for _, text in log.lines()] == ["shop: big"]


def test_an_application_that_configures_logging_pays_for_our_handler_only_once(shop, monkeypatch):
    """The caches of all loggers are cleared once, not with each record."""
    forgets = []
    forget = logging.root.manager._clear_cache
    monkeypatch.setattr(logging.root.manager, "_clear_cache", lambda: forgets.append(forget()))
    logging.root.addHandler(logging.NullHandler())
    for _ in range(10):
        shop.error("boom")
    assert len(forgets) == 1


def test_a_record_shown_by_a_lower_handler_is_not_shown_again(log, shop):
    shop.addHandler(logging.StreamHandler(streams.Stream(log, logs.NOTICE, "<stdout>", 1)))
    shop.error("one\ntwo")
    shop.info("three")
    shop.handlers = [logging.NullHandler()]
    shop.error("four")  # as with Django's mail_admins: no handler has shown it
    assert log.lines() == [
        ("error", "one"),
        ("error", "| two"),
        ("notice", "three"),
        ("error", "shop: four"),
    ]


def test_a_logger_without_propagation_and_handlers_is_not_silent(log, shop):
    shop.propagate = False
    shop.error("alone")
    assert log.lines() == [("error", "shop: alone")]


def test_dictconfig_works_as_documented(log, shop, monkeypatch):
    monkeypatch.setattr("sys.stderr", streams.Stream(log, logs.WARN, "<stderr>", 2))
    handlers = {"console": {"class": "logging.StreamHandler", "formatter": "f"}}
    base = {
        "version": 1,
        "formatters": {"f": {"format": "f: %(message)s"}},
        "handlers": handlers,
        "disable_existing_loggers": False,
    }
    logging.config.dictConfig(
        {**base, "loggers": {"shop": {"handlers": ["console"], "level": "INFO"}}}
    )
    shop.info("by its logger")
    shop.handlers = []
    shop.setLevel(logging.NOTSET)
    logging.config.dictConfig({**base, "root": {"handlers": ["console"], "level": "ERROR"}})
    shop.info("not by the root")
    shop.error("by the root")
    assert [text for _, text in log.lines()] == [
        "f: by its logger",
        "f: by the root",
    ]


def test_logging_is_set_up_at_its_import_and_otherwise_unchanged():
    """In a process that has not imported it yet."""
    program = (
        "import sys; before = sys.meta_path[:]\n"
        "from pywsgid.daemon import logs\n"
        "from pywsgid.daemon.application import logging_import\n"
        "def adopt():\n"
        "    from pywsgid.daemon.application import log_records; log_records.adopt(logs.Log(logs.INFO, 'site', 1))\n"
        "logging_import.when_imported('logging', adopt)\n"
        "assert 'logging' not in sys.modules\n"
        "import logging, inspect\n"
        "logging.info('hello')\n"
        "assert sys.meta_path == before and 'class Logger' in inspect.getsource(logging)\n"
        "assert logging.__loader__ is logging.__spec__.loader\n"
        "assert type(logging.__loader__).__module__ == '_frozen_importlib_external'\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "[wsgid:info]" in done.stdout and "hello" in done.stdout


def test_an_import_in_another_thread_skips_no_finder():
    """importlib iterates over sys.meta_path while other threads import too."""
    program = (
        "import sys\n"
        "from pywsgid.daemon.application import logging_import\n"
        "before = sys.meta_path[:]\n"
        "logging_import.when_imported('logging', lambda: None)\n"
        "another = iter(sys.meta_path)\n"
        "next(another)\n"
        "import logging\n"
        "assert list(another) == before == sys.meta_path\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_find_spec_of_logging_does_not_prevent_its_setup():
    program = (
        "import importlib.util\n"
        "from pywsgid.daemon.application import logging_import\n"
        "logging_import.when_imported('logging', lambda: print('adopted'))\n"
        "assert importlib.util.find_spec('logging')\n"
        "import logging\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("adopted\n", "")


# ---- wsgi.errors


class Exchange:
    def __init__(self):
        self.lines, self.over, self.id = [], False, 7

    def log(self, request_id, frames):
        if self.over or request_id != self.id:
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


def test_flush_and_the_end_of_the_request_send_an_unfinished_line(log):
    exchange, errors = make(log)
    errors.write("begun")
    assert exchange.lines == []
    errors.flush()
    errors.write("dangling")
    errors.end()
    assert [text for _, text in exchange.lines] == ["begun", "dangling"]


def test_after_the_request_lines_go_to_the_process_log(log):
    exchange, errors = make(log)
    errors.end()
    errors.write("late\n")
    assert (exchange.lines, log.lines()) == ([], [("error", "late")])


def test_a_line_of_another_thread_does_not_get_into_the_next_request(log):
    """The request ends, and its worker begins the next one, while the line is being sent."""

    class Moving(Exchange):
        @property
        def id(self):
            errors.end()
            return 8

        @id.setter
        def id(self, number):
            pass

    exchange = Moving()
    errors = Errors(exchange, log)
    errors.write("late\n")
    assert (exchange.lines, log.lines()) == ([], [("error", "late")])


def frames_of(client, count):
    """The next frames after STARTED, each as (type, payload)."""
    return [client.frame()[::2] for _ in range(count)]


def test_an_exchange_rejects_a_line_of_another_request(log, tmp_path):
    with LocalTransport(tmp_path, log) as local:
        client = local.connect()
        client.request("")
        assert local.next()
        running = local.exchange.id
        with pytest.raises(PeerGone):
            local.exchange.log(running - 1, [protocol.encode_log(logs.ERROR, "late")])
        local.exchange.log(running, [protocol.encode_log(logs.ERROR, "in time")])
        ((kind, payload),) = frames_of(client, 1)
        assert (kind, protocol.parse_log(payload)) == (protocol.LOG, (logs.ERROR, "in time"))
        client.close()


def test_lines_go_to_the_process_log_when_the_client_has_gone(log):
    exchange, errors = make(log)
    exchange.over = True
    errors.write("logged\n")
    assert log.lines() == [("error", "logged")]


def test_a_record_in_the_middle_of_a_send_does_not_wait_for_it(log, shop, tmp_path):
    """A garbage collection may begin anywhere and may run a __del__ that logs, even between two
    calls of the extension that send the frames of one response.
    """
    with LocalTransport(tmp_path, log) as local:
        client, exchange = local.connect(), local.exchange
        client.request("")
        assert local.next()
        send = exchange._send

        def collects(*arguments):
            shop.error("deleted")
            return send(*arguments)

        def respond():
            logs.current.worker = Worker("x", Errors(exchange, log))
            exchange._send = collects
            exchange.send([*protocol.encode_data(b"block"), *protocol.encode_data(b"x" * 100_000)])

        thread = threading.Thread(target=respond, daemon=True)
        thread.start()
        received = frames_of(client, 4)
        thread.join(5)
        assert not thread.is_alive()
        client.close()
    assert [kind for kind, _ in received] == [protocol.LOG, protocol.DATA] * 2
    assert b"".join(payload for kind, payload in received if kind == protocol.DATA) == (
        b"block" + b"x" * 100_000
    )
    assert log.lines() == []


def test_logging_survives_a_frame_that_cannot_be_sent(log, shop, monkeypatch):
    def send(self, request_id, frames):
        raise OSError(errno.ENOBUFS, "No buffer space available")

    monkeypatch.setattr(Exchange, "log", send)
    monkeypatch.setattr(logs.current, "worker", Worker("x", make(log)[1]), raising=False)
    shop.error("logged")
    assert log.lines() == [("error", "[request x] shop: logged")]


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


def test_a_record_about_a_client_that_has_gone_is_one_line_at_info(log, shop):
    gone = InputLost(errno.ECONNRESET, "the body broke off")
    gone.is_disconnect = True
    try:
        raise ValueError("unreadable") from gone
    except ValueError:
        shop.exception("Internal Server Error: %s", "/upload")
    shop.error("another")
    assert log.lines()[0] == (
        "info",
        "shop: Internal Server Error: /upload (the client has gone while it sent the request)",
    )
    assert len(log.lines()) == 2
