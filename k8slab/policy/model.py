"""The values that policies are compiled into, whatever dialect they were written in.

A `Policy` has a subject (the pods that it is about) and, for each direction that it
decides, rules in order. A `Rule` has an action, peers (any of them, ``None`` is everyone)
and ports (``None`` is all). Everything that matches something answers two questions, and
both answers must agree (a test compares them on random estates):

- ``mismatch(side)``: why does this one side of a flow not match? Empty when it does. This is
  the meaning, written to be read, and it gives the reasons of a verdict.
- ``members(index, mode)``: which of all sides match? An integer with a bit for each class of
  sides that policies cannot tell apart (`index`). This makes large estates fast.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from k8slab.policy.addresses import PRIVATE, text_of
from k8slab.policy.ports import ALL, PortSet
from k8slab.policy.verdict import path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from k8slab.objects.selectors import LabelIndex, Selector
    from k8slab.policy.addresses import AddressSet
    from k8slab.policy.flow import Party

INGRESS, EGRESS = "ingress", "egress"
ACCEPT, DENY, PASS, LOG = "Accept", "Deny", "Pass", "Log"
ADMIN, NETWORK, BASELINE = "Admin", "NetworkPolicy", "Baseline"
TIERS = (ADMIN, NETWORK, BASELINE)
"""In the order in which they are asked (KEP-2091)."""


@dataclass(frozen=True, slots=True)
class Pod:
    """What policies see of a pod, or of the template of a workload that has no pods.

    A hostNetwork pod is its node to the network: no policy can select it.
    """

    key: str
    namespace: str
    labels: Mapping[str, str]
    namespace_labels: Mapping[str, str]
    addresses: tuple[int, ...] = ()
    """Numbers of `addresses.point`, at most one a family, the first family first."""
    node: str = ""
    host_network: bool = False
    ports: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Named container ports: protocol and name to number."""
    listens: tuple[tuple[str, int], ...] = ()
    """All declared container ports: protocol and number."""
    account: str = "default"
    account_labels: Mapping[str, str] = field(default_factory=dict)
    workload: Party | None = None
    """The topmost known owner; the pod itself where it has none."""
    template: bool = False
    ready: bool = True
    """Whether a Service sends traffic to it; a template counts as ready."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a flow as rules see it: a pod with its addresses, or addresses alone."""

    name: str
    addresses: tuple[int, ...]
    pod: Pod | None = None
    """Only a pod that selectors can choose."""
    unknown: bool = False
    """It will have an address, but nobody knows yet which."""


class Mode(NamedTuple):
    """From where an address range is matched, which decides the IP family of the flow.

    A flow has the first family of its destination that its source has too. So which address
    of a peer counts depends on the families of the subject: `families`, empty when unknown.
    """

    direction: str
    families: tuple[int, ...]


class Index(Protocol):
    """All sides at once: each class of sides that policies cannot tell apart is one bit."""

    everything: int

    @property
    def pods(self) -> LabelIndex:
        """The labels of pods."""

    @property
    def calico(self) -> LabelIndex:
        """The labels of pods, with those that Calico adds."""

    @property
    def spaces(self) -> LabelIndex:
        """The labels of the pods' namespaces."""

    @property
    def accounts(self) -> LabelIndex:
        """The labels of the pods' service accounts."""

    def namespace(self, name: str) -> int:
        """Return the selectable pods of a namespace."""

    def inside(self, addresses: AddressSet, mode: Mode, *, pods_too: bool) -> int:
        """Return the sides whose address for a flow of this mode is in the set."""


class Matcher(Protocol):
    """What can stand as a peer or a subject."""

    def mismatch(self, side: Side) -> str:
        """Say why the side is not meant; empty when it is."""

    def members(self, index: Index, mode: Mode) -> int:
        """Return all sides that are meant."""


