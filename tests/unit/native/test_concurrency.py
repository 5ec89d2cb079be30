"""How many requests run at once: the search for the best number (pywsgid/native/concurrency.c).

The C code is driven with windows of made-up servers, whose rate at each level is known.
"""

from __future__ import annotations

import ctypes
import random

import pytest
from daemonenv import ROOT

HARNESS = """
#include "hotpath.h"

static wsgid_concurrency_t concurrency;

void start(int most, int crowded) { wsgid_concurrency_start(&concurrency, most, crowded); }
int limit(void) { return wsgid_concurrency_limit(&concurrency); }
int level(void) { return concurrency.level; }

int asks_for_waits(void) { return wsgid_concurrency_asks_for_waits(&concurrency); }
void expect_waits(void) { wsgid_concurrency_expect_waits(&concurrency); }

void learn(int64_t time, int64_t finished, int64_t queue, int64_t running, int64_t cpu, int64_t sleeps,
           int64_t processor_wait)
{
    wsgid_window_t window = { time, finished, queue, running, cpu, sleeps, processor_wait };

    wsgid_concurrency_learn(&concurrency, &window);
}
"""
MS = 1_000_000
WINDOW, WINDOW_MOST, WINDOW_FULL = 50 * MS, 200 * MS, 20  # as in gate.c
CONNECTIONS = 16
SETTLED = 80  # windows: some seconds

# Requests a second at 1, 4 and 15 at once; as measured of views of an application.
COMPUTES = {1: 7300, 4: 6100, 15: 5900}
COMPUTES_FREELY = {1: 1000, 4: 2000, 15: 2000}  # without the GIL, on two processors
QUERIES = {1: 1700, 4: 2700, 15: 2300}
WAITS = {1: 30, 4: 120, 15: 450}
# Of one of two processes on two busy processors: more threads take processors from the other one.
QUERIES_SHARED = {1: 1000, 4: 1900, 15: 1700}


@pytest.fixture(scope="module")
def library(gcc, tmp_path_factory):
    directory = tmp_path_factory.mktemp("concurrency")
    (directory / "harness.c").write_text(HARNESS)
    native = ROOT / "pywsgid" / "native"
    sources = [directory / "harness.c", native / "concurrency.c"]
    gcc("-fPIC", "-shared", "-I", native, "-o", directory / "concurrency.so", *sources)
    library = ctypes.CDLL(str(directory / "concurrency.so"))
    library.learn.argtypes = [ctypes.c_int64] * 7
    return library


class Server:
    """A daemon under load. `rates` are its requests a second at each level, `noise` the relative
    standard deviation of a window. A thread waits for a processor for the part `waits` of the time.
    """

    def __init__(
        self,
        library,
        rates,
        *,
        most=15,
        noise=0.0,
        sleeps=3,
        cpu=0.6,
        waits=0.0,
        seed=1,
        crowded=True,
    ) -> None:
        self.library, self.rates, self.noise = library, rates, noise
        # of each request; processors that are used
        self.sleeps, self.cpu, self.waits = sleeps, cpu, waits
        self.random = random.Random(seed)
        self.levels = []
        library.start(most, crowded)

    def run(self, windows, connections=CONNECTIONS) -> int:
        """That many windows of a load that always has `connections` requests in flight. Returns the
        level in the end.
        """
        for _ in range(windows):
            limit = min(self.library.limit(), connections)
            rate = self.rates[limit] * max(0.1, 1 + self.random.gauss(0, self.noise))
            time = min(WINDOW_MOST, max(WINDOW, int(WINDOW_FULL / rate * 1e9)))
            finished = int(rate * time / 1e9)
            response = connections / rate * 1e9
            queue = int(finished * response * (connections - limit) / connections)
            sleeps, cpu = int(self.sleeps * finished), int(self.cpu * time)
            waits = int(self.waits * limit * time) if self.library.asks_for_waits() else 0
            self.library.learn(time, finished, queue, limit * time, cpu, sleeps, waits)
            self.levels.append(self.library.level())
        return self.levels[-1]


def near(rates, level):
    """Whether a level is as good as the best, or nearly."""
    return rates[level] >= 0.95 * max(rates.values())


def test_requests_that_compute_run_one_at_a_time(library):
    assert Server(library, COMPUTES, sleeps=0.3).run(SETTLED) == 1


