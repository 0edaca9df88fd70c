"""NetworkPolicy and ClusterNetworkPolicy on one node: the text of the rules.

A new connection from a pod passes the three tiers of egress, one to a pod those of ingress.
Each direction has a hook of its own, so that accepting ends one and not the other. Each tier
looks the pod up by its interface, in a map of its own, and jumps to the chains of the policies
that select the pod, in their order:

    egress-admin      from-pod-admin      accept; deny: dropped; pass: next tier
    egress            from-pod            NetworkPolicy: accepted by a rule, or dropped
    egress-baseline   from-pod-baseline   accept, deny; nothing matched or pass: accepted
    ingress-admin ... the same with to-pod

A pod that no policy selects in a tier is not in that tier's map, and what an admin or
baseline policy does not match goes on to the next tier (KEP-2091, ClusterNetworkPolicy
v1alpha2). What is dropped is reported first (NFLOG).

(The kernel follows every jump before it takes a change, older ones once for each way that
leads there: were ingress asked by the rules that accept egress, 500 policies of each would
have it follow 250,000 ways.)

What belongs to a connection that was accepted before passes first: like Calico, a new policy
does not cut an established connection. The node's own traffic to a pod leaves through the
output hook, where nothing is asked. The forward hook comes after the destination rewrite, so
a policy sees the pod and its own port, never a Service.

Policies know pods by their addresses, so a pod must not send with another's: what comes in by a
pod's link with a source that is not routed to that link is dropped before anything else looks at
it, connection tracking included (the reverse path check, RFC 3704, 2.1, which Calico's Felix
writes into its raw tables for both families).
"""

from __future__ import annotations

from ipaddress import collapse_addresses, ip_network
from typing import TYPE_CHECKING, Any

