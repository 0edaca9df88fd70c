"""The form of a lab: how long, how many of what, and nothing in it that gives the answer away."""

import json
import re
from pathlib import Path

import pytest

from k8slab.course import load
from k8slab.course.release import BEGIN, END, stale

ROOT = Path(__file__).parents[2]
SOLUTIONS, LABS = ROOT / "solutions", ROOT / "labs"
NAMES = sorted(path.parent.name for path in SOLUTIONS.glob("*/exercises.yaml"))
NOTEBOOKS = sorted(LABS.glob("*/*.ipynb"))
CELLS, WORDS, LINES = 45, 120, 15


def cells(notebook):
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def source(cell):
    return "".join(cell["source"])


def code(notebook):
    return "\n".join(source(cell) for cell in cells(notebook) if cell["cell_type"] == "code")


def called(notebook, method):
    """Return the first arguments of a method of `lab`, in order and without repetition."""
    return list(dict.fromkeys(re.findall(rf'lab\.{method}\("([^"]+)"', code(notebook))))


def too_long(notebook):
    """Name the cells that are longer than a learner should meet."""
    found = cells(notebook)
    if notebook.stem == "lab" and len(found) > CELLS:
        yield f"{notebook}: {len(found)} cells, at most {CELLS} in a core"
    for number, cell in enumerate(found):
        text = source(cell)
        start = f"{notebook}, cell {number} ({text[:30]!r})"
        if cell["cell_type"] == "markdown" and (words := len(text.split())) > WORDS:
            yield f"{start}: {words} words, at most {WORDS}"
        if cell["cell_type"] == "code" and (lines := len(text.splitlines())) > LINES:
            yield f"{start}: {lines} lines, at most {LINES}"


def test_the_labs_are_built_from_their_sources():
    assert stale(SOLUTIONS, LABS) == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_no_cell_is_too_long(notebook):
    assert list(too_long(notebook)) == []


def test_a_cell_that_is_too_long_is_named(tmp_path):
    long = [
        {"cell_type": "markdown", "source": ["word " * 121]},
        {"cell_type": "code", "source": ["x = 1\n"] * 16},
    ]
    short = [{"cell_type": "code", "source": []}] * 44
    notebook = tmp_path / "lab.ipynb"
    notebook.write_text(json.dumps({"cells": long + short}))
    cells_, words, lines = too_long(notebook)
    assert "46 cells, at most 45" in cells_
    assert "cell 0" in words
    assert "121 words, at most 120" in words
    assert "cell 1" in lines
    assert "16 lines, at most 15" in lines


@pytest.mark.parametrize("name", NAMES)
def test_the_core_has_three_to_five_predictions_each_observed_and_explained(name):
    notebook, lab = LABS / name / "lab.ipynb", load(SOLUTIONS / name)
    made = called(notebook, "predict")
    assert 3 <= len(made) <= 5
    assert called(notebook, "observe") == made
    assert called(notebook, "explain") == made
    assert set(made) <= {found.id for found in lab.predictions.values() if not found.quiz}


@pytest.mark.parametrize("name", NAMES)
def test_the_core_has_four_to_six_exercises_in_the_order_of_the_course(name):
    lab = load(SOLUTIONS / name)
    core = called(LABS / name / "lab.ipynb", "check")
    assert 4 <= len(core) <= 6
    assert core == list(lab.exercises)[: len(core)]
    exercises = [lab.exercise(one) for one in core]
    assert exercises[0].title.startswith("Worked:")
    assert exercises[1].title.startswith("To complete:")
    assert all(found.transfer for found in exercises[2::3]), "every third is a transfer"
    assert all(found.title.startswith("Transfer:") == found.transfer for found in exercises)


@pytest.mark.parametrize("name", NAMES)
def test_every_exercise_and_prediction_is_met_in_a_notebook(name):
    lab = load(SOLUTIONS / name)
    notebooks = sorted((LABS / name).glob("*.ipynb"))
    assert {one for book in notebooks for one in called(book, "check")} == set(lab.exercises)
    asked = {one for book in notebooks for one in called(book, "predict")}
    quizzes = {one for book in notebooks for one in called(book, "quiz")}
    for found in lab.predictions.values():
        assert found.quiz in quizzes if found.quiz else found.id in asked, found.id


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_notebooks_import_k8slab_only(notebook):
    lines = re.findall(r"^\s*((?:import|from)\s.*)$", code(notebook), re.MULTILINE)
    assert set(lines) == {"from k8slab import lab"}


def secrets(name):
    """Return what a released lab must not say aloud."""
    lab = load(SOLUTIONS / name)
    for found in lab.predictions.values():
        yield found.explanation
    for exercise in lab.exercises.values():
        yield from exercise.hints
    for path in SOLUTIONS.glob(f"{name}/*.md"):
        inside = re.findall(rf"{BEGIN}\n(.*?)\n\s*{END}", path.read_text(), re.DOTALL)
        assert inside or path.stem != "lab"
        for line in "\n".join(inside).splitlines():
            if re.match(r"\s*(lab\.|names = |for )", line):
                yield line.strip()


@pytest.mark.parametrize("name", NAMES)
def test_a_released_lab_gives_no_answer_away(name):
    told = "\n".join(path.read_text() for path in (LABS / name).rglob("*") if path.is_file())
    flat = " ".join(told.replace("\\n", " ").split())
    kept = [" ".join(secret.split()) for secret in secrets(name) if secret]
    assert kept
    assert [secret for secret in kept if secret in flat] == []
    assert not re.search(r"^ *(key|reason|explanation|solution|hints):", told, re.MULTILINE)
    assert "SOLUTION" not in told
    assert not list((LABS / name).rglob("answers"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_released_notebook_has_no_outputs(notebook):
    for cell in cells(notebook):
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
