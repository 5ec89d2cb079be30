"""Recycling: each limit leads to one replacement request with its reason, and to nothing else. The
test plays the part of httpd's parent.
"""

from __future__ import annotations

import contextlib
import time

from daemonenv import Daemon, wait_until

from pywsgid.daemon.process import limits
from pywsgid.wire import process_abi


def logged_reason(daemon):
    line = daemon.wait_for_log("WSGID0350")
    assert "[wsgid:info]" in line
    assert "group 'unit'" in line
    return line.partition("because ")[2]


def test_maximum_requests_requests_a_replacement(tmp_path):
    with Daemon(tmp_path, maximum_requests=3) as daemon:
        for _ in range(2):
            daemon.get("hello.wsgi")
        assert daemon.replacement_requests()[0] == 0
        daemon.get("hello.wsgi")
        daemon.wait_for_replacement_request(process_abi.REPLACE_REQUESTS)
        assert logged_reason(daemon).startswith("it has served 3 requests (maximum-requests)")
        assert daemon.get("hello.wsgi").complete, "it keeps serving until it is replaced"


def test_jitter_raises_maximum_requests(tmp_path):
    with Daemon(tmp_path, maximum_requests=2, maximum_requests_jitter=4) as daemon:
        for _ in range(6):
            daemon.get("hello.wsgi")
        daemon.wait_for_replacement_request(process_abi.REPLACE_REQUESTS)


class Page:
    started = finished = 0

    def counts(self):
        return self.started, self.finished


def test_jitter_differs_between_processes():
    assert {limits.Requests(10, 5, None).most for _ in range(200)} == {10, 11, 12, 13, 14, 15}


def test_the_last_request_is_noticed_even_if_another_thread_counts_at_once():
    class Lock:
        def __enter__(self):
            pass

        def __exit__(self, *_):
            requests._count += 1  # the other thread, as soon as it can

    woken = []
    requests = limits.Requests(1, 0, lambda: woken.append(True))
    requests._lock = Lock()
    requests.count()
    assert woken == [True]


def test_restart_interval_requests_a_replacement(tmp_path):
    with Daemon(tmp_path, restart_interval=0.3) as daemon:
        daemon.wait_for_replacement_request(process_abi.REPLACE_INTERVAL)
        assert logged_reason(daemon).startswith("it has served for 0.3 s (restart-interval)")


def test_inactivity_timeout_requests_a_replacement(tmp_path):
    with Daemon(tmp_path, inactivity_timeout=0.4) as daemon:
        since = time.monotonic()
        while time.monotonic() < since + 1:
            assert daemon.get("hello.wsgi").complete
        assert daemon.replacement_requests()[0] == 0
        daemon.wait_for_replacement_request(process_abi.REPLACE_INACTIVITY)
        assert logged_reason(daemon).startswith(
            "it has had no request for 0.4 s (inactivity-timeout)"
        )


def test_a_process_that_never_had_a_request_is_not_replaced_for_inactivity():
    inactivity = limits.Inactivity(10, Page(), 100.0)
    assert inactivity.check(1000.0) == (None, 1002.5)


def test_a_long_request_is_activity():
    page = Page()
    page.started = page.finished = 1
    inactivity = limits.Inactivity(10, page, 100.0)
    page.started = 2
    assert inactivity.check(200.0)[0] is None
    page.finished = 2
    assert inactivity.check(205.0)[0] is None
    assert inactivity.check(214.0)[0] is None
    assert inactivity.check(215.0)[0] is not None


def test_maximum_rss_requests_a_replacement(tmp_path):
    with Daemon(tmp_path, scripts=["grows.wsgi"], maximum_rss=100 << 20) as daemon:
        assert daemon.get("grows.wsgi").complete
        assert daemon.replacement_requests()[0] == 0
        assert daemon.get("grows.wsgi", QUERY_STRING="120000000").complete
        daemon.wait_for_replacement_request(process_abi.REPLACE_MEMORY)
        assert "(maximum-rss=100M)" in logged_reason(daemon)


def test_a_limit_that_is_too_small_from_the_start_is_logged_and_ignored(tmp_path):
    with Daemon(
        tmp_path, scripts=["grows.wsgi"], maximum_rss=1 << 20, restart_interval=0.5
    ) as daemon:
        assert "maximum-rss=1M " in daemon.wait_for_log("WSGID0357")
        daemon.wait_for_replacement_request(process_abi.REPLACE_INTERVAL)
        assert daemon.log_text().count("WSGID0357") == 1


