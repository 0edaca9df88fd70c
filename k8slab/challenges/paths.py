"""Put values into objects by path: the writing side of `objects.paths`."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from k8slab.errors import UsageError
from k8slab.objects import paths

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

    from k8slab.objects.meta import Object


def changed(obj: Object, values: Mapping[str, Any]) -> Object:
    """Return a copy with other values, by path; ``None`` removes the field.

    Mappings on the way that are missing are made; elements of lists must be there.
    """
    made = copy.deepcopy(obj)
    for path, value in values.items():
        *way, last = paths.steps(path)
        place: Any = made
        for step in way:
            place = _inside(place, step, path)
        key = _key(place, last, path)
        if value is not None:
            place[key] = copy.deepcopy(value)
        elif isinstance(place, list) or key in place:
            del place[key]
    return made


def nested(path: str, value: Any) -> Object:
    """Return the merge patch (RFC 7396) that sets one field, by a path of names alone."""
    found: Any = value
    for step in reversed(paths.steps(path)):
        found = {_name(step, path): found}
    return dict(found)


def _inside(place: Any, step: re.Match, path: str) -> Any:
    key = _key(place, step, path)
    if isinstance(place, dict):
        return place.setdefault(key, {})
    return place[key]


def _key(place: Any, step: re.Match, path: str) -> Any:
    if step["index"] is not None:
        return int(step["index"])
    if step["key"] is not None:
        for number, one in enumerate(place):
            if str(one.get(step["key"])) == step["value"]:
                return number
        raise UsageError(f"{path!r} leads nowhere: no element has {step['key']}={step['value']}")
    return _name(step, path)


def _name(step: re.Match, path: str) -> str:
    name: str | None = step["quoted"] if step["quoted"] is not None else step["name"]
    if name is None:
        raise UsageError(f"{path!r} must be made of names")
    return name
