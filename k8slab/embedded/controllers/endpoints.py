"""Endpoints: written for Services with a selector, mirrored to slices where made by hand.

The kernel follows the slices. Endpoints are for clients of the old API (deprecated since 1.33),
so they are written a little later, many changes of pods at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.controllers import endpoints_values, slice_values
from k8slab.embedded.controllers.controller import Controller
from k8slab.embedded.controllers.endpoint_slices import (
    of_service,
    reconcile_slices,
    services_concerned,
)
from k8slab.embedded.controllers.index import Index
from k8slab.objects.meta import Object, key_of, labels_of
from k8slab.objects.slices import SLICES

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.controllers.context import Context
    from k8slab.embedded.controllers.proxy import Proxy

BATCH_SECONDS = 0.1
"""Changes of pods within this time are one write (``--endpoint-updates-batch-period``)."""


class Endpoints(Controller):
    """The loop over Services that writes their Endpoints."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, "endpoints")
        for resource in ("services", "endpoints"):
            self._follow(resource, lambda event: self._later(key_of(event.object)))
        self._follow("pods", self._pod_event)
        for service in self._api.list("services"):
            self._later(key_of(service))

    def _later(self, key: str) -> None:
        self.loop.add_after(key, BATCH_SECONDS)

    def _pod_event(self, event: Event) -> None:
        for key in services_concerned(self._api, event):
            self._later(key)

    def _reconcile(self, key: str) -> None:
        namespace, name = key.split("/", 1)
        service = self._api.get("services", name, namespace)
        present = self._api.get("endpoints", name, namespace)
        if service is None:
            if present is not None and _is_written(present):
                self._api.delete("endpoints", name, namespace)
            return
        selector = service["spec"].get("selector")
        if not selector or service["spec"].get("type") == "ExternalName":
            return
        selected = [
            pod
            for pod in self._api.list("pods", namespace)
            if selector.items() <= labels_of(pod).items()
        ]
        made = endpoints_values.wanted(service, selected)
        if present is None:
            self._api.create("endpoints", made)
            return
        metadata = {**present["metadata"], "labels": made["metadata"]["labels"]}
        annotations = dict(metadata.pop("annotations", None) or {})
        annotations.pop(endpoints_values.OVER_CAPACITY, None)
        annotations |= made["metadata"].get("annotations") or {}
        if annotations:
            metadata["annotations"] = annotations
        changed = {**present, "metadata": metadata, "subsets": made.get("subsets") or []}
        if (present.get("subsets") or []) != changed["subsets"] or metadata != present["metadata"]:
            self._api.update("endpoints", changed)


class Mirroring(Controller):
    """The loop over Endpoints made by hand, for Services without a selector."""

    def __init__(self, context: Context, proxy: Proxy) -> None:
        super().__init__(context, "endpointslicemirroring")
        self._proxy = proxy
        self._slices = self._own(Index(self._api, SLICES, of_service))
        self._follow(SLICES, self._slice_event)
        self._look_at("services")
        self._look_at("endpoints")
        self._api.before_answer("endpoints", self._answer)

    async def _answer(self, endpoints: Object) -> None:
        await self.loop.settle(key_of(endpoints))
        await self._proxy.settle()

    def _slice_event(self, event: Event) -> None:
        if event.type != "ADDED" and _is_mirror(event.object):
            for key in of_service(event.object):
                self.loop.add(key)

    def _reconcile(self, key: str) -> None:
        namespace, name = key.split("/", 1)
        endpoints = self._api.get("endpoints", name, namespace)
        service = self._api.get("services", name, namespace)
        present = [s for s in self._slices.get(key) if _is_mirror(s)]
        wanted: list[Object] = []
        if endpoints is not None and endpoints_values.is_mirrored(endpoints, service):
            wanted = endpoints_values.mirrored(endpoints)
        reconcile_slices(self._api, wanted, present)


def _is_written(endpoints: Object) -> bool:
    label = labels_of(endpoints).get(endpoints_values.MANAGED_BY)
    return label == endpoints_values.CONTROLLER


def _is_mirror(slice_object: Object) -> bool:
    return labels_of(slice_object).get(slice_values.MANAGED_BY) == endpoints_values.MIRROR
