"""The status page: SetHandler wsgid-status in each of its forms, and our section of mod_status's
page.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from httpdenv import MPMS, Crowd, HeldRequests, Load, machine, wait_until
from httpdenv.client import request
from prometheus_client.openmetrics.parser import text_string_to_metric_families

REFERENCE = (Path(__file__).resolve().parents[2] / "docs/reference/status.md").read_text(
    encoding="utf-8"
)
PAGES = """
<Location /wsgid-status>
    SetHandler wsgid-status
    Require local
</Location>
<IfModule mod_status.c>
<Location /server-status>
    SetHandler server-status
    Require local
</Location>
</IfModule>
"""
CONFIGURATION = (
    PAGES
    + """
WSGIDaemonProcess app processes=2 threads=2
WSGIDaemonProcess other
WSGIDaemonProcess hostile
WSGIProcessName app
WSGIScriptAlias /gate ${APPS}/gate.wsgi
WSGIScriptAlias /hello ${APPS}/hello.wsgi
WSGIScriptAlias /wrong ${FILES}/wrong.wsgi
WSGIScriptAlias /executions ${APPS}/executions.wsgi
SetEnv EXECUTIONS ${FILES}/executions
WSGIScriptAlias /scribble ${APPS}/scribble.wsgi process-name=hostile
"""
)
WRONG = "def application(environ, start_response):\n    return 1 / 0\n"


@pytest.fixture(scope="module")
def httpd(make_httpd):
    httpd = make_httpd(CONFIGURATION, modules=["status"], files={"wrong.wsgi": WRONG})
    httpd.write("executions", "").chmod(0o666)
    httpd.get("/scribble")
    wait_until(
        lambda: [group["slots_ready"] for group in groups(httpd).values()] == [2, 1, 1],
        "all to be ready",
    )
    return httpd


def form(httpd, query: str) -> str:
    answer = httpd.get(f"/wsgid-status?{query}")
    assert answer.status_code == 200
    return answer.text


def groups(httpd) -> dict[str, dict]:
    return {group["name"]: group for group in json.loads(form(httpd, "json"))["groups"]}


def metrics(httpd) -> dict[str, float]:
    """{'wsgid_requests_total{group="app"}': value}; the official parser accepts the page."""
    return {
        f"{sample.name}{{{labels(sample.labels)}}}": sample.value
        for family in text_string_to_metric_families(form(httpd, "prometheus"))
        for sample in family.samples
    }


def labels(named: dict[str, str]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in sorted(named.items()))


def keys(text: str) -> dict[str, str]:
    """Parses ?auto into {key: value}."""
    return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)


def processes(group: dict) -> list[dict]:
    return [process for slot in group["slots"] for process in slot["processes"]]


def restarts(httpd, name: str) -> dict[str, int]:
    return {end["reason"]: end["count"] for end in groups(httpd)[name]["restarts"]}


# -------- contents


def test_processes_are_shown_with_their_start_times(httpd):
    group = groups(httpd)["app"]
    shown = processes(group)
    assert {process["pid"] for process in shown} == set(httpd.daemons("app"))
    assert group["user"] == machine.web_user()
    for process in shown:
        assert (process["state"], process["threads"]) == ("ready", 2)
        assert 1 <= process["at_once"] <= 2
        assert process["uptime_seconds"] > 0
        assert process["memory_bytes"] > 1 << 20
        assert process["cpu_seconds"] > 0


def test_every_form_shows_the_same_number_of_requests(httpd):
    before = groups(httpd)["app"]["requests"]
    for _ in range(5):
        assert httpd.get("/hello").status_code == 200
    wait_until(lambda: groups(httpd)["app"]["requests"] == before + 5, "the requests to be counted")
    assert metrics(httpd)['wsgid_requests_total{group="app"}'] == before + 5
    assert keys(form(httpd, "auto"))["WSGIDRequests[app]"] == str(before + 5)
    assert re.search(rf'data-requests="{before + 5}"', form(httpd, ""))


def test_times_in_the_queue_and_in_the_application_are_separate(httpd):
    wait_until(lambda: groups(httpd)["app"]["in_flight"] == 0, "nothing to be in flight")
    before = metrics(httpd)
    held = HeldRequests(httpd, "/gate", "times", 4)
    waiting = Crowd(httpd, "/hello")
    wait_until(
        lambda: groups(httpd)["app"]["longest_request_seconds"] > 0.3,
        "the requests to run for a while",
    )
    assert [answer.status_code for answer in held.release()] == [200] * 4
    waiting.join()
    wait_until(lambda: groups(httpd)["app"]["in_flight"] == 0, "nothing to be in flight")
    now = metrics(httpd)
    samples = {
        name: now[name] - before[name]
        for name in now
        if name.startswith(("wsgid_queue_s", "wsgid_application_s"))
    }
    assert (
        samples['wsgid_application_seconds_count{group="app"}']
        == samples['wsgid_queue_seconds_count{group="app"}']
        == 5
    )
    assert samples['wsgid_application_seconds_sum{group="app"}'] > 4 * 0.2
    assert samples['wsgid_application_seconds_bucket{group="app",le="0.131072"}'] <= 1
    assert samples['wsgid_queue_seconds_bucket{group="app",le="+Inf"}'] == 5
    shown = groups(httpd)["app"]["application_time"]
    assert shown["count"] == sum(bucket["count"] for bucket in shown["buckets"])
    assert shown["p50_seconds"] <= shown["p90_seconds"] <= shown["p99_seconds"]


def test_errors_and_the_version_of_python_are_shown(httpd):
    before = groups(httpd)["app"]["errors"]
    with httpd.log.expects("WSGID0331|Traceback"), httpd.log.allows("."):
        assert httpd.get("/wrong").status_code == 500
    wait_until(lambda: groups(httpd)["app"]["errors"] == before + 1, "the error to be counted")
    assert all(
        re.fullmatch(r"3\.\d+\.\d+\S*", process["python"])
        for process in processes(groups(httpd)["app"])
    )


def test_busy_threads_and_the_queue_are_shown(httpd):
    held = HeldRequests(httpd, "/gate", "busy", 4)
    shown = groups(httpd)["app"]
    assert (shown["busy_threads"], shown["threads"], shown["in_flight"], shown["queued"]) == (
        4,
        4,
        4,
        0,
    )
    running = [running for process in processes(shown) for running in process["running"]]
    assert [each["request"].split("?")[1] for each in running] == ["busy"] * 4
    assert all(0 <= each["elapsed_seconds"] <= shown["longest_request_seconds"] for each in running)
    assert form(httpd, "").count(f"<code>GET /gate{httpd.files}/gate-busy?busy</code>") == 4
    waiting = Crowd(httpd, "/hello", 3)
    wait_until(lambda: groups(httpd)["app"]["queued"] == 3, "three requests in the queue")
    assert metrics(httpd)['wsgid_requests_queued{group="app"}'] == 3
    assert keys(form(httpd, "auto"))["WSGIDQueued[app]"] == "3"
    assert [answer.status_code for answer in held.release()] == [200] * 4
    assert [answer.status_code for answer in waiting.join()] == [200] * 3
    wait_until(lambda: groups(httpd)["app"]["in_flight"] == 0, "nothing to be in flight")


def test_the_default_group_has_a_name(make_httpd):
    httpd = make_httpd(PAGES + "WSGIScriptAlias / ${APPS}/hello.wsgi\n")
    assert httpd.get("/").status_code == 200
    assert list(groups(httpd)) == ["%{GLOBAL}"]
    assert metrics(httpd)['wsgid_slots_ready{group="%{GLOBAL}"}'] == 1


# -------- requests for the page


def test_only_get_and_head_are_answered(httpd):
    with httpd.wire() as wire:
        wire.send(request("HEAD", "/wsgid-status?json"))
        answer = wire.read_response("HEAD")
        assert (answer.status, answer.all("Content-Type")) == (200, ["application/json"])
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        refused = httpd.request(method, "/wsgid-status")
        assert refused.status_code == 405
        assert {"GET", "HEAD"} == set(refused.headers["Allow"].split(",")) - {
            "TRACE"
        }  # httpd adds TRACE itself


def test_an_unknown_form_is_refused_with_a_list_of_the_forms(httpd):
    for query in ("xml", "JSON", "jsonx", "%00", "&json", "=json"):
        answer = httpd.get(f"/wsgid-status?{query}")
        assert answer.status_code == 400
        assert re.findall(r"\?[a-z]+", answer.text) == ["?auto", "?json", "?prometheus"]
        assert answer.text.count("\n") == 1


def test_parameters_with_values_and_unknown_parameters_are_accepted(httpd):
    """Prometheus gives each parameter a value; some programs add one to defeat caches."""
    assert form(httpd, "prometheus=").endswith("# EOF\n")
    assert json.loads(form(httpd, "json&_=4711"))


def test_each_form_has_its_content_type_and_is_not_cached(httpd):
    types = {
        "": "text/html; charset=utf-8",
        "auto": "text/plain; charset=utf-8",
        "json": "application/json",
        "prometheus": "application/openmetrics-text; version=1.0.0; charset=utf-8",
    }
    for query, expected in types.items():
        headers = httpd.get(f"/wsgid-status?{query}").headers
        assert (headers["Content-Type"], headers["Cache-Control"]) == (expected, "no-store")
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")


def test_access_is_controlled_by_the_configuration(make_httpd):
    httpd = make_httpd(
        PAGES.replace("Require local", "Require all denied")
        + "WSGIScriptAlias / ${APPS}/hello.wsgi\n"
    )
    with httpd.log.allows("AH01630"):
        assert httpd.get("/wsgid-status?json").status_code == 403


# -------- mod_status


def test_mod_status_has_a_section(httpd):
    text = httpd.get("/server-status").text
    section = text[text.index("<h2>mod_wsgid</h2>") :]
    assert re.search(r"<td><b>app</b></td><td>\S+</td><td>2 of 2</td><td>\d of 4</td>", section)
    assert re.search(
        r"<p><b>app</b> as user \S+: 2 of 2 processes ready",
        httpd.get("/server-status?notable").text,
    )


def test_mod_status_shows_the_same_with_auto(httpd):
    theirs = keys(httpd.get("/server-status?auto").text)
    assert "BusyWorkers" in theirs
    assert theirs["WSGIDSlotsReady[app]"] == "2"
    assert keys(form(httpd, "auto")).keys() <= theirs.keys()


# -------- reasons of restarts

RESTLESS = """
import os

