"""Adaptive spinning (apxs/common/spin.c): how often it polls before the thread should sleep.

Time is simulated: with each sched_yield() a microsecond passes.
"""

from __future__ import annotations

import ctypes

import pytest
from daemonenv import ROOT

LIMIT = 100  # polls of a spin, one for each microsecond
RETRY_EVERY = 64
ENOUGH = 100  # waits after which the average is settled

POLL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class Spin(ctypes.Structure):
    """wsgid_spin_t"""

    _fields_ = (("misses", ctypes.c_int), ("waits", ctypes.c_uint))


HARNESS = """
#define sched_yield pass_a_microsecond
#define clock_gettime tell_time
#include "common/spin.c"

static long microseconds;

int pass_a_microsecond(void)
{
    microseconds++;
    return 0;
}

int tell_time(clockid_t clock, struct timespec *time)
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
    """wait(n) waits for something that the nth poll finds, 0: none. Returns whether it was found,
    and the number of polls."""
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


def test_a_spin_polls_until_something_is_there(wait):
    assert wait(1) == (True, 1)
    assert wait(3) == (True, 3)


def test_a_spin_ends_after_its_limit(wait):
    assert wait(0) == (False, LIMIT)


def test_where_most_spins_miss_a_wait_polls_once_and_every_64th_spins(wait):
    for _ in range(ENOUGH):
        wait(0)
    polls = sorted(wait(0)[1] for _ in range(2 * RETRY_EVERY))
    assert polls == [1] * (2 * RETRY_EVERY - 2) + [LIMIT] * 2
    assert [wait(1) for _ in range(10)] == [(True, 1)] * 10


def test_where_every_spin_misses_only_every_64th_wait_polls(wait):
    for _ in range(60 * RETRY_EVERY):
        wait(0)
    polls = sorted(wait(0)[1] for _ in range(2 * RETRY_EVERY))
    assert polls == [0] * (2 * RETRY_EVERY - 2) + [LIMIT] * 2


def test_it_spins_again_once_that_pays(wait):
    for _ in range(ENOUGH):
        wait(0)
    for _ in range(20 * RETRY_EVERY):
        wait(2)
    assert [wait(2) for _ in range(10)] == [(True, 2)] * 10


def test_a_long_wait_among_short_ones_changes_nothing(wait):
    for number in range(ENOUGH):
        wait(0 if number % 4 == 0 else 2)
    assert [wait(2) for _ in range(10)] == [(True, 2)] * 10


def test_waits_that_a_caller_records_count_as_spins(library):
    spin = Spin()
    for _ in range(ENOUGH):
        library.wsgid_spin_record(ctypes.byref(spin), 0)
    pays = [library.wsgid_spin_pays(ctypes.byref(spin)) for _ in range(RETRY_EVERY)]
    assert sum(pays) == 1
    for _ in range(ENOUGH):
        library.wsgid_spin_record(ctypes.byref(spin), 1)
    assert library.wsgid_spin_pays(ctypes.byref(spin))
