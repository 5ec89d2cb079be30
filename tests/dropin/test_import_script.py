"""Scripts that are loaded before a request comes: WSGIImportScript, and an alias with both groups."""

from __future__ import annotations

from httpdenv import wait_until

APPLICATION = """
import sys
print("loaded", sys.argv and __file__.rpartition("/")[2], flush=True)
COUNT = [0]

def application(environ, start_response):
    COUNT[0] += 1
    start_response("200 OK", [])
    return [b"request %d" % COUNT[0]]
"""
FILES = {"a.wsgi": APPLICATION, "b.wsgi": APPLICATION, "other.py": APPLICATION}
BOTH = "process-group=site application-group=%{GLOBAL}"


def loaded(server, name):
    return server.log.wait_for(f"loaded {name}", 0)


def test_an_alias_that_names_both_groups_loads_its_script(start):
    server = start(
        f"WSGIDaemonProcess site\nWSGIScriptAlias / ${{FILES}}/a.wsgi {BOTH}", files=FILES
    )
    loaded(server, "a.wsgi")


def test_a_script_that_a_url_leads_to(start):
    text = f"""
    WSGIDaemonProcess site
    WSGIImportScript ${{FILES}}/a.wsgi {BOTH}
    WSGIScriptAlias / ${{FILES}}/a.wsgi
    <Location />
        WSGIProcessGroup site
        WSGIApplicationGroup %{{GLOBAL}}
    </Location>
    """
    server = start(text, files=FILES)
    loaded(server, "a.wsgi")
    assert server.get("/").text == "request 1"
    assert len(server.log.find("loaded a.wsgi")) == 1


def test_a_script_that_no_url_leads_to(start):
    text = f"""
    WSGIDaemonProcess site
    WSGIImportScript ${{FILES}}/other.py {BOTH}
    WSGIScriptAlias / ${{FILES}}/a.wsgi {BOTH}
    """
    server = start(text, files=FILES)
    loaded(server, "other.py")
    assert server.get("/").text == "request 1"


def test_in_each_process(start):
    text = f"WSGIDaemonProcess site processes=3\nWSGIImportScript ${{FILES}}/other.py {BOTH}"
    server = start(text, files=FILES)
    wait_until(lambda: len(server.log.find("loaded other.py")) == 3, "three processes to load it")


def test_a_script_that_cannot_be_imported_does_not_end_the_group(start):
    text = f"""
    WSGIDaemonProcess site
    WSGIImportScript ${{FILES}}/broken.py {BOTH}
    WSGIScriptAlias / ${{FILES}}/a.wsgi {BOTH}
    """
    server = start(text, files=FILES | {"broken.py": "raise RuntimeError('broken at import')\n"})
    server.log.wait_for("broken at import")
    assert server.get("/").text == "request 1"
    server.stop()
    server.log.accept_all("WSGID", "broken at import", "Traceback")


def test_one_import_failure_has_one_face(start):
    text = f"""
    WSGIDaemonProcess site
    WSGIScriptAlias /both ${{FILES}}/broken.py {BOTH}
    WSGIScriptAlias /later ${{FILES}}/broken.py
    <Location /later>
        WSGIProcessGroup site
        WSGIApplicationGroup %{{GLOBAL}}
    </Location>
    """
    server = start(text, files={"broken.py": "raise RuntimeError('broken at import')\n"})
    assert {server.get("/both").status_code, server.get("/later").status_code} == {500}
    server.stop()
    server.log.accept_all("WSGID", "broken at import", "Traceback")
