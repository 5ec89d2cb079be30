"""Adaptive spinning (apxs/common/spin.c): how often it polls before it reports that it is time to
sleep.

The test replaces the clock: each call of sched_yield() takes one microsecond.
"""

from __future__ import annotations

import ctypes

import pytest
from daemonenv import ROOT

LEAST, MOST = 25, 100  # polls in one wait
PROBE_EVERY = 64
ENOUGH = 100  # waits after which the moving averages have settled

POLL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class Spin(ctypes.Structure):
    """wsgid_spin_t"""

    _fields_ = (("vain", ctypes.c_int), ("lasted", ctypes.c_int), ("waits", ctypes.c_uint))


HARNESS = """
#define sched_yield pass_a_microsecond
#define clock_gettime read_clock
#include "common/spin.c"

static long microseconds;

int pass_a_microsecond(void)
{
    microseconds++;
    return 0;
}

int read_clock(clockid_t clock, struct timespec *time)
{
    (void)clock;
    *time = (struct timespec){ microseconds / 1000000, microseconds % 1000000 * 1000 };
    return 0;
}
"""


@pytest.fixture(scope="module")
def library(gcc, tmp_path_factory):
    directory = tmp_path_factory.mktemp("spin")
    (directory / "harness.c").write_text(HARNESS)
    sources = ["-I", ROOT / "apxs", directory / "harness.c"]
    gcc("-fPIC", "-shared", "-o", directory / "spin.so", *sources)
    return ctypes.CDLL(str(directory / "spin.so"))


@pytest.fixture
def wait(library):
    """wait(n) waits for an event that the nth poll finds (0: none does); returns whether it was
    found, and the number of polls.
    """
    spin = Spin()

    def wait(there_at: int) -> tuple[bool, int]:
        polls = 0

        @POLL
        def poll(what) -> int:
            nonlocal polls
            polls += 1
            return polls == there_at

        return bool(library.wsgid_spin(ctypes.byref(spin), poll, None)), polls

    return wait


def test_it_polls_until_the_event_is_there(wait):
    assert wait(1) == (True, 1)
    assert wait(3) == (True, 3)


def test_it_gives_up_after_the_limit(wait):
    assert wait(0) == (False, MOST)


def test_the_limit_follows_the_length_of_earlier_waits(wait):
    for _ in range(ENOUGH):
        wait(1)
    assert wait(0) == (False, LEAST)
    wait(20)
    assert wait(0) == (False, 2 * 20)
    wait(39)
    assert wait(0) == (False, 2 * 39)
    wait(70)
    assert wait(0) == (False, MOST)


def test_one_long_wait_is_forgotten(wait):
    wait(70)
    for _ in range(5 * ENOUGH):
        wait(1)
    assert wait(0)[1] < MOST / 2


def test_after_misses_it_polls_once_and_rarely_spins(wait):
    for _ in range(ENOUGH):
        wait(0)
    polls = [wait(0)[1] for _ in range(2 * PROBE_EVERY)]
    assert sorted(polls)[: 2 * PROBE_EVERY - 2] == [1] * (2 * PROBE_EVERY - 2)
    assert sorted(polls)[-2] == MOST


def test_after_many_misses_it_only_probes_now_and_then(wait):
    for _ in range(60 * PROBE_EVERY):
        wait(0)
    polls = sorted(wait(0)[1] for _ in range(2 * PROBE_EVERY))
    assert polls[: 2 * PROBE_EVERY - 2] == [0] * (2 * PROBE_EVERY - 2)
    assert polls[-2] == MOST
    for _ in range(20 * PROBE_EVERY):
        wait(2)
    assert [wait(2) for _ in range(10)] == [(True, 2)] * 10


def test_the_single_poll_may_find_the_event(wait):
    for _ in range(ENOUGH):
        wait(0)
    assert [wait(1) for _ in range(10)] == [(True, 1)] * 10


def test_it_spins_again_once_spinning_succeeds(wait):
    for _ in range(ENOUGH):
        wait(0)
    for _ in range(20 * PROBE_EVERY):
        wait(2)
    assert [wait(2) for _ in range(10)] == [(True, 2)] * 10


def test_a_few_long_waits_among_short_ones_change_nothing(wait):
    for number in range(ENOUGH):
        wait(0 if number % 4 == 0 else 2)
    assert [wait(2) for _ in range(10)] == [(True, 2)] * 10
