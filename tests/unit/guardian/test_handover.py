"""What guardians of one slot do (apxs/guardian/handover.c): a model of guardians and processes plays
random orders of restarts, starts, deaths and ends of httpd's children against the table.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

import pytest
from daemonenv import ROOT
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

NEWEST, SUPERSEDED, RETIRED, STOPPED = range(4)
NOBODY, OURS, NEWER = range(3)
START, SERVE, BOOT, LEAVE = range(4)
ENTRIES = 4  # WSGID_SLOT_PROCESSES


@pytest.fixture(scope="module")
def duty(gcc, tmp_path_factory):
    """wsgid_handover_duty()."""
    path = tmp_path_factory.mktemp("handover") / "handover.so"
    gcc("-fPIC", "-shared", "-I", ROOT / "apxs", "-o", path, ROOT / "apxs/guardian/handover.c")
    return ctypes.CDLL(str(path)).wsgid_handover_duty


@dataclass(eq=False)
class Process:
    configuration: int
    state: str = "booting"  # ready, leaving


@dataclass(eq=False)
class Guardian:
    configuration: int
    has_slot: bool  # its configuration has the slot
    children: bool = True  # children of httpd live that have this configuration
    processes: list[Process] = field(default_factory=list)


class Slot(RuleBasedStateMachine):
    """A slot, its guardians and their processes. Guardians look at it at random moments."""

    duty = None

    def __init__(self) -> None:
        super().__init__()
        self.guardians: list[Guardian] = []
        self.newest_ready = 0
        self.deaths = False  # since the slot was last served
        self.has_served = False
        self.restart()

    # ---- what happens

    def restart(self, has_slot: bool = True) -> None:
        self.guardians.append(Guardian(len(self.guardians) + 1, has_slot))

    @rule()
    def httpd_is_restarted_gracefully(self) -> None:
        self.restart()

    @rule()
    def a_restart_removes_the_group(self) -> None:
        self.restart(has_slot=False)

    @precondition(lambda self: any(g.children for g in self.guardians[:-1]))
    @rule(data=st.data())
    def the_last_child_of_an_older_configuration_ends(self, data) -> None:
        old = [g for g in self.guardians[:-1] if g.children]
        data.draw(st.sampled_from(old)).children = False

    @precondition(lambda self: self.running("booting"))
    @rule(data=st.data())
    def a_process_becomes_ready(self, data) -> None:
        process = data.draw(st.sampled_from(self.running("booting")))
        process.state = "ready"
        self.has_served, self.deaths = True, False

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def a_process_dies(self, data) -> None:
        process = data.draw(st.sampled_from(self.running()))
        if process.state != "leaving":
            self.deaths = True
        self.end(process)

    @precondition(lambda self: self.running("leaving"))
    @rule(data=st.data())
    def a_process_that_was_asked_leaves(self, data) -> None:
        self.end(data.draw(st.sampled_from(self.running("leaving"))))

    @rule(data=st.data())
    def a_guardian_looks(self, data) -> None:
        self.look(data.draw(st.sampled_from(self.guardians)))

    # ---- what a guardian does

    def look(self, guardian: Guardian) -> None:
        if not guardian.has_slot:
            return
        ready = [p for p in guardian.processes if p.state == "ready"]
        if ready:
            self.newest_ready = max(self.newest_ready, guardian.configuration)
        duty = Slot.duty(self.role(guardian), self.serves(guardian, ready))
        booting = [p for p in guardian.processes if p.state == "booting"]
        if duty == START:
            if not booting and len(self.running()) < ENTRIES:
                guardian.processes.append(Process(guardian.configuration))
        elif duty == SERVE:
            self.ask(guardian, keep=ready[-1:])
        elif duty == BOOT:
            self.ask(guardian, keep=booting[:1])
        else:
            self.ask(guardian, keep=[])

    def role(self, guardian: Guardian) -> int:
        wanted = max((g.configuration for g in self.guardians if g.has_slot), default=0)
        is_removed = not self.guardians[-1].has_slot
        if is_removed and not any(g.children for g in self.guardians[:wanted]):
            return RETIRED
        return SUPERSEDED if wanted > guardian.configuration else NEWEST

    def serves(self, guardian: Guardian, ready: list[Process]) -> int:
        if self.newest_ready > guardian.configuration:
            return NEWER
        return OURS if ready else NOBODY

    @staticmethod
    def ask(guardian: Guardian, keep: list[Process]) -> None:
        for process in guardian.processes:
            if process not in keep:
                process.state = "leaving"

    # ---- what must hold

    def running(self, state: str = "") -> list[Process]:
        found = [p for g in self.guardians for p in g.processes]
        return [p for p in found if p.state == state] if state else found

    def end(self, process: Process) -> None:
        guardian = next(g for g in self.guardians if process in g.processes)
        guardian.processes.remove(process)

    def is_reachable(self) -> bool:
        """Whether somebody may send a request to the slot."""
        return any(g.has_slot and (g.children or g is self.guardians[-1]) for g in self.guardians)

    @invariant()
    def somebody_serves_until_somebody_newer_does(self) -> None:
        if self.has_served and not self.deaths and self.is_reachable() and not self.was_retired():
            assert self.running("ready")

    def was_retired(self) -> bool:
        """Between a restart that removed the group and one that has it again, nobody need serve."""
        return any(not g.has_slot for g in self.guardians)

    @invariant()
    def the_entries_suffice(self) -> None:
        assert len(self.running()) <= ENTRIES

    def teardown(self) -> None:
        """If nothing else happens, one process of the newest configuration is left, or none."""
        for guardian in self.guardians[:-1]:
            guardian.children = False
        for _ in range(10):
            for guardian in self.guardians:
                self.look(guardian)
            for process in self.running("leaving"):
                self.end(process)
            for process in self.running("booting"):
                process.state = "ready"
        left = [p.configuration for p in self.running()]
        assert left == ([self.guardians[-1].configuration] if self.guardians[-1].has_slot else [])


def test_whatever_happens_somebody_serves_and_one_process_is_left(duty):
    Slot.duty = staticmethod(duty)
    run_state_machine_as_test(
        Slot,
        settings=settings(
            max_examples=300,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


@pytest.mark.parametrize(
    ("role", "serves", "expected"),
    [
        (NEWEST, NOBODY, START),
        (NEWEST, OURS, SERVE),
        (SUPERSEDED, NOBODY, BOOT),
        (SUPERSEDED, OURS, SERVE),
        (SUPERSEDED, NEWER, LEAVE),
        (RETIRED, NOBODY, LEAVE),
        (RETIRED, OURS, LEAVE),
        (STOPPED, OURS, LEAVE),
    ],
)
def test_the_table(duty, role, serves, expected):
    assert duty(role, serves) == expected
