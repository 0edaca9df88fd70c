"""EndpointSlices: for each Service with a selector, where its pods are.

A slice that is right stays as it is; others are changed in place, so that a pod that
becomes ready costs one write of one slice. Source: ``pkg/controller/endpointslice``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.controllers import pods, slice_values
from k8slab.embedded.controllers.controller import Controller
from k8slab.embedded.controllers.index import Index
from k8slab.embedded.controllers.zones import Zones
from k8slab.objects.meta import Object, key_of, labels_of, name_of, namespace_of
from k8slab.objects.slices import SLICES, service_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.controllers.context import Context

PLACEHOLDER_PORTS: slice_values.Ports = ()


def of_service(slice_object: Object) -> list[str]:
    """Return the Service of a slice as ``namespace/name``: an index key."""
    service = service_of(slice_object)
    return [f"{namespace_of(slice_object)}/{service}"] if service else []


class EndpointSlices(Controller):
    """The loop over Services that selects their pods."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, "endpointslices")
        self._slices = self._own(Index(self._api, SLICES, of_service))
        self._zones = self._own(Zones(self._api, self._all_again))
        self._look_at("services")
        self._follow("pods", self._pod_event)
        self._follow(SLICES, self._slice_event)

    def _all_again(self) -> None:
        for service in self._api.list("services"):
            self.loop.add(key_of(service))

    def _pod_event(self, event: Event) -> None:
        for key in services_concerned(self._api, event):
            self.loop.add(key)

    def _slice_event(self, event: Event) -> None:
        if event.type != "ADDED" and _is_ours(event.object):
            for key in of_service(event.object):
                self.loop.add(key)

    def _reconcile(self, key: str) -> None:
        namespace, name = key.split("/", 1)
        service = self._api.get("services", name, namespace)
        present = [s for s in self._slices.get(key) if _is_ours(s)]
        if service is None or not service["spec"].get("selector"):
            # A Service that is gone takes its slices along: they are owned by it.
            return
        if service["spec"].get("type") == "ExternalName":
            reconcile_slices(self._api, (), present)
            return
        selector = service["spec"]["selector"].items()
        selected = [
            pod for pod in self._api.list("pods", namespace) if selector <= labels_of(pod).items()
        ]
        self._write(service, selected, present)

    def _write(
        self, service: Object, selected: Sequence[Object], present: Sequence[Object]
    ) -> None:
        groups = slice_values.wanted(service, selected, self._zones.of)
        for family in service["spec"].get("ipFamilies") or ["IPv4"]:
            # A Service without endpoints keeps one empty slice.
            if not any(kind == family for kind, _ in groups):
                groups[family, PLACEHOLDER_PORTS] = []
        made = [
            _slice(service, family, ports, chunk)
            for (family, ports), endpoints in groups.items()
            for chunk in slice_values.chunks(endpoints) or [[]]
        ]
        reconcile_slices(self._api, made, present)


def services_concerned(api: Api, event: Event) -> list[str]:
    """Return the keys of the Services whose endpoints may differ after this change of a pod."""
    pod, old = event.object, event.old
    if old is not None and event.type == "MODIFIED" and face(old) == face(pod):
        return []
    forms = [labels_of(form) for form in (pod, old) if form is not None]
    found = []
    for service in api.list("services", namespace_of(pod)):
        selector = service["spec"].get("selector")
        if selector and any(selector.items() <= form.items() for form in forms):
            found.append(key_of(service))
    return found


def reconcile_slices(api: Api, wanted: Sequence[Object], present: Sequence[Object]) -> None:
    """Have exactly the slices `wanted`: change those `present` in place, make and delete the rest.

    New ones come last but for deletion, so that no endpoint is missing in between.
    """
    rest = list(present)
    missing = []
    for made in wanted:
        reused = _best(rest, made["addressType"])
        if reused is None:
            missing.append(made)
            continue
        rest.remove(reused)
        metadata = {**reused["metadata"], "labels": made["metadata"]["labels"]}
        fields = {"ports": made["ports"], "endpoints": made["endpoints"]}
        changed = {**reused, "metadata": metadata, **fields}
        if changed != reused:
            api.update(SLICES, changed)
    for made in missing:
        api.create(SLICES, made)
    for spare in rest:
        api.delete(SLICES, name_of(spare), namespace_of(spare))


def _slice(
    service: Object, family: str, ports: slice_values.Ports, endpoints: list[Object]
) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{name_of(service)}-",
            "namespace": namespace_of(service),
            "labels": slice_values.labels(service),
            "ownerReferences": [pods.owner_reference(service)],
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": slice_values.port_objects(ports),
    }


def _best(slices: Sequence[Object], family: str) -> Object | None:
    return next((s for s in slices if s["addressType"] == family), None)


def _is_ours(slice_object: Object) -> bool:
    return labels_of(slice_object).get(slice_values.MANAGED_BY) == slice_values.CONTROLLER


def face(pod: Object) -> tuple:
    """Return what of a pod can change a slice."""
    status = pod.get("status") or {}
    return (
        status.get("podIPs"),
        pods.is_ready(pod),
        pods.is_finished(pod),
        pod["metadata"].get("deletionTimestamp") is not None,
        labels_of(pod),
        pod["spec"].get("nodeName"),
    )
