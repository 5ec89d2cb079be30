"""Access that Python decides: only an answer opens anything, whatever becomes of the daemon that is
asked. What mod_wsgi does, too, is in tests/dropin/test_protecting.py.
"""

from __future__ import annotations

import base64
import os
import signal
import threading
import time

import pytest
from httpdenv import processes
from httpdenv.client import curl, has_http2_curl, request
from httpdenv.waiting import wait_until

CONFIGURATION = """
WSGIDaemonProcess gate threads=4 socket-timeout=2
WSGIDaemonProcess shop
LogLevel auth_basic:crit authz_core:crit
Alias /basic ${FILES}/page.txt
AliasMatch ^/group ${FILES}/page.txt
Alias /banned ${FILES}/page.txt
Alias /access ${FILES}/page.txt
Alias /cached/page ${FILES}/page.txt
Alias /forgotten ${FILES}/page.txt
Alias /lost ${FILES}/page.txt
Alias /default ${FILES}/page.txt
Alias /nogroup ${FILES}/page.txt
WSGIScriptAlias /cached/app ${APPS}/environ.wsgi process-name=shop
WSGIScriptAlias /app ${APPS}/environ.wsgi process-name=shop
WSGIScriptAlias /echo ${APPS}/echo.wsgi process-name=shop
SetEnv SET_BY_SETENV 1
SetEnvIf Request_URI . SET_BY_SETENVIF=1
MaxKeepAliveRequests 0
<LocationMatch "^/(basic|group|banned|cached|app|echo|forgotten|lost|default|nogroup)">
    AuthType Basic
    AuthName "Top Secret"
    AuthBasicProvider wsgi
    Require valid-user
</LocationMatch>
<LocationMatch "^/(basic|group|banned|cached|app|echo)">
    WSGIAuthUserScript ${APPS}/protect.py process-group=gate application-group=%{GLOBAL}
</LocationMatch>
<Location /group>
    AuthMerging Off
    WSGIAuthGroupScript ${APPS}/protect.py process-name=gate
    Require wsgi-group others secret-agents
</Location>
<Location /banned>
    WSGIAuthGroupScript ${APPS}/protect.py process-name=gate
    <RequireAll>
        Require valid-user
        Require not wsgi-group banned
    </RequireAll>
</Location>
<Location /access>
    WSGIAccessScript ${APPS}/protect.py process-name=gate
    Require all granted
</Location>
<Location /lost>
    WSGIAuthUserScript ${FILES}/missing.py process-name=gate
</Location>
<Location /default>
    WSGIAuthUserScript ${FILES}/where.py
</Location>
<Location /nogroup>
    WSGIAuthUserScript ${FILES}/where.py process-name=%{ENV:SET_BY_SETENVIF}
</Location>
AuthnCacheEnable
AuthnCacheSOCache shmcb
<Location /cached>
    AuthBasicProvider socache wsgi
    AuthnCacheProvideFor wsgi
</Location>
<VirtualHost 127.0.0.1:${PORT}>
    Protocols h2c http/1.1
</VirtualHost>
"""

MODULES = [
    "auth_basic",
    "authn_socache",
    "socache_shmcb",
    "authz_user",
    "http2",
]
WHERE = """
def check_password(environ, user, password):
    return environ["mod_wsgi.process_group"] == "" and password == "secret"
"""
NO_ANSWER = (500, 502, 503, 504)


@pytest.fixture(scope="module")
def httpd(make_httpd):
    files = {"page.txt": "the page\n", "where.py": WHERE}
    return make_httpd(CONFIGURATION, modules=MODULES, files=files)


def status(httpd, path, user=None, password="secret", **options) -> int:
    auth = (user.encode() if isinstance(user, str) else user, password.encode()) if user else None
    return httpd.get(path, auth=auth, **options).status_code


@pytest.mark.parametrize("user", ["raises", "exits", "one", "yes", "list", "yielding"])
def test_whatever_is_no_answer_gives_no_access(httpd, user):
    with httpd.log.expects("WSGID0340"):
        assert status(httpd, "/basic", user) == 500


