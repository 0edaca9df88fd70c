"""Changed copies of nested values: put something at a path, or take it away.

A path is a walk of keys and indexes: ``("spec", "ingress", 0, "ports")``.
"""

from __future__ import annotations

from typing import Any

Path = tuple[str | int, ...]


def at(value: Any, path: Path) -> Any:
    """Return what stands at the path; ``None`` where a step leads nowhere."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def put(value: Any, path: Path, new: Any) -> Any:
    """Return a copy with `new` at the path; mappings on the way are made where they lack."""
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(step, int):
        return [put(one, rest, new) if n == step else one for n, one in enumerate(value)]
    found = value or {}
    return {**found, step: put(found.get(step), rest, new)}


def cut(value: Any, path: Path) -> Any:
    """Return a copy without what stands at the path."""
    step, rest = path[0], path[1:]
    if rest:
        return put(value, (step,), cut(at(value, (step,)), rest))
    if isinstance(step, int):
        return [one for n, one in enumerate(value) if n != step]
    return {key: one for key, one in value.items() if key != step}


def words(path: Path) -> str:
    """Return a path as people write it, without a leading ``spec``: ``ingress[0].ports``."""
    steps = path[1:] if path[:1] == ("spec",) else path
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".")
