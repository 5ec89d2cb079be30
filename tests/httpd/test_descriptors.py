"""Descriptors run out: an application that leaks them is replaced, and every request is answered,
soon. The limit of httpd's parent is raised for many processes, or they are refused at the start.
"""

from __future__ import annotations

import re
import resource
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from httpdenv import StartFailed, processes, wait_until

SCRIPT = (Path(__file__).parents[1] / "apps" / "leaks.wsgi").read_text()
GROUPS = ("slowly", "at-once", "stays")
CONFIGURATION = (
    "\n".join(
        f"WSGIDaemonProcess {group} threads=4\n"
        f"WSGIScriptAlias /{group} ${{FILES}}/{group}/leaks.wsgi process-name={group}"
        for group in GROUPS
    )
    + """
<Location /status>
    SetHandler wsgid-status
</Location>
"""
)
SOON = 10.0  # seconds for all requests; one that found no descriptor took 60
LINE = "WSGID0322: group '%s'"


@pytest.fixture(scope="module")
def httpd(make_httpd):
    return make_httpd(CONFIGURATION, files={f"{group}/leaks.wsgi": SCRIPT for group in GROUPS})


def get_many(httpd, path: str, number: int) -> list[str]:
    """So many requests, several at once; asserts that all are answered soon. Returns the answers."""
    began = time.monotonic()
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: httpd.get(path), range(number)))
    assert Counter(answer.status_code for answer in answers) == {200: number}
    assert time.monotonic() - began < SOON
    return [answer.text for answer in answers]


def reasons(httpd, group: str) -> dict[str, int]:
    """Why processes of a group have ended, from the status page."""
    (found,) = [one for one in httpd.get("/status?json").json()["groups"] if one["name"] == group]
    return {restart["reason"]: restart["count"] for restart in found["restarts"]}


def test_one_that_leaks_at_each_request_is_replaced_again_and_again(httpd):
    with httpd.log.expects(LINE % "slowly") as lines:
        pids = get_many(httpd, "/slowly?1", 300)
    assert len(set(pids)) >= 3
    assert set(Counter(line.pid for line in lines).values()) == {1}
    assert all("most of all lead to /dev/null, " in line.text for line in lines)
    wait_until(lambda: "out-of-descriptors" in reasons(httpd, "slowly"), "the status page")


def test_one_that_leaks_all_at_once_is_replaced(httpd):
    (before,) = httpd.wait_for_daemons("at-once", 1)
    get_many(httpd, "/at-once", 24)
    with httpd.log.expects(LINE % "at-once") as lines:
        assert httpd.get("/at-once?all").text == str(before)
        get_many(httpd, "/at-once", 60)
        wait_until(lambda: before not in httpd.daemons("at-once"), "the process to leave")
    assert len(lines) == 1


def test_one_that_cannot_be_replaced_goes_on(httpd):
    (before,) = httpd.wait_for_daemons("stays", 1)
    get_many(httpd, "/stays", 24)
    httpd.write("stays/broken", "")
    with httpd.log.expects(LINE % "stays") as lines, httpd.log.allows("WSGID"):
        assert httpd.get("/stays?all").text == str(before)
        assert set(get_many(httpd, "/stays", 60)) == {str(before)}
        httpd.log.wait_for("WSGID0351: group 'stays'")
        assert set(get_many(httpd, "/stays", 60)) == {str(before)}
        (httpd.files / "stays" / "broken").unlink()
        wait_until(lambda: before not in httpd.daemons("stays"), "the process to leave")
    assert len(lines) == 1


# -------- the limit of httpd's parent

LIMITS = (100, 4096)
MANY = """
WSGIDaemonProcess many processes=30 threads=1
WSGIScriptAlias / ${APPS}/hello.wsgi process-name=many
"""


def limits(pid: int) -> tuple[int, int]:
    """The soft and the hard limit of a process."""
    text = Path(f"/proc/{pid}/limits").read_text()
    soft, hard = re.search(r"Max open files +(\d+) +(\d+)", text).groups()
    return int(soft), int(hard)


def test_the_parent_raises_its_soft_limit_for_itself_alone(make_httpd):
    httpd = make_httpd(MANY, descriptors=LIMITS)
    before: list[int] = []
    for configuration in range(2):
        if configuration:
            httpd.graceful()
        daemons = httpd.wait_for_daemons("many", 30, before, timeout=60.0)
        assert {limits(pid) for pid in daemons} == {LIMITS}
        assert limits(httpd.pid) == (LIMITS[1], LIMITS[1])
        assert httpd.get("/").status_code == 200
        assert {limits(pid) for pid in httpd.children()} == {LIMITS}
        before = daemons


def test_an_httpd_whose_limit_is_high_enough_keeps_it(httpd):
    assert limits(httpd.pid) == resource.getrlimit(resource.RLIMIT_NOFILE)


@pytest.mark.parametrize(
    ("configuration", "arithmetic"),
    [
        (
            "WSGIDaemonProcess many processes=1000",
            "the 1000 processes of group 'many' need 3 each in their guardian, "
            "which itself needs about 32, which makes 3032",
        ),
        (
            "".join(f"WSGIDaemonProcess g{i}\n" for i in range(2100)),
            "2100 daemon groups need 3 each in httpd's parent, "
            "and httpd itself needs about 34, which makes 6334",
        ),
    ],
    ids=["processes", "groups"],
)
def test_what_cannot_fit_is_refused_at_the_start(make_httpd, configuration, arithmetic):
    httpd = make_httpd(configuration, start=None, descriptors=(100, 2048))
    code, output = httpd.configtest()
    assert code == 1
    (line,) = [line for line in output.splitlines() if "WSGID0121" in line]
    assert f"hard limit of 2048 open files is too low: {arithmetic}" in line
    with pytest.raises(StartFailed, match=r"exit code 1: (?s:.*)WSGID0121"):
        httpd.start()


def test_fifty_groups_of_four_need_few_descriptors_in_the_parent(make_httpd):
    """At most two a process, and no more after a graceful restart: it starts with 1,024."""
    httpd = make_httpd(
        "".join(f"WSGIDaemonProcess g{i} processes=4 threads=1\n" for i in range(50)),
        start=None,
        descriptors=(1024, 1024),
    )
    httpd.start()
    for _ in range(2):
        of_groups = [
            target for target in processes.descriptors(httpd.pid).values() if "wsgid" in target
        ]
        assert len(of_groups) <= 2 * 200
        assert len(httpd.guardians()) >= 50
        httpd.graceful()
