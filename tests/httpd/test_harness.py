"""The harness, on which all other tests rely: it notices every bad line, and accepts exactly what a
test declared.
"""

from __future__ import annotations

import os
import socket

import pytest
from httpdenv import ErrorLog, processes

PREFIX = "[Mon Nov 23 09:00:00.000001 2026] [%s] [pid 7:tid 7] "


@pytest.fixture
def log(tmp_path):
    return ErrorLog(tmp_path / "error_log")


def write(log, level: str, text: str) -> None:
    with log.path.open("a") as file:
        file.write(PREFIX % f"wsgid:{level}" + text + "\n")


@pytest.mark.parametrize("level", ["warn", "error", "crit", "alert", "emerg"])
def test_a_bad_line_is_reported_once(log, level):
    write(log, level, "WSGID0001: something")
    assert [record.text for record in log.unexpected()] == ["WSGID0001: something"]
    assert log.unexpected() == []


@pytest.mark.parametrize("level", ["notice", "info", "debug", "trace1"])
def test_a_harmless_line_is_not_reported(log, level):
    write(log, level, "something")
    assert log.unexpected() == []


@pytest.mark.parametrize(
    "text", ["exit signal Segmentation fault (11)", "AddressSanitizer: x", "x runtime error: y"]
)
def test_a_crash_is_reported_at_any_level(log, text):
    write(log, "notice", text)
    assert len(log.unexpected()) == 1


def test_text_without_a_prefix_is_reported(log):
    write(log, "info", "fine")
    with log.path.open("a") as file:
        file.write("Traceback (most recent call last):\n  File x\nError: y\n")
    assert len(log.unexpected()) == 1


def test_only_expected_lines_are_accepted(log):
    with log.expects("WSGID0001"):
        write(log, "error", "WSGID0001: declared")
        write(log, "error", "WSGID0002: not declared")
    assert [record.text for record in log.unexpected()] == ["WSGID0002: not declared"]


def test_earlier_lines_do_not_count_as_expected(log):
    write(log, "error", "WSGID0001: earlier")
    with pytest.raises(AssertionError), log.expects("WSGID0001", timeout=0.05):
        pass
    assert len(log.unexpected()) == 1


def test_an_expected_line_that_does_not_appear_fails_the_test(log):
    with pytest.raises(AssertionError, match="WSGID0001"), log.expects("WSGID0001", timeout=0.05):
        write(log, "error", "WSGID0002: another")


def test_a_missing_line_does_not_hide_a_failure_within_the_block(log):
    with pytest.raises(ZeroDivisionError), log.expects("WSGID0001", timeout=0.05):
        raise ZeroDivisionError


def test_an_expected_traceback_is_accepted_up_to_its_end(log):
    with log.expects("Traceback"):
        for line in (
            "Traceback (most recent call last):",
            '  File "x", line 1, in y',
            "ValueError: one",
            "",
            "During handling of the above exception, another exception occurred:",
            "",
            "Traceback (most recent call last):",
            "    raise",
            "KeyError: two",
            "another line",
        ):
            write(log, "error", f"[client 127.0.0.1:1] {line}")
    assert [record.message for record in log.unexpected()] == ["another line"]


def test_a_process_that_has_only_a_socket_below_a_directory_is_found(tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        assert not processes.using(directory)
        listener.bind(str(directory / "s"))
        assert [process.pid for process in processes.using(directory)] == [os.getpid()]
    assert not processes.using(directory)


@pytest.mark.parametrize(
    ("command", "is_daemon", "is_guardian"),
    [
        ("/usr/bin/python3 -I /x/pywsgid/daemon/boot.py", True, False),
        ("wsgid:shop", True, False),
        ("the wsgid:shop", True, False),
        ("wsgid:shop (guardian)", False, True),
        ("/usr/sbin/apache2 -d /x -f /x/httpd.conf", False, False),
    ],
)
def test_daemons_and_guardians_are_known_by_their_command_lines(command, is_daemon, is_guardian):
    assert processes.is_daemon(command) is is_daemon
    assert processes.is_guardian(command) is is_guardian
