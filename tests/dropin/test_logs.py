"""What an application prints and logs, and its standard streams."""

from __future__ import annotations

import pytest

CONFIGURATION = """
WSGIDaemonProcess site threads=3
WSGIProcessGroup site
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /site ${FILES}/site.wsgi
WSGIScriptAlias /imported ${FILES}/imported.wsgi
"""
SCRIPT = """
import logging, os, sys, warnings

def prints(environ): print("via print")
def prints_flush(environ): print("via print flush", flush=True)
def stderr(environ): sys.stderr.write("via stderr\\n")
def two_lines(environ): print("first line\\nsecond line")
def partial(environ): sys.stdout.write("half a "); sys.stdout.write("line\\n")
def errors(environ): environ["wsgi.errors"].write("via wsgi.errors\\n")
def errors_print(environ): print("printed to errors", file=environ["wsgi.errors"])
def errors_writelines(environ): environ["wsgi.errors"].writelines(["one of ", "writelines\\n"])
def errors_flush(environ): environ["wsgi.errors"].write("flushed"); environ["wsgi.errors"].flush()
def errors_buffer(environ): environ["wsgi.errors"].buffer.write(b"via errors.buffer\\n"); environ["wsgi.errors"].flush()
def stdout_buffer(environ): sys.stdout.buffer.write(b"via stdout.buffer\\n"); sys.stdout.flush()
def stdout_writelines(environ): sys.stdout.buffer.writelines([b"via buffer.", b"writelines\\n"]); sys.stdout.flush()
def unicode(environ): print("via pr\\xefnt \\u20ac")
def logs(environ): logging.getLogger("mine").warning("via logging")
def warns(environ): warnings.warn("via warnings")
def original(environ): sys.__stderr__.write("via __stderr__\\n"); sys.__stderr__.flush()
def encoding(environ): print("encoding is", sys.stdout.encoding, environ["wsgi.errors"].encoding)
def isatty(environ): print("tty:", sys.stdout.isatty(), sys.stdin.read())
def empty_lines(environ): print("\\n\\nafter empty lines")

def application(environ, start_response):
    globals()[environ["PATH_INFO"].strip("/")](environ)
    start_response("200 OK", [])
    return [b"done"]
"""
DETACHED = """
import io, sys

sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding="utf-8", line_buffering=True)
sys.stderr = io.TextIOWrapper(sys.stderr.detach(), encoding="utf-8", line_buffering=True)
print("after detach()")

def application(environ, start_response):
    print("printed after detach()")
    start_response("200 OK", [])
    return [b"done"]
"""
IMPORTED = """
print("printed at import")
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"done"]
"""
LINES = {
    "prints": "via print",
    "prints_flush": "via print flush",
    "stderr": "via stderr",
    "two_lines": "second line",
    "partial": "half a line",
    "errors": "via wsgi.errors",
    "errors_print": "printed to errors",
    "errors_writelines": "one of writelines",
    "errors_flush": "flushed",
    "errors_buffer": "via errors.buffer",
    "stdout_buffer": "via stdout.buffer",
    "stdout_writelines": "via buffer.writelines",
    "logs": "via logging",
    "warns": "via warnings",
    "original": "via __stderr__",
    "encoding": "encoding is utf-8 utf-8",
    "isatty": "tty: False",
    "empty_lines": "after empty lines",
    "unicode": "via pr",
}


@pytest.fixture(scope="module")
def httpd(start):
    files = {"site.wsgi": SCRIPT, "imported.wsgi": IMPORTED}
    return start(CONFIGURATION, files=files)


@pytest.mark.parametrize("name", LINES)
def test_what_is_written_is_in_the_log(httpd, name):
    with httpd.log.expects(LINES[name]):
        assert httpd.get(f"/site/{name}").text == "done"


def test_detached_streams(start):
    server = start(CONFIGURATION, files={"site.wsgi": DETACHED})
    with server.log.expects("printed after detach"):
        assert server.get("/site").text == "done"


def test_what_is_printed_at_import(httpd):
    since = 0
    httpd.get("/imported")
    httpd.log.wait_for("printed at import", since)
