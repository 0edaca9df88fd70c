"""Suggest the least policies that admit observed flows and nothing else.

For each namespace that takes part one policy denies both directions for every pod (and
admits DNS, without which no flow begins), and for each workload that takes part one policy
admits what was seen. Pods are selected by the fewest labels that tell the workload from its
neighbours, and peers outside by the fewest address ranges that hold exactly the addresses
that were seen. The engine itself then judges the result: what was seen must be allowed, and
whatever else is allowed, because labels cannot tell workloads apart, is told as `extra`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from k8slab.errors import UsageError
from k8slab.policy import network_policies
from k8slab.policy.addresses import AddressSet
from k8slab.policy.flow import Party
from k8slab.policy.inventory import NAMESPACE_NAME
from k8slab.policy.listing import Connection, Group
from k8slab.policy.ports import PortSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from k8slab.objects.meta import Object
    from k8slab.policy.estate import Estate
    from k8slab.policy.flow import Flow
    from k8slab.policy.parties import Place

DNS_NAMESPACE = "kube-system"
DNS_LABELS = {"k8s-app": "kube-dns"}
DNS_PORTS = PortSet.of("UDP", 53) | PortSet.of("TCP", 53)

PASSING = (
    "pod-template-hash", "controller-revision-hash", "pod-template-generation",
    "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index", "job-name",
    "batch.kubernetes.io/job-name", "controller-uid", "batch.kubernetes.io/controller-uid",
)  # fmt: skip
"""Labels that controllers give to pods and that change with them: no policy should name them."""

PREFERRED = ("app.kubernetes.io/name", "app", "k8s-app", "name", "component")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Policies to apply, and how they compare with what was observed."""

    policies: tuple[Object, ...]
    extra: tuple[Connection, ...] = ()
    """What is allowed besides the flows, with the ports that nobody asked for."""
    missing: tuple[Flow, ...] = ()
    """Flows that stay denied: by policies of other tiers, or since nobody can select their pods."""

    @property
    def exact(self) -> bool:
        """Say whether the policies admit exactly the flows (and DNS)."""
        return not self.extra and not self.missing


def suggest(estate: Estate, flows: Iterable[Flow], *, dns: bool = True) -> Suggestion:
    """Return policies that admit the flows; raises `UsageError` for parties nobody knows.

    Flows name pods, workloads, Services or addresses. The namespaces of their pods are meant
    (never kube-system, whose pods serve all others); their present NetworkPolicies are
    thought away, and cluster-wide policies stay.
    """
    seen = list(flows)
    wanted = _Wanted.of(estate, seen)
    spaces = {party.namespace for party in wanted.parties()} - {DNS_NAMESPACE}
    if not spaces:
        raise UsageError(
            "no pod takes part in these flows", hint="a flow names a pod or a workload"
        )
    chooser = _Chooser(estate)
    objects = [_base(namespace, dns=dns) for namespace in sorted(spaces)]
    objects += [
        _policy(party, wanted, chooser)
        for party in sorted(wanted.parties())
        if party.namespace in spaces
    ]
    return _judged(estate, tuple(objects), wanted, seen)


Peer = Party | int
"""A workload, or the number of an address."""


@dataclass(frozen=True)
class _Wanted:
    into: dict[Party, dict[Peer, PortSet]]
    out: dict[Party, dict[Peer, PortSet]]

    @classmethod
    def of(cls, estate: Estate, flows: Iterable[Flow]) -> _Wanted:
        found = cls(defaultdict(dict), defaultdict(dict))
        for flow in flows:
            for leg in estate.parties.legs(flow):
                for mine, place, port, table in (
                    (leg.source, leg.towards, leg.asked, found.out),
                    (leg.destination, leg.seen, leg.port, found.into),
                ):
                    ports = PortSet.of(flow.protocol, port)
                    if mine.side.pod is not None:
                        assert mine.side.pod.workload is not None
                        peers = table[mine.side.pod.workload]
                        for peer in _peers(place):
                            peers[peer] = peers.get(peer, PortSet()) | ports
        return found

    def parties(self) -> set[Party]:
        return {*self.into, *self.out}


def _peers(place: Place) -> Iterator[Peer]:
    if place.side.pod is not None:
        assert place.side.pod.workload is not None
        yield place.side.pod.workload
    else:
        yield from place.side.addresses


class _Chooser:
    """Finds the fewest labels that select a workload's pods and no others of its namespace."""

    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        self.known: dict[Party, dict[str, str]] = {}
        self.pods: dict[str, list[Any]] = defaultdict(list)
        for pod in estate.pods.values():
            if not pod.host_network:
                self.pods[pod.namespace].append(pod)

    def labels(self, party: Party) -> dict[str, str]:
        if party not in self.known:
            self.known[party] = self._find(party)
        return self.known[party]

    def _find(self, party: Party) -> dict[str, str]:
        mine = [self.estate.pods[key] for key in self.estate.workloads[party]]
        keys = {pod.key for pod in mine}
        common = set.intersection(*(set(pod.labels.items()) for pod in mine))
        common = {(key, value) for key, value in common if key not in PASSING}
        order = {key: number for number, key in enumerate(PREFERRED)}
        ranked = sorted(common, key=lambda item: (order.get(item[0], len(order)), item))[:10]
        others = [pod for pod in self.pods[party.namespace] if pod.key not in keys]
        for size in range(1, min(4, len(ranked) + 1)):
            for chosen in combinations(ranked, size):
                if not any(set(chosen) <= set(pod.labels.items()) for pod in others):
                    return dict(chosen)
        return dict(sorted(common))


