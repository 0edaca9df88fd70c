"""What the workload controllers ask of pods, and how they make one from a template.

Sources: ``pkg/controller`` (IsPodActive, FilterActivePods) and
``podutil`` (IsPodReady, IsPodAvailable) of Kubernetes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded import clock
from k8slab.embedded.controllers import conditions, times
from k8slab.errors import ApiStatusError
from k8slab.objects.meta import Object, is_deleting, name_of, namespace_of, uid_of

if TYPE_CHECKING:
    from k8slab.embedded.controllers.context import Context

FINISHED = ("Succeeded", "Failed")


def is_finished(pod: Object) -> bool:
    """Say whether the pod has ended for good."""
    return (pod.get("status") or {}).get("phase") in FINISHED


def is_active(pod: Object) -> bool:
    """Say whether the pod counts for its owner: neither ended nor being deleted."""
    return not is_finished(pod) and not is_deleting(pod)


def is_ready(pod: Object) -> bool:
    """Say whether the pod's Ready condition is true."""
    return conditions.is_true((pod.get("status") or {}).get("conditions"), "Ready")


def is_available(pod: Object, min_ready_seconds: int, now: float | None = None) -> bool:
    """Say whether the pod has been ready for `min_ready_seconds`."""
    return is_ready(pod) and available_in(pod, min_ready_seconds, now) <= 0


def available_in(pod: Object, min_ready_seconds: int, now: float | None = None) -> float:
    """Return the seconds until a ready pod counts as available; 0 or less: it does."""
    if not min_ready_seconds:
        return 0.0
    ready = conditions.find((pod.get("status") or {}).get("conditions"), "Ready") or {}
    since = times.seconds(ready.get("lastTransitionTime"))
    return min_ready_seconds - (clock.elapsed(since) if now is None else now - since)


def owner_reference(owner: Object) -> Object:
    """Return the reference by which `owner` controls what it makes."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def from_template(owner: Object, template: Object) -> Object:
    """Return the pod that `owner` wants by its template; its name is still to be given."""
    metadata = template.get("metadata") or {}
    made = {
        "namespace": namespace_of(owner),
        "labels": dict(metadata.get("labels") or {}),
        "annotations": dict(metadata.get("annotations") or {}),
        "ownerReferences": [owner_reference(owner)],
    }
    if metadata.get("finalizers"):
        made["finalizers"] = list(metadata["finalizers"])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": made, "spec": template["spec"]}


def create(context: Context, owner: Object, pod: Object, *, component: str) -> Object:
    """Create a pod for `owner`; a refusal becomes an Event before it is raised."""
    try:
        return context.api.create("pods", pod)
    except ApiStatusError as error:
        text = f"Error creating: {error}"
        context.events.record(owner, "FailedCreate", text, component=component, warning=True)
        raise


def delete(context: Context, pod: Object) -> None:
    """Delete a pod gracefully; one that is gone already is as well."""
    try:
        context.api.delete("pods", name_of(pod), namespace_of(pod), uid=uid_of(pod))
    except ApiStatusError as error:
        if error.code not in (404, 409):
            raise
