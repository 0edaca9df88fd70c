"""Points: for mending, for the cause, for leaving the rest alone."""

from dataclasses import replace

from k8slab.challenges.diagnosis import Verdict
from k8slab.challenges.score import CAUSE, TOTAL, Score, cause_points
from k8slab.grading import Finding, Result, Status
from k8slab.grading.result import Counterexample

RIGHT = Verdict(object=True, field=True, evidence=True)
UNPROVED = Verdict(object=True, field=True, evidence=False)
NEAR = Verdict(object=True, field=False, evidence=False)
WRONG = Verdict(object=False, field=False, evidence=True)


def result(status):
    return Result("challenge", "x", 1, (Finding("flows", status, ("a line",)),))


def score(*, fixed=True, intact=True, cause=CAUSE, **more):
    findings = (Finding("else", Status.PASSED if intact else Status.FAILED, ("b/c is gone",)),)
    return Score(
        seed=7,
        mended=result(Status.PASSED if fixed else Status.FAILED),
        intact=findings if fixed else (),
        cause=cause,
        **more,
    )


def points(*verdicts, hops=(), asks_hop=False):
    return cause_points(verdicts, hops, asks_hop=asks_hop)


def test_everything_gives_everything():
    assert score().points == TOTAL == 10
    assert score().solved


def test_setting_everything_up_anew_without_a_diagnosis_gives_half_at_most():
    assert score(cause=0).points == TOTAL / 2


def test_who_breaks_something_else_never_gets_everything():
    assert score(intact=False).points < TOTAL
    assert "b/c is gone" in score(intact=False).text()


def test_what_else_is_broken_is_told_by_an_example():
    example = Counterexample("a/b -> a/c port 80", "as before: open", "silent", replay="kubectl x")
    flows = Finding("others", Status.FAILED, ("3 of 6 flows are not as before",), example)
    told = replace(score(), intact=(flows,)).text()
    assert "for example a/b -> a/c port 80: wanted as before: open, seen silent" in told
    assert "see it yourself: kubectl x" in told


def test_nothing_else_broken_counts_only_once_the_symptom_is_gone():
    assert score(fixed=False, cause=0).points == 0
    assert "when the symptom is gone" in score(fixed=False).text()


def test_the_cause_counts_without_a_repair():
    assert score(fixed=False).points == CAUSE


def test_after_the_answer_was_shown_nothing_counts():
    assert score(shown=True).points == 0


def test_when_the_time_is_over_what_was_reached_before_counts():
    late = score(late=True, before=4)
    assert late.points == 4
    assert "the time is over" in late.text()


def test_parts_of_a_diagnosis_give_parts_of_the_points():
    assert points() == 0
    assert points(RIGHT) == 5
    assert points(UNPROVED) == 4
    assert points(NEAR) == 2
    assert points(WRONG) == 0


def test_the_first_wrong_guess_is_free_and_each_further_one_costs_a_point():
    assert points(WRONG, RIGHT) == 5
    assert points(WRONG, WRONG, RIGHT) == 4
    assert points(*[WRONG] * 9, RIGHT) == 0


def test_the_hop_is_a_part_of_the_cause_where_it_is_asked():
    assert points(RIGHT, asks_hop=True) == 4
    assert points(RIGHT, hops=[True], asks_hop=True) == 5
    assert points(RIGHT, hops=[False, True], asks_hop=True) == 5
    assert points(RIGHT, hops=[False, False, True], asks_hop=True) == 4


def test_a_score_is_plain_values_too():
    told = score().to_dict()
    assert told["points"] == told["max_points"] == 10
    assert [one["check"] for one in told["checks"]] == ["flows", "else"]
