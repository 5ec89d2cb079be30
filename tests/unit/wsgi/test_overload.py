"""Which requests are refused for overload: the decision alone, with a clock and a queue of our own."""

from __future__ import annotations

import pytest

from pywsgid.daemon import logs
from pywsgid.daemon.wsgi import overload

MS = 1000  # microseconds
READY_AT = 1_700_000_000_000_000


class Log:
    group = "unit"

    def __init__(self):
        self.lines = []

    def write(self, level, text):
        self.lines.append((level, text))


class Page:
    finished = short = 0
    spent = 0.0

    def served(self):
        return self.finished, self.spent

    def short_waits(self):
        return self.short


class Process:
    """A process whose requests come and go as the test says. Times are milliseconds."""

    def __init__(self):
        self.now, self.takes = 100_000, 0.005
        self.page, self.log, self.woken = Page(), Log(), 0
        self.overload = overload.Overload(
            self.log, self.page, self._wake, READY_AT, clock=self._clock
        )
        self.due = self.overload.due

    def _clock(self):
        return self.now / 1000

    def _wake(self):
        self.woken += 1
        self.due = self.overload.poll(self._clock())

    @property
    def codes(self):
        return [text[:9] for _, text in self.log.lines]

    def request(self, waited, before=0, sent=None):
        """A thread has read a request. Returns whether it is refused."""
        self.now += 1
        sent = READY_AT + self.now * MS if sent is None else sent
        refused = self.overload.refuses(sent, waited * MS, before * MS)
        if not refused:
            self.page.finished += 1
            self.page.spent += self.takes
        return refused

    def serve(self, seconds, waited, before=0, each=5):
        """A request every `each` milliseconds. Returns how many are refused."""
        refused = 0
        for _ in range(int(seconds * 1000 / each)):
            self.now += each - 1
            refused += self.request(waited, before)
            if self._clock() >= self.due:
                self.due = self.overload.poll(self._clock())
        return refused

    def idle(self, seconds):
        """No request comes, or only those that need not wait."""
        until = self._clock() + seconds
        while self.due <= until:
            self.now = max(self.now, round(self.due * 1000))
            self.due = self.overload.poll(self._clock())
        self.now = round(until * 1000)


@pytest.fixture
def process():
    return Process()


@pytest.fixture
def overloaded(process):
    assert process.serve(1.2, 1500) > 0
    return process


def test_waits_below_a_second_are_no_overload(process):
    """Sixty-four clients that always wait, for example."""
    assert process.serve(60, 320) == 0
    assert process.log.lines == []


def test_a_burst_that_is_over_within_a_second_is_served(process):
    assert process.serve(0.95, 1500) == 0
    assert process.serve(0.05, 50) == 0
    assert process.serve(0.95, 1500) == 0
    assert process.log.lines == []


def test_when_all_have_waited_long_for_a_second_the_process_is_overloaded(process):
    assert process.serve(0.99, 1500) == 0
    assert process.serve(0.05, 1500) > 0
    assert process.codes == ["WSGID0360"]
    assert process.log.lines[0][0] == logs.WARN
    assert "group 'unit'" in process.log.lines[0][1]
    assert process.woken == 1, "the main thread watches for its end"


def test_then_only_what_has_waited_for_more_than_the_patience_is_refused(overloaded):
    assert overloaded.request(99) is False
    assert overloaded.request(101) is True
    assert overloaded.request(1500) is True
    assert overloaded.codes == ["WSGID0360"], "not a line for each"


def test_a_request_that_did_not_have_to_wait_breaks_the_window(process):
    """It never comes to the decision, but the statistics page has counted it."""
    for _ in range(5):
        assert process.serve(0.8, 1500) == 0
        process.page.short += 1
    assert process.log.lines == []


def test_a_few_requests_with_long_pauses_are_no_overload(process):
    """As after a process was stopped: each finds a long wait, but there are few."""
    assert [process.request(3000) for _ in range(5)] == [False] * 5
    process.idle(3600)
    assert [process.request(3000) for _ in range(4)] == [False] * 4


