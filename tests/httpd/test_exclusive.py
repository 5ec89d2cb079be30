"""A script whose import takes something that only one process can have."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from httpdenv import wait_until

CONFIGURATION = """
WSGIDaemonProcess single threads=2
WSGIProcessName single
WSGIScriptAlias / ${FILES}/site.wsgi
"""
PORT = """
import socket
listener = socket.socket()
listener.bind(("127.0.0.1", @PORT@))
listener.listen()
"""
LOCK = """
import fcntl
lock = open(__file__ + ".lock", "r+")
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""
SCRIPT = """
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"@WORD@"]
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.parametrize(("takes", "error"), [(PORT, "Address already in use"), (LOCK, "Resource")])
def test_a_message_says_that_the_old_process_holds_it_and_what_lets_the_new_code_take_over(
    serve, takes, error
):
    httpd = serve(CONFIGURATION, start=None)
    httpd.write("site.wsgi.lock", "").chmod(0o666)
    script = takes.replace("@PORT@", str(free_port())) + SCRIPT
    httpd.write("site.wsgi", script.replace("@WORD@", "old"))
    httpd.start()
    assert httpd.get("/").text == "old"
    httpd.write("site.wsgi", script.replace("@WORD@", "new"))
    httpd.log.wait_for(f"WSGID0503: group 'single': the process.*{error}.*pywsgid restart single")
    httpd.log.wait_for("WSGID0332")
    assert httpd.get("/").text == "old"
    command = [sys.executable, "-m", "pywsgid", "restart", "single"]
    command += ["--sockets", str(httpd.root / "run")]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    wait_until(lambda: httpd.get("/").text == "new", "the new code", 20)


def test_another_failure_does_not_blame_the_old_process(serve):
    httpd = serve(CONFIGURATION, files={"site.wsgi": SCRIPT.replace("@WORD@", "old")})
    assert httpd.get("/").text == "old"
    httpd.write("site.wsgi", "import no_such_module")
    httpd.log.wait_for("WSGID0332")
    httpd.log.wait_for("WSGID0056")
    assert not httpd.log.find("WSGID0503")
