"""An application in a bare loop, without any server: what no server can beat.

apps/loop.py is the program; there is one for each process of the setup, and it can call with any
number of threads.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench import user
from bench.peers import ENVIRONMENT, VENV
from bench.points import Kind

NAME = "loop"


class Loop:
    def __init__(self, apps: Path, script: str, processes: int) -> None:
        command = [str(VENV / "bin" / "python"), "loop.py", script]
        self._processes = [
            subprocess.Popen(
                command,
                cwd=apps,
                env=ENVIRONMENT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                **user.identity(),
            )
            for _ in range(processes)
        ]

    def wait_until_ready(self) -> None:
        for process in self._processes:
            self._line_of(process)

    def measure(self, kind: Kind, body: str, threads: int, seconds: float) -> dict[str, float]:
        """Requests per second of all processes together, and what a request costs."""
        order = {
            "method": kind.method,
            "path": kind.path,
            "content_type": kind.content_type,
            "body": body,
            "threads": threads,
            "seconds": seconds,
        }
        for process in self._processes:
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        found = [json.loads(self._line_of(process)) for process in self._processes]
        requests = max(sum(one["requests"] for one in found), 1)
        cpu, switches = (sum(one[key] for one in found) for key in ("cpu", "switches"))
        return {
            "rps": sum(one["requests"] / one["seconds"] for one in found),
            "requests": requests,
            "errors": sum(one["errors"] for one in found),
            "cpu_application_us": cpu * 1e6 / requests,
            "switches_application": switches / requests,
        }

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

    @staticmethod
    def _line_of(process: subprocess.Popen[str]) -> str:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the bare loop has ended; its error is above")
        return line


@contextlib.contextmanager
def looping(apps: Path, script: str, processes: int) -> Iterator[Loop]:
    loop = Loop(apps, script, processes)
    try:
        loop.wait_until_ready()
        yield loop
    finally:
        loop.stop()
