"""What came of each challenge, from the journal alone."""

from types import SimpleNamespace

import fastjsonschema
import pytest

from k8slab.challenges import catalogue, history
from k8slab.course import Journal, journal
from k8slab.course.sealing import seal


@pytest.fixture
def minutes(monkeypatch):
    """Give a clock that the test moves, in minutes."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(journal, "time", SimpleNamespace(time=lambda: 60 * clock.now))
    return clock


@pytest.fixture
def told(tmp_path):
    return Journal(tmp_path / "progress.sqlite")


def begin(told, seed, fault="F01", *, limit=0, ready=True):
    sealed = seal({"fault": fault, "words": {}, "before": []})
    told.add("challenge", "begin", str(seed), sealed=sealed, of="", minutes=limit, cluster="k8slab")
    if ready:
        told.add("challenge", "setup", str(seed), sealed=seal({"lost": ""}), others=[])


def check(told, seed, points):
    told.add("challenge", "check", str(seed), points=points, max_points=10)


def test_without_a_challenge_there_is_nothing(told):
    told.add("07-troubleshooting", "check", "first", points=1, max_points=1)
    assert history.attempts(told) == []


def test_a_solved_one_tells_its_fault_and_its_time(told, minutes):
    begin(told, 7, limit=30)
    told.add("challenge", "diagnosis", "7", right=[True, True, True])
    minutes.now = 5
    check(told, 7, 4)
    minutes.now = 12
    check(told, 7, 10)
    minutes.now = 14
    check(told, 7, 10)
    (found,) = history.attempts(told)
    assert (found.state, found.points, found.checks, found.diagnoses) == ("solved", 10, 3, 1)
    fault = catalogue.entries()["F01"].fault
    assert found.text() == f"+ challenge 7: 10 of 10, solved, 12 of 30 min (F01: {fault})"


def test_a_clock_that_was_set_back_gives_no_time_below_zero(told, minutes):
    begin(told, 7)
    minutes.now = -30
    check(told, 7, 10)
    (found,) = history.attempts(told)
    assert found.minutes == 0


@pytest.mark.parametrize(
    ("ready", "events", "state"),
    [
        (False, [], "interrupted"),
        (False, ["reset"], "interrupted"),
        (True, [], "under way"),
        (True, ["reset"], "stopped"),
    ],
)
def test_one_that_is_not_solved_gives_its_fault_not_away(told, ready, events, state):
    begin(told, 7, ready=ready)
    for kind in events:
        told.add("challenge", kind, "7")
    (found,) = history.attempts(told)
    assert (found.state, found.fault, found.told, found.minutes) == (state, "", "", None)
    assert "F01" not in found.text()


def test_no_time_is_told_of_nothing(told, minutes):
    begin(told, 7)
    minutes.now = 3
    check(told, 7, 0)
    (found,) = history.attempts(told)
    assert found.minutes == 3
    assert found.text() == "- challenge 7: 0 of 10, under way"


def test_one_that_was_given_up_tells_its_fault_and_keeps_what_was_earned_before(told):
    begin(told, 7)
    check(told, 7, 5)
    told.add("challenge", "solution", "7")
    check(told, 7, 0)
    told.add("challenge", "reset", "7")
    (found,) = history.attempts(told)
    assert (found.state, found.points, found.fault) == ("given up", 5, "F01")


def test_a_seed_that_is_begun_anew_is_another_one_and_all_are_in_order(told, minutes):
    for now, seed in enumerate((7, 8, 7)):
        minutes.now = now
        begin(told, seed)
    check(told, 7, 10)
    found = history.attempts(told)
    assert [(one.seed, one.points) for one in found] == [(7, 0), (8, 0), (7, 10)]
    assert found[0].fault == ""
    assert history.summary(found) == "challenges: 1 of 3 solved, 10 of 30 points"


def test_a_fault_that_the_course_has_no_more_is_said(told):
    begin(told, 7, "F99")
    check(told, 7, 10)
    assert "(F99: no longer in this course)" in history.attempts(told)[0].text()


def test_the_values_are_as_their_schema_says(told):
    begin(told, 7)
    check(told, 7, 4)
    begin(told, 8, ready=False)
    validate = fastjsonschema.compile(history.SCHEMA)
    for one in history.attempts(told):
        validate(one.to_dict())
