"""Everything also works without root: httpd and its daemons run as one ordinary account."""

from __future__ import annotations

import os

import pytest
from httpdenv import machine

CONFIGURATION = """
WSGIDaemonProcess app processes=2
WSGIScriptAlias / ${APPS}/whoami.wsgi process-name=app
"""


@pytest.fixture(scope="module")
def account():
    if os.geteuid() != 0:
        return None  # then all tests run as an ordinary user
    return machine.web_user()


@pytest.mark.parametrize("how", ["daemon", "foreground", "debug"])
def test_an_ordinary_user_can_run_everything(make_httpd, account, how):
    httpd = make_httpd(CONFIGURATION, user=account, start=how)
    httpd.wait_for_daemons("app", 2)
    seen = httpd.get("/").json()
    assert seen["uids"] == [os.stat(f"/proc/{httpd.pid}").st_uid] * 3
    if how == "daemon":
        httpd.graceful()
        assert httpd.get("/").status_code == 200
    httpd.stop()


def test_without_root_daemons_cannot_run_as_another_user(make_httpd, account):
    """One notice is logged, and the daemon runs as the user that started httpd."""
    text = CONFIGURATION.replace("processes=2", f"user={machine.other_users()[0].pw_name}")
    httpd = make_httpd(text, user=account)
    httpd.log.accept_all("WSGID0024")
    assert (
        httpd.log.find("WSGID0024")
        or "WSGID0024" in (httpd.root / "logs" / "startup_output").read_text()
    )
    assert httpd.get("/").status_code == 200
