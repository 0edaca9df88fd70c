"""ClusterNetworkPolicies compiled: ordered rules with an action, before or after NetworkPolicy.

Source: the comments of policy.networking.k8s.io/v1alpha2 (KEP-2091). The tiers are asked in
the order Admin, NetworkPolicy, Baseline; within one, policies by priority (lower first, equal
ones by name) and their rules as written. The first rule that matches decides: Accept and
Deny are final, Pass goes on to the next tier, as does a tier without any match.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.errors import ManifestError, UsageError
from k8slab.objects import meta, selectors
from k8slab.policy.rules import (
    EGRESS,
    INGRESS,
    PROTOCOLS,
    BlockPeer,
    Peer,
    PodPeer,
    PortMatch,
    Rule,
    read_network,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from k8slab.objects.meta import Object
    from k8slab.policy.rules import Pod

KIND = "ClusterNetworkPolicy"
ADMIN, BASELINE = "Admin", "Baseline"
ACCEPT, DENY, PASS = "Accept", "Deny", "Pass"


@dataclass(frozen=True, slots=True)
class ClusterPolicy:
    """One ClusterNetworkPolicy; `rules` has each direction's actions and rules in order."""

    key: str
    tier: str
    priority: int
    subject: PodPeer
    rules: Mapping[str, tuple[tuple[str, Rule], ...]]

    def selects(self, pod: Pod) -> bool:
        """Say whether the policy's subject includes this pod."""
        return not pod.host_network and not self.subject.mismatch(Peer(pod.key, (), pod))


def compile_cluster_policies(objects: Iterable[Object]) -> tuple[ClusterPolicy, ...]:
    """Compile and order all ClusterNetworkPolicies; raises `ManifestError`."""
    found = [_compile(obj) for obj in objects]
    return tuple(sorted(found, key=lambda policy: (policy.tier, policy.priority, policy.key)))


def first_match(
    policies: Iterable[ClusterPolicy], direction: str, ask: tuple[Peer, int, str, Pod | None]
) -> tuple[str, str]:
    """Return the action of the first rule that matches, and where it stands; empty for none."""
    for policy in policies:
        for number, (action, rule) in enumerate(policy.rules[direction], 1):
            if not rule.mismatch(*ask):
                return action, f"{direction} rule {number} of {policy.tier} policy {policy.key}"
    return "", ""


def _compile(obj: Object) -> ClusterPolicy:
    name = meta.name_of(obj)
    try:
        spec = obj["spec"]
        rules = {
            direction: tuple(
                (_one_of((ACCEPT, DENY, PASS), rule["action"]), _rule(rule, rule[peers]))
                for rule in spec.get(direction) or ()
            )
            for direction, peers in ((INGRESS, "from"), (EGRESS, "to"))
        }
        tier = _one_of((ADMIN, BASELINE), spec["tier"])
        return ClusterPolicy(name, tier, int(spec["priority"]), _pods(spec["subject"]), rules)
    except (UsageError, AttributeError, TypeError, KeyError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ManifestError(why, place=f"{KIND} {name}") from error


def _one_of(words: tuple[str, ...], word: str) -> str:
    if word not in words:
        raise UsageError(f"{word!r} is not one of {', '.join(words)}")
    return word


def _rule(rule: Mapping[str, Any], peers: Iterable[Mapping[str, Any]]) -> Rule:
    found: list[PodPeer | BlockPeer] = []
    for peer in peers:
        if networks := peer.get("networks"):
            found += [BlockPeer(read_network(cidr), (), pods_too=True) for cidr in networks]
        else:
            found.append(_pods(peer))
    ports = [match for entry in rule.get("protocols") or () for match in _ports(entry)]
    return Rule(tuple(found), tuple(ports) or None)


def _ports(entry: Mapping[str, Any]) -> list[PortMatch]:
    if name := entry.get("destinationNamedPort"):
        return [PortMatch(protocol, name) for protocol in PROTOCOLS]
    ((protocol, body),) = entry.items()
    port = body["destinationPort"]
    if number := port.get("number"):
        return [PortMatch(protocol.upper(), number)]
    return [PortMatch(protocol.upper(), port["range"]["start"], port["range"]["end"])]


def _pods(selecting: Mapping[str, Any]) -> PodPeer:
    if "namespaces" in selecting:
        namespaces, pods = selecting["namespaces"], {}
    elif "pods" in selecting:
        namespaces = selecting["pods"].get("namespaceSelector")
        pods = selecting["pods"].get("podSelector")
    else:
        known = ", ".join(selecting) or "nothing"
        raise UsageError(f"only namespaces, pods and networks are understood, not {known}")
    return PodPeer("", selectors.from_object(namespaces or {}), selectors.from_object(pods or {}))
