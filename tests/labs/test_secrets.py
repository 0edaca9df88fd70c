"""Nothing that a learner is told before the end contains the solution."""

import json
from pathlib import Path

import pytest

from k8slab.course import load
from k8slab.course.leaks import leaks, parts

ROOT = Path(__file__).parents[2]
SOLUTIONS, LABS = ROOT / "solutions", ROOT / "labs"
LABS_BY_NAME = {path.parent.name: load(path.parent) for path in SOLUTIONS.glob("*/exercises.yaml")}
EXERCISES = [
    (name, exercise)
    for name, lab in sorted(LABS_BY_NAME.items())
    for exercise in lab.exercises
    if lab.exercises[exercise].solution
]


@pytest.mark.parametrize(("name", "exercise"), EXERCISES)
def test_no_hint_before_the_last_contains_the_solution(name, exercise):
    found = LABS_BY_NAME[name].exercise(exercise)
    for step in found.hints[:-1]:
        for text in step.texts:
            assert leaks(text, found) == []
    for text in found.hints[-1].texts if found.hints else ():
        assert len(leaks(text, found)) < max(1, len(parts(found.solution)))


@pytest.mark.parametrize(("name", "exercise"), EXERCISES)
def test_no_cell_and_no_task_contains_the_solution(name, exercise):
    found = LABS_BY_NAME[name].exercise(exercise)
    if found.title.startswith("Worked"):
        pytest.skip("a worked exercise shows how it is done")
    assert leaks(found.statement, found) == []
    for notebook in (LABS / name).glob("*.ipynb"):
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            assert leaks("".join(cell["source"]), found) == [], notebook


def test_a_solution_is_found_in_any_layout():
    class Exercise:
        solution = (
            "# comment\napiVersion: v1\nkind: NetworkPolicy\nmetadata: {name: a}\nspec:\n"
            "  podSelector: {matchLabels: {app: db}}\n  policyTypes: [Ingress]\n"
            "---\nkubectl: [label pod web role=reader tier=front]\n"
        )

    flow = "try {spec: {podSelector: {matchLabels: {app: 'db'}}, policyTypes: [\"Ingress\"]}}"
    block = "spec:\n  podSelector:\n    matchLabels:\n      app: db\n  policyTypes:\n  - Ingress\n"
    for text in (flow, block):
        assert len(leaks(text, Exercise)) == 1
    assert leaks("run `kubectl label pod web role=reader tier=front`", Exercise) == [
        "label pod web role=reader tier=front"
    ]
    assert leaks("the policy needs `policyTypes: [Ingress]` for db", Exercise) == []
    assert len(parts(Exercise.solution)) == 2
    assert parts("") == []
