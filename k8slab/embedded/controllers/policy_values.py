"""From NetworkPolicy objects to what the network room enforces; pure.

The rules of networking/v1, with its corner cases, stand in `compile_policy` and below:

- without ``policyTypes`` a policy isolates ingress always, egress if it has egress rules;
  a section that ``policyTypes`` does not list is ignored;
- a missing or empty ``from``/``to`` is everyone, missing or empty ``ports`` is every port;
- an empty selector matches all, a missing one in a peer is "this namespace" or "any pod";
- a named port is a number on each destination pod (ingress: the subject; egress: the peer);
- an ipBlock matches pod addresses too (as Calico does);
- pods on the host's network are neither subjects nor peers; finished pods are left out,
  terminating ones go on being enforced.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from k8slab.embedded.network.model import Block, PolicyDirection, PolicyRule, PortRange
from k8slab.objects import selectors
from k8slab.objects.meta import key_of, labels_of, namespace_of, uid_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from k8slab.embedded.network.model import Action, Direction, Protocol, Tier
    from k8slab.objects.meta import Object
    from k8slab.objects.selectors import Selector


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What policies can see of a pod."""

    uid: str
    namespace: str
    labels: Mapping[str, str]
    addresses: tuple[str, ...]
    ports: tuple[tuple[Protocol, str, int], ...]
    """Named ports: protocol, name, number."""


