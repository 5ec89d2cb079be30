"""Requests that arrive while processes are starting: they wait for the one that is ready first, none
is lost, and none runs twice. An import that hangs costs the group one process, not half of its
requests.
"""

from __future__ import annotations

import collections
import os
import random
import signal
import time

import pytest
from httpdenv import Crowd, HeldRequests, Load, wait_until

CONFIGURATION = """
WSGIDaemonProcess app OPTIONS
WSGIProcessName app
<Location /wsgid-status>
    SetHandler wsgid-status
</Location>
WSGIScriptAlias /gate ${APPS}/gate.wsgi
WSGIScriptAlias / ${FILES}/starting.wsgi
SetEnv EXECUTIONS ${FILES}/executions
KeepAliveTimeout 30
MaxKeepAliveRequests 0
"""
# Each process goes on with its import as its line in the file `imports` says: 1 for the first process
# and so on. "hang": not before there is a file `release`; a number: after so many seconds at most.
IMPORT = """
import os, random, time

HERE = os.path.dirname(os.path.realpath(__file__))


def exists(name):
    return os.path.exists(os.path.join(HERE, name))


def turn():
    number = 0
    while True:
        number += 1
        try:
            return os.close(os.open(f"{HERE}/turns/{number}", os.O_CREAT | os.O_EXCL)) or number
        except FileExistsError:
            pass


mine = turn()
how = open(os.path.join(HERE, "imports")).read().split()
how = how[min(mine, len(how)) - 1]
if how == "hang":
    while not exists("release"):
        time.sleep(0.01)
elif how == "go":
    while not exists("go"):
        time.sleep(0.01)
else:
    time.sleep(random.uniform(0, float(how)))
"""
SOON = 3.0  # seconds for answers that need no process to start first


@pytest.fixture
def serve_app(serve, stage):
    """Starts httpd; `imports` is how the processes' imports go on, the last word for all others."""

    def start(options: str, imports: str, **more):
        httpd = serve(CONFIGURATION.replace("OPTIONS", options), start=None, **more)
        httpd.write("starting.wsgi", IMPORT + (stage.apps / "executions.wsgi").read_text())
        httpd.write("imports", imports)
        httpd.write("executions", "").chmod(0o666)
        (httpd.files / "turns").mkdir()
        (httpd.files / "turns").chmod(0o777)
        return httpd.start()

    return start


def group(httpd) -> dict:
    return httpd.get("/wsgid-status?json").json()["groups"][0]


def ready(httpd) -> int:
    return sum(slot["state"] == "ready" for slot in group(httpd)["slots"])


def executed(httpd) -> collections.Counter[str]:
    return collections.Counter((httpd.files / "executions").read_text().split())


def numbered_crowd(httpd, count: int) -> list[Crowd]:
    return [Crowd(httpd, f"/?request-{number}") for number in range(count)]


def join(crowds: list[Crowd]) -> list:
    return [answer for crowd in crowds for answer in crowd.join()]


# -------- an import that hangs


def test_an_import_that_hangs_keeps_no_request_from_the_process_that_is_ready(serve_app):
    httpd = serve_app("processes=2", "go hang")
    crowds = numbered_crowd(httpd, 12)
    wait_until(lambda: group(httpd)["in_flight"] == 12, "all requests to wait")
    (httpd.files / "go").touch()
    began = time.monotonic()
    answers = join(crowds)
    assert time.monotonic() - began < SOON
    assert [answer.status_code for answer in answers] == [200] * 12
    assert len({answer.text.split("\n")[1] for answer in answers}) == 1
    assert executed(httpd) == {f"request-{number}": 1 for number in range(12)}
    (httpd.files / "release").touch()
    wait_until(lambda: ready(httpd) == 2, "the other process to be ready")
    assert group(httpd)["in_flight"] == 0


def test_what_waits_unread_for_a_process_that_died_goes_elsewhere_while_its_successor_hangs(
    serve_app,
):
    """A stopped process looks ready, but takes no connection: requests wait in its backlog."""
    httpd = serve_app("processes=2", "0 0 hang")
    wait_until(lambda: ready(httpd) == 2, "both processes to be ready")
    slot = group(httpd)["slots"][0]
    victim = slot["processes"][0]["pid"]
    os.kill(victim, signal.SIGSTOP)
    crowds = numbered_crowd(httpd, 12)
    wait_until(
        lambda: (
            group(httpd)["in_flight"] == group(httpd)["slots"][0]["in_flight"] > 0
            and sum(len(crowd.answers) for crowd in crowds)
            == 12 - group(httpd)["slots"][0]["in_flight"]
        ),
        "all requests to be answered but those of the stopped process",
    )
    os.kill(victim, signal.SIGKILL)
    began = time.monotonic()
    assert [answer.status_code for answer in join(crowds)] == [200] * 12
    assert time.monotonic() - began < SOON
    assert executed(httpd) == {f"request-{number}": 1 for number in range(12)}


