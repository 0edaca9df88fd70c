"""What a delete request does to an object: nothing yet, a mark, or the end.

Source: apiserver ``registry/generic/registry/store.go`` (Delete), the pod strategy's
CheckGracefulDelete, and the garbage collector's finalizers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded import clock
from k8slab.embedded.apiserver import objectmeta
from k8slab.embedded.apiserver.custom.definitions import CLEANUP, RESOURCE
from k8slab.objects.meta import is_deleting

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.objects.meta import Object

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
DEFAULT_GRACE = 30
LONGEST_GRACE = 10**9
"""Seconds, some thirty years: dates end in the year 9999."""


def mark(kind: Kind, old: Object, *, grace: int | None, propagation: str) -> Object:
    """Return the object as marked for deletion; `old` itself when nothing changes."""
    finalizers = _finalizers(old, propagation)
    if kind.resource == RESOURCE and not is_deleting(old) and CLEANUP not in finalizers:
        finalizers.append(CLEANUP)
    seconds = _grace(old, grace) if kind.resource == "pods" else 0
    metadata = dict(old["metadata"])
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
    if is_deleting(old):
        left = metadata.get("deletionGracePeriodSeconds", 0)
        if seconds >= left and metadata == old["metadata"]:
            return old
        seconds = min(seconds, left)
    marked = {**old, "metadata": metadata}
    metadata["deletionTimestamp"] = objectmeta.time_text(clock.now() + min(seconds, LONGEST_GRACE))
    metadata["deletionGracePeriodSeconds"] = seconds
    if "generation" in metadata and not is_deleting(old):
        metadata["generation"] += 1
    if kind.resource == "namespaces":
        metadata.pop("deletionGracePeriodSeconds")
        marked["status"] = {**old.get("status", {}), "phase": "Terminating"}
    return marked


def is_finished(kind: Kind, marked: Object) -> bool:
    """Say whether nothing holds a marked object any more."""
    metadata = marked["metadata"]
    if metadata.get("finalizers"):
        return False
    if kind.resource == "namespaces":
        return not (marked.get("spec") or {}).get("finalizers")
    return not metadata.get("deletionGracePeriodSeconds", 0)


def _finalizers(obj: Object, propagation: str) -> list[str]:
    finalizers = list(obj["metadata"].get("finalizers") or [])
    wanted = {"Orphan": ORPHAN, "Foreground": FOREGROUND}.get(propagation)
    if wanted and wanted not in finalizers:
        finalizers.append(wanted)
    return finalizers


def _grace(pod: Object, asked: int | None) -> int:
    spec = pod.get("spec", {})
    if not spec.get("nodeName") or pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    if asked is None:
        asked = spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE)
    # A negative period in the pod means the shortest that is still graceful.
    return int(asked) if asked >= 0 else 1
