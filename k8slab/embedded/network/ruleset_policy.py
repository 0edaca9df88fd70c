"""NetworkPolicy on one node: the text of the rules, per pod and direction.

A new connection from a pod is looked up by its interface in ``from-pod``, one to a pod in
``to-pod``. There the pod's own chain jumps to the chains of the policies that select it; if
none of their rules accepts, the packet is reported (NFLOG) and dropped. A pod that no policy
selects in a direction is in no map and everything passes. Accepting egress means going on to
``ingress``, so that on one node both directions are asked; accepting ingress is final.

What belongs to a connection that was accepted before passes first: like Calico, a new policy
does not cut an established connection. The node's own traffic to a pod leaves through the
output hook, where nothing is asked. The forward hook comes after the destination rewrite, so
a policy sees the pod and its own port, never a Service.
"""

from __future__ import annotations

from ipaddress import collapse_addresses, ip_network
from typing import TYPE_CHECKING, Any

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
from k8slab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8slab.embedded.network.model import (
        Block,
        Direction,
        PolicyDirection,
        PolicyRule,
        PortRange,
    )

TABLE = "network-policy"
DENIAL_GROUP = 1
"""The NFLOG group; each node's namespace has its own groups."""
DENIAL_BYTES = 128
"""How much of a dropped packet is reported: the headers."""

_BASE = """\
add table {family} network-policy
flush table {family} network-policy
table {family} network-policy {{
  map from-pod {{
    type ifname : verdict
    comment "pods isolated for egress"
  }}
  map to-pod {{
    type ifname : verdict
    comment "pods isolated for ingress"
  }}
  chain ingress {{
    oifname vmap @to-pod
    accept
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    ct state established,related accept
    iifname vmap @from-pod
    goto ingress
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    ct state established,related accept
    iifname vmap @from-pod
  }}
}}
"""
_MAPS: dict[Direction, str] = {"ingress": "to-pod", "egress": "from-pod"}
_ACCEPT: dict[Direction, str] = {"ingress": "accept", "egress": "goto ingress"}
_PEER: dict[Direction, str] = {"ingress": "saddr", "egress": "daddr"}


def base(family: Family) -> str:
    """Return the text of the table without any policy."""
    return _BASE.format(family=family)


def policy_chain(policy: PolicyDirection) -> str:
    """Return the name of the chain of one policy in one direction."""
    return hashed_name(policy.direction, policy.policy)


def pod_fragment(interface: str, direction: Direction, policies: list[PolicyDirection]) -> Fragment:
    """Return the chain of an isolated pod and the element that leads to it."""
    chain = f"{_MAPS[direction]}-{interface}"
    jumps = [f"jump {policy_chain(p)} {comment(p.policy)}" for p in policies]
    report = (
        f'log prefix "{direction} {interface}" group {DENIAL_GROUP}'
        f" snaplen {DENIAL_BYTES} queue-threshold 1"
    )
    drop = f"counter drop {comment(f'no policy allows this {direction}')}"
    return Fragment(
        chains={chain: (*jumps, report, drop)},
        elements={(_MAPS[direction], f'"{interface}"'): f"goto {chain}"},
    )


def policy_fragment(policy: PolicyDirection, family: Family) -> Fragment:
    """Return the chain and the sets of one policy in one direction."""
    if policy.tier != "network" or any(rule.action != "accept" for rule in policy.rules):
        raise UsageError(
            f"policy {policy.policy}: only NetworkPolicy is enforced, not tier {policy.tier!r}"
        )
    sets: dict[str, str] = {}
    elements: dict[tuple[str, str], str] = {}
    rules: list[str] = []
    for number, rule in enumerate(policy.rules):
        place = f"{policy.policy}/{policy.direction}/{number}"
        peers = _peers(rule, place, family, policy.direction, sets, elements)
        ports = _ports(rule, place, family, sets, elements)
        note = comment(f"{policy.policy} {policy.direction} rule {number + 1}")
        rules += [
            f"{peer} {port} {_ACCEPT[policy.direction]} {note}".lstrip().replace("  ", " ")
            for peer in peers
            for port in ports
        ]
    return Fragment({policy_chain(policy): tuple(rules)}, sets, elements)


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
        sets[name] = f"set type {ADDRESS_TYPE[family]};"
        for address in sorted(of_family(family, rule.addresses)):
            elements[name, address] = ""
        matches.append(f"{family} {_PEER[direction]} @{name}")
    ranges = block_ranges(rule.blocks or (), family)
    if ranges:
        # Named by content: a changed interval set is a new one, never edited in place.
        name = hashed_name("blocks", place, *ranges)
        sets[name] = (
            f"set type {ADDRESS_TYPE[family]}; flags interval; elements = {braces(ranges)};"
        )
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
        sets[name] = f"set type {ADDRESS_TYPE[family]} . inet_proto . inet_service;"
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
