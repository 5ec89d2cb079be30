"""How many processes a pool has (apxs/guardian/elastic.c): the real decision scales a simulated pool
(poolenv.py), and meets random loads. docs/elastic.md shows the same patterns as a plot.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st
from poolenv import SECOND, Decision, Load, Pool, crawler, daily, load_library, on_off, steady

IDLE_AFTER = 60  # seconds
LOOK = 0.1


@pytest.fixture(scope="module")
def library(gcc, tmp_path_factory):
    return load_library(gcc, tmp_path_factory.mktemp("elastic"))


@pytest.fixture
def play(library):
    """Plays a pattern with a pool; checks what must hold for each of them."""

    def run(arrivals, seconds, least=1, most=8, **pool):
        result = Pool(Decision(library, least, most, IDLE_AFTER), **pool).play(arrivals, seconds)
        assert all(least <= number <= most for _, number in result.wanted)
        assert_does_not_flap(result)
        return result

    return run


def assert_does_not_flap(result):
    """No process leaves sooner than idle_after after any change, and they leave one at a time."""
    for (time, before), (later, after) in zip(result.wanted, result.wanted[1:]):
        if after < before:
            assert after == before - 1
            assert later - time > IDLE_AFTER - 0.01


# ---- patterns; 4 requests of 0.1 s at once are 40 a second for each process


def test_little_traffic_needs_one_process(play):
    result = play(steady(5, 0.1, seconds=3600), 3600)
    assert result.changes() == 0


def test_a_steady_load_gets_what_it_needs_and_then_nothing_changes(play):
    result = play(steady(100, 0.1, seconds=600), 600)
    assert result.most() in (3, 4, 5)
    assert result.changes(since=60) == 0
    assert result.wait(0.99, since=60) < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_views_that_compute_get_what_they_need(play, seed):
    result = play(steady(150, 0.02, 600, seed), 600, at_once=1, seed=seed)  # needs more than 3
    assert result.most() in (4, 5, 6, 7)
    assert result.changes(since=30) <= 4
    assert result.wait(0.99, since=30) < 0.2


def test_the_number_follows_the_day(play):
    day = 3600
    result = play(daily(1, 100, 0.1, day), 2 * day)
    noon = [number for time, number in result.wanted if 0.4 * day < time < 0.6 * day]
    assert max(noon) in (3, 4, 5)
    assert result.wanted[-1][1] <= 2, "the second night"
    assert result.changes() <= 16
    assert result.wait(0.99) < 0.25
    assert result.mean(2 * day) < 3


def test_a_burst_is_served_soon_and_then_the_processes_leave(play):
    result = play(on_off(150, 0.1, on=60, off=600, seconds=1200, low=2), 1200, boot=(1, 1))
    assert result.most() in (4, 5, 6, 7)
    assert result.wait(0.99, 620, 660) < 0.1, "20 s after it began"
    assert result.wanted[-1][1] == 1


def test_a_large_burst_gets_several_processes_at_once(play):
    result = play(on_off(300, 0.1, on=60, off=30, seconds=90, low=2), 90, most=16, boot=(1, 1))
    steps = [b - a for (_, a), (_, b) in zip(result.wanted, result.wanted[1:])]
    assert max(steps) > 1
    assert result.wait(0.99, 50, 90) < 0.1, "20 s after it began; one at a time needs 36 s"


def test_a_load_that_comes_and_goes_keeps_its_processes(play):
    result = play(on_off(100, 0.1, on=20, off=20, seconds=1800), 1800)
    assert result.changes(since=120) == 0
    assert result.wait(0.99, since=120) < 0.1


def test_a_crawler_gets_one_process_for_hours_and_none_afterwards(play):
    result = play(crawler(0.5, 0.3, seconds=2 * 3600), 2 * 3600 + 120, least=0)
    assert [number for _, number in result.wanted] == [0, 1, 0]


def test_rare_requests_start_a_process_each_and_it_leaves(play):
    result = play(crawler(300, 0.3, seconds=7200), 7200, least=0)
    assert {number for _, number in result.wanted} == {0, 1}
    assert result.mean(7200) < 0.35
    assert result.wait(1) <= 2.0, "they wait for the start, and for nothing else"


def test_an_idle_pool_is_not_looked_at(play):
    result = play([(0.0, 0.1)], 10 * 3600, least=0)
    assert result.looks <= 5
    assert play([], 3600, least=2).looks == 0


# ---- what is no reason for another process


def test_a_crowd_that_waits_for_the_first_process_is_no_reason(play):
    crowd = [(0.001 * i, 0.01) for i in range(100)]  # 400 a second
    assert play(crowd, 60, least=0, boot=(2, 2)).most() == 1


def test_a_page_with_thirty_pictures_is_no_reason(play):
    pages = [(2.0 * page, 0.1) for page in range(100) for _ in range(30)]  # 0.75 s of work
    assert play(pages, 240).most() == 1


def test_requests_that_wait_for_a_stuck_process_are_one_reason_but_not_two(play):
    stuck = [(1.0, 300.0)] * 20
    others = [(10 + i * 0.5, 0.1) for i in range(600)]
    result = play(stuck + others, 400)
    assert result.most() <= 3
    assert result.wait(0.99, since=30) == 0


def test_nothing_is_added_while_a_process_starts(play):
    result = play(steady(100, 0.1, seconds=30), 30, boot=(60, 60), least=0)
    assert result.most() == 1


def test_a_process_that_starts_slowly_is_waited_for(play):
    result = play(steady(60, 0.1, seconds=200), 200, boot=(IDLE_AFTER + 20,) * 2)
    assert [number for _, number in result.wanted] in ([1, 2], [1, 2, 3])


# ---- one moment after the other: a load that stays as it is, or changes at each look


def feed(library, rate, wait, unread, ready=2, starting=0, used=True, seconds=3.0, grow=1.0):
    """What is decided about requests that `rate` a second are read and had waited for so long, while
    others wait; unread changes by the factor `grow` at each look.
    """
    decision = Decision(library, 1, 100, IDLE_AFTER)
    load = Load(now=SECOND, ready=ready, starting=starting, last_is_used=used)
    for _ in range(int(seconds / LOOK) + 1):
        load.in_flight = load.running + int(unread)
        wanted = decision.decide(load, ready + starting)
        if wanted != ready + starting:
            return wanted - ready - starting
        load.now += int(LOOK * SECOND)
        load.started += int(rate * LOOK)
        load.waited += int(rate * LOOK * wait * SECOND)
        unread *= grow
    return 0


@pytest.mark.parametrize(
    ("expected", "load"),
    [
        pytest.param(1, {"rate": 100, "wait": 0.15, "unread": 15}, id="they wait"),
        pytest.param(0, {"rate": 1000, "wait": 0.02, "unread": 20}, id="they wait for a moment"),
        pytest.param(0, {"rate": 100, "wait": 3, "unread": 2}, id="the pool has caught up"),
        pytest.param(0, {"rate": 10, "wait": 0, "unread": 10}, id="one process is stuck"),
        pytest.param(0, {"rate": 100, "wait": 1, "unread": 99, "used": False}, id="one is idle"),
        pytest.param(0, {"rate": 100, "wait": 1, "unread": 900, "grow": 0.95}, id="fewer wait"),
        pytest.param(0, {"rate": 100, "wait": 1, "unread": 99, "starting": 1}, id="one starts"),
        pytest.param(0, {"rate": 100, "wait": 1, "unread": 99, "seconds": 0.9}, id="not for long"),
        pytest.param(1, {"rate": 0, "wait": 0, "unread": 1}, id="all are stuck"),
        pytest.param(0, {"rate": 0, "wait": 0, "unread": 1, "used": False}, id="the last is free"),
        pytest.param(1, {"rate": 20, "wait": 1, "unread": 9, "grow": 1.2}, id="too few to tell"),
    ],
)
def test_what_is_a_reason_for_one_more(library, expected, load):
    assert feed(library, **load) == expected


def test_as_many_are_added_as_would_have_read_what_was_left_over(library):
    # in half a second 50 are read by 2 processes, and about 100 more wait
    assert 3 <= feed(library, rate=100, wait=1, unread=80, grow=1.1, ready=2) <= 8


def test_a_pool_that_was_given_a_process_keeps_it_for_a_while(library):
    decision = Decision(library, 0, 2, IDLE_AFTER)
    assert decision.decide(Load(now=1000 * SECOND), 0) == 0
    assert decision.decide(Load(now=2000 * SECOND, starting=1), 1) == 1
    assert decision.decide(Load(now=2059 * SECOND, ready=1), 1) == 1
    assert decision.decide(Load(now=2060 * SECOND, ready=1), 1) == 0


def test_a_request_keeps_the_last_process(library):
    decision = Decision(library, 0, 2, IDLE_AFTER)
    assert decision.decide(Load(now=SECOND, in_flight=1), 0) == 1
    for second in range(2, 300):
        load = Load(now=second * SECOND, ready=1, in_flight=1, running=1)
        assert decision.decide(load, 1) == 1


# ---- whatever happens

LOADS = st.tuples(
    st.integers(1, 70_000_000),  # microseconds since the look before
    st.integers(0, 5),  # starting
    st.integers(0, 50),  # in flight
    st.integers(0, 50),  # running
    st.integers(0, 100),  # more were started
    st.integers(0, 500_000),  # each had waited
    st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(
    least=st.integers(0, 5),
    more=st.integers(0, 10),
    before=st.integers(0, 20),
    loads=st.lists(LOADS, max_size=60),
)
def test_the_rules_hold_for_any_load(library, least, more, before, loads):
    most = max(1, least + more)
    decision = Decision(library, least, most, IDLE_AFTER)
    desired, changed, now = before, None, SECOND
    load = Load()
    for step, starting, in_flight, running, read, waited, last_is_used in loads:
        now += step
        ready = max(0, desired - starting)
        load = Load(
            now=now,
            ready=ready,
            starting=desired - ready,
            in_flight=in_flight,
            running=min(running, in_flight),
            started=load.started + read,
            waited=load.waited + read * waited,
            last_is_used=last_is_used,
        )
        wanted = decision.decide(load, desired)
        assert least <= wanted <= most
        assert wanted > 0 or in_flight == 0
        if least <= desired <= most:
            if wanted > desired:
                assert load.starting == 0 or (desired == 0 and in_flight), "one starts already"
            if wanted < desired:
                assert wanted == desired - 1 and not last_is_used
                assert changed is None or now - changed >= IDLE_AFTER * SECOND
        if wanted != desired:
            changed = now
        desired = wanted
        asked = decision.next(desired)
        assert asked == 0 or asked > now, "a guardian never spins"
        assert desired == least or asked, "a surplus process is looked at"
        if in_flight == 0 and desired == least:
            assert asked == 0


def test_requests_that_wait_are_looked_at_often(library):
    decision = Decision(library, 1, 4, IDLE_AFTER)
    load = Load(now=SECOND, ready=1, in_flight=9, running=4)
    assert decision.decide(load, 1) == 1
    assert SECOND < decision.next(1) <= (1 + LOOK) * SECOND
