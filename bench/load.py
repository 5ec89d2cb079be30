"""wrk: runs it and reads its results. The figures come from wrk.lua (wrk's `done` hook), not from
wrk's text.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import signal
import subprocess
from pathlib import Path

# One thread makes 100,000 requests per second; more threads would only take CPU from the servers.
THREADS = 1
# On top of the duration: wrk connects before it starts to count, and does not wait for anything
# afterwards.
GRACE = 20
MARK = "BENCH "
ERRORS = ("connect", "read", "write", "status", "timeout")
SCRIPT = Path(__file__).with_name("wrk.lua")


class NoWrk(RuntimeError):
    """wrk is not installed."""


def executable() -> str:
    path = shutil.which("wrk")
    if path is None:
        raise NoWrk("no wrk on PATH: on Debian and Ubuntu, apt-get install wrk")
    return path


def wrk(
    url: str, connections: int, seconds: float, request: tuple[str, ...] = ()
) -> dict[str, float]:
    """One run. Returns rps, p50_us, p99_us, p999_us, max_us, requests, errors. `request` is as in
    start().
    """
    process = start(url, connections, seconds, request)
    try:
        output = _output(process, seconds)
    finally:
        end(process)
    return parse(output)


def start(
    url: str, connections: int, seconds: float, request: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """Starts a run in the background. Its result is parse(process.communicate()[0]); it ends by
    itself, after whole seconds, or with end(). `request` is empty for GET, or the method, the
    content type, and the path of a file with the body.
    """
    duration = max(1, math.ceil(seconds))
    size = [f"-t{THREADS}", f"-c{connections}", f"-d{duration}s", "--timeout", "10s"]
    command = [executable(), *size, "-s", str(SCRIPT), url, "--", *request]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _output(process: subprocess.Popen[str], seconds: float) -> str:
    """wrk knows only whole seconds; at SIGINT it stops and reports as at the end."""
    if not float(seconds).is_integer():
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=seconds)[0]
        process.send_signal(signal.SIGINT)
    return process.communicate(timeout=seconds + GRACE)[0]


def end(process: subprocess.Popen[str]) -> None:
    """Kills it if it still runs; harmless after communicate()."""
    if process.poll() is None:
        process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def parse(output: str) -> dict[str, float]:
    """Reads the line that the script has written; ValueError with wrk's output if there is none."""
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    if not lines:
        raise ValueError(f"wrk: {output.strip() or 'printed nothing'}")
    figures = json.loads(lines[-1].removeprefix(MARK))
    return {
        "rps": figures["requests"] * 1e6 / max(figures["us"], 1),
        "requests": figures["requests"],
        "p50_us": figures["p50"],
        "p99_us": figures["p99"],
        "p999_us": figures["p999"],
        "max_us": figures["max"],
        "errors": sum(figures[name] for name in ERRORS),
    }
