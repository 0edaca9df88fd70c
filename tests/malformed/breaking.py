"""Strategies: take a valid object and break it, anywhere its schema has a place.

Half of the values have a wrong type; the others have the right one and make no sense. Both are
sent, since a decoder stops the first and only validation meets the second.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from tests.malformed.served import new_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.malformed.served import Kind, Object, Schema, Served

    Draw = Callable[[st.SearchStrategy], Any]

TEXTS = st.sampled_from(
    [
        "",
        " ",
        "a",
        "A_b",
        "a" * 64,
        "a." * 200,
        "x" * 70_000,
        "\x00",
        "a\nb\r\nX-Injected: 1",
        "\t\x7f\x1b[31m",
        "\ud800",
        "é中文\U0001f600",
        "a/b/c",
        "../../etc/passwd",
        "-",
        "10.0.0.1",
        "10.0.0.0/33",
        "::1",
        "fe80::1%eth0",
        "0777",
        "1e999",
        "-1",
        "99999999999999999999999",
        "80",
        "http",
        "100%",
        "None",
        "null",
        "true",
        "{}",
        "$(HOME)",
        "{.spec[?(@.a==1)]}",
        "^(a+)+$",
        "[",
        "2026-13-45T99:99:99Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "1Ki",
        "1Zi",
        "AAEC",
        "%%%=",
        "*",
        "ClusterIP",
        "NodePort",
        "TCP",
        "default",
    ]
)
NUMBERS = st.sampled_from(
    [
        0,
        -1,
        1,
        80,
        65536,
        2**31 - 1,
        2**31,
        -(2**31) - 1,
        2**53 + 1,
        2**63 - 1,
        2**63,
        -(2**63) - 1,
        2**64,
        10**30,
        10**400,
        0.5,
        1.0,
        -0.0,
        1e20,
        1e308,
        float("nan"),
        float("inf"),
    ]
)


def deep(levels: int) -> Any:
    """Return a value nested this deep, lists and objects in turn."""
    value: Any = 0
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


GARBAGE = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    TEXTS,
    st.sampled_from([[], {}, [None], [[]], [{}], {"": None}, {"a": None}, {"a": {}}, ["a", 1]]),
    st.sampled_from([deep(50), deep(190), deep(250)]),
)


@st.composite
def fitting(draw: Draw, served: Served, schema: Schema, place: str, depth: int = 3) -> Any:
    """Return a value of the type that a schema asks for, whose contents make no sense."""
    schema = served.resolved(schema, place)
    properties = schema.get("properties") or {}
    kind = schema.get("type") or ("object" if properties else "")
    if kind == "string":
        return draw(TEXTS)
    if kind in ("integer", "number"):
        return draw(NUMBERS)
    if kind == "boolean":
        return draw(st.booleans())
    if depth == 0:
        return [] if kind == "array" else {}
    if kind == "array":
        count = draw(st.integers(0, 2))
        inner = fitting(served, schema.get("items") or {}, place, depth - 1)
        items = [draw(inner) for _ in range(count)]
        return items * 2 if draw(st.booleans()) else items
    if isinstance(additional := schema.get("additionalProperties"), dict):
        return {draw(TEXTS): draw(fitting(served, additional, place, depth - 1))}
    if properties:
        wanted = draw(st.lists(st.sampled_from(sorted(properties)), max_size=4, unique=True))
        return {name: draw(fitting(served, properties[name], place, depth - 1)) for name in wanted}
    return draw(GARBAGE)


Path = tuple[str | int, ...]


@st.composite
def places(draw: Draw, served: Served, kind: Kind) -> tuple[Path, Schema]:
    """Return a path into objects of a kind, and the schema of what is there."""
    place = kind.schema["x-place"]
    schema, path = kind.schema, ()
    for _ in range(draw(st.integers(1, 8))):
        schema = served.resolved(schema, place)
        if properties := schema.get("properties"):
            # Past the head: apiVersion and kind are two of the few fields that all objects have.
            names = sorted(properties.keys() - {"apiVersion", "kind"}) or sorted(properties)
            if not path and names and draw(st.booleans()):
                names = [name for name in names if name not in ("metadata", "status")] or names
            step: str | int = draw(st.sampled_from(names))
            schema = properties[step]
        elif schema.get("type") == "array":
            step, schema = draw(st.integers(0, 1)), schema.get("items") or {}
        elif isinstance(schema.get("additionalProperties"), dict):
            step, schema = draw(TEXTS), schema["additionalProperties"]
        else:
            break
        path = (*path, step)
    return path, schema


def graft(value: Any, path: Path, new: Any) -> Any:
    """Return `value` with `new` at a path; what is missing on the way is made."""
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(step, int):
        items = list(value) if isinstance(value, list) else []
        items += [{}] * (step + 1 - len(items))
        items[step] = graft(items[step], rest, new)
        return items
    held = dict(value) if isinstance(value, dict) else {}
    held[step] = graft(held.get(step), rest, new)
    return held


def without(value: Any, path: Path) -> Any:
    """Return `value` less what is at a path."""
    step, rest = path[0], path[1:]
    if isinstance(value, dict) and step in value:
        if rest:
            return {**value, step: without(value[step], rest)}
        return {key: item for key, item in value.items() if key != step}
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        if rest:
            return [*value[:step], without(value[step], rest), *value[step + 1 :]]
        return value[:step] + value[step + 1 :]
    return value


def held_paths(value: Any, path: Path = ()) -> list[Path]:
    """Return the path of everything in a value."""
    pairs = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [
        found for key, item in pairs for found in ((*path, key), *held_paths(item, (*path, key)))
    ]


@st.composite
def broken(draw: Draw, served: Served, kind: Kind, obj: Object) -> Object:
    """Return an object with one to three places broken."""
    for _ in range(draw(st.integers(1, 3))):
        way = draw(st.sampled_from(["fit", "fit", "garbage", "remove", "held", "unknown"]))
        held = held_paths(obj)
        if way == "fit":
            path, schema = draw(places(served, kind))
            obj = graft(obj, path, draw(fitting(served, schema, kind.schema["x-place"])))
        elif way == "garbage":
            path, _ = draw(places(served, kind))
            obj = graft(obj, path, draw(GARBAGE))
        elif way == "remove":
            obj = without(obj, draw(st.sampled_from(held)))
        elif way == "held":
            obj = graft(obj, draw(st.sampled_from(held)), draw(GARBAGE))
        else:
            path = draw(st.sampled_from([(), *held]))
            obj = graft(obj, (*path, draw(TEXTS)), draw(GARBAGE))
        if not isinstance(obj, dict) or not obj:
            break
    return obj


def encoded(value: Any) -> bytes:
    """Return JSON as careless clients write it: with NaN, and surrogates as escapes."""
    return json.dumps(value).encode()


@st.composite
def objects(draw: Draw, served: Served, kinds: list[Kind]) -> tuple[Kind, str, Any]:
    """Return a kind, a new name and a broken object of that name."""
    kind = draw(st.sampled_from(kinds))
    name = new_name()
    return kind, name, draw(broken(served, kind, kind.example(name)))
