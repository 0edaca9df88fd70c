"""Controllers of kinds that most clusters never have: each starts with the first such object.

Only then is its module imported and are its indexes over pods kept, so that nobody else pays for
it with time at the start or with work for each change of a pod.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.controllers.context import Context

CONTROLLERS = {
    "cronjobs.batch": "cronjobs:CronJobs",
    "persistentvolumeclaims": "claims:Claims",
    "poddisruptionbudgets.policy": "disruptions:Disruptions",
    "replicationcontrollers": "replicasets:ReplicationControllers",
}
"""By resource: the module beside this one and its class, called with the `Context`."""


class Controller(Protocol):
    """What a started controller can do."""

    async def close(self) -> None:
        """Stop."""


class Seldom:
    """Wait for the first object of each of these kinds."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._running: list[Controller] = []
        self._waiting: dict[str, Callable[[], None]] = {}
        for resource in CONTROLLERS:
            if context.api.list(resource):
                self._start(resource)
            else:
                seen = partial(self._seen, resource)
                self._waiting[resource] = context.api.subscribe(resource, seen)

    async def close(self) -> None:
        """Stop waiting, and what has started."""
        for unsubscribe in self._waiting.values():
            unsubscribe()
        for controller in self._running:
            await controller.close()

    def _seen(self, resource: str, _: Event) -> None:
        self._waiting.pop(resource)()
        self._start(resource)

    def _start(self, resource: str) -> None:
        module, _, name = CONTROLLERS[resource].partition(":")
        found = importlib.import_module(f"k8slab.embedded.controllers.{module}")
        self._running.append(getattr(found, name)(self._context))
