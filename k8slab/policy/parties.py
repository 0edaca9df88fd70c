"""From the parties of a flow to the sides that policies see.

A flow between parties is one or more *legs*, each between two sides: workloads and Services
stand for all their pods, and a Service's port for the port of each pod. Where the network
changes addresses, the two ends of a leg see different things, and policy is decided on what
each sees:

- A pod that asks a Service's cluster address is translated before its egress policies are
  asked, so they see the pod behind it.
- Traffic to a node port or a load balancer gets the node's address as source when it goes on
  to a pod of another node. On the pod's own node its policies still see the client, since
  they are asked before the masquerade (netfilter: forward comes before postrouting). With
  ``externalTrafficPolicy: Local`` only pods of the node that was asked answer.
- A pod that asks another node's address and node port meets its egress policies with that
  node's address, since the translation happens there; and it arrives with its own node's
  address, since what leaves the pod network is masqueraded (Calico's natOutgoing).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from k8slab.errors import UsageError
from k8slab.policy import addresses
from k8slab.policy.flow import WORKLOADS, Party
from k8slab.policy.model import Pod, Side
from k8slab.policy.verdict import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.policy.estate import Estate
    from k8slab.policy.flow import Flow
    from k8slab.policy.services import Service


MOST_MEANT = 3
"""Names that are offered for one that nobody has."""

MOST_COMPARED = 500
"""Names with which it is compared: a command that reads a thousand wrong lines must not stop."""


@dataclass(frozen=True, slots=True)
class Place:
    """A side with its bit in the index; without one (a node) rules must be walked."""

    side: Side
    bit: int | None = None
    pod: Pod | None = None
    """Also for hostNetwork pods, which the side leaves out."""

    @property
    def families(self) -> tuple[int, ...]:
        """Return the IP families of its addresses, in order."""
        return tuple(dict.fromkeys(map(addresses.family, self.side.addresses)))


@dataclass(frozen=True, slots=True)
class Leg:
    """One way that a flow takes, and what each end sees of the other."""

    source: Place
    destination: Place
    port: int
    towards: Place
    """What the source's policies see as destination."""
    asked: int
    """The port that the source's policies see."""
    seen: Place
    """What the destination's policies see as source."""
    through: bool = False
    """Whether a Service led it there: back to the same pod it passes the node, and so its rules."""

    @property
    def plain(self) -> bool:
        """Say whether nobody changes addresses between the ends."""
        return self.towards is self.destination and self.seen is self.source


def leg(source: Place, destination: Place, port: int, *, through: bool = False) -> Leg:
    """Return the ordinary leg."""
    return Leg(source, destination, port, destination, port, source, through)


