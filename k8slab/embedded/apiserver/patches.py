"""JSON merge patch (RFC 7386) and JSON patch (RFC 6902).

A JSON patch may copy what it has copied before, and so double an object with each operation: what
its copies add is bounded as on a real server (``jsonPatchAccumulatedCopySizeLimit``).
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from k8slab.embedded.apiserver import statuses

MOST_OPERATIONS = 10_000
COPY_LIMIT = 3 * 1024 * 1024
"""Bytes that the copies of one patch may add: as much as a request may have."""

_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,8})\Z")
"""An index by RFC 6901: no leading zeros; lists here have fewer than a thousand million items."""


def merge_patch(target: Any, patch: Any) -> Any:
    """Return `target` changed by a merge patch: objects merge, ``null`` removes."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def json_patch(target: Any, operations: Any) -> Any:
    """Return `target` changed by a JSON patch; 422 when an operation does not fit."""
    if not isinstance(operations, list):
        raise statuses.bad_request("error decoding patch: a JSON patch is a list of operations")
    if len(operations) > MOST_OPERATIONS:
        why = f"The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got"
        error = statuses.bad_request(f"{why} {len(operations)}")
        error.code, error.reason = 413, "RequestEntityTooLarge"
        raise error
    copied = 0
    for operation in operations:
        if not isinstance(operation, dict):
            raise statuses.bad_request("error decoding patch: an operation is an object")
        if operation.get("op") == "copy":
            target, size = _copy(target, operation)
            copied += size
            if copied > COPY_LIMIT:
                raise _unfit(
                    "Unable to complete the copy, the accumulated size increase of copy is "
                    f"{copied}, exceeding the limit {COPY_LIMIT}"
                )
        else:
            target = _operate(target, operation)
    return target


def _operate(target: Any, operation: dict) -> Any:
    name, path = operation.get("op"), _pointer(operation, "path")
    value = operation.get("value")  # one that is not there is taken for null
    match name:
        case "add":
            return _add(target, _steps(path), value)
        case "remove":
            return _remove(target, _steps(path), path)
        case "replace":
            return _set(target, _steps(path), value)
        case "test":
            _test(target, path, value)
            return target
        case "move":
            source = _pointer(operation, "from")
            if path.startswith(f"{source}/"):
                raise _unfit(f"{source!r} cannot be moved into itself")
            value = _lookup(target, source)
            return _add(_remove(target, _steps(source), source), _steps(path), value)
    raise _unfit(f"unknown operation {name!r}")


def _test(target: Any, path: str, wanted: Any) -> None:
    """Compare a value; that a field is not there is asked by comparing it with null.

    Real servers take that, RFC 6902 does not (evanphx/json-patch, Patch.test).
    """
    steps = _steps(path)
    if wanted is None and steps:
        parent = _parent(target, steps)
        if isinstance(parent, dict) and steps[-1] not in parent:
            return
    if _lookup(target, path) != wanted:
        raise _unfit(f"testing value {path} failed")


def _copy(target: Any, operation: dict) -> tuple[Any, int]:
    """Return the target with a value copied in it, and the size of the copy."""
    path = _pointer(operation, "path")
    try:
        raw = orjson.dumps(_lookup(target, _pointer(operation, "from")))
    except TypeError as error:
        raise _unfit(f"what is copied is nested too deep: {error}") from error
    return _add(target, _steps(path), orjson.loads(raw)), len(raw)


def _pointer(operation: dict, field: str) -> str:
    pointer = operation.get(field)
    if not isinstance(pointer, str):
        raise _unfit(f"an operation needs a {field}")
    return pointer


def _unfit(why: str) -> Exception:
    error = statuses.bad_request(
        f"the server rejected our request due to an error in our request: {why}"
    )
    error.code, error.reason = 422, "Invalid"
    return error


def _steps(path: str) -> list[str]:
    if path == "":
        return []
    if not path.startswith("/"):
        raise _unfit(f"path {path!r} must begin with /")
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]


def _index(step: str, items: list, *, adding: bool = False) -> int:
    """Return a place in a list; ``-1`` is the last, as on real servers, though not by RFC 6901."""
    if step == "-" and adding:
        return len(items)
    places = len(items) + adding
    if step.startswith("-") and _NUMBER.match(step[1:]) and 0 < int(step[1:]) <= places:
        return places - int(step[1:])
    if not _NUMBER.match(step) or int(step) > len(items) - (not adding):
        raise _unfit(f"index {step!r} is outside of a list with {len(items)} items")
    return int(step)


def _child(value: Any, step: str) -> Any:
    if isinstance(value, dict):
        if step not in value:
            raise _unfit(f"there is no {step!r}")
        return value[step]
    if isinstance(value, list):
        return value[_index(step, value)]
    raise _unfit(f"{step!r} is not in an object or a list")


def _lookup(target: Any, path: str) -> Any:
    for step in _steps(path):
        target = _child(target, step)
    return target


def _parent(target: Any, steps: list[str]) -> Any:
    for step in steps[:-1]:
        target = _child(target, step)
    return target


def _add(target: Any, steps: list[str], value: Any) -> Any:
    if not steps:
        return value
    parent, last = _parent(target, steps), steps[-1]
    if isinstance(parent, list):
        parent.insert(_index(last, parent, adding=True), value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise _unfit(f"{last!r} cannot be added to a plain value")
    return target


def _set(target: Any, steps: list[str], value: Any) -> Any:
    """Replace a value. A field that is not there is made, as on real servers (not by RFC 6902)."""
    if not steps:
        return value
    parent, last = _parent(target, steps), steps[-1]
    if isinstance(parent, list):
        parent[_index(last, parent)] = value
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise _unfit(f"{last!r} cannot be replaced in a plain value")
    return target


def _remove(target: Any, steps: list[str], path: str) -> Any:
    if not steps:
        raise _unfit("the whole object cannot be removed")
    parent, last = _parent(target, steps), steps[-1]
    if isinstance(parent, dict) and last in parent:
        del parent[last]
    elif isinstance(parent, list):
        del parent[_index(last, parent)]
    else:
        raise _unfit(f"Unable to remove nonexistent key: {path}")
    return target
