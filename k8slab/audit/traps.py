"""What one object shows by itself: what the API refuses, and what it takes but few mean.

No other object is looked at, so this is what an editor or a pre-commit hook can ask.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from k8slab.audit.catalogue import CHECKS
from k8slab.objects import meta

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from k8slab.audit.finding import Finding
    from k8slab.audit.source import Source
    from k8slab.objects.meta import Object

DIRECTIONS = (("ingress", "from"), ("egress", "to"))
DNS = 53


def refused(source: Source) -> list[Finding]:
    """Say what the API would refuse in this object."""
    from k8slab.embedded.apiserver.offline import refusals  # noqa: PLC0415  only for files

    return [
        source.finding(CHECKS["refused"], message, path)
        for path, message in dict(refusals(source.object)).items()
    ]


def traps(source: Source) -> Iterator[Finding]:
    """Say what in a NetworkPolicy does something else than it looks like."""
    spec = source.object.get("spec") or {}
    types = _directions(spec)
    for direction, peers_key in DIRECTIONS:
        rules = spec.get(direction) or ()
        path = f"spec.{direction}"
        if direction not in types:
            if rules:
                told = f"policyTypes has only {', '.join(types)}: the {direction} rules do nothing"
                yield source.finding(CHECKS["ignored-section"], told, path)
            continue
        for number, rule in enumerate(rules):
            yield from _rule_traps(source, rule or {}, f"{path}[{number}]", peers_key)


def _directions(spec: Object) -> list[str]:
    types = spec.get("policyTypes")
    if types:
        return [word.lower() for word in types]
    return ["ingress", "egress"] if spec.get("egress") else ["ingress"]


def _rule_traps(source: Source, rule: Object, path: str, peers_key: str) -> Iterator[Finding]:
    peers, ports = rule.get(peers_key) or (), rule.get("ports") or ()
    if not peers and not ports:
        what = "from everybody" if peers_key == "from" else "to everybody"
        yield source.finding(CHECKS["everybody"], f"this rule admits all traffic {what}", path)
    for number in range(len(peers) - 1):
        if set(peers[number]) == {"namespaceSelector"} and set(peers[number + 1]) == {
            "podSelector"
        }:
            here = meta.namespace_of(source.object) or "default"
            told = f"the podSelector below means pods of {here}, not of the selected namespaces"
            where = f"{path}.{peers_key}[{number + 1}]"
            yield source.finding(CHECKS["two-peers-for-one"], told, where)
    for number, peer in enumerate(peers):
        if block := peer.get("ipBlock"):
            yield from _block_traps(source, block, f"{path}.{peers_key}[{number}].ipBlock")
    if peers_key == "to":
        yield from _dns_traps(source, peers, ports, path)


def _block_traps(source: Source, block: Object, path: str) -> Iterator[Finding]:
    network = ipaddress.ip_interface(block["cidr"])
    if network.network.prefixlen == 0 and not block.get("except"):
        told = f"{block['cidr']} is every address of the family"
        yield source.finding(CHECKS["whole-address-space"], told, f"{path}.cidr")
    elif network.ip != network.network.network_address:
        told = f"{block['cidr']} means {network.network}"
        yield source.finding(CHECKS["host-bits"], told, f"{path}.cidr")


def _dns_traps(
    source: Source, peers: Sequence[Object], ports: Sequence[Object], path: str
) -> Iterator[Finding]:
    dns = {port.get("protocol") or "TCP" for port in ports if _is_dns(port)}
    if not dns:
        return
    only = dns & {"UDP", "TCP"}
    if len(only) == 1 and not _elsewhere(source.object, peers, {"UDP", "TCP"} - only):
        (word,) = only
        told = f"port 53 is allowed by {word} only"
        if word == "TCP" and not any(port.get("protocol") for port in ports if _is_dns(port)):
            told += " (a port without protocol is TCP)"
        yield source.finding(CHECKS["dns-one-protocol"], told, f"{path}.ports")
    if not peers:
        told = "this rule lets DNS go to every address"
        yield source.finding(CHECKS["dns-to-everybody"], told, path)


def _is_dns(port: Object) -> bool:
    first: Any = port.get("port")
    if not isinstance(first, int):
        return first in ("dns", "dns-tcp")  # what the pods of kube-dns call their ports
    return first <= DNS <= (port.get("endPort") or first)


def _elsewhere(obj: Object, peers: Sequence[Object], protocols: set[str]) -> bool:
    """Say whether another egress rule of the policy allows DNS there by these protocols."""
    for rule in obj["spec"].get("egress") or ():
        to, ports = (rule or {}).get("to"), (rule or {}).get("ports")
        if to and list(to) != list(peers):
            continue
        if not ports or any(
            (port.get("protocol") or "TCP") in protocols and (_is_dns(port) or "port" not in port)
            for port in ports
        ):
            return True
    return False