def test_waiting_in_httpd_counts_if_the_request_waited_here_too(process):
    assert process.serve(1.2, 700, before=800) > 0


def test_waiting_in_httpd_alone_does_not_count(process):
    """Another group occupies httpd's threads."""
    assert process.serve(5, 50, before=5000) == 0


def test_while_overloaded_the_time_in_httpd_counts_too(overloaded):
    """Otherwise the queue in front of httpd would not become shorter."""
    assert overloaded.request(50, before=5000) is False
    assert overloaded.request(60, before=20) is False
    assert overloaded.request(60, before=50) is True


def test_requests_from_before_the_process_was_ready_do_not_count(process):
    early = READY_AT - 1
    for _ in range(300):
        process.now += 4
        assert not process.request(20_000, sent=early)
    assert process.serve(0.9, 1500) == 0, "the window begins after the last of them"
    assert not process.request(20_000, sent=early)
    assert process.serve(0.9, 1500) == 0


def test_nor_if_they_waited_in_httpd_meanwhile(process):
    for _ in range(300):
        process.now += 4
        assert not process.request(1000, before=9000, sent=READY_AT + 8_999 * MS)


def test_two_seconds_in_which_no_request_had_to_wait_end_it(overloaded):
    overloaded.idle(1.9)
    assert overloaded.codes == ["WSGID0360"]
    overloaded.idle(0.2)
    assert overloaded.codes == ["WSGID0360", "WSGID0361"]
    assert overloaded.serve(0.9, 500) == 0, "a short patience no more"


def test_ten_seconds_in_which_none_was_refused_end_it(overloaded):
    overloaded.serve(9.9, 90)
    assert overloaded.codes == ["WSGID0360"]
    overloaded.serve(0.2, 90)
    assert overloaded.codes == ["WSGID0360", "WSGID0361"]


def test_the_last_line_says_how_many_were_refused(process):
    refused = process.serve(3, 1500)
    process.idle(3)
    level, text = process.log.lines[-1]
    assert level == logs.NOTICE
    assert f" {refused} requests " in text


def test_it_lasts_as_long_as_there_are_refusals(overloaded):
    for _ in range(5):
        overloaded.serve(9, 90)
        assert overloaded.request(500)
    assert overloaded.codes == ["WSGID0360"]


def test_a_trial_shows_that_waits_are_no_longer_than_people_bear(overloaded):
    """Clients that always wait a third of a second are refused only until the first trial."""
    assert overloaded.serve(59, 320) > 0
    overloaded.serve(1, 320)
    assert overloaded.serve(30, 320) == 0
    assert overloaded.codes == ["WSGID0360", "WSGID0361"]


def test_a_trial_that_fails_is_repeated_after_twice_the_time(overloaded):
    def tolerates():
        return not overloaded.request(320)

    trials = 0
    for _ in range(400):  # seconds
        overloaded.idle(1)
        trials += tolerates()
        assert overloaded.request(1500), "too long even for a trial, which ends with it"
        assert not tolerates()
    assert trials == 2, "after 60 and 180 seconds; the next one comes after 420"
    assert overloaded.codes == ["WSGID0360"]


def test_a_slow_application_may_have_some_requests_waiting(process):
    """One request a second: three may wait always, six for a while."""
    assert process.serve(60, 5_900, each=1000) == 0
    assert process.serve(30, 6_500, each=1000) > 0
    assert not process.request(2_900)
    assert process.request(3_500)


def test_a_wait_of_twice_the_time_that_a_request_takes_is_no_overload(process):
    """Reports that take five seconds, several at once."""
    process.takes = 5.0
    assert process.serve(60, 9_900, each=100) == 0
    assert process.serve(5, 10_100, each=100) > 0
    assert process.request(400)


def test_the_clock_may_be_set_back(process):
    assert process.serve(2, -5_000_000) == 0