def test_the_delay_grows_with_each_failed_replacement(tmp_path):
    with Daemon(tmp_path, maximum_requests=1) as daemon:
        daemon.get("hello.wsgi")
        for number, seconds in ((1, "1 s"), (2, "2 s")):
            daemon.wait_for_replacement_request(process_abi.REPLACE_REQUESTS, number)
            refused = time.monotonic()
            daemon.refuse_replacement()
            daemon.wait_for_log(f"asks again in {seconds}")
        daemon.wait_for_replacement_request(process_abi.REPLACE_REQUESTS, 3)
        assert time.monotonic() >= refused + 2
        assert daemon.get("hello.wsgi").complete


def test_without_limits_the_module_is_not_imported(tmp_path):
    script = tmp_path / "modules.wsgi"
    script.write_text(
        "import sys\ndef application(environ, start_response):\n    start_response('200 OK', [])\n"
        "    return [' '.join(sys.modules).encode()]\n"
    )
    with Daemon(tmp_path) as daemon:
        loaded = daemon.get(script).body.decode().split()
    assert not {
        "pywsgid.daemon.process.limits",
        "pywsgid.daemon.process.stuck",
        "ctypes",
        "random",
    } & set(loaded)


def test_an_error_in_a_periodic_task_is_logged_and_the_process_continues(tmp_path):
    """An exception in check() represents any bug of ours."""
    script = tmp_path / "breaks.wsgi"
    script.write_text(
        "from pywsgid.daemon.process import limits\ndef application(environ, start_response):\n"
        "    limits.Interval.check = None\n    start_response('200 OK', [])\n    return [b'broken']\n"
    )
    with Daemon(tmp_path, restart_interval=1) as daemon:
        assert daemon.get(script).complete
        daemon.wait_for_log("WSGID0325")
        assert daemon.get("hello.wsgi").complete
        daemon.close_lifeline_with_byte()
        assert daemon.wait() == 0
        daemon.log_path.write_text(daemon.log_text().replace("WSGID0325", "expected"))
        wait_until(daemon.has_ended, "its end")


STARVES = """
import resource
def application(environ, start_response):
    if environ["PATH_INFO"] == "/starve":
        with open("/proc/self/status") as file:
            size = int(next(line for line in file if line.startswith("VmData:")).split()[1]) << 10
        resource.setrlimit(resource.RLIMIT_DATA, (size + 100_000, resource.RLIM_INFINITY))
    if environ["PATH_INFO"] == "/feed":
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    start_response("200 OK", [])
    return [b"lives"]
"""


def test_running_out_of_memory_costs_a_request_but_no_worker(tmp_path):
    script = tmp_path / "starves.wsgi"
    script.write_text(STARVES)
    with Daemon(tmp_path, scripts=[script], threads=2) as daemon:
        assert daemon.get(script, PATH_INFO="/starve").body == b"lives"
        for _ in range(6):
            client = daemon.connect()
            with contextlib.suppress(
                ConnectionError
            ):  # the request may be lost while it is still being read
                client.request(script, HTTP_X_LARGE="v" * 900_000)
            assert client.is_closed()
            client.close()
            assert daemon.get(script).body == b"lives"
        daemon.wait_for_replacement_request(process_abi.REPLACE_MEMORY)
        daemon.wait_for_log("WSGID0346")
        assert daemon.get(script, PATH_INFO="/feed").body == b"lives"
        assert daemon.get(script, HTTP_X_LARGE="v" * 900_000).body == b"lives"


def test_threads_that_cannot_be_started_are_logged(tmp_path):
    script = tmp_path / "narrow.wsgi"
    script.write_text(
        "import resource\nwith open('/proc/self/statm') as file:\n    pages = int(file.read().split()[0])\n"
        "size = pages * resource.getpagesize() + (60 << 20)\nresource.setrlimit(resource.RLIMIT_AS, (size, size))\n"
        "def application(environ, start_response): pass\n"
    )
    with Daemon(tmp_path, scripts=[script], threads=100, ready=False) as daemon:
        assert daemon.wait() == process_abi.EXIT_LOAD
        assert "of 100 threads" in daemon.wait_for_log("WSGID0319")
        assert daemon.state() == process_abi.STATE_BOOTING