def test_function_that_is_missing_gives_no_access(httpd):
    with httpd.log.expects("WSGID0330.*missing.py"):
        assert status(httpd, "/lost", "spy") == 500


def test_provider_without_a_script_gives_no_access(httpd):
    with httpd.log.expects("WSGID0521.*WSGIAuthUserScript"):
        assert status(httpd, "/forgotten", "spy") == 500


def test_group_that_does_not_exist_gives_no_access(httpd):
    with httpd.log.expects("WSGID0160"):
        assert status(httpd, "/nogroup", "spy") == 500


def test_without_process_name_the_default_group_is_asked(httpd):
    assert status(httpd, "/default", "spy") == 200
    assert status(httpd, "/default", "spy", "wrong") == 401


def test_application_sees_the_user_and_nothing_of_the_question(httpd):
    environ = httpd.get("/app", auth=("alias", "secret")).json()
    assert environ["REMOTE_USER"] == "spy"  # the name that check_password() returned
    assert environ["AUTH_TYPE"] == "Basic"
    assert not [key for key in environ if key.startswith("wsgid.") and "client" not in key]


def test_script_sees_the_request_without_password_body_and_setenv(httpd):
    with httpd.log.expects("keys ") as found:
        assert status(httpd, "/basic?a=b", "sees", headers={"Range": "bytes=0-0"}) == 206
    keys = found[0].message.split()
    assert {"REQUEST_URI", "QUERY_STRING", "REMOTE_ADDR", "HTTP_RANGE", "SET_BY_SETENVIF"} < {*keys}
    assert not {"SET_BY_SETENV", "wsgi.input", "wsgid.password", "wsgid.user"} & {*keys}


@pytest.mark.parametrize("size", [3, 300_000])
def test_body_is_still_there_after_the_question(httpd, size):
    body = os.urandom(size)
    assert httpd.post("/echo", body, auth=("spy", "secret")).content == body
    pieces = iter([body[:2], body[2:]])
    assert httpd.post("/echo", pieces, auth=("spy", "secret")).content == body


@pytest.mark.parametrize("path", ["/group", "/banned"])
def test_groups_without_an_answer_give_no_access(httpd, path):
    with httpd.log.expects("WSGID0340.*groups_for_user", "was asked"):
        assert status(httpd, path, "counted") == 500


def test_access_script_refuses(httpd):
    with httpd.log.expects("WSGID0522.*/access"):
        assert httpd.get("/access?no").status_code == 403
    with httpd.log.expects("WSGID0522"):
        assert httpd.get("/access?cookie").status_code == 403
    assert httpd.get("/access?cookie", headers={"Cookie": "key=open"}).status_code == 200


@pytest.mark.parametrize("query", ["one", "none"])
def test_access_script_without_an_answer_gives_no_access(httpd, query):
    with httpd.log.expects("WSGID0340.*allow_access"):
        assert httpd.get("/access?" + query).status_code == 500


@pytest.mark.skipif(not has_http2_curl(), reason="curl without HTTP/2")
def test_http_2(httpd):
    options = ["--http2-prior-knowledge", "-u"]
    assert curl(httpd.url("/basic"), *options, "spy:secret") == (200, "2", b"the page\n")
    assert curl(httpd.url("/basic"), *options, "spy:wrong")[:2] == (401, "2")
    assert curl(httpd.url("/echo"), *options, "spy:secret", "-d", "body")[2] == b"body"
    assert curl(httpd.url("/access?host"), "--http2-prior-knowledge")[:2] == (200, "2")
    with httpd.log.expects("WSGID0340"):
        assert curl(httpd.url("/basic"), *options, "raises:secret")[0] == 500


# -------- what becomes of the daemon


@pytest.mark.parametrize("user", ["hangs", "chatters"])
def test_no_answer_within_the_limit_gives_no_access(httpd, user):
    began = time.monotonic()
    with httpd.log.expects("WSGID0167"), httpd.log.allows("still here"):
        assert status(httpd, "/basic", user) == 500
    assert 1.5 < time.monotonic() - began < 8
    # the thread sleeps on: do not leave it to the tests that follow
    before = httpd.daemons("gate")
    with httpd.log.allows(".*"):
        os.kill(before[0], signal.SIGKILL)
        httpd.wait_for_daemons("gate", 1, without=before)


