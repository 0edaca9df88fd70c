"""What a delete request does to an object: nothing yet, a mark, or the end.

Source: apiserver ``registry/generic/registry/store.go`` (Delete), ``registry/rest/delete.go``
(BeforeDelete), the pod strategy's CheckGracefulDelete, and the garbage collector's finalizers.
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
DEPENDENTS = (ORPHAN, FOREGROUND)

ORPHANING = frozenset({"jobs.batch", "replicationcontrollers"})
"""Kinds whose dependents stay when a request does not say what is to become of them.

Source: DefaultGarbageCollectionPolicy of their strategies. kubectl always says it.
"""

SHOWN = frozenset(
    {
        "namespaces",
        "persistentvolumeclaims",
        "persistentvolumes",
        "pods",
        "podtemplates",
        "serviceaccounts",
        "services",
        "storageclasses.storage.k8s.io",
    }
)
"""Kinds of which a request that deletes one is answered with its last form, not with a Status.

Source: ReturnDeletedObject of their storages.
"""

DEFAULT_GRACE = 30
LONGEST_GRACE = 10**9
"""Seconds, some thirty years: dates end in the year 9999."""


def mark(kind: Kind, old: Object, *, grace: int | None, propagation: str) -> Object:
    """Return the object as marked for deletion; `old` itself when nothing changes.

    The first request starts the grace period, and a later one can only shorten it: while a period
    runs, one that is as long or not given changes nothing, not even finalizers.
    """
    deleting = is_deleting(old)
    if deleting and kind.resource == "namespaces" and (old.get("spec") or {}).get("finalizers"):
        return old
    left = old["metadata"].get("deletionGracePeriodSeconds", 0) if deleting else 0
    if left and (grace is None or grace >= left):
        return old
    metadata = dict(old["metadata"])
    _set_finalizers(kind, metadata, propagation)
    if left:
        started = objectmeta.moment(metadata["deletionTimestamp"]) - min(left, LONGEST_GRACE)
        metadata |= _deadline(started, grace or 0)
    elif not deleting:
        metadata |= _deadline(clock.now(), _grace(old, grace) if kind.resource == "pods" else 0)
        if "generation" in metadata:
            metadata["generation"] += 1
    if metadata == old["metadata"]:
        return old
    marked = {**old, "metadata": metadata}
    if kind.resource == "namespaces":
        metadata.pop("deletionGracePeriodSeconds", None)
        marked["status"] = {**old.get("status", {}), "phase": "Terminating"}
    return marked


def _deadline(started: float, seconds: int) -> Object:
    ends = objectmeta.time_text(started + min(seconds, LONGEST_GRACE))
    return {"deletionTimestamp": ends, "deletionGracePeriodSeconds": seconds}


def is_finished(kind: Kind, marked: Object) -> bool:
    """Say whether nothing holds a marked object any more."""
    metadata = marked["metadata"]
    if metadata.get("finalizers"):
        return False
    if kind.resource == "namespaces":
        return not (marked.get("spec") or {}).get("finalizers")
    return not metadata.get("deletionGracePeriodSeconds", 0)


def default_propagation(kind: Kind, obj: Object) -> str:
    """Return what a request without a policy means: ``Orphan`` or, mostly, an empty text."""
    said = any(f in DEPENDENTS for f in obj["metadata"].get("finalizers") or ())
    return "Orphan" if kind.storage in ORPHANING and not said else ""


def _set_finalizers(kind: Kind, metadata: Object, propagation: str) -> None:
    """Set in place what is to happen to dependents: the last policy that was given.

    Without a policy, what the finalizers say already stays.
    """
    held = list(metadata.get("finalizers") or ())
    if propagation and kind.storage != "events":  # which the garbage collector does not follow
        held = [finalizer for finalizer in held if finalizer not in DEPENDENTS]
        wanted = {"Orphan": ORPHAN, "Foreground": FOREGROUND}.get(propagation)
        held += [wanted] if wanted else []
    if kind.resource == RESOURCE and "deletionTimestamp" not in metadata and CLEANUP not in held:
        held.append(CLEANUP)
    if held:
        metadata["finalizers"] = held
    else:
        metadata.pop("finalizers", None)


def _grace(pod: Object, asked: int | None) -> int:
    spec = pod.get("spec", {})
    if not spec.get("nodeName") or pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    if asked is None:
        asked = spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE)
    # A negative period in the pod means the shortest that is still graceful.
    return int(asked) if asked >= 0 else 1
