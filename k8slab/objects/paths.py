"""Find values in an object by a path: ``status.conditions[type=Ready].status``.

Steps are separated by dots; ``[0]`` picks from a list by number, ``[key=value]`` the first
element whose field has this value (``[targetRef.name=web]``: a field of a field),
``["a.b/c"]`` a key that contains dots.
"""

from __future__ import annotations

import re
from typing import Any

from k8slab.errors import UsageError

_STEP = re.compile(
    r'\[(?P<index>\d+)\]|\["(?P<quoted>[^"]*)"\]|\[(?P<key>[\w./-]+)=(?P<value>[^\]]*)\]'
    r"|\.?(?P<name>[\w/-]+)"
)


def at(obj: Any, path: str) -> Any:
    """Return the value at `path`, or ``None`` when any step leads nowhere."""
    value = obj
    for step in steps(path):
        if value is None:
            return None
        value = _child(value, step)
    return value


def steps(path: str) -> list[re.Match]:
    """Split a path into its steps; raises `UsageError` when it cannot be read."""
    position, found = 0, []
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise UsageError(
                f"cannot read the path {path!r} at {path[position:]!r}",
                hint="write spec.replicas, status.podIPs[0].ip or conditions[type=Ready].status",
            )
        found.append(step)
        position = step.end()
    return found


def _child(value: Any, step: re.Match) -> Any:
    if step["index"] is not None:
        number = int(step["index"])
        return value[number] if isinstance(value, list) and number < len(value) else None
    if step["key"] is not None:
        found = value if isinstance(value, list) else ()
        return next(
            (v for v in found if isinstance(v, dict) and _told(v, step["key"]) == step["value"]),
            None,
        )
    name = step["quoted"] if step["quoted"] is not None else step["name"]
    return value.get(name) if isinstance(value, dict) else None


def _told(element: dict, key: str) -> str:
    """Return the field of an element as text; a key with dots may lead into its fields."""
    return str(element[key] if key in element else at(element, key))
