"""Directives and options about the interpreter and the scripts of a group: what mod_wsgi does with
them happens here, too.
"""

from __future__ import annotations

import os
import pwd

import pytest
from httpdenv import machine, wait_until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

SEEN = """
import builtins, json, os, sys, warnings

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    flags = sys.flags
    return [json.dumps({
        "flags": [flags.optimize, flags.dont_write_bytecode, flags.hash_randomization],
        "warnings": sys.warnoptions,
        "interval": sys.getswitchinterval(),
        "eggs": os.environ.get("PYTHON_EGG_CACHE"),
        "hash": hash("text"),
        "cwd": os.getcwd(),
        "imported": getattr(builtins, "imported", []),
        "group": environ["mod_wsgi.process_group"],
    }).encode()]
"""
IMPORT = """
import builtins
builtins.imported = [*getattr(builtins, "imported", []), __file__.rpartition("/")[2]]
"""
CONFIGURATION = """
WSGIPythonOptimize 2
WSGIPythonWarnings ignore::ImportWarning
WSGIPythonWarnings error::SyntaxWarning
WSGIPythonHashSeed 7
WSGIDontWriteBytecode On
WSGIPythonEggs /var/eggs
WSGISwitchInterval 0.02
WSGIDaemonProcess one
WSGIDaemonProcess two env=PYTHONOPTIMIZE=1 python-eggs=/var/two switch-interval=0.03 stack-size=64K
WSGIScriptAlias /one ${FILES}/seen.wsgi process-group=one
WSGIScriptAlias /two ${FILES}/seen.wsgi process-group=two
"""


def test_directives_of_the_interpreter_hold_for_each_group(serve):
    httpd = serve(CONFIGURATION, files={"seen.wsgi": SEEN})
    one, two = (httpd.get(path).json() for path in ("/one", "/two"))
    assert one["flags"] == [2, 1, 1]
    assert one["warnings"] == ["ignore::ImportWarning", "error::SyntaxWarning"]
    assert one["interval"] == pytest.approx(0.02)
    assert one["eggs"] == "/var/eggs"
    assert one["hash"] == two["hash"]
    assert two["flags"] == [1, 1, 1]
    assert two["interval"] == pytest.approx(0.03)
    assert two["eggs"] == "/var/two"


def test_without_them_nothing_changes(serve):
    httpd = serve("WSGIScriptAlias / ${FILES}/seen.wsgi", files={"seen.wsgi": SEEN})
    seen = httpd.get("/").json()
    assert (seen["flags"], seen["warnings"], seen["eggs"]) == ([0, 0, 1], [], None)
    assert seen["interval"] == pytest.approx(0.005)


# -------- the working directory


def test_without_user_and_home_the_working_directory_is_the_root(serve):
    httpd = serve("WSGIScriptAlias / ${FILES}/seen.wsgi", files={"seen.wsgi": SEEN})
    assert httpd.get("/").json()["cwd"] == "/"


@as_root
def test_with_user_it_is_that_users_home(serve):
    user = next(one for one in pwd.getpwall() if one.pw_uid and one.pw_dir == "/bin")
    line = f"WSGIDaemonProcess one user={user.pw_name}\nWSGIProcessGroup one\n"
    httpd = serve(line + "WSGIScriptAlias / ${FILES}/seen.wsgi", files={"seen.wsgi": SEEN})
    assert httpd.get("/").json()["cwd"] == os.path.realpath("/bin")


# -------- names with blanks


def test_the_name_of_a_group_may_have_blanks(serve):
    httpd = serve(
        "WSGIDaemonProcess 'my shop'\nWSGIProcessGroup 'my shop'\n"
        "WSGIScriptAlias /a ${FILES}/seen.wsgi\n"
        "WSGIScriptAlias /b ${FILES}/seen.wsgi process-group='my shop'",
        files={"seen.wsgi": SEEN},
    )
    assert [httpd.get(path).json()["group"] for path in ("/a", "/b")] == ["my shop"] * 2
    httpd.graceful()
    assert httpd.get("/a").json()["group"] == "my shop"


# -------- WSGIImportScript

