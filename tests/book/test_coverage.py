"""What the course promises is kept by the labs that are there, and the page says where."""

import re

import pytest
from bookmaking import coverage, stage

from k8slab.course import load
from k8slab.course.lab import Exercise, Lab
from k8slab.grading import Wishes

LABS = [load(stage.LABS / source.name) for source in stage.sources()]
PROMISED = coverage.promises(stage.COURSE)
KEPT = coverage.kept(LABS, stage.faults())
TITLES = stage.lab_titles(LABS)


def test_no_lab_that_is_there_leaves_out_what_it_was_to_practise():
    assert [f"{one.kind} {one.id} of lab {one.lab}" for one in coverage.gaps(PROMISED, KEPT)] == []


def test_each_promise_belongs_to_a_lab_of_the_course():
    assert {one.lab for one in PROMISED} <= set(TITLES)


@pytest.mark.parametrize("kind", coverage.FILES)
def test_the_page_lists_each_promise_once(kind):
    listed = re.findall(r"^\| (\S+) \|", coverage.page(TITLES, PROMISED, KEPT), re.MULTILINE)
    own = [one.id for one in PROMISED if one.kind == kind]
    assert len(own) > 40
    assert [listed.count(one) for one in own] == [1] * len(own)


def test_the_page_says_which_labs_are_not_written_yet():
    text = coverage.page(TITLES, PROMISED, KEPT)
    missing = [one.id for one in PROMISED if one.lab not in KEPT]
    assert text.rpartition("## Not written yet")[2].count(", ") == max(0, len(missing) - 1)


def test_a_promise_that_its_lab_does_not_keep_is_a_gap_and_is_shown_as_missing():
    one = coverage.Promise("claim", "C99", "01", "", '"Pigs fly"')
    other = coverage.Promise("claim", "C98", "99", "", '"They do"')
    kept = {"01": {}}
    assert coverage.gaps([one, other], kept) == [one]
    text = coverage.page({"01": "One", "99": "Later"}, [one, other], kept)
    assert '| C99 | "Pigs fly" |  | **missing** |' in text
    assert '| C98 | "They do" |  | not written yet |' in text


def test_a_question_of_a_quiz_practises_nothing():
    promised = coverage.Promise("topic", "t", "01", "core", "")
    asked = {"01": {"t": [coverage.Place("Q entry", "a", practises=False)]}}
    assert coverage.gaps([promised], asked) == [promised]


def test_a_claim_that_only_an_exercise_is_about_is_a_gap():
    claimed = coverage.Promise("claim", "C99", "01", "", '"Pigs fly"')
    exercise = coverage.Place("E wings", "a")
    assert coverage.gaps([claimed], {"01": {"C99": [exercise]}}) == [claimed]
    foretold = coverage.Place("P flight", "a", foretold=True)
    assert coverage.gaps([claimed], {"01": {"C99": [exercise, foretold]}}) == []


def test_what_needs_a_cluster_that_one_has_to_ask_for_practises_nothing_and_says_so():
    wishes = Wishes("both", "Both families", 1, (), (), needs=("dual-stack",))
    exercise = Exercise(wishes, "ns", "Do it.", claims=("C99",))
    kept = coverage.kept([Lab("01-x", "", stage.LABS, exercises={"both": exercise})])
    promised = coverage.Promise("claim", "C99", "01", "", '"Pigs fly"')
    assert coverage.gaps([promised], kept) == [promised]
    text = coverage.page({"01": "One"}, [promised], kept)
    assert "[E Both families (needs a dual-stack cluster)](#01-x-exercise-both)" in text


def test_a_fault_that_no_challenge_makes_is_a_gap_unless_it_is_told():
    told = coverage.Promise("fault", "F1", "07", "told", "", case=True)
    made = coverage.Promise("fault", "F2", "07", "both", "")
    lacking = coverage.Promise("fault", "F3", "07", "both", "")
    lab = next(iter(LABS))
    kept = coverage.kept([type(lab)("07-troubleshooting", "", lab.directory)], ["F2"])
    assert coverage.gaps([told, made, lacking], kept) == [lacking]
