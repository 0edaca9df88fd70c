"""Which pods go first where there are too many; pure.

Jobs and ReplicaSets ask alike (pods without a node first, then those that are pending, not ready,
ready for the shortest time, restarted most, youngest), but for three rules that only ReplicaSets
have: a deletion cost, pods that share a node with others of their Deployment, and times that are
compared by their order of magnitude, so that among pods of about the same age chance (their UID)
decides, and not always the newest node loses its pod.
Source: ``pkg/controller`` (ActivePods, ActivePodsWithRanks).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cmp_to_key
from typing import TYPE_CHECKING

from k8slab.embedded import clock
from k8slab.embedded.controllers import conditions, pods, times
from k8slab.objects.meta import Object, annotations_of, uid_of

if TYPE_CHECKING:
    from collections.abc import Iterable

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


@dataclass(frozen=True, slots=True)
class _Pod:
    """What is compared of a pod."""

    first: tuple[int, ...]
    """Node, phase, readiness, cost and crowd: the smaller goes first."""
    ready_since: float
    restarts: tuple[int, int]
    created: float
    uid: str
    pod: Object


def first_to_go(found: Iterable[Object]) -> list[Object]:
    """Sort the active pods of a Job by who is deleted first."""
    return _sorted([_judged(pod) for pod in found], None)


def first_of_set(
    found: Iterable[Object], related: Iterable[Object], now: float | None = None
) -> list[Object]:
    """Sort the active pods of a ReplicaSet by who is deleted first.

    `related` are the pods of all ReplicaSets of the same Deployment; a ReplicaSet without one has
    none.
    """
    crowds = Counter(p["spec"].get("nodeName", "") for p in related if pods.is_active(p))
    moment = clock.now() if now is None else now
    return _sorted(
        [_judged(p, _cost(p), -crowds[p["spec"].get("nodeName", "")]) for p in found], moment
    )


def _sorted(judged: Iterable[_Pod], now: float | None) -> list[Object]:
    def order(one: _Pod, other: _Pod) -> int:
        return _compare(one, other, now)

    return [one.pod for one in sorted(judged, key=cmp_to_key(order))]


def _judged(pod: Object, *more: int) -> _Pod:
    status, metadata = pod.get("status") or {}, pod["metadata"]
    ready = conditions.find(status.get("conditions"), "Ready") or {}
    is_ready = pods.is_ready(pod)
    phase = PHASES.get(status.get("phase", "Pending"), 2)
    return _Pod(
        (bool(pod["spec"].get("nodeName")), phase, is_ready, *more),
        times.seconds(ready.get("lastTransitionTime")) if is_ready else 0.0,
        _restarts(pod),
        times.seconds(metadata.get("creationTimestamp")),
        uid_of(pod),
        pod,
    )


def _compare(one: _Pod, other: _Pod, now: float | None) -> int:
    """Return a negative number where `one` goes before `other`."""
    if one.first != other.first:
        return -1 if one.first < other.first else 1
    if one.ready_since != other.ready_since:
        return _younger(one, one.ready_since, other, other.ready_since, now)
    if one.restarts != other.restarts:
        return -1 if one.restarts > other.restarts else 1
    if one.created != other.created:
        return _younger(one, one.created, other, other.created, now)
    return 0


def _younger(one: _Pod, begun: float, other: _Pod, since: float, now: float | None) -> int:
    if now is not None and begun and since:
        difference = _magnitude(now - begun) - _magnitude(now - since)
        if difference == 0:
            return -1 if one.uid < other.uid else 1
        return difference
    # A time that nobody has noted is the youngest.
    return -1 if not begun or (since and begun > since) else 1


def _magnitude(seconds: float) -> int:
    """Return the binary order of magnitude of a time in nanoseconds; -1 for none."""
    return int(math.log2(seconds * 1e9)) if seconds > 0 else -1


def _restarts(pod: Object) -> tuple[int, int]:
    """Return the most restarts of a container, and of a sidecar."""
    status = pod.get("status") or {}
    sidecars = {
        c["name"]
        for c in pod["spec"].get("initContainers") or ()
        if c.get("restartPolicy") == "Always"
    }
    inits = status.get("initContainerStatuses") or ()
    return (
        max((c["restartCount"] for c in status.get("containerStatuses") or ()), default=0),
        max((c["restartCount"] for c in inits if c["name"] in sidecars), default=0),
    )


def _cost(pod: Object) -> int:
    """Return the cost of deleting a pod; 0 for what is no number, as upstream's controllers do."""
    try:
        return int(annotations_of(pod).get(DELETION_COST, "0"))
    except ValueError:
        return 0
