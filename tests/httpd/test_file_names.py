"""Paths that are not ASCII, or have blanks: everywhere as the file system has them."""

from __future__ import annotations

import json

import pytest

CONFIGURATION = """
WSGIDaemonProcess app home="${FILES}/h\xf6 m" python-path="${FILES}/p\u0105th s"
WSGIProcessName app
WSGIScriptAlias /at-start "${FILES}/d\xfc r/\xe4 \u0142.wsgi" process-group=app application-group=%{GLOBAL}
WSGIScriptAlias /script "${FILES}/d\xfc r/\xe4 \u0142.wsgi"
WSGIScriptAlias /directory "${FILES}/d\xfc r"
<Location />
    WSGISendfilePath "${FILES}/d\xfc r"
</Location>
"""
SCRIPT = """
import json, os, helper

def application(environ, start_response):
    headers = [("Content-Type", "text/plain")]
    if environ["QUERY_STRING"] == "raise":
        raise RuntimeError("raised")
    if environ["QUERY_STRING"] == "text":
        headers.append(("X-Sendfile", environ["SCRIPT_FILENAME"]))
    if environ["QUERY_STRING"] == "bytes":
        path = os.fsencode(environ["SCRIPT_FILENAME"]).decode("latin-1")
        headers.append(("X-Sendfile", path))
    start_response("200 OK", headers)
    names = environ["SCRIPT_FILENAME"], __file__, os.getcwd(), os.path.dirname(helper.__file__)
    return [json.dumps([name.encode().decode() for name in names]).encode()]
"""
FILES = {
    "d\xfc r/\xe4 \u0142.wsgi": SCRIPT,
    "p\u0105th s/helper.py": "",
    "h\xf6 m/empty": "",
}


@pytest.fixture(scope="module")
def httpd(make_httpd):
    server = make_httpd(CONFIGURATION, files=FILES, start=None)
    for directory in server.files.iterdir():
        directory.chmod(0o755)
    return server.start()


@pytest.mark.parametrize("url", ["/at-start", "/script", "/directory/%C3%A4%20%C5%82.wsgi"])
def test_script_home_and_python_path_have_the_names_of_the_file_system(httpd, url):
    response = httpd.get(url)
    assert response.status_code == 200
    script = str(httpd.files / "d\xfc r/\xe4 \u0142.wsgi")
    home, path = str(httpd.files / "h\xf6 m"), str(httpd.files / "p\u0105th s")
    assert json.loads(response.text) == [script, script, home, path]


@pytest.mark.parametrize("form", ["text", "bytes"])
def test_x_sendfile_takes_either_form(httpd, form):
    response = httpd.get(f"/script?{form}")
    assert (response.status_code, response.text) == (200, SCRIPT)


def test_a_traceback_names_the_script_as_httpd_writes_it(httpd):
    name = r"/d\\xc3\\xbc r/\\xc3\\xa4 \\xc5\\x82\.wsgi"
    with httpd.log.expects("File .*" + name, "Traceback", "RuntimeError: raised"):
        assert httpd.get("/script?raise").status_code == 500
