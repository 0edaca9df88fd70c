"""ReplicaSets: as many active pods as ``spec.replicas`` says, and what the status counts.

Pods that match the selector but have no controller are adopted; owned pods that stopped
matching are released, so that relabelling a pod takes it out of its ReplicaSet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.controllers import pods
from k8slab.embedded.controllers.children import Children
from k8slab.embedded.controllers.loop import Loop
from k8slab.objects.meta import Object, is_deleting, labels_of, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.embedded.controllers.context import Context

RESOURCE = "replicasets.apps"
COMPONENT = "replicaset-controller"
BURST = 500
"""Pods made or deleted in one go (upstream's ``BurstReplicas``)."""


class ReplicaSets:
    """The loop over ReplicaSets."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.loop = Loop("replicasets", self._reconcile)
        self._pods = Children(context.api, RESOURCE, "pods", self.loop)

    async def close(self) -> None:
        """Stop the loop."""
        self._pods.close()
        await self.loop.close()

    def _reconcile(self, key: str) -> float | None:
        api = self._context.api
        namespace, name = key.split("/", 1)
        owner = api.get(RESOURCE, name, namespace)
        if owner is None:
            return None
        owned = self._pods.claim(owner)
        active = [pod for pod in owned if pods.is_active(pod)]
        if not is_deleting(owner):
            self._scale(owner, active)
        return self._write_status(owner, [p for p in self._pods.of(owner) if pods.is_active(p)])

    def _scale(self, owner: Object, active: Sequence[Object]) -> None:
        missing = owner["spec"].get("replicas", 1) - len(active)
        if missing > 0:
            for _ in range(min(missing, BURST)):
                self._create(owner)
        elif missing < 0:
            for pod in pods.first_to_go(active)[: min(-missing, BURST)]:
                self._delete(owner, pod)

    def _create(self, owner: Object) -> None:
        pod = pods.from_template(owner, owner["spec"]["template"])
        pod["metadata"]["generateName"] = f"{name_of(owner)}-"
        made = pods.create(self._context, owner, pod, component=COMPONENT)
        text = f"Created pod: {name_of(made)}"
        self._context.events.record(owner, "SuccessfulCreate", text, component=COMPONENT)

    def _delete(self, owner: Object, pod: Object) -> None:
        pods.delete(self._context, pod)
        text = f"Deleted pod: {name_of(pod)}"
        self._context.events.record(owner, "SuccessfulDelete", text, component=COMPONENT)

    def _write_status(self, owner: Object, active: Sequence[Object]) -> float | None:
        minimum = owner["spec"].get("minReadySeconds") or 0
        ready = [pod for pod in active if pods.is_ready(pod)]
        waits = [pods.available_in(pod, minimum) for pod in ready]
        wanted = labels_of(owner["spec"]["template"])
        alike = [p for p in active if wanted.items() <= labels_of(p).items()]
        terminating = [p for p in self._pods.of(owner) if is_deleting(p)]
        status = {
            "replicas": len(active),
            "fullyLabeledReplicas": len(alike),
            "readyReplicas": len(ready),
            "availableReplicas": sum(1 for wait in waits if wait <= 0),
            "terminatingReplicas": len(terminating),
            "observedGeneration": owner["metadata"].get("generation", 1),
        }
        status = {key: value for key, value in status.items() if value or key in SHOWN_AT_ZERO}
        if status != owner.get("status"):
            latest = self._context.api.get(RESOURCE, name_of(owner), owner["metadata"]["namespace"])
            if latest is not None:
                self._context.api.update_status(RESOURCE, {**latest, "status": status})
        return min((wait for wait in waits if wait > 0), default=None)


SHOWN_AT_ZERO = ("replicas", "observedGeneration", "terminatingReplicas")
"""Fields of the status that are written even when they are 0."""
