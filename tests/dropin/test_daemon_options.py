"""Options of WSGIDaemonProcess: what they do, and values that configurations have."""

from __future__ import annotations

import grp
import os

import pytest
from dropinenv import differs
from httpdenv import machine

SCRIPT = """
import json, locale, os, resource, sys

def application(environ, start_response):
    umask = os.umask(0)
    os.umask(umask)
    try:
        import beside
    except ImportError:
        beside = None
    seen = {
        "cwd": os.getcwd(), "umask": umask, "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(),
        "lang": os.environ.get("LANG"), "lc_all": os.environ.get("LC_ALL"), "path": sys.path,
        "beside": beside and beside.WHERE, "home": os.environ.get("HOME"), "user": os.environ.get("USER"),
        "nice": os.nice(0), "optimize": sys.flags.optimize,
        "data": resource.getrlimit(resource.RLIMIT_DATA), "cpu": resource.getrlimit(resource.RLIMIT_CPU),
        "as": resource.getrlimit(resource.RLIMIT_AS), "environ": dict(os.environ),
        "title": open("/proc/self/cmdline").read().split(chr(0))[0],
        "multi": [environ["wsgi.multiprocess"], environ["wsgi.multithread"]],
        "encoding": sys.getfilesystemencoding(), "switch": sys.getswitchinterval(), "argv": sys.argv,
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(seen).encode()]
"""
OPTIONS = {
    "plain": "",
    "umask": "umask=0007",
    "home": "home=${FILES}/home",
    "path": "python-path=${FILES}/one:${FILES}/two",
    "lang": "lang=en_US.UTF-8 locale=C.UTF-8",
    "one": "processes=1 threads=1",
    "thread": "threads=1",
    "nice": "cpu-priority=5",
    "limits": "cpu-time-limit=600 memory-limit=1073741824 virtual-memory-limit=8589934592",
    "name": "display-name=%{GROUP}",
    "title": "display-name=(wsgi:mine)",
    "switch": "switch-interval=0.5",
    "user": "user=@USER@ group=@GROUP@",
    "number": "user=#@UID@ group=#@GID@",
    "groups": "user=@USER@ supplementary-groups=@GROUP@,@OTHER@",
}
# What configurations have that mod_wsgi accepts, and that must not keep httpd from starting.
ACCEPTED = [
    "send-buffer-size=0 receive-buffer-size=0 header-buffer-size=0",
    "processes=1 threads=25 maximum-requests=100000 umask=0002",
    "server-metrics=On",
    "python-eggs=${FILES}",
    "socket-user=@WEB@",
    "response-socket-timeout=60",
    "response-flush-delay=5",
    "script-user=@OWNER@",
    "script-group=@OWNER@",
    "socket-timeout=2147483647",
    "connect-timeout=100000 queue-timeout=90000 request-timeout=1000000",
    "deadlock-timeout=100000 inactivity-timeout=2147483647 graceful-timeout=99999",
    "shutdown-timeout=100000 eviction-timeout=100000 restart-interval=2147483647",
    "startup-timeout=100000 interrupt-timeout=100000",
    "python-path=''",
    "python-home=''",
    "response-buffer-size=0",
    "lang='' locale='' display-name=''",
    "supplementary-groups=''",
    "stack-size=65536",
    "listen-backlog=65536",
    "threads=2 threads=3",
    "maximum-requests=0 maximum-requests=10",
]
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change user")


def filled(text):
    others = machine.other_users()
    group = grp.getgrgid(others[0].pw_gid).gr_name
    other = next(g.gr_name for g in grp.getgrall() if g.gr_gid not in (0, others[0].pw_gid))
    for name, value in {
        "USER": others[0].pw_name,
        "GROUP": group,
        "OTHER": other,
        "UID": others[0].pw_uid,
        "GID": others[0].pw_gid,
        "WEB": machine.web_user(),
        "OWNER": "root",
    }.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def group(name, options):
    return (
        f"WSGIDaemonProcess {name} {filled(options)}\n"
        f"WSGIScriptAlias /{name} ${{FILES}}/site.wsgi process-group={name} application-group=%{{GLOBAL}}\n"
    )


