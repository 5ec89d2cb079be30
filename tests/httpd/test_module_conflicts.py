"""Scripts of one application group that have modules of the same name: the one that gets the wrong
module says so.
"""

from __future__ import annotations

import re

import pytest
from httpdenv import wait_until

SITE = """
import os, sys
sys.path.insert(0, os.path.dirname(__file__))
from app import NAME

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [NAME.encode()]
"""
FILES = {
    "a/site.wsgi": SITE,
    "a/app.py": "NAME = 'a'",
    "b/site.wsgi": SITE,
    "b/app.py": "NAME = 'b'",
}
GROUP = "WSGIDaemonProcess shop processes=1\nWSGIProcessName shop\n"


def aliases(order: str) -> str:
    lines = [f"WSGIScriptAlias /{name} ${{FILES}}/{name}/site.wsgi" for name in order]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("choice", "shown"),
    [("WSGIApplicationGroup %{GLOBAL}", "%{GLOBAL}"), ("WSGIApplicationGroup both", "both")],
)
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_the_second_script_is_reported_once_and_again_after_a_reload(serve, order, choice, shown):
    httpd = serve(GROUP + choice + "\n" + aliases(order), files=FILES, together=False)
    first, second = (httpd.root / "files" / name for name in order)
    for _ in range(3):
        assert [httpd.get(f"/{name}/").text for name in order] == [order[0]] * 2
    (record,) = httpd.log.find("WSGID0379")
    assert record.level == "error"
    assert (
        f"script {second}/site.wsgi imports 'app' and gets {first}/app.py, which "
        f"{first}/site.wsgi has loaded into the same process, in the place of {second}/app.py: "
        f"remove WSGIApplicationGroup {shown}, so that each script has processes of its own, or "
        "give this one another WSGIApplicationGroup"
    ) in record.text
    httpd.write("b/site.wsgi", SITE + "\n")
    wait_until(lambda: len(httpd.log.find("WSGID0303")) == 2, "the new process")
    assert len(httpd.log.find("WSGID0379")) == 2


@pytest.mark.parametrize("order", ["ab", "ba"])
@pytest.mark.parametrize("way", ["", "WSGIApplicationGroup %{RESOURCE}", "another"])
def test_the_fixes_that_the_line_names_work(serve, order, way):
    text = aliases(order)
    if way == "another":
        text = "WSGIApplicationGroup %{GLOBAL}\n" + text.replace(
            "b/site.wsgi", "b/site.wsgi application-group=other"
        )
    httpd = serve(
        GROUP + ("" if way == "another" else way) + "\n" + text, files=FILES, together=False
    )
    for name in 2 * order:
        assert httpd.get(f"/{name}/").text == name
    assert httpd.log.find("WSGID0379") == []


def test_a_script_that_a_request_loads_is_compared_too(serve):
    httpd = serve(
        GROUP + "WSGIApplicationGroup %{GLOBAL}\nWSGIScriptAlias /sites ${FILES}",
        files=FILES,
        together=False,
    )
    assert httpd.get("/sites/b/site.wsgi").text == "b"
    assert httpd.log.find("WSGID0379") == []
    for _ in range(2):
        assert httpd.get("/sites/a/site.wsgi").text == "b"
    record = httpd.log.wait_for("WSGID0379")
    assert re.search("script .*/a/site.wsgi imports 'app' and gets .*/b/app.py", record.text)
    assert len(httpd.log.find("WSGID0379")) == 1


def test_an_import_that_fails_for_that_reason_is_explained(serve):
    """The traceback alone names the other site's file, without a reason."""
    files = FILES | {
        "b/site.wsgi": SITE.replace("NAME", "TITLE"),
        "b/app.py": "TITLE = 'b'",
    }
    httpd = serve(
        GROUP + "WSGIApplicationGroup %{GLOBAL}\n" + aliases("ab"), files=files, together=False
    )
    assert httpd.get("/b/").status_code == 500
    assert len(httpd.log.find("WSGID0379.*/b/site.wsgi imports 'app'")) == 1
    assert httpd.log.find("WSGID0332.*cannot import name 'TITLE'")
