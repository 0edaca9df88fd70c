"""Check ClusterNetworkPolicies, with the messages that their CustomResourceDefinition gives.

Source: the validation markers of ``apis/v1alpha2/clusternetworkpolicy_types.go`` and the words
of apiextensions for them. Peers that the network cannot enforce are refused here, where a
person reads it: an API without them would fail open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver.statuses import (
    FieldError,
    each,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from k8slab.embedded.apiserver.validation.common import at_most, cidr_errors, selector_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.objects.meta import Object

MOST = 25
NAME_LENGTH = 100
_PEERS = {"ingress": "from", "egress": "to"}


def cluster_policy_errors(new: Object, _old: Object | None) -> list[FieldError]:
    """Return what is wrong with a ClusterNetworkPolicy."""
    spec = new.get("spec")
    if not spec:
        return [required("spec")]
    errors = _word(spec, "tier", ("Admin", "Baseline"), "spec")
    if "priority" not in spec:
        errors.append(required("spec.priority"))
    else:
        errors += _between(spec["priority"], 0, 1000, "spec.priority")
    if "subject" not in spec:
        errors.append(required("spec.subject"))
    else:
        errors += _one(spec["subject"], "spec.subject") + _pods(spec["subject"], "spec.subject")
    for direction in _PEERS:
        rules = spec.get(direction) or []
        errors += _count(rules, f"spec.{direction}", at_least=0)
        for number, rule in each(rules, errors):
            errors += _rule(rule, direction, f"spec.{direction}[{number}]")
    return errors


def _rule(rule: Object, direction: str, path: str) -> list[FieldError]:
    errors = _word(rule, "action", ("Accept", "Deny", "Pass"), path)
    if len(rule.get("name") or "") > NAME_LENGTH:
        errors.append(too_long(f"{path}.name", NAME_LENGTH))
    field = _PEERS[direction]
    if field not in rule:
        errors.append(required(f"{path}.{field}"))
    peers = rule.get(field) or []
    if field in rule:
        errors += _count(peers, f"{path}.{field}")
    for number, peer in each(peers, errors):
        errors += _peer(peer, f"{path}.{field}[{number}]")
    protocols = rule.get("protocols")
    if protocols is not None:
        errors += _count(protocols, f"{path}.protocols")
    for number, protocol in each(protocols, errors):
        errors += _protocol(protocol, f"{path}.protocols[{number}]")
    named = any("destinationNamedPort" in entry for entry in protocols or ())
    if named and any("networks" in peer for peer in peers):
        why = (
            "networks/nodes/domainNames peer cannot be set with namedPorts since there are no "
            "namedPorts for networks/nodes/domainNames"
        )
        errors.append(invalid(path, "object", why))
    return errors


def _peer(peer: Object, path: str) -> list[FieldError]:
    errors = _one(peer, path) + _pods(peer, path)
    if "networks" in peer:
        networks = peer["networks"]
        errors += _count(networks, f"{path}.networks")
        for number, cidr in each(networks, errors):
            errors += cidr_errors(cidr, f"{path}.networks[{number}]")
    for field, instead in (
        ("domainNames", "write the addresses as networks"),
        ("nodes", "write the nodes' addresses as networks"),
    ):
        if field in peer:
            why = f"this cluster's network does not support {field} (experimental): {instead}"
            errors.append(forbidden(f"{path}.{field}", why))
    return errors


def _protocol(protocol: Object, path: str) -> list[FieldError]:
    errors = _one(protocol, path)
    for word in ("tcp", "udp", "sctp"):
        if word not in protocol:
            continue
        body = protocol[word]
        errors += _one(body, f"{path}.{word}")
        if "destinationPort" in body:
            errors += _port(body["destinationPort"], f"{path}.{word}.destinationPort")
    return errors


def _port(port: Object, path: str) -> list[FieldError]:
    errors = _one(port, path)
    if "number" in port:
        errors += _between(port["number"], 1, 65535, f"{path}.number")
    if "range" in port:
        ends = port["range"]
        missing = [required(f"{path}.range.{end}") for end in ("start", "end") if end not in ends]
        if missing:
            return errors + missing
        errors += _between(ends["start"], 1, 65535, f"{path}.range.start")
        errors += _between(ends["end"], 1, 65535, f"{path}.range.end")
        if ends["start"] >= ends["end"]:
            errors.append(
                invalid(f"{path}.range", "object", "Start port must be less than End port")
            )
    return errors


def _pods(selecting: Object, path: str) -> list[FieldError]:
    errors = selector_errors(selecting.get("namespaces"), f"{path}.namespaces")
    if "pods" in selecting:
        for field in ("namespaceSelector", "podSelector"):
            where = f"{path}.pods.{field}"
            if field not in selecting["pods"]:
                errors.append(required(where))
            errors += selector_errors(selecting["pods"].get(field), where)
    return errors


def _word(owner: Object, field: str, words: Sequence[str], path: str) -> list[FieldError]:
    where = f"{path}.{field}"
    if field not in owner:
        return [required(where)]
    return [] if owner[field] in words else [not_supported(where, owner[field], words)]


def _one(value: Object, path: str) -> list[FieldError]:
    """Check a union: exactly one field."""
    if not value:
        return [invalid(path, value, f"{path} in body should have at least 1 properties")]
    return at_most(value, 1, path)


def _count(items: Sequence[Any], path: str, *, at_least: int = 1) -> list[FieldError]:
    if len(items) < at_least:
        why = f"{path} in body should have at least {at_least} items"
        return [invalid(path, len(items), why)]
    return at_most(items, MOST, path)


def _between(value: int, least: int, most: int, path: str) -> list[FieldError]:
    if value < least:
        why = f"{path} in body should be greater than or equal to {least}"
        return [invalid(path, value, why)]
    if value > most:
        return [invalid(path, value, f"{path} in body should be less than or equal to {most}")]
    return []