FILES = {
    "site.wsgi": SCRIPT,
    "home/beside.py": "WHERE = 'home'\n",
    "one/other.py": "",
    "two/beside.py": "WHERE = 'two'\n",
    "two/x.pth": "/tmp\n",
}


@pytest.fixture(scope="module")
def httpd(start):
    return start("".join(group(*pair) for pair in OPTIONS.items()), files=FILES)


def seen(httpd, name):
    answer = httpd.get(f"/{name}")
    assert answer.status_code == 200, answer.text
    return answer.json()


@root_only
def test_the_working_directory_without_user_is_the_root(start):
    entry = machine.other_users()[0]
    text = f"User {entry.pw_name}\n" + group("plain", "")
    assert seen(start(text, files=FILES), "plain")["cwd"] == "/"


@root_only
def test_the_working_directory_is_the_users_home(httpd):
    home = machine.other_users()[0].pw_dir
    assert seen(httpd, "user")["cwd"] == home


def test_home_is_the_working_directory_and_is_searched_for_modules(httpd):
    found = seen(httpd, "home")
    assert (found["cwd"], found["beside"]) == (str(httpd.files / "home"), "home")


def test_python_path_is_searched_and_pth_files_in_it_are_processed(httpd):
    found = seen(httpd, "path")
    assert found["beside"] == "two"
    assert found["path"].index(str(httpd.files / "one")) < found["path"].index(
        str(httpd.files / "two")
    )
    assert "/tmp" in found["path"]


def test_umask(httpd):
    assert seen(httpd, "umask")["umask"] == 0o007


def test_lang_and_locale(httpd):
    found = seen(httpd, "lang")
    assert (found["lang"], found["lc_all"]) == ("en_US.UTF-8", "C.UTF-8")


@pytest.mark.parametrize(
    ("name", "multi"),
    [("plain", [False, True]), ("one", [True, False]), ("thread", [False, False])],
)
def test_multiprocess_and_multithread(httpd, name, multi):
    assert seen(httpd, name)["multi"] == multi


def test_priority_and_limits(httpd):
    assert seen(httpd, "nice")["nice"] == 5
    found = seen(httpd, "limits")
    assert (found["cpu"][0], found["data"][0], found["as"][0]) == (600, 1 << 30, 1 << 33)


def test_the_name_in_ps(httpd):
    name = differs(httpd, "name of a process", wsgid="wsgid:name", mod_wsgi="(wsgi:name)")
    assert seen(httpd, "name")["title"].startswith(name)
    assert seen(httpd, "title")["title"].startswith("(wsgi:mine)")


def test_switch_interval(httpd):
    assert seen(httpd, "switch")["switch"] == 0.5


@root_only
def test_user_and_group_by_name_and_number(httpd):
    entry = machine.other_users()[0]
    for name in ("user", "number"):
        found = seen(httpd, name)
        assert (found["uid"], found["gid"]) == (entry.pw_uid, entry.pw_gid)
    assert seen(httpd, "user")["home"] == entry.pw_dir


@root_only
def test_supplementary_groups(httpd):
    found, entry = seen(httpd, "groups"), machine.other_users()[0]
    assert entry.pw_gid in found["groups"] and len(found["groups"]) >= 2


@pytest.mark.parametrize("options", ACCEPTED)
def test_values_that_configurations_have(start, options):
    server = start(group("site", options), files=FILES)
    assert server.get("/site").status_code == 200
    server.stop()


def test_a_service_process_without_threads_imports_its_script(start):
    text = """
    WSGIDaemonProcess service threads=0
    WSGIImportScript ${FILES}/service.py process-group=service application-group=%{GLOBAL}
    """
    server = start(text, files={"service.py": "print('the service runs', flush=True)\n"})
    server.log.wait_for("the service runs")
