"""Rules of definitions in the Common Expression Language."""

import importlib.util

import pytest

from k8slab.embedded.apiserver.custom import rules

if importlib.util.find_spec("cel") is None:
    pytest.skip("the package common-expression-language is not here", allow_module_level=True)

SCHEMA = {
    "type": "object",
    "x-kubernetes-validations": [
        {"rule": "self.least <= self.most", "message": "least is more than most"},
        {
            "rule": "self.most < 100",
            "messageExpression": "'too many: ' + string(self.most)",
            "reason": "FieldValueForbidden",
            "fieldPath": ".most",
        },
    ],
    "properties": {
        "least": {"type": "integer"},
        "most": {"type": "integer"},
        "fixed": {
            "type": "string",
            "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}],
        },
        "names": {
            "type": "array",
            "items": {
                "type": "string",
                "x-kubernetes-validations": [{"rule": "self.lowerAscii() == self"}],
            },
        },
    },
}

CASES = {
    "fulfilled": ({"least": 1, "most": 2, "names": ["a"]}, None, []),
    "broken": (
        {"least": 3, "most": 2},
        None,
        ["<nil>: Invalid value: least is more than most"],
    ),
    "with a message that is computed": (
        {"least": 3, "most": 200},
        None,
        ["most: Forbidden: too many: 200"],
    ),
    "in a list": (
        {"least": 1, "most": 2, "names": ["a", "B"]},
        None,
        ['names[1]: Invalid value: "B": failed rule: self.lowerAscii() == self'],
    ),
    "about a change, and nothing changed": (
        {"least": 1, "most": 2, "fixed": "a"},
        {"least": 1, "most": 2, "fixed": "a"},
        [],
    ),
    "about a change": (
        {"least": 1, "most": 2, "fixed": "b"},
        {"least": 1, "most": 2, "fixed": "a"},
        ['fixed: Invalid value: "b": is immutable'],
    ),
    "about a change of what is new": ({"least": 1, "most": 2, "fixed": "b"}, None, []),
    "that cannot be evaluated": (
        {"least": 1},
        None,
        [
            '<nil>: Invalid value: "object": ',
            '<nil>: Invalid value: "object": ',
        ],
    ),
}


@pytest.mark.parametrize(("new", "old", "messages"), CASES.values(), ids=CASES)
def test_a_rule(new, old, messages):
    found = [str(error) for error in rules.errors(new, old, SCHEMA)]
    assert len(found) == len(messages)
    assert all(text.startswith(message) for text, message in zip(found, messages, strict=True))


PROBLEMS = {
    "self.a <": "compilation failed: ",
    "quantity(self.a).isGreaterThan(quantity('1'))": (
        "compilation failed: undeclared reference to isGreaterThan, quantity in this cluster"
    ),
    "self.a.exists(x, x > 1) && size(self.b) < 2 && self.c.matches('x')": "",
    "has(self.a) ? self.a.split(',').size() == 2 : true": "",
}


@pytest.mark.parametrize(("rule", "problem"), PROBLEMS.items(), ids=PROBLEMS)
def test_a_rule_that_cannot_be_used_is_refused_with_the_definition(rule, problem):
    found = rules.problem(rule)
    assert found.startswith(problem)
    assert bool(found) is bool(problem)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("1 / (self.most - 5) > 0", "division by zero evaluating rule: "),
        ("1 % (self.most - 5) > 0", "modulus by zero evaluating rule: "),
        ("self.most + 9223372036854775807 > 0", "integer overflow evaluating rule: "),
        ("self.names[7] == ''", "index out of bounds: 7 evaluating rule: "),
        ("self.least > 0", "no such key: least evaluating rule: "),
        (
            "self.most + self.names > 0",
            (
                "'no such overload': call arguments did not match a supported operator, function "
                "or macro signature for rule: "
            ),
        ),
    ],
)
def test_a_rule_that_cannot_be_computed_refuses_the_object(rule, message):
    schema = {"type": "object", "x-kubernetes-validations": [{"rule": rule}]}
    (error,) = rules.errors({"most": 5, "names": ["a"]}, None, schema)
    assert error.text == f'Invalid value: "object": {message}{rule}'


def test_loops_within_loops_run_out_of_their_budget_before_they_are_run():
    rule = "self.all(x, self.all(y, self.all(z, x + y + z >= 0)))"
    schema = {"type": "array", "x-kubernetes-validations": [{"rule": rule}]}
    assert not rules.errors(list(range(20)), None, schema)
    (error,) = rules.errors(list(range(200)), None, schema)
    assert error.text == rules.OVER_BUDGET


def test_an_expression_that_would_end_the_parser_is_refused_by_its_length():
    assert rules.problem("self" + ".a" * 20_000).startswith("Too long")
    assert rules.problem("self" + ".a" * 2_000) == ""


def test_without_the_package_a_rule_is_refused_and_says_what_to_install(monkeypatch):
    # Not by clearing the cache: a native module cannot be loaded twice into one process.
    monkeypatch.setattr(rules, "_language", rules._language.__wrapped__)
    monkeypatch.setattr(rules, "find_spec", lambda _name: None)
    assert "pip install common-expression-language" in rules.problem("self.nobody_asked == 1")
