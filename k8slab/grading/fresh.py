"""New pods before the final verdict: new addresses, and the labels that the set-up gives them.

An answer that fits only the addresses of the pods that a learner saw, or that leans on a pod
relabelled by hand, no longer holds then. Replaced are the pods of the set-up and of its
workloads; those that the exercise releases, and those that the learner made, are left alone.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from k8slab.errors import ClusterNotReadyError
from k8slab.grading.collateral import owner_of
from k8slab.grading.lookalikes import MARK, added
from k8slab.grading.unchanged import pattern_of, released
from k8slab.objects import meta
from k8slab.probes.targets import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from k8slab.grading.context import Context
    from k8slab.grading.lookalikes import Made
    from k8slab.objects.meta import Object

FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.2


@contextmanager
def new_pods(
    context: Context, may_change: Sequence[str], made: Made, *, replace: bool
) -> Iterator[None]:
    """Replace the set-up's pods (or leave them) and add lookalikes, for the length of a block.

    Lookalikes come when the others have their nodes: a pod that must stand beside `web` finds
    the one it means. Raises `ClusterNotReadyError` when not all are ready after a minute.
    """
    number = sum(is_ready(pod) for pod in _pods(context))
    gone = _replace(context, may_change) if replace else frozenset()

    def there() -> list[Object]:
        return [pod for pod in _pods(context) if meta.uid_of(pod) not in gone]

    _until(lambda: sum(_has_node(pod) for pod in there()) >= number, "on a node")
    with added(context, made):
        _until(lambda: _ready(context, there(), number) and _running(context, made), "ready")
        yield


def _replace(context: Context, may_change: Sequence[str]) -> frozenset[str]:
    """Delete pods, wait until they are gone, make the bare ones anew; return the UIDs."""
    old = _replaceable(context, may_change)
    for pod in old:
        context.cluster.delete("pods", meta.name_of(pod), meta.namespace_of(pod), grace=0)
    gone = frozenset(meta.uid_of(pod) for pod in old)
    _until(lambda: not gone & {meta.uid_of(pod) for pod in _pods(context)}, "gone")
    names = {(meta.namespace_of(pod), meta.name_of(pod)) for pod in old}
    bare = [
        obj
        for obj in context.setup
        if obj["kind"] == "Pod" and (meta.namespace_of(obj), meta.name_of(obj)) in names
    ]
    context.cluster.apply(bare)
    return gone


def _replaceable(context: Context, may_change: Sequence[str]) -> list[Object]:
    kept = {
        (meta.namespace_of(obj), obj["kind"].lower(), meta.name_of(obj))
        for obj in context.setup
        if not released(pattern_of(obj), may_change)
    }
    snapshot = Snapshot(context.cluster)
    found = []
    for pod in _pods(context):
        owner = owner_of(snapshot, pod)
        free = released(f"pods/{meta.name_of(pod)}", may_change)
        if (owner.namespace, owner.kind, owner.name) in kept and is_ready(pod) and not free:
            found.append(pod)
    return found


def _pods(context: Context) -> list[Object]:
    """Return the exercise's pods, without the grader's own."""
    return [
        pod
        for space in context.namespaces
        for pod in context.cluster.list("pods", space)
        if MARK not in meta.annotations_of(pod)
    ]


def _ready(context: Context, pods: Sequence[Object], number: int) -> bool:
    return sum(map(is_ready, pods)) >= number and context.rolled_out()


def _running(context: Context, made: Made) -> bool:
    """Say whether all lookalikes are ready."""
    wanted = {(meta.namespace_of(p), meta.name_of(p)) for p in made.objects if p["kind"] == "Pod"}
    found = [pod for space in {s for s, _ in wanted} for pod in context.cluster.list("pods", space)]
    ready = {(meta.namespace_of(pod), meta.name_of(pod)) for pod in found if is_ready(pod)}
    return wanted <= ready


def _has_node(pod: Object) -> bool:
    return bool(pod["spec"].get("nodeName")) and not meta.is_deleting(pod)


def is_ready(pod: Object) -> bool:
    """Say whether a pod is Ready and not on its way out."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return not meta.is_deleting(pod) and any(
        one.get("type") == "Ready" and one.get("status") == "True" for one in conditions
    )


def _until(holds: Callable[[], bool], what: str, deadline: float = 60.0) -> None:
    ends, pause = time.monotonic() + deadline, FIRST_PAUSE
    while not holds():
        if time.monotonic() >= ends:
            raise ClusterNotReadyError(
                f"the pods that the grader replaces are not {what} after {deadline:g} s",
                hint="look at them with kubectl get pods, then check again",
            )
        threading.Event().wait(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
