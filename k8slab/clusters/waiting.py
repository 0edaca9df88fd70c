"""What a wait waits for: conditions as plain functions of an object.

The words are those of ``kubectl wait --for``: ``condition=Ready``, ``condition=Ready=False``,
``delete``, ``jsonpath={.status.phase}=Running``, ``create``; and ``ready``, which is what
each kind calls being in working order.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from k8slab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.objects.meta import Object

_STEP = re.compile(r"\.((?:[^.\[\]\\]|\\.)+)|\[(\d+)\]|\['([^']+)'\]")


def predicate(wanted: str) -> Callable[[Object], bool]:
    """Compile the words of a wait; `UsageError` when they are not understood."""
    if wanted == "ready":
        return is_ready
    if wanted == "create":
        return lambda _obj: True
    if wanted == "delete":
        return lambda _obj: False
    what, _, rest = wanted.partition("=")
    if what == "condition" and rest:
        kind, _, status = rest.partition("=")
        return lambda obj: condition(obj, kind).lower() == (status or "True").lower()
    if what == "jsonpath" and rest:
        path, _, value = rest.strip("'\"").partition("}")
        steps = _steps(path.strip("'\" {"))
        expected = value.lstrip("'\"").removeprefix("=").strip("'\"")
        return lambda obj: _equals(_at(obj, steps), expected)
    raise UsageError(
        f"cannot wait for {wanted!r}",
        hint="use ready, create, delete, condition=TYPE or jsonpath={.path}=value",
    )


def condition(obj: Object, kind: str) -> str:
    """Return the status of a condition: ``True``, ``False``, ``Unknown``, or empty when absent."""
    for entry in obj.get("status", {}).get("conditions") or ():
        if str(entry.get("type")).lower() == kind.lower():  # as kubectl wait compares
            return str(entry.get("status"))
    return ""


def is_ready(obj: Object) -> bool:
    """Say whether an object is in working order, in the sense of its kind.

    Workloads as ``kubectl rollout status`` judges them; other kinds by the condition Ready,
    and kinds without conditions are ready as soon as they exist.
    """
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    seen = status.get("observedGeneration", 0) >= obj["metadata"].get("generation", 0)
    match obj.get("kind"):
        case "Deployment" | "StatefulSet":
            counts = ("replicas", "updatedReplicas", "readyReplicas")
            return seen and all(status.get(c, 0) == spec.get("replicas", 1) for c in counts)
        case "ReplicaSet":
            return seen and bool(status.get("readyReplicas", 0) == spec.get("replicas", 1))
        case "DaemonSet":
            wanted = status.get("desiredNumberScheduled", 0)
            done = min(status.get("numberReady", 0), status.get("updatedNumberScheduled", 0))
            return seen and bool(done >= wanted)
        case "Job":
            return condition(obj, "Complete") == "True"
        case "Namespace":
            return bool(status.get("phase") == "Active")
        case "Pod" | "Node":
            return condition(obj, "Ready") == "True"
        case _:
            return condition(obj, "Ready") in ("True", "")


def describe(obj: Object) -> str:
    """Say in a few words what state an object is in, for a wait that ended in vain."""
    status = obj.get("status") or {}
    words = [str(status["phase"])] if "phase" in status else []
    for entry in status.get("containerStatuses") or ():
        waiting = (entry.get("state") or {}).get("waiting")
        if waiting:
            words.append(f"{entry['name']}: {waiting.get('reason')} {waiting.get('message', '')}")
    words += [
        f"{entry['type']}: {entry.get('message') or entry['reason']}"
        for entry in status.get("conditions") or ()
        if entry.get("status") != "True" and (entry.get("message") or entry.get("reason"))
    ]
    if "replicas" in status:
        words.append(f"{status.get('readyReplicas', 0)} of {status['replicas']} ready")
    return "; ".join(word.strip() for word in words) or "no status"


def _steps(path: str) -> list[str | int]:
    if not path.startswith("."):
        path = f".{path}"
    steps: list[str | int] = []
    position = 0
    while position < len(path):
        found = _STEP.match(path, position)
        if not found:
            raise UsageError(f"cannot read the JSONPath {path!r} at {path[position:]!r}")
        name, index, quoted = found.groups()
        steps.append(int(index) if index else (quoted or name.replace("\\.", ".")))
        position = found.end()
    return steps


def _at(value: Any, steps: list[str | int]) -> Any:
    for step in steps:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _equals(value: Any, expected: str) -> bool:
    if value is None:
        return False
    if not expected:
        return True
    return (str(value).lower() if isinstance(value, bool) else str(value)) == expected
