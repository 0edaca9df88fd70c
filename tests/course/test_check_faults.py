"""What is wrong in a check is told when the file is read, with file, line and exercise."""

import pytest
import yaml

from k8slab.course import load
from k8slab.errors import ExerciseError

VALUE = {"object": "pods/a", "path": "status.podIP"}
FAULTS = {
    "an expression that cannot be read": {
        "check": "field",
        **VALUE,
        "matches": "(",
        "meaning": "x",
    },
    "an expression of a refusal that cannot be read": {
        "check": "admitted",
        "refused": "(",
        "meaning": "to be refused",
        "manifest": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}},
    },
    "an expression without words for learners": {"check": "field", **VALUE, "matches": "a"},
    "words for an expression that is not there": {
        "check": "field",
        **VALUE,
        "equals": "a",
        "meaning": "to be a",
    },
    "a finding that is a mapping": {"check": "audit", "findings": [{}]},
    "a rule file that is not there": {
        "check": "audit",
        "findings": ["no-policy"],
        "rules": "no such",
    },
    "a field of a value": {
        "check": "answer",
        "id": "q",
        "question": "?",
        "value": {**VALUE, "pth": "x"},
    },
    "a field of same_as": {"check": "field", **VALUE, "same_as": {**VALUE, "pth": "x"}},
    "a field of a check": {"check": "field", **VALUE, "equals": "x", "eqals": "y"},
    "an estate's seed that is no number": {
        "check": "answer",
        "id": "q",
        "question": "?",
        "value": {
            "estate": {"pods": 9, "policies": 9, "namespaces": 2, "seed": "x y"},
            "finding": "no-policy",
        },
    },
    "a packet from nobody": {
        "check": "answer",
        "id": "q",
        "question": "?",
        "value": {"lost": {"from": "a/b/c/d", "to": "b", "port": 0}},
    },
    "an asker that cannot be read": {"check": "http", "from": "a/b/c/d", "url": "http://x"},
    "a path that cannot be read": {"check": "http", "from": "a", "url": "x", "json": {"a..": 1}},
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_a_check_is_said_with_its_line(name, tmp_path):
    data = {
        "lab": "91-x",
        "title": "X",
        "exercises": [{"id": "a", "title": "A", "task": "do", "checks": [FAULTS[name]]}],
    }
    (tmp_path / "exercises.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(ExerciseError, match=r"exercises\.yaml:\d+: exercise a, check 1"):
        load(tmp_path)
