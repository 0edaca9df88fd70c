from pathlib import Path

import pytest
import yaml

from k8slab.course import load
from k8slab.errors import K8slabError

MINIMAL = {
    "lab": "91-x",
    "title": "X",
    "exercises": [
        {
            "id": "a",
            "title": "A",
            "task": "do",
            "flows": [{"from": "a", "to": "b", "port": 80, "want": "open"}],
        }
    ],
    "predictions": [
        {"id": "p", "question": "?", "choices": {"open": "yes", "silent": "no"}, "key": "open"}
    ],
}


def write(tmp_path, change):
    data = yaml.safe_load(yaml.safe_dump(MINIMAL))
    change(data)
    (tmp_path / "exercises.yaml").write_text(yaml.safe_dump(data))
    return tmp_path


def test_a_minimal_lab_is_read(tmp_path):
    lab = load(write(tmp_path, lambda data: None))
    exercise = lab.exercise("a")
    assert exercise.namespace == "lab91-a"
    assert str(exercise.wishes.wants[0].flow) == "lab91-a/a -> lab91-a/b port 80/TCP"


def first(data):
    return data["exercises"][0]


FAULTS = {
    "an unknown field": (
        lambda d: first(d).update(flow=[]),
        "exercise a: unknown field 'flow'\n  allowed are canaries, checks, claims, credit, fl",
    ),
    "a missing field": (lambda d: first(d).pop("task"), "exercise a: field 'task' is missing"),
    "a wrong type": (
        lambda d: first(d).update(points="two"),
        "exercise a: field 'points' must be a whole number or a number, not text",
    ),
    "a wish that does not exist": (
        lambda d: first(d)["flows"][0].update(want="closed"),
        "exercise a, flow 1: field 'want' is 'closed'; allowed are open, refused, silent",
    ),
    "a port out of range": (
        lambda d: first(d)["flows"][0].update(port=0),
        "exercise a, flow 1: port 0 is not between 1 and 65535",
    ),
    "a party that cannot be read": (
        lambda d: first(d)["flows"][0].update({"from": "a/b/c/d"}),
        "exercise a, flow 1: cannot read 'a/b/c/d'",
    ),
    "a check that does not exist": (
        lambda d: first(d).update(checks=[{"check": "magic"}]),
        "exercise a, check 1: field 'check' is 'magic'\n  allowed are ",
    ),
    "a check without its fields": (
        lambda d: first(d).update(checks=[{"check": "http", "from": "a"}]),
        "exercise a, check 1: field 'url' is missing",
    ),
    "a field check that compares nothing": (
        lambda d: first(d).update(checks=[{"check": "field", "object": "pods/a", "path": "x"}]),
        "exercise a, check 1: needs one of equals",
    ),
    "points that do not add up": (
        lambda d: (
            first(d).update(points=3, credit={"in": 1}),
            first(d)["flows"][0].update(group="in"),
        ),
        "exercise a: credit gives 1 points together, not 3",
    ),
    "a group without points": (
        lambda d: first(d)["flows"][0].update(group="in"),
        "exercise a: the group 'in' has no points in `credit`",
    ),
    "points for nothing": (
        lambda d: first(d).update(credit={"in": 1}),
        "exercise a: credit: no flow and no check has the group 'in'",
    ),
    "a hint without its other text": (
        lambda d: first(d).update(hints=[{"when": {"selects_nothing": "any"}, "text": "x"}]),
        "exercise a, hint 1: field 'otherwise' is missing",
    ),
    "a condition that does not exist": (
        lambda d: first(d).update(
            hints=[{"when": {"moon": "full"}, "text": "x", "otherwise": "y"}]
        ),
        "exercise a, hint 1, when: unknown field 'moon'",
    ),
    "a condition about a flow without its outcome": (
        lambda d: first(d).update(
            hints=[
                {
                    "when": {"flow": {"from": "a", "to": "b", "port": 1}},
                    "text": "x",
                    "otherwise": "y",
                }
            ]
        ),
        "exercise a, hint 1, when: a flow needs `is` beside it",
    ),
    "a canary like nobody": (
        lambda d: first(d).update(canaries=[{"elsewhere": True}]),
        "exercise a, canary 1: field 'like' is missing",
    ),
    "an id with capitals": (
        lambda d: first(d).update(id="A"),
        "exercise A: field 'id' may hold lower-case letters",
    ),
    "an id twice": (lambda d: d["exercises"].append(first(d)), "the id 'a' stands twice"),
    "nothing wanted": (lambda d: first(d).pop("flows"), "exercise a: wants nothing"),
    "a manifest that is not there": (
        lambda d: first(d).update(setup=["no.yaml"]),
        "exercise a: field 'setup': there is no file",
    ),
    "a key that is no choice": (
        lambda d: d["predictions"][0].update(key="maybe"),
        "prediction p: field 'key' is 'maybe'\n  allowed are open, silent",
    ),
    "a reason that is not there": (
        lambda d: d["predictions"][0].update(reasons={"a": "b"}),
        "prediction p: field 'reason' is None",
    ),
    "an object of no kind": (
        lambda d: first(d).update(checks=[{"check": "admitted", "manifest": {"apiVersion": "v1"}}]),
        "exercise a, check 1: the object has no kind",
    ),
    "an object without a name that is observed": (
        lambda d: d["predictions"][0].update(
            observe={"admitted": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": 5}}}
        ),
        "prediction p, observe: field 'admitted': the object has no metadata.name",
    ),
    "a check whose kind is a list": (
        lambda d: first(d).update(checks=[{"check": ["field"]}]),
        "exercise a, check 1: field 'check' is ['field']\n  allowed are ",
    ),
    "a check with a number for its title": (
        lambda d: first(d).update(checks=[{"check": "audit", "findings": ["x"], "title": 7}]),
        "exercise a, check 1: field 'title' must be text, not a whole number",
    ),
    "an exercise that is a word": (
        lambda d: d["exercises"].append("b"),
        "field 'exercises': number 2 must be a mapping",
    ),
    "a flow that is a word": (
        lambda d: first(d).update(flows=["a to b"]),
        "exercise a: field 'flows': number 1 must be a mapping",
    ),
    "a number among what may be changed": (
        lambda d: first(d).update(may_change=["pods/*", 7]),
        "exercise a: field 'may_change' must hold texts only\n  patterns RESOURCE/NAME",
    ),
    "points that are less than nothing": (
        lambda d: first(d).update(points=-1),
        "exercise a: field 'points' must not be less than 0",
    ),
    "a hint that gives points": (
        lambda d: first(d).update(hint_cost=-0.5),
        "exercise a: field 'hint_cost' must not be less than 0",
    ),
    "a group that takes points away": (
        lambda d: (
            first(d).update(points=1, credit={"in": 2, "out": -1}),
            first(d)["flows"][0].update(group="in"),
            first(d)["flows"].append({**first(d)["flows"][0], "group": "out"}),
        ),
        "exercise a: credit: the points of 'out' must be a number, 0 or more",
    ),
    "a capability that no cluster has": (
        lambda d: first(d).update(needs=["wrld"]),
        "exercise a: field 'needs': no cluster has wrld\n  allowed are agents, denials, dual-stack",
    ),
    "a lab that needs what no cluster has": (
        lambda d: d.update(needs=["moon"]),
        "field 'needs': no cluster has moon",
    ),
    "a choice without words": (
        lambda d: d["predictions"][0]["choices"].update(open=None),
        "prediction p: field 'choices' must hold texts only",
    ),
    "a name that is a number": (
        lambda d: first(d).update(names={"sender": ["anna", 7]}),
        "exercise a: names: 'sender' needs a list of names",
    ),
    "an id that was another exercise's": (
        lambda d: d["exercises"].append({**first(d), "id": "b", "formerly": ["a"]}),
        "the id 'a' is, or was, of a and of b\n  an id in `formerly` belongs to one exercise",
    ),
    "a fourth hint": (
        lambda d: first(d).update(hints=["a", "b", "c", "d"]),
        "exercise a: field 'hints': 4 steps\n  up to three steps",
    ),
    "a condition about a port that there is not": (
        lambda d: first(d).update(
            hints=[
                {
                    "when": {"flow": {"from": "a", "to": "b", "port": 0}, "is": "open"},
                    "text": "x",
                    "otherwise": "y",
                }
            ]
        ),
        "exercise a, hint 1, when, flow: port 0 is not between 1 and 65535",
    ),
    "a canary without a number": (
        lambda d: first(d).update(canaries=[{"like": "a", "without": [7]}]),
        "exercise a, canary 1: field 'without' must hold texts only",
    ),
    "an expression that is a number": (
        lambda d: d["predictions"][0].update(observe={"decides": {"open": 7, "silent": "x"}}),
        "prediction p, observe, decides: open: 7 is no regular expression",
    ),
    "an expression that everything fits": (
        lambda d: d["predictions"][0].update(observe={"decides": {"open": "a", "silent": ""}}),
        "prediction p, observe, decides: silent: '' is no regular expression",
    ),
    "an exercise that is not there": (
        lambda d: d["predictions"][0].update(exercise="z"),
        "prediction p: field 'exercise': there is no exercise 'z'",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_said_with_file_exercise_and_field(name, tmp_path):
    change, message = FAULTS[name]
    with pytest.raises(K8slabError) as error:
        load(write(tmp_path, change))
    assert message in str(error.value)
    assert "exercises.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("want: open", "want: closed", 7),
        ("title: A", "titel: A", 4),
        ("key: open", "key: perhaps", 11),
        ("minutes: 5", "minutes: long", 1),
        ("task: do", "", 3),
        ("task: do", "task: do\n    credit: {in: 2}", 6),
        ("task: do", "task: do\n    names: {who: anna}", 6),
        ("task: do", "task: do\n    checks: [{check: magic}]", 6),
        ("task: do", "task: do\n    needs: [moon]", 6),
        ("- {from: a, to: b, port: 80, want: open}", "- a to b", 6),
        ("flows:\n      - {from: a, to: b, port: 80, want: open}", "points: 1", 3),
        ("key: open", "key: open\n    observe:\n      admitted: {kind: Service}", 13),
    ],
)
def test_a_fault_is_said_with_its_line(tmp_path, old, new, line):
    text = """minutes: 5
exercises:
  - id: a
    title: A
    task: do
    flows:
      - {from: a, to: b, port: 80, want: open}
predictions:
  - id: p
    question: "?"
    key: open
    choices: {open: "yes", silent: "no"}
lab: 91-x
title: X
"""
    assert old in text
    (tmp_path / "exercises.yaml").write_text(text.replace(old, new))
    with pytest.raises(K8slabError, match=rf"exercises\.yaml:{line}: "):
        load(tmp_path)


def test_fresh_pods_are_looked_at_where_the_rest_may_not_change(tmp_path):
    def load_with(**fields):
        return load(write(tmp_path, lambda data: first(data).update(fields))).exercise("a").wishes

    assert not load_with().fresh_pods
    assert load_with(may_change=[]).fresh_pods
    assert not load_with(may_change=[], fresh_pods=False).fresh_pods
    value = {"object": "pods/a", "path": "status.podIP"}
    typed = {"check": "answer", "id": "x", "question": "?", "value": value}
    assert not load_with(may_change=[], checks=[typed]).fresh_pods


def test_the_task_says_how_points_are_given(tmp_path):
    def change(data):
        first(data).update(points=3, hint_cost=0.5, credit={"in": 2, "out": 1})
        flow = first(data)["flows"][0]
        first(data)["flows"] = [{**flow, "group": "in"}, {**flow, "to": "c", "group": "out"}]

    exercise = load(write(tmp_path, change)).exercise("a")
    assert exercise.statement == "do\n\nPoints: in 2, out 1. Each hint costs 0.5 points."
    assert load(write(tmp_path, lambda data: None)).exercise("a").statement == "do"


def test_the_task_says_how_its_questions_are_answered(tmp_path):
    value = {"object": "pods/a", "path": "status.podIP"}
    asked = {"check": "answer", "id": "address", "question": "Which address?", "value": value}
    lab = load(write(tmp_path, lambda data: first(data).update(checks=[asked])))
    assert lab.exercise("a").statement == 'do\n\n`lab.answer("address", ...)`: Which address?'


def test_the_core_is_what_no_title_calls_stretch(tmp_path):
    lab = load(write(tmp_path, lambda data: first(data).update(title="Stretch: more")))
    assert "a" in lab.exercises
    assert "a" not in [one.id for one in lab.core]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(K8slabError, match=r"exercises\.yaml: cannot read it"):
        load(Path(tmp_path))
