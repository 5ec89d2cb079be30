"""The configurations with which the idea of mod_wsgid was first described. Only paths, names and
ports are changed.

Order and Allow belong to mod_access_compat; the users are accounts that exist on this machine.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess

import pytest
from httpdenv import machine, wait_until

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="daemons of another user need httpd to be started by root"
)

MODULES = ["access_compat", "rewrite"]
# These are also set for each directory: in our base configuration, Debian's httpd denies all of /
# with the newer Require.
SITE = """
WSGIScriptAlias / ${FILES}/site.wsgi

<Directory ${FILES}>
Order deny,allow
Allow from all
</Directory>
"""

BEFORE = """
<VirtualHost 127.0.0.1:${PORT}>
ServerName www.modwsgi.org
@SITE@
</VirtualHost>
"""

ONE_DAEMON = """
WSGIDaemonProcess grahamd-1 user=USER group=GROUP

<VirtualHost 127.0.0.1:${PORT}>
ServerName www.modwsgi.org

WSGIProcessName grahamd-1
@SITE@
</VirtualHost>
"""

FIVE_DAEMONS = """
WSGIDaemonProcess grahamd-1 user=USER group=GROUP
WSGIDaemonProcess grahamd-2 user=USER group=GROUP
WSGIDaemonProcess grahamd-3 user=USER group=GROUP
WSGIDaemonProcess grahamd-4 user=USER group=GROUP
WSGIDaemonProcess grahamd-5 user=USER group=GROUP

<VirtualHost 127.0.0.1:${PORT}>
ServerName www.modwsgi.org

RewriteEngine On
RewriteMap servers rnd:${FILES}/servers.txt
RewriteRule . - [E=WSGI_DAEMON_PROCESS:${servers:dynamic|grahamd-1}]

WSGIProcessName %{ENV:WSGI_DAEMON_PROCESS}
@SITE@
</VirtualHost>
"""

SERVERS = "dynamic grahamd-1|grahamd-2|grahamd-3|grahamd-4|grahamd-5\n"
NAMES = [f"grahamd-{number}" for number in range(1, 6)]
DRAWS = 200  # chance that one of five is never drawn: 5 * 0.8 ** 200, that is 2e-19


def user():
    """An ordinary account other than httpd's."""
    return machine.other_users()[0]


def start(make_httpd, stage, text: str):
    entry = user()
    text = (
        text.replace("@SITE@", SITE)
        .replace("user=USER", f"user={entry.pw_name}")
        .replace("group=GROUP", f"group=#{entry.pw_gid}")
    )
    site = (stage.apps / "whoami.wsgi").read_text()
    return make_httpd(text, modules=MODULES, files={"site.wsgi": site, "servers.txt": SERVERS})


@pytest.fixture(scope="module")
def five(make_httpd, stage):
    return start(make_httpd, stage, FIVE_DAEMONS)


@pytest.fixture(scope="module")
def one(make_httpd, stage):
    return start(make_httpd, stage, ONE_DAEMON)


@pytest.fixture(scope="module")
def before(make_httpd, stage):
    return start(make_httpd, stage, BEFORE)


def test_a_site_without_a_daemon_of_its_own_is_served(before):
    """The default group serves it, as httpd's own User."""
    assert before.get("/").json()["uids"] == [pwd.getpwnam(machine.web_user()).pw_uid] * 3


def test_a_named_daemon_runs_as_its_user_and_serves_its_virtual_host(one):
    entry = user()
    seen = one.get("/").json()
    assert seen["uids"] == [entry.pw_uid] * 3
    assert seen["gids"] == [entry.pw_gid] * 3
    assert [seen["pid"]] == one.daemons("grahamd-1")


def test_five_daemons_are_started(five):
    pids = [five.wait_for_daemons(name, 1)[0] for name in NAMES]
    assert len(set(pids)) == 5


def test_the_random_map_chooses_each_of_the_five(five):
    pids = {five.wait_for_daemons(name, 1)[0] for name in NAMES}
    with five.session() as session:
        answered = {session.get(five.url("/page"), timeout=10).json()["pid"] for _ in range(DRAWS)}
    assert answered == pids


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("by", ["root", "its-own-user"])
def test_a_daemon_that_is_killed_is_restarted_and_its_successor_answers(one, sign, by):
    old = one.get("/").json()["pid"]
    kill(old, sign, as_user=user() if by == "its-own-user" else None)
    wait_until(lambda: old not in one.daemons(), f"process {old} to leave")
    new = one.get("/").json()["pid"]
    assert new != old
    assert one.daemons("grahamd-1") == [new]


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
def test_killing_one_of_five_fails_no_request(five, sign):
    victim = five.daemons("grahamd-3")[0]
    os.kill(victim, sign)
    with five.session() as session:
        answers = [session.get(five.url("/page"), timeout=10) for _ in range(DRAWS)]
    assert {answer.status_code for answer in answers} == {200}
    assert five.wait_for_daemons("grahamd-3", 1, without=[victim])[0] in {
        answer.json()["pid"] for answer in answers
    }


def kill(pid: int, sign: int, as_user) -> None:
    """Sends a signal, as another user if necessary."""
    if as_user is None:
        os.kill(pid, sign)
        return
    command = ["kill", f"-{int(sign)}", str(pid)]
    subprocess.run(command, check=True, user=as_user.pw_uid, group=as_user.pw_gid, extra_groups=[])
