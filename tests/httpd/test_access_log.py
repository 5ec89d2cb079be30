"""What access logs can show of a request: the notes, in the LogFormat of conf/wsgid.conf, however
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
    """The lines of so many requests for a path, by their fields: total, queue, app ... and
    status."""
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


def unknown(said: dict[str, str]) -> set[str]:
    return {name for name in FIELDS if said[name] == "-"}


def test_a_request_that_all_went_well_with(httpd):
    for number in range(2):  # the second one on a connection that is kept
        assert httpd.get(f"/sleep/{number}").status_code == 200
        said = entry(httpd, f"/sleep/{number}")
        (pid,) = httpd.daemons("one")
        assert (said["group"], said["slot"], said["pid"], said["retries"]) == (
            "one",
            "0",
            str(pid),
            "0",
        )
        assert 0 < int(said["queue"]) + int(said["app"]) <= int(said["total"])


@pytest.mark.skipif(not has_http2_curl(), reason="curl without HTTP/2")
def test_a_request_over_http_2(httpd):
    status, version, _ = curl(httpd.url("/sleep/h2"), "--http2-prior-knowledge")
    assert (status, version) == (200, "2")
    said = entry(httpd, "/sleep/h2")
    assert (said["group"], said["pid"]) == ("one", str(httpd.daemons("one")[0]))
    assert 0 < int(said["queue"]) + int(said["app"]) <= int(said["total"])


def test_what_needs_no_daemon_has_nothing_to_say(httpd):
    assert httpd.get("/error.txt").text == "sorry"
    assert unknown(entry(httpd, "/error.txt")) == {*FIELDS[1:]}


def test_two_requests_at_once_and_one_thread(httpd):
    """What the one that is first has as time of the application, the other has as time in the
    queue.
    """
    crowd = Crowd(httpd, "/sleep?two", 2)
    assert [answer.text for answer in crowd.join()] == ["slept"] * 2
    first, second = sorted(entries(httpd, "/sleep?two", 2), key=lambda said: int(said["queue"]))
    assert int(first["queue"]) < int(second["queue"])
    assert int(second["queue"]) > SECOND / 4, "sent while the first ran"
    assert min(int(first["app"]), int(second["app"])) >= SECOND
    assert (first["pid"], first["retries"]) == (second["pid"], second["retries"])


def test_each_process_has_its_slot_and_pid(httpd):
    gate = HeldRequests(httpd, "/two", "two", 2)  # one thread each: so both processes have one
    pids = {answer.text for answer in gate.release()}
    said = entries(httpd, f"/two{httpd.files}/gate-two?two", 2)
    assert {one["pid"] for one in said} == pids
    assert {one["slot"] for one in said} == {"0", "1"}


def test_a_request_that_was_sent_again(httpd):
    """reload=touch: the process that has read it gives it back for the successor with the new
    code."""
    assert httpd.get("/touch").text == "slept"
    old = httpd.daemons("touch")
    httpd.write("touch.wsgi", SLEEP.replace("slept", "again"))
    assert httpd.get("/touch/again").text == "again"
    (new,) = httpd.wait_for_daemons("touch", 1, without=old)
    said = entry(httpd, "/touch/again")
    assert (said["pid"], said["retries"], said["status"]) == (str(new), "1", "200")
    assert int(said["queue"]) > int(entry(httpd, "/touch")["queue"]), (
        "the successor had to start first"
    )


def test_an_application_that_raises(httpd):
    with httpd.log.expects("WSGID0340"), httpd.log.allows("Traceback", "on purpose", "raise.wsgi"):
        assert httpd.get("/raise").status_code == 500
    said = entry(httpd, "/raise")
    assert (unknown(said), said["pid"]) == (set(), str(httpd.daemons("one")[0]))


def test_an_error_document_does_not_hide_it(httpd):
    """It is another request for httpd, whose notes are the ones that are logged."""
    with httpd.log.expects("WSGID0340"), httpd.log.allows("Traceback", "on purpose", "raise.wsgi"):
        answer = httpd.get("/documented")
    assert (answer.status_code, answer.text) == (500, "sorry")
    said = entry(httpd, "/documented")
    assert (unknown(said), said["pid"], said["status"]) == (
        set(),
        str(httpd.daemons("one")[0]),
        "500",
    )


def test_a_process_that_dies_in_the_middle(httpd):
    before = httpd.daemons("two")
    with (
        httpd.log.expects("WSGID0052", "WSGID0166"),
        httpd.log.allows("AH00052"),
        pytest.raises(OSError),
    ):
        httpd.get("/broken/kill")
    said = entry(httpd, "/broken/kill")
    assert int(said["pid"]) in before
    assert int(said["app"]) > SECOND / 20
    assert f"process {said['pid']})" in httpd.log.find("WSGID0166")[-1].text, (
        "which one is known exactly"
    )
    httpd.wait_for_daemons("two", 2, without=[int(said["pid"])])


def test_no_answer_within_socket_timeout(httpd):
    """Nothing came from the daemon, so nothing is known of how long it waited for a thread."""
    gate = httpd.files / "silent"
    with httpd.log.expects("WSGID0167.*silent"):
        assert httpd.get(f"/silent{gate}?silent").status_code == 504
    gate.touch()
    said = entry(httpd, f"/silent{gate}?silent")
    assert (unknown(said), said["group"], said["retries"]) == (
        {"queue", "app", "pid"},
        "silent",
        "0",
    )
    assert int(said["total"]) >= SECOND


def test_a_request_that_waited_too_long(httpd):
    path = f"/impatient{httpd.files}/gate-impatient?second"
    with httpd.log.expects("WSGID0(162|338).*impatient"):
        first = HeldRequests(httpd, "/impatient", "impatient")
        assert httpd.get(path).status_code == 503
        first.release()
    said = entry(httpd, path)
    assert int(said["queue"]) >= SECOND
    assert said["status"] == "503"


def test_a_group_that_is_not_there(httpd):
    with httpd.log.expects("WSGID0160"):
        assert httpd.get("/nowhere").status_code == 500
    said = entry(httpd, "/nowhere")
    assert (said["group"], unknown(said)) == ("nowhere", {*FIELDS} - {"total", "group"})
