"""Controllers of kinds that most clusters never have: each starts with the first such object.

Only then is its module imported and are its indexes over pods kept, so that nobody else pays for
it with time at the start or with work for each change of a pod. A start is a loop's work like any
other: what fails is told and tried again, and hinders no write.
"""

from __future__ import annotations

import asyncio
import importlib
from functools import partial
from typing import TYPE_CHECKING, Protocol

from k8slab.embedded.controllers.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.controllers.context import Context
    from k8slab.objects.meta import Object

CONTROLLERS = {
    "cronjobs.batch": "cronjobs:CronJobs",
    "daemonsets.apps": "daemonsets:DaemonSets",
    "jobs.batch": "jobs:Jobs",
    "persistentvolumeclaims": "claims:Claims",
    "poddisruptionbudgets.policy": "disruptions:Disruptions",
    "replicationcontrollers": "replicasets:ReplicationControllers",
    "statefulsets.apps": "statefulsets:StatefulSets",
}
"""By resource: the module beside this one and its class, called with the `Context`."""

JOB_TRACKING = "batch.kubernetes.io/job-tracking"
"""A pod with this finalizer is held until the Jobs' controller has let it go, Job or not."""


class Controller(Protocol):
    """What a started controller can do."""

    async def close(self) -> None:
        """Stop."""


class Seldom:
    """Wait for the first object of each of these kinds."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.running: list[Controller] = []
        self._waiting: dict[str, list[Callable[[], None]]] = {}
        self._starts = Loop("seldom", self._start)
        for resource in CONTROLLERS:
            self._wait_for(resource)

    async def close(self) -> None:
        """Stop waiting, and what has started."""
        for ends in self._waiting.values():
            for unsubscribe in ends:
                unsubscribe()
        await self._starts.close()
        for controller in self.running:
            await controller.close()

    def _wait_for(self, resource: str) -> None:
        api = self._context.api
        kinds = [resource, "pods"] if resource == "jobs.batch" else [resource]
        seen = partial(self._seen, resource)
        self._waiting[resource] = [api.subscribe(kind, partial(seen, kind)) for kind in kinds]
        if any(_is_sign(kind, obj) for kind in kinds for obj in api.list(kind)):
            self._starts.add(resource)

    def _seen(self, resource: str, kind: str, event: Event) -> None:
        if _is_sign(kind, event.object):
            self._starts.add(resource)

    async def _start(self, resource: str) -> None:
        """Start a controller; until it runs its kind is waited for."""
        if resource not in self._waiting:
            return  # more than one came before it ran
        module, _, name = CONTROLLERS[resource].partition(":")
        module = f"k8slab.embedded.controllers.{module}"
        # Some ms from a slow disk: the API answers meanwhile.
        found = await asyncio.to_thread(importlib.import_module, module)
        self.running.append(getattr(found, name)(self._context))
        for unsubscribe in self._waiting.pop(resource):
            unsubscribe()


def _is_sign(kind: str, obj: Object) -> bool:
    """Say whether an object is to be looked after by a controller that has not started."""
    return kind != "pods" or JOB_TRACKING in (obj["metadata"].get("finalizers") or ())
