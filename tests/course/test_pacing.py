"""Checking again and again waits; hints read the state and cost what is said."""

import dataclasses

import pytest

from k8slab.course import Event, HintStep, Pace
from k8slab.objects import manifests


class Clock:
    def __init__(self, now=1000.0):
        self.now, self.slept, self.told = now, [], []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def wait(self, *checks):
        pace = Pace(lambda: self.now, self.sleep)
        return pace.wait(list(checks), self.told.append)


def check(time, status="failed"):
    return Event("lab", "check", "e", {"status": status}, time)


def test_two_failures_cost_no_wait():
    assert Clock().wait(check(999), check(998)) == 0


def test_after_three_failures_within_a_minute_the_next_check_waits_and_says_why():
    clock = Clock()
    assert clock.wait(check(950), check(990), check(999)) == 4
    assert clock.slept == [4]
    assert clock.told[0].startswith("3 checks failed within a minute: this one begins in 4 s")


def test_the_wait_grows_and_ends_at_a_bound():
    assert Clock().wait(*[check(1000)] * 4) == 10
    assert Clock().wait(*[check(1000)] * 30) == 20


def test_who_looked_at_the_example_meanwhile_waits_for_nothing():
    assert Clock().wait(check(960), check(970), check(980)) == 0


def test_old_failures_future_ones_and_other_results_do_not_count():
    assert Clock().wait(check(900), check(999), check(999)) == 0
    assert Clock().wait(check(2000), check(2001), check(2002)) == 0
    other = [check(999, status) for status in ("passed", "inconclusive", "error", "not_started")]
    assert Clock().wait(*other, check(999), check(999)) == 0


def test_the_journal_remembers_for_a_new_kernel(session):
    session.begin("protect")
    for _ in range(3):
        session.check("protect")
    clock = Clock(session.journal.events(kind="check")[-1].time)
    again = dataclasses.replace(session, pace=Pace(lambda: clock.now, clock.sleep))
    again.check("protect")
    assert clock.slept == [5]
    again.check("look")  # another exercise has failures of its own
    assert clock.slept == [5]


def solve(session, change=lambda text: text):
    text = change(session.lab.exercise("protect").solution)
    session.cluster.apply(manifests.load(text), namespace="lab90-protect")


def with_hints(session, *steps, cost=0.0):
    exercise = session.lab.exercise("protect")
    session.lab.exercises["protect"] = dataclasses.replace(exercise, hints=steps, hint_cost=cost)


COUNT = {"count": "networkpolicies.networking.k8s.io", "equals": 0}
REACHES = {"flow": {"from": "batch", "to": "db", "port": 8080}, "is": "open"}


@pytest.mark.parametrize(
    ("when", "untouched", "nobody", "solved"),
    [
        ({"selects_nothing": "any"}, False, True, False),
        ({"selects_nothing": "networkpolicies/only-web"}, False, True, False),
        ({"selects_nothing": "networkpolicies/other"}, False, False, False),
        (COUNT, True, False, False),
        (REACHES, True, True, False),
    ],
)
def test_a_hint_depends_on_the_state(session, when, untouched, nobody, solved):
    def told():
        with_hints(session, HintStep("so", when, "not so"))
        return session.hint("protect").text == "so"

    session.begin("protect")
    assert told() is untouched
    solve(session, lambda text: text.replace("{app: db}", "{app: nobody}"))
    assert told() is nobody
    solve(session)
    assert told() is solved


def test_without_a_cluster_a_hint_gives_its_other_text(session):
    with_hints(session, HintStep("so", COUNT, "not so"))
    assert dataclasses.replace(session, cluster=None).hint("protect").text == "not so"


def test_each_step_costs_once_and_the_points_say_so(session):
    with_hints(session, HintStep("a"), HintStep("b"), cost=0.5)
    costs = [session.hint("protect").cost for _ in range(3)]
    assert costs == [0.5, 0.5, 0]
    session.begin("protect")
    solve(session)
    result = session.check("protect")
    assert (result.passed, result.points) == (True, 1)
    assert session.progress().points["protect"] == 1
