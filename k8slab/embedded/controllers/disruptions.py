"""PodDisruptionBudgets: how many of their pods may be evicted now.

The eviction subresource reads ``status.disruptionsAllowed`` and takes one off; this loop counts
anew whenever a pod or a workload changes. Source: ``pkg/controller/disruption``; policy/v1
``PodDisruptionBudgetSpec``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded import clock
from k8slab.embedded.controllers import conditions, pods, times
from k8slab.embedded.controllers.controller import Controller
from k8slab.embedded.controllers.rollout import amount
from k8slab.objects import selectors
from k8slab.objects.meta import (
    Object,
    controller_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.controllers.context import Context

RESOURCE = "poddisruptionbudgets.policy"
COMPONENT = "controllermanager"
FORGOTTEN_SECONDS = 120.0
"""How long an evicted pod that is still there counts as gone (``DeletionTimeout``)."""

_SCALED = {
    "ReplicaSet": "replicasets.apps",
    "Deployment": "deployments.apps",
    "StatefulSet": "statefulsets.apps",
    "ReplicationController": "replicationcontrollers",
}


class Disruptions(Controller):
    """The loop over PodDisruptionBudgets."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, "disruptions")
        self._look_at(RESOURCE)
        self._follow("pods", self._pod_event)
        for resource in _SCALED.values():
            self._follow(resource, self._owner_event)

    def _pod_event(self, event: Event) -> None:
        for budget in self._api.list(RESOURCE, namespace_of(event.object)):
            selector = selectors.from_object(budget["spec"].get("selector"))
            if selector and selector.matches(labels_of(event.object)):
                self.loop.add(key_of(budget))

    def _owner_event(self, event: Event) -> None:
        if event.old is None or event.old["spec"] != event.object["spec"]:
            for budget in self._api.list(RESOURCE, namespace_of(event.object)):
                self.loop.add(key_of(budget))

    def _reconcile(self, key: str) -> float | None:
        namespace, name = key.split("/", 1)
        budget = self._api.get(RESOURCE, name, namespace)
        if budget is None or is_deleting(budget):
            return None
        selector = selectors.from_object(budget["spec"].get("selector"))
        found = self._api.list("pods", namespace)
        chosen = [p for p in found if selector and selector.matches(labels_of(p))]
        chosen = [p for p in chosen if not pods.is_finished(p)]
        evicted, wait = _evicted(budget, chosen)
        healthy = sum(
            1
            for pod in chosen
            if pods.is_ready(pod) and not is_deleting(pod) and name_of(pod) not in evicted
        )
        expected, desired = self._wanted(budget, chosen)
        allowed = max(0, healthy - desired) if expected else 0
        status = {
            "observedGeneration": budget["metadata"].get("generation", 1),
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            **({"disruptedPods": evicted} if evicted else {}),
        }
        self._write_status(budget, status)
        return wait

    def _wanted(self, budget: Object, chosen: Sequence[Object]) -> tuple[int, int]:
        """Return how many pods there should be, and how many have to stay healthy."""
        spec = budget["spec"]
        least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
        if isinstance(least, int):
            return len(chosen), least
        expected = self._scale_of_all(budget, chosen)
        if most is not None:
            return expected, max(0, expected - amount(most, expected, up=True))
        return expected, amount(least, expected, up=True) if least is not None else 0

    def _scale_of_all(self, budget: Object, chosen: Sequence[Object]) -> int:
        """Sum up the replicas of the workloads whose pods these are."""
        owners = {}
        for pod in chosen:
            owner = self._workload(pod)
            if owner is None:
                text = f'found no controllers for pod "{name_of(pod)}"'
                self._context.events.record(
                    budget, "NoControllers", text, component=COMPONENT, warning=True
                )
            else:
                owners[uid_of(owner)] = owner["spec"].get("replicas", 1)
        return sum(owners.values())

    def _workload(self, pod: Object) -> Object | None:
        """Return what scales a pod: its controller, or the Deployment above that."""
        found, obj = None, pod
        while (reference := controller_of(obj)) and reference["kind"] in _SCALED:
            owner = self._api.get(_SCALED[reference["kind"]], reference["name"], namespace_of(pod))
            if owner is None:
                break
            found = obj = owner
        return found

    def _write_status(self, budget: Object, status: Object) -> None:
        allowed = status["disruptionsAllowed"] > 0
        condition = {
            "type": "DisruptionAllowed",
            "status": conditions.word(allowed),
            "reason": "SufficientPods" if allowed else "InsufficientPods",
            "message": "",
            "observedGeneration": status["observedGeneration"],
        }
        before = budget.get("status") or {}
        status["conditions"] = conditions.put(before.get("conditions"), condition)
        if status != before:
            self._api.update_status(RESOURCE, {**budget, "status": status})


def _evicted(budget: Object, chosen: Sequence[Object]) -> tuple[dict[str, str], float | None]:
    """Return the pods that were evicted and are still there, and when to look again."""
    there = {name_of(pod) for pod in chosen if not is_deleting(pod)}
    kept = {
        name: moment
        for name, moment in ((budget.get("status") or {}).get("disruptedPods") or {}).items()
        if name in there and clock.elapsed(times.seconds(moment)) < FORGOTTEN_SECONDS
    }
    waits = [FORGOTTEN_SECONDS - clock.elapsed(times.seconds(m)) for m in kept.values()]
    return kept, min(waits, default=None)
