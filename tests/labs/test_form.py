"""The form of a lab: how long, how many of what, and nothing in it that gives the answer away."""

import json
import re
from pathlib import Path

import pytest

from k8slab.course import load
from k8slab.course.release import NOTEBOOKS as NOTEBOOK_SOURCES
from k8slab.course.release import notebook_file, stale
from k8slab.course.review import review, solution_regions
from k8slab.embedded.config import ClusterConfig

ROOT = Path(__file__).parents[2]
SOLUTIONS, LABS = ROOT / "solutions", ROOT / "labs"
NAMES = sorted(path.parent.name for path in SOLUTIONS.glob("*/exercises.yaml"))
WORKERS = 2
NOTEBOOKS = sorted(LABS.glob("*/*.ipynb"))


def cells(notebook):
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def test_the_labs_are_built_from_their_sources():
    assert stale(SOLUTIONS, LABS) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_lab_is_complete_and_in_the_form_of_the_course(name):
    assert review(SOLUTIONS / name, ROOT / "book" / "course") == []


def pods_of(obj):
    """Return how many pods an object of a set-up is on two workers."""
    if obj["kind"] == "DaemonSet":
        return WORKERS
    return obj["spec"].get("replicas", 1) if obj["kind"] in ("Deployment", "StatefulSet") else 1


def test_all_labs_find_room_on_one_cluster():
    labs = (load(SOLUTIONS / name) for name in NAMES)
    pods = sum(
        pods_of(obj)
        for lab in labs
        for exercise in lab.exercises.values()
        for obj in exercise.setup
        if obj["kind"] in ("Pod", "Deployment", "StatefulSet", "DaemonSet")
    )
    # A check makes each pod once more, and CoreDNS, canaries, answers and challenges want some too.
    assert pods + 100 <= WORKERS * ClusterConfig().max_pods


def secrets(name):
    """Return what a released lab must not say aloud."""
    lab = load(SOLUTIONS / name)
    for found in lab.predictions.values():
        yield found.explanation
    for exercise in lab.exercises.values():
        yield from (text for step in exercise.hints for text in step.texts)
    for path in SOLUTIONS.glob(f"{name}/*.md"):
        inside = solution_regions(path.read_text())
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


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_called_after_its_lab_and_its_links_lead_somewhere(notebook):
    name = notebook.parent.name
    assert notebook.name in {notebook_file(name, one) for one in NOTEBOOK_SOURCES}
    text = "\n".join(
        "".join(one["source"]) for one in cells(notebook) if one["cell_type"] == "markdown"
    )
    links = re.findall(r"\]\(([^)#]+)", text)
    assert [one for one in links if not (notebook.parent / one).is_file()] == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_released_notebook_has_no_outputs(notebook):
    for cell in cells(notebook):
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
