"""What httpd and its daemons share: a child of httpd can write only to what it has to."""

from __future__ import annotations

import pytest
from httpdenv import machine, wait_until


@pytest.fixture(scope="module", params=machine.MPMS)
def httpd(request, make_httpd):
    httpd = make_httpd(
        "WSGIDaemonProcess app processes=2\nWSGIScriptAlias / ${APPS}/hello.wsgi process-name=app",
        mpm=request.param,
    )
    assert httpd.get("/").status_code == 200
    return httpd


def maps(pid: int, part: str) -> list[str]:
    """The permissions of each mapping whose line contains `part`."""
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as file:
        blocks = file.read().split("VmFlags:")
    found = []
    for block, after in zip(blocks, blocks[1:]):
        line = next(line for line in block.splitlines()[::-1] if "-" in line.split()[0])
        if part in line:
            found.append(f"{line.split()[1]} {after.splitlines()[0].strip()}")
    return found


def test_no_process_of_httpd_can_write_to_a_daemons_page(httpd):
    """`mw`, which is missing, would let it be made writable."""
    for pid in (httpd.pid, *httpd.children(), *httpd.guardians()):
        pages = maps(pid, "memfd:wsgid-statistics")
        assert len(pages) == 1  # of all processes of the group
        for page in pages:
            assert page.startswith("r--s") and "mw" not in page.split()


def test_a_child_of_httpd_cannot_write_by_mistake_to_what_guardians_report(httpd):
    words = maps(httpd.guardians()[0], "/dev/zero (deleted)")
    assert words and all(one.startswith("rw-s") for one in words)
    for pid in httpd.children():
        read_only = [one for one in maps(pid, "/dev/zero (deleted)") if one.startswith("r--s")]
        assert len(read_only) == 1  # of all slots of the group


def test_a_daemon_writes_to_its_own_page_alone(httpd):
    wait_until(lambda: len(httpd.log.find("WSGID0303")) >= 2, "two processes to be ready")
    for pid in httpd.daemons("app"):
        assert [page.split()[0] for page in maps(pid, "memfd:")] == ["rw-s"]
