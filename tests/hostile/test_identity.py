"""A daemon that says it is another one is not shown as that one by `pywsgid status`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from httpdenv import machine, wait_until

CONFIGURATION = """
WSGIDaemonProcess shop IDENTITY_0 processes=2
WSGIDaemonProcess liar IDENTITY_1
WSGIScriptAlias /liar ${FILES}/liar.wsgi process-name=liar
WSGIScriptAlias /shop ${APPS}/hello.wsgi process-name=shop
"""
# Answers at the control socket with what it was told to say.
LIAR = """
import json, sys
control = next(module for name, module in sys.modules.items() if name.endswith("process.control"))
honest = control.status
lies = {}
control.status = lambda *arguments: honest(*arguments) | lies
for table in vars(control).values():
    if isinstance(table, dict) and "status" in table:
        table["status"] = control.status
def application(environ, start_response):
    lies.clear()
    lies.update(json.loads(environ["wsgi.input"].read()))
    start_response("200 OK", [])
    return [b""]
"""


def own(number: int) -> str:
    if os.geteuid() != 0:
        return ""
    user = machine.other_users()[number]
    return f'user={user.pw_name} "group=#{user.pw_gid}"'


@pytest.fixture(scope="module")
def httpd(make_httpd):
    text = CONFIGURATION.replace("IDENTITY_0", own(0)).replace("IDENTITY_1", own(1))
    httpd = make_httpd(text, files={"liar.wsgi": LIAR})
    wait_until(lambda: len(status(httpd)[0]) == 3, "three processes to answer")
    return httpd


def status(httpd) -> tuple[list[dict], str]:
    command = [sys.executable, "-m", "pywsgid", "status", "--json", "--sockets", httpd.root / "run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def tell(httpd, **lies) -> None:
    assert httpd.post("/liar", json.dumps(lies)).status_code == 200


def test_honest_processes_are_shown(httpd):
    tell(httpd)
    shown, problems = status(httpd)
    assert sorted((one["group"], one["slot"]) for one in shown) == [
        ("liar", 0),
        ("shop", 0),
        ("shop", 1),
    ]
    assert problems == ""


LIES = {
    "the group": lambda httpd: {"group": "shop"},
    "the process": lambda httpd: {"pid": httpd.daemons("shop")[0]},
    "the group and the process": lambda httpd: {
        "group": "shop",
        "pid": httpd.daemons("shop")[0],
        "uid": os.stat(f"/proc/{httpd.daemons('shop')[0]}").st_uid,
    },
    "a process of root's": lambda httpd: {"pid": httpd.pid},
    "a process that does not exist": lambda httpd: {"pid": 1 << 22},
    "the slot": lambda httpd: {"slot": 7},
    "the user": lambda httpd: {"uid": 4242},
}


@pytest.mark.parametrize("what", LIES)
def test_a_lie_about_what_it_is_is_reported_and_the_process_is_not_shown(httpd, what):
    if os.geteuid() != 0:
        pytest.skip("only root can look into the processes of others")
    tell(httpd, **LIES[what](httpd))
    shown, problems = status(httpd)
    assert [one["group"] for one in shown] == ["shop", "shop"]
    assert {one["pid"] for one in shown} == set(httpd.daemons("shop"))
    assert "WSGID0444" in problems and "liar" not in "".join(map(str, shown))
