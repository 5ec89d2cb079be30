"""How many processes a pool has: what the status page and pywsgid show, and `pywsgid scale`."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys

import pytest
from httpdenv import HeldRequests, Load, machine, wait_until

from pywsgid.cli import control_pools

PAGE = "<Location /wsgid-status>\nSetHandler wsgid-status\n</Location>\n"
SHOP = (
    PAGE
    + "WSGIDaemonProcess shop {options}\nWSGIProcessName shop\n"
    + "WSGIScriptAlias /gate ${{APPS}}/gate.wsgi\nWSGIScriptAlias / ${{APPS}}/hello.wsgi\n"
)
SITES = """
WSGIDaemonProcess shop processes=0-3 threads=1
WSGIProcessName shop
WSGIScriptAlias /a ${APPS}/hello.wsgi application-group=a
WSGIScriptAlias /b ${APPS}/hello.wsgi application-group=b
"""


HELLO = (machine.CHECKOUT / "tests/apps/hello.wsgi").read_text()


def shop(options: str) -> str:
    return SHOP.format(options=options)


def run(httpd, *words: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pywsgid", *words, "--sockets", str(httpd.root / "run")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def scale(httpd, *words: str) -> str:
    done = run(httpd, "scale", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(httpd, *words: str) -> str:
    done = run(httpd, "scale", *words)
    assert (done.returncode, done.stdout) == (1, ""), done.stdout
    assert done.stderr.count("\n") == 1
    return done.stderr


def shown(httpd, label: str = "shop") -> dict:
    """The group on the status page."""
    groups = json.loads(httpd.get("/wsgid-status?json").text)["groups"]
    return next(group for group in groups if group["name"] == label)


def figures(httpd) -> tuple[int, ...]:
    names = ("desired", "min", "max", "ready", "starting", "idle")
    return tuple(shown(httpd)[f"slots_{name}"] for name in names)


def wait_for(httpd, *expected: int) -> None:
    wait_until(lambda: figures(httpd) == expected, f"{expected} on the status page")


def bounds(httpd) -> dict[str, str]:
    return {pool.label: pool.bounds for pool in control_pools.find(str(httpd.root / "run"))}


# -------- what is shown


def test_a_pool_without_a_process_is_shown_as_good_and_says_that_a_request_starts_one(serve):
    httpd = serve(shop("processes=0-2 threads=1 inactivity-timeout=1"))
    wait_for(httpd, 0, 0, 2, 0, 0, 0)
    page = httpd.get("/wsgid-status").text.partition("<main")[2]
    assert '<span class="pill good">0 of 0 ready' in page
    assert "no process: a request starts one" in page
    assert "bad" not in page.partition("<script")[0]
    done = run(httpd, "status")
    assert done.stdout.splitlines() == [
        "processes of group 'shop': 0 wanted (0 to 2), 0 ready, 0 starting, 0 idle: "
        "a request starts one"
    ]
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = run(httpd, "status", "--json").stdout.splitlines()
    assert json.loads(line)["pid"] is None
    assert (json.loads(line)["state"], json.loads(line)["pool"]["desired"]) == ("idle", 0)


def test_every_form_shows_how_many_processes_are_wanted_and_there(serve):
    httpd = serve(shop("processes=0-2 threads=1"))
    held = HeldRequests(httpd, "/gate", "busy")
    wait_for(httpd, 1, 0, 2, 1, 0, 0)
    text = httpd.get("/wsgid-status?auto").text
    assert "WSGIDSlots[shop]: 1\nWSGIDSlotsMin[shop]: 0\nWSGIDSlotsMax[shop]: 2\n" in text
    metrics = httpd.get("/wsgid-status?prometheus").text
    for name, value in {
        "": 1,
        "_min": 0,
        "_max": 2,
        "_ready": 1,
        "_starting": 0,
        "_idle": 0,
    }.items():
        assert f'\nwsgid_slots{name}{{group="shop"}} {value}\n' in metrics
    assert "<b>1 <small>of 0 to 2</small>" in httpd.get("/wsgid-status").text
    assert "'shop': 1 wanted (0 to 2), 1 ready, 0 starting, 0 idle\n" in run(httpd, "status").stdout
    assert [answer.status_code for answer in held.release()] == [200]
    wait_for(httpd, 1, 0, 2, 1, 0, 1)
    assert "'shop': 1 wanted (0 to 2), 1 ready, 0 starting, 1 idle\n" in run(httpd, "status").stdout


def test_a_process_that_is_missing_counts_as_starting(serve):
    httpd = serve(shop("processes=2"), files={})
    wait_for(httpd, 2, 2, 2, 2, 0, 2)
    stopped = httpd.guardians("shop")[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        os.kill(httpd.daemons("shop")[0], signal.SIGTERM)
        wait_for(httpd, 2, 2, 2, 1, 1, 1)
    finally:
        os.kill(stopped, signal.SIGCONT)
    wait_for(httpd, 2, 2, 2, 2, 0, 2)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user's identity")
def test_the_user_of_a_group_sees_that_a_pool_has_no_process(serve):
    user = machine.other_users()[0]
    httpd = serve(shop(f"processes=0-2 user={user.pw_name}"))
    wait_for(httpd, 0, 0, 2, 0, 0, 0)
    done = run_as(httpd, user, "status")
    assert (done.returncode, done.stderr) == (0, "")
    assert "'shop': 0 wanted (0 to 2), 0 ready" in done.stdout


def test_a_pool_without_a_process_has_nothing_to_reload(serve):
    httpd = serve(shop("processes=0-2"))
    wait_for(httpd, 0, 0, 2, 0, 0, 0)
    done = run(httpd, "reload", "shop")
    assert (done.returncode, done.stdout) == (0, "")
    assert "has no process: a request starts one" in done.stderr
    assert httpd.get("/").status_code == 200


# -------- pywsgid scale


def test_scale_sets_how_many_processes_a_group_has(serve):
    httpd = serve(shop("processes=1-4 threads=1"))
    wait_for(httpd, 1, 1, 4, 1, 0, 1)
    assert scale(httpd, "shop", "3") == (
        "group 'shop': processes=3 until httpd is restarted, 3 now\n"
    )
    wait_for(httpd, 3, 3, 3, 3, 0, 3)
    assert scale(httpd, "shop", "1-2") == (
        "group 'shop': processes=1-2 until httpd is restarted, 2 now\n"
    )
    wait_for(httpd, 2, 1, 2, 2, 0, 2)
    wait_until(lambda: len(httpd.daemons("shop")) == 2, "the third process to leave")
    assert len(httpd.log.find("WSGID0094")) == 2


def test_scaled_to_0_a_group_loses_its_last_process_when_nobody_uses_it(serve):
    httpd = serve(shop("processes=1-2 inactivity-timeout=1"))
    wait_for(httpd, 1, 1, 2, 1, 0, 1)
    scale(httpd, "shop", "0-2")
    wait_for(httpd, 0, 0, 2, 0, 0, 0)
    assert httpd.get("/").status_code == 200
    scale(httpd, "shop", "2")
    wait_for(httpd, 2, 2, 2, 2, 0, 2)


def test_a_fixed_number_becomes_elastic(serve):
    """httpd's children then prefer the first processes, so that the last ones become idle."""
    httpd = serve(shop("processes=3 threads=1 inactivity-timeout=1"))
    wait_for(httpd, 3, 3, 3, 3, 0, 3)
    scale(httpd, "shop", "1-3")

    def is_one_left() -> bool:
        assert httpd.get("/").status_code == 200
        return shown(httpd)["slots_desired"] == 1

    wait_until(is_one_left, "the others to be idle", timeout=15)


