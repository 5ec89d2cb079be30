"""`pywsgid status`, `reload` and `stacks` against daemon processes that answer wrongly, or not at
all.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time

import pytest

from pywsgid.cli import control_client, control_pools, control_sockets, main
from pywsgid.wire import process_abi


@pytest.mark.parametrize(
    ("times", "half", "most"),
    [
        ({0: 1}, 16, 31.68),
        ({3: 10}, 192, 254.72),  # 128 to 256
        ({0: 50, 4: 50}, 32, 506.88),  # the second half 256 to 512
        ({23: 5}, 32 << 22, 32 << 22),  # the last bucket has no end
        ({}, 0, 0),
    ],
)
def test_the_quantiles_of_a_histogram(times, half, most):
    buckets = [times.get(number, 0) for number in range(process_abi.PAGE_BUCKETS)]
    assert control_client.quantile(buckets, 0.5) == pytest.approx(half)
    assert control_client.quantile(buckets, 0.99) == pytest.approx(most)


@pytest.fixture(autouse=True)
def processes_are_not_looked_at(monkeypatch):
    """The processes of these answers do not exist (tests/hostile/test_identity.py)."""
    monkeypatch.setattr(control_client, "contradiction", lambda path, answer: None)


CONTROL = "\x1b]0;mine\x07\rover"


ANSWER = {
    "group": "app",
    "slot": 0,
    "pid": 1,
    "state": "ready",
    "since": 0,
    "python": "3.11.2",
    "uid": 1,
    "threads": 1,
    "at_once": 1,
    "queue": 0,
    "started": 0,
    "finished": 0,
    "errors": 0,
    "queue_times": [],
    "application_times": [],
    "running": [],
    "stacks": [["thread 1", "in f"]],
}


DEEP = b"[" * 200_000


# Wrong fields, each in an answer that is otherwise correct.
INVALID = [
    {"running": [1]},
    {"running": [{"thread": 1}]},
    {"running": [{"thread": 1, "request": "", "elapsed": "long"}]},
    {"since": 1e300},
    {"since": float("nan")},
    {"since": -1e300},
    {"uid": 1 << 80},
    {"finished": -1},
    {"pid": True},
    {"queue_times": ["a"]},
    {"queue_times": [0] * 1000},
    {"application_times": [1e300]},
    {"slot": None},
    DEEP,
    b'{"slot": 1' + b"0" * 100_000 + b"}",
]


@contextlib.contextmanager
def daemon_that_answers(path, answer):
    """A control socket that gives the same answer to every question, or one answer per question
    from a dictionary.
    """
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve():
        with contextlib.suppress(OSError):
            while True:
                with listener.accept()[0] as peer:
                    question = peer.recv(64).strip()
                    with contextlib.suppress(ConnectionError):
                        peer.sendall(answer[question] if isinstance(answer, dict) else answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@contextlib.contextmanager
def daemons_that_hang(*paths):
    """Control sockets that accept connections, as httpd's parent keeps them, and never answer."""
    with contextlib.ExitStack() as listeners:
        for path in paths:
            listener = listeners.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(path))
            listener.listen(1)
        yield


@pytest.mark.parametrize("words", [["status"], ["stacks", CONTROL]], ids=["status", "stacks"])
def test_an_answer_cannot_control_the_terminal(tmp_path, capsys, words):
    """The answer comes from another user's process, and the terminal may be root's."""
    answer = {
        **ANSWER,
        "group": CONTROL,
        "python": CONTROL,
        "running": [{"thread": 1, "request": CONTROL, "elapsed": 1}],
        "stacks": [[CONTROL, CONTROL]],
    }
    with daemon_that_answers(tmp_path / "x.1.0.0.ctl", json.dumps(answer).encode()):
        assert main.main([*words, "--sockets", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "mine" in shown and all(line.isprintable() for line in shown.split("\n"))


def test_an_endless_answer_is_not_read_to_its_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(control_sockets, "ANSWER_MAX", 1000)
    with daemon_that_answers(tmp_path / "x.1.0.0.ctl", b" " * 1001 + b"{}"):
        assert main.main(["status", "--sockets", str(tmp_path)]) == 1
    assert "WSGID0442" in capsys.readouterr().err


@pytest.mark.parametrize(
    "answer", [b"{", b"[]", b"\xff", b'{"group": "app"}', b'{"group": "app", "pid": "1"}']
)
def test_a_daemon_without_a_valid_answer_does_not_count(tmp_path, capsys, answer):
    with daemon_that_answers(tmp_path / "x.1.0.0.ctl", answer):
        assert main.main(["status", "--sockets", str(tmp_path)]) == 1
    assert "WSGID0442" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "stacks"])
