"""Taints, which keep pods off a node, and tolerations, which let them on it all the same; pure.

Source: core/v1 ``Taint`` and ``Toleration``; kube-scheduler's plugin TaintToleration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

KEEPING_OUT = ("NoSchedule", "NoExecute")
"""Effects that keep new pods off a node."""


def tolerates(toleration: Object, taint: Object) -> bool:
    """Say whether one toleration matches a taint (core/v1 ``Toleration.ToleratesTaint``)."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


def is_tolerated(taint: Object, pod: Object) -> bool:
    """Say whether one of the pod's tolerations matches a taint."""
    return any(tolerates(t, taint) for t in pod["spec"].get("tolerations") or ())


def untolerated(node: Object, pod: Object) -> Object | None:
    """Return the first taint of a node that keeps the pod off it."""
    for taint in node["spec"].get("taints") or ():
        if taint["effect"] in KEEPING_OUT and not is_tolerated(taint, pod):
            found: Object = taint
            return found
    return None
