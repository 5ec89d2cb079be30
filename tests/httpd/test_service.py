"""conf/systemd and conf/logrotate, used as the two programs would, with a directory that `pywsgid
setup` has written.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from httpdenv import machine, processes, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
APPLICATION = """
import time
def application(environ, start_response):
    print(environ["QUERY_STRING"], flush=True)
    if environ["PATH_INFO"] == "/slow":
        time.sleep(1)
        print("late", environ["QUERY_STRING"], flush=True)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"served"]
"""


class Server:
    """Takes the place of /srv/shop/server."""

    def __init__(self, top: Path) -> None:
        self.top, self.root = top, top / "server"
        (top / "site.wsgi").write_text(APPLICATION)
        command = [
            sys.executable,
            "-m",
            "pywsgid",
            "setup",
            "--port",
            "0",
            top / "site.wsgi",
            self.root,
        ]
        out = subprocess.run(
            command, cwd=CHECKOUT, check=True, capture_output=True, text=True
        ).stdout
        self.url = re.search(r"http://\S+/", out)[0]

    def control(self, word: str) -> None:
        subprocess.run([self.root / "apachectl", word], check=True, capture_output=True, timeout=30)

    def log(self, name: str = "error_log") -> str:
        path = self.root / "logs" / name
        return path.read_text() if path.exists() else ""

    def get(self, path: str) -> str:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(self.url + path, timeout=20).text

    def example(self, name: str) -> str:
        return (CHECKOUT / "conf" / name).read_text().replace("/srv/shop/server", str(self.root))


@pytest.fixture
def server() -> Iterator[Server]:
    top = machine.temporary_directory("wsgid-service-")
    made = Server(top)
    yield made
    made.control("stop")
    assert not processes.using(made.root)
    shutil.rmtree(top)


def rotate(server: Server) -> None:
    """Rotates with logrotate if it is installed; otherwise does the same: rename, then
    postrotate.
    """
    text = server.example("logrotate/shop")
    if shutil.which("logrotate"):
        configuration = server.top / "rotate"
        configuration.write_text(text)
        configuration.chmod(0o644)
        command = ["logrotate", "--force", "--state", server.top / "state", configuration]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return
    for name in ("error_log", "access_log"):
        (server.root / "logs" / name).rename(server.root / "logs" / f"{name}.1")
    script = re.search(r"postrotate\n(.*)\n *endscript", text, re.S)[1]
    subprocess.run(["sh", "-c", script], check=True, timeout=60)


def test_daemons_write_to_the_new_file_after_a_rotation(server):
    server.control("start")
    assert server.get("?before") == "served"
    wait_until(lambda: "before" in server.log(), "the first line", 5)
    rotate(server)
    assert "before" in server.log("error_log.1")
    wait_until(lambda: "ready" in server.log(), "the successor's first line in the new file", 20)

    def arrives() -> bool:
        server.get("?after")
        return "after" in server.log()

    # The old process serves until the new one is ready, so one request is not enough.
    wait_until(arrives, "the application's line in the new file", 20)
    wait_until(
        lambda: '"GET /?after' in server.log("access_log"), "the request in the new access log", 20
    )
    assert "before" not in server.log()


def test_a_running_request_finishes_in_the_old_file(server):
    server.control("start")
    slow = subprocess.Popen(
        ["curl", "-s", server.url + "slow?old"], stdout=subprocess.PIPE, text=True
    )
    wait_until(lambda: "old" in server.log(), "the slow request to begin", 10)
    rotate(server)
    assert slow.communicate(timeout=20)[0] == "served"
    assert "late old" in server.log("error_log.1")


def test_the_lines_of_the_unit_start_reload_and_stop_httpd(server):
    """Runs the lines of the unit as systemd does."""
    unit = dict(
        line.split("=", 1)
        for line in server.example("systemd/shop.service").splitlines()
        if "=" in line and not line.startswith("#")
    )
    process = subprocess.Popen(
        unit["ExecStart"].split(), start_new_session=True, stdout=subprocess.DEVNULL
    )
    wait_until(lambda: "resuming normal operations" in server.log(), "httpd to serve", 10)
    assert int((server.root / "run" / "httpd.pid").read_text()) == process.pid
    assert server.get("?first") == "served"
    subprocess.run(unit["ExecReload"].split(), check=True, timeout=30)
    wait_until(lambda: "has taken its place" in server.log(), "the successor", 20)
    assert server.get("?second") == "served"
    slow = subprocess.Popen(
        ["curl", "-s", server.url + "slow?third"], stdout=subprocess.PIPE, text=True
    )
    wait_until(lambda: "third" in server.log(), "the slow request to begin", 10)
    process.send_signal(signal.Signals[unit["KillSignal"]])
    assert slow.communicate(timeout=20)[0] == "served"
    assert process.wait(20) == 0


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not there")
def test_systemd_accepts_the_unit(server):
    path = server.top / "shop.service"
    path.write_text(server.example("systemd/shop.service"))
    done = subprocess.run(
        ["systemd-analyze", "verify", path], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "shop" in line]) == (
        0,
        [],
    )
