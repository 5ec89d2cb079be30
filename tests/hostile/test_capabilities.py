"""A daemon has no capability, whoever started httpd, and gains none through a program that it
starts.
"""

from __future__ import annotations

import os
import shutil

import pytest
from httpdenv import machine, processes

SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")
CONFIGURATION = """
WSGIDaemonProcess app IDENTITY
WSGIDaemonProcess trusting IDENTITY privileged-programs=on
WSGIScriptAlias /app ${FILES}/runs.wsgi process-name=app
WSGIScriptAlias /trusting ${FILES}/runs.wsgi process-name=trusting
"""
# Runs ${FILES}/program, and answers with what it printed.
RUNS = """
import os, subprocess
def application(environ, start_response):
    program = os.path.join(os.path.dirname(__file__), "program")
    done = subprocess.run([program], capture_output=True, text=True)
    start_response("200 OK", [])
    return [done.stdout.encode()]
"""
# As sudo, it first becomes root for good, and then gives itself root's groups.
PROGRAM = """
#include <grp.h>
#include <stdio.h>
#include <unistd.h>
int main(void)
{
    gid_t group = 0;
    printf("%d %d", (int)geteuid(), setgroups(1, &group));
    return 0;
}
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives capabilities")


def sets_of(pid: int) -> dict[str, int]:
    status = processes.status(pid)
    return {name: int(status[name], 16) for name in (*SETS, "CapBnd")}


@pytest.fixture(scope="module")
def httpd(make_httpd, gcc):
    user = machine.other_users()[0]
    identity = f'user={user.pw_name} "group=#{user.pw_gid}"'
    server = make_httpd(CONFIGURATION.replace("IDENTITY", identity), files={"runs.wsgi": RUNS})
    source, program = server.write("program.c", PROGRAM), server.files / "program"
    gcc(source, "-o", program)
    program.chmod(0o4755)
    return server


def test_all_capability_sets_of_a_daemon_are_empty(httpd):
    (pid,) = httpd.wait_for_daemons("app", 1)
    assert set(sets_of(pid).values()) == {0}


def test_a_set_uid_program_gets_no_capability_of_root(httpd):
    assert httpd.get("/app").text == "0 -1"


def test_an_administrator_can_let_set_uid_programs_work(httpd):
    assert httpd.get("/trusting").text == "0 0"
    (pid,) = httpd.wait_for_daemons("trusting", 1)
    sets = sets_of(pid)
    assert {sets[name] for name in SETS} == {0}
    assert sets["CapBnd"] == sets_of(httpd.pid)["CapBnd"]


@pytest.mark.parametrize("capabilities", ["+setuid", "+setuid,+setgid,+setpcap"])
def test_ambient_capabilities_of_an_httpd_without_root_reach_no_daemon(make_httpd, capabilities):
    """As a systemd unit with User= and AmbientCapabilities= starts it."""
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv (util-linux)")
    httpd = make_httpd(
        "WSGIDaemonProcess app\nWSGIScriptAlias / ${APPS}/clean.wsgi process-name=app",
        user=machine.web_user(),
        capabilities=capabilities,
    )
    assert sets_of(httpd.pid)["CapAmb"] != 0
    seen = httpd.get("/privileges").json()
    assert {int(seen[name][0], 16) for name in SETS} == {0}
    assert {seen[name] for name in ("setuid", "seteuid", "setresuid")} == {"PermissionError"}
    (pid,) = httpd.wait_for_daemons("app", 1)
    assert (sets_of(pid)["CapBnd"] == 0) == ("setpcap" in capabilities)
