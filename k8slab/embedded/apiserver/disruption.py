"""The condition by which a pod tells that it goes before its time, and why (KEP-3329)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import objectmeta

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

DISRUPTED = "DisruptionTarget"


def disrupted(pod: Object, reason: str, message: str) -> Object:
    """Return the pod with the condition; one that has it already keeps its first reason."""
    status = pod.get("status") or {}
    found = status.get("conditions") or ()
    if any(c["type"] == DISRUPTED and c["status"] == "True" for c in found):
        return pod
    target = {
        "type": DISRUPTED,
        "observedGeneration": pod["metadata"].get("generation", 1),
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": objectmeta.now_text(),
    }
    others = [c for c in found if c["type"] != DISRUPTED]
    return {**pod, "status": {**status, "conditions": [*others, target]}}
