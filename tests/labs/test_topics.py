"""What the course promises (book/course) is practised in its labs."""

from pathlib import Path

import pytest
import yaml

from k8slab.course import load

ROOT = Path(__file__).parents[2]
COURSE = ROOT / "book" / "course"
LABS = {path.parent.name[:2]: path.parent for path in ROOT.glob("solutions/*/exercises.yaml")}

MISSING: dict[str, str] = {}
"""What is promised and not practised yet, and why."""


def promised(file):
    data = yaml.safe_load((COURSE / file).read_text(encoding="utf-8"))
    entries = data["topics"] if isinstance(data, dict) else data
    return {entry["id"]: entry["lab"] for entry in entries}


def named(lab, field):
    """Return the ids that a lab names where something is done: not in its quizzes."""
    doing = [*lab.exercises.values(), *(p for p in lab.predictions.values() if not p.quiz)]
    return {name for found in doing for name in getattr(found, field)}


@pytest.mark.parametrize(("file", "field"), [("topics.yaml", "topics"), ("claims.yaml", "claims")])
def test_each_topic_and_claim_of_a_lab_is_practised_in_it(file, field):
    course = promised(file)
    done = {number: named(load(path), field) for number, path in LABS.items()}
    missing = {one for one, lab in course.items() if lab in done and one not in done[lab]}
    assert missing == {one for one in MISSING if one in course}
