"""An author is told what a lab still lacks, and where."""

from pathlib import Path

import pytest

from k8slab.course.review import review
from k8slab.course.scaffold import new_exercise, new_lab

COURSE = Path(__file__).parents[2] / "book" / "course"
TITLES = {
    "second": "To complete: the second step",
    "third": "Transfer: the third step",
    "fourth": "Independent: the fourth step",
}
ROUND = """
```{{code-cell}} ipython3
lab.predict("{id}")
lab.observe("{id}")
lab.explain("{id}")
```
"""
PREDICTION = """
  - id: {id}
    question: Who wins?
    choices: {{a: One., b: The other.}}
    key: a
    reasons: {{x: Because., y: For no reason.}}
    reason: x
    topics: [np.additive]
"""


@pytest.fixture
def complete(tmp_path):
    """A lab without anything to find fault with, made as an author would."""
    new_lab(tmp_path, "91-sample")
    source = tmp_path / "91-sample"
    for name, title in TITLES.items():
        new_exercise(source, name, title)
    edit(source / "exercises.yaml", "topics: []", "topics: [np.default-deny]")
    transfer = '    title: "Transfer: the third step"\n'
    edit(source / "exercises.yaml", transfer, transfer + "    transfer: true\n")
    for name in ("who", "what"):
        add(source / "exercises.yaml", PREDICTION.format(id=name))
        add(source / "lab.md", ROUND.format(id=name))
    return source


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def add(file, text):
    file.write_text(file.read_text() + text)


def test_a_complete_lab_has_no_problems(complete):
    assert review(complete, COURSE) == []


FAULTS = {
    "too many cells": (
        "lab.md",
        lambda text: text + "\n```{code-cell} ipython3\nlab\n```\n" * 45,
        "cells, at most 45 in a core",
    ),
    "a long text": ("lab.md", lambda text: text + "\n# End\n" + "word " * 121, "at most 120"),
    "a long cell": (
        "lab.md",
        lambda text: text + "\n```{code-cell} ipython3\n" + "x = 1\n" * 16 + "```\n",
        "16 lines, at most 15",
    ),
    "an import": (
        "lab.md",
        lambda text: text.replace("lab.start()", "import os\nlab.start()"),
        "'import os': a notebook imports k8slab alone",
    ),
    "an exercise that is not there": (
        "lab.md",
        lambda text: text.replace('lab.begin("first")', 'lab.begin("frist")'),
        'lab.begin("frist"): there are first, fourth, second, third',
    ),
    "an observation left out": (
        "lab.md",
        lambda text: text.replace('lab.observe("who")\n', ""),
        "lab.observe must follow each lab.predict",
    ),
    "too few predictions": (
        "lab.md",
        lambda text: text.replace(ROUND.format(id="who"), ""),
        "2 predictions; a core has 3 to 5",
    ),
    "an exercise that no notebook checks": (
        "lab.md",
        lambda text: text.replace('lab.check("fourth")', "lab"),
        "exercise fourth: no notebook checks it",
    ),
    "a part that no notebook has": (
        "exercises.yaml",
        lambda text: text.replace("key: a\n", 'key: a\n    part: "Part 9: nowhere"\n', 1),
        "no notebook has the part 'Part 9: nowhere' (a heading with ##)",
    ),
    "another order": (
        "lab.md",
        lambda text: text.replace('lab.check("third")', "lab").replace(
            'lab.check("first")', 'lab.check("third")\nlab.check("first")'
        ),
        "not in the order of exercises.yaml",
    ),
    "a wrong first word": (
        "exercises.yaml",
        lambda text: text.replace("Worked: the", "The"),
        "exercise first: number 1 of a core begins with 'Worked:'",
    ),
    "a transfer that is none": (
        "exercises.yaml",
        lambda text: text.replace("    transfer: true\n", ""),
        "exercise third: every third exercise of a core is a transfer",
    ),
    "a title of the second notebook": (
        "exercises.yaml",
        lambda text: text.replace("Independent: the fourth", "Stretch: the fourth"),
        "exercise fourth: titles begin with 'Stretch:' beyond the core, and only there",
    ),
    "no topic": (
        "exercises.yaml",
        lambda text: text.replace("[np.default-deny]", "[]", 1),
        "exercise first: names no topic of the course",
    ),
    "a topic that is not there": (
        "exercises.yaml",
        lambda text: text.replace("[np.default-deny]", "[np.nothing]", 1),
        "exercise first: there is no topic 'np.nothing'",
    ),
    "a measurement that decides nothing": (
        "exercises.yaml",
        lambda text: text.replace(
            "question: Who", "observe: {value: {names: pods}}\n    question: Who", 1
        ),
        "prediction who: what is observed decides nothing: `observe` needs `decides`",
    ),
    "an outcome that is no choice's": (
        "exercises.yaml",
        lambda text: text.replace(
            "{open: It connects.,", "{gone: It is gone., open: It connects.,"
        ),
        "prediction first-before: what is observed decides nothing",
    ),
    "another name": (
        "exercises.yaml",
        lambda text: text.replace("lab: 91-sample", "lab: 91-simple"),
        "it must be the directory's name, '91-sample'",
    ),
    "a fault of the schema": (
        "exercises.yaml",
        lambda text: text.replace("want: open", "want: opened", 1),
        "field 'want' is 'opened'",
    ),
    "an open solution region": (
        "lab.md",
        lambda text: text.replace("### END SOLUTION\n", "", 1),
        "### BEGIN SOLUTION without ### END SOLUTION",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_place(complete, name):
    file, change, told = FAULTS[name]
    path = complete / file
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before
    found = [str(problem) for problem in review(complete, COURSE)]
    assert any(told in line for line in found), found
    assert all(str(complete) in line for line in found)


def test_answers_that_are_missing_or_belong_nowhere_are_named(complete):
    answers = complete / "answers"
    (answers / "first" / "wrong-everybody.yaml").unlink()
    (answers / "second" / "reference.yaml").rename(answers / "second" / "right.yaml")
    (answers / "fifth").mkdir()
    edit(complete / "exercises.yaml", "answers/second/reference", "answers/second/right")
    assert [str(problem).removeprefix(f"{answers}/") for problem in review(complete, COURSE)] == [
        "first: wrong-*.yaml is missing: an answer that must not pass",
        "second: reference.yaml is missing: the right answer",
        "second/right.yaml: is no answer's name; allowed are reference, alternative, wrong",
        "fifth: belongs to no exercise of exercises.yaml",
    ]


def test_an_answer_that_cannot_be_read_is_named(complete):
    file = complete / "answers" / "third" / "reference.yaml"
    add(file, "---\njust: this\n")
    (found,) = review(complete, COURSE)
    assert f"{file}: a document is no manifest" in found.text