def _object(namespace: str, name: str, spec: Object) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": network_policies.KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def _base(namespace: str, *, dns: bool) -> Object:
    spec: Object = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    if dns:
        peer = {
            "namespaceSelector": {"matchLabels": {NAMESPACE_NAME: DNS_NAMESPACE}},
            "podSelector": {"matchLabels": DNS_LABELS},
        }
        spec["egress"] = [{"to": [peer], "ports": _ports(DNS_PORTS)}]
    return _object(namespace, "default-deny-but-dns" if dns else "default-deny", spec)


def _policy(party: Party, wanted: _Wanted, chooser: _Chooser) -> Object:
    spec: Object = {"podSelector": _selector(chooser.labels(party)), "policyTypes": []}
    for word, section, side, table in (
        ("Ingress", "ingress", "from", wanted.into),
        ("Egress", "egress", "to", wanted.out),
    ):
        if party in table:
            spec["policyTypes"].append(word)
            spec[section] = list(_rules(party, table[party], side, chooser))
    kind = "" if party.kind == "pod" else f"{party.kind}-"
    return _object(party.namespace, f"{kind}{party.name}", spec)


def _selector(labels: dict[str, str]) -> Object:
    return {"matchLabels": labels} if labels else {}


def _rules(
    party: Party, peers: dict[Peer, PortSet], side: str, chooser: _Chooser
) -> Iterator[Object]:
    """Yield one rule for each set of ports, with all its peers."""
    by_ports: dict[PortSet, list[Peer]] = defaultdict(list)
    for peer, ports in peers.items():
        by_ports[ports].append(peer)
    for ports, group in sorted(by_ports.items()):
        parties = sorted(peer for peer in group if isinstance(peer, Party))
        entries = [_peer(peer, party.namespace, chooser) for peer in parties]
        outside = AddressSet.union(
            AddressSet.span(peer, peer) for peer in group if isinstance(peer, int)
        )
        entries += [{"ipBlock": {"cidr": cidr}} for cidr in outside.networks()]
        unique = [entry for n, entry in enumerate(entries) if entry not in entries[:n]]
        yield {side: unique, "ports": _ports(ports)}


def _peer(peer: Party, namespace: str, chooser: _Chooser) -> Object:
    found: Object = {"podSelector": _selector(chooser.labels(peer))}
    if peer.namespace != namespace:
        found["namespaceSelector"] = {"matchLabels": {NAMESPACE_NAME: peer.namespace}}
    return found


def _ports(ports: PortSet) -> list[Object]:
    found = []
    for each in ports.ranges():
        entry: Object = {"protocol": each.protocol, "port": each.first}
        found.append(entry if each.first == each.last else {**entry, "endPort": each.last})
    return found


def _judged(
    estate: Estate, objects: tuple[Object, ...], wanted: _Wanted, flows: list[Flow]
) -> Suggestion:
    spaces = {obj["metadata"]["namespace"] for obj in objects}
    gone = [p.key for p in estate.policies if p.namespace in spaces]
    made = estate.replace(*objects, remove=gone)
    extra = []
    for row in made.connections():
        if any(_governed(made, side, spaces) for side in (row.source, row.destination)):
            beyond = row.ports - _allowed(row, wanted, made)
            if beyond:
                extra.append(Connection(row.source, row.destination, beyond))
    missing = tuple(flow for flow in flows if not made.decide(flow).allowed)
    return Suggestion(objects, tuple(extra), missing)


def _governed(estate: Estate, side: Group | AddressSet, spaces: set[str]) -> bool:
    """Say whether policies in these namespaces can decide about the side."""
    if not isinstance(side, Group) or side.namespace not in spaces:
        return False
    return not estate.pods[side.pods[0]].host_network


def _allowed(row: Connection, wanted: _Wanted, estate: Estate) -> PortSet:
    """Return what was asked for between the two sides of a row, and DNS."""
    found = PortSet()
    source, destination = row.source, row.destination
    if isinstance(source, Group):
        found |= _asked(wanted.out.get(source.workload, {}), destination)
        if isinstance(destination, Group) and destination.namespace == DNS_NAMESPACE:
            pod = estate.pods[destination.pods[0]]
            if DNS_LABELS.items() <= pod.labels.items():
                found |= DNS_PORTS
    if isinstance(destination, Group):
        found |= _asked(wanted.into.get(destination.workload, {}), source)
    return found


def _asked(peers: dict[Peer, PortSet], side: Group | AddressSet) -> PortSet:
    if isinstance(side, Group):
        return peers.get(side.workload, PortSet())
    return PortSet.union(
        ports for peer, ports in peers.items() if isinstance(peer, int) and peer in side
    )
