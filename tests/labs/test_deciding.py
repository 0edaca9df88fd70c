"""What the labs' rules decide, from lines as clusters said them: each choice can come true."""

from pathlib import Path

import pytest
import yaml

from k8slab.course import load
from k8slab.course.deciding import fitting

SOLUTIONS = Path(__file__).parents[2] / "solutions"
SAMPLES = yaml.safe_load(Path(__file__).with_name("decided.yaml").read_text(encoding="utf-8"))
RULES = {
    (lab.name, found.id): found
    for lab in (load(path.parent) for path in sorted(SOLUTIONS.glob("*/exercises.yaml")))
    for found in lab.predictions.values()
    if "decides" in found.observe
}


def test_every_rule_has_a_sample_of_every_choice():
    made = {
        (lab, name): set(told) - {""} for lab, of in SAMPLES.items() for name, told in of.items()
    }
    assert made == {place: set(found.choices) for place, found in RULES.items()}


@pytest.mark.parametrize("place", RULES, ids="/".join)
def test_a_rule_decides_what_was_seen_and_nothing_else(place):
    for choice, texts in SAMPLES[place[0]][place[1]].items():
        for text in texts if isinstance(texts, list) else [texts]:
            fits = fitting(RULES[place], text.splitlines())
            assert (fits, text) == ([choice] if choice else [], text)
