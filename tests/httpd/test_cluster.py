"""conf/cluster: a real balancer and two real members, while members come and go."""

from __future__ import annotations

import re
import signal
import threading
from pathlib import Path

import pytest
from httpdenv import Httpd, machine, wait_until
from httpdenv.examples import CLOSED, for_this_machine

CONF = Path(__file__).resolve().parents[2] / "conf" / "cluster"
PROXY = [
    "proxy",
    "proxy_http",
    "proxy_balancer",
    "lbmethod_bybusyness",
    "slotmem_shm",
    "proxy_hcheck",
    "headers",
]
APPLICATION = """
import os
def application(environ, start_response):
    well = environ["PATH_INFO"] != "/health" or not os.path.exists(os.path.dirname(__file__) + "/unwell")
    start_response("200 OK" if well else "500 Unwell", [("Content-Type", "text/plain")])
    keys = "HTTP_HOST", "wsgi.url_scheme", "REMOTE_ADDR"
    return [" ".join([os.environ["MEMBER"], *(environ[key] for key in keys)]).encode()]
"""
# The balancer logs these about members that are down.
MISSED = (
    "AH00957",
    "AH00959",
    "AH01114",
    "AH02324",
    "AH03301",
    "AH00898",
    "AH01102",
    "AH10060",
    "AH00940",
)


@pytest.fixture(scope="module")
def cluster(make_httpd) -> tuple[Httpd, list[Httpd]]:
    """The balancer and its members. The balancer is made first, so that it is stopped before its
    members.
    """
    balancer = make_httpd("", modules=PROXY, start=None)
    script = {"srv/shop/application/site.wsgi": APPLICATION}
    members = [
        make_httpd(member(name), modules=["remoteip"], files=script) for name in ("one", "two")
    ]
    text = for_this_machine((CONF / "balancer.conf").read_text()).replace(
        "hcinterval=5", "hcinterval=100ms"
    )
    for number, one in enumerate(members, 11):
        text = text.replace(f"10.0.0.{number}:8080", f"127.0.0.1:{one.ports['PORT']}")
    assert "10.0.0" not in text
    balancer.configure(text.replace("retry=5", "retry=1"))
    return balancer.start(), members


@pytest.fixture(scope="module")
def balancer(cluster) -> Httpd:
    return cluster[0]


@pytest.fixture(scope="module")
def members(cluster) -> list[Httpd]:
    return cluster[1]


def member(name: str) -> str:
    text = for_this_machine((CONF / "member.conf").read_text()).replace("10.0.0.1'", "127.0.0.1'")
    text = text.replace("RemoteIPInternalProxy 10.0.0.1", "RemoteIPInternalProxy 127.0.0.1")
    return CLOSED + text.replace(
        "WSGIDaemonProcess shop", f"WSGIDaemonProcess shop env=MEMBER={name}"
    )


def answer(balancer: Httpd, **headers: str) -> list[str]:
    response = balancer.get("/x", headers={"Host": "shop.example.com", **headers})
    assert response.status_code == 200, response.text
    return response.text.split()


def names(balancer: Httpd, count: int) -> set[str]:
    """The members that answer `count` requests."""
    return {answer(balancer)[0] for _ in range(count)}


def wait_for(balancer: Httpd, wanted: set[str]) -> None:
    wait_until(lambda: names(balancer, 10) == wanted, f"answers by {wanted}", 20)


def test_requests_reach_all_members_with_host_name_and_client_address(balancer):
    wait_for(balancer, {"one", "two"})
    assert answer(balancer)[1:] == ["shop.example.com", "http", "127.0.0.1"]
    # The balancer does not pass on the address that a client claims for itself.
    assert answer(balancer, **{"X-Forwarded-Proto": "https"})[2] == "http"


def test_a_member_accepts_only_the_balancer(make_httpd):
    """To this member, another address is the balancer."""
    text = member("three").replace("-ipmatch '127.0.0.1'", "-ipmatch '10.0.0.1'")
    httpd = make_httpd(
        text, modules=["remoteip"], files={"srv/shop/application/site.wsgi": APPLICATION}
    )
    with httpd.log.expects("AH01630"):
        assert httpd.get("/x").status_code == 403


def test_an_unhealthy_member_gets_no_requests(balancer, members):
    wait_for(balancer, {"one", "two"})
    members[0].write("srv/shop/application/unwell", "")
    try:
        wait_for(balancer, {"two"})
    finally:
        (members[0].files / "srv/shop/application/unwell").unlink()
    wait_for(balancer, {"one", "two"})


def test_the_manager_answers_on_this_machine(balancer):
    with balancer.log.allows("AH10187"):  # a request without a Referer
        page = balancer.get("/balancer-manager", headers={"Host": "shop.example.com"})
    assert page.status_code == 200
    assert len(set(re.findall(r"http://127\.0\.0\.1:(\d+)", page.text))) == 2


def test_the_files_name_the_modules_that_they_need():
    """The named modules are the ones loaded here; a2enmod also enables their dependencies."""
    assert set(PROXY) - {"proxy", "slotmem_shm"} == set(
        re.search(r"a2enmod ([\w ]+)\)", (CONF / "balancer.conf").read_text())[1].split()
    )
    assert machine.httpd()


def test_a_stopped_member_loses_no_request_and_is_used_again_once_it_is_back(balancer, members):
    """The last test: mod_proxy counts the busy connections of a member without a lock, so after
    many requests at once a member may count as busy for ever.
    """
    wait_for(balancer, {"one", "two"})
    stop, failed, done = threading.Event(), [], []

    def ask() -> None:
        while not stop.is_set():
            response = balancer.get("/x", headers={"Host": "shop.example.com"})
            (done if response.status_code == 200 else failed).append(response.status_code)

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        with balancer.log.allows(*MISSED):
            # Its health check fails first, so that no request is on its way when it stops.
            unwell = members[1].write("srv/shop/application/unwell", "")
            wait_for(balancer, {"one"})
            members[1].stop(
                sign=signal.SIGWINCH
            )  # apachectl graceful-stop: closes its listeners, then finishes
            since = len(done)
            wait_until(lambda: len(done) > since + 50, "requests without the member", 20)
            unwell.unlink()
            members[1].start()
            wait_for(balancer, {"one", "two"})
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert not failed