WAYS = {
    "no URL": "WSGIScriptAlias /app ${FILES}/seen.wsgi process-group=one",
    "Location": "WSGIScriptAlias /app ${FILES}/seen.wsgi\n"
    "<Location /app>\nWSGIProcessGroup one\n</Location>",
    "Files": "WSGIScriptAlias /app ${FILES}/seen.wsgi\n"
    "<Files seen.wsgi>\nWSGIProcessGroup one\n</Files>",
    "Directory": "WSGIScriptAlias /app ${FILES}/seen.wsgi\n"
    "<Directory ${FILES}>\nWSGIProcessGroup one\n</Directory>",
}
IMPORTS = """
WSGIDaemonProcess one
WSGIImportScript ${FILES}/first.py process-group=one application-group=%{GLOBAL}
WSGIImportScript ${FILES}/second.py application-group=%{GLOBAL} process-group=one
"""
SCRIPTS = {"seen.wsgi": SEEN, "first.py": IMPORT, "second.py": IMPORT}


@pytest.mark.parametrize("way", WAYS)
def test_an_import_script_is_loaded_before_requests_wherever_its_group_stands(serve, way):
    httpd = serve(IMPORTS + WAYS[way], files=SCRIPTS)
    httpd.wait_for_daemons("one", 1)
    seen = httpd.get("/app").json()
    assert (seen["group"], seen["imported"]) == ("one", ["first.py", "second.py"])


def test_an_import_script_without_a_group_is_for_the_default_group(serve):
    httpd = serve(
        "WSGIDaemonProcess one\nWSGIImportScript ${FILES}/first.py application-group=%{GLOBAL}\n"
        "WSGIScriptAlias /app ${FILES}/seen.wsgi process-group=%{GLOBAL}",
        files=SCRIPTS,
    )
    assert httpd.get("/app").json()["imported"] == ["first.py"]


def test_a_script_that_is_imported_and_served_is_loaded_once(serve):
    both = IMPORT + SEEN
    httpd = serve(
        "WSGIDaemonProcess one\nWSGIImportScript ${FILES}/both.wsgi process-group=one\n"
        "WSGIScriptAlias /app ${FILES}/both.wsgi process-group=one",
        files={"both.wsgi": both},
    )
    assert httpd.get("/app").json()["imported"] == ["both.wsgi"]


def test_a_process_serves_although_an_import_script_fails(serve):
    httpd = serve(
        IMPORTS + WAYS["Location"], files={"seen.wsgi": SEEN, "second.py": IMPORT}, start=None
    )
    with httpd.log.expects("WSGID0330: script .*/first.py does not exist"):
        httpd.start()
        assert httpd.get("/app").json()["imported"] == ["second.py"]


def test_a_change_of_an_import_script_replaces_the_process(serve):
    httpd = serve(IMPORTS + WAYS["Location"], files=SCRIPTS)
    old = httpd.get("/app").json()
    httpd.write("second.py", IMPORT.replace("[2]]", "[2].upper()]"))
    wait_until(
        lambda: httpd.get("/app").json()["imported"] == ["first.py", "SECOND.PY"], "new code"
    )
    assert old["imported"] == ["first.py", "second.py"]


# -------- threads=0


def test_a_group_without_threads_is_started_again_when_its_script_fails(serve):
    service = (
        "WSGIDaemonProcess work threads=0\nWSGIImportScript ${FILES}/work.py process-group=work"
    )
    httpd = serve(service, files={"work.py": "raise RuntimeError('over')\n"}, start=None)
    with httpd.log.expects(
        "WSGID0332: script .*/work.py cannot be loaded: RuntimeError: over",
        "WSGID0306",
        "WSGID0056",
    ):
        httpd.start()
        wait_until(lambda: len(httpd.log.find("WSGID0332")) >= 2, "a second attempt")
        httpd.stop()


# -------- script-user=, script-group=


@as_root
@pytest.mark.parametrize(("option", "kind"), [("user", 0), ("group", 1)])
def test_a_script_of_another_owner_is_not_loaded(serve, option, kind):
    owner = machine.other_users()[0]
    ids = [-1, -1]
    ids[kind] = (owner.pw_uid, owner.pw_gid)[kind]
    httpd = serve(
        f"WSGIDaemonProcess one script-{option}=#{ids[kind]}\nWSGIProcessGroup one\n"
        "WSGIScriptAlias /good ${FILES}/good.wsgi process-group=%{ENV:G}\n"
        "WSGIScriptAlias /bad ${FILES}/bad.wsgi process-group=%{ENV:G}\nSetEnv G one\n",
        files={"good.wsgi": SEEN, "bad.wsgi": IMPORT + SEEN},
        start=None,
    )
    os.chown(httpd.files / "good.wsgi", *ids)
    httpd.start()
    with httpd.log.expects(
        f"WSGID0035: script .*/bad.wsgi is not loaded.*script-{option}= demands"
    ):
        assert httpd.get("/bad").status_code in (500, 503)
    assert httpd.get("/good").json()["imported"] == []
