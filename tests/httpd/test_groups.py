"""Which daemon group serves a request, and which of its processes."""

from __future__ import annotations

import os

import pytest
from httpdenv import HeldRequests, wait_until

CONFIGURATION = """
WSGIDaemonProcess single
WSGIDaemonProcess three processes=3 threads=2
WSGIDaemonProcess www.named.example:${NAMED_PORT}
WSGIDaemonProcess once processes=1

WSGIScriptAlias /single ${APPS}/whoami.wsgi process-name=single
WSGIScriptAlias /three/gate ${APPS}/gate.wsgi process-name=three
WSGIScriptAlias /three/environ ${APPS}/environ.wsgi process-group=three
WSGIScriptAlias /three ${APPS}/whoami.wsgi process-group=three
WSGIScriptAlias /once ${APPS}/environ.wsgi process-name=once
WSGIScriptAlias /global ${APPS}/environ.wsgi process-name=%{GLOBAL}
WSGIScriptAlias /default ${APPS}/environ.wsgi
WSGIScriptAlias /unknown ${APPS}/environ.wsgi process-name=%{ENV:UNKNOWN}
WSGIScriptAlias /variable ${APPS}/environ.wsgi process-name=%{ENV:CHOSEN}
WSGIScriptAlias /location ${APPS}/environ.wsgi
WSGIScriptAlias /alias ${APPS}/environ.wsgi
WSGIScriptAlias /other-callable ${APPS}/callables.wsgi callable-object=other
WSGIScriptAlias /callable ${APPS}/callables.wsgi
WSGIScriptAlias /no-callable ${APPS}/callables.wsgi process-name=%{ENV:SINGLE} callable-object=not_callable
WSGIScriptAlias /missing-callable ${APPS}/callables.wsgi process-name=%{ENV:SINGLE} callable-object=missing
SetEnv UNKNOWN nobody
# Through a variable, so that they are loaded on first use and not at start.
SetEnv SINGLE single
SetEnvIf X-Choose "(.+)" CHOSEN=$1
<Location /location>
    WSGIProcessName single
</Location>
<Location /alias>
    WSGIProcessGroup three
</Location>
<VirtualHost 127.0.0.1:${PORT}>
</VirtualHost>
<VirtualHost 127.0.0.1:${NAMED_PORT}>
    ServerName www.named.example
    WSGIScriptAlias /server ${APPS}/environ.wsgi process-name=%{SERVER}
</VirtualHost>
<VirtualHost 127.0.0.1:${WHOLE_PORT}>
    WSGIProcessName single
    WSGIScriptAlias / ${APPS}/environ.wsgi
</VirtualHost>
"""


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION)


def group_of(httpd, path: str, **options) -> str:
    return httpd.get(path, **options).json()["mod_wsgi.process_group"]


def test_each_group_has_its_number_of_processes(httpd):
    assert len(httpd.wait_for_daemons("single", 1)) == 1
    assert len(httpd.wait_for_daemons("three", 3)) == 3


def test_a_daemon_is_a_child_of_httpds_parent_or_of_its_guardian(httpd):
    seen = httpd.get("/single").json()
    assert seen["parent"] in (httpd.guardians("single") or [httpd.pid])
    assert [seen["pid"]] == httpd.daemons("single")


def test_the_default_group_serves_scripts_without_a_group(httpd):
    assert group_of(httpd, "/default") == ""
    assert group_of(httpd, "/global") == ""
    assert len(httpd.daemons("")) == 1


def test_the_group_can_be_named_per_location_alias_and_virtual_host(httpd):
    assert group_of(httpd, "/location") == "single"
    assert group_of(httpd, "/alias") == "three"
    assert group_of(httpd, "/", port="WHOLE_PORT") == "single"


def test_a_variable_chooses_the_group(httpd):
    assert group_of(httpd, "/variable", headers={"X-Choose": "single"}) == "single"
    assert group_of(httpd, "/variable", headers={"X-Choose": "three"}) == "three"


def test_server_variable_chooses_by_virtual_host(httpd):
    """The port is part of the name, unless it is the scheme's default port."""
    assert (
        group_of(httpd, "/server", port="NAMED_PORT")
        == f"www.named.example:{httpd.ports['NAMED_PORT']}"
    )


def test_an_unknown_group_is_a_500_and_the_line_names_the_known_groups(httpd):
    with httpd.log.expects("WSGID0160.*nobody.*single.*three") as lines:
        assert httpd.get("/unknown").status_code == 500
    assert len(lines) == 1


def test_an_environment_variable_that_is_not_set_means_the_default_group(httpd):
    assert group_of(httpd, "/variable") == ""


def test_processes_1_makes_multiprocess_true(httpd):
    assert httpd.get("/once").json()["wsgi.multiprocess"] is True
    assert httpd.get("/default").json()["wsgi.multiprocess"] is (os.cpu_count() > 1)
    assert httpd.get("/three/environ").json()["wsgi.multiprocess"] is True


def test_requests_go_to_the_process_with_the_fewest_in_flight(httpd):
    """Two requests are held in a process each; all further requests go to the third process."""
    wait_until(lambda: len(httpd.log.find("WSGID0303: group 'three'")) == 3, "three that are ready")
    held = HeldRequests(httpd, "/three/gate", "least", 2)
    free = {httpd.get("/three").json()["pid"] for _ in range(20)}
    busy = {int(answer.text) for answer in held.release()}
    assert len(busy) == 2
    assert len(free) == 1
    assert free.isdisjoint(busy)


def test_all_processes_of_a_group_are_used(httpd):
    """One request for each process; all three are held at once."""
    answers = HeldRequests(httpd, "/three/gate", "all", 3).release()
    assert sorted(int(answer.text) for answer in answers) == httpd.daemons("three")


def test_the_callable_can_be_named(httpd):
    assert httpd.get("/callable").text == "application"
    assert httpd.get("/other-callable").text == "other"


@pytest.mark.parametrize("path", ["no-callable", "missing-callable"])
def test_a_callable_that_cannot_be_called_is_a_500_and_is_logged(httpd, path):
    with httpd.log.expects(r"WSGID03\d\d"), httpd.log.allows("Traceback"):
        assert httpd.get(f"/{path}").status_code == 500
