"""What a rule means to somebody who knows Services and policies, and not nftables.

The names of chains and the comments of rules are those which `ruleset_proxy`, `ruleset_policy`
and `ruleset_nat` write. A rule that none of them wrote (somebody's own, in a shell on the node)
is told as it stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k8slab.embedded.network import (
    ruleset_balancer,
    ruleset_nat,
    ruleset_policy,
    ruleset_proxy,
)
from k8slab.embedded.network.tracing import TABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8slab.embedded.network.tracing import Met

_HASHED = r"-[A-Z2-7]{8}-"
_SERVICE = re.compile(rf"(?:service|external|local){_HASHED}(?P<name>[^/]+/[^/]+)/(?P<port>.*)")
_ENDPOINT = re.compile(rf"endpoint{_HASHED}.*__(?P<address>[^/]+)/(?P<port>\d+)$")
_POLICY = re.compile(
    rf"(?:(?P<tier>admin|baseline)-)?(?P<direction>ingress|egress){_HASHED}(?P<name>.+)"
)
_CHOICE = re.compile(r"numgen random mod (\d+)")
_COMMENT = re.compile(r'comment "([^"]*)"')
_RULE = re.compile(r"spec\.\w+\[\d+\]$")
_ESTABLISHED = "ct state established,related accept"
_REJECTED = {
    "service-endpoints-check": "the Service has no endpoint",
    "nodeport-endpoints-check": "the Service has no endpoint",
    "cluster-ips-check": "the ClusterIP has no such port",
}


@dataclass(frozen=True, slots=True)
class Meaning:
    """One thing that happened, in words and as facts; `text` is empty for what goes without."""

    kind: str
    """``service``, ``endpoint``, ``policy``, ``masquerade``, ``established``, ``reject``,
    ``rule`` (somebody's own), ``step`` (not worth a word)."""
    text: str = ""
    facts: Mapping[str, str | int] = field(default_factory=dict)


_STEP = Meaning("step")


def meaning(met: Met, rule: str, before: Met | None = None) -> Meaning:
    """Say what a rule did; `rule` is its text as ``nft list`` has it, `before` the step before."""
    if met.table == TABLE or (not met.handle and met.verdict != "drop"):
        return _STEP
    if met.table == ruleset_proxy.TABLE:
        return _proxy(met, rule, before)
    if met.table == ruleset_policy.TABLE:
        return _policy(met, rule)
    if met.table == ruleset_nat.TABLE:
        return _nat(met, rule)
    if met.table == ruleset_balancer.TABLE:
        return _balancer(met)
    return _foreign(met, rule)


def _proxy(met: Met, rule: str, before: Met | None) -> Meaning:
    if met.verdict == "drop":
        return _refused(met, rule, before)
    if met.chain == "services" and (found := _SERVICE.match(met.target)):
        protocol, _, port = found["port"].partition("/")
        facts = {"service": found["name"], "protocol": protocol, "port": port}
        called = f"port {port} ({protocol})" if port else f"its {protocol} port"
        return Meaning("service", f"Service {found['name']}, {called}: in the Service map", facts)
    if found := _ENDPOINT.match(met.target):
        chosen = _CHOICE.search(rule)
        # No name in nftables has a colon: see `ruleset.hashed_name`.
        v6 = met.family == "ip6"
        address = found["address"].replace(".", ":") if v6 else found["address"]
        facts = {"address": address, "port": int(found["port"])}
        if chosen is None:
            how = "the same as before (session affinity)"
        else:
            facts["of"] = int(chosen[1])
            how = "the only one" if chosen[1] == "1" else f"drawn out of {chosen[1]}"
        end = f"[{address}]" if v6 else address
        return Meaning("endpoint", f"endpoint {end}:{found['port']}, {how}", facts)
    if met.target == "mark-for-masquerade":
        text = "marked for masquerade, so that the answer comes back by this node"
        return Meaning("masquerade", text)
    return _STEP


def _refused(met: Met, rule: str, before: Met | None) -> Meaning:
    if met.chain == "reject-chain" or rule.partition(" comment ")[0].endswith("reject"):
        asked = before.chain if met.chain == "reject-chain" and before else met.chain
        why = _REJECTED.get(asked, "the Service refuses it")
        return Meaning("reject", f"rejected: {why}", {"why": why})
    if met.chain in _REJECTED:
        if met.chain == "cluster-ips-check":
            why = "no Service has this ClusterIP"
        else:
            why = "no endpoint of the Service is on this node (traffic policy Local)"
        return Meaning("drop", f"dropped: {why}", {"why": why})
    why = "loadBalancerSourceRanges leave the sender out"
    return Meaning("drop", f"dropped: {why}", {"why": why})


def _policy(met: Met, rule: str) -> Meaning:
    note = (_COMMENT.search(rule) or ("", ""))[1]
    if met.verdict == "accept" and _ESTABLISHED in rule:
        text = "part of a connection that was accepted: policies are not asked again"
        return Meaning("established", text)
    if found := _POLICY.fullmatch(met.target):
        facts = _facts(found)
        return Meaning("asked", f"{_named(found)} selects the pod for {found['direction']}", facts)
    found = _POLICY.fullmatch(met.chain)
    named = _RULE.search(note)
    if found and met.verdict in ("accept", "drop", "goto"):
        facts = _facts(found) | {"verdict": met.verdict}
        place = named[0] if named else "a rule"
        if named:
            facts["rule"] = place
        does = {"accept": "admits it", "drop": "denies it", "goto": "passes it on"}[met.verdict]
        return Meaning("policy", f"{_named(found)}: {place} {does}", facts)
    if met.verdict == "drop":
        why = note or "policies are being written anew: nothing new passes"
        return Meaning("policy", f"dropped: {why}", {"verdict": "drop", "why": why})
    return _STEP


def _named(found: re.Match[str]) -> str:
    kind = "ClusterNetworkPolicy" if found["tier"] else "NetworkPolicy"
    return f"{kind} {found['name']}"


def _facts(found: re.Match[str]) -> dict[str, str | int]:
    facts: dict[str, str | int] = {"policy": found["name"], "direction": found["direction"]}
    return facts | ({"tier": found["tier"]} if found["tier"] else {})


def _nat(met: Met, rule: str) -> Meaning:
    if met.chain == "host-ports-dnat" and met.verdict == "accept":
        return Meaning("service", "a host port of the node leads to a pod")
    if met.chain == "postrouting" and met.verdict == "accept":
        why = "it leaves the pod network" if "natOutgoing" in rule else "a pod calls its own port"
        return Meaning("masquerade", f"masqueraded, since {why}")
    return _STEP


def _balancer(met: Met) -> Meaning:
    if met.verdict != "drop":
        return _STEP
    why = "no Service has this port of a load balancer's address"
    return Meaning("reject", f"rejected: {why}", {"why": why})


def _foreign(met: Met, rule: str) -> Meaning:
    facts = {"family": met.family, "table": met.table, "chain": met.chain, "verdict": met.verdict}
    place = f"table {met.family} {met.table}, chain {met.chain}"
    what = f"rule {rule!r}" if rule else f"rule {met.handle}" if met.handle else "the policy"
    return Meaning("rule", f"{what} of {place}: {met.verdict}", facts)
