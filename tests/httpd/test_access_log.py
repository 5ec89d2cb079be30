"""What access logs record about a request: the notes, in the LogFormat of conf/wsgid.conf, however
the request ended.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from httpdenv import Crowd, HeldRequests, wait_until
from httpdenv.client import curl, has_http2_curl

CONF = Path(__file__).resolve().parents[2] / "conf"
CONFIGURATION = """
WSGIDaemonProcess one threads=1
WSGIDaemonProcess impatient threads=1 queue-timeout=1
WSGIDaemonProcess silent threads=1 socket-timeout=1
WSGIDaemonProcess touch threads=4 reload=touch
WSGIDaemonProcess two processes=2 threads=1
WSGIScriptAlias /sleep ${FILES}/sleep.wsgi process-name=one
WSGIScriptAlias /raise ${FILES}/raise.wsgi process-name=one
WSGIScriptAlias /broken ${APPS}/broken.wsgi process-name=two
WSGIScriptAlias /impatient ${APPS}/gate.wsgi process-name=impatient
WSGIScriptAlias /silent ${APPS}/gate.wsgi process-name=silent
WSGIScriptAlias /touch ${FILES}/touch.wsgi process-name=touch
WSGIScriptAlias /two ${APPS}/gate.wsgi process-name=two
WSGIScriptAlias /nowhere ${APPS}/hello.wsgi process-name=nowhere
WSGIScriptAlias /documented ${FILES}/raise.wsgi process-name=one
<Location /documented>
    ErrorDocument 500 /error.txt
</Location>
CustomLog logs/access wsgid
Protocols h2c http/1.1
"""
SLEEP = """
import time
def application(environ, start_response):
    time.sleep(1 if environ["QUERY_STRING"] else 0)
    start_response("200 OK", [])
    return [b"slept"]
"""
RAISE = """
def application(environ, start_response):
    raise ValueError("on purpose")
