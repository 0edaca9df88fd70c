"""The estimate of a lab's time, from what is in it."""

import re

import pytest
from bookmaking import stage
from bookmaking.estimate import CHALLENGE, EXERCISE, WORDS_PER_MINUTE, estimate

from k8slab.course import load
from k8slab.course.lab import Exercise, Lab, Prediction
from k8slab.course.release import notebook_file
from k8slab.grading import Wishes

CORES = [stage.LABS / one.name / notebook_file(one.name) for one in stage.sources()]


def cells(*sources, kind="code"):
    return [{"cell_type": kind, "source": source} for source in sources]


def lab():
    asked = {"check": "answer", "id": "a", "question": "what?"}
    wishes = Wishes("open", "Transfer: again", 1, (), (asked,))
    quiz = [Prediction(f"q{n}", "?", {"a": "A"}, "a", quiz="entry") for n in range(4)]
    return Lab(
        "90-example",
        "",
        "nowhere",
        exercises={"open": Exercise(wishes, "ns", "two words")},
        predictions={one.id: one for one in quiz},
    )


def test_it_counts_words_cells_predictions_and_exercises_once():
    # The task has two words, its question three with how it is answered.
    text = cells("word " * (WORDS_PER_MINUTE * 3 - 5), kind="markdown")
    code = cells('lab.predict("p")', 'lab.observe("p")', 'lab.check("open")', 'lab.check("open")')
    found = estimate([*text, *code, *cells('lab.quiz("entry")')], lab())
    assert found.reading == 3.0
    assert found.running == 2.5
    assert found.predicting == 1.5 + 4 * 0.5
    assert found.solving == EXERCISE["Transfer:"]
    assert found.minutes == 15
    challenged = estimate(cells('found = lab.challenge(fault="F01")'), lab())
    assert challenged.solving == CHALLENGE
    assert found.told() == "reading 3, running cells 2, predictions 4, exercises 5"


@pytest.mark.parametrize("source", stage.sources(), ids=lambda path: path.name)
def test_a_lab_tells_the_minutes_that_are_computed(source):
    book = stage.read(source, {})
    assert book.lab.minutes == book.estimates["lab"].minutes, f"`minutes` of {source}"
    for name, found in book.estimates.items():
        text = (source / f"{name}.md").read_text(encoding="utf-8")
        told = re.findall(r"About\s+(\d+)\s+minutes\s+\(a\s+computed\s+estimate\)", text)
        assert told == [str(found.minutes)], f"{source.name}, {name}: {found.told()}"


def test_a_core_takes_about_an_hour():
    """The course wants 45 to 60 minutes; the estimate is as good as a quarter of that."""
    for notebook in CORES:
        found = estimate(stage._released(notebook), load(notebook.parent))
        assert 40 <= found.minutes <= 75, f"{notebook}: {found.told()}"