class Parties:
    """Finds the sides of flows in one estate."""

    def __init__(self, estate: Estate) -> None:
        self.estate = estate

    def legs(self, flow: Flow) -> Iterator[Leg]:
        """Yield the legs of a flow; raises `UsageError` for a party that nobody knows."""
        sources = self.places(flow.source)
        service = self._service(flow)
        if service is not None:
            for source in sources:
                yield from self._to_service(source, service, flow)
        elif ports := self._node_ports(flow):
            for source in sources:
                yield from self._to_node_port(source, ports[0], flow)
        else:
            for destination in self.places(flow.destination):
                port = _port(flow, destination)
                for source in sources:
                    yield leg(source, destination, port)

    def translations(self, flow: Flow) -> tuple[str, ...]:
        """Say in words what the network makes of the destination before policies are asked."""
        ends: dict[int, dict[str, None]] = {}
        lines: dict[str, None] = {}
        for each in self.legs(flow):
            if each.port != flow.port or flow.destination.kind in ("svc", "node"):
                ends.setdefault(each.port, {})[each.destination.side.name] = None
            if each.seen is not each.source:
                told = f"{each.destination.side.name} sees {each.seen.side.name} as the client"
                lines[f"{told}, not {each.source.side.name}"] = None
        for port, names in ends.items():
            told = f"{flow.destination} port {flow.port} is port {port} of {listed(names)}"
            if flow.destination.kind not in ("svc", "node"):
                told = f"port {flow.port} is {port} on {listed(names)}"
            lines[f"{told}: that is what policies see"] = None
        return tuple(lines)

    def places(self, party: Party) -> list[Place]:
        """Return the sides of a party."""
        estate = self.estate
        match party.kind:
            case "pod" if f"{party.namespace}/{party.name}" in estate.pods:
                return [self.pod(f"{party.namespace}/{party.name}")]
            case "ip":
                return [self._by_address(party.name)]
            case "node" if party.name in estate.nodes:
                return [Place(Side(str(party), estate.nodes[party.name]))]
            case kind if kind in WORKLOADS and party in estate.workloads:
                return [self.pod(key) for key in estate.workloads[party]]
        raise self.unknown(party)

    def unknown(self, party: Party) -> UsageError:
        """Return what to raise for a party that is not there, with whom may be meant instead."""
        hint = "is the name right?"
        if party.kind in ("name", "world"):
            hint = "policies see addresses and no names: ask about ip:ADDRESS"
        elif party.kind == "node" and not self.estate.nodes:
            hint = "no node is among these objects: ask about ip:ADDRESS"
        elif found := self._meant(party):
            hint = f"is one of these meant: {', '.join(found)}?"
        return UsageError(f"nothing is known about {party}", hint=hint)

    def _meant(self, party: Party) -> list[str]:
        """Return parties of the same name, else those of its namespace with a name like it."""
        from difflib import get_close_matches  # noqa: PLC0415  seldom needed

        names = self._services if party.kind == "svc" else self._places
        if same := [known for known in names if known.name == party.name and known != party]:
            return [str(known) for known in same[:MOST_MEANT]]
        here = [each for each in names if each.namespace == party.namespace and each != party]
        near = {known.name: known for known in here}
        found = get_close_matches(party.name, list(near)[:MOST_COMPARED], MOST_MEANT)
        return [str(near[name]) for name in found]

    @cached_property
    def _places(self) -> list[Party]:
        """Return who can be asked about by name, besides Services: workloads and nodes."""
        return [*sorted(self.estate.workloads), *(Party("node", n) for n in self.estate.nodes)]

    @cached_property
    def _services(self) -> list[Party]:
        keys = (key.partition("/") for key in self.estate.services)
        return [Party("svc", name, space) for space, _, name in keys]

    def pod(self, key: str) -> Place:
        """Return the side of a pod."""
        pod = self.estate.pods[key]
        bit = self.estate.profiler.index.class_of[key]
        if not pod.host_network:
            return Place(Side(key, pod.addresses, pod, not pod.addresses), bit, pod)
        known = self.estate.nodes.get(pod.node, ())
        return Place(Side(key, known, None, not known), bit, pod)

    def _by_address(self, text: str) -> Place:
        number = addresses.point(str(ipaddress.ip_address(text)))
        if number in self._owners:
            found = self.pod(self._owners[number])
            side = Side(found.side.name, (number,), found.side.pod)
            one_family = len(found.families) == 1
            return Place(side, found.bit if one_family else None, found.pod)
        index = self.estate.profiler.index
        known = addresses.family(number) in index.outside
        return Place(Side(text, (number,)), index.bit_of(number) if known else None)

    @cached_property
    def _owners(self) -> dict[int, str]:
        return {
            address: key
            for key, pod in self.estate.pods.items()
            if not pod.host_network
            for address in pod.addresses
        }

    def beyond_policy(self, source: Place, destination: Place, *, through: bool = False) -> str:
        """Say why policies cannot stop what comes from there; empty when they can.

        `through` a Service a pod is sent back to itself from outside of it, so policies are asked
        (network-policy-api, "API overview").
        """
        if source.pod is not None and source.pod is destination.pod and not through:
            return "a pod always reaches itself"
        pod = destination.side.pod
        if pod is None or not pod.node or source.side.pod is not None:
            return ""
        if set(source.side.addresses) & set(self.estate.nodes.get(pod.node, ())):
            return f"the pod's own node {pod.node} always reaches it"
        return ""

    def _service(self, flow: Flow) -> Service | None:
        """Return the Service that is asked, by name or by one of its addresses."""
        party = flow.destination
        if party.kind == "svc":
            key = f"{party.namespace}/{party.name}"
            if key not in self.estate.services:
                raise self.unknown(party)
            return self.estate.services[key]
        if party.kind == "ip":
            return self._service_addresses.get(addresses.point(party.name))
        return None

    @cached_property
    def _service_addresses(self) -> dict[int, Service]:
        return {
            address: service
            for service in self.estate.services.values()
            for address in service.addresses
        }

    def _to_service(self, source: Place, service: Service, flow: Flow) -> Iterator[Leg]:
        outside = source.pod is None and service.type in ("NodePort", "LoadBalancer")
        for destination, port in self._backends(service, flow.port, flow.protocol):
            if not outside or service.local_only:
                yield leg(source, destination, port, through=True)
                continue
            for name, node in self._nodes():
                seen = source if _is_on(destination, name) else node
                yield Leg(source, destination, port, destination, port, seen, through=True)

    def _backends(
        self, service: Service, port: int | str, protocol: str
    ) -> Iterator[tuple[Place, int]]:
        found = service.backends(self._pods_of(service.namespace), port, protocol)
        for target, number in found:
            if isinstance(target, Pod):
                yield self.pod(target.key), number
            else:
                yield self._by_address(addresses.text_of(target)), number

    def _pods_of(self, namespace: str) -> list[Pod]:
        return self._by_namespace.get(namespace, [])

    @cached_property
    def _by_namespace(self) -> dict[str, list[Pod]]:
        found: dict[str, list[Pod]] = {}
        for key in sorted(self.estate.pods):
            pod = self.estate.pods[key]
            found.setdefault(pod.namespace, []).append(pod)
        return found

    def _nodes(self) -> list[tuple[str, Place]]:
        found = [(n, Place(Side(f"node:{n}", a))) for n, a in self.estate.nodes.items()]
        return found or [("", Place(Side("a node", (), None, unknown=True)))]

    def _node_ports(self, flow: Flow) -> list[tuple[Service, int]]:
        """Return the Service (and its port) that a node port leads to."""
        if flow.destination.kind != "node" or flow.destination.name not in self.estate.nodes:
            return []
        return [
            (service, port.port)
            for service in self.estate.services.values()
            for port in service.ports
            if port.node_port and (port.node_port, port.protocol) == (flow.port, flow.protocol)
        ]

    def _to_node_port(
        self, source: Place, target: tuple[Service, int], flow: Flow
    ) -> Iterator[Leg]:
        service, port = target
        name = flow.destination.name
        node = Place(Side(f"node:{name}", self.estate.nodes[name]))
        here, client = _is_on(source, name), source
        if not here and source.side.pod is not None and source.side.pod.node:
            left = source.side.pod.node
            client = Place(Side(f"node:{left}", self.estate.nodes.get(left, ())))
        assert isinstance(flow.port, int)
        for destination, number in self._backends(service, port, flow.protocol):
            towards, asked = (destination, number) if here else (node, flow.port)
            on_node = _is_on(destination, name)
            if on_node or not service.local_only:
                seen = client if on_node else node
                yield Leg(source, destination, number, towards, asked, seen, through=True)


def _is_on(place: Place, node: str) -> bool:
    return place.pod is not None and bool(node) and place.pod.node == node


def _port(flow: Flow, place: Place) -> int:
    if isinstance(flow.port, int):
        return flow.port
    number = place.pod.ports.get((flow.protocol, flow.port)) if place.pod else None
    if number is None:
        raise UsageError(f"{place.side.name} has no port named {flow.port}")
    return number