@dataclass(frozen=True, slots=True)
class PodPeer:
    """Pods by labels, in the policy's namespace (`namespaces` is ``None``) or in selected ones."""

    own_namespace: str
    namespaces: Selector | None
    pods: Selector | None

    def mismatch(self, side: Side) -> str:
        """Say why the side is not meant; empty when it is."""
        pod = side.pod
        if pod is None:
            return f"{side.name} is no pod that a selector can choose"
        if self.namespaces is None:
            if pod.namespace != self.own_namespace:
                return (
                    f"namespace {pod.namespace} is not {self.own_namespace} "
                    "(a podSelector alone means the policy's own namespace)"
                )
        elif why := self.namespaces.mismatch(pod.namespace_labels):
            return f"namespace {pod.namespace}: {why}"
        if self.pods is not None and (why := self.pods.mismatch(pod.labels)):
            return f"pod {side.name}: {why}"
        return ""

    def members(self, index: Index, mode: Mode) -> int:
        """Return the selected pods."""
        del mode
        if self.namespaces is None:
            found = index.namespace(self.own_namespace)
        else:
            found = self.namespaces.bits(index.spaces)
        return found & self.pods.bits(index.pods) if self.pods is not None else found

    def __str__(self) -> str:
        pods = f"pods {self.pods}" if self.pods and self.pods.requirements else "all pods"
        if self.namespaces is None:
            return f"{pods} of namespace {self.own_namespace}"
        if not self.namespaces.requirements:
            return f"{pods} of all namespaces"
        return f"{pods} of namespaces {self.namespaces}"


@dataclass(frozen=True, slots=True)
class BlockPeer:
    """An address range without some parts of it."""

    cidr: str
    whole: AddressSet
    excepts: tuple[tuple[str, AddressSet], ...] = ()
    pods_too: bool = True
    """Whether it matches pods by their addresses: so with Calico, not with Cilium."""

    @property
    def addresses(self) -> AddressSet:
        """Return what is left when the excepted parts are taken out."""
        found = self.whole
        for _, part in self.excepts:
            found -= part
        return found

    def mismatch(self, side: Side) -> str:
        """Say why none of the side's addresses is in the block; empty when one is."""
        if side.pod is not None and not self.pods_too:
            return f"ipBlock {self.cidr} does not apply to pods here"
        if side.unknown and self.addresses.covers(PRIVATE):
            return ""
        if not side.addresses:
            return f"{side.name} has no address yet, so no ipBlock matches"
        found = [self._mismatch(address) for address in side.addresses]
        return "" if "" in found else found[0]

    def _mismatch(self, address: int) -> str:
        if address not in self.whole:
            return f"address {text_of(address)} is not in {self.cidr}"
        for cidr, part in self.excepts:
            if address in part:
                return f"address {text_of(address)} is in {cidr}, which this rule leaves out"
        return ""

    def members(self, index: Index, mode: Mode) -> int:
        """Return who has an address in the block."""
        return index.inside(self.addresses, mode, pods_too=self.pods_too)

    def __str__(self) -> str:
        left_out = ", ".join(cidr for cidr, _ in self.excepts)
        return f"{self.cidr} except {left_out}" if left_out else self.cidr


@dataclass(frozen=True, slots=True)
class PortMatch:
    """One entry of ``ports``; `port` is a number, a name, or ``None`` for all."""

    protocol: str
    port: int | str | None = None
    end: int | None = None

    def of(self, destination: Pod | None) -> PortSet:
        """Return the ports that are meant; a name is looked up on the destination pod."""
        if not isinstance(self.port, str):
            return PortSet.of(self.protocol, self.port, self.end)
        number = destination.ports.get((self.protocol, self.port)) if destination else None
        return PortSet() if number is None else PortSet.of(self.protocol, number)

    def mismatch(self, port: int, protocol: str, destination: Pod | None) -> str:
        """Say why this port is not meant; empty when it is."""
        if self.of(destination).has(protocol, port):
            return ""
        if protocol != self.protocol:
            return f"protocol {protocol} is not {self.protocol}"
        if isinstance(self.port, str):
            if destination is None:
                return f"the destination has no port named {self.port}"
            number = destination.ports.get((self.protocol, self.port))
            if number is None:
                return f"{destination.key} has no port named {self.port}"
            return f"port {port} is not {self.port} ({number} on this pod)"
        return f"port {port} is not {self.numbers}"

    @property
    def numbers(self) -> str:
        """Return the port as text."""
        return f"{self.port} to {self.end}" if self.end else str(self.port)

    def __str__(self) -> str:
        return self.protocol if self.port is None else f"{self.protocol} {self.numbers}"


