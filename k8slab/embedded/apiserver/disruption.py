"""The condition by which a pod tells that it goes before its time, and why (KEP-3329)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import objectmeta

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

DISRUPTED = "DisruptionTarget"


def disrupted(pod: Object, reason: str, message: str) -> Object:
    """Return the pod with the condition; the last reason counts, the time is that of the first.

    Source: ``UpdatePodCondition`` of ``pkg/api/v1/pod``.
    """
    status = pod.get("status") or {}
    found = status.get("conditions") or []
    old: Object = next((c for c in found if c["type"] == DISRUPTED), {})
    since = old.get("lastTransitionTime") if old.get("status") == "True" else None
    target = {
        "type": DISRUPTED,
        "observedGeneration": pod["metadata"].get("generation", 1),
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": since or objectmeta.now_text(),
    }
    kept = [target if c is old else c for c in found]
    return {**pod, "status": {**status, "conditions": kept if old else [*kept, target]}}
