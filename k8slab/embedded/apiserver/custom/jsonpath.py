"""The JSONPath of printer columns, scale paths and selectable fields.

A part of the language of ``kubectl -o jsonpath``: fields with dots or brackets, indexes, ``[*]``
and filters ``[?(@.type=="Ready")]``. Source: client-go ``util/jsonpath``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

_STEP = re.compile(
    r"""\.(?P<field>(?:\\.|[^.\[\\])+)
      | \[\s*(?P<number>-?\d+)\s*\]
      | \[\s*(?P<all>\*)\s*\]
      | \[\s*(?P<quote>['"])(?P<key>.*?)(?P=quote)\s*\]
      | \[\?\(\s*@(?P<inner>(?:\.[\w-]+)+)\s*(?P<operator>==|!=)\s*(?P<value>.*?)\s*\)\]
    """,
    re.VERBOSE,
)


class Step(NamedTuple):
    """One step: a field's name, an index, everything (``None``), or a filter."""

    name: str | int | None
    inner: tuple[str, ...] = ()
    equal: bool = True


@lru_cache(maxsize=512)
def parse(text: str) -> tuple[Step, ...]:
    """Return the steps of a path; raises `ValueError` for what is not understood."""
    rest = text.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    rest = rest if rest.startswith((".", "[")) else f".{rest}"
    steps, place = [], 0
    while place < len(rest):
        match = _STEP.match(rest, place)
        if not match:
            raise ValueError(f"{text!r} is no simple JSON path: see {rest[place:]!r}")
        place = match.end()
        steps.append(_step(match))
    return tuple(steps)


def _step(match: re.Match) -> Step:
    if match["field"] is not None:
        name = re.sub(r"\\(.)", r"\1", match["field"])
        return Step(None if name == "*" else name)
    if match["number"] is not None:
        return Step(int(match["number"]))
    if match["inner"]:
        return Step(
            match["value"].strip("'\""),
            tuple(match["inner"].split(".")[1:]),
            equal=match["operator"] == "==",
        )
    return Step(match["key"])


def find(obj: Any, text: str) -> list[Any]:
    """Return all values that a path leads to."""
    found = [obj]
    for step in parse(text):
        found = [inner for value in found for inner in _follow(value, step)]
    return found


def _follow(value: Any, step: Step) -> list[Any]:
    if step.inner:
        return [item for item in _children(value) if _fits(item, step)]
    if step.name is None:
        return _children(value)
    if isinstance(step.name, int):
        inside = isinstance(value, list) and -len(value) <= step.name < len(value)
        return [value[step.name]] if inside else []
    return [value[step.name]] if isinstance(value, dict) and step.name in value else []


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _fits(item: Any, step: Step) -> bool:
    for name in step.inner:
        item = item.get(name) if isinstance(item, dict) else None
    text = str(item).lower() if isinstance(item, bool) else str(item)
    return item is not None and (text == step.name) is step.equal
