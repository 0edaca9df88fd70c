"""The Endpoints of a Service, and the slices that mirror Endpoints made by hand; pure.

Endpoints list the first address family only and at most 1,000 addresses.
Sources: ``pkg/controller/endpoint``, ``pkg/controller/endpointslicemirroring``, KEP-4974.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from k8slab.embedded.controllers import pods, slice_values
from k8slab.objects.meta import (
    Object,
    annotations_of,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
)
from k8slab.objects.slices import SERVICE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST = 1000
"""Addresses in one Endpoints object (``maxCapacity``); as many of a subset are mirrored."""

OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MANAGED_BY = "endpoints.kubernetes.io/managed-by"
CONTROLLER = "endpoint-controller"
MIRROR = "endpointslicemirroring-controller.k8s.io"
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
NOT_COPIED = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "endpoints.kubernetes.io/last-change-trigger-time",
)


def wanted(service: Object, selected: Iterable[Object]) -> Object:
    """Return the Endpoints object of a Service with a selector."""
    subsets, complete = _truncated(_subsets(service, selected))
    labels = {**labels_of(service), MANAGED_BY: CONTROLLER}
    if service["spec"].get("clusterIP") == "None":
        labels[slice_values.HEADLESS] = ""
    made: Object = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": name_of(service),
            "namespace": namespace_of(service),
            "labels": labels,
        },
    }
    if not complete:
        made["metadata"]["annotations"] = {OVER_CAPACITY: "truncated"}
    if subsets:
        made["subsets"] = subsets
    return made


def _subsets(service: Object, selected: Iterable[Object]) -> list[Object]:
    family = (service["spec"].get("ipFamilies") or ["IPv4"])[0]
    first_family = {**service, "spec": {**service["spec"], "ipFamilies": [family]}}
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    here = [pod for pod in selected if publish or not is_deleting(pod)]
    subsets = []
    for (_, ports), endpoints in slice_values.wanted(first_family, here).items():
        if not ports and service["spec"].get("ports"):
            continue
        subset: Object = {}
        for endpoint in sorted(endpoints, key=lambda e: str(e["addresses"][0])):
            ready = "addresses" if endpoint["conditions"]["ready"] else "notReadyAddresses"
            subset.setdefault(ready, []).append(_address(endpoint))
        if ports:
            subset["ports"] = slice_values.port_objects(ports)
        subsets.append(_without_empty_names(subset))
    return subsets


def _address(endpoint: Object) -> Object:
    address: Object = {"ip": endpoint["addresses"][0]}
    for field in ("hostname", "nodeName", "targetRef"):
        if field in endpoint:
            address[field] = endpoint[field]
    return address


def _without_empty_names(subset: Object) -> Object:
    for port in subset.get("ports") or ():
        if not port["name"]:
            del port["name"]
    return subset


def _truncated(subsets: list[Object]) -> tuple[list[Object], bool]:
    """Leave `LARGEST` addresses, ready ones first; say whether all had room."""
    room, complete = LARGEST, True
    for field in ("addresses", "notReadyAddresses"):
        for subset in subsets:
            found = subset.get(field) or []
            if len(found) > room:
                complete = False
                subset[field] = found[:room]
                if not room:
                    del subset[field]
            room -= min(room, len(found))
    kept = [s for s in subsets if s.get("addresses") or s.get("notReadyAddresses")]
    return kept, complete


# --- mirroring


def is_mirrored(endpoints: Object, service: Object | None) -> bool:
    """Say whether slices have to be made of an Endpoints object."""
    if service is None or service["spec"].get("selector"):
        return False
    skipped = labels_of(endpoints).get(SKIP_MIRROR) == "true"
    return not skipped and LEADER not in annotations_of(endpoints)


def mirrored(endpoints: Object) -> list[Object]:
    """Return the slices of an Endpoints object that somebody made by hand."""
    groups: dict[tuple[str, slice_values.Ports], list[Object]] = {}
    for subset in endpoints.get("subsets") or ():
        ports = tuple(
            (
                port.get("name") or "",
                port.get("protocol") or "TCP",
                port["port"],
                port.get("appProtocol") or "",
            )
            for port in subset.get("ports") or ()
        )
        both = (("addresses", True), ("notReadyAddresses", False))
        found = [(a, ready) for field, ready in both for a in subset.get(field) or ()]
        for address, ready in found[:LARGEST]:
            family = f"IPv{ip_address(address['ip']).version}"
            group = groups.setdefault((family, ports), [])
            group.append(_mirrored_endpoint(address, ready=ready))
    return [
        _mirror_slice(endpoints, family, ports, chunk)
        for (family, ports), group in groups.items()
        for chunk in slice_values.chunks(group)
    ]


def _mirrored_endpoint(address: Object, *, ready: bool) -> Object:
    endpoint: Object = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    for field in ("hostname", "nodeName", "targetRef"):
        if address.get(field):
            endpoint[field] = address[field]
    return endpoint


def _mirror_slice(
    endpoints: Object, family: str, ports: slice_values.Ports, chunk: list[Object]
) -> Object:
    name = name_of(endpoints)
    labels = {
        **labels_of(endpoints),
        slice_values.MANAGED_BY: MIRROR,
        SERVICE_NAME: name,
    }
    annotations = {k: v for k, v in annotations_of(endpoints).items() if k not in NOT_COPIED}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{name}-",
            "namespace": namespace_of(endpoints),
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [pods.owner_reference(endpoints)],
        },
        "addressType": family,
        "endpoints": chunk,
        "ports": slice_values.port_objects(ports),
    }
