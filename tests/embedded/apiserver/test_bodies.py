"""Bodies: repeated keys are found by counting colons, and nothing is nested without end."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k8slab.embedded.apiserver import bodies

KEYS = st.sampled_from(["a", "b", ":", 'c":', "\\", "\u003a"])
WORDS = st.sampled_from(["", ":", '"x": 1', "\\:", "é:", "{:}"])


class Pairs(list):
    """A JSON object as its pairs, so that keys may repeat."""


VALUES = st.recursive(
    WORDS | st.integers(-5, 5) | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(st.tuples(KEYS, inner), max_size=4).map(Pairs)  # type: ignore[arg-type]
    ),
    max_leaves=12,
)


def written(value, *, space, escaped):
    """Return JSON text with repeated keys as they are; `escaped` writes colons as \\u003a."""
    if isinstance(value, Pairs):
        inner = (
            f"{written(key, space=space, escaped=escaped)}{space}:{space}"
            f"{written(item, space=space, escaped=escaped)}"
            for key, item in value
        )
        return "{" + f",{space}".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(i, space=space, escaped=escaped) for i in value) + "]"
    text = json.dumps(value)
    return text.replace(":", "\\u003a") if escaped and isinstance(value, str) else text


def repeats(value):
    if isinstance(value, Pairs):
        keys = [key for key, _ in value]
        return len(set(keys)) < len(keys) or any(repeats(item) for _, item in value)
    return isinstance(value, list) and any(repeats(item) for item in value)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(
    st.lists(st.tuples(KEYS, VALUES), max_size=5).map(Pairs),
    st.sampled_from(["", " ", "\n\t"]),
    st.booleans(),
)
def test_a_repeated_key_is_told_wherever_it_stands_and_no_other(value, space, escaped):
    body = bodies.parse_json(written(value, space=space, escaped=escaped).encode())
    # A repetition inside a value that a later key replaced is dropped with it: the outer
    # repetition is told.
    assert bool(body.complaints) == repeats(value)


@pytest.mark.parametrize("depth", [bodies.DEPTH_LIMIT + 2, 300, 900])
@pytest.mark.parametrize("pair", ["[]", "{}"])
def test_what_is_nested_too_deep_is_a_bad_request(depth, pair):
    start = "[" if pair == "[]" else '{"a":'
    text = start * depth + "1" + pair[1] * depth
    with pytest.raises(bodies.statuses.ApiStatusError) as caught:
        bodies.parse_json(text.encode())
    assert caught.value.code == 400


def test_many_brackets_side_by_side_are_no_depth():
    text = json.dumps({"a": [{"b": [number]} for number in range(500)]})
    assert bodies.parse_json(text.encode()).value["a"][499] == {"b": [499]}


def test_patches_cannot_add_up_to_a_depth_that_ends_recursion(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    server.request("POST", path, {"metadata": {"name": "deep"}})
    deep = json.loads('{"a":' * 150 + "{}" + "}" * 150)
    place = "/deep" + "/a" * 150
    patch = [
        {"op": "add", "path": "/deep", "value": deep},
        {"op": "add", "path": f"{place}/a", "value": deep},
    ]
    answer = server.request("PATCH", f"{path}/deep", patch, kind="application/json-patch+json")
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")