def test_daemon_that_dies_of_the_question_gives_no_access(httpd):
    with httpd.log.expects("WSGID0166"), httpd.log.allows(".*"):
        assert status(httpd, "/basic", "dies") == 500
        wait_until(lambda: status(httpd, "/basic", "spy") == 200, "another daemon", 10)


def test_stopped_daemon_gives_no_access_and_what_is_cached_still_counts(httpd):
    with httpd.log.expects("was asked"):
        assert status(httpd, "/cached/page", "counted") == 200
    since = httpd.log.mark()
    (pid,) = httpd.daemons("gate")
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: processes.status(pid)["State"].startswith("T"), "it to stop", 5)
    try:
        assert status(httpd, "/cached/page", "counted") == 200
        assert status(httpd, "/cached/page", "counted", "wrong") == 401
        began = time.monotonic()
        with httpd.log.expects("WSGID0167"):
            assert status(httpd, "/cached/page", "spy") == 500
        assert time.monotonic() - began < 8
        with httpd.log.expects("WSGID0167"):
            assert httpd.get("/access?yes").status_code == 504
    finally:
        os.kill(pid, signal.SIGCONT)
    assert not httpd.log.find("was asked", since)
    wait_until(lambda: status(httpd, "/basic", "spy") == 200, "the daemon to go on", 10)


def test_other_name_is_not_cached(httpd):
    """The cache could not give it, and the user would be another one the next time."""
    for _ in range(2):
        assert httpd.get("/cached/app", auth=("alias", "secret")).json()["REMOTE_USER"] == "spy"


def test_restarts_let_in_who_may_and_nobody_else(httpd):
    """Graceful restarts, and daemons that are killed."""
    wrong: list[int] = []
    right: list[int] = []
    end = threading.Event()

    def ask(password: str, seen: list[int]) -> None:
        while not end.is_set():
            seen.append(status(httpd, "/basic", "spy", password))

    threads = [
        threading.Thread(target=ask, args=words) for words in (("secret", right), ("no", wrong))
    ]
    for thread in threads:
        thread.start()
    try:
        httpd.graceful()
        wait_until(lambda: len(right) > 100 and len(wrong) > 100, "requests", 20)
        assert {*right} == {200} and {*wrong} == {401}
        with httpd.log.allows(".*"):
            for _ in range(3):
                os.kill(httpd.wait_for_daemons("gate", 1)[0], signal.SIGKILL)
                count = len(right), len(wrong)
                wait_until(
                    lambda count=count: len(right) > count[0] + 20 and len(wrong) > count[1] + 20,
                    "requests",
                    20,
                )
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert not {*wrong} - {401, *NO_ANSWER}
    assert 200 in right and not {*right} - {200, *NO_ANSWER}


def test_ten_thousand_wrong_passwords(httpd):
    assert status(httpd, "/basic", "spy") == 200
    (pid,) = httpd.daemons("gate")
    before = {each: memory(each) for each in [pid, *httpd.children()]}
    began = time.monotonic()
    with httpd.wire(timeout=60) as wire:
        for batch in range(100):
            tries = [f"spy:{batch}-{number}" for number in range(100)]
            wire.send(
                b"".join(
                    request("GET", "/basic", "Authorization: Basic " + encoded(text))
                    for text in tries
                )
            )
            answers = [wire.read_response().status for _ in tries]
            assert answers == [401] * 100
    print("10,000 wrong passwords: %.1f s" % (time.monotonic() - began))
    assert httpd.daemons("gate") == [pid]
    grown = {each: memory(each) - was for each, was in before.items()}
    assert max(grown.values()) < 16 * 2**20, grown
    assert status(httpd, "/basic", "spy") == 200


def memory(pid: int) -> int:
    """Bytes."""
    return int(processes.status(pid)["VmRSS"].split()[0]) * 1024


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
