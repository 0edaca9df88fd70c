"""Which pods of a StatefulSet come and go next; pure.

``OrderedReady`` makes pod N+1 when all before it are available, removes from the end, and takes
one step at a time; ``Parallel`` waits for nothing. When the right pods are there, an update
replaces them from the last down to ``partition``, with ``maxUnavailable`` away at a time.
Source: ``pkg/controller/statefulset`` (updateStatefulSet, processReplica, processCondemned,
updateStatefulSetAfterInvariantEstablished).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.embedded.controllers import pods
from k8slab.embedded.controllers.revisions import HASH_LABEL
from k8slab.embedded.controllers.rollout import amount
from k8slab.objects.meta import Object, is_deleting, labels_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST = 500
"""Pods made, and pods deleted, at one look (upstream's ``MaxBatchSize``)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps that are next."""

    creations: Sequence[int] = ()
    """Ordinals."""
    deletions: Sequence[Object] = ()


def plan(owner: Object, present: Mapping[int, Object], update: str) -> Plan:
    """Return what is to be done where the pods `present` are; `update` is the present revision."""
    spec = owner["spec"]
    wanted = ordinals(owner)
    if spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady":
        step = _ordered(owner, present, wanted)
        if step is not None:
            return step
        return Plan((), _outdated(owner, present, update))
    creations: list[int] = []
    for ordinal in wanted:
        if len(creations) == MOST:
            break
        if ordinal not in present:
            creations.append(ordinal)
    finished = [p for n, p in sorted(present.items()) if n in wanted and pods.is_finished(p)]
    spare = [p for n, p in sorted(present.items(), reverse=True) if n not in wanted]
    going = [pod for pod in (*finished, *spare) if not is_deleting(pod)]
    outdated = [pod for pod in _outdated(owner, present, update) if not pods.is_finished(pod)]
    return Plan(creations, [*going, *outdated][:MOST])


def ordinals(owner: Object) -> range:
    """Return the numbers of the pods that a StatefulSet wants."""
    spec = owner["spec"]
    first = (spec.get("ordinals") or {}).get("start") or 0
    return range(first, first + spec.get("replicas", 1))


def rolling(owner: Object) -> Object | None:
    """Return the parameters of a rolling update; ``None`` for another strategy or none given."""
    strategy = owner["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return None
    found: Object | None = strategy.get("rollingUpdate")
    return found


def is_up(owner: Object, pod: Object) -> bool:
    """Say whether a pod stays and has been ready for ``minReadySeconds``."""
    minimum = owner["spec"].get("minReadySeconds") or 0
    return not is_deleting(pod) and pods.is_available(pod, minimum)


def _ordered(owner: Object, present: Mapping[int, Object], wanted: range) -> Plan | None:
    """Return the one step that makes the right pods be there; ``None`` when they are."""
    for ordinal in wanted:
        pod = present.get(ordinal)
        if pod is None:
            return Plan([ordinal])
        if pods.is_finished(pod):
            return Plan((), [] if is_deleting(pod) else [pod])
        if not is_up(owner, pod):
            return Plan()
    spare = sorted((n for n in present if n not in wanted), reverse=True)
    if not spare:
        return None
    last = present[spare[0]]
    # Of those that are too many, one that is not up waits for another that is not, below it.
    blocked = not is_up(owner, last) and any(not is_up(owner, present[n]) for n in spare[1:])
    return Plan((), [] if is_deleting(last) or blocked else [last])


def _outdated(owner: Object, present: Mapping[int, Object], update: str) -> list[Object]:
    """Return the pods with an old template that are replaced now."""
    strategy = owner["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return []
    parameters = rolling(owner) or {}
    wanted = ordinals(owner)
    there = {n: present[n] for n in sorted(present, reverse=True) if n in wanted}
    away = len(wanted) - sum(1 for pod in there.values() if is_up(owner, pod))
    allowed = parameters.get("maxUnavailable")
    budget = max(1, amount(1 if allowed is None else allowed, len(wanted), up=False)) - away
    partition = wanted.start + (parameters.get("partition") or 0)
    old = [
        pod
        for ordinal, pod in there.items()
        if ordinal >= partition
        and not is_deleting(pod)
        and labels_of(pod).get(HASH_LABEL) != update
    ]
    if owner["spec"].get("podManagementPolicy") != "Parallel":
        return old[: max(0, budget)]
    # Those that serve nobody go in any case, so that a broken update can be mended.
    up = [pod for pod in old if is_up(owner, pod)]
    return [*(pod for pod in old if not is_up(owner, pod)), *up[: max(0, budget)]]
