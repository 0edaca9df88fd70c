"""NetworkPolicies compiled into small matchers that can say why they do not match.

Source of the rules: the comments of ``k8s.io/api/networking/v1`` and the Network Policies
page of the Kubernetes documentation. In short:

- ``ingress`` absent, ``null`` or ``[]``: isolated, nobody admitted. ``[{}]``: everyone.
- ``policyTypes`` absent: ingress always, egress when there is an egress rule. A section
  that ``policyTypes`` does not list is ignored.
- ``from``/``to`` absent or ``[]`` in a rule: every peer. ``ports`` absent or ``[]``: all ports.
- ``namespaceSelector`` and ``podSelector`` in one peer are joined by and; peers by or.
- A port entry without ``port`` is every port of its protocol; without ``protocol``, TCP.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from k8slab.errors import ManifestError, UsageError
from k8slab.objects import meta, selectors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from k8slab.objects.meta import Object
    from k8slab.objects.selectors import Selector

INGRESS, EGRESS = "ingress", "egress"
PROTOCOLS = ("TCP", "UDP", "SCTP")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Pod:
    """What policies see of a pod. A hostNetwork pod is its node and cannot be selected."""

    key: str
    namespace: str
    labels: Mapping[str, str]
    namespace_labels: Mapping[str, str]
    addresses: tuple[Address, ...] = ()
    node: str = ""
    host_network: bool = False
    ports: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Named container ports: protocol and name to number."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other side of a flow as a rule sees it: a pod, or only addresses."""

    name: str
    addresses: tuple[Address, ...]
    pod: Pod | None = None


@dataclass(frozen=True, slots=True)
class PodPeer:
    """Pods by labels, in the policy's namespace or in the selected ones."""

    own_namespace: str
    namespaces: Selector | None
    pods: Selector | None

    def mismatch(self, peer: Peer) -> str:
        """Say why the peer is not meant; empty when it is."""
        if peer.pod is None:
            return f"{peer.name} is no pod that a selector can choose"
        if self.namespaces is None:
            if peer.pod.namespace != self.own_namespace:
                return (
                    f"namespace {peer.pod.namespace} is not {self.own_namespace} "
                    "(a podSelector alone means the policy's own namespace)"
                )
        elif why := self.namespaces.mismatch(peer.pod.namespace_labels):
            return f"namespace {peer.pod.namespace}: {why}"
        if self.pods is not None and (why := self.pods.mismatch(peer.pod.labels)):
            return f"pod {peer.name}: {why}"
        return ""


@dataclass(frozen=True, slots=True)
class BlockPeer:
    """An address range without some parts of it."""

    network: Network
    excepts: tuple[Network, ...]
    pods_too: bool

    def mismatch(self, peer: Peer) -> str:
        """Say why none of the peer's addresses is in the block; empty when one is."""
        if peer.pod is not None and not self.pods_too:
            return f"ipBlock {self.network} does not apply to pods here"
        if not peer.addresses:
            return f"{peer.name} has no address yet, so no ipBlock matches"
        found = [self._mismatch(address) for address in peer.addresses]
        return "" if "" in found else found[0]

    def _mismatch(self, address: Address) -> str:
        if address.version != self.network.version or address not in self.network:
            return f"address {address} is not in {self.network}"
        for part in self.excepts:
            if address.version == part.version and address in part:
                return f"address {address} is in {part}, which this rule leaves out"
        return ""


@dataclass(frozen=True, slots=True)
class PortMatch:
    """One entry of ``ports``; `port` is a number, a name, or ``None`` for all."""

    protocol: str
    port: int | str | None = None
    end: int | None = None

    def mismatch(self, port: int, protocol: str, destination: Pod | None) -> str:
        """Say why this port is not meant; named ports are those of the destination pod."""
        if protocol != self.protocol:
            return f"protocol {protocol} is not {self.protocol}"
        if isinstance(self.port, str):
            return self._named(port, destination)
        if self.port is None or self.port <= port <= (self.end or self.port):
            return ""
        wanted = f"{self.port} to {self.end}" if self.end else str(self.port)
        return f"port {port} is not {wanted}"

    def _named(self, port: int, destination: Pod | None) -> str:
        if destination is None or destination.host_network:
            return f"the destination has no port named {self.port}"
        number = destination.ports.get((self.protocol, str(self.port)))
        if number is None:
            return f"{destination.key} has no port named {self.port}"
        return "" if number == port else f"port {port} is not {self.port} ({number} on this pod)"


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of ``ingress`` or ``egress``; ``None`` is every peer, every port."""

    peers: tuple[PodPeer | BlockPeer, ...] | None
    ports: tuple[PortMatch, ...] | None

    def mismatch(self, peer: Peer, port: int, protocol: str, destination: Pod | None) -> str:
        """Say the first thing that does not match; empty when the rule admits the flow."""
        if self.peers is not None:
            found = [candidate.mismatch(peer) for candidate in self.peers]
            if "" not in found:
                return "; ".join(found)
        if self.ports is not None:
            found = [match.mismatch(port, protocol, destination) for match in self.ports]
            if "" not in found:
                return "; ".join(found)
        return ""


@dataclass(frozen=True, slots=True)
class Policy:
    """One NetworkPolicy; `rules` has an entry for each direction that it isolates."""

    key: str
    namespace: str
    selector: Selector
    rules: Mapping[str, tuple[Rule, ...]]

    def selects(self, pod: Pod) -> bool:
        """Say whether the policy's subject includes this pod."""
        return (
            not pod.host_network
            and pod.namespace == self.namespace
            and self.selector.matches(pod.labels)
        )


