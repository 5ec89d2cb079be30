"""Where an application's output goes: wsgi.errors to the virtual host's ErrorLog, everything else
to the group's.
"""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

CONFIGURATION = """
WSGIDaemonProcess talker
WSGIProcessName talker
WSGIScriptAlias /errors ${APPS}/errors.wsgi
WSGIScriptAlias /output ${APPS}/output.wsgi
WSGIScriptAlias /rules ${APPS}/rules.wsgi
WSGIDaemonProcess wrapper
WSGIScriptAlias /wrapped ${FILES}/wrapped.wsgi process-name=wrapper
<VirtualHost 127.0.0.1:${PORT}>
</VirtualHost>
<VirtualHost 127.0.0.1:${OWN_PORT}>
    ErrorLog logs/own_error_log
</VirtualHost>
"""

# What many programs begin with, so that they can print anything.
WRAPPED = """
import io, sys

sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding="utf-8", line_buffering=True)
print("wrapped at import", __name__)


def application(environ, start_response):
    print("wrapped in a request")
    environ["wsgi.errors"].buffer.write(b"bytes for wsgi.errors\\n")
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION, files={"wrapped.wsgi": WRAPPED})


@pytest.fixture
def own_log(httpd):
    return httpd.log_of("own_error_log")


def test_wsgi_errors_are_logged_at_error_with_the_clients_address(httpd):
    with httpd.log.expects("^.client 127.0.0.1:.* marked one", "marked two") as lines:
        httpd.get("/errors/lines?marked")
    assert [line.level for line in lines] == ["error", "error"]
    assert {line.module for line in lines} == {"wsgid"}


def test_wsgi_errors_go_to_the_virtual_hosts_log(httpd, own_log):
    before = httpd.log.mark()
    with own_log.expects("elsewhere one", "elsewhere two"):
        httpd.get("/errors/lines?elsewhere", port="OWN_PORT")
    assert httpd.log.find("elsewhere", before) == []


def test_a_line_written_in_pieces_is_one_line(httpd):
    with httpd.log.expects("piecemeal") as lines:
        httpd.get("/errors/pieces?piecemeal")
    assert [line.message for line in lines] == ["piecemeal in pieces"]


def test_writelines_logs_each_line(httpd):
    with httpd.log.expects("several a", "several b") as lines:
        httpd.get("/errors/writelines?several")
    assert [line.message for line in lines] == ["several a", "several b"]


def test_an_unfinished_line_is_logged_at_the_end_of_the_request(httpd):
    with httpd.log.expects("dangling unfinished"):
        httpd.get("/errors/unfinished?dangling")


def test_control_characters_cannot_forge_a_line(httpd):
    with httpd.log.expects("^.client .* one$", "^.client .* two$") as lines:
        httpd.get("/errors/lines?forger%0d%1b[31m")
        httpd.get("/errors/lines?forger")
    assert all("\x1b" not in line.text for line in lines)


def test_wsgi_errors_outside_ascii_arrive(httpd):
    with httpd.log.expects("h.*llo.* one", "h.*llo.* two"):
        httpd.get("/errors/lines?h%C3%A9llo%E2%98%83")


@pytest.mark.parametrize(
    ("path", "level"), [("print", "notice"), ("unfinished", "notice"), ("stderr", "warn")]
)
def test_output_goes_to_the_groups_log_with_its_level_and_group(httpd, own_log, path, level):
    """Also from a request to another virtual host, and with the request's id."""
    before = own_log.mark()
    with httpd.log.expects(f"text-{path}") as lines:
        httpd.get(f"/output/{path}?text-{path}", port="OWN_PORT")
    assert [line.level for line in lines] == [level]
    assert lines[0].text.startswith("[group talker] [request ")
    assert own_log.find(f"text-{path}", before) == []


def test_a_whole_traceback_goes_to_the_virtual_hosts_log(httpd, own_log):
    with own_log.expects(
        r"WSGID03\d\d", "Traceback", "in raised", "RuntimeError: raised by the application"
    ):
        assert httpd.get("/rules/raise", port="OWN_PORT").status_code == 500


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
def test_every_line_has_the_time_zone_of_httpd_even_if_the_application_sets_another(
    make_httpd, zone
):
    """Django sets the zone from TIME_ZONE. Lines of a daemon appear among httpd's own."""
    chicago = "import os, time\nos.environ['TZ'] = 'America/Chicago'\ntime.tzset()\nprint('logged here')\n"
    httpd = make_httpd(
        "WSGIDaemonProcess app\nWSGIScriptAlias / ${FILES}/app.wsgi process-name=app\n",
        files={
            "app.wsgi": f"import time\nprint('zone', time.tzname[0])\n{chicago}application = print\n"
        },
        environment={"TZ": zone} if zone else {},
    )
    line = httpd.log.wait_for("logged here")
    stamp = re.search(
        r"\[(\w{3} \w{3} \d\d \d\d:\d\d:\d\d)\.\d+ (\d{4})\].*logged here", httpd.log_text()
    )
    at = datetime.strptime(" ".join(stamp.groups()), "%a %b %d %H:%M:%S %Y")
    now = datetime.now(ZoneInfo(zone) if zone else None).replace(tzinfo=None)
    assert abs((now - at).total_seconds()) < 60, line
    if zone:
        httpd.log.wait_for("zone JST")
    httpd.log.accept_all("zone|logged here")


def test_a_script_may_put_a_wrapper_around_the_bytes_of_a_stream(httpd):
    since = httpd.log.mark()
    with httpd.log.expects("bytes for wsgi.errors"):
        assert httpd.get("/wrapped").status_code == 200
    assert httpd.log.wait_for("wrapped at import _mod_wsgi_")
    assert httpd.log.wait_for("wrapped in a request", since)
