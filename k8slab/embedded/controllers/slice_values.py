"""The endpoints of a Service, computed from its pods; pure.

A pod is `ready` when its Ready condition is true and it is not being deleted, `serving`
when the condition is true, `terminating` when it is being deleted. A pod with an address
is listed whether or not it is ready; readers choose by conditions.
With ``trafficDistribution`` each ready endpoint says for which zone or node it is meant.
Sources: discovery/v1 ``EndpointConditions``; ``pkg/controller/endpointslice``; KEP-4444, KEP-3015.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.controllers import pods
from k8slab.objects.meta import Object, is_deleting, labels_of, name_of, namespace_of, uid_of
from k8slab.objects.slices import SERVICE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
ZONE = "topology.kubernetes.io/zone"
"""The label of a node that names its zone."""
LARGEST = 100
"""Endpoints in one slice (``--max-endpoints-per-slice``)."""

Ports = tuple[tuple[str, str, int, str], ...]
"""Name, protocol, number, appProtocol of each port: what all endpoints of a slice share."""


def wanted(
    service: Object, found: Iterable[Object], zones: Mapping[str, str] | None = None
) -> dict[tuple[str, Ports], list[Object]]:
    """Return the endpoints of a Service by address type and ports.

    Named target ports may be other numbers on other pods; these need slices of their own.
    """
    groups: dict[tuple[str, Ports], list[Object]] = {}
    families = service["spec"].get("ipFamilies") or ["IPv4"]
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    for pod in found:
        if pods.is_finished(pod):
            continue
        ports = _ports(service, pod)
        for family in families:
            addresses = _addresses(pod, family)
            if addresses:
                endpoint = _endpoint(service, pod, addresses, publish=publish, zones=zones or {})
                groups.setdefault((family, ports), []).append(endpoint)
    for endpoints in groups.values():
        endpoints.sort(key=lambda e: str(e["targetRef"]["name"]))
    return groups


def chunks(endpoints: Sequence[Object]) -> list[list[Object]]:
    """Split endpoints into slices of at most `LARGEST`."""
    return [list(endpoints[i : i + LARGEST]) for i in range(0, len(endpoints), LARGEST)]


def port_objects(ports: Ports) -> list[Object]:
    """Return the ``ports`` of a slice."""
    return [
        {"name": name, "protocol": protocol, "port": number}
        | ({"appProtocol": application} if application else {})
        for name, protocol, number, application in ports
    ]


def labels(service: Object) -> dict[str, str]:
    """Return the labels of a Service's slices: the Service's own, and whose they are."""
    found = {
        key: value
        for key, value in labels_of(service).items()
        if key not in (MANAGED_BY, SERVICE_NAME, HEADLESS)
    }
    if service["spec"].get("clusterIP") == "None":
        found[HEADLESS] = ""
    return {**found, MANAGED_BY: CONTROLLER, SERVICE_NAME: name_of(service)}


def _ports(service: Object, pod: Object) -> Ports:
    found = []
    for port in service["spec"].get("ports") or ():
        number = target_port(port, pod)
        if number:
            protocol = port.get("protocol") or "TCP"
            found.append((port.get("name") or "", protocol, number, port.get("appProtocol") or ""))
    return tuple(found)


def target_port(port: Object, pod: Object) -> int:
    """Return the number of a Service port on a pod; 0 when the pod has no port of that name."""
    target: int | str = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    for container in pod["spec"]["containers"]:
        for entry in container.get("ports") or ():
            same = (entry.get("protocol") or "TCP") == (port.get("protocol") or "TCP")
            if entry.get("name") == target and same:
                return int(entry["containerPort"])
    return int(target) if target.isdigit() else 0


def _addresses(pod: Object, family: str) -> list[str]:
    found = ((pod.get("status") or {}).get("podIPs")) or ()
    return [entry["ip"] for entry in found if (":" in entry["ip"]) == (family == "IPv6")]


def _endpoint(
    service: Object, pod: Object, addresses: list[str], *, publish: bool, zones: Mapping[str, str]
) -> Object:
    serving, leaving = pods.is_ready(pod), is_deleting(pod)
    node = pod["spec"].get("nodeName") or ""
    endpoint: Object = {
        "addresses": addresses[:1],
        "conditions": {
            "ready": publish or (serving and not leaving),
            "serving": serving,
            "terminating": leaving,
        },
        "targetRef": {
            "kind": "Pod",
            "name": name_of(pod),
            "namespace": namespace_of(pod),
            "uid": uid_of(pod),
        },
    }
    spec = pod["spec"]
    if spec.get("hostname") and spec.get("subdomain") == name_of(service):
        endpoint["hostname"] = spec["hostname"]
    if node:
        endpoint["nodeName"] = node
    if zones.get(node):
        endpoint["zone"] = zones[node]
    if hints := _hints(service["spec"].get("trafficDistribution"), endpoint):
        endpoint["hints"] = hints
    return endpoint


def _hints(wish: str | None, endpoint: Object) -> Object:
    """Return for whom a ready endpoint is meant: its zone, and where it is wished its node."""
    found: Object = {}
    if wish and endpoint["conditions"]["ready"]:
        if endpoint.get("zone"):
            found["forZones"] = [{"name": endpoint["zone"]}]
        if wish == "PreferSameNode" and endpoint.get("nodeName"):
            found["forNodes"] = [{"name": endpoint["nodeName"]}]
    return found
