"""The cluster's time: never back, and no jump counts as time passed."""

from __future__ import annotations

import time

import pytest

from k8slab.embedded import clock

HOUR = 3600.0


class Machine:
    """Two clocks that only the test moves: one that can be set, and one that cannot."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_000_000.0, 50.0
        self.clock = clock.Clock(lambda: self.wall, lambda: self.steady)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def machine():
    return Machine()


def test_it_is_the_machines_time():
    assert abs(clock.now() - time.time()) < 1


def test_a_clock_that_is_set_back_is_not_followed_until_it_has_caught_up(machine):
    begun = machine.clock.now()
    machine.passes(10)
    machine.wall -= HOUR
    assert machine.clock.now() == begun + 10
    machine.passes(5)
    assert machine.clock.now() == begun + 15
    assert machine.clock.elapsed(begun) == 15
    machine.wall += HOUR + 7
    assert machine.clock.now() == begun + 22


def test_a_clock_that_is_set_forward_is_followed_and_nothing_is_older_for_it(machine):
    begun = machine.clock.now()
    machine.passes(10)
    between = machine.clock.now()
    machine.wall += HOUR
    machine.passes(20)
    assert machine.clock.now() == begun + 30 + HOUR
    assert machine.clock.elapsed(begun) == 30
    assert machine.clock.elapsed(between) == 20
    after = machine.clock.now()
    machine.passes(1)
    assert machine.clock.elapsed(after) == 1
    machine.wall += 2 * HOUR
    assert machine.clock.elapsed(begun) == 31
    assert machine.clock.elapsed(after) == 1


def test_a_stamp_from_within_a_jump_is_no_younger_than_the_jump(machine):
    begun = machine.clock.now()
    machine.wall += HOUR
    assert machine.clock.elapsed(begun + HOUR / 2) == 0


def test_a_suspended_machine_is_no_jump(machine):
    begun = machine.clock.now()
    machine.passes(8 * HOUR)  # CLOCK_BOOTTIME counts it
    assert machine.clock.elapsed(begun) == 8 * HOUR


def test_small_corrections_are_followed_and_not_remembered(machine):
    begun = machine.clock.now()
    machine.wall += 0.25
    assert machine.clock.now() == begun + 0.25
    assert machine.clock.elapsed(begun) == 0.25


def test_a_pause_between_two_readings_is_no_jump():
    steady = [0.0]

    def stopped() -> float:
        steady[0] += 60  # SIGSTOP came while the clocks were read
        return steady[0] + 1000

    made = clock.Clock(lambda: steady[0] + 1000, lambda: steady[0])
    begun = made.now()
    made._wall = stopped
    assert made.now() == begun + 60
    made._wall = lambda: steady[0] + 1000
    assert made.now() == begun + 60
    assert made.elapsed(begun) == 60


def test_the_moments_before_the_start_count_by_the_machines_time(machine):
    assert machine.clock.elapsed(machine.wall - 100) == 100
