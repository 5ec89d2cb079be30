"""Waiting awake (apxs/common/spin.c): how often it looks before it says that it is time to sleep.

Its clock is ours: each time that it offers the processor to others, a microsecond passes.
"""

from __future__ import annotations

import ctypes

import pytest
from daemonenv import ROOT

LEAST, MOST = 25, 100  # looks of a spin
PROBE_EVERY = 64
ENOUGH = 100  # waits after which it knows

LOOK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class Spin(ctypes.Structure):
    """wsgid_spin_t"""

    _fields_ = (("vain", ctypes.c_int), ("lasted", ctypes.c_int), ("waits", ctypes.c_uint))


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
    """wait(n) waits for what is there at the nth look, 0: never; tells whether it found it, and
    how often it looked."""
    spin = Spin()

    def wait(there_at: int) -> tuple[bool, int]:
        looks = 0

        @LOOK
        def look(what) -> int:
            nonlocal looks
            looks += 1
            return looks == there_at

        return bool(library.wsgid_spin(ctypes.byref(spin), look, None)), looks

    return wait


def test_it_looks_until_it_finds(wait):
    assert wait(1) == (True, 1)
    assert wait(3) == (True, 3)


def test_it_gives_up(wait):
    assert wait(0) == (False, MOST)


def test_it_looks_longer_where_waits_are_longer(wait):
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


def test_where_it_is_in_vain_it_looks_once_and_spins_hardly_ever(wait):
    for _ in range(ENOUGH):
        wait(0)
    looks = [wait(0)[1] for _ in range(2 * PROBE_EVERY)]
    assert sorted(looks)[: 2 * PROBE_EVERY - 2] == [1] * (2 * PROBE_EVERY - 2)
    assert sorted(looks)[-2] == MOST


def test_where_it_always_is_in_vain_it_looks_only_to_see_whether_that_has_changed(wait):
    for _ in range(60 * PROBE_EVERY):
        wait(0)
    looks = sorted(wait(0)[1] for _ in range(2 * PROBE_EVERY))
    assert looks[: 2 * PROBE_EVERY - 2] == [0] * (2 * PROBE_EVERY - 2)
    assert looks[-2] == MOST
    for _ in range(20 * PROBE_EVERY):
        wait(2)
    assert [wait(2) for _ in range(10)] == [(True, 2)] * 10


def test_the_one_look_may_find_it(wait):
    for _ in range(ENOUGH):
        wait(0)
    assert [wait(1) for _ in range(10)] == [(True, 1)] * 10


def test_it_learns_when_it_pays_again(wait):
    for _ in range(ENOUGH):
        wait(0)
    for _ in range(20 * PROBE_EVERY):
        wait(2)
    assert [wait(2) for _ in range(10)] == [(True, 2)] * 10


def test_one_that_lasts_among_many_that_do_not_changes_nothing(wait):
    for number in range(ENOUGH):
        wait(0 if number % 4 == 0 else 2)
    assert [wait(2) for _ in range(10)] == [(True, 2)] * 10
