"""New pods before the final verdict: new addresses, and the labels that the set-up gives them.

An answer that fits only the addresses of the pods that a learner saw, or that leans on a pod
relabelled by hand, no longer holds then. Replaced are the pods of the set-up and of its
workloads; those that the exercise releases, and those that the learner made, are left alone.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from k8slab.errors import ClusterNotReadyError
from k8slab.grading.collateral import owner_of
from k8slab.grading.interrupted import owed
from k8slab.grading.lookalikes import added
from k8slab.grading.starting import is_ready
from k8slab.grading.watched import pattern_of, released
from k8slab.objects import meta
from k8slab.probes.targets import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from k8slab.grading.context import Context
    from k8slab.grading.lookalikes import Made
    from k8slab.objects.meta import Object

FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.2
SECONDS = 60.0
"""How long new pods may take."""


@contextmanager
def new_pods(
    context: Context, may_change: Sequence[str], made: Made, *, replace: bool
) -> Iterator[Snapshot]:
    """Replace the set-up's pods (or leave them) and add lookalikes, for the length of a block.

    What the cluster then has is given to the block, one of `Context.read`. Lookalikes come when
    the others have their nodes: a pod that must stand beside `web` finds the one it means.
    Each that kept some of the old pods must have as many new ones; others may lose theirs.
    Only workloads whose pods are replaced have to end a roll-out, and only one that this began:
    another may be paused, or wait for a pod that is never ready. Raises `ClusterNotReadyError`
    when not all are ready after a minute.
    """
    before, now = context.read(), partial(Snapshot, context.cluster)
    old = _replaceable(context, may_change, before) if replace else []
    gone = frozenset(map(meta.uid_of, old))
    own = {meta.key_of(obj) for obj in made.objects}
    wanted = Counter(owner_of(before, pod) for pod in old)
    keepers = {keeper for keeper in wanted if not context.under_way(before, keeper)}
    bare = _bare(context, old)

    def back(there: Snapshot, holds: Callable[[Object], bool]) -> bool:
        """Say whether there is a new pod, of which something holds, for each old one."""
        pods = (pod for pod in context.listed(there, "pods") if meta.uid_of(pod) not in gone)
        new = (pod for pod in pods if meta.key_of(pod) not in own and holds(pod))
        return wanted <= Counter(owner_of(there, pod) for pod in new)

    with owed(context, bare):
        _replace(context, old, bare)
        _until(now, lambda there: back(there, _has_node), "on a node")
        with added(context, made):
            yield _until(
                context.read,
                lambda there: (
                    not any(context.under_way(there, keeper) for keeper in keepers)
                    and back(there, is_ready)
                    and _running(made, there)
                ),
                "ready",
            )


def _replace(context: Context, old: Sequence[Object], bare: Sequence[Object]) -> None:
    """Delete pods, wait until they are gone, and make anew those that no controller makes."""
    for pod in old:
        context.cluster.delete("pods", meta.name_of(pod), meta.namespace_of(pod), grace=0)
    gone = set(map(meta.uid_of, old))
    _until(
        partial(Snapshot, context.cluster),
        lambda there: gone.isdisjoint(map(meta.uid_of, context.listed(there, "pods"))),
        "gone",
    )
    context.cluster.apply(bare)


def _bare(context: Context, pods: Sequence[Object]) -> list[Object]:
    """Return the manifests of those pods that no controller makes again."""
    names = {meta.key_of(pod) for pod in pods}
    return [obj for obj in context.setup if obj["kind"] == "Pod" and meta.key_of(obj) in names]


def _replaceable(context: Context, may_change: Sequence[str], there: Snapshot) -> list[Object]:
    kept = {
        (meta.namespace_of(obj), obj["kind"].lower(), meta.name_of(obj))
        for obj in context.setup
        if not released(pattern_of(obj), may_change)
    }
    found = []
    for pod in context.listed(there, "pods"):
        owner = owner_of(there, pod)
        free = released(f"pods/{meta.name_of(pod)}", may_change)
        if (owner.namespace, owner.kind, owner.name) in kept and is_ready(pod) and not free:
            found.append(pod)
    return found


def _running(made: Made, there: Snapshot) -> bool:
    """Say whether all lookalikes are ready."""
    found = (
        there.objects("pods", meta.namespace_of(obj)).get(meta.name_of(obj))
        for obj in made.objects
        if obj["kind"] == "Pod"
    )
    return all(pod is not None and is_ready(pod) for pod in found)


def _has_node(pod: Object) -> bool:
    return bool(pod["spec"].get("nodeName")) and not meta.is_deleting(pod)


def _until(read: Callable[[], Snapshot], holds: Callable[[Snapshot], bool], what: str) -> Snapshot:
    """Wait until something holds, and return the snapshot of which it does."""
    ends, pause = time.monotonic() + SECONDS, FIRST_PAUSE
    while not holds(there := read()):
        if time.monotonic() >= ends:
            raise ClusterNotReadyError(
                f"the pods that the grader replaces are not {what} after {SECONDS:g} s",
                hint="look at them with kubectl get pods, then check again",
            )
        threading.Event().wait(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return there