@pytest.mark.parametrize("nonsense", INVALID, ids=lambda value: str(value)[:40])
def test_an_invalid_answer_is_reported_in_a_line_and_the_others_are_shown(
    tmp_path, monkeypatch, capsys, command, nonsense
):
    monkeypatch.setattr(control_client, "RATE_INTERVAL", 0.01)
    answer = nonsense if isinstance(nonsense, bytes) else json.dumps(ANSWER | nonsense).encode()
    words = [command, "app"] if command == "stacks" else [command]
    with (
        daemon_that_answers(tmp_path / "x.1.0.0.ctl", answer),
        daemon_that_answers(
            tmp_path / "x.1.1.0.ctl", json.dumps({**ANSWER, "more": [[[]]]}).encode()
        ),
    ):
        for options in ([], ["--json"]):
            assert main.main([*words, *options, "--sockets", str(tmp_path)]) == 0
            out, err = capsys.readouterr()
            assert ("in f" if command == "stacks" else "3.11.2") in out
            assert (
                err.startswith(f"pywsgid: WSGID0443: {tmp_path}/x.1.0.0.ctl: ")
                and err.count("\n") == 1
            )


@pytest.mark.parametrize("stacks", [[1], [["a"]], [["a", 1]], None, DEEP])
def test_invalid_stacks_are_reported_too(tmp_path, capsys, stacks):
    answers = {
        b"status": json.dumps(ANSWER).encode(),
        b"stacks": stacks
        if isinstance(stacks, bytes)
        else json.dumps(ANSWER | {"stacks": stacks}).encode(),
    }
    with daemon_that_answers(tmp_path / "x.1.0.0.ctl", answers):
        assert main.main(["stacks", "app", "--sockets", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert out == "group 'app' slot 0: process 1\n"
    assert err.startswith("pywsgid: WSGID0443: ") and err.count("\n") == 1


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_status_shows_processes_that_do_not_answer_and_waits_for_all_at_once(
    tmp_path, monkeypatch, capsys, options
):
    monkeypatch.setattr(control_client, "RATE_INTERVAL", 0.01)
    hanging = [tmp_path / f"x.1.{slot}.ctl" for slot in ("0.1", "1.0", "1.1", "2.0", "2.1")]
    with (
        daemon_that_answers(tmp_path / "x.1.0.0.ctl", json.dumps(ANSWER).encode()),
        daemons_that_hang(*hanging),
    ):
        began = time.monotonic()
        assert main.main(["status", *options, "--sockets", str(tmp_path)]) == 0
        took = time.monotonic() - began
    lines = capsys.readouterr().out.splitlines()
    assert took < 2 * control_sockets.PATIENCE
    assert len(lines) == 6 and "3.11.2" in lines[0]
    if options:
        known = [json.loads(line) for line in lines[1:]]
        assert [one["group"] for one in known] == ["app", None, None, None, None]
        assert [one["slot"] for one in known] == [1, 0, 1, 0, 1]
        assert {one["state"] for one in known} == {"no answer"}
    else:
        assert lines[1].startswith("group 'app' slot 1: no process answered within 1 s at ")
        for line, path in zip(lines[1:], hanging):
            assert str(path) in line and "see httpd's ErrorLog" in line


def test_a_full_backlog_counts_as_no_answer_and_delays_no_other(tmp_path, capsys):
    path = tmp_path / "x.1.0.0.ctl"
    with daemons_that_hang(path), contextlib.ExitStack() as waiting:
        for _ in range(3):
            other = waiting.enter_context(socket.socket(socket.AF_UNIX))
            other.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                other.connect(str(path))
        assert main.main(["status", "--sockets", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("unknown group slot 0: no process answered")
    assert err.startswith("pywsgid: WSGID0442: ")


def test_stacks_of_others_are_shown_and_a_process_that_hangs_is_named(tmp_path, capsys):
    with (
        daemon_that_answers(tmp_path / "x.1.0.0.ctl", json.dumps(ANSWER).encode()),
        daemons_that_hang(tmp_path / "x.1.0.1.ctl"),
    ):
        assert main.main(["stacks", "app", "--sockets", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "in f" in out
    assert err.startswith("pywsgid: group 'app' slot 1: no process answered within 1 s")


def test_a_pool_without_a_process_is_shown_though_its_guardian_reads_no_question(tmp_path, capsys):
    with daemon_that_answers(
        tmp_path / "x.1.0.0.ctl", b"0 0 4 5 0 shop|" + CONTROL.encode() + b"\n"
    ):
        assert main.main(["status", "--sockets", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "0 wanted (0 to 4)" in shown and "a request starts one" in shown
    assert all(line.isprintable() for line in shown.split("\n"))


@pytest.mark.parametrize(
    "answer", [b"", b"0 0 4 5 0 \n", b"0 0 4 5 0 shop", b"-1 0 4 5 0 shop\n", b"1" * 5000 + b"\n"]
)
def test_an_answer_about_a_pool_that_is_not_valid_is_none(answer):
    assert control_pools.parse(answer) is None
