"""`logging`: levels, LogLevel, records of several lines; and the request id, by which all lines of
a request can be found.
"""

from __future__ import annotations

import re

import pytest
from httpdenv import wait_until

CONFIGURATION = """
LogLevel warn
LogFormat "%L %U" ids
WSGIDaemonProcess talker
WSGIDaemonProcess configured threads=1
WSGIProcessName talker
WSGIScriptAlias /records ${APPS}/records.wsgi
WSGIScriptAlias /loud ${APPS}/records.wsgi
WSGIScriptAlias /configured ${APPS}/records.wsgi process-name=configured
WSGIScriptAlias /nowhere ${APPS}/nowhere.wsgi
<Location /loud>
    LogLevel wsgid:info
</Location>
<VirtualHost 127.0.0.1:${PORT}>
    CustomLog logs/access_log ids
</VirtualHost>
<VirtualHost 127.0.0.1:${OWN_PORT}>
    ErrorLog logs/own_error_log
    LogLevel wsgid:debug
</VirtualHost>
<VirtualHost 127.0.0.1:${FORMAT_PORT}>
    ErrorLog logs/formatted
    ErrorLogFormat "%l %L %M"
    CustomLog logs/formatted_access_log ids
</VirtualHost>
"""
ID = re.compile(r"\[request (\S+)\] ")


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION)


@pytest.fixture
def own_log(httpd):
    return httpd.log_of("own_error_log")


def logged(log, text: str, since: int) -> list[tuple[str, str]]:
    """The (level, message) of each record that contains `text`."""
    return [(record.level, record.message) for record in log.find(text, since)]


def lines_of(log, name: str, since: int = 0) -> list[str]:
    """Every line of the file that contains `name`."""
    with log.path.open(encoding="utf-8") as file:
        file.seek(since)
        return [line.rstrip("\n") for line in file if name in line]


def wait_for_access(httpd, name: str, line: str) -> None:
    """Waits for the line, because the access log is written after the response."""
    path = httpd.root / "logs" / name
    wait_until(
        lambda: path.exists() and line in path.read_text(),
        lambda: f"{line!r} in {path.read_text()}",
        10,
    )


ALL = ["debug", "info", "warning", "error", "critical"]
HTTPDS = dict(zip(ALL, ["debug", "info", "warn", "error", "crit"], strict=True))


@pytest.mark.parametrize(
    ("path", "port", "shown"),
    [("/records", "PORT", ALL[2:]), ("/loud", "PORT", ALL[1:]), ("/records", "OWN_PORT", ALL)],
)
def test_records_keep_their_level_and_are_filtered_by_the_loglevel_of_their_request(
    httpd, own_log, path, port, shown
):
    log = own_log if port == "OWN_PORT" else httpd.log
    text = f"sold-{path.strip('/')}-{port}"
    since = log.mark()
    with log.expects(f"{text} warning", f"{text} error", f"{text} critical"):
        httpd.get(f"{path}/levels?{text}", port=port)
    assert logged(log, text, since) == [
        (HTTPDS[name], f"shop.cart: {text} {name}") for name in shown
    ]


def test_records_outside_requests_go_to_the_groups_log_filtered_by_its_loglevel(httpd, own_log):
    since = own_log.mark()
    with httpd.log.expects("from a thread") as lines:
        httpd.get("/records/thread?from a thread", port="OWN_PORT")
    assert [line.text for line in lines] == ["[group talker] shop.cart: from a thread"]
    assert logged(own_log, "from a thread", since) == []
    assert httpd.log.find("imported") == []  # an info record, logged at import


def test_a_record_logged_at_import_keeps_its_level(make_httpd):
    httpd = make_httpd(
        "LogLevel wsgid:info\nWSGIScriptAlias /records ${APPS}/records.wsgi\nWSGIDaemonProcess unit\n"
        "WSGIProcessName unit\n"
    )
    with httpd.log.allows("x"):
        httpd.get("/records/levels?x")
    assert httpd.log.find("shop.cart: imported")[0].level == "info"


def test_a_traceback_is_one_record_with_marked_lines(httpd):
    with httpd.log.expects("broken failed") as lines:
        name = httpd.get("/records/exception?broken").headers["X-Request-Id"]
    assert len(lines) == 1
    whole = r"shop\.cart: broken failed\nTraceback \(most.*\n  File .*ValueError: broken"
    assert re.fullmatch(whole, lines[0].message, re.S)
    first, *others = [line.split(f"[request {name}] ")[1] for line in lines_of(httpd.log, name)]
    assert first == "shop.cart: broken failed"
    assert others[0] == "| Traceback (most recent call last):"
    assert others[-1] == "| ValueError: broken"
    assert all(line.startswith("| ") for line in others)


def test_no_message_can_forge_another_line(httpd):
    with httpd.log.expects("forged") as lines:
        httpd.get(
            "/records/exception?forged%0a[Mon Jul 06 08:00:00.000000 2026] [core:error] mine%0d%0a| not mine"
        )
    assert len(lines) == 1
    assert {record.module for record in httpd.log.find("mine")} == {"wsgid"}


def test_a_long_line_is_logged_whole(httpd):
    with httpd.log.expects("lengthy") as lines:
        name = httpd.get("/records/long?lengthy").headers["X-Request-Id"]
    assert lines[0].text.count(r"\xe2\x82\xac") == 10000
    assert max(map(len, lines_of(httpd.log, name))) < 8000


