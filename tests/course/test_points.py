"""After its solution was shown an exercise gives no more points, and its twin does."""

from dataclasses import replace

import pytest

from k8slab.course import session as session_module
from k8slab.grading import Status, grade
from k8slab.objects import manifests

NAME = "90-example"
NO_MORE = "now that its solution is shown, checks add no points any more"


@pytest.fixture
def begun(session):
    session.begin("protect")
    return session


def solve(session):
    made = manifests.load(session.lab.exercise("protect").solution)
    session.cluster.apply(made, namespace="lab90-protect")


def have(session, *exercises):
    session.lab = replace(session.lab, exercises={one.id: one for one in exercises})


def like(session, name, *, title="Independent: a wall", **more):
    """Return the exercise `protect` under another name."""
    one = session.lab.exercise("protect")
    return replace(one, wishes=replace(one.wishes, exercise=name, title=title), **more)


def test_a_check_after_the_solution_passes_and_gives_no_points_and_says_so(begun):
    begun.check("protect")
    assert begun.solution("protect").note == NO_MORE
    failed = begun.check("protect")
    assert (failed.status, failed.note) == (Status.FAILED, NO_MORE)
    assert failed.counterexample is not None
    solve(begun)
    result = begun.check("protect")
    assert (result.status, result.points, result.max_points) == (Status.PASSED, 0, 2)
    assert result.text().startswith(f"+ protect: solved, 0 of 2 points\n  {NO_MORE}\n")
    assert result.to_dict()["note"] == NO_MORE
    found = begun.progress()
    assert (found.points["protect"], found.solved) == (0, ("protect",))
    assert "  + protect: 0 of 2, 3 checks, solution shown" in found.text()


def test_whoever_had_all_points_before_loses_nothing_and_is_told_nothing(begun):
    solve(begun)
    begun.check("protect")
    assert begun.solution("protect").note == ""
    result = begun.check("protect")
    assert (result.points, result.note) == (2, "")
    assert begun.progress().points["protect"] == 2


def test_a_reset_does_not_give_the_points_back(begun):
    begun.solution("protect", force=True)
    begun.reset("protect")
    solve(begun)
    assert begun.check("protect").points == 0
    assert begun.progress().points["protect"] == 0


def test_points_in_part_from_before_stay_and_no_more_are_added(begun):
    begun.journal.add(NAME, "check", "protect", status="failed", points=0.5, max_points=2)
    assert begun.solution("protect").note == f"{NO_MORE} to the 0.5 that it has"
    solve(begun)
    result = begun.check("protect")
    assert (result.points, result.headline()) == (0.5, "solved, 0.5 of 2 points")
    assert begun.progress().points["protect"] == 0.5


def test_what_it_changes_is_said_the_first_time_alone(begun):
    assert begun.solution("protect", force=True).note
    assert begun.solution("protect", force=True).note == ""


def test_points_that_an_earlier_version_gave_after_the_solution_are_kept(session):
    session.journal.add(NAME, "solution", "protect")
    session.journal.add(NAME, "check", "protect", status="passed", points=2, max_points=2)
    assert session.progress().points["protect"] == 2


def test_a_solution_that_is_shown_while_a_check_runs_came_before_it(begun, monkeypatch):
    solve(begun)

    def while_it_is_read(*given):
        begun.solution("protect", force=True)
        return grade(*given)

    monkeypatch.setattr(session_module, "grade", while_it_is_read)
    assert begun.check("protect").points == 0
    assert begun.progress().points["protect"] == 0


def test_a_worked_exercise_keeps_its_points_whatever_was_shown(session):
    have(session, like(session, "protect", title="Worked: a wall"))
    session.begin("protect")
    assert session.solution("protect", force=True).note == ""
    solve(session)
    result = session.check("protect")
    assert (result.points, result.note) == (2, "")
    assert session.progress().points["protect"] == 2


def test_a_solution_that_was_shown_under_a_former_id_counts_as_shown(session):
    session.journal.add(NAME, "solution", "fence")
    have(session, like(session, "protect", formerly=("fence",)))
    session.begin("protect")
    solve(session)
    assert session.check("protect").points == 0
    assert session.progress().points["protect"] == 0


def test_the_transfer_that_follows_is_named_until_its_own_solution_is_shown(session):
    own = like(session, "protect")
    later = like(session, "later", title="Stretch: more")
    have(session, own, like(session, "moved", transfer=True, formerly=("twin",)), later)
    named = f"{NO_MORE}; the transfer that follows gives some: 90-example/moved"
    assert session.solution("protect", force=True).note == named
    session.begin("protect")
    assert session.check("protect").note == named
    assert session.solution("moved", force=True).note == NO_MORE
    assert session.solution("later", force=True).note == NO_MORE
    assert session.check("protect").note == NO_MORE


def test_the_twin_of_a_transfer_is_no_other_transfer(session):
    one, other = (like(session, name, transfer=True) for name in ("one", "other"))
    have(session, one, other)
    assert session.solution("one", force=True).note == NO_MORE


def test_an_exercise_that_was_solved_without_points_is_not_passed_over(session):
    session.journal.add(NAME, "catchup", "protect", to="look")
    assert session.progress().passed_over == ("protect",)
    session.journal.add(NAME, "solution", "protect")
    session.journal.add(NAME, "check", "protect", status="passed", points=0, max_points=2)
    assert session.progress().passed_over == ()
