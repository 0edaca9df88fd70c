"""Read ClusterNetworkPolicies: ordered rules with an action, before or after NetworkPolicy.

Source: the comments of policy.networking.k8s.io/v1alpha2 (KEP-2091). The tiers are asked in
the order Admin, NetworkPolicy, Baseline; within one, policies by priority (lower first, equal
ones by name) and their rules as written. The first rule that matches decides: Accept and
Deny are final, Pass goes on to the next tier, as does a tier without any match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab.errors import UsageError
from k8slab.objects import meta
from k8slab.policy import fields
from k8slab.policy.model import (
    ACCEPT,
    ADMIN,
    BASELINE,
    DENY,
    EGRESS,
    INGRESS,
    PASS,
    BlockPeer,
    PodPeer,
    Policy,
    PortMatch,
    Rule,
)
from k8slab.policy.ports import WITH_PORTS

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

KIND = "ClusterNetworkPolicy"
_SPEC = frozenset({"tier", "priority", "subject", "ingress", "egress"})
_RULE = {
    INGRESS: frozenset({"name", "action", "from", "protocols"}),
    EGRESS: frozenset({"name", "action", "to", "protocols"}),
}
_PROTOCOLS = {protocol.lower(): protocol for protocol in WITH_PORTS}
_PORT = frozenset({*_PROTOCOLS, "destinationNamedPort"})


def read(obj: Object, manifest: Any = None) -> Policy:
    """Compile a ClusterNetworkPolicy; raises `UsageError` that names the field."""
    name, spec = meta.name_of(obj), fields.mapping(obj.get("spec"), "spec", _SPEC)
    keys: list[str] = []
    rules = {
        direction: tuple(
            _rule(entry, Rule(f"{KIND} {name}", direction, number), keys)
            for number, entry in enumerate(fields.items(spec[direction], f"spec.{direction}"))
        )
        for direction in (INGRESS, EGRESS)
        if spec.get(direction)
    }
    priority = spec.get("priority")
    if not isinstance(priority, int) or isinstance(priority, bool) or not 0 <= priority <= 1000:
        raise UsageError(f"spec.priority: {priority!r:.60} is not between 0 and 1000")
    tier = fields.one_of(spec.get("tier"), "spec.tier", (ADMIN, BASELINE))
    subject = _pods(spec.get("subject"), "spec.subject", keys)
    return Policy(KIND, "", name, subject, rules, tier, priority, manifest, frozenset(keys), spec)


def _rule(entry: Any, at: Rule, keys: list[str]) -> Rule:
    found = fields.mapping(entry, at.path, _RULE[at.direction])
    action = fields.one_of(found.get("action"), f"{at.path}.action", (ACCEPT, DENY, PASS))
    side = "from" if at.direction == INGRESS else "to"
    peers: list[PodPeer | BlockPeer] = []
    for number, peer in enumerate(fields.items(found.get(side), f"{at.path}.{side}")):
        peers += _peers(peer, f"{at.path}.{side}[{number}]", keys)
    if not peers:
        raise UsageError(f"{at.path}.{side}: a rule needs at least one peer")
    place = f"{at.path}.protocols"
    entries = fields.items(found.get("protocols"), place)
    ports = [match for n, each in enumerate(entries) for match in _ports(each, f"{place}[{n}]")]
    return Rule(at.policy, at.direction, at.index, action, tuple(peers), tuple(ports) or None)


def _peers(peer: Any, path: str, keys: list[str]) -> list[PodPeer | BlockPeer]:
    if isinstance(peer, dict) and peer.get("networks"):
        fields.mapping(peer, path, ("networks",))
        cidrs = fields.items(peer["networks"], f"{path}.networks")
        return [
            BlockPeer(cidr, fields.cidr(cidr, f"{path}.networks[{number}]"))
            for number, cidr in enumerate(cidrs)
        ]
    return [_pods(peer, path, keys)]


def _pods(selecting: Any, path: str, keys: list[str]) -> PodPeer:
    known = selecting if isinstance(selecting, dict) else {}
    if len(known) != 1 or not known.keys() <= {"namespaces", "pods"}:
        given = ", ".join(map(str, known)) or "nothing"
        raise UsageError(f"{path}: only namespaces, pods and networks are understood, not {given}")
    namespaces, pods = known.get("namespaces"), None
    if "pods" in known:
        both = fields.mapping(known["pods"], f"{path}.pods", ("namespaceSelector", "podSelector"))
        namespaces, pods = both.get("namespaceSelector"), both.get("podSelector")
    chosen = fields.label_selector(pods, f"{path}.pods.podSelector")
    keys += chosen.keys()
    return PodPeer("", fields.label_selector(namespaces, f"{path} (namespaces)"), chosen)


def _ports(entry: Any, path: str) -> list[PortMatch]:
    found = fields.mapping(entry, path, _PORT)
    if len(found) != 1:
        raise UsageError(f"{path}: exactly one of {', '.join(sorted(_PORT))} is needed")
    ((protocol, body),) = found.items()
    if protocol == "destinationNamedPort":
        name = fields.text(body, f"{path}.destinationNamedPort")
        return [PortMatch(each, name) for each in WITH_PORTS]
    place = f"{path}.{protocol}.destinationPort"
    body = fields.mapping(body, f"{path}.{protocol}", ("destinationPort",))
    port = fields.mapping(body.get("destinationPort"), place, ("number", "range"))
    if "number" in port:
        return [PortMatch(_PROTOCOLS[protocol], fields.port_number(port["number"], place))]
    span = fields.mapping(port.get("range"), f"{place}.range", ("start", "end"))
    first = fields.port_number(span.get("start"), f"{place}.range.start")
    last = fields.port_number(span.get("end"), f"{place}.range.end")
    if last < first:
        raise UsageError(f"{place}.range: the end {last} is below the start {first}")
    return [PortMatch(_PROTOCOLS[protocol], first, last)]
