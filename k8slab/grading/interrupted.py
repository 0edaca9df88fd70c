"""What a check owes the set-up while it is under way, and who pays when it never ended.

The second look deletes pods of the set-up and adds pods of its own (`fresh`, `lookalikes`).
Ctrl-C, a time-out or a killed kernel may end it in between, and then the set-up lacks pods that
nobody of the learner's deleted. So before the first pod goes, an annotation of the exercise's
namespace says which are to come back, and it goes when the check is over. Whoever looks at the
exercise next asks `mend` first: what the note names and is gone is made anew from the set-up's
manifests, and what the check had added is taken away.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from k8slab.clusters.media import MERGE
from k8slab.errors import K8slabError
from k8slab.grading import lookalikes
from k8slab.objects import meta
from k8slab.probes.targets import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from k8slab.grading.context import Context
    from k8slab.objects.meta import Object

NOTE = "k8slab.dev/check-under-way"
"""The annotation; its value is the pods to come back, as NAMESPACE/NAME with commas."""

GONE_SECONDS = 60.0


@contextmanager
def owed(context: Context, pods: Sequence[Object]) -> Iterator[None]:
    """Note what a check takes from the set-up, for the length of the block that takes it.

    `pods` are those that no controller makes again. A block that is left by an exception is
    mended at once as far as it can be; the note stays until nothing is missing any more.
    """
    note = ",".join(map(meta.key_of, pods))
    _write(context, note)
    try:
        yield
    except BaseException:
        # What ended the check is what is to be told; what stays undone here, the note keeps.
        with suppress(K8slabError):
            _pay(context, note)
        raise
    _write(context, None)


def mend(context: Context, space: Object | None = None) -> None:
    """Undo what a check left that was interrupted; without one do nothing.

    `space` is the exercise's namespace if it was just read. Raises `ClusterNotReadyError` when
    a pod that the check deleted does not go within a minute.
    """
    space = space or context.cluster.get("namespaces", context.namespace)
    note = meta.annotations_of(space).get(NOTE) if space else None
    if note is None:
        return
    for pod in _named(context, note):
        if meta.is_deleting(pod):
            name, where = meta.name_of(pod), meta.namespace_of(pod)
            context.cluster.wait("pods", name, where, until="delete", deadline=GONE_SECONDS)
    _pay(context, note)


def _pay(context: Context, note: str) -> None:
    """Make what a note names and is gone; take the note away unless one is still going."""
    there = _named(context, note)
    missing = set(note.split(",")) - set(map(meta.key_of, there))
    context.cluster.apply([obj for obj in context.setup if _is_one_of(obj, missing)])
    left = lookalikes.leftovers(context, Snapshot(context.cluster))
    lookalikes.remove(context.cluster, left)
    if not any(map(meta.is_deleting, there)):
        _write(context, None)


def _named(context: Context, note: str) -> list[Object]:
    """Return those pods of a note that the cluster has."""
    pods = context.listed(Snapshot(context.cluster), "pods")
    return [pod for pod in pods if meta.key_of(pod) in note.split(",")]


def _is_one_of(obj: Object, names: set[str]) -> bool:
    return obj["kind"] == "Pod" and meta.key_of(obj) in names


def _write(context: Context, note: str | None) -> None:
    """Write the annotation, or take it away: a merge patch leaves all else as it is."""
    patch = {"metadata": {"annotations": {NOTE: note}}}
    path = f"/api/v1/namespaces/{context.namespace}"
    context.cluster.request("PATCH", path, patch, content_type=MERGE)
