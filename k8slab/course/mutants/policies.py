"""Policies with one mistake: what people forget, and what they confuse.

Each function takes a policy and yields pairs of what was changed, in words, and the changed
policy. NetworkPolicy (networking.k8s.io/v1) and ClusterNetworkPolicy (v1alpha2) write the
same things under different keys; selectors and ranges are the same in both.
"""

from __future__ import annotations

import ipaddress
from itertools import combinations
from typing import TYPE_CHECKING, Any

from k8slab.course.mutants.edits import Path, at, cut, put, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.course.mutants.known import Known
    from k8slab.objects.meta import Object

OPERATORS = {"In": "NotIn", "NotIn": "In", "Exists": "DoesNotExist", "DoesNotExist": "Exists"}
PROTOCOLS = {"TCP": "UDP", "UDP": "TCP", "SCTP": "TCP"}
SIDES = (("ingress", "from"), ("egress", "to"))
ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


def spoil_network_policy(policy: Object, known: Known) -> Iterator[tuple[str, Object]]:
    """Yield NetworkPolicies that differ from `policy` in one place."""
    yield from _types(policy)
    yield from _selector(policy, ("spec", "podSelector"), known)
    for direction, side in SIDES:
        path: Path = ("spec", direction)
        for number in range(len(at(policy, path) or ())):
            yield f"{words((*path, number))} dropped", cut(policy, (*path, number))
            yield from _peers(policy, (*path, number, side), known)
            yield from _ports(policy, (*path, number, "ports"), known)
    if other := known.other_namespace(at(policy, ("metadata", "namespace")) or ""):
        yield f"in namespace {other}", put(policy, ("metadata", "namespace"), other)


def _types(policy: Object) -> Iterator[tuple[str, Object]]:
    """Change in which directions the policy isolates; left out means a default (see `policy`)."""
    path: Path = ("spec", "policyTypes")
    default = ["Ingress", "Egress"] if at(policy, ("spec", "egress")) else ["Ingress"]
    now = at(policy, path) or default
    for types in (["Ingress"], ["Egress"], ["Ingress", "Egress"]):
        if set(types) != set(now):
            yield f"policyTypes {' and '.join(types)}", put(policy, path, types)
    if at(policy, path) and set(now) != set(default):
        yield "policyTypes left out", cut(policy, path)


def _selector(obj: Object, path: Path, known: Known) -> Iterator[tuple[str, Object]]:
    """Change a label selector: a condition dropped, another value, another operator."""
    labels = at(obj, (*path, "matchLabels")) or {}
    expressions = at(obj, (*path, "matchExpressions")) or []
    name = words(path)
    for key, value in labels.items():
        place = (*path, "matchLabels", key)
        other = known.other_label(key, value)
        yield f"{name} without {key}", cut(obj, place)
        yield f"{name} {key}={value} -> {other}", put(obj, place, other)
    for number, found in enumerate(expressions):
        place = (*path, "matchExpressions", number)
        key, operator = found.get("key"), found.get("operator")
        yield f"{name} without {key} {operator}", cut(obj, place)
        if operator in OPERATORS:
            turned = OPERATORS[operator]
            yield f"{name} {key} {operator} -> {turned}", put(obj, (*place, "operator"), turned)
        values = found.get("values") or []
        for index, value in enumerate(values if len(values) > 1 else ()):
            yield f"{name} {key} {operator} without {value}", cut(obj, (*place, "values", index))
    if len(labels) + len(expressions) > 1:
        yield f"{name} emptied", put(obj, path, {})


def _peers(policy: Object, path: Path, known: Known) -> Iterator[tuple[str, Object]]:
    peers = at(policy, path) or []
    if not peers:
        return
    yield f"{words(path)} emptied: everybody", put(policy, path, [])
    for number, peer in enumerate(peers):
        place = (*path, number)
        if len(peers) > 1:
            yield f"{words(place)} dropped", cut(policy, place)
        yield from _and_or(policy, path, number)
        if "ipBlock" in peer:
            yield from _block(policy, (*place, "ipBlock"))
        for key in ("namespaceSelector", "podSelector"):
            if key in peer:
                yield from _selector(policy, (*place, key), known)
    for one, other in combinations(range(len(peers)), 2):
        parts = (peers[one], peers[other])
        if sorted(key for part in parts for key in part) == ["namespaceSelector", "podSelector"]:
            rest = [peer for n, peer in enumerate(peers) if n not in (one, other)]
            joined = [*rest, {**parts[0], **parts[1]}]
            name = f"{words((*path, one))} and [{other}] joined (or -> and)"
            yield name, put(policy, path, joined)


def _and_or(policy: Object, path: Path, number: int) -> Iterator[tuple[str, Object]]:
    """Change how pods and namespaces of one peer go together."""
    peers = at(policy, path)
    peer, place = peers[number], (*path, number)
    if "namespaceSelector" in peer and "podSelector" in peer:
        parts = [{key: peer[key]} for key in ("namespaceSelector", "podSelector")]
        name = f"{words(place)} split (and -> or)"
        yield name, put(policy, path, [*peers[:number], *parts, *peers[number + 1 :]])
        for key in ("namespaceSelector", "podSelector"):
            yield f"{words((*place, key))} dropped", cut(policy, (*place, key))
    elif "podSelector" in peer:
        name = f"{words(place)} in every namespace"
        yield name, put(policy, (*place, "namespaceSelector"), {})


