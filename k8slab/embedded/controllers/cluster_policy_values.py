"""From ClusterNetworkPolicy objects (policy.networking.k8s.io/v1alpha2) to compiled policies; pure.

What differs from NetworkPolicy, by the API's own comments: the policy has no namespace, its
subject and peers select pods across namespaces (never those on the host's network); rules
have an order and an action; a section without rules decides nothing; protocols without an
entry are every packet, ICMP included; a named port is meant in every protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.controllers.policy_values import Peer, Policy, Rule
from k8slab.embedded.network.model import Block, PortRange
from k8slab.objects import selectors
from k8slab.objects.meta import name_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8slab.embedded.network.model import Action, Direction, Protocol, Tier
    from k8slab.objects.meta import Object

RESOURCE = "clusternetworkpolicies.policy.networking.k8s.io"
_TIERS: Mapping[str, Tier] = {"Admin": "admin", "Baseline": "baseline"}
_ACTIONS: Mapping[str, Action] = {"Accept": "accept", "Deny": "deny", "Pass": "pass"}
_PROTOCOLS: Mapping[str, Protocol] = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP"}


def read_cluster_policy(policy: Object) -> Policy:
    """Compile the selectors and ports of a ClusterNetworkPolicy object."""
    spec = policy["spec"]
    sections: list[tuple[Direction, tuple[Rule, ...]]] = []
    if rules := spec.get("ingress"):
        sections.append(("ingress", tuple(_rule(rule, rule["from"]) for rule in rules)))
    if rules := spec.get("egress"):
        sections.append(("egress", tuple(_rule(rule, rule["to"]) for rule in rules)))
    return Policy(
        name_of(policy),
        _pods(spec["subject"]),
        tuple(sections),
        tier=_TIERS[spec["tier"]],
        priority=spec["priority"],
    )


def _rule(rule: Object, peers: list[Object]) -> Rule:
    selecting = tuple(_pods(peer) for peer in peers if "networks" not in peer)
    networks = [cidr for peer in peers for cidr in peer.get("networks") or ()]
    numbers: list[PortRange] = []
    names: list[tuple[Protocol, str]] = []
    for entry in rule.get("protocols") or ():
        if name := entry.get("destinationNamedPort"):
            names += [(protocol, name) for protocol in _PROTOCOLS.values()]
        for word, protocol in _PROTOCOLS.items():
            if body := entry.get(word):
                numbers.append(_ports(protocol, body["destinationPort"]))
    every = not numbers and not names
    return Rule(
        selecting,
        tuple(Block(cidr) for cidr in networks) or None,
        None if every else tuple(numbers),
        tuple(names),
        action=_ACTIONS[rule["action"]],
    )


def _ports(protocol: Protocol, port: Object) -> PortRange:
    if number := port.get("number"):
        return PortRange(protocol, number, number)
    return PortRange(protocol, port["range"]["start"], port["range"]["end"])


def _pods(selecting: Object) -> Peer:
    """Return the pods of a subject or a peer: ``namespaces``, or ``pods``."""
    if "namespaces" in selecting:
        namespaces, pods = selecting["namespaces"], {}
    else:
        namespaces = selecting["pods"].get("namespaceSelector")
        pods = selecting["pods"].get("podSelector")
    return Peer(
        "",
        selectors.from_object(namespaces or {}) or selectors.EVERYTHING,
        selectors.from_object(pods or {}) or selectors.EVERYTHING,
    )