def test_a_request_is_sent_again_to_the_same_slot_rather_than_to_an_import_that_hangs(serve_app):
    """A process is killed before it has read what waits for it; its slot is ready again soon."""
    httpd = serve_app("processes=2 threads=1", "0 hang 0")
    wait_until(lambda: ready(httpd) == 1, "a process to be ready")
    # Connections that the process has accepted: what it has not read from them is reset.
    Crowd(httpd, "/?sleep=0.1&earlier", 5).join()
    held = HeldRequests(httpd, "/gate", "dies")
    crowds = numbered_crowd(httpd, 4)
    wait_until(lambda: group(httpd)["in_flight"] == 5, "all requests to wait")
    (busy,) = [slot for slot in group(httpd)["slots"] if slot["state"] == "ready"]
    with httpd.log.expects("WSGID0166"):
        os.kill(busy["processes"][0]["pid"], signal.SIGKILL)
        assert [answer.status_code for answer in held.release()] == [502]
    began = time.monotonic()
    assert [answer.status_code for answer in join(crowds)] == [200] * 4
    assert time.monotonic() - began < SOON


# -------- the limits of the wait


def test_queue_limit_counts_the_requests_that_wait_for_a_process_to_start(serve_app):
    httpd = serve_app("processes=2 threads=1 queue-limit=2", "go")
    with httpd.log.expects("WSGID0161"):
        crowd = Crowd(httpd, "/?name", 10)
        wait_until(lambda: len(crowd.answers) == 6, "six of ten to be refused")
    assert len(crowd.with_status(503)) == 6
    (httpd.files / "go").touch()
    assert sum(answer.status_code == 200 for answer in crowd.join()) == 4


@pytest.mark.parametrize(
    ("option", "code", "status"),
    [("queue-timeout=1", "WSGID0162", 503), ("socket-timeout=1", "WSGID0167", 504)],
    ids=["queue-timeout", "socket-timeout"],
)
def test_a_request_waits_for_a_process_to_start_only_as_long_as_for_a_thread(
    serve_app, option, code, status
):
    httpd = serve_app(f"processes=2 {option}", "hang")
    with httpd.log.expects(f"{code}.*GET /\\?late"):
        answer = httpd.get("/?late")
    assert answer.status_code == status
    assert 0.9 < answer.elapsed.total_seconds() < 4
    assert executed(httpd) == {}


def test_a_request_whose_client_leaves_while_processes_start_is_not_run(serve_app):
    httpd = serve_app("processes=2", "go")
    with httpd.wire() as wire:
        wire.send(b"GET /?leaves HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: group(httpd)["in_flight"] == 1, "the request to wait")
    wait_until(lambda: group(httpd)["in_flight"] == 0, "the request to be given up")
    (httpd.files / "go").touch()
    assert httpd.get("/?stays").status_code == 200
    assert executed(httpd) == {"stays": 1}


def test_requests_that_wait_get_503_when_the_back_off_has_begun_in_all_slots(serve_app):
    httpd = serve_app("processes=2", "go")
    crowd = Crowd(httpd, "/?name", 4)
    wait_until(lambda: group(httpd)["in_flight"] == 4, "all requests to wait")
    httpd.write("starting.wsgi", "import os\nos._exit(3)\n")
    for slot in group(httpd)["slots"]:
        os.kill(slot["processes"][0]["pid"], signal.SIGKILL)
    answers = crowd.join()
    assert [answer.status_code for answer in answers] == [503] * 4
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)


# -------- the race

ROUNDS = 4


def stop_all(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGTERM)


