"""The system clock is set while httpd runs: timeouts and delays still last as long as configured.

Each test lets one limit of about a second expire. By then the clock has been wrong for a while for
everything else that waits.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal

import pytest
from httpdenv import HeldRequests, processes, wait_until
from httpdenv.clock import Clock

HOUR = 3600
REQUESTS = """
WSGIDaemonProcess patient socket-timeout=600
WSGIDaemonProcess silent socket-timeout=1
WSGIScriptAlias /patient ${APPS}/gate.wsgi process-name=patient
WSGIScriptAlias /silent ${APPS}/gate.wsgi process-name=silent
CustomLog logs/times "%{wsgid-group}n %{wsgid-queue-time}n %{wsgid-application-time}n"
"""
BROKEN = """
WSGIDaemonProcess broken
WSGIScriptAlias /broken ${FILES}/broken.wsgi process-name=broken
<Location /wsgid-status>
    SetHandler wsgid-status
</Location>
"""
STOPPING = """
WSGIDaemonProcess patient shutdown-timeout=60
WSGIDaemonProcess brief shutdown-timeout=1
"""


@pytest.fixture
def clock(gcc, tmp_path):
    return Clock(tmp_path, gcc)


@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])
def test_timeouts_of_requests_in_flight_ignore_the_clock(make_httpd, clock, step):
    httpd = make_httpd(REQUESTS, environment=clock.environment)
    patient = HeldRequests(httpd, "/patient", "patient")
    with httpd.log.expects("WSGID0167.*group 'silent'") as lines:
        silent = HeldRequests(httpd, "/silent", "silent")
        clock.set(step)
    silent.release()
    (answer,) = patient.release()
    assert answer.status_code == 200
    assert re.search(r"after [12]\d\d\d ms", lines[0].text), lines[0].text
    assert httpd.log.find("WSGID0167.*group 'patient'") == []
    log = httpd.root / "logs" / "times"
    (times,) = wait_until(
        lambda: re.findall(r"patient (\d+) (\d+)", log.read_text()), "its times in the access log"
    )
    assert 0 < sum(int(microseconds) for microseconds in times) < 60_000_000


@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])
def test_a_back_off_ignores_the_clock(make_httpd, clock, step):
    """A slot waits two seconds before its next start. Clients, the status page and the next start
    all see the right time.
    """
    httpd = make_httpd(
        BROKEN, files={"broken.wsgi": "import os\nos._exit(3)\n"}, environment=clock.environment
    )
    since = httpd.log.wait_for("WSGID0056.*next try in 2 s").position
    clock.set(step)
    answer = httpd.get("/broken")
    (group,) = (
        g for g in httpd.get("/wsgid-status?json").json()["groups"] if g["name"] == "broken"
    )
    slot = group["slots"][0]
    if not httpd.log.find(
        "WSGID0069.*was waiting, is booting", since
    ):  # otherwise this machine was too busy to check within two seconds
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) in (1, 2)
        assert slot["state"] == "waiting"
        assert 0 < slot["next_try_seconds"] <= 2
    died = httpd.log.wait_for("WSGID0056.*next try in 4 s", since)
    assert re.search(r"after \d\.\d+ s", died.text), died.text
    httpd.stop()
    httpd.log.accept_all(r"WSGID\d{4}", "Traceback", r"^ ")


def test_a_stop_gives_each_process_its_own_shutdown_timeout(make_httpd, clock):
    """Both processes are frozen, so neither leaves when asked. httpd's parent kills only the one
    with the expired timeout.
    """
    httpd = make_httpd(STOPPING, environment=clock.environment)
    pids = {name: httpd.wait_for_daemons(name, 1)[0] for name in ("patient", "brief")}
    httpd.log.wait_for(r"WSGID0053.*is ready")
    wait_until(lambda: len(httpd.log.find("WSGID0053.*is ready")) == len(pids), "both to be ready")
    patient, since = processes.find(pids["patient"]), httpd.log.mark()
    try:
        for pid in pids.values():
            os.kill(pid, signal.SIGSTOP)
        os.kill(httpd.pid, signal.SIGTERM)
        wait_until(
            lambda: len(httpd.log.find("WSGID0053.*is draining", since)) == len(pids),
            "both to be asked",
        )
        clock.set(HOUR)
        httpd.log.wait_for("WSGID0058.*group 'brief'", since)
        assert patient.is_alive
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids["patient"], signal.SIGCONT)
    wait_until(lambda: not httpd.is_running, "httpd to stop")
    assert httpd.log.find("WSGID0058.*group 'patient'") == []
