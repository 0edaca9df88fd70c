"""ReplicaSets: as many active pods as ``spec.replicas`` says, and what the status counts.

ReplicationControllers, which were there before them, do the same with a simpler selector.

Pods that match the selector but have no controller are adopted; owned pods that stopped
matching are released, so that relabelling a pod takes it out of its ReplicaSet.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from k8slab.embedded.controllers import deletion_order, index, pods
from k8slab.embedded.controllers.children import Children, while_unchanged
from k8slab.embedded.controllers.controller import Controller
from k8slab.embedded.controllers.index import Index
from k8slab.embedded.controllers.loop import each_in_turn, try_each_in_turn
from k8slab.errors import ApiStatusError
from k8slab.objects.meta import (
    Object,
    controller_of,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from k8slab.embedded.controllers.context import Context

RESOURCE = "replicasets.apps"
BURST = 500
"""Pods made or deleted in one go (upstream's ``BurstReplicas``)."""


class ReplicaSets(Controller):
    """The loop over ReplicaSets."""

    resource = RESOURCE
    component = "replicaset-controller"
    at_zero: tuple[str, ...] = ("replicas", "observedGeneration", "terminatingReplicas")
    """Fields of the status that are written even when they are 0."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, self.resource)
        self._pods = self._own(Children(context.api, self.resource, "pods", self.loop))
        self._siblings = self._own(Index(context.api, self.resource, index.controllers))

    def _reconcile(self, key: str) -> Awaitable[float | None] | float | None:
        api = self._context.api
        namespace, name = key.split("/", 1)
        owner = api.get(self.resource, name, namespace)
        if owner is None:
            return None
        active = [pod for pod in self._pods.claim(owner) if pods.is_active(pod)]
        missing = owner["spec"].get("replicas", 1) - len(active)
        if not missing or is_deleting(owner):
            return self._write_status(owner)
        return self._scale(owner, active, missing)

    async def _scale(self, owner: Object, active: Sequence[Object], missing: int) -> float | None:
        """Make as many pods as are missing, or delete some; others have their turn in between."""
        due = partial(while_unchanged, self._context.api, self.resource, owner)
        refused: ApiStatusError | None = None
        if missing < 0:
            spare = deletion_order.first_of_set(active, self._related(owner))
            going = due(spare[: min(-missing, BURST)])
            refused = await try_each_in_turn(going, lambda pod: self._delete(owner, pod))
        try:
            await each_in_turn(due(range(min(missing, BURST))), lambda _: self._create(owner))
        except ApiStatusError as error:
            refused = error
        wait = self._write_status(owner)
        if refused:
            raise refused
        return wait

    def _related(self, owner: Object) -> list[Object]:
        """Return the pods of all sets of the same Deployment; of a set without one there are none.

        Source: getIndirectlyRelatedPods.
        """
        controller = controller_of(owner)
        if controller is None:
            return []
        return [p for one in self._siblings.get(controller["uid"]) for p in self._pods.of(one)]

    def _create(self, owner: Object) -> None:
        pod = pods.from_template(owner, owner["spec"]["template"])
        pod["metadata"]["generateName"] = f"{name_of(owner)}-"
        made = pods.create(self._context, owner, pod, component=self.component)
        text = f"Created pod: {name_of(made)}"
        self._context.events.record(owner, "SuccessfulCreate", text, component=self.component)

    def _delete(self, owner: Object, pod: Object) -> None:
        pods.delete(self._context, pod)
        text = f"Deleted pod: {name_of(pod)}"
        self._context.events.record(owner, "SuccessfulDelete", text, component=self.component)

    def _write_status(self, owner: Object) -> float | None:
        active = [pod for pod in self._pods.of(owner) if pods.is_active(pod)]
        minimum = owner["spec"].get("minReadySeconds") or 0
        ready = [pod for pod in active if pods.is_ready(pod)]
        waits = [pods.available_in(pod, minimum) for pod in ready]
        status = self._counts(owner, active, ready)
        status["availableReplicas"] = sum(1 for wait in waits if wait <= 0)
        status = {key: value for key, value in status.items() if value or key in self.at_zero}
        api = self._context.api
        latest = api.get(self.resource, name_of(owner), namespace_of(owner))
        if (
            latest is not None
            and uid_of(latest) == uid_of(owner)
            and status != latest.get("status")
        ):
            api.update_status(self.resource, {**latest, "status": status})
        return min((wait for wait in waits if wait > 0), default=None)

    def _counts(self, owner: Object, active: Sequence[Object], ready: Sequence[Object]) -> Object:
        wanted = labels_of(owner["spec"]["template"])
        alike = [p for p in active if wanted.items() <= labels_of(p).items()]
        return {
            "replicas": len(active),
            "fullyLabeledReplicas": len(alike),
            "readyReplicas": len(ready),
            "terminatingReplicas": sum(1 for p in self._pods.of(owner) if is_deleting(p)),
            "observedGeneration": owner["metadata"].get("generation", 1),
        }


class ReplicationControllers(ReplicaSets):
    """The loop over ReplicationControllers, whose status knows no ``terminatingReplicas``."""

    resource = "replicationcontrollers"
    component = "replication-controller"
    at_zero = ("replicas", "observedGeneration")

    def _counts(self, owner: Object, active: Sequence[Object], ready: Sequence[Object]) -> Object:
        counts = super()._counts(owner, active, ready)
        return {key: value for key, value in counts.items() if key != "terminatingReplicas"}
