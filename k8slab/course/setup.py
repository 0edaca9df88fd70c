"""Bring an exercise to its start: its own namespace, its manifests, everything ready.

It is safe to repeat: a namespace that carries the mark of this very set-up is left as it is,
with all that the learner did in it. The mark is written last, so a set-up that was
interrupted is done again.
"""

from __future__ import annotations

import hashlib
import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from k8slab.errors import ClusterNotReadyError
from k8slab.objects import meta

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from k8slab.course.lab import Exercise
    from k8slab.objects.meta import Object

MARK = "k8slab.dev/setup"
SEED = "k8slab.dev/seed"
"""Whose names a set-up has: what tells another learner's from one of another course."""

LABELS = {"app.kubernetes.io/managed-by": "k8slab"}
NO_WAIT = "k8slab.dev/wait"
"""An annotation with the value ``"no"`` on what is meant not to become ready."""

CLUSTER_WIDE = frozenset({"clusternetworkpolicies.policy.networking.k8s.io"})
"""Resources without a namespace that an answer may make; `may_change` names which objects."""

READY_KINDS = {
    "Pod": "pods",
    "Deployment": "deployments.apps",
    "StatefulSet": "statefulsets.apps",
    "DaemonSet": "daemonsets.apps",
}


def is_set_up(cluster: Any, exercise: Exercise) -> bool:
    """Say whether the exercise's namespace carries the mark of this set-up."""
    space = cluster.get("namespaces", exercise.namespace)
    return space is not None and meta.annotations_of(space).get(MARK) == wanted_mark(exercise)


def is_marked(cluster: Any, exercise: Exercise) -> bool:
    """Say whether some set-up of the exercise was completed, perhaps an older course's."""
    return bool(mark_of(cluster, exercise))


def mark_of(cluster: Any, exercise: Exercise) -> str:
    """Return the mark of the set-up that stands in the cluster; empty where none does."""
    return _annotation(cluster, exercise, MARK)


def seed_of(cluster: Any, exercise: Exercise) -> str:
    """Return the seed that picked the names of the set-up that stands; empty without one."""
    return _annotation(cluster, exercise, SEED)


def _annotation(cluster: Any, exercise: Exercise, key: str) -> str:
    space = cluster.get("namespaces", exercise.namespace)
    return meta.annotations_of(space).get(key, "") if space is not None else ""


def set_up(
    cluster: Any,
    exercise: Exercise,
    *,
    ready: Callable[[], None] = lambda: None,
    deadline: float = 60.0,
) -> bool:
    """Make the start state, wait until it is ready; return false when it was there already.

    `ready` is called when all is there and the mark is not: what it notes belongs to this set-up
    alone. Raises `ClusterNotReadyError` with what was still missing after `deadline` seconds.
    """
    if is_set_up(cluster, exercise):
        return False
    _refuse_leaving(cluster, exercise)
    _remove_cluster_wide(cluster, exercise)
    own = [_namespace(name) for name in exercise.namespaces]
    given = {meta.name_of(obj): obj for obj in exercise.setup if obj["kind"] == "Namespace"}
    cluster.apply([_merged(obj, given.get(meta.name_of(obj))) for obj in own])
    rest = [obj for obj in exercise.setup if obj["kind"] != "Namespace"]
    cluster.apply(rest, namespace=exercise.namespace)
    wait_ready(cluster, rest, deadline)
    ready()
    seed = {} if exercise.seed is None else {SEED: str(exercise.seed)}
    marked = _namespace(exercise.namespace, {MARK: wanted_mark(exercise), **seed})
    cluster.apply([_merged(marked, given.get(exercise.namespace))])
    return True


def wait_ready(cluster: Any, objects: list[Object], deadline: float) -> None:
    """Wait until the pods and workloads among the objects are ready."""
    for obj in objects:
        resource = READY_KINDS.get(obj["kind"])
        if resource and meta.annotations_of(obj).get(NO_WAIT) != "no":
            cluster.wait(
                resource,
                meta.name_of(obj),
                meta.namespace_of(obj),
                until="ready",
                deadline=deadline,
            )


def tear_down(
    cluster: Any,
    exercise: Exercise,
    *,
    also: Sequence[str] = (),
    deadline: float = 60.0,
    told: Callable[[str], None],
) -> None:
    """Delete the exercise's namespaces, and others of its set-ups, and wait until they are gone."""
    _remove_cluster_wide(cluster, exercise)
    names = [*exercise.namespaces, *also]
    for name in names:
        cluster.delete("namespaces", name)
    for name in names:
        told(f"waiting until the namespace {name} is gone")
        cluster.wait("namespaces", name, until="delete", deadline=deadline)


def _remove_cluster_wide(cluster: Any, exercise: Exercise) -> None:
    """Delete what an answer may have made outside of namespaces: it does not go with them."""
    for pattern in exercise.wishes.may_change or ():
        resource, _, wanted = pattern.partition("/")
        if resource in CLUSTER_WIDE:
            for name in map(meta.name_of, cluster.list(resource)):
                if fnmatchcase(name, wanted):
                    cluster.delete(resource, name)


def _refuse_leaving(cluster: Any, exercise: Exercise) -> None:
    space = cluster.get("namespaces", exercise.namespace)
    if space is not None and meta.is_deleting(space):
        raise ClusterNotReadyError(
            f"the namespace {exercise.namespace} is still being deleted",
            hint="begin again in a moment",
        )


def _namespace(name: str, annotations: dict[str, str] | None = None) -> Object:
    metadata: Object = {"name": name, "labels": dict(LABELS)}
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _merged(own: Object, given: Object | None) -> Object:
    if given is None:
        return own
    metadata = {
        **own["metadata"],
        "labels": {**meta.labels_of(given), **meta.labels_of(own)},
        "annotations": {**meta.annotations_of(given), **meta.annotations_of(own)},
    }
    return {**own, "metadata": metadata}


def wanted_mark(exercise: Exercise) -> str:
    """Return the mark of the set-up that this course describes: a hash of its manifests."""
    plain = json.dumps([exercise.namespace, exercise.setup], sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()[:16]
