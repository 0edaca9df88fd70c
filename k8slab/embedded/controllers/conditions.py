"""Conditions: the list of ``{type, status, reason, message, lastTransitionTime}`` in a status.

``lastTransitionTime`` changes only when the status word changes (API conventions,
"Typical status properties").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.controllers import times

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from k8slab.objects.meta import Object


def find(conditions: Iterable[Object] | None, kind: str) -> Object | None:
    """Return the condition of this type, if there is one."""
    return next((c for c in conditions or () if c.get("type") == kind), None)


def is_true(conditions: Iterable[Object] | None, kind: str) -> bool:
    """Say whether the condition of this type has status ``True``."""
    found = find(conditions, kind)
    return found is not None and found.get("status") == "True"


def word(value: bool) -> str:  # noqa: FBT001 - a conversion of exactly this value
    """Return ``True`` or ``False`` as the API writes it."""
    return "True" if value else "False"


def put(conditions: Sequence[Object] | None, new: Object) -> list[Object]:
    """Return the list with `new` in it, its transition time kept when the status is the same."""
    old = find(conditions, new["type"])
    entry = dict(new)
    if old is not None and old.get("status") == entry["status"]:
        entry["lastTransitionTime"] = old.get("lastTransitionTime")
    else:
        entry.setdefault("lastTransitionTime", times.text())
    if old is None:
        return [*(conditions or ()), entry]
    return [entry if c is old else c for c in conditions or ()]


def drop(conditions: Sequence[Object] | None, kind: str) -> list[Object]:
    """Return the list without the condition of this type."""
    return [c for c in conditions or () if c.get("type") != kind]
