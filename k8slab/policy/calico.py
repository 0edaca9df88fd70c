"""Read Calico's NetworkPolicy and GlobalNetworkPolicy, as far as addresses and ports go.

Source: Calico's reference, "Network policy" and "Global network policy" (v3.32). They share
the tier ``default`` with Kubernetes' NetworkPolicies, which have order 1000 there; lower
order is asked first, no order last, equal ones by name. Within a policy the first rule that
matches decides: Allow and Deny are final, Pass leaves the tier, Log goes on. Where any
policy of the tier selects a pod for a direction and no rule matches, the tier denies.

Without ``types`` a policy is about ingress, unless it has egress rules and no ingress rules;
with both, about both. Limits, each an error and never a guess: other tiers, host endpoints
(``doNotTrack``, ``preDNAT``, ``applyOnForward``), source ports (a client's port is not
known), HTTP matches, and ``services``.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from k8slab.errors import UsageError
from k8slab.objects import meta
from k8slab.policy import expressions, fields
from k8slab.policy.addresses import EVERYWHERE, AddressSet
from k8slab.policy.calico_peers import ANYWHERE, Entity
from k8slab.policy.model import (
    ACCEPT,
    DENY,
    EGRESS,
    INGRESS,
    LOG,
    NETWORK,
    PASS,
    Policy,
    PortMatch,
    Rule,
)
from k8slab.policy.ports import NAMES, NUMBERS

if TYPE_CHECKING:
    from k8slab.objects.meta import Object
    from k8slab.policy.expressions import Expression

GROUPS = ("projectcalico.org", "crd.projectcalico.org")
NAMESPACED, GLOBAL = "NetworkPolicy.projectcalico.org", "GlobalNetworkPolicy.projectcalico.org"

_COMMON = {
    "tier", "order", "selector", "types", "ingress", "egress", "serviceAccountSelector",
    "performanceHints",
}  # fmt: skip
_HOST_ONLY = ("doNotTrack", "preDNAT", "applyOnForward")
_SPEC = {
    NAMESPACED: frozenset(_COMMON),
    GLOBAL: frozenset({*_COMMON, "namespaceSelector", *_HOST_ONLY}),
}
_RULE = frozenset(
    {"action", "metadata", "protocol", "notProtocol", "icmp", "notICMP", "ipVersion", "source",
     "destination", "http"}
)  # fmt: skip
_ENTITY = frozenset(
    {"nets", "notNets", "selector", "notSelector", "namespaceSelector", "ports", "notPorts",
     "serviceAccounts", "services"}
)  # fmt: skip
_ACTIONS = {"Allow": ACCEPT, "Deny": DENY, "Pass": PASS, "Log": LOG}
_WITH_PORTS = ("TCP", "UDP", "SCTP", "UDPLite")
_RANGE = re.compile(r"(\d{1,5}):(\d{1,5})")


def read(obj: Object, manifest: Any = None) -> Policy:
    """Compile a policy of either kind; raises `UsageError` that names the field."""
    kind = f"{obj['kind']}.projectcalico.org"
    name = meta.name_of(obj)
    namespace = (meta.namespace_of(obj) or "default") if kind == NAMESPACED else ""
    spec = fields.mapping(obj.get("spec"), "spec", _SPEC[kind])
    _check_limits(spec)
    subject = Entity(
        namespace,
        spaces=_expression(spec, "spec", "namespaceSelector"),
        selector=_expression(spec, "spec", "selector") or expressions.parse("all()"),
        account_selector=_expression(spec, "spec", "serviceAccountSelector"),
    )
    label = f"{namespace}/{name}" if namespace else name
    rules = {
        direction: tuple(
            _Rule(entry, f"spec.{direction}[{number}]", namespace).read(
                Rule(f"{kind} {label}", direction, number)
            )
            for number, entry in enumerate(fields.items(spec.get(direction), f"spec.{direction}"))
        )
        for direction in _directions(spec)
    }
    return Policy(
        kind, namespace, name, subject, rules, NETWORK, _order(spec), manifest=manifest,
        keys=_keys(subject, rules), spec=spec,
    )  # fmt: skip


def _check_limits(spec: dict[str, Any]) -> None:
    tier = spec.get("tier")
    if tier not in (None, "", "default"):
        raise UsageError(f"spec.tier: only the tier default is understood, not {tier!r:.60}")
    for name in _HOST_ONLY:
        if spec.get(name):
            raise UsageError(f"spec.{name}: policies for host endpoints are not understood")


def _order(spec: dict[str, Any]) -> float:
    order = spec.get("order")
    if order is None:
        return math.inf
    if not isinstance(order, int | float) or isinstance(order, bool) or math.isnan(order):
        raise UsageError(f"spec.order: must be a number, not {order!r:.60}")
    return float(order)


def _directions(spec: dict[str, Any]) -> list[str]:
    types = fields.items(spec.get("types"), "spec.types")
    for number, name in enumerate(types):
        fields.one_of(name, f"spec.types[{number}]", ("Ingress", "Egress"))
    if types:
        return [each for each in (INGRESS, EGRESS) if each.capitalize() in types]
    if spec.get(EGRESS):
        return [INGRESS, EGRESS] if spec.get(INGRESS) else [EGRESS]
    return [INGRESS]


def _expression(found: dict[str, Any], path: str, name: str) -> Expression | None:
    """Return a selector; an empty one is no condition."""
    value = found.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        return expressions.parse(value)
    except UsageError as error:
        raise UsageError(f"{path}.{name}: {error.message}") from error


def _keys(subject: Entity, rules: dict[str, tuple[Rule, ...]]) -> frozenset[str]:
    entities = [subject]
    for rule in (each for found in rules.values() for each in found):
        entities += [e for e in (*(rule.peers or ()), rule.subject) if isinstance(e, Entity)]
    return frozenset(
        key
        for entity in entities
        for chosen in (entity.selector, entity.not_selector)
        if chosen is not None
        for key in chosen.keys()  # noqa: SIM118  not a mapping
    )


class _Rule:
    def __init__(self, entry: Any, path: str, namespace: str) -> None:
        self.path = path
        self.namespace = namespace
        self.found = fields.mapping(entry, path, _RULE)
        if self.found.get("http") is not None:
            raise UsageError(f"{path}.http: only addresses and ports are understood")

    def read(self, at: Rule) -> Rule:
        action = fields.one_of(self.found.get("action"), f"{self.path}.action", _ACTIONS)
        source, destination = self.entity("source"), self.entity("destination")
        if (version := self.found.get("ipVersion")) is not None:
            source = self.of_version(source or Entity(self.namespace), version)
        ingress = at.direction == INGRESS
        peer, subject = (source, destination) if ingress else (destination, source)
        return replace(
            at,
            action=_ACTIONS[action],
            peers=None if peer is None else (peer,),
            subject=subject,
            ports=self.ports(),
            without=self.without(),
        )

    def of_version(self, entity: Entity, version: Any) -> Entity:
        if isinstance(version, bool) or version not in EVERYWHERE:
            raise UsageError(f"{self.path}.ipVersion: {version!r:.60} is not 4 or 6")
        nets = (ANYWHERE if entity.nets is None else entity.nets) & EVERYWHERE[version]
        return replace(entity, nets=nets, text=f"{entity.text} by IPv{version}")

    def side(self, name: str) -> dict[str, Any]:
        return fields.mapping(self.found.get(name), f"{self.path}.{name}", _ENTITY)

    def entity(self, name: str) -> Entity | None:
        """Return who is meant; ``None`` is everyone."""
        found, path = self.side(name), f"{self.path}.{name}"
        if found.get("services") is not None:
            raise UsageError(f"{path}.services: matching by Service is not understood")
        if name == "source" and (found.get("ports") or found.get("notPorts")):
            raise UsageError(f"{path}.ports: the port of a client cannot be predicted")
        accounts, account_selector = self.accounts(found, path)
        entity = Entity(
            self.namespace,
            _expression(found, path, "namespaceSelector"),
            _expression(found, path, "selector"),
            _expression(found, path, "notSelector"),
            accounts,
            account_selector,
            _nets(found, path),
        )
        if not entity.pods_only and entity.not_selector is None and entity.nets is None:
            return None
        given = {k: v for k, v in found.items() if v and k not in ("ports", "notPorts")}
        return replace(entity, text=", ".join(f"{k} {_words(v)}" for k, v in given.items()))

    def accounts(
        self, found: dict[str, Any], path: str
    ) -> tuple[tuple[str, ...], Expression | None]:
        place = f"{path}.serviceAccounts"
        match = fields.mapping(found.get("serviceAccounts"), place, ("names", "selector"))
        names = fields.items(match.get("names"), f"{place}.names")
        chosen = _expression(match, place, "selector")
        return tuple(fields.text(name, f"{place}.names") for name in names), chosen

    def ports(self) -> tuple[PortMatch, ...] | None:
        protocol = self.protocol("protocol")
        if (icmp := self.icmp("icmp", protocol)) is not None:
            return (icmp,)
        ports = fields.items(self.side("destination").get("ports"), f"{self.path}.destination")
        if not ports:
            return None if protocol is None else (PortMatch(protocol),)
        return self.port_list(ports, "ports", protocol)

    def without(self) -> tuple[PortMatch, ...]:
        protocol, found = self.protocol("protocol"), []
        if (other := self.protocol("notProtocol")) is not None:
            found.append(PortMatch(other))
        if (icmp := self.icmp("notICMP", protocol)) is not None:
            found.append(icmp)
        side = self.side("destination")
        ports = fields.items(side.get("notPorts"), f"{self.path}.destination.notPorts")
        if ports:
            found += self.port_list(ports, "notPorts", protocol)
        return tuple(found)

    def port_list(self, ports: list[Any], name: str, protocol: str | None) -> tuple[PortMatch, ...]:
        path = f"{self.path}.destination.{name}"
        if protocol not in _WITH_PORTS:
            known = ", ".join(_WITH_PORTS)
            raise UsageError(f"{path}: ports need a protocol that has them ({known})")
        return tuple(_port(p, f"{path}[{i}]", protocol) for i, p in enumerate(ports))

    def protocol(self, name: str) -> str | None:
        value, path = self.found.get(name), f"{self.path}.{name}"
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 255:
            return NAMES.get(value, str(value))
        known = {each.lower(): each for each in NUMBERS}
        if not isinstance(value, str) or value.lower() not in known:
            raise UsageError(f"{path}: {value!r:.60} is not one of {', '.join(NUMBERS)}, 1 to 255")
        return known[value.lower()]

    def icmp(self, name: str, protocol: str | None) -> PortMatch | None:
        """Return types and codes as the places that they have in a `PortSet`."""
        path = f"{self.path}.{name}"
        if self.found.get(name) is None:
            return None
        found = fields.mapping(self.found[name], path, ("type", "code"))
        kind, code = found.get("type"), found.get("code")
        for value, most in ((kind, 254), (code, 255)):
            if value is not None and (not isinstance(value, int) or not 0 <= value <= most):
                raise UsageError(f"{path}: {value!r:.60} is not between 0 and {most}")
        if protocol not in ("ICMP", "ICMPv6") or (code is not None and kind is None):
            raise UsageError(f"{path}: needs protocol ICMP or ICMPv6, and a type before a code")
        if kind is None:
            return PortMatch(protocol)
        first = kind << 8 | (code or 0)
        return PortMatch(protocol, first, first if code is not None else kind << 8 | 255)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{k} {_words(v)}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _nets(found: dict[str, Any], path: str) -> AddressSet | None:
    if not found.get("nets") and not found.get("notNets"):
        return None
    sets = {}
    for name in ("nets", "notNets"):
        place = f"{path}.{name}"
        entries = fields.items(found.get(name), place)
        parts = (fields.cidr(net, f"{place}[{i}]") for i, net in enumerate(entries))
        sets[name] = AddressSet.union(parts)
    return (sets["nets"] if found.get("nets") else ANYWHERE) - sets["notNets"]


def _port(entry: Any, path: str, protocol: str) -> PortMatch:
    if isinstance(entry, str):
        if span := _RANGE.fullmatch(entry):
            first, last = (fields.port_number(int(part), path) for part in span.groups())
            if last < first:
                raise UsageError(f"{path}: the end of {entry} is below its start")
            return PortMatch(protocol, first, last)
        if not entry.isdigit():
            return PortMatch(protocol, fields.text(entry, path))
        entry = int(entry)
    return PortMatch(protocol, fields.port_number(entry, path))