def test_no_request_is_lost_while_processes_come_and_go(serve):
    httpd = serve(
        PAGE + "WSGIDaemonProcess shop processes=1-4 threads=2\nWSGIProcessName shop\n"
        "WSGIScriptAlias / ${APPS}/executions.wsgi\nSetEnv EXECUTIONS ${FILES}/executions\n"
        "MaxKeepAliveRequests 0\n",
        start=None,
    )
    httpd.write("executions", "").chmod(0o666)
    httpd.start()
    with Load(httpd, "/", 6) as load:
        for text in ("4", "1", "2-4", "1"):
            scale(httpd, "shop", text)
            load.wait_for_more()
    load.assert_nothing_lost()
    wait_until(lambda: len(httpd.daemons("shop")) == 1, "one process to be left")


def test_scale_says_what_is_wrong_in_one_line(serve):
    httpd = serve(shop("processes=0-2"))
    wait_for(httpd, 0, 0, 2, 0, 0, 0)
    line = refused(httpd, "shop", "1-9")
    assert "WSGID0455: group 'shop' has room for 2 processes" in line
    assert "write processes=1-9 there, and restart httpd gracefully" in line
    assert "WSGID0454" in refused(httpd, "blog", "1") and "shop" in refused(httpd, "blog", "1")
    assert bounds(httpd) == {"shop": "0-2"}
    for text in ("0", "3-1", "many", "-1", "1-"):
        done = run(httpd, "scale", "shop", text)
        assert done.returncode == 2 and "neither a whole number" in done.stderr


