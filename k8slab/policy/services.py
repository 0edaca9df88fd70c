"""What a Service leads to: pods and ports, so that policy can be decided after DNAT.

A Service with an address translates its port to the target port of a ready pod (kube-proxy).
A headless one is only a name for its pods: a client that connects to its port meets that
port on the pod itself, unless it asked by the port's name, which the SRV record translates.
A Service without selector leads where its EndpointSlices (or Endpoints) say. ExternalName
is an alias: nobody can say here to which address.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from k8slab.errors import UsageError
from k8slab.objects import meta, slices
from k8slab.policy import addresses, fields
from k8slab.policy.inventory import space_and_name
from k8slab.policy.ports import WITH_PORTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from k8slab.objects.meta import Object
    from k8slab.objects.selectors import Selector
    from k8slab.policy.inventory import Kinds
    from k8slab.policy.model import Pod

"""The label by which an EndpointSlice belongs to a Service."""


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service; `target` is a number or the name of a container's port."""

    name: str
    protocol: str
    port: int
    target: int | str
    node_port: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """A Service as policies see it."""

    key: str
    namespace: str
    type: str
    selector: Selector | None
    ports: tuple[ServicePort, ...]
    headless: bool = False
    not_ready_too: bool = False
    local_only: bool = False
    """``externalTrafficPolicy: Local``: the client's address is kept."""
    addresses: frozenset[int] = frozenset()
    endpoints: tuple[tuple[int, Mapping[str, int]], ...] = field(default=(), hash=False)
    """Of a Service without selector: addresses and their ports by name."""

    def port(self, port: int | str, protocol: str) -> ServicePort:
        """Return the port of this number or name; raises `UsageError`."""
        for each in self.ports:
            if port in (each.port, each.name or None) and each.protocol == protocol:
                return each
        if self.headless and isinstance(port, int):
            return ServicePort("", protocol, port, port)
        raise UsageError(f"Service {self.key} has no port {port}/{protocol}")

    def selects(self, pod: Pod) -> bool:
        """Say whether traffic may be sent to this pod."""
        if self.selector is None or pod.namespace != self.namespace:
            return False
        return (pod.ready or self.not_ready_too) and self.selector.matches(pod.labels)

    def backends(
        self, pods: Iterable[Pod], port: int | str, protocol: str
    ) -> Iterator[tuple[Pod | int, int]]:
        """Yield pods (or addresses) and the port that is reached on each; raises `UsageError`."""
        if self.type == "ExternalName":
            raise UsageError(
                f"Service {self.key} is an alias for a name outside",
                hint="ask about the address that the name has: ip:ADDRESS",
            )
        wanted = self.port(port, protocol)
        for address, numbers in self.endpoints if self.selector is None else ():
            if wanted.name in numbers:
                yield address, numbers[wanted.name]
        for pod in pods:
            if self.selects(pod) and (number := self.on_pod(pod, wanted, port)) is not None:
                yield pod, number

    def on_pod(self, pod: Pod, wanted: ServicePort, asked: int | str = "") -> int | None:
        """Return the number that a port of the Service means on a pod; ``None`` for none."""
        if self.headless and isinstance(asked, int):
            return asked
        if isinstance(wanted.target, str):
            return pod.ports.get((wanted.protocol, wanted.target))
        return wanted.target


def read_services(kinds: Kinds) -> dict[str, Service]:
    """Read all Services with the endpoints of those that have no selector."""
    endpoints: dict[str, list[tuple[int, Mapping[str, int]]]] = defaultdict(list)
    for kind, reader in (("EndpointSlice", _slice), ("Endpoints", _endpoints)):
        for obj in kinds[kind]:
            name, found = kinds.read(obj, reader)
            endpoints[name] += [each for each in found if each not in endpoints[name]]
    services = (
        kinds.read(obj, lambda o: _service(o, endpoints.get(space_and_name(o), [])))
        for obj in kinds["Service"]
    )
    return {service.key: service for service in services}


def _service(obj: Object, endpoints: list[tuple[int, Mapping[str, int]]]) -> Service:
    spec = obj.get("spec") or {}
    ips = spec.get("clusterIPs") or [spec.get("clusterIP")]
    kind = spec.get("type") or "ClusterIP"
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    known = [ip for ip in (*ips, *(entry.get("ip") for entry in ingress)) if ip not in _NO_ADDRESS]
    return Service(
        space_and_name(obj),
        meta.namespace_of(obj) or "default",
        kind,
        _selector(spec.get("selector")),
        tuple(_port(port) for port in spec.get("ports") or ()),
        headless="None" in ips and kind == "ClusterIP",
        not_ready_too=bool(spec.get("publishNotReadyAddresses")),
        local_only=spec.get("externalTrafficPolicy") == "Local",
        addresses=frozenset(addresses.point(ip) for ip in known),
        endpoints=tuple(endpoints),
    )


def _selector(labels: Any) -> Selector | None:
    if not labels:
        return None
    return fields.label_selector({"matchLabels": labels}, "spec.selector")


_NO_ADDRESS = (None, "", "None")


def _port(port: Mapping[str, Any]) -> ServicePort:
    number = fields.port_number(port.get("port"), "spec.ports.port")
    target, node_port = port.get("targetPort") or number, port.get("nodePort") or 0
    if isinstance(target, str) and target.isdecimal():
        target = int(target)
    if not isinstance(target, str):
        target = fields.port_number(target, "spec.ports.targetPort")
    if node_port:
        fields.port_number(node_port, "spec.ports.nodePort")
    protocol, name = port.get("protocol") or "TCP", port.get("name") or ""
    if protocol not in WITH_PORTS or not isinstance(name, str):
        raise UsageError(f"spec.ports: cannot read the port {port!r:.60}")
    return ServicePort(name, protocol, number, target, node_port)


Found = tuple[str, list[tuple[int, "Mapping[str, int]"]]]


def _numbers(ports: Any, path: str) -> dict[str, int]:
    """Return the numbers of an endpoint's ports by name; one without a number is any port."""
    return {
        str(port.get("name") or ""): fields.port_number(port["port"], f"{path}.port")
        for port in ports or ()
        if port.get("port") is not None
    }


def _slice(obj: Object) -> Found:
    service = slices.service_of(obj)
    ports = _numbers(obj.get("ports"), "ports")
    found: list[tuple[int, Mapping[str, int]]] = [
        (addresses.point(address), ports)
        for endpoint in obj.get("endpoints") or ()
        if slices.is_ready(endpoint)
        for address in endpoint.get("addresses") or ()
        if obj.get("addressType") != "FQDN"
    ]
    return f"{meta.namespace_of(obj) or 'default'}/{service}", found


def _endpoints(obj: Object) -> Found:
    found: list[tuple[int, Mapping[str, int]]] = []
    for subset in obj.get("subsets") or ():
        ports = _numbers(subset.get("ports"), "subsets.ports")
        found += [(addresses.point(e["ip"]), ports) for e in subset.get("addresses") or ()]
    return space_and_name(obj), found
