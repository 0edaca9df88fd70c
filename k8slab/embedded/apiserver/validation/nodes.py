"""Check the taints of Nodes. Source: validateNodeTaints in ``pkg/apis/core/validation``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.statuses import FieldError, duplicate, each, invalid
from k8slab.embedded.apiserver.validation import names
from k8slab.embedded.apiserver.validation.common import one_of

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def node_errors(new: Object, _old: Object | None) -> list[FieldError]:
    """Return what is wrong with a Node; a real server, too, calls its taints metadata."""
    errors: list[FieldError] = []
    taken: set[tuple[str, str]] = set()
    for number, taint in each((new.get("spec") or {}).get("taints"), errors):
        path = f"metadata.taints[{number}]"
        key, effect, value = (taint.get(field) or "" for field in ("key", "effect", "value"))
        errors += [invalid(f"{path}.key", key, why) for why in names.qualified_name(key)]
        errors += [invalid(f"{path}.value", value, why) for why in names.label_value(value)]
        errors += one_of(effect, EFFECTS, f"{path}.effect")
        if (key, effect) in taken:
            error = duplicate(path, taint)
            why = "taints must be unique by key and effect pair"
            errors.append(FieldError(path, error.reason, f"{error.text}: {why}"))
        taken.add((key, effect))
    return errors
