"""threads=0: a process that only imports its script, to work in the background."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from httpdenv import machine, wait_until

SCRIPT = """
import atexit, os, threading, time



def note(what):
    with open("NOTES", "a") as file:
        file.write("%s %d\\n" % (what, os.getpid()))


def work():
    while not stopping.wait(0.02):
        pass
    note("stopped")


stopping = threading.Event()
thread = threading.Thread(target=work)
thread.start()
atexit.register(note, "exit")
threading._register_atexit(stopping.set)
note("WORD")


def application(environ, start_response):
    note("called")
"""
CONFIGURATION = """
WSGIDaemonProcess jobs threads=0
WSGIDaemonProcess site
WSGIScriptAlias /jobs ${FILES}/jobs.wsgi process-name=jobs
WSGIScriptAlias /hello ${APPS}/hello.wsgi process-name=site
"""


@pytest.fixture(scope="module")
def notebook():
    """A file that the daemons' user can write to."""
    directory = machine.temporary_directory("wsgid-notes-")
    directory.chmod(0o777)
    yield directory / "notes"
    subprocess.run(["rm", "-rf", directory], check=True)


@pytest.fixture(scope="module")
def script(notebook):
    """script(WORD): what the process imports; it notes WORD then."""
    return lambda word: SCRIPT.replace("NOTES", str(notebook)).replace("WORD", word)


@pytest.fixture(scope="module")
def httpd(make_httpd, script):
    httpd = make_httpd(CONFIGURATION, files={"jobs.wsgi": script("first")})
    httpd.log.wait_for("WSGID0303: group 'jobs': ready: .*0 threads")
    return httpd


@pytest.fixture
def notes(notebook):
    return lambda: notebook.read_text().splitlines() if notebook.exists() else []


@pytest.fixture
def noted(notes):
    return lambda what: wait_until(lambda: what in notes(), what)


def test_the_script_is_imported_at_start_without_a_request(httpd, noted):
    (pid,) = httpd.daemons("jobs")
    noted(f"first {pid}")


def test_a_request_gets_one_clear_error_and_other_groups_serve(httpd, notes):
    with httpd.log.expects("WSGID0372: group 'jobs' has threads=0.*raise threads=") as found:
        assert httpd.get("/jobs").status_code == 500
    assert len(found) == 1
    assert httpd.get("/hello").status_code == 200
    assert not [note for note in notes() if note.startswith("called")]


def test_it_is_started_again_when_it_is_killed(httpd, noted):
    (old,) = httpd.daemons("jobs")
    with httpd.log.expects("WSGID005.*jobs"):
        os.kill(old, signal.SIGKILL)
        httpd.wait_for_daemons("jobs", 1, without=[old])
    (pid,) = httpd.daemons("jobs")
    noted(f"first {pid}")


def test_it_is_reloaded_when_its_script_changes_and_its_threads_end(httpd, noted, script):
    old = httpd.daemons("jobs")
    httpd.write("jobs.wsgi", script("second"))
    httpd.wait_for_daemons("jobs", 1, without=old)
    (pid,) = httpd.daemons("jobs")
    noted(f"second {pid}")
    noted(f"stopped {old[0]}")
    noted(f"exit {old[0]}")


def test_a_graceful_restart_and_a_stop_end_it_like_any_other(httpd, noted, notes):
    old = httpd.daemons("jobs")
    httpd.graceful()
    httpd.wait_for_daemons("jobs", 1, without=old)
    noted(f"exit {old[0]}")
    (pid,) = httpd.daemons("jobs")
    httpd.stop()
    assert f"exit {pid}" in notes()
