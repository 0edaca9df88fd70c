"""Read the fields of a policy strictly: what is not understood is an error that names the field.

An unknown field is refused and not passed over: a policy with ``form:`` for ``from:`` would
otherwise admit everyone, which is the opposite of what was meant. Each function takes the
value and its path in the object, and raises `UsageError` that begins with the path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab.errors import UsageError
from k8slab.objects.selectors import OPERATORS, Requirement, Selector
from k8slab.policy.addresses import network

if TYPE_CHECKING:
    from collections.abc import Collection

    from k8slab.policy.addresses import AddressSet

_SELECTOR = frozenset({"matchLabels", "matchExpressions"})
_EXPRESSION = frozenset({"key", "operator", "values"})


def mapping(value: Any, path: str, known: Collection[str]) -> dict[str, Any]:
    """Return a mapping that has known fields only; ``None`` counts as empty."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError(f"{path}: must be a mapping, not {value!r:.60}")
    for name in value:
        if name not in known:
            raise UsageError(f"{path}: unknown field {name!r}", hint=f"known: {', '.join(known)}")
    return value


def items(value: Any, path: str) -> list[Any]:
    """Return a list; ``None`` counts as empty."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise UsageError(f"{path}: must be a list, not {value!r:.60}")
    return value


def text(value: Any, path: str) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise UsageError(f"{path}: must be text, not {value!r:.60}", hint="put it into quotes")
    return value


def one_of(value: Any, path: str, words: Collection[str]) -> str:
    """Return a text that is one of the words."""
    if not isinstance(value, str) or value not in words:
        raise UsageError(f"{path}: {value!r:.60} is not one of {', '.join(words)}")
    return value


def port_number(value: Any, path: str) -> int:
    """Return the number of a port."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
        raise UsageError(f"{path}: port {value!r:.60} is not between 1 and 65535")
    return value


def cidr(value: Any, path: str) -> AddressSet:
    """Return the addresses of a range."""
    try:
        return network(value)
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}") from error


def label_selector(value: Any, path: str) -> Selector:
    """Return a ``metav1.LabelSelector``; ``None`` and empty are everything."""
    found = mapping(value, path, _SELECTOR)
    labels = found.get("matchLabels")
    if labels is not None and not isinstance(labels, dict):
        raise UsageError(f"{path}.matchLabels: must be a mapping, not {labels!r:.60}")
    requirements = [
        Requirement(text(key, path), "In", (text(label, f"{path}.matchLabels.{key}"),))
        for key, label in (labels or {}).items()
    ]
    place = f"{path}.matchExpressions"
    for number, expression in enumerate(items(found.get("matchExpressions"), place)):
        requirements.append(_requirement(expression, f"{place}[{number}]"))
    return Selector(tuple(requirements))


def _requirement(value: Any, path: str) -> Requirement:
    found = mapping(value, path, _EXPRESSION)
    operator = found.get("operator")
    if operator not in OPERATORS:
        raise UsageError(
            f"{path}: unknown selector operator {operator!r:.60}",
            hint=f"use one of {', '.join(OPERATORS)}",
        )
    values = tuple(text(v, f"{path}.values") for v in items(found.get("values"), f"{path}.values"))
    if bool(values) != (operator in ("In", "NotIn")):
        wanted = "needs values" if operator in ("In", "NotIn") else "takes no values"
        raise UsageError(f"{path}: {operator} {wanted}")
    return Requirement(text(found.get("key"), f"{path}.key"), operator, values)