def test_the_request_id_finds_every_line_about_a_request(httpd):
    """Also in the access log, although httpd makes no id unless it logs a line of its own."""
    patterns = [
        "once printed",
        "once on stderr",
        "once\nrecorded",
        "once to wsgi.errors",
        "Traceback",
        "WSGID0340: ",
    ]
    since = httpd.log.mark()
    with httpd.log.expects(*patterns) as lines:
        assert httpd.get("/records/everywhere?once").status_code == 500
    names = {ID.search(record.text)[1] for record in lines}
    assert len(names) == 1
    found = lines_of(httpd.log, names.pop(), since)
    assert len(found) == len(lines_of(httpd.log, "", since))
    assert [line for line in found if "WSGID0340 | Traceback" in line]
    assert [line.rpartition("] ")[2] for line in found if "recorded" in line] == ["| recorded"]
    wait_for_access(httpd, "access_log", f"{ID.search(found[0])[1]} /records/everywhere\n")


def test_httpds_own_lines_about_a_request_have_the_id_too(httpd):
    with httpd.log.expects("WSGID0151") as lines:
        assert httpd.get("/nowhere").status_code == 404
    wait_for_access(httpd, "access_log", f"{ID.search(lines[0].text)[1]} /nowhere\n")


def test_lines_logged_by_close_have_the_id_although_the_response_is_sent(httpd):
    with httpd.log.expects("afterwards closed") as lines:
        name = httpd.get("/records/close?afterwards").headers["X-Request-Id"]
    assert [line.text for line in lines] == [
        f"[group talker] [request {name}] shop.cart: afterwards closed"
    ]


def test_an_errorlogformat_with_the_id_shows_it_once(httpd):
    with httpd.log.expects("formatted on stderr") as others:
        assert httpd.get("/records/everywhere?formatted", port="FORMAT_PORT").status_code == 500
    log = httpd.root / "logs" / "formatted"
    wait_until(lambda: "WSGID0340: " in log.read_text(), lambda: log.read_text(), 10)
    lines = log.read_text().splitlines()
    names = {line.split(" ")[1] for line in lines}
    assert names == {ID.search(others[0].text)[1]}
    assert "[request " not in "".join(lines)
    wait_for_access(httpd, "formatted_access_log", f"{names.pop()} /records/everywhere\n")


def test_basicconfig_works_as_documented_and_nothing_is_logged_twice(httpd, own_log):
    """Also when it is called late, and where LogLevel has let debug records through before."""
    before = own_log.mark()
    with own_log.expects("before warning", "before error", "before critical"):
        httpd.get("/configured/levels?before", port="OWN_PORT")
    since = httpd.log.mark()
    with httpd.log.expects("late info", "late\nerror", "after critical"):
        httpd.get("/configured/configure?late", port="OWN_PORT")
        httpd.get("/configured/levels?after", port="OWN_PORT")
    httpd.log.accept_all("by itself: after")
    assert logged(httpd.log, "late", since) == [
        ("warn", "INFO by itself: late info"),
        ("error", "ERROR by itself: late\nerror"),
    ]
    assert logged(httpd.log, "after", since) == [
        ("warn", "INFO by itself: after info"),
        ("warn", "WARNING by itself: after warning"),
        ("error", "ERROR by itself: after error"),
        ("crit", "CRITICAL by itself: after critical"),
    ]
    assert own_log.find("after", before) == []


def test_a_record_written_by_a_streamhandler_is_not_logged_again(httpd):
    with httpd.log.expects("console once", "console too") as lines:
        httpd.get("/records/handler?console")
    assert [(line.level, line.message) for line in lines] == [
        ("warn", "console: console once"),
        ("error", "console: console too"),
    ]


def test_mod_unique_id_provides_the_id_and_httpds_lines_about_a_request_still_appear(
    make_httpd,
):
    """ErrorLogFormat request: httpd writes this line when it makes the id, so making it must be
    left to httpd.
    """
    httpd = make_httpd(
        """
        LogLevel warn
        WSGIDaemonProcess talker
        WSGIProcessName talker
        WSGIScriptAlias /records ${APPS}/records.wsgi
        WSGIScriptAlias /environ ${APPS}/environ.wsgi
        <VirtualHost 127.0.0.1:${PORT}>
        </VirtualHost>
        <VirtualHost 127.0.0.1:${OWN_PORT}>
            ErrorLog logs/announced
            ErrorLogFormat request "request %L begins"
            ErrorLogFormat "%l %L %M"
        </VirtualHost>
    """,
        modules=["unique_id"],
    )
    environ = httpd.get("/environ").json()
    assert environ["mod_wsgi.request_id"] == environ["UNIQUE_ID"]
    with httpd.log.expects("unique failed") as lines:
        name = httpd.get("/records/exception?unique").headers["X-Request-Id"]
    assert f"[request {name}] " in lines[0].text
    name = httpd.get("/records/exception?announced", port="OWN_PORT").headers["X-Request-Id"]
    announced = (httpd.root / "logs" / "announced").read_text().splitlines()
    assert announced[:2] == [f"request {name} begins", f"error {name} shop.cart: announced failed"]
    assert [line for line in announced if name not in line] == []
