"""Where a learner was: read from the journal, found in the notebooks as they are now."""

import json
from pathlib import Path

import pytest

from k8slab.course import Journal, load, release
from k8slab.course.resume import last_position

SOURCE = Path(__file__).parents[1] / "data" / "solutions" / "90-example"


@pytest.fixture
def lab(tmp_path):
    release.build_lab(SOURCE, tmp_path / "labs" / SOURCE.name)
    return load(tmp_path / "labs" / SOURCE.name)


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "progress.sqlite")


def source_of(found):
    cells = json.loads((found.lab.directory / found.notebook).read_text())["cells"]
    return next("".join(cell["source"]) for cell in cells if cell["id"] == found.cell)


def test_without_a_past_there_is_nothing_to_resume(lab, journal):
    journal.seed()
    journal.add("99-gone", "check", "protect")
    assert last_position([lab], journal) is None


@pytest.mark.parametrize(
    ("kind", "subject", "exercise", "call"),
    [
        ("begin", "protect", "protect", 'lab.begin("protect")'),
        ("hint", "protect", "protect", 'lab.begin("protect")'),
        ("prediction", "open-by-default", "protect", 'lab.predict("open-by-default")'),
        ("observation", "open-by-default", "protect", 'lab.observe("open-by-default")'),
        ("reason", "open-by-default", "protect", 'lab.explain("open-by-default")'),
        ("check", "protect", "protect", 'lab.check("protect")'),
        ("solution", "protect", "protect", 'lab.check("protect")'),
    ],
)
def test_the_cell_is_that_of_the_last_event(lab, journal, kind, subject, exercise, call):
    journal.add(lab.name, "check", "look")
    journal.add(lab.name, kind, subject)
    found = last_position([lab], journal)
    assert (found.lab.name, found.notebook, found.exercise) == (
        lab.name,
        "90-example.ipynb",
        exercise,
    )
    assert call in source_of(found)
    assert found.title == f"An example: {lab.exercise(exercise).title}"


def test_an_answer_belongs_to_the_exercise_that_asks(lab, journal):
    journal.add(lab.name, "answer", "web-address")
    found = last_position([lab], journal)
    assert (found.exercise, found.cell) == ("look", "")  # the notebook of this lab leaves it out


def test_a_cell_that_was_edited_away_leads_to_where_the_exercise_begins(lab, journal):
    file = lab.directory / "90-example.ipynb"
    file.write_text(file.read_text().replace("lab.check(", "mine("))
    journal.add(lab.name, "check", "protect")
    assert 'lab.begin("protect")' in source_of(last_position([lab], journal))


@pytest.mark.parametrize("content", ["{", "[]", '{"cells": [1]}', '{"cells": [{"id": "a"}]}'])
def test_a_damaged_notebook_is_opened_as_it_is(lab, journal, content):
    (lab.directory / "90-example.ipynb").write_text(content)
    journal.add(lab.name, "check", "protect")
    found = last_position([lab], journal)
    assert (found.notebook, found.cell, found.exercise) == ("90-example.ipynb", "", "protect")


def test_a_notebook_with_another_name_stays_and_is_not_opened(lab, journal):
    mine = lab.directory / "lab.ipynb"  # its name in an earlier version of the course
    mine.write_bytes((lab.directory / "90-example.ipynb").read_bytes())
    journal.add(lab.name, "check", "protect")
    found = last_position([lab], journal)
    assert found.notebook == "90-example.ipynb"
    assert 'lab.check("protect")' in source_of(found)


def test_what_belongs_to_no_exercise_opens_the_lab(lab, journal):
    journal.add(lab.name, "prediction", "a-question-of-long-ago")
    found = last_position([lab], journal)
    assert (found.exercise, found.cell, found.title) == ("", "", "An example")