from k8slab.embedded.network.calico import INTERFACE_PREFIX
from k8slab.embedded.network.ruleset import (
    ADDRESS_TYPE,
    Family,
    Fragment,
    braces,
    comment,
    hashed_name,
    of_family,
    one_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8slab.embedded.network.model import (
        Block,
        Direction,
        PolicyDirection,
        PolicyRule,
        PortRange,
        Tier,
    )

TABLE = "network-policy"
DENIAL_GROUP = 1
"""The NFLOG group; each node's namespace has its own groups."""
DENIAL_BYTES = 128
"""How much of a dropped packet is reported: the headers."""

POLICY_IN_PREFIX = 60
"""Characters of a policy's name in a report; nft allows 127 bytes for the whole prefix."""

_MAPS: dict[tuple[Direction, Tier], str] = {
    ("egress", "admin"): "from-pod-admin",
    ("egress", "network"): "from-pod",
    ("egress", "baseline"): "from-pod-baseline",
    ("ingress", "admin"): "to-pod-admin",
    ("ingress", "network"): "to-pod",
    ("ingress", "baseline"): "to-pod-baseline",
}
_TIER: dict[tuple[Direction, Tier], str] = {
    ("egress", "admin"): "egress-admin",
    ("egress", "network"): "egress",
    ("egress", "baseline"): "egress-baseline",
    ("ingress", "admin"): "ingress-admin",
    ("ingress", "network"): "ingress",
    ("ingress", "baseline"): "ingress-baseline",
}
"""The chain in which a tier begins."""
_NEXT: dict[tuple[Direction, Tier], str] = {
    ("egress", "admin"): "goto egress",
    ("egress", "network"): "goto egress-baseline",
    ("egress", "baseline"): "accept",
    ("ingress", "admin"): "goto ingress",
    ("ingress", "network"): "goto ingress-baseline",
    ("ingress", "baseline"): "accept",
}
"""What comes after a tier that has not decided."""
_INTERFACE: dict[Direction, str] = {"ingress": "oifname", "egress": "iifname"}
_PEER: dict[Direction, str] = {"ingress": "saddr", "egress": "daddr"}

_MAP = """\
  map {name} {{
    type ifname : verdict
    comment "pods with {tier} policies for {direction}"
  }}
"""
_CHAIN = """\
  chain {name} {{
    {interface} vmap @{map}
    {next}
  }}
"""
_REVERSE_PATH = """\
  chain reverse-path {{
    type filter hook prerouting priority raw; policy accept;
    iifname "{pods}*" fib saddr . iif oif missing counter drop comment "forged source"
  }}
"""
_HOOK = """\
  chain {name} {{
    type filter hook {hook} priority {priority}; policy accept;
    ct state established,related accept
    {first}
  }}
"""
_HOOKS = {
    "forward-egress": ("forward", "filter", "goto egress-admin"),
    "forward-ingress": ("forward", "filter + 5", "goto ingress-admin"),
    "input-egress": ("input", "filter", "goto egress-admin"),
}
"""Where the kernel asks the policies: which hook, when, and what is asked first. A packet to
the node itself leaves one pod and enters none."""


def base(family: Family, *, shut: bool = False) -> str:
    """Return the text of the table without any policy; while `shut` nothing new passes."""
    maps = "".join(
        _MAP.format(name=name, tier=tier, direction=direction)
        for (direction, tier), name in _MAPS.items()
    )
    # A chain must be there before another one leads to it: the last one comes first.
    chains = "".join(
        _CHAIN.format(
            name=_TIER[key], interface=_INTERFACE[key[0]], map=_MAPS[key], next=_NEXT[key]
        )
        for key in sorted(_TIER, key=list(_NEXT).index, reverse=True)
    )
    hooks = "".join(
        _HOOK.format(name=name, hook=hook, priority=priority, first="drop" if shut else first)
        for name, (hook, priority, first) in _HOOKS.items()
    )
    reverse_path = _REVERSE_PATH.format(pods=INTERFACE_PREFIX)
    return (
        f"add table {family} {TABLE}\ndelete table {family} {TABLE}\n"
        f"table {family} {TABLE} {{\n{reverse_path}{maps}{chains}{hooks}}}\n"
    )


def reopened(family: Family) -> str:
    """Return the text that makes a table that was shut ask the policies."""
    return "".join(
        f"flush chain {family} {TABLE} {name}\n"
        f"add rule {family} {TABLE} {name} ct state established,related accept\n"
        f"add rule {family} {TABLE} {name} {first}\n"
        for name, (_hook, _priority, first) in _HOOKS.items()
    )


def policy_chain(policy: PolicyDirection) -> str:
    """Return the name of the chain of one policy in one direction."""
    tier = "" if policy.tier == "network" else f"{policy.tier}-"
    return hashed_name(tier + policy.direction, policy.policy)


def pod_fragment(interface: str, direction: Direction, policies: list[PolicyDirection]) -> Fragment:
    """Return the chains of a pod that policies select, one for each tier, and what leads there.

    The policies of a tier are asked in the order of `policies`.
    """
    by_tier: dict[Tier, list[PolicyDirection]] = {}
    for policy in policies:
        by_tier.setdefault(policy.tier, []).append(policy)
    chains: dict[str, tuple[str, ...]] = {}
    elements: dict[tuple[str, str], str] = {}
    for tier, selecting in by_tier.items():
        name = _MAPS[direction, tier]
        jumps = [f"jump {policy_chain(p)} {comment(p.policy)}" for p in selecting]
        if tier == "network":
            note = comment(f"no policy allows this {direction}")
            end = [_report(f"{direction} {interface}"), f"counter drop {note}"]
        else:
            end = [_NEXT[direction, tier]]
        chains[f"{name}-{interface}"] = (*jumps, *end)
        elements[name, f'"{interface}"'] = f"goto {name}-{interface}"
    return Fragment(chains=chains, elements=elements)


def _report(prefix: str) -> str:
    limits = f"group {DENIAL_GROUP} snaplen {DENIAL_BYTES} queue-threshold 1"
    return f'log prefix "{prefix}" {limits}'


def policy_fragment(policy: PolicyDirection, family: Family) -> Fragment:
    """Return the chain and the sets of one policy in one direction."""
    sets: dict[str, str] = {}
    elements: dict[tuple[str, str], str] = {}
    rules: list[str] = []
    tier = "" if policy.tier == "network" else f"{policy.tier}:"
    for number, rule in enumerate(policy.rules):
        place = f"{tier}{policy.policy}/{policy.direction}/{number}"
        peers = _peers(rule, place, family, policy.direction, sets, elements)
        ports = _ports(rule, place, family, sets, elements)
        note = comment(f"{policy.policy} spec.{policy.direction}[{number}]")
        rules += [
            f"{peer} {port} {_verdict(policy, rule)} {note}".lstrip().replace("  ", " ")
            for peer in peers
            for port in ports
        ]
    return Fragment({policy_chain(policy): tuple(rules)}, sets, elements)


def _verdict(policy: PolicyDirection, rule: PolicyRule) -> str:
    if rule.action == "accept":
        return "accept"
    if rule.action == "pass":
        return _NEXT[policy.direction, policy.tier]
    # The chain serves many pods: which one it was, the report's interfaces tell.
    return _report(f"{policy.direction} - {policy.policy[:POLICY_IN_PREFIX]}") + " counter drop"


def _peers(
    rule: PolicyRule,
    place: str,
    family: Family,
    direction: Direction,
    sets: dict[str, str],
    elements: dict[tuple[str, str], str],
) -> list[str]:
    """Return one match for each way in which a peer is given; an empty one matches all."""
    if rule.addresses is None and rule.blocks is None:
        return [""]
    matches = []
    if rule.addresses is not None:
        name = hashed_name("pods", place)
        sets[name] = f"type {ADDRESS_TYPE[family]};"
        for address in sorted(of_family(family, rule.addresses)):
            elements[name, address] = ""
        matches.append(f"{family} {_PEER[direction]} @{name}")
    ranges = block_ranges(rule.blocks or (), family)
    if ranges:
        # Named by content: a changed interval set is a new one, never edited in place.
        name = hashed_name("blocks", place, *ranges)
        sets[name] = f"type {ADDRESS_TYPE[family]}; flags interval; elements = {braces(ranges)};"
        matches.append(f"{family} {_PEER[direction]} @{name}")
    return matches


def _ports(
    rule: PolicyRule,
    place: str,
    family: Family,
    sets: dict[str, str],
    elements: dict[tuple[str, str], str],
) -> list[str]:
    """Return one match for each way in which a port is given; an empty one matches all."""
    if rule.ports is None and rule.named is None:
        return [""]
    matches = []
    for protocol in ("TCP", "UDP", "SCTP"):
        ranges = [port for port in rule.ports or () if port.protocol == protocol]
        if any((port.first, port.last) == (1, 65535) for port in ranges):
            matches.append(f"meta l4proto {protocol.lower()}")
        elif ranges:
            matches.append(f"{protocol.lower()} dport {one_of(merged_ports(ranges))}")
    if rule.named is not None:
        name = hashed_name("ports", place)
        sets[name] = f"type {ADDRESS_TYPE[family]} . inet_proto . inet_service;"
        for protocol, address, number in sorted(rule.named):
            if of_family(family, [address]):
                elements[name, f"{address} . {protocol.lower()} . {number}"] = ""
        matches.append(f"{family} daddr . meta l4proto . th dport @{name}")
    return matches


def merged_ports(ranges: Iterable[PortRange]) -> list[str]:
    """Return port ranges as nft text, in order and without overlap, which nft refuses."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted((port.first, port.last) for port in ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return [str(first) if first == last else f"{first}-{last}" for first, last in merged]


def block_ranges(blocks: Iterable[Block], family: Family) -> list[str]:
    """Return the addresses in any of `blocks` as prefixes without overlap.

    Each block loses its own exceptions only: what another block contains stays.
    """
    found: list[Any] = []  # of IPv4Network or IPv6Network, by family: never both
    for block in blocks:
        if not of_family(family, [block.cidr]):
            continue
        rest: list[Any] = [ip_network(block.cidr, strict=False)]
        for text in block.excepts:
            hole = ip_network(text, strict=False)
            rest = [part for piece in rest for part in _without(piece, hole)]
        found += rest
    return [str(network) for network in collapse_addresses(found)]


def _without(network: Any, hole: Any) -> list[Any]:
    if network.version != hole.version or not network.overlaps(hole):
        return [network]
    if network.subnet_of(hole):
        return []
    return list(network.address_exclude(hole))