def pod_facts(pod: Object, addresses: Sequence[str] | None = None) -> PodFacts | None:
    """Return what policies see of a pod, ``None`` for one that they cannot see.

    `addresses` are those known before the pod's status tells them.
    """
    status = pod.get("status") or {}
    if pod["spec"].get("hostNetwork") or status.get("phase") in ("Succeeded", "Failed"):
        return None
    if addresses is None:
        addresses = [entry["ip"] for entry in status.get("podIPs") or ()]
    spec = pod["spec"]
    sidecars = (c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always")
    ports: tuple[tuple[Protocol, str, int], ...] = tuple(
        (port.get("protocol") or "TCP", port["name"], port["containerPort"])
        for container in (*spec["containers"], *sidecars)
        for port in container.get("ports") or ()
        if port.get("name")
    )
    return PodFacts(uid_of(pod), namespace_of(pod), labels_of(pod), tuple(addresses), ports)


class Estate:
    """All pods, by namespace, and the labels of all namespaces."""

    def __init__(self) -> None:
        self._pods: dict[str, dict[str, PodFacts]] = {}
        self.namespaces: dict[str, Mapping[str, str]] = {}

    def put(self, pod: PodFacts) -> None:
        """Add or replace a pod."""
        self._pods.setdefault(pod.namespace, {})[pod.uid] = pod

    def drop(self, namespace: str, uid: str) -> None:
        """Remove a pod, if it is there."""
        self._pods.get(namespace, {}).pop(uid, None)

    def get(self, namespace: str, uid: str) -> PodFacts | None:
        """Return a pod, if it is there."""
        return self._pods.get(namespace, {}).get(uid)

    def pods_in(self, namespace: str) -> Iterable[PodFacts]:
        """Return the pods of a namespace."""
        return self._pods.get(namespace, {}).values()

    def pods(self) -> Iterable[PodFacts]:
        """Return all pods."""
        return (pod for group in self._pods.values() for pod in group.values())


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer that selects pods; `namespace` is set where the peer names no namespaces."""

    namespace: str
    namespaces: Selector | None
    pods: Selector

    def matches(self, pod: PodFacts, labels: Mapping[str, str] | None) -> bool:
        """Say whether the peer selects a pod of a namespace with these labels."""
        if self.namespaces is None:
            return pod.namespace == self.namespace and self.pods.matches(pod.labels)
        return (
            labels is not None and self.namespaces.matches(labels) and self.pods.matches(pod.labels)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of ``ingress`` or ``egress``; `peers` and `blocks` both ``None`` is everyone."""

    peers: tuple[Peer, ...] | None
    blocks: tuple[Block, ...] | None
    ports: tuple[PortRange, ...] | None
    names: tuple[tuple[Protocol, str], ...]
    """Named ports: protocol, name."""
    action: Action = "accept"


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy, its selectors compiled."""

    key: str
    subjects: Peer
    sections: tuple[tuple[Direction, tuple[Rule, ...]], ...]
    tier: Tier = "network"
    priority: int = 0

    def concerns(self, pod: PodFacts, estate: Estate) -> bool:
        """Say whether anything of the policy could depend on a pod."""
        labels = estate.namespaces.get(pod.namespace)
        if self.subjects.matches(pod, labels):
            return True
        for direction, rules in self.sections:
            for rule in rules:
                if rule.peers is not None and any(p.matches(pod, labels) for p in rule.peers):
                    return True
                by_name = rule.names and direction == "egress"
                if by_name and (rule.blocks is not None or rule.peers is None):
                    return True
        return False

    def depends_on_namespaces(self) -> bool:
        """Say whether namespaces are selected by their labels."""
        return self.subjects.namespaces is not None or any(
            peer.namespaces is not None
            for _, rules in self.sections
            for rule in rules
            for peer in rule.peers or ()
        )


def read_policy(policy: Object) -> Policy:
    """Compile the selectors and ports of a NetworkPolicy object."""
    spec = policy.get("spec") or {}
    namespace = namespace_of(policy)
    sections: list[tuple[Direction, tuple[Rule, ...]]] = []
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    if "Ingress" in types:
        rules = (_read_rule(r, r.get("from"), namespace) for r in spec.get("ingress") or ())
        sections.append(("ingress", tuple(rules)))
    if "Egress" in types:
        rules = (_read_rule(r, r.get("to"), namespace) for r in spec.get("egress") or ())
        sections.append(("egress", tuple(rules)))
    subjects = selectors.from_object(spec.get("podSelector") or {}) or selectors.EVERYTHING
    return Policy(key_of(policy), Peer(namespace, None, subjects), tuple(sections))


def compile_policy(policy: Policy, estate: Estate) -> tuple[PolicyDirection, ...]:
    """Resolve a policy to addresses: one value for each direction that it decides."""
    subjects = _peers([policy.subjects], estate)
    return tuple(
        PolicyDirection(
            policy=policy.key,
            direction=direction,
            tier=policy.tier,
            priority=policy.priority,
            subjects=frozenset(pod.uid for pod in subjects),
            rules=tuple(_resolve(rule, direction, subjects, estate) for rule in rules),
        )
        for direction, rules in policy.sections
    )


def _read_rule(rule: Object, peers: Sequence[Object] | None, namespace: str) -> Rule:
    selecting: tuple[Peer, ...] | None = None
    blocks: tuple[Block, ...] | None = None
    if peers:
        selecting = tuple(_read_peer(p, namespace) for p in peers if not p.get("ipBlock"))
        found = [p["ipBlock"] for p in peers if p.get("ipBlock")]
        blocks = tuple(Block(b["cidr"], tuple(b.get("except") or ())) for b in found) or None
    numbers: list[PortRange] = []
    names: list[tuple[Protocol, str]] = []
    for port in rule.get("ports") or ():
        protocol: Protocol = port.get("protocol") or "TCP"
        value = port.get("port")
        if isinstance(value, str) and not value.isdigit():
            names.append((protocol, value))
        elif value is None:
            numbers.append(PortRange(protocol))
        else:
            first = int(value)
            numbers.append(PortRange(protocol, first, int(port.get("endPort") or first)))
    every = not numbers and not names
    return Rule(selecting, blocks, None if every else tuple(numbers), tuple(names))


def _read_peer(peer: Object, namespace: str) -> Peer:
    pods = selectors.from_object(peer.get("podSelector"))
    namespaces = selectors.from_object(peer.get("namespaceSelector"))
    return Peer(namespace, namespaces, selectors.EVERYTHING if pods is None else pods)


def _resolve(
    rule: Rule, direction: Direction, subjects: Sequence[PodFacts], estate: Estate
) -> PolicyRule:
    everyone = rule.peers is None
    peers = [] if everyone else _peers(rule.peers or (), estate)
    named = None
    if rule.names:
        destinations: Iterable[PodFacts] = subjects
        if direction == "egress":
            destinations = estate.pods() if everyone else [*peers, *_inside(rule.blocks, estate)]
        named = frozenset(_named(rule.names, destinations))
    addresses = frozenset(address for pod in peers for address in pod.addresses)
    # The network reads "no numbers, but names" as an empty tuple beside `named`.
    return PolicyRule(
        action=rule.action,
        addresses=None if everyone else addresses,
        blocks=rule.blocks,
        ports=rule.ports,
        named=named,
    )


def _peers(peers: Iterable[Peer], estate: Estate) -> list[PodFacts]:
    found: dict[str, PodFacts] = {}
    for peer in peers:
        if peer.namespaces is None:
            candidates = estate.pods_in(peer.namespace)
        else:
            candidates = (
                pod
                for name, labels in estate.namespaces.items()
                if peer.namespaces.matches(labels)
                for pod in estate.pods_in(name)
            )
        found.update((pod.uid, pod) for pod in candidates if peer.pods.matches(pod.labels))
    return list(found.values())


def _inside(blocks: Sequence[Block] | None, estate: Estate) -> Iterable[PodFacts]:
    """Return the pods whose address lies in one of the blocks."""
    ranges = [
        (ip_network(b.cidr, strict=False), [ip_network(e, strict=False) for e in b.excepts])
        for b in blocks or ()
    ]
    for pod in estate.pods() if ranges else ():
        for address in map(ip_address, pod.addresses):
            if any(
                address in whole and not any(address in part for part in excepts)
                for whole, excepts in ranges
            ):
                yield pod
                break


def _named(
    names: Iterable[tuple[Protocol, str]], pods: Iterable[PodFacts]
) -> Iterable[tuple[Protocol, str, int]]:
    wanted = set(names)
    for pod in pods:
        for protocol, name, number in pod.ports:
            if (protocol, name) in wanted:
                for address in pod.addresses:
                    yield protocol, address, number