@dataclass(frozen=True, eq=False)
class Rule:
    """One entry of ``ingress`` or ``egress``; compared by identity, as is its policy."""

    policy: str
    direction: str
    index: int
    action: str = ACCEPT
    peers: tuple[Matcher, ...] | None = None
    """Any of them; ``None`` is everyone."""
    ports: tuple[PortMatch, ...] | None = None
    """Any of them; ``None`` is every port."""
    without: tuple[PortMatch, ...] = ()
    """Ports taken out again (Calico's notPorts, notProtocol, notICMP)."""
    subject: Matcher | None = None
    """What the rule demands of the policy's own side (Calico)."""

    @property
    def path(self) -> str:
        """Return the field, as in ``spec.ingress[0]``."""
        return path_of(self.direction, self.index)

    @cached_property
    def names(self) -> tuple[tuple[str, str], ...]:
        """Return the named ports that it uses: protocol and name."""
        every = (*(self.ports or ()), *self.without)
        return tuple((m.protocol, m.port) for m in every if isinstance(m.port, str))

    @cached_property
    def _fixed(self) -> PortSet:
        return self._resolve(None)

    def traffic(self, destination: Pod | None) -> PortSet:
        """Return the ports that the rule is about, for this destination."""
        return self._resolve(destination) if self.names else self._fixed

    def _resolve(self, destination: Pod | None) -> PortSet:
        found = ALL
        if self.ports is not None:
            found = PortSet.union(match.of(destination) for match in self.ports)
        if self.without:
            found -= PortSet.union(match.of(destination) for match in self.without)
        return found

    def mismatch(self, sides: tuple[Side, Side], port: int, protocol: str) -> str:
        """Say the first thing that does not match; `sides` are subject and peer."""
        subject, peer = sides
        if self.subject is not None and (why := self.subject.mismatch(subject)):
            return why
        if self.peers is not None:
            found = [candidate.mismatch(peer) for candidate in self.peers]
            if "" not in found:
                return "; ".join(found)
        destination = (subject if self.direction == INGRESS else peer).pod
        if self.traffic(destination).has(protocol, port):
            return ""
        found = [match.mismatch(port, protocol, destination) for match in self.ports or ()]
        if "" in found or not found:
            return f"port {port}/{protocol} is taken out of this rule"
        return "; ".join(found)

    def peer_of(self, peer: Side) -> int | None:
        """Return the index of the first peer that matches; ``None`` when everyone is meant."""
        found = (n for n, each in enumerate(self.peers or ()) if not each.mismatch(peer))
        return next(found, None)


@dataclass(frozen=True, eq=False)
class Policy:
    """One policy; `rules` has an entry for each direction that it decides."""

    kind: str
    namespace: str
    """Empty for the cluster-wide kinds."""
    name: str
    subject: Matcher
    rules: Mapping[str, tuple[Rule, ...]]
    tier: str = NETWORK
    order: float = 1000.0
    """Within the tier, lower first; 1000 is what Calico gives a NetworkPolicy."""
    manifest: Any = None
    """What it was read from, where that is known; has ``place``."""
    keys: frozenset[str] = frozenset()
    """The keys of all pod labels that its selectors look at."""
    spec: Any = None
    """As it was written; two policies with equal specs and keys mean the same."""

    @property
    def place(self) -> str:
        """Return ``file:line``, or an empty string."""
        return "" if self.manifest is None else str(self.manifest.place)

    @cached_property
    def label(self) -> str:
        """Return ``namespace/name`` or the name."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @cached_property
    def key(self) -> str:
        """Return kind and label: unique in an estate."""
        return f"{self.kind} {self.label}"

    @cached_property
    def rank(self) -> tuple[Any, ...]:
        """Return what orders all policies of an estate."""
        return (TIERS.index(self.tier), self.order, self.name, self.namespace, self.kind)

    def selects(self, side: Side) -> bool:
        """Say whether the policy's subject includes this side."""
        return side.pod is not None and not self.subject.mismatch(side)

    def every_rule(self) -> Iterable[Rule]:
        """Yield the rules of both directions."""
        return (rule for rules in self.rules.values() for rule in rules)
