"""Application groups: each has processes of its own, whoever names it."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from httpdenv import wait_until

SITE = """
import os, sys
sys.path.insert(0, os.path.dirname(__file__))
from app import NAME

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{NAME} {os.getpid()} {environ['mod_wsgi.application_group']}".encode()]
"""
FILES = {
    "a/site.wsgi": SITE,
    "a/app.py": "NAME = 'a'",
    "b/site.wsgi": SITE,
    "b/app.py": "NAME = 'b'",
}
HOSTS = """
<VirtualHost *:${PORT}>
ServerName a.test
WSGIScriptAlias / ${FILES}/a/site.wsgi
</VirtualHost>
<VirtualHost *:${PORT}>
ServerName b.test
WSGIScriptAlias / ${FILES}/b/site.wsgi
</VirtualHost>
"""
GROUP = "WSGIDaemonProcess shop threads=2\nWSGIProcessName shop\n"


def ask(httpd, host: str, path: str = "/") -> list[str]:
    response = httpd.get(path, headers={"Host": host})
    assert response.status_code == 200, response.text
    return response.text.split()


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("group", [GROUP, ""], ids=["group", "default group"])
def test_two_sites_with_modules_of_the_same_name_never_meet(serve, group, order):
    httpd = serve(group + HOSTS, files=FILES, together=False)
    seen = {}
    for name in 2 * order:
        name_of_module, pid, application_group = ask(httpd, f"{name}.test")
        assert name_of_module == name
        assert seen.setdefault(name, pid) == pid
        assert application_group == f"{name}.test:{httpd.ports['PORT']}|"
    assert seen["a"] != seen["b"]


def test_a_site_is_reloaded_while_the_other_one_serves(serve):
    httpd = serve(GROUP + HOSTS, files=FILES, together=False)
    _, pid, _ = ask(httpd, "b.test")
    old = ask(httpd, "a.test")[1]
    httpd.write("a/site.wsgi", SITE.replace("{NAME}", "new"))

    def is_new() -> bool:
        assert ask(httpd, "b.test")[:2] == ["b", pid]
        return ask(httpd, "a.test")[0] == "new"

    wait_until(is_new, "the new code")
    assert ask(httpd, "a.test")[1] != old


def test_scripts_of_a_directory_get_processes_when_they_are_asked_for(serve):
    httpd = serve(
        GROUP + "WSGIScriptAlias /scripts ${FILES}",
        files=FILES,
        together=False,
    )
    for _ in range(2):
        assert ask(httpd, "localhost", "/scripts/a/site.wsgi")[0] == "a"
        assert ask(httpd, "localhost", "/scripts/b/site.wsgi/more")[0] == "b"


# -------- elastic processes

SLEEPY = """
import os, time

def application(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"] or 0))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""


def elastic(options: str) -> str:
    return (
        f"WSGIDaemonProcess shop threads=1 {options}\nWSGIProcessName shop\n"
        "WSGIScriptAlias / ${FILES}/sleepy.wsgi\n"
    )


def count(httpd) -> int:
    return len(httpd.daemons("shop"))


def test_no_process_runs_until_a_request_comes_and_none_after_a_while(serve):
    httpd = serve(elastic("processes=0-2 inactivity-timeout=1"), files={"sleepy.wsgi": SLEEPY})
    wait_until(lambda: httpd.log.find("resuming normal operations"), "httpd is ready")
    assert count(httpd) == 0
    pids = set()
    for _ in range(2):
        response = httpd.get("/")
        assert response.status_code == 200, response.text
        pids.add(response.text)
        assert count(httpd) == 1
        wait_until(lambda: count(httpd) == 0, "the process has left")
    assert len(pids) == 2


def test_requests_at_the_same_moment_find_no_process_and_are_all_answered(serve):
    httpd = serve(elastic("processes=0-2 inactivity-timeout=1"), files={"sleepy.wsgi": SLEEPY})
    with ThreadPoolExecutor(10) as clients:
        answers = list(clients.map(lambda _: httpd.get("/?0.01").status_code, range(30)))
    assert answers == [200] * 30


def test_processes_come_while_requests_wait_and_leave_afterwards(serve):
    httpd = serve(elastic("processes=1-3 inactivity-timeout=1"), files={"sleepy.wsgi": SLEEPY})
    most = 0
    with ThreadPoolExecutor(8) as clients:
        pending = [clients.submit(httpd.get, "/?0.2") for _ in range(150)]
        while not all(one.done() for one in pending):
            most = max(most, count(httpd))
            time.sleep(0.05)
    assert {one.result().status_code for one in pending} == {200}
    assert most == 3
    wait_until(lambda: count(httpd) == 1, "the others have left")
    assert httpd.get("/").status_code == 200


def test_a_graceful_keeps_a_pool_without_processes_and_one_that_has_grown(serve):
    httpd = serve(elastic("processes=0-2 inactivity-timeout=2"), files={"sleepy.wsgi": SLEEPY})
    httpd.graceful()
    assert count(httpd) == 0
    assert httpd.get("/").status_code == 200
    httpd.graceful()
    assert httpd.get("/").status_code == 200
    wait_until(lambda: count(httpd) == 0, "the process has left")


# -------- application groups that only requests show

NAMES = "WSGIDaemonProcess shop threads=2 application-groups=2\nWSGIProcessName shop\n"


def test_the_application_group_that_was_idle_for_longest_makes_room(serve):
    files = {f"{name}/site.wsgi": SITE for name in "abc"}
    files |= {f"{name}/app.py": f"NAME = {name!r}" for name in "abc"}
    httpd = serve(NAMES + "WSGIScriptAlias /scripts ${FILES}", files=files, together=False)
    for name in "abcabc":
        assert ask(httpd, "localhost", f"/scripts/{name}/site.wsgi")[0] == name
    assert httpd.log.find("WSGID0092")


def test_without_room_requests_of_a_further_application_group_get_503(serve):
    files = {f"{name}.wsgi": SLEEPY for name in "abc"}
    httpd = serve(NAMES + "WSGIScriptAlias /scripts ${FILES}", files=files, together=False)
    with ThreadPoolExecutor(2) as clients:
        pending = [clients.submit(httpd.get, f"/scripts/{name}.wsgi?3") for name in "ab"]
        wait_until(lambda: len(httpd.log.find("WSGID0091")) == 2, "both have processes")
        response = httpd.get("/scripts/c.wsgi")
        assert response.status_code == 503
        assert httpd.log.find("WSGID0186") and httpd.log.find("WSGID0093")
        assert [one.result().status_code for one in pending] == [200, 200]
    assert httpd.get("/scripts/c.wsgi").status_code == 200


SLOW_IMPORT = "import time\ntime.sleep(1.2)\n" + SLEEPY


def test_a_cold_request_waits_for_its_turn_to_boot_whatever_socket_timeout_says(serve):
    """Only a few processes boot at a time: the last of these sites begins after more than the
    timeout."""
    places = (os.cpu_count() or 1) + 1
    sites = range(6 * places)
    httpd = serve(
        "".join(
            f"WSGIDaemonProcess g{i} processes=0-1 threads=1 socket-timeout=5\n"
            f"WSGIScriptAlias /{i} ${{FILES}}/slow.wsgi process-name=g{i}\n"
            for i in sites
        ),
        files={"slow.wsgi": SLOW_IMPORT},
    )
    with ThreadPoolExecutor(len(sites)) as clients:
        began = time.monotonic()
        answers = list(clients.map(lambda i: httpd.get(f"/{i}").status_code, sites))
        assert time.monotonic() - began > 5
    assert answers == [200] * len(sites)