def test_it_begins_with_one_at_a_time_and_with_four_once_requests_are_seen_to_wait(library):
    computes = Server(library, COMPUTES, sleeps=0.3)
    assert library.limit() == 1
    computes.run(SETTLED)
    assert set(computes.levels) == {1}
    assert Server(library, QUERIES, sleeps=3).run(1) == 4


def test_requests_that_compute_without_the_gil_overlap_after_a_while(library):
    server = Server(library, COMPUTES, sleeps=0.3, cpu=1.0)
    assert server.run(SETTLED) == 1
    server.rates = COMPUTES_FREELY
    assert near(COMPUTES_FREELY, server.run(20 * SETTLED))


def test_requests_that_ask_a_database_overlap(library):
    assert near(QUERIES, Server(library, QUERIES).run(SETTLED))


def test_requests_that_ask_a_database_run_one_at_a_time_where_processors_are_scarce(library):
    server = Server(library, QUERIES_SHARED, waits=0.2)
    assert server.run(SETTLED) == 1
    assert server.levels[SETTLED // 2 :].count(1) == SETTLED // 2


def test_a_process_with_processors_of_its_own_lets_requests_overlap_though_others_use_them(library):
    server = Server(library, QUERIES_SHARED, waits=0.2, crowded=False)
    assert near(QUERIES_SHARED, server.run(SETTLED))


def test_scarce_processors_leave_requests_that_wait_for_long_alone(library):
    assert Server(library, WAITS, cpu=0.05, waits=0.05).run(SETTLED) == 15


def test_one_thread_that_is_busy_enough_stays_alone_when_all_are_asleep_for_a_moment(library):
    server = Server(library, QUERIES_SHARED, waits=0.2)
    server.run(SETTLED)
    library.expect_waits()
    assert library.level() == 1
    server.waits = 0
    server.run(5 * SETTLED)
    assert near(QUERIES_SHARED, library.level())


def test_less_than_the_limit_but_more_than_one_at_once_is_compared_with_one(library):
    library.start(15, True)
    for _ in range(SETTLED):  # two run on average; one at a time would be better
        finished = 80 if library.limit() == 1 else 60
        library.learn(WINDOW, finished, 0, 2 * WINDOW, WINDOW, finished // 4, 0)
    assert library.level() == 1


def test_requests_that_wait_for_long_all_run(library):
    assert Server(library, WAITS).run(SETTLED) == 15


def test_a_change_of_the_traffic_is_followed(library):
    server = Server(library, QUERIES)
    server.run(SETTLED)
    server.rates, server.sleeps = COMPUTES, 0.3
    assert server.run(SETTLED) == 1
    server.rates, server.sleeps = QUERIES, 3
    assert near(QUERIES, server.run(SETTLED))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("rates", [COMPUTES, QUERIES, WAITS], ids=["computes", "queries", "waits"])
def test_noise_of_a_fifth_does_not_lead_astray(library, rates, seed):
    """The mean rate at the levels that it chooses is near the best."""
    server = Server(library, rates, noise=0.2, seed=seed, sleeps=0.3 if rates is COMPUTES else 3)
    server.run(SETTLED)
    server.levels.clear()
    server.run(5 * SETTLED)
    mean = sum(rates[level] for level in server.levels) / len(server.levels)
    assert mean >= 0.9 * max(rates.values())


def test_without_noise_a_good_level_is_found_within_a_second(library):
    for rates, sleeps in ((COMPUTES, 0.3), (QUERIES, 3)):
        assert near(rates, Server(library, rates, sleeps=sleeps).run(int(1e9 / WINDOW)))


def test_while_the_limit_does_not_matter_it_follows_what_runs(library):
    server = Server(library, QUERIES)
    server.run(SETTLED)
    for _ in range(SETTLED):  # one connection: half of the time nothing runs
        library.learn(WINDOW, 10, 0, WINDOW // 2, WINDOW // 4, 30, 0)
    assert library.level() == 1


def test_the_limit_is_never_above_the_number_of_threads(library):
    for most in (1, 2, 3, 5, 40):
        server = Server(library, dict.fromkeys(range(1, 41), 1000), most=most, noise=0.5)
        limits = set()
        for _ in range(500):
            limits.add(library.limit())
            server.run(1, connections=64)
        assert limits <= set(range(1, most + 1))


def test_it_compares_less_and_less_often_while_nothing_changes(library):
    server = Server(library, QUERIES)
    server.run(SETTLED)
    server.run(1000)
    others = 0
    for _ in range(1000):
        others += library.limit() != library.level()
        server.run(1)
    assert 0 < others < 50
