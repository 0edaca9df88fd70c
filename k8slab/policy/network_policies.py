"""Read ``networking.k8s.io/v1`` NetworkPolicies.

Source of the rules: the comments of ``k8s.io/api/networking/v1`` and the Network Policies
page of the Kubernetes documentation. In short:

- ``ingress`` absent, ``null`` or ``[]``: isolated, nobody admitted. ``[{}]``: everyone.
- ``policyTypes`` absent: ingress always, egress when there is an egress rule. A section
  that ``policyTypes`` does not list is ignored.
- ``from``/``to`` absent or ``[]`` in a rule: every peer. ``ports`` absent or ``[]``: all ports.
- ``namespaceSelector`` and ``podSelector`` in one peer are joined by and; peers by or.
- A port entry without ``port`` is every port of its protocol; without ``protocol``, TCP.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from k8slab.errors import UsageError
from k8slab.objects import meta
from k8slab.policy import fields
from k8slab.policy.model import EGRESS, INGRESS, BlockPeer, PodPeer, Policy, PortMatch, Rule
from k8slab.policy.ports import WITH_PORTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.objects.meta import Object

KIND = "NetworkPolicy"
_SPEC = frozenset({"podSelector", "policyTypes", "ingress", "egress"})
_RULE = {INGRESS: frozenset({"from", "ports"}), EGRESS: frozenset({"to", "ports"})}
_PEER = frozenset({"podSelector", "namespaceSelector", "ipBlock"})
_BLOCK = frozenset({"cidr", "except"})
_PORT = frozenset({"protocol", "port", "endPort"})


def read(obj: Object, manifest: Any = None, *, blocks_match_pods: bool = True) -> Policy:
    """Compile a NetworkPolicy; raises `UsageError` that names the field."""
    namespace = meta.namespace_of(obj) or "default"
    spec = fields.mapping(obj.get("spec"), "spec", _SPEC)
    subject = fields.label_selector(spec.get("podSelector"), "spec.podSelector")
    reader = _Reader(f"{namespace}/{meta.name_of(obj)}", namespace, blocks_match_pods)
    rules = {direction: reader.rules(spec, direction) for direction in _directions(spec)}
    for direction in (INGRESS, EGRESS):  # an ignored section may still not be nonsense
        if direction not in rules:
            reader.rules(spec, direction)
    return Policy(
        KIND,
        namespace,
        meta.name_of(obj),
        PodPeer(namespace, None, subject),
        rules,
        manifest=manifest,
        keys=frozenset((*subject.keys(), *reader.keys)),
        spec=obj.get("spec"),
    )


def _directions(spec: dict[str, Any]) -> Iterator[str]:
    types = fields.items(spec.get("policyTypes"), "spec.policyTypes")
    if not types:
        types = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for number, name in enumerate(types):
        fields.one_of(name, f"spec.policyTypes[{number}]", ("Ingress", "Egress"))
    return (direction for direction in (INGRESS, EGRESS) if direction.capitalize() in types)


class _Reader:
    def __init__(self, label: str, namespace: str, blocks_match_pods: bool) -> None:  # noqa: FBT001
        self.label = label
        self.namespace = namespace
        self.blocks_match_pods = blocks_match_pods
        self.keys: list[str] = []

    def rules(self, spec: dict[str, Any], direction: str) -> tuple[Rule, ...]:
        path = f"spec.{direction}"
        entries = fields.items(spec.get(direction), path)
        return tuple(
            self.rule(entry, f"{path}[{number}]", direction, number)
            for number, entry in enumerate(entries)
        )

    def rule(self, entry: Any, path: str, direction: str, number: int) -> Rule:
        found = fields.mapping(entry, path, _RULE[direction])
        side = "from" if direction == INGRESS else "to"
        peers = fields.items(found.get(side), f"{path}.{side}")
        ports = fields.items(found.get("ports"), f"{path}.ports")
        return Rule(
            f"{KIND} {self.label}",
            direction,
            number,
            peers=tuple(self.peer(p, f"{path}.{side}[{i}]") for i, p in enumerate(peers)) or None,
            ports=tuple(_port(p, f"{path}.ports[{i}]") for i, p in enumerate(ports)) or None,
        )

    def peer(self, entry: Any, path: str) -> PodPeer | BlockPeer:
        peer = fields.mapping(entry, path, _PEER)
        if (block := peer.get("ipBlock")) is not None:
            if peer.get("podSelector") is not None or peer.get("namespaceSelector") is not None:
                raise UsageError(f"{path}: a peer has either ipBlock or selectors, not both")
            return self.block(block, f"{path}.ipBlock")
        selectors = []
        for name in ("namespaceSelector", "podSelector"):
            value = peer.get(name)
            given = value is not None
            selectors.append(fields.label_selector(value, f"{path}.{name}") if given else None)
        namespaces, pods = selectors
        if namespaces is None and pods is None:
            raise UsageError(f"{path}: a peer needs podSelector, namespaceSelector or ipBlock")
        self.keys += pods.keys() if pods else ()
        return PodPeer(self.namespace, namespaces, pods)

    def block(self, entry: Any, path: str) -> BlockPeer:
        block = fields.mapping(entry, path, _BLOCK)
        whole = fields.cidr(block.get("cidr"), f"{path}.cidr")
        excepts = []
        for number, part in enumerate(fields.items(block.get("except"), f"{path}.except")):
            addresses = fields.cidr(part, f"{path}.except[{number}]")
            if not whole.covers(addresses) or addresses == whole:
                raise UsageError(
                    f"{path}.except[{number}]: {part} is not a part of {block['cidr']}"
                )
            excepts.append((part, addresses))
        return BlockPeer(block["cidr"], whole, tuple(excepts), self.blocks_match_pods)


_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
"""IANA service names (RFC 6335), of which the API wants at least one letter."""


def _port_name(text: str, path: str) -> str:
    if len(text) > 15 or not _PORT_NAME.fullmatch(text):
        hint = "a number stands without quotes" if text.isdecimal() else ""
        raise UsageError(f"{path}: {text!r:.60} is no name of a port", hint=hint)
    return text


def _port(entry: Any, path: str) -> PortMatch:
    found = fields.mapping(entry, path, _PORT)
    protocol, port, end = found.get("protocol") or "TCP", found.get("port"), found.get("endPort")
    if protocol not in WITH_PORTS:
        known = ", ".join(WITH_PORTS)
        raise UsageError(f"{path}: protocol {protocol!r:.60} is not one of {known}")
    if end is not None and (not isinstance(port, int) or not isinstance(end, int) or end < port):
        raise UsageError(f"{path}: endPort {end!r:.60} needs a numeric port that is not above it")
    if port is None:
        return PortMatch(protocol)
    if isinstance(port, str):
        return PortMatch(protocol, _port_name(port, f"{path}.port"))
    number = fields.port_number(port, f"{path}.port")
    last = None if end is None else fields.port_number(end, f"{path}.endPort")
    return PortMatch(protocol, number, last)