"""
SECOND = 1_000_000  # microseconds
FIELDS = ["total", "queue", "app", "group", "slot", "pid", "retries"]


@pytest.fixture(scope="module")
def httpd(make_httpd):
    files = {"sleep.wsgi": SLEEP, "raise.wsgi": RAISE, "touch.wsgi": SLEEP, "error.txt": "sorry"}
    return make_httpd(
        (CONF / "wsgid.conf").read_text() + CONFIGURATION,
        mpm="event",
        modules=["http2"],
        files=files,
    )


def entries(httpd, path: str, count: int = 1) -> list[dict[str, str]]:
    """The fields of the `count` log lines for a path: total, queue, app ... and status."""
    log = httpd.root / "logs" / "access"

    def found() -> list[str]:
        lines = [line for line in log.read_text().splitlines() if f" {path} " in line]
        return lines if len(lines) >= count else []

    lines = wait_until(found, f"{path} in the access log")
    assert len(lines) == count, lines
    return [fields_of(line) for line in lines]


def fields_of(line: str) -> dict[str, str]:
    fields = dict(word.split("=", 1) for word in line.split('"')[2].split() if "=" in word)
    assert list(fields) == FIELDS, line
    return {**fields, "status": line.split('"')[2].split()[0]}


def entry(httpd, path: str) -> dict[str, str]:
    return entries(httpd, path)[0]


def unknown(fields: dict[str, str]) -> set[str]:
    return {name for name in FIELDS if fields[name] == "-"}


def test_a_successful_request_has_every_field(httpd):
    for number in range(2):  # the second one uses the kept-alive connection
        assert httpd.get(f"/sleep/{number}").status_code == 200
        logged = entry(httpd, f"/sleep/{number}")
        (pid,) = httpd.daemons("one")
        assert (logged["group"], logged["slot"], logged["pid"], logged["retries"]) == (
            "one",
            "0",
            str(pid),
            "0",
        )
        assert 0 < int(logged["queue"]) + int(logged["app"]) <= int(logged["total"])


@pytest.mark.skipif(not has_http2_curl(), reason="curl without HTTP/2")
def test_a_request_over_http_2(httpd):
    status, version, _ = curl(httpd.url("/sleep/h2"), "--http2-prior-knowledge")
    assert (status, version) == (200, "2")
    logged = entry(httpd, "/sleep/h2")
    assert (logged["group"], logged["pid"]) == ("one", str(httpd.daemons("one")[0]))
    assert 0 < int(logged["queue"]) + int(logged["app"]) <= int(logged["total"])


def test_a_request_that_needs_no_daemon_has_no_daemon_fields(httpd):
    assert httpd.get("/error.txt").text == "sorry"
    assert unknown(entry(httpd, "/error.txt")) == {*FIELDS[1:]}


def test_a_request_waits_in_the_queue_while_the_only_thread_runs_another(httpd):
    """The time of the first request in the application is the time of the second one in the
    queue.
    """
    crowd = Crowd(httpd, "/sleep?two", 2)
    assert [answer.text for answer in crowd.join()] == ["slept"] * 2
    first, second = sorted(entries(httpd, "/sleep?two", 2), key=lambda line: int(line["queue"]))
    assert int(first["queue"]) < int(second["queue"])
    assert int(second["queue"]) > SECOND / 4, "it was sent while the first ran"
    assert min(int(first["app"]), int(second["app"])) >= SECOND
    assert (first["pid"], first["retries"]) == (second["pid"], second["retries"])


def test_slot_and_pid_name_the_process_that_answered(httpd):
    gate = HeldRequests(httpd, "/two", "two", 2)  # one thread each, so each process runs one
    pids = {answer.text for answer in gate.release()}
    logged = entries(httpd, f"/two{httpd.files}/gate-two?two", 2)
    assert {one["pid"] for one in logged} == pids
    assert {one["slot"] for one in logged} == {"0", "1"}


def test_a_request_handed_to_the_successor_counts_one_retry(httpd):
    """reload=touch: the process that has read the request gives it back for the successor with the
    new code.
    """
    assert httpd.get("/touch").text == "slept"
    old = httpd.daemons("touch")
    httpd.write("touch.wsgi", SLEEP.replace("slept", "again"))
    assert httpd.get("/touch/again").text == "again"
    (new,) = httpd.wait_for_daemons("touch", 1, without=old)
    logged = entry(httpd, "/touch/again")
    assert (logged["pid"], logged["retries"], logged["status"]) == (str(new), "1", "200")
    assert int(logged["queue"]) > int(entry(httpd, "/touch")["queue"]), (
        "the successor had to start first"
    )


def test_an_application_that_raises_has_every_field(httpd):
    with httpd.log.expects("WSGID0340"), httpd.log.allows("Traceback", "on purpose", "raise.wsgi"):
        assert httpd.get("/raise").status_code == 500
    logged = entry(httpd, "/raise")
    assert (unknown(logged), logged["pid"]) == (set(), str(httpd.daemons("one")[0]))


def test_an_error_document_does_not_hide_the_notes_of_the_failed_request(httpd):
    """To httpd, the error document is a second request, and httpd logs the notes of that one."""
    with httpd.log.expects("WSGID0340"), httpd.log.allows("Traceback", "on purpose", "raise.wsgi"):
        answer = httpd.get("/documented")
    assert (answer.status_code, answer.text) == (500, "sorry")
    logged = entry(httpd, "/documented")
    assert (unknown(logged), logged["pid"], logged["status"]) == (
        set(),
        str(httpd.daemons("one")[0]),
        "500",
    )


def test_a_process_that_dies_during_the_response_is_named(httpd):
    before = httpd.daemons("two")
    with (
        httpd.log.expects("WSGID0052", "WSGID0166"),
        httpd.log.allows("AH00052"),
        pytest.raises(OSError),
    ):
        httpd.get("/broken/kill")
    logged = entry(httpd, "/broken/kill")
    assert int(logged["pid"]) in before
    assert int(logged["app"]) > SECOND / 20
    assert f"process {logged['pid']})" in httpd.log.find("WSGID0166")[-1].text, (
        "the exact process is known"
    )
    httpd.wait_for_daemons("two", 2, without=[int(logged["pid"])])


def test_no_answer_within_socket_timeout_has_no_daemon_times(httpd):
    """The daemon sent nothing, so nobody knows how long the request waited for a thread."""
    gate = httpd.files / "silent"
    with httpd.log.expects("WSGID0167.*silent"):
        assert httpd.get(f"/silent{gate}?silent").status_code == 504
    gate.touch()
    logged = entry(httpd, f"/silent{gate}?silent")
    assert (unknown(logged), logged["group"], logged["retries"]) == (
        {"queue", "app", "pid"},
        "silent",
        "0",
    )
    assert int(logged["total"]) >= SECOND


def test_a_request_that_waited_too_long_has_its_queue_time(httpd):
    path = f"/impatient{httpd.files}/gate-impatient?second"
    with httpd.log.expects("WSGID0(162|338).*impatient"):
        first = HeldRequests(httpd, "/impatient", "impatient")
        assert httpd.get(path).status_code == 503
        first.release()
    logged = entry(httpd, path)
    assert int(logged["queue"]) >= SECOND
    assert logged["status"] == "503"


def test_a_group_that_does_not_exist_is_named(httpd):
    with httpd.log.expects("WSGID0160"):
        assert httpd.get("/nowhere").status_code == 500
    logged = entry(httpd, "/nowhere")
    assert (logged["group"], unknown(logged)) == ("nowhere", {*FIELDS} - {"total", "group"})
