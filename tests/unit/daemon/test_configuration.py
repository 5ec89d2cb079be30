"""daemon/configuration.py against the option table, request_info.py and wsgi/environ.py."""

from __future__ import annotations

import pytest

from pywsgid.daemon import configuration
from pywsgid.daemon.request_info import request_line
from pywsgid.daemon.wsgi import environ
from pywsgid.wire import options, protocol

LEAST = {
    "group": "site",
    "slot": "0",
    "httpd-uid": "33",
    "httpd-version": "2.4.0",
    "wire-version": str(protocol.VERSION),
}


def block(**more):
    pairs = LEAST | {key.replace("_", "-"): value for key, value in more.items()}
    return "".join(f"{key}\0{value}\0" for key, value in pairs.items()).encode()


def test_every_option_for_the_daemon_is_read():
    for name, option in options.OPTIONS.items():
        if option.for_daemon:
            assert name in configuration.KEYS, name


def test_defaults_are_those_of_the_option_table():
    parsed = configuration.parse(block())
    for name, option in options.OPTIONS.items():
        if option.for_daemon and option.default is not None:
            assert getattr(parsed, configuration.KEYS[name][0]) == option.default, name


def test_values_have_the_types_of_their_options():
    data = (
        block(threads="5", processes_named="1", socket_timeout="2.5", startup_timeout="0")
        + b"python-path\0/a\0python-path\0/b\0"
    )
    data += b"script\0app:/srv/a:b.wsgi\0unknown-key\0x\0"
    parsed = configuration.parse(data)
    assert (parsed.threads, parsed.processes_named, parsed.socket_timeout) == (5, True, 2.5)
    assert parsed.python_path == ["/a", "/b"]
    assert [(script.callable, script.path) for script in parsed.scripts] == [
        ("app", "/srv/a:b.wsgi")
    ]


def test_a_socket_timeout_of_0_is_the_default():
    assert (
        configuration.parse(block(socket_timeout="0")).socket_timeout
        == configuration.DEFAULT_SOCKET_TIMEOUT
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"group\0x",
        b"group\0x\0slot",
        block()[:-1],
        block(threads="many"),
        block(socket_timeout="-1"),
        block(successor="yes"),
        block(socket_timeout="nan"),
        block(script="nocolon"),
        block(script="application:"),
        block(slot=""),
    ],
)
def test_a_bad_block_is_refused(data):
    with pytest.raises(configuration.ConfigurationError):
        configuration.parse(data)


def test_the_default_group_has_a_label():
    parsed = configuration.parse(block(group=""))
    assert (parsed.label, parsed.title) == ("%{GLOBAL}", "wsgid:%{GLOBAL}")
    assert configuration.parse(block(display_name="shop %{GROUP}")).title == "shop wsgid:site"


# ---- environ


def build(pairs, **options):
    template = environ.Template(configuration.parse(block(**options)))
    return template.build(protocol.encode_environ(pairs), 1700000000654321, 1000)


def test_environ_has_the_keys_of_wsgi_and_mod_wsgi():
    found = build(
        {"REQUEST_METHOD": "GET", "mod_wsgi.request_start": "1700000000123456"},
        httpd_version="2.4.71",
        processes="2",
    )
    assert (found["mod_wsgi.request_start"], found["mod_wsgi.queue_start"]) == (
        1700000000.123456,
        1700000000.654321,
    )
    assert (
        found["mod_wsgi.version"],
        found["mod_wsgi.process_group"],
        found["mod_wsgi.daemon_start"],
        found["apache.version"],
    ) == (
        (6, 1, 1),
        "site",
        1700000000.655321,
        (2, 4, 71),
    )
    assert (found["wsgi.version"], found["wsgi.run_once"], found["wsgi.input_terminated"]) == (
        (1, 0),
        False,
        True,
    )
    assert (found["wsgi.multithread"], found["wsgi.multiprocess"]) == (True, True)


def test_multithread_and_multiprocess_match_the_group():
    found = build({}, threads="1")
    assert (found["wsgi.multithread"], found["wsgi.multiprocess"]) == (False, False)
    assert build({}, processes_named="1")["wsgi.multiprocess"]


def test_each_request_has_an_environ_of_its_own():
    template = environ.Template(configuration.parse(block()))
    template.build(b"", 0, 0)["wsgi.version"] = "changed"
    assert template.build(b"", 0, 0)["wsgi.version"] == (1, 0)


def test_bytes_are_latin_1():
    found = environ.Template(configuration.parse(block())).build(b"PATH_INFO\0/caf\xc3\xa9\0", 0, 0)
    assert found["PATH_INFO"].encode("latin-1").decode() == "/caf\xe9"


@pytest.mark.parametrize(
    ("pairs", "line"),
    [
        ({"REQUEST_METHOD": "GET", "REQUEST_URI": "/a?b"}, "GET /a?b"),
        ({"REQUEST_METHOD": "GET", "SCRIPT_NAME": "/a", "PATH_INFO": "/b"}, "GET /a/b"),
        ({}, "? "),
        ({"REQUEST_METHOD": "GET", "REQUEST_URI": "/\r\n\x1b\xe9"}, r"GET /\r\n\x1b\xe9"),
    ],
)
def test_the_request_line_for_messages(pairs, line):
    assert request_line(pairs) == line


def test_a_long_request_line_is_cut():
    assert len(request_line({"REQUEST_METHOD": "GET", "REQUEST_URI": "/" + "x" * 9000})) < 600


def test_another_version_of_the_wire_protocol_is_refused():
    with pytest.raises(configuration.ConfigurationError, match="restart httpd"):
        configuration.parse(block(wire_version=str(protocol.VERSION + 1)))