def freeze_and_kill(pids: list[int]) -> None:
    """Requests pile up in the backlogs; all slots start again, one after the other."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        time.sleep(random.uniform(0, 0.15))
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("end", [stop_all, freeze_and_kill])
def test_processes_that_become_ready_while_requests_wait_run_each_of_them_once(serve_app, end):
    """Two or all of three processes leave again and again; the next ones are ready at random moments. Requests run
    for longer than httpd waits before it asks whether they have been read. No wait is too long.
    """
    httpd = serve_app("processes=3 threads=4 queue-timeout=60", "0.4")
    wait_until(lambda: ready(httpd) == 3, "all processes to be ready")
    with Load(httpd, "/?sleep=0.2", 24) as load:
        for _ in range(ROUNDS):
            pids = [slot["processes"][-1]["pid"] for slot in group(httpd)["slots"]]
            end(random.sample(pids, random.randint(2, 3)))
            load.wait_for_more(100)
            wait_until(lambda: ready(httpd) == 3, "all processes to be ready again")
    httpd.log.accept_all("exit signal")
    assert load.resets == []
    # What runs when its process is killed, and nothing else.
    assert all("HTTP/1.1 502 " in text for text in load.lost), load.lost[:5]
    assert len(load.lost) <= (0 if end is stop_all else 3 * 4 * ROUNDS)
    assert [name for name, count in executed(httpd).items() if count != 1] == []
    answered = {body.split(b"\n", 1)[0].decode("ascii") for body in load.bodies}
    assert answered <= set(executed(httpd))


# -------- how many start at a time, over all groups

GROUPS = 8
PLACES = os.sysconf("SC_NPROCESSORS_ONLN") + 1
# Each import takes as long as the file takes-GROUP says, and writes when it began and when it ended.
TIMED = """
import os, time
HERE = os.path.dirname(os.path.realpath(__file__))
began = time.monotonic()
time.sleep(float(open(f"{HERE}/takes-{os.environ['GROUP']}").read()))
with open(f"{HERE}/times", "a") as file:
    file.write(f"{began} {time.monotonic()}\\n")
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"%d" % os.getpid()]
"""


@pytest.fixture
def serve_groups(serve):
    """Starts httpd with groups g0, g1, ..., whose imports take some seconds."""

    def start(count: int, takes: str, options: str = ""):
        groups = "".join(
            f"WSGIDaemonProcess g{number} env=GROUP=g{number} {options}\n"
            f"WSGIScriptAlias /g{number} ${{FILES}}/timed.wsgi process-name=g{number}\n"
            for number in range(count)
        )
        httpd = serve(groups, start=None, files={"timed.wsgi": TIMED})
        httpd.write("times", "").chmod(0o666)
        for number in range(count):
            httpd.write(f"takes-g{number}", takes)
        return httpd.start()

    return start


def times(httpd) -> list[list[float]]:
    lines = (httpd.files / "times").read_text().splitlines()
    return [[float(word) for word in line.split()] for line in lines]


def test_one_process_more_than_there_are_processors_starts_at_a_time(serve_groups):
    httpd = serve_groups(GROUPS, "0.5", "processes=2")
    wait_until(lambda: len(times(httpd)) == 2 * GROUPS, "all imports", 30)
    spans = times(httpd)
    at_once = [sum(began <= at < ended for began, ended in spans) for at, _ in spans]
    assert 1 < max(at_once) <= PLACES
    assert {httpd.get(f"/g{number}").status_code for number in range(GROUPS)} == {200}


COMPUTES = """
import time
end = time.process_time() + 0.2
while time.process_time() < end:
    pass
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"computed"]
"""


def test_a_graceful_that_starts_many_processes_keeps_no_static_file_waiting(serve):
    """If all of them computed at once, httpd's children would hardly get a turn."""
    httpd = serve(
        "WSGIDaemonProcess app processes=40\n"
        "WSGIScriptAlias /app ${FILES}/computes.wsgi process-name=app\n"
        "Alias /static ${FILES}/static\n<Directory ${FILES}>\nRequire all granted\n</Directory>\n",
        files={"computes.wsgi": COMPUTES, "static": "static"},
    )
    wait_until(lambda: len(httpd.log.find("WSGID0303")) == 40, "all processes", 60)
    since, longest = httpd.log.mark(), 0.0
    httpd.graceful()
    while len(httpd.log.find("WSGID0303", since)) < 40:
        answer = httpd.get("/static")
        assert answer.text == "static"
        longest = max(longest, answer.elapsed.total_seconds())
    assert longest < 1.5


def test_imports_that_hang_delay_other_groups_for_a_few_seconds_only(serve_groups):
    httpd = serve_groups(PLACES + 1, "0")
    pids = [int(httpd.get(f"/g{number}").text) for number in range(PLACES + 1)]
    for number in range(PLACES):
        httpd.write(f"takes-g{number}", "60")
        os.kill(pids[number], signal.SIGKILL)
    wait_until(
        lambda: len(httpd.log.find("WSGID0050")) == 2 * PLACES + 1, "all other imports to begin"
    )
    os.kill(pids[PLACES], signal.SIGKILL)
    answer = httpd.get(f"/g{PLACES}")
    assert int(answer.text) not in pids
    assert answer.elapsed.total_seconds() < 8


# -------- places to boot


def test_slots_that_nobody_serves_start_before_successors_of_processes_that_serve(serve):
    httpd = serve("", start=None)
    hello = (httpd.stage.apps / "hello.wsgi").read_text()
    httpd.write("slow.wsgi", f"import time\ntime.sleep(0.5)\n{hello}")

    def configure(*groups: str) -> None:
        httpd.configure(
            "".join(
                f"WSGIDaemonProcess {name}\n"
                f"WSGIScriptAlias /{name} ${{FILES}}/slow.wsgi process-name={name}\n"
                for name in groups
            )
        )

    served, fresh = [f"served{n}" for n in range(12)], [f"fresh{n}" for n in range(4)]
    configure(*served)
    httpd.start()
    httpd.wait_for_daemons(None, 12, timeout=60)
    wait_until(lambda: len(httpd.log.find("WSGID0053.*is ready")) >= 12, "all to be ready", 60)
    configure(*served, *fresh)
    since = httpd.log.mark()
    httpd.graceful()
    wait_until(lambda: len(httpd.log.find("WSGID0050", since)) == 16, "all starts", 60)
    starts = [record.text for record in httpd.log.find("WSGID0050", since)]
    last = max(number for number, text in enumerate(starts) if "group 'fresh" in text)
    places = (os.cpu_count() or 1) + 1
    before = [text for text in starts[:last] if "group 'served" in text]
    assert len(before) <= places, starts  # as many as there were places at first
