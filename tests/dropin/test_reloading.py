"""A changed script, and WSGIScriptReloading."""

from __future__ import annotations

import os
import time

import pytest
from httpdenv import wait_until

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
