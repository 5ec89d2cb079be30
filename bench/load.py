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
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Request:
    """What is requested if it is no plain GET. `body` is the path of a file."""

    method: str = ""
    content_type: str = ""
    body: str = ""


GET = Request()


def wrk(
    url: str, connections: int, seconds: float, request: Request = GET, steady: bool = False
) -> dict[str, float]:
    """One run. Returns rps, p50_us, p99_us, p999_us, max_us, requests, errors. `steady` is for
    applications with few requests per second: their rate is that of the last two thirds.
    """
    process = start(url, connections, seconds, request, str(seconds / 3) if steady else "")
    try:
        output = _output(process, seconds)
    finally:
        end(process)
    return parse(output)


def start(
    url: str, connections: int, seconds: float, request: Request = GET, steady: str = ""
) -> subprocess.Popen[str]:
    """Starts a run in the background. Its result is parse(process.communicate()[0]); it ends by
    itself, after whole seconds, or with end().
    """
    duration = max(1, math.ceil(seconds))
    size = [f"-t{THREADS}", f"-c{connections}", f"-d{duration}s", "--timeout", "10s"]
    script = [request.method, request.content_type, request.body, steady]
    command = [executable(), *size, "-s", str(SCRIPT), url, "--", *script]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _output(process: subprocess.Popen[str], seconds: float) -> str:
    """wrk itself knows only whole seconds."""
    if float(seconds).is_integer():
        return process.communicate(timeout=seconds + GRACE)[0]
    return output_after(process, seconds)


def output_after(process: subprocess.Popen[str], seconds: float) -> str:
    """Stops a run that would take longer after so many seconds."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.communicate(timeout=seconds)[0]
    return stop(process)


def stop(process: subprocess.Popen[str]) -> str:
    """At SIGINT wrk stops and prints the same as at its end."""
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=GRACE)[0]


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
        "rps": figures["steady"] or figures["requests"] * 1e6 / max(figures["us"], 1),
        "requests": figures["requests"],
        "p50_us": figures["p50"],
        "p99_us": figures["p99"],
        "p999_us": figures["p999"],
        "max_us": figures["max"],
        "errors": sum(figures[name] for name in ERRORS),
    }
