"""`pywsgid serve` as a process, started and ended as a user does it at a terminal."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import requests

from httpdenv import machine, processes
from httpdenv.waiting import wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
# The environment for what is started from elsewhere.
PYTHONPATH = {**os.environ, "PYTHONPATH": str(CHECKOUT)}


class Run:
    """One `python -m pywsgid serve`, in its own process group like a shell's job."""

    def __init__(
        self,
        directory: Path,
        *words: str | Path,
        checkout: Path = CHECKOUT,
        command: str = "serve",
        user: int | None = None,
    ) -> None:
        self._out, self._err = directory / "out", directory / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [machine.stage().python, "-m", "pywsgid", command, "--port", "0", *words],
                cwd=checkout,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                env=PYTHONPATH,
                user=user,
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def log(self) -> str:
        return self._err.read_text()

    @property
    def root(self) -> Path:
        """The temporary server root, taken from httpd's own lines."""
        return Path(re.search(r"-d (/tmp/wsgid-\w+)", self.log).group(1))

    def wait_for_address(self) -> str:
        wait_until(
            lambda: "served at" in self.out or self.process.poll() is not None,
            lambda: f"it: {self.log}",
            20,
        )
        return re.search(r"served at (https?://\S+/)", self.out).group(1)

    def end(self, number: int) -> int:
        """Sends a signal as a terminal does, and waits."""
        os.killpg(self.process.pid, number)
        return self.process.wait(15)

    def assert_nothing_left(self) -> None:
        assert not self.root.exists()
        wait_until(lambda: not processes.using(self.root), "the processes to leave", 5)


def without_notes(text: str) -> list[str]:
    """An output without the lines that say what was copied or chosen because the user cannot reach
    the checkout.
    """
    return [line for line in text.splitlines() if "WSGID0409" not in line]


def get(url: str, **options) -> requests.Response:
    session = requests.Session()
    session.trust_env = False
    return session.get(url, timeout=10, verify=False, **options)