def _block(policy: Object, path: Path) -> Iterator[tuple[str, Object]]:
    """Change an address range: exceptions dropped, one bit wider or narrower, everywhere."""
    block = at(policy, path)
    for number, part in enumerate(block.get("except") or ()):
        yield f"{words(path)} without except {part}", cut(policy, (*path, "except", number))
    for cidr in _other_ranges(block["cidr"]):
        kept = [part for part in block.get("except") or () if _inside(part, cidr)]
        new = {"cidr": cidr, **({"except": kept} if kept else {})}
        yield f"{words(path)} {block['cidr']} -> {cidr}", put(policy, path, new)


def _other_ranges(text: str) -> list[str]:
    block = ipaddress.ip_network(text, strict=False)
    found = [ANYWHERE[block.version]]
    if block.prefixlen:
        found.append(str(block.supernet()))
    if block.prefixlen < block.max_prefixlen:
        found.append(str(next(block.subnets())))
    return [cidr for cidr in dict.fromkeys(found) if cidr != str(block)]


def _inside(part: str, whole: str) -> bool:
    one, other = ipaddress.ip_network(part, strict=False), ipaddress.ip_network(whole)
    return one != other and one.subnet_of(other)  # type: ignore[arg-type]


def _ports(policy: Object, path: Path, known: Known) -> Iterator[tuple[str, Object]]:
    ports = at(policy, path) or []
    if not ports:
        return
    yield f"{words(path)} emptied: all ports", put(policy, path, [])
    for number, entry in enumerate(ports):
        place = (*path, number)
        told = f"{entry.get('port', 'any')}/{entry.get('protocol', 'TCP')}"
        if len(ports) > 1:
            yield f"{words(place)} {told} dropped", cut(policy, place)
        for other in _other_ports(entry, known):
            yield f"{words(place)} {told} -> {other}", put(policy, (*place, "port"), other)
        turned = PROTOCOLS[entry.get("protocol", "TCP")]
        yield f"{words(place)} {told} -> {turned}", put(policy, (*place, "protocol"), turned)
        if "endPort" in entry:
            yield f"{words(place)} without endPort", cut(policy, (*place, "endPort"))


def _other_ports(entry: dict[str, Any], known: Known) -> list[int | str]:
    port = entry.get("port")
    if port is None:
        return []
    if isinstance(port, str):
        return [f"{port[:13]}-x"]
    if "endPort" in entry:
        return [port + 1] if port < entry["endPort"] else []
    found: list[int | str] = [port + 1]
    if port in known.service_ports:
        found.append(known.service_ports[port])
    return found


# ClusterNetworkPolicy: tier, priority, subject; rules with an action, peers and protocols.

TIERS = {"Admin": "Baseline", "Baseline": "Admin"}
ACTIONS = ("Accept", "Deny", "Pass")


def spoil_cluster_policy(policy: Object, known: Known) -> Iterator[tuple[str, Object]]:
    """Yield ClusterNetworkPolicies that differ from `policy` in one place."""
    tier = at(policy, ("spec", "tier"))
    if tier in TIERS:
        yield f"tier {tier} -> {TIERS[tier]}", put(policy, ("spec", "tier"), TIERS[tier])
    yield from _chosen(policy, ("spec", "subject"), known)
    for direction, side in SIDES:
        path: Path = ("spec", direction)
        for number, rule in enumerate(at(policy, path) or ()):
            place = (*path, number)
            yield f"{words(place)} dropped", cut(policy, place)
            for action in ACTIONS:
                if action != rule.get("action"):
                    yield f"{words(place)} {action}", put(policy, (*place, "action"), action)
            yield from _cluster_peers(policy, (*place, side), known)
            yield from _cluster_ports(policy, (*place, "protocols"))


def _chosen(policy: Object, path: Path, known: Known) -> Iterator[tuple[str, Object]]:
    """Change whom a subject or a peer chooses: ``namespaces``, or ``pods`` with two selectors."""
    found = at(policy, path) or {}
    if "namespaces" in found:
        yield from _selector(policy, (*path, "namespaces"), known)
    if "pods" in found:
        for key in ("namespaceSelector", "podSelector"):
            yield from _selector(policy, (*path, "pods", key), known)
        whole = {"namespaces": found["pods"].get("namespaceSelector") or {}}
        yield f"{words(path)} whole namespaces", put(policy, path, whole)


def _cluster_peers(policy: Object, path: Path, known: Known) -> Iterator[tuple[str, Object]]:
    peers = at(policy, path) or []
    for number, peer in enumerate(peers):
        place = (*path, number)
        if len(peers) > 1:
            yield f"{words(place)} dropped", cut(policy, place)
        yield from _chosen(policy, place, known)
        for index, cidr in enumerate(peer.get("networks") or ()):
            for other in _other_ranges(cidr):
                name = f"{words(place)} {cidr} -> {other}"
                yield name, put(policy, (*place, "networks", index), other)


def _cluster_ports(policy: Object, path: Path) -> Iterator[tuple[str, Object]]:
    entries = at(policy, path) or []
    if entries:
        yield f"{words(path)} left out: all ports", cut(policy, path)
    for number, entry in enumerate(entries):
        place = (*path, number)
        if len(entries) > 1:
            yield f"{words(place)} dropped", cut(policy, place)
        for protocol, body in entry.items():
            port = at(body, ("destinationPort", "number"))
            if isinstance(port, int):
                there = (*place, protocol, "destinationPort", "number")
                yield f"{words(place)} {port} -> {port + 1}", put(policy, there, port + 1)
            if protocol in ("tcp", "udp"):
                turned = "udp" if protocol == "tcp" else "tcp"
                yield f"{words(place)} {protocol} -> {turned}", put(policy, place, {turned: body})
