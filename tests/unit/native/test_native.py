"""The daemon's extension: how it is loaded, how many requests run at once, and that it touches only
its own memory.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from daemonenv import ROOT, Client, Daemon, wait_until

from pywsgid.daemon.transport import extension, hotpath
from pywsgid.native.build import CDEF
from pywsgid.wire import process_abi, protocol

SOURCES = [
    *sorted((ROOT / "pywsgid" / "native").glob("*.c")),
    ROOT / "apxs" / "common" / "wire.c",
    ROOT / "apxs" / "common" / "spin.c",
]
SLEEPER = """
import time
def application(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"] or 0))
    start_response("200 OK", [])
    return [b"slept"]
"""


# ---- the GIL


def test_the_gate_follows_the_gil_which_an_import_may_briefly_enable(monkeypatch):
    calls = []
    transport = hotpath.Transport.__new__(hotpath.Transport)
    transport._is_gated, transport._hub = False, 1
    transport.binding = SimpleNamespace(
        lib=SimpleNamespace(wsgid_hub_set_gated=lambda hub, gated: calls.append(gated))
    )
    monkeypatch.setattr(hotpath, "is_free_threaded", True)
    for gil in (False, True, True, False, False, True):
        monkeypatch.setattr(hotpath, "has_gil", lambda gil=gil: gil)
        transport.next(SimpleNamespace(next=lambda: hotpath.REQUEST))
    assert calls == [True, False, True]


# ---- loading


def test_the_table_of_functions_matches_the_cffi_declarations():
    declared = dict(
        re.findall(r"\b(wsgid_(?:hub|endpoint|send|receive|measure)_\w+)\((.*?)\);", CDEF, re.S)
    )
    assert declared.keys() == extension.FUNCTIONS.keys()
    for name, parameters in declared.items():
        assert len(parameters.split(",")) == len(extension.FUNCTIONS[name][1]), name


def refusal_of(daemon):
    """Asserts that it has ended without serving, with one line at crit that names the fix. Returns
    the line.
    """
    assert daemon.wait() == process_abi.EXIT_INTERPRETER
    assert daemon.state() == process_abi.STATE_BOOTING
    (line,) = [line for line in daemon.log_text().splitlines() if "WSGID0329" in line]
    assert "[wsgid:crit]" in line
    assert "group 'unit'" in line
    assert "`make`" in line
    return line


def copied_package(tmp_path, *left_out):
    """Copies pywsgid; returns the boot.py of the copy."""
    shutil.copytree(
        ROOT / "pywsgid",
        tmp_path / "pywsgid",
        ignore=shutil.ignore_patterns("__pycache__", *left_out),
    )
    return tmp_path / "pywsgid" / "daemon" / "boot.py"


def test_without_the_extension_it_does_not_start(tmp_path):
    with Daemon(tmp_path, boot=copied_package(tmp_path, "*.so"), ready=False) as daemon:
        assert f"no _native.*.so in {tmp_path / 'pywsgid'}" in refusal_of(daemon)


def test_with_an_extension_of_another_version_it_does_not_start(tmp_path):
    """As after an update of the Python files alone: the two would interpret their shared memory
    differently.
    """
    boot = copied_package(tmp_path)
    known = tmp_path / "pywsgid" / "wire" / "hotpath_abi.py"
    known.write_text(known.read_text() + "INTERFACE += 1\n")
    with Daemon(tmp_path, boot=boot, ready=False) as daemon:
        assert "built from other sources" in refusal_of(daemon)


@pytest.mark.parametrize("name", sorted(extension.FUNCTIONS))
def test_with_an_extension_that_lacks_a_function_it_does_not_start(monkeypatch, name):
    monkeypatch.setitem(extension.FUNCTIONS, name + "_of_tomorrow", extension.FUNCTIONS[name])
    for switch in ("", str(extension._file())):
        monkeypatch.setenv(extension.SWITCH, switch)
        with pytest.raises(extension.ExtensionError, match="built from other sources"):
            extension.load()


def test_with_an_extension_that_cannot_be_loaded_it_does_not_start(tmp_path, monkeypatch):
    (tmp_path / "broken.so").write_bytes(b"not a library")
    monkeypatch.setattr(Daemon, "extension", str(tmp_path / "broken.so"))
    with Daemon(tmp_path, ready=False) as daemon:
        line = refusal_of(daemon)
    assert "broken.so" in line
    assert "python=" in line


def test_the_applications_output_is_still_in_the_log(tmp_path, write):
    script = write("print('loaded', end='')\ndef application(environ, start_response):\n    pass\n")
    boot = copied_package(tmp_path, "*.so")
    with Daemon(tmp_path, boot=boot, scripts=[script], ready=False) as daemon:
        refusal_of(daemon)
        assert "loaded" in daemon.log_text()


def test_an_empty_virtualenv_uses_the_extension(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    with Daemon(tmp_path, python=str(tmp_path / "venv" / "bin" / "python")) as daemon:
        assert daemon.get("hello.wsgi").body == b"Hello World!\n"
        assert daemon.uses_extension()
        assert "WSGID0329" not in daemon.log_text()


def test_the_applications_own_cffi_still_works(tmp_path, write):
    """A cffi of another version would refuse to work with the backend that we loaded."""
    script = write(
        "import sys\ndef application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    return [b'%d' % ('_cffi_backend' in sys.modules)]\n"
    )
    with Daemon(tmp_path) as daemon:
        assert daemon.get(script).body == b"0"
        assert daemon.uses_extension()


# ---- the gate


def ask_all(clients, script, query):
    """Sends a request on each connection, all at once; returns the seconds until the last
    answer.
    """
    for client in clients:
        assert client.get(script).complete  # connected, and known to the daemon
    began = time.monotonic()
    for client in clients:
        client.request(script, QUERY_STRING=query)
    assert all(client.reply().complete for client in clients)
    return time.monotonic() - began


@pytest.mark.parametrize("threads", [15, 64])
def test_blocking_requests_run_at_the_same_time(tmp_path, write, threads):
    script = write(SLEEPER)
    with Daemon(tmp_path, threads=threads, scripts=[script]) as daemon:
        clients = [daemon.connect() for _ in range(15)]
        assert min(ask_all(clients, script, "0.3") for _ in range(2)) < 0.3 + 0.3
        for client in clients:
            client.close()


def test_a_single_thread_serves_one_request_after_the_other(tmp_path, write):
    script = write(SLEEPER)
    with Daemon(tmp_path, threads=1, scripts=[script]) as daemon:
        clients = [daemon.connect() for _ in range(3)]
        assert ask_all(clients, script, "0.1") >= 0.3
        for client in clients:
            client.close()


def test_a_long_computation_does_not_block_other_requests(tmp_path, write):
    script = write(
        "import time\ndef application(environ, start_response):\n"
        "    end = time.monotonic() + float(environ['QUERY_STRING'] or 0)\n    while time.monotonic() < end:\n"
        "        pass\n    start_response('200 OK', [])\n    return [b'x']\n"
    )
    with Daemon(tmp_path, scripts=[script]) as daemon:
        long, short = daemon.connect(), daemon.connect()
        long.request(script, QUERY_STRING="3")
        began = time.monotonic()
        wait_until(lambda: daemon.counts()[0], "its start")
        assert short.get(script).complete
        assert time.monotonic() - began < 2.5
        assert long.reply().complete


def test_waiting_for_an_upload_does_not_block_other_requests(tmp_path):
    with Daemon(tmp_path, threads=2) as daemon:
        slow = daemon.connect()
        slow.request("echo.wsgi", b"start ", end=False)
        assert slow.frame()[0] == protocol.CREDIT
        assert daemon.get("hello.wsgi").complete
        slow.send(*protocol.encode_body(b"end", end=True))
        assert slow.reply().body == b"start end"
        slow.close()


CHANGING = """
import time
class Body(list):
    def __init__(self, seconds):
        super().__init__([b"served"])
        self.seconds = seconds
    def close(self):
        time.sleep(self.seconds)
def application(environ, start_response):
    wait, compute, close = map(float, environ["QUERY_STRING"].split())
    time.sleep(wait)
    end = time.thread_time() + compute
    while time.thread_time() < end:
        pass
    start_response("200 OK", [])
    return Body(close)
"""


def test_no_request_is_forgotten_whatever_the_others_do(tmp_path, write):
    """Requests that compute, wait, or are slow to close, from clients that come and go: the number
    that runs at once changes all the time, and each request is served.
    """
    script = write(CHANGING)
    chosen = random.Random(1)
    kinds = ["0 0 0"] * 8 + ["0 0.001 0", "0.03 0 0", "0 0.012 0", "0 0 0.02"]

    def ask(daemon, queries):
        for queries_of_one in queries:
            client = daemon.connect()
            for query in queries_of_one:
                assert client.get(script, QUERY_STRING=query).body == b"served"
            client.close()

    with Daemon(tmp_path, threads=6, scripts=[script]) as daemon, ThreadPoolExecutor(12) as pool:
        plans = [
            [[chosen.choice(kinds) for _ in range(chosen.randrange(1, 60))] for _ in range(8)]
            for _ in range(12)
        ]
        for done in [pool.submit(ask, daemon, plan) for plan in plans]:
            done.result()


def switches(daemon):
    """How often the threads of the daemon have gone to sleep."""
    tasks = Path(f"/proc/{daemon.pid}/task").glob("*/status")
    return sum(
        int(re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", task.read_text())[1]) for task in tasks
    )


def test_no_thread_wakes_up_without_requests(tmp_path):
    with Daemon(tmp_path, reload="off") as daemon:
        for _ in range(20):
            assert daemon.get("hello.wsgi").complete

        def is_quiet():
            before = switches(daemon)
            time.sleep(0.3)
            return switches(daemon) == before

        wait_until(is_quiet, "all threads asleep")
        assert daemon.get("hello.wsgi").complete  # and now they wake up


# ---- memory


def grow(daemon, client, requests):
    """The growth of the process over `requests` requests, in KiB."""

    def resident():
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{daemon.pid}/status").read_text())[1])

    for _ in range(1000):
        client.get("hello.wsgi")
    before = resident()
    for _ in range(requests):
        assert client.get("hello.wsgi").complete
    return resident() - before


def descriptors(daemon):
    """How many descriptors the process has, without those of /proc: the monitor thread opens one for
    a moment when a request seems to block.
    """
    names = []
    for entry in Path(f"/proc/{daemon.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            names.append(os.readlink(entry))
    return len([name for name in names if not name.startswith("/proc/")])


def test_ten_thousand_requests_leak_nothing(tmp_path):
    with Daemon(tmp_path) as daemon:
        client = daemon.connect()
        assert client.get("hello.wsgi").complete
        before = descriptors(daemon)
        assert grow(daemon, client, 10_000) < 600  # threads use their stacks for the first time
        assert descriptors(daemon) == before
        client.close()


def test_the_memory_of_a_large_request_is_released(tmp_path):
    with Daemon(tmp_path, threads=1) as daemon:
        client = daemon.connect()
        assert client.get("hello.wsgi").complete
        for _ in range(3):
            assert client.get("hello.wsgi", HTTP_X_LARGE="v" * 1_000_000).complete
            assert client.get("hello.wsgi").complete
        assert buffer_kib(daemon) <= 256
        client.close()


def buffer_kib(daemon):
    """Resident KiB of the largest mapping that can be an exchange's buffer: shared anonymous memory
    of more than 1 MB.
    """
    sizes = [0]
    for entry in re.split(r"\n(?=[0-9a-f]+-)", Path(f"/proc/{daemon.pid}/smaps").read_text()):
        fields = dict(re.findall(r"^(\w+):\s+(\d+) kB", entry, re.M))
        if "/dev/zero" in entry.partition("\n")[0] and int(fields["Size"]) > 1024:
            sizes.append(int(fields["Rss"]))
    return max(sizes)


# ---- sanitizers and the analyzer


@pytest.mark.skipif(
    os.environ.get("WSGID_STRICT") != "1", reason="only with WSGID_STRICT=1, as .ci/run has it"
)
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_the_analyzer_reports_nothing(gcc, tmp_path, level):
    for source in SOURCES:
        gcc(
            level,
            "-fanalyzer",
            "-Wconversion",
            "-Wshadow",
            "-c",
            source,
            "-o",
            tmp_path / "object.o",
        )


VIOLATIONS = [
    b"\x77\0\0\0\0\0\0\0",
    b"\x01\x01\0\0\xff\xff\xff\x7f",
    b"\x01\x01\0\0\x0c\0\0\0" + b"\0" * 8 + b"\xff\0\0\0",
    b"".join(protocol.encode_body(b"x", True)),
    b"\x01",
]


def test_the_sanitizers_report_nothing(gcc, tmp_path, write, monkeypatch):
    """Every path through the C code, with many threads, under ASan and UBSan."""
    library = tmp_path / "sanitized.so"
    flags = [
        "-g",
        "-O1",
        "-fPIC",
        "-shared",
        "-pthread",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
    ]
    gcc(*flags, *SOURCES, "-o", library)
    preload = [gcc_file(name) for name in ("libasan.so", "libubsan.so")]
    monkeypatch.setattr(Daemon, "extension", str(library))
    monkeypatch.setattr(
        Daemon,
        "environment",
        {
            "LD_PRELOAD": " ".join(preload),
            "ASAN_OPTIONS": f"detect_leaks=0:log_path={tmp_path}/asan",
        },
    )
    script = write(SLEEPER)
    with Daemon(tmp_path, threads=8, scripts=[script, "hello.wsgi"]) as daemon:
        assert "sanitized.so" in Path(f"/proc/{daemon.pid}/maps").read_text()
        exercise(daemon, script)
    assert not list(tmp_path.glob("asan*")), [path.read_text() for path in tmp_path.glob("asan*")]
    assert "runtime error" not in daemon.log_text()


def gcc_file(name):
    command = ["gcc", f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def exercise(daemon: Daemon, script: Path) -> None:
    clients = [daemon.connect() for _ in range(12)]
    for query in ("0.01", "0", "0.002"):
        for client in clients:
            client.request(script, QUERY_STRING=query)
        assert all(client.reply().complete for client in clients)
    assert clients[0].get("environ.wsgi", HTTP_X_LARGE="v" * 1_000_000).complete
    clients[1].request("echo.wsgi", b"start ", end=False)
    assert clients[1].frame()[0] == protocol.CREDIT
    clients[1].send(*protocol.encode_body(b"x" * 100_000), *protocol.encode_body(b"y", end=True))
    assert len(clients[1].reply().body) == 100_007
    clients[2].request("closing.wsgi", PATH_INFO="/endless")
    assert clients[2].frame()[0] == protocol.RESPONSE
    for violation in VIOLATIONS:
        bad = Client(daemon.path)
        bad.send(violation)
        bad.close()
    for client in clients:
        client.close()
    assert daemon.get("hello.wsgi").complete
