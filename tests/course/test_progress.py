"""What counts survives a newer course: exercises renamed, removed, worth more or less."""

from dataclasses import replace
from pathlib import Path

import pytest

from k8slab.course import Journal, load, progress
from k8slab.course.journal import Event
from k8slab.course.progress import PAUSE

LAB = load(Path(__file__).parents[1] / "data" / "solutions" / "90-example")


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "p.sqlite")


def course(**exercises):
    """Return the lab with other exercises."""
    return replace(LAB, exercises=exercises)


def changed(name, *, points=2, formerly=()):
    one = LAB.exercise("protect")
    wishes = replace(one.wishes, exercise=name, points=points)
    return replace(one, wishes=wishes, formerly=formerly)


def solved(journal, subject, points=2, most=2):
    journal.add(LAB.name, "check", subject, status="passed", points=points, max_points=most)


def test_points_that_are_worth_more_today_are_the_same_part_of_them(journal):
    solved(journal, "protect", 1, 2)
    assert progress(LAB, journal).points["protect"] == 1
    found = progress(course(protect=changed("protect", points=10)), journal)
    assert (found.points["protect"], found.total, found.max_total) == (5, 5, 10)


def test_a_check_of_a_version_that_did_not_note_the_most_counts_as_it_is(journal):
    journal.add(LAB.name, "check", "protect", status="passed", points=2)
    assert progress(LAB, journal).points["protect"] == 2
    found = progress(course(protect=changed("protect", points=1)), journal)
    assert found.points["protect"] == 1


def test_a_renamed_exercise_keeps_what_was_done_for_it(journal):
    solved(journal, "protect")
    journal.add(LAB.name, "hint", "protect", step=1)
    found = progress(course(guard=changed("guard", formerly=("protect",))), journal)
    assert (found.points, found.tries, found.hints) == ({"guard": 2}, {"guard": 1}, {"guard": 1})
    assert found.former == {}


def test_a_solution_that_was_shown_is_told_under_a_former_id_too(journal):
    assert progress(LAB, journal).saw_solution == ()
    journal.add(LAB.name, "solution", "protect")
    found = progress(course(guard=changed("guard", formerly=("protect",))), journal)
    assert found.saw_solution == ("guard",)
    assert "  - guard: 0 of 2, solution shown" in found.text()


def test_a_removed_exercise_is_named_and_does_not_count(journal):
    solved(journal, "protect")
    found = progress(course(look=LAB.exercise("look")), journal)
    assert (found.total, found.max_total, found.former) == (0, 1, {"protect": 2})
    assert "  . protect: 2 points, no longer in this course" in found.text()


def test_a_choice_that_this_course_has_no_more_is_no_prediction(journal):
    (name, predicted), *_ = LAB.predictions.items()
    now, other = [*predicted.choices][:2]
    renamed = replace(LAB, predictions={name: predicted})

    def told(choice, decided):
        journal.add(LAB.name, "prediction", name, choice=choice, confidence=4)
        journal.add(LAB.name, "observation", name, lines=[], predicted=True, decided=decided)
        return progress(renamed, journal)

    assert told(now, other).surprises[0].decided == other
    assert told("of-before", now).predicted == 0
    found = told(now, "of-before")
    assert (found.predicted, found.surprises) == (1, ())


class Past:
    """A journal whose events came at given moments."""

    def __init__(self, *moments):
        self.found = [Event(LAB.name, "hint", "protect", {"step": 1}, time=one) for one in moments]

    def events(self, *_words):
        return self.found

    def last(self, *_words):
        return None


def test_the_minutes_that_it_took_are_counted_without_pauses():
    found = progress(LAB, Past(0, 600, 1200, 1200 + PAUSE, 1260 + PAUSE))
    assert found.minutes == 21
    assert "  worked on for 21 minutes" in found.text()
    assert "worked on" not in progress(LAB, Past(0, 20)).text()


def test_a_clock_that_was_set_back_takes_no_minutes_away():
    assert progress(LAB, Past(5000, 5060, 100, 160)).minutes == 2


def test_points_of_the_core_and_beyond_it_are_told_apart(journal):
    one = LAB.exercise("protect")
    beyond = replace(one, wishes=replace(one.wishes, exercise="more", title="Stretch: more"))
    solved(journal, "protect", 1, 2)
    solved(journal, "more")
    lab = course(protect=one, more=beyond)
    found = progress(lab, journal)
    assert found.stretch == ("more",)
    assert found.text().startswith("90-example: 3 of 4 points (core 1 of 2, stretch 2 of 2)\n")
    assert progress(LAB, journal).text().startswith("90-example: 1 of 3 points\n")
