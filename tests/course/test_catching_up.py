"""Go to an exercise without those before it."""

import pytest

from k8slab.course import progress
from k8slab.course.catching_up import catch_up
from k8slab.course.resume import last_position
from k8slab.errors import UsageError


def test_an_exercise_is_set_up_and_those_before_it_are_noted(session):
    found = catch_up(session, "protect")
    assert (found.begun.exercise.id, found.begun.fresh) == ("protect", True)
    assert session.cluster.get("pods", "db", "lab90-protect")
    assert session.cluster.get("namespaces", "lab90-look") is None
    assert found.passed_over == ("look",)
    assert found.text == "passed over, without points: look"
    seen = session.progress()
    assert (seen.total, seen.passed_over) == (0, ("look",))
    assert "  - look: 0 of 1, passed over" in seen.text().splitlines()
    assert last_position([session.lab], session.journal).exercise == "protect"
    assert session.current().id == "protect"


def test_doing_it_twice_notes_nothing_twice_and_leaves_the_work_alone(session):
    catch_up(session, "protect")
    session.cluster.delete("pods", "batch", "lab90-protect")
    again = catch_up(session, "protect")
    assert (again.begun.fresh, again.passed_over) == (False, ("look",))
    assert session.cluster.get("pods", "batch", "lab90-protect") is None
    assert len(session.journal.events(kind="catchup")) == 1


def test_what_was_solved_is_not_passed_over(session):
    session.journal.add(session.lab.name, "check", "look", status="passed", points=1, max_points=1)
    found = catch_up(session, "protect")
    assert (found.passed_over, found.text) == ((), "nothing before it is unsolved")
    assert session.journal.events(kind="catchup") == []


def test_what_is_solved_later_counts_like_any_other(session):
    catch_up(session, "protect")
    session.journal.add(session.lab.name, "check", "look", status="passed", points=1, max_points=1)
    seen = progress(session.lab, session.journal)
    assert (seen.points["look"], seen.passed_over) == (1, ())


def test_an_unknown_exercise_is_told_with_those_there_are(session):
    with pytest.raises(UsageError, match=r"(?s)no exercise 'protct'.*look, protect"):
        catch_up(session, "protct")
    assert session.journal.events() == []
