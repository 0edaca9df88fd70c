"""What the network room is told to make true, as plain values.

The controllers compute these from API objects; the network room compares them
with what the kernel has and changes only the difference. Addresses are text in
canonical form, both IP families mixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Protocol = Literal["TCP", "UDP", "SCTP"]
Direction = Literal["ingress", "egress"]
Action = Literal["accept", "deny", "pass"]
Tier = Literal["admin", "network", "baseline"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place where a Service port is answered."""

    address: str
    port: int
    node: str = ""
    """The node that runs it; empty when unknown (an outside address)."""
    serving: bool = True
    terminating: bool = False
    """Terminating endpoints are used only when no other is left (KEP-1669)."""
    for_nodes: frozenset[str] | None = None
    """Nodes that are to prefer it (``hints.forNodes``); None where no hint says so."""
    for_zones: frozenset[str] | None = None
    """Nodes of the zones that are to prefer it (``hints.forZones``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """One port of one Service, as kube-proxy sees it."""

    namespace: str
    service: str
    port_name: str = ""
    protocol: Protocol = "TCP"
    cluster_ips: tuple[str, ...] = ()
    port: int
    node_port: int = 0
    load_balancer_ips: tuple[str, ...] = ()
    external_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    affinity_seconds: int = 0
    """0 for none; else sessionAffinity ClientIP with this time-out."""
    internal_local: bool = False
    external_local: bool = False
    endpoints: tuple[Endpoint, ...] = ()

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Identify this port among all: namespace, Service, port name, protocol."""
        return (self.namespace, self.service, self.port_name, self.protocol)


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports `first` to `last`, both included."""

    protocol: Protocol
    first: int = 1
    last: int = 65535


@dataclass(frozen=True, slots=True)
class Block:
    """An address range without some parts of it (``ipBlock``)."""

    cidr: str
    excepts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """One entry of a policy's ``ingress`` or ``egress`` list, resolved to addresses.

    ``None`` means unrestricted: `addresses` and `blocks` both ``None`` is everyone,
    `ports` and `named` both ``None`` is every port. A frozenset() is nobody.
    """

    action: Action = "accept"
    addresses: frozenset[str] | None = None
    """Addresses of the pods that the rule's peers select."""
    blocks: tuple[Block, ...] | None = None
    ports: tuple[PortRange, ...] | None = None
    named: frozenset[tuple[Protocol, str, int]] | None = None
    """Named ports, resolved on each destination pod: protocol, that pod's address, number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDirection:
    """One policy in one direction. In the tier ``network`` it isolates the pods that it selects."""

    policy: str
    """``namespace/name``, or the name alone of a ClusterNetworkPolicy; for comments, denials."""
    direction: Direction
    tier: Tier = "network"
    priority: int = 0
    """Within the tiers admin and baseline: the lower is asked first; equal ones by name."""
    subjects: frozenset[str]
    """UIDs of the selected pods."""
    rules: tuple[PolicyRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """One packet that a policy dropped, as the kernel reported it (NFLOG)."""

    time: float
    node: str
    direction: Direction
    pod_uid: str
    protocol: str
    source: str
    source_port: int
    destination: str
    destination_port: int
    """After DNAT: the pod's own port, not the Service's."""
    policy: str = ""
    """The ClusterNetworkPolicy whose rule denies it; empty when no NetworkPolicy admits it."""


class HostPort(NamedTuple):
    """A port of the node's own addresses that leads to a pod (``hostPort``)."""

    protocol: Protocol
    host_ip: str
    """Empty for every address of the node."""
    host_port: int
    container_port: int