def application(environ, start_response):
    if environ["PATH_INFO"] == "/exit":
        os._exit(3)
    start_response("200 OK", [])
    return [b"here"]
"""


@pytest.fixture(scope="module")
def restless(make_httpd):
    options = {"recycled": " maximum-requests=3"}
    names = ("killed", "crashed", "asked", "changed", "exited", "recycled")
    text = "".join(
        f"WSGIDaemonProcess {name}{options.get(name, '')}\n"
        f"WSGIScriptAlias /{name} ${{FILES}}/{name}.wsgi process-name={name}\n"
        for name in names
    )
    httpd = make_httpd(PAGES + text, files={f"{name}.wsgi": RESTLESS for name in names})
    for name in names:
        assert httpd.get(f"/{name}").status_code == 200
    return httpd


def wait_for_restart(httpd, name: str, reason: str) -> dict:
    """Waits for the latest restart to have this reason; returns its description."""
    wait_until(
        lambda: reason in restarts(httpd, name),
        lambda: f"{reason}: {groups(httpd)[name]['restarts']}",
    )
    (end,) = (end for end in groups(httpd)[name]["restarts"] if end["reason"] == reason)
    return end


@pytest.mark.parametrize(
    ("reason", "number"), [("killed", signal.SIGKILL), ("crashed", signal.SIGXCPU)]
)
def test_a_process_ended_by_a_signal_is_counted_with_the_signal(restless, reason, number):
    with restless.log.expects(f"WSGID0052.*'{reason}'"), restless.log.allows("AH00052"):
        os.kill(restless.daemons(reason)[0], number)
        assert wait_for_restart(restless, reason, reason)["last_signal"] == number
    assert f"(signal {int(number)})" in form(restless, "")


def test_a_process_that_ended_itself_is_counted_with_its_exit_code(restless):
    with restless.log.expects("WSGID0052.*'exited'", "WSGID0166"):
        assert restless.get("/exited/exit").status_code == 502
        assert wait_for_restart(restless, "exited", "exited")["last_exit_code"] == 3


def test_a_process_that_was_asked_to_leave_is_counted(restless):
    os.kill(restless.daemons("asked")[0], signal.SIGTERM)
    assert wait_for_restart(restless, "asked", "asked")["count"] == 1


def test_a_changed_script_is_counted(restless):
    restless.write("changed.wsgi", RESTLESS + "\n")
    assert wait_for_restart(restless, "changed", "changed")["count"] == 1


def test_recycling_is_counted(restless):
    for _ in range(3):
        assert restless.get("/recycled").status_code == 200
    assert wait_for_restart(restless, "recycled", "maximum-requests")["count"] == 1


def test_an_application_that_cannot_be_loaded_is_counted(make_httpd):
    text = "WSGIDaemonProcess broken\nWSGIScriptAlias / ${FILES}/broken.wsgi process-name=broken\n"
    httpd = make_httpd(
        PAGES + text, start=None, files={"broken.wsgi": "raise RuntimeError('broken')\n"}
    )
    with (
        httpd.log.expects("WSGID0056", "Traceback"),
        httpd.log.allows("WSGID0306", "WSGID0332", "RuntimeError"),
    ):
        httpd.start()
        assert wait_for_restart(httpd, "broken", "could-not-load")["last_exit_code"] == 84
        assert groups(httpd)["broken"]["slots_ready"] == 0
        assert "0 of 1 ready" in form(httpd, "")
        assert metrics(httpd)['wsgid_restarts_total{group="broken",reason="could-not-load"}'] >= 1
        httpd.write("broken.wsgi", RESTLESS)
        wait_until(
            lambda: groups(httpd)["broken"]["slots_ready"] == 1, "the fixed script to be served"
        )


def test_a_restart_of_httpd_is_counted(restless):
    before = restarts(restless, "killed").get("httpd", 0)
    restless.graceful()
    wait_until(
        lambda: restarts(restless, "killed").get("httpd", 0) == before + 1,
        "the restart to be counted",
    )
    assert restarts(restless, "crashed")["crashed"] == 1  # and earlier restarts are not forgotten


def test_counters_do_not_go_down_when_processes_are_replaced(httpd):
    since = metrics(httpd)
    last, sunk = dict(since), []

    def read_counters():
        now = metrics(httpd)
        sunk.extend(
            name for name, value in now.items() if is_counter(name) and value < last.get(name, 0)
        )
        last.update(now)
        return now

    def are_replaced(gone):
        read_counters()
        fresh = {
            process["pid"]
            for process in processes(groups(httpd)["app"])
            if process["state"] == "ready"
        }
        return len(fresh) == 2 and gone.isdisjoint(fresh)

    with Load(httpd, "/executions", 4) as load:
        for _ in range(3):
            gone = set(httpd.daemons("app"))
            for pid in gone:
                os.kill(pid, signal.SIGTERM)
            wait_until(lambda gone=gone: are_replaced(gone), "the processes to be replaced", 20)
    load.assert_nothing_lost()
    name = 'wsgid_restarts_total{group="app",reason="asked"}'
    wait_until(lambda: read_counters()[name] - since[name] >= 6, "all of them to be counted")
    assert sunk == []
    name = 'wsgid_requests_total{group="app"}'
    wait_until(
        lambda: metrics(httpd)[name] - since[name] == len(load.took),
        lambda: f"{len(load.took)} requests",
        5,
    )


def is_counter(name: str) -> bool:
    return "_process_" not in name and re.search(r"_(total|count|sum|bucket)\{", name) is not None


# -------- daemons that write false figures

LIES = {
    "ones": "ff",
    "control characters": "0a0d1b5b33316d09",
    "markup": "3c7363726970743e616c6572742831293c2f7363726970743e",
    "quotes": "225c22275c",
    "bytes above ASCII": "80c3a9fffee282ac",
    "percents": "25732564256e",
}


@pytest.mark.parametrize("lie", [*LIES, "noise"])
def test_false_figures_of_a_daemon_do_no_harm(httpd, lie):
    for start in (8, 4096):
        for _ in range(8 if lie == "noise" else 1):
            assert httpd.get(f"/scribble/{start}?{LIES.get(lie, lie)}").status_code == 200
            group = groups(httpd)["hostile"]
            for process in processes(group):
                assert 0 <= process["busy_threads"] <= process["threads"] <= 4096
                for running in process["running"]:
                    assert re.fullmatch(r"[ -~]{0,240}", running["request"])
                    assert running["elapsed_seconds"] <= process["uptime_seconds"]
            assert all(0 <= value <= 1e18 for value in metrics(httpd).values())
            html = form(httpd, "")
            assert html.count("<script") == 1
            assert re.fullmatch(r"[ -~\n]*", html)
            assert all(
                re.fullmatch(r"[ -~]+: [ -~]*", line) for line in form(httpd, "auto").splitlines()
            )
    assert groups(httpd)["app"]["slots_ready"] == 2


# -------- environments


@pytest.mark.parametrize("mpm", MPMS)
def test_the_page_works_under_every_mpm_without_mod_status(make_httpd, mpm):
    text = "WSGIDaemonProcess app\nWSGIProcessName app\nWSGIScriptAlias / ${APPS}/hello.wsgi\n"
    httpd = make_httpd(PAGES + text, mpm=mpm)
    assert httpd.get("/").status_code == 200
    wait_until(lambda: groups(httpd)["app"]["requests"] == 1, "the request to be counted")
    assert metrics(httpd)['wsgid_requests_total{group="app"}'] == 1
    assert "<h2>app</h2>" in form(httpd, "")


def test_twenty_groups_are_shown(make_httpd):
    names = [f"site-{number:02}" for number in range(20)]
    httpd = make_httpd(PAGES + "".join(f"WSGIDaemonProcess {name} threads=2\n" for name in names))
    assert list(groups(httpd)) == names
    assert [metrics(httpd)[f'wsgid_slots{{group="{name}"}}'] for name in names] == [1] * 20
    html = form(httpd, "")
    assert re.findall(r"<h2>(.*?)</h2>", html) == names
    assert re.findall(r'href="(#g\d+)">(.*?)</a>', html) == [
        (f"#g{number}", name) for number, name in enumerate(names)
    ]


@pytest.mark.parametrize("how", ["daemon", "debug"])
def test_the_page_works_in_an_ordinary_users_httpd(make_httpd, how):
    httpd = make_httpd(
        PAGES + "WSGIScriptAlias / ${APPS}/hello.wsgi\n", user=machine.web_user(), start=how
    )
    assert httpd.get("/").status_code == 200
    (group,) = groups(httpd).values()
    assert group["user"] == machine.web_user()
    assert processes(group)[0]["memory_bytes"] > 1 << 20


# In its own mount namespace.
HIDING = [
    "unshare",
    "--mount",
    "sh",
    "-c",
    'mount -t proc -o hidepid=2 proc /proc && exec "$@"',
    "sh",
]


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's daemons need root")
def test_figures_from_proc_are_missing_where_it_hides_other_users_processes(make_httpd):
    if subprocess.run([*HIDING, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no mount namespaces on this machine")
    user = machine.other_users()[0].pw_name
    text = f"WSGIDaemonProcess app user={user}\nWSGIProcessName app\nWSGIScriptAlias / ${{APPS}}/hello.wsgi\n"
    httpd = make_httpd(PAGES + text, start=None)
    plain = httpd._command()
    httpd._command = lambda: [*HIDING, *plain]
    httpd.start()
    assert httpd.get("/").status_code == 200
    group = groups(httpd)["app"]
    assert group["user"] == user
    (process,) = processes(group)
    assert (process["memory_bytes"], process["cpu_seconds"]) == (None, None)
    wait_until(
        lambda: processes(groups(httpd)["app"])[0]["requests"] == 1, "the request to be counted"
    )
    assert not [name for name in metrics(httpd) if "_memory_" in name or "_cpu_" in name]
    assert "MB" not in form(httpd, "")


# -------- the reference


def names_in(value) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(names_in, value.values()))
    return set().union(*map(names_in, value)) if isinstance(value, list) else set()


def test_the_reference_names_everything_on_the_page(httpd, restless):
    of_json = names_in(json.loads(form(httpd, "json"))) | names_in(
        json.loads(form(restless, "json"))
    )
    families = list(text_string_to_metric_families(form(httpd, "prometheus")))
    of_auto = {re.sub(r"\[.*", "[", key) for key in keys(form(restless, "auto"))}
    known = set(re.findall(r"`([A-Za-z_0-9]+\[?)[^`]*`", REFERENCE))
    assert of_json - known == set()
    assert {family.name for family in families} - known == set()
    assert of_auto - known == set()
    reasons = {
        family.name: {sample.labels["reason"] for sample in family.samples}
        for family in families
        if family.name == "wsgid_restarts"
    }["wsgid_restarts"]
    assert reasons - set(re.findall(r"^\| `([a-z-]+)`", REFERENCE, re.M)) == set()
