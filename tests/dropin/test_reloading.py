"""A changed script, and WSGIScriptReloading."""

from __future__ import annotations

import os
import time

import pytest
from dropinenv import differs
from httpdenv import machine, wait_until

CONFIGURATION = """
WSGIDaemonProcess site threads=2
WSGIProcessGroup site
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /on ${FILES}/on.wsgi
WSGIScriptAlias /off ${FILES}/off.wsgi
WSGIScriptAlias /beside ${FILES}/beside.wsgi
<Location /off>
    WSGIScriptReloading Off
</Location>
"""
SCRIPT = """
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"VERSION"]
"""
PORT = """
import os, socket
listener = socket.socket()
listener.bind(("127.0.0.1", @PORT@))
listener.listen()

def application(environ, start_response):
    start_response("200 OK", [])
    return [b"VERSION %d" % os.getpid()]
"""


@pytest.fixture(scope="module")
def httpd(start):
    files = {name: SCRIPT.replace("VERSION", "one") for name in ("on.wsgi", "off.wsgi")}
    return start(CONFIGURATION, files=files)


def change(httpd, name, version):
    path = httpd.write(name, SCRIPT.replace("VERSION", version))
    os.utime(path, (time.time() + 5, time.time() + 5))


def test_a_changed_script_is_loaded(httpd):
    assert httpd.get("/on").text == "one"
    change(httpd, "on.wsgi", "two")
    wait_until(lambda: httpd.get("/on").text == "two", "the new script")


def test_without_reloading_the_old_script_stays(httpd):
    assert httpd.get("/off").text == "one"
    change(httpd, "off.wsgi", "two")
    assert {httpd.get("/off").text for _ in range(5)} == {"one"}


def test_a_changed_script_whose_import_takes_a_port(start):
    """What only one process can have at a time."""
    script = PORT.replace("@PORT@", str(machine.free_port()))
    text = CONFIGURATION.replace("on.wsgi", "port.wsgi")
    httpd = start(text, files={"port.wsgi": script.replace("VERSION", "one")})
    first, pid = httpd.get("/on").text.split()
    assert first == "one"
    since = httpd.log.mark()
    path = httpd.write("port.wsgi", script.replace("VERSION", "two"))
    os.utime(path, (time.time() + 5, time.time() + 5))
    see = "needs `replacement=stop-first`"
    with httpd.log.allows("WSGID", "Traceback", "Address already"):
        if differs(httpd, see, wsgid=True, mod_wsgi=False):
            httpd.log.wait_for("WSGID0503.*replacement=stop-first", since)
            assert httpd.get("/on").text == f"one {pid}"
        else:
            wait_until(lambda: httpd.get("/on").text.startswith("two"), "the new script")
            assert httpd.get("/on").text != f"two {pid}"  # it is another process
