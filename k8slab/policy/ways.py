"""The ways into the cluster from outside, followed to the workloads that they expose.

A way is made by an Ingress or HTTPRoute (`routes`), a node port or a load balancer. It leads to
a port of a Service, and from there to pods and ports; who may really come that far, policies
decide: `admitted` has the addresses outside and the workloads that they let through to all of
these pods. With an Ingress it is the pods of its controller that have to be among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.errors import UsageError
from k8slab.policy.index import numbers_of
from k8slab.policy.model import EGRESS, INGRESS, Pod
from k8slab.policy.ports import NONE, NUMBERS, PortSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.policy.estate import Estate
    from k8slab.policy.flow import Party
    from k8slab.policy.services import Service


@dataclass(frozen=True, slots=True)
class WayIn:
    """One way: by `via` to a port of a Service, and the workloads behind it."""

    via: str
    """``Ingress shop/web example.com/``, ``NodePort 30080 on every node``."""
    service: str
    port: int | str
    protocol: str = "TCP"
    workloads: tuple[Party, ...] = ()
    ports: PortSet = NONE
    """Of the pods, after the Service has translated its own."""
    admitted: tuple[str, ...] = ()
    """Addresses outside, and workloads, that policies let through."""
    problem: str = ""
    """Why it leads nowhere."""


def ways_in(estate: Estate) -> tuple[WayIn, ...]:
    """Return all ways in: routes in their order, then Services by name."""
    return tuple(_followed(estate, way) for way in _ways(estate))


def _ways(estate: Estate) -> Iterator[WayIn]:
    for each in estate.exposures:
        via = f"{each.via} {each.host or '*'}{each.path}"
        yield WayIn(via, each.service, each.port)
    for key, service in sorted(estate.services.items()):
        if service.type in ("NodePort", "LoadBalancer"):
            for port in service.ports:
                node_port = f"{port.node_port or 'a node port'} on every node"
                via = f"NodePort {node_port}"
                if service.type == "LoadBalancer":
                    via = f"LoadBalancer port {port.port}, {node_port}"
                yield WayIn(via, key, port.port, port.protocol)


def _followed(estate: Estate, way: WayIn) -> WayIn:
    service = estate.services.get(way.service)
    if service is None:
        return _nowhere(way, f"there is no Service {way.service}")
    try:
        found = dict(_pods(estate, service, way))
    except UsageError as error:
        return _nowhere(way, error.message)
    if not found:
        return _nowhere(way, f"no ready pod is behind Service {way.service}")
    workloads = {pod.workload for pod in map(estate.pods.__getitem__, found) if pod.workload}
    ports = PortSet.union(PortSet.of(way.protocol, port) for port in found.values())
    return WayIn(
        way.via, way.service, way.port, way.protocol, tuple(sorted(workloads)), ports,
        _admitted(estate, found, way.protocol),
    )  # fmt: skip


def _nowhere(way: WayIn, problem: str) -> WayIn:
    return WayIn(way.via, way.service, way.port, way.protocol, problem=problem)


def _pods(estate: Estate, service: Service, way: WayIn) -> Iterator[tuple[str, int]]:
    here = (pod for pod in estate.pods.values() if pod.namespace == service.namespace)
    for target, port in service.backends(here, way.port, way.protocol):
        if isinstance(target, Pod):
            yield target.key, port


def _admitted(estate: Estate, pods: dict[str, int], protocol: str) -> tuple[str, ...]:
    """Return who may reach every one of the pods on its port."""
    index, found = estate.profiler.index, -1
    wanted = {(index.class_of[key], NUMBERS[protocol] << 16 | port) for key, port in pods.items()}
    for destination, place in wanted:
        found &= _sources(estate, destination, place)
    outside = index.addresses_of(found & index.everything)
    inside = found & (1 << index.width) - 1
    keys = (key for number in numbers_of(inside) for key in index.classes[number].keys)
    names = {str(estate.pods[key].workload) for key in keys if key not in pods}
    return (*([str(outside)] if outside else []), *sorted(names))


def _sources(estate: Estate, destination: int, place: int) -> int:
    """Return all who may reach a class on a port, as bits."""
    sides, found = estate.reach.sides, 0
    admitted = 0
    for peers, ports in sides[INGRESS].of[destination].parts:
        if place in ports:
            admitted |= peers
    for profile in sides[EGRESS].profiles:
        if profile.members & admitted and place in profile.ports(destination):
            found |= profile.members & admitted
    return found
