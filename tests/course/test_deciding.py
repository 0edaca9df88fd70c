"""What decides a prediction (outcomes, expressions, or the lab's own key), and what it shows."""

import pytest

from k8slab.course import load
from k8slab.course.deciding import by_experiment
from k8slab.course.session import Seen
from k8slab.errors import ExerciseError
from k8slab.notebook.views import seen_view
from k8slab.policy import Flow
from k8slab.probes import Observation, Outcome

LAB = """
lab: 99-deciding
title: Deciding
predictions:
  - id: talk
    question: Does it go on?
    choices: {lives: It goes on., cut: It is cut.}
    key: lives
    observe:
      command: {pod: talker, argv: [sh, -c, "echo $a lines, $b more"]}
      decides: {lives: '^[1-9]\\d* lines, [1-9]', cut: '^[1-9]\\d* lines, 0 more'}
"""


@pytest.fixture
def load_text(tmp_path):
    def load_it(text):
        (tmp_path / "exercises.yaml").write_text(text)
        return load(tmp_path)

    return load_it


@pytest.fixture
def seen(load_text):
    talk = load_text(LAB).prediction("talk")
    return lambda *lines: Seen(talk, ("$ echo $a lines, $b more", *lines), chosen="lives")


def test_what_a_command_said_decides_and_not_the_key(seen):
    assert seen("7 lines, 3 more").came_true is True
    assert seen("7 lines, 0 more").decided == "cut"
    assert seen("7 lines, 0 more").came_true is False


def test_what_fits_no_choice_decides_nothing_and_says_so(seen):
    found = seen("0 lines, 0 more")
    assert (found.decided, found.came_true) == ("", None)
    assert "fits none of the choices" in seen_view(found).text


def test_a_question_names_the_claims_that_it_puts_to_the_test(load_text):
    def heading(claims):
        text = LAB.replace("    key: lives", f"    claims: {claims}\n    key: lives")
        talk = load_text(text).prediction("talk")
        assert seen_view(Seen(talk, ())).text.startswith(talk.heading)
        return talk.heading

    assert heading("[]") == "Does it go on?"
    assert heading("[C23]") == "Does it go on? (claim C23)"
    assert heading("[C01, C03]") == "Does it go on? (claims C01, C03)"


def test_what_fits_two_choices_decides_nothing(seen):
    found = seen("7 lines, 3 more", "7 lines, 0 more")
    assert (found.fits, found.decided) == (["lives", "cut"], "")
    assert "fits more than one of the choices" in seen_view(found).text


def test_a_line_can_be_compared_with_another_one(load_text):
    text = LAB.replace("'^[1-9]\\d* lines, [1-9]'", "'(?s)^before: (\\S+)$.*^after: \\1$'")
    assert text != LAB
    talk = load_text(text).prediction("talk")
    assert Seen(talk, ("before: 10.0.0.1", "and", "after: 10.0.0.1")).decided == "lives"
    assert Seen(talk, ("before: 10.0.0.1", "and", "after: 10.0.0.12")).decided == ""


FLOW = """
lab: 99-deciding
title: Deciding
predictions:
  - id: reach
    question: Does it connect?
    choices: {open: It does., silent: It does not.}
    key: open
    observe: {flows: [{from: a, to: b, port: 80}, {from: a, to: c, port: 80}]}
  - id: told
    question: What does the standard say?
    choices: {must: It must., may: It may.}
    key: must
"""


def observed(prediction, *outcomes):
    flows = [Flow.of("a", to, 80, namespace="x") for to in ("b", "c")]
    seen = [Observation(f, Outcome(o)) for f, o in zip(flows, outcomes, strict=True)]
    return Seen(prediction, (), tuple(seen), chosen="open")


def test_one_outcome_of_all_flows_decides_and_others_do_not(load_text):
    reach = load_text(FLOW).prediction("reach")
    assert observed(reach, "silent", "silent").decided == "silent"
    for outcomes in (("open", "silent"), ("refused", "refused"), ("open", "failed")):
        assert observed(reach, *outcomes).decided == ""
    assert "fits none of the choices" in seen_view(observed(reach, "refused", "refused")).text
    assert "fits more than one" in seen_view(observed(reach, "open", "silent")).text
    assert "did not work" in seen_view(observed(reach, "open", "failed")).text


def test_what_is_told_is_never_called_an_experiment(load_text):
    told = load_text(FLOW).prediction("told")
    assert not by_experiment(told)
    seen = Seen(told, ("you saw: the text",), chosen="may")
    assert seen.decided == "must"
    text = seen_view(seen).text
    assert "the source says otherwise.\nThis is told and not measured" in text
    assert "came" not in text


def test_neither_the_command_nor_the_learners_words_decide(seen):
    assert seen("you saw: 7 lines, 3 more").decided == ""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (", cut: '^[1-9]\\d* lines, 0 more'", "", "give an expression for each choice: lives, cut"),
        ("lines, 0 more'", "lines, (0 more'", "observe, decides: cut: "),
    ],
)
def test_expressions_that_cannot_decide_are_refused(load_text, old, new, message):
    assert old in LAB
    with pytest.raises(ExerciseError) as error:
        load_text(LAB.replace(old, new))
    assert message in str(error.value)
