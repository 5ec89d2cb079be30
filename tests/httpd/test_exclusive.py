"""A script whose import takes something that only one process can have."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

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
    httpd.log.wait_for(
        f"WSGID0503: group 'single': the process.*{error}.*replacement=stop-first; `pywsgid restart single`"
    )
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


@pytest.mark.parametrize("takes", [PORT, LOCK])
def test_with_stop_first_the_new_code_takes_over_after_the_old_one_and_no_request_is_lost(
    serve, takes
):
    """After a change of the script, and after a graceful restart."""
    stop_first = CONFIGURATION.replace("threads=2", "threads=2 replacement=stop-first")
    httpd = serve(stop_first, start=None)
    httpd.write("site.wsgi.lock", "").chmod(0o666)
    script = takes.replace("@PORT@", str(free_port())) + SCRIPT
    httpd.write("site.wsgi", script.replace("@WORD@", "0"))
    httpd.start()
    seen = [httpd.get("/").text]
    for word, take_over in (("1", None), ("2", httpd.graceful), ("3", None)):
        httpd.write("site.wsgi", script.replace("@WORD@", word))
        if take_over is not None:
            take_over()
        deadline = time.monotonic() + 30
        while seen[-1] != word and time.monotonic() < deadline:
            seen.append(httpd.get("/").text)
    assert sorted(set(seen)) == ["0", "1", "2", "3"] and seen == sorted(seen)
    assert not httpd.log.find("WSGID0332")