def test_scale_of_a_group_is_for_all_its_pools_and_of_a_label_for_one(serve):
    httpd = serve(SITES, together=False)
    wait_until(lambda: bounds(httpd) == {"shop|a": "0-3", "shop|b": "0-3"}, "two pools")
    assert scale(httpd, "shop|b", "1").count("\n") == 1
    assert bounds(httpd) == {"shop|a": "0-3", "shop|b": "1"}
    assert scale(httpd, "shop", "1-2").count("\n") == 2
    assert bounds(httpd) == {"shop|a": "1-2", "shop|b": "1-2"}
    line = refused(httpd, "sho", "1")
    assert "name one of these: shop|a, shop|b" in line
    wait_until(
        lambda: run(httpd, "status").stdout.count(": 1 wanted (1 to 2), 1 ready") == 2,
        "one process of each",
    )
    done = run(httpd, "reload", "shop")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("has been replaced by process") == 2


def test_an_application_group_that_a_request_has_shown_can_be_scaled(serve):
    httpd = serve(
        "WSGIDaemonProcess shop processes=1-2\nWSGIProcessName shop\n"
        "WSGIScriptAlias /scripts ${FILES}\n",
        together=False,
        files={"a.wsgi": HELLO, "b.wsgi": HELLO},
    )
    assert httpd.get("/scripts/a.wsgi").status_code == 200
    assert httpd.get("/scripts/b.wsgi").status_code == 200
    (label,) = (label for label in bounds(httpd) if label.endswith("b.wsgi"))
    assert scale(httpd, label, "2").endswith("2 now\n")
    assert bounds(httpd)[label] == "2"


# -------- how long it holds, and for whom


def test_a_graceful_restart_brings_back_the_bounds_of_the_configuration(serve):
    """The guardian of the older configuration is still there, and is not asked."""
    httpd = serve(shop("processes=1-4 threads=2"))
    wait_for(httpd, 1, 1, 4, 1, 0, 1)
    scale(httpd, "shop", "2")
    held = HeldRequests(httpd, "/gate", "old")
    httpd.graceful()
    wait_until(lambda: bounds(httpd) == {"shop": "1-4"}, "the new guardian to answer")
    assert len(httpd.guardians("shop")) == 2
    scale(httpd, "shop", "3")
    wait_until(lambda: shown(httpd)["slots_ready"] == 3, "three processes")
    httpd.graceful()
    wait_until(lambda: bounds(httpd) == {"shop": "1-4"}, "the third guardian to answer")
    assert scale(httpd, "shop", "2-4").startswith("group 'shop': processes=2-4 ")
    assert [answer.status_code for answer in held.release()] == [200]


def test_a_guardian_that_follows_one_that_was_killed_has_the_bounds_of_the_configuration(serve):
    httpd = serve(shop("processes=1-4"))
    wait_for(httpd, 1, 1, 4, 1, 0, 1)
    scale(httpd, "shop", "2")
    (old,) = httpd.guardians("shop")
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: bounds(httpd) == {"shop": "1-4"}, "the next guardian to answer")
    scale(httpd, "shop", "3")
    wait_for(httpd, 3, 3, 3, 3, 0, 3)


def run_as(httpd, user: pwd.struct_passwd, *words: str) -> subprocess.CompletedProcess[str]:
    code = shutil.copytree(
        machine.CHECKOUT / "pywsgid", httpd.files / "pywsgid", dirs_exist_ok=True
    )
    subprocess.run(["chmod", "-R", "go+rX", str(code)], check=True)
    command = ["/usr/bin/python3", "-m", "pywsgid", *words, "--sockets", str(httpd.root / "run")]
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=httpd.files, **identity
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user's identity")
def test_only_root_may_scale_the_groups_of_roots_httpd(serve):
    user = machine.other_users()[0]
    httpd = serve(shop(f"processes=1-2 user={user.pw_name}"))
    wait_for(httpd, 1, 1, 2, 1, 0, 1)
    for other in (user, pwd.getpwnam(machine.web_user())):
        done = run_as(httpd, other, "scale", "shop", "2")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("pywsgid: WSGID0453: ") and done.stderr.count("\n") == 1
    assert bounds(httpd) == {"shop": "1-2"}


def test_the_user_who_has_started_httpd_may_scale_its_groups(serve):
    user = machine.web_user()
    httpd = serve(shop("processes=1-2"), user=user if os.geteuid() == 0 else None)
    wait_for(httpd, 1, 1, 2, 1, 0, 1)
    done = run_as(httpd, pwd.getpwnam(user), "scale", "shop", "2")
    assert (done.returncode, done.stderr) == (0, "")
    wait_for(httpd, 2, 2, 2, 2, 0, 2)
