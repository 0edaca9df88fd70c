"""New pods before the final verdict: new addresses, and the labels that the set-up gives them.

An answer that fits only the addresses of the pods that a learner saw, or that leans on a pod
relabelled by hand, no longer holds then. Replaced are the pods of the set-up and of its
workloads; those that the exercise releases, and those that the learner made, are left alone.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from k8slab.errors import ClusterNotReadyError
from k8slab.grading.collateral import owner_of
from k8slab.grading.unchanged import pattern_of, released
from k8slab.objects import meta
from k8slab.probes.targets import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from k8slab.grading.context import Context
    from k8slab.objects.meta import Object

FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.2


def replace_pods(context: Context, may_change: Sequence[str]) -> int:
    """Delete the set-up's pods and wait until there are new ones, ready; return how many.

    Raises `ClusterNotReadyError` when they are not there again after a minute.
    """
    old = _replaceable(context, may_change)
    wanted = sum(_is_ready(pod) for pod in _pods(context))
    for pod in old:
        context.cluster.delete("pods", meta.name_of(pod), meta.namespace_of(pod), grace=0)
    gone = {meta.uid_of(pod) for pod in old}
    _until(lambda: not gone & {meta.uid_of(p) for p in _pods(context)}, "gone")
    names = {(meta.namespace_of(pod), meta.name_of(pod)) for pod in old}
    bare = [
        obj
        for obj in context.setup
        if obj["kind"] == "Pod" and (meta.namespace_of(obj), meta.name_of(obj)) in names
    ]
    context.cluster.apply(bare)
    _until(lambda: _complete(context, wanted, gone), "ready")
    return len(old)


def wait_running(context: Context, objects: Sequence[Object]) -> None:
    """Wait until pods that were added are ready; raises `ClusterNotReadyError`."""
    for obj in objects:
        if obj["kind"] == "Pod":
            context.cluster.wait("pods", meta.name_of(obj), meta.namespace_of(obj), until="ready")


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
        if (owner.namespace, owner.kind, owner.name) in kept and _is_ready(pod) and not free:
            found.append(pod)
    return found


def _pods(context: Context) -> list[Object]:
    return [pod for space in context.namespaces for pod in context.cluster.list("pods", space)]


def _complete(context: Context, number: int, gone: set[str]) -> bool:
    ready = [p for p in _pods(context) if meta.uid_of(p) not in gone and _is_ready(p)]
    return len(ready) >= number and context.rolled_out()


def _is_ready(pod: Object) -> bool:
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
