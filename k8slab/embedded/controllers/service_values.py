"""From Services and EndpointSlices to what kube-proxy makes true; pure.

Source: ``pkg/proxy`` (serviceChangeTracker, endpointsChangeTracker): ExternalName and
headless Services have nothing to proxy; an endpoint takes part when it is ready, or while
it is serving and terminating, which the network room uses only when none is ready. Where
a slice does not say whether an endpoint is ready, or serving, it is (endpointslicecache.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.network.model import Endpoint, ServicePort
from k8slab.objects.meta import name_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from k8slab.objects.meta import Object

DEFAULT_AFFINITY = 10800
"""Seconds: core/v1 ``DefaultClientIPServiceAffinitySeconds``."""


NO_ZONES: Mapping[str, str] = {}


def service_ports(
    service: Object, slices: Sequence[Object], zones: Mapping[str, str] = NO_ZONES
) -> list[ServicePort]:
    """Return one value for each port of a Service; `zones` are those of the nodes."""
    spec = service["spec"]
    addresses = tuple(
        spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    )
    if spec.get("type") == "ExternalName" or not addresses or addresses[0] == "None":
        return []
    balanced = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    is_balancer = spec.get("type") == "LoadBalancer"
    # What is for an address in mode Proxy comes through the balancer itself (KEP-1860).
    balanced = [e for e in balanced if e.get("ip") and e.get("ipMode") != "Proxy"]
    return [
        ServicePort(
            namespace=namespace_of(service),
            service=name_of(service),
            port_name=port.get("name") or "",
            protocol=port.get("protocol") or "TCP",
            cluster_ips=addresses,
            port=port["port"],
            node_port=port.get("nodePort") or 0,
            load_balancer_ips=tuple(e["ip"] for e in balanced) if is_balancer else (),
            external_ips=tuple(spec.get("externalIPs") or ()),
            source_ranges=tuple(spec.get("loadBalancerSourceRanges") or ()) if is_balancer else (),
            affinity_seconds=_affinity(spec),
            internal_local=spec.get("internalTrafficPolicy") == "Local",
            external_local=spec.get("externalTrafficPolicy") == "Local",
            endpoints=tuple(endpoints(port, slices, zones)),
        )
        for port in spec.get("ports") or ()
    ]


def endpoints(
    port: Object, slices: Iterable[Object], zones: Mapping[str, str] = NO_ZONES
) -> list[Endpoint]:
    """Return the endpoints of one Service port, in order of their addresses."""
    found = set()
    for one in slices:
        if one["addressType"] == "FQDN":
            continue
        number = _number(port, one)
        if not number:
            continue
        for entry in one.get("endpoints") or ():
            endpoint = _endpoint(entry, number, zones)
            if endpoint is not None:
                found.add(endpoint)
    return sorted(found, key=lambda e: (e.address, e.port))


def _endpoint(entry: Object, number: int, zones: Mapping[str, str]) -> Endpoint | None:
    state = entry.get("conditions") or {}
    ready = state.get("ready")
    ready = True if ready is None else ready
    serving = state.get("serving")
    serving = True if serving is None else serving
    terminating = bool(state.get("terminating"))
    if not ready and not (serving and terminating):
        return None
    for_nodes, for_zones = _hints(entry, zones)
    return Endpoint(
        address=entry["addresses"][0],
        port=number,
        node=entry.get("nodeName") or "",
        serving=ready or serving,  # a pod that is published although not ready is used
        terminating=terminating and not ready,
        for_nodes=for_nodes,
        for_zones=for_zones,
    )


def _hints(
    entry: Object, zones: Mapping[str, str]
) -> tuple[frozenset[str] | None, frozenset[str] | None]:
    """Return the nodes that an endpoint is meant for, and the nodes of the zones that it is."""
    hints = entry.get("hints")
    if not hints:
        return None, None
    nodes = frozenset(hint["name"] for hint in hints.get("forNodes") or ())
    wanted = {hint["name"] for hint in hints.get("forZones") or ()}
    near = frozenset(node for node, zone in zones.items() if zone in wanted)
    return nodes or None, near if wanted else None


def _number(port: Object, one: Object) -> int:
    for entry in one.get("ports") or ():
        same_name = (entry.get("name") or "") == (port.get("name") or "")
        if same_name and (entry.get("protocol") or "TCP") == (port.get("protocol") or "TCP"):
            return int(entry.get("port") or 0)
    return 0


def _affinity(spec: Object) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds") or DEFAULT_AFFINITY)