def compile_policy(obj: Object, *, blocks_match_pods: bool = True) -> Policy:
    """Compile one ``networking.k8s.io/v1`` NetworkPolicy; raises `ManifestError`."""
    namespace = meta.namespace_of(obj) or "default"
    key = f"{namespace}/{meta.name_of(obj)}"
    spec = obj.get("spec") or {}
    if not isinstance(spec, dict):
        raise ManifestError("spec must be a mapping", place=f"NetworkPolicy {key}")
    compiler = _Compiler(namespace, blocks_match_pods)
    try:
        selector = selectors.from_object(spec.get("podSelector") or {})
        assert selector is not None
        rules = {
            direction: tuple(
                compiler.rule(rule or {}, "from" if direction == INGRESS else "to")
                for rule in spec.get(direction) or ()
            )
            for direction in _directions(spec)
        }
    except (UsageError, AttributeError, TypeError) as error:
        raise ManifestError(str(error), place=f"NetworkPolicy {key}") from error
    return Policy(key, namespace, selector, rules)


def _directions(spec: Mapping[str, Any]) -> list[str]:
    types = spec.get("policyTypes")
    if not types:
        return [INGRESS, EGRESS] if spec.get("egress") else [INGRESS]
    for name in types:
        if name not in ("Ingress", "Egress"):
            raise UsageError(f"policyTypes: {name!r} is not Ingress or Egress")
    return [direction for direction in (INGRESS, EGRESS) if direction.capitalize() in types]


@dataclass(frozen=True, slots=True)
class _Compiler:
    namespace: str
    blocks_match_pods: bool

    def rule(self, rule: Mapping[str, Any], peers_key: str) -> Rule:
        peers, ports = rule.get(peers_key), rule.get("ports")
        return Rule(
            tuple(self.peer(peer) for peer in peers) if peers else None,
            tuple(self.port(port or {}) for port in ports) if ports else None,
        )

    def peer(self, peer: Mapping[str, Any]) -> PodPeer | BlockPeer:
        block = peer.get("ipBlock")
        if block is not None:
            if "podSelector" in peer or "namespaceSelector" in peer:
                raise UsageError("a peer has either ipBlock or selectors, not both")
            return BlockPeer(
                read_network(block.get("cidr")),
                tuple(read_network(part) for part in block.get("except") or ()),
                self.blocks_match_pods,
            )
        if peer.get("podSelector") is None and peer.get("namespaceSelector") is None:
            raise UsageError("a peer needs podSelector, namespaceSelector or ipBlock")
        return PodPeer(
            self.namespace,
            selectors.from_object(peer.get("namespaceSelector")),
            selectors.from_object(peer.get("podSelector")),
        )

    def port(self, entry: Mapping[str, Any]) -> PortMatch:
        protocol, port, end = (
            entry.get("protocol") or "TCP",
            entry.get("port"),
            entry.get("endPort"),
        )
        if protocol not in PROTOCOLS:
            raise UsageError(f"protocol {protocol!r} is not one of {', '.join(PROTOCOLS)}")
        if end is not None and (not isinstance(port, int) or end < port):
            raise UsageError(f"endPort {end} needs a numeric port that is not above it")
        return PortMatch(protocol, port, end)


def read_network(text: Any) -> Network:
    """Read an address range; raises `UsageError`."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise UsageError(f"{text!r} is not an address range such as 10.0.0.0/8") from error


def first_admitting(
    policies: Iterable[Policy], direction: str, ask: tuple[Peer, int, str, Pod | None]
) -> tuple[str, list[tuple[str, int | None, str]]]:
    """Return the policy whose rule admits the flow (or empty) and why each rule before did not."""
    misses: list[tuple[str, int | None, str]] = []
    for policy in policies:
        rules = policy.rules[direction]
        if not rules:
            misses.append((policy.key, None, f"has no {direction} rule, so it admits nobody"))
        for index, rule in enumerate(rules):
            why = rule.mismatch(*ask)
            if not why:
                return policy.key, misses
            misses.append((policy.key, index, why))
    return "", misses
