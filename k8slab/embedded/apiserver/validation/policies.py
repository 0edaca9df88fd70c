"""Check NetworkPolicies and Ingresses. Source: ``pkg/apis/networking/validation``."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver.statuses import (
    FieldError,
    each,
    forbidden,
    invalid,
    not_supported,
    required,
)
from k8slab.embedded.apiserver.validation import names
from k8slab.embedded.apiserver.validation.common import (
    PROTOCOLS,
    cidr_errors,
    port_number_errors,
    port_or_name_errors,
    selector_errors,
)

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

CLASS_ANNOTATION = "kubernetes.io/ingress.class"


def network_policy_errors(new: Object, _old: Object | None) -> list[FieldError]:
    """Return what is wrong with a NetworkPolicy."""
    spec = new["spec"]
    errors = selector_errors(spec.get("podSelector"), "spec.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for number, rule in each(spec.get(direction), errors):
            path = f"spec.{direction}[{number}]"
            for place, port in each(rule.get("ports"), errors):
                errors += _port_errors(port, f"{path}.ports[{place}]")
            for place, peer in each(rule.get(peers), errors):
                errors += _peer_errors(peer, f"{path}.{peers}[{place}]")
    types = spec.get("policyTypes") or []
    if len(types) > 2:
        why = "may not specify more than two policyTypes"
        return [*errors, invalid("spec.policyTypes", types, why)]
    errors += [
        not_supported(f"spec.policyTypes[{number}]", word, ["Ingress", "Egress"])
        for number, word in enumerate(types)
        if word not in ("Egress", "Ingress")
    ]
    return errors


def _port_errors(port: Object, path: str) -> list[FieldError]:
    errors = []
    if (protocol := port.get("protocol")) not in PROTOCOLS:
        errors.append(not_supported(f"{path}.protocol", protocol, ("TCP", "UDP", "SCTP")))
    number, last = port.get("port"), port.get("endPort")
    if number is not None:
        errors += port_or_name_errors(number, f"{path}.port")
    if last is None:
        return errors
    if number is None:
        errors.append(required(f"{path}.port", "must be specified when `endPort` is specified"))
    elif isinstance(number, str):
        why = "may not be specified when `port` is non-numeric"
        errors.append(invalid(f"{path}.endPort", last, why))
    else:
        errors += port_number_errors(last, f"{path}.endPort")
        if last < number:
            why = "must be greater than or equal to `port`"
            errors.append(invalid(f"{path}.endPort", last, why))
    return errors


def _peer_errors(peer: Object, path: str) -> list[FieldError]:
    selecting = [key for key in ("podSelector", "namespaceSelector") if peer.get(key) is not None]
    errors: list[FieldError] = []
    for key in selecting:
        errors += selector_errors(peer[key], f"{path}.{key}")
    block = peer.get("ipBlock")
    if block is not None:
        errors += _block_errors(block, f"{path}.ipBlock")
        if selecting:
            why = "may not specify both ipBlock and another peer"
            errors.append(forbidden(path, why))
    elif not selecting:
        errors.append(required(path, "must specify a peer"))
    return errors


def _block_errors(block: Object, path: str) -> list[FieldError]:
    cidr = block.get("cidr") or ""
    if not cidr:
        return [required(f"{path}.cidr")]
    errors = cidr_errors(cidr, f"{path}.cidr")
    if errors:
        return errors
    whole = ip_network(cidr, strict=False)
    for number, part in each(block.get("except"), errors):
        where = f"{path}.except[{number}]"
        wrong = cidr_errors(part, where)
        errors += wrong
        if not wrong and not _is_strict_part(ip_network(part, strict=False), whole):
            errors.append(invalid(where, part, "must be a strict subset of `cidr`"))
    return errors


def _is_strict_part(part: IPv4Network | IPv6Network, whole: IPv4Network | IPv6Network) -> bool:
    if part.version != whole.version or part.prefixlen <= whole.prefixlen:
        return False
    return part.network_address in whole


def ingress_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return what is wrong with an Ingress."""
    spec = new.get("spec") or {}
    errors: list[FieldError] = []
    named = (new["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION)
    if old is None and named and spec.get("ingressClassName") not in (None, named):
        why = "must match `ingressClassName` when both are specified"
        errors.append(invalid(f"annotations.{CLASS_ANNOTATION}", named, why))
    if not spec.get("rules") and not spec.get("defaultBackend"):
        why = "either `defaultBackend` or `rules` must be specified"
        errors.append(invalid("spec", [], why))
    if backend := spec.get("defaultBackend"):
        errors += _backend_errors(backend, "spec.defaultBackend")
    for number, rule in each(spec.get("rules"), errors):
        path = f"spec.rules[{number}]"
        if host := rule.get("host"):
            errors += _host_errors(host, f"{path}.host")
        http = rule.get("http")
        if http is None:
            continue
        if not http.get("paths"):
            errors.append(required(f"{path}.http.paths"))
        for place, entry in each(http.get("paths"), errors):
            errors += _path_errors(entry, f"{path}.http.paths[{place}]")
    for number, tls in each(spec.get("tls"), errors):
        for place, host in each(tls.get("hosts"), errors):
            errors += _host_errors(host, f"spec.tls[{number}].hosts[{place}]")
    return errors


def _host_errors(host: str, path: str) -> list[FieldError]:
    return [invalid(path, host, why) for why in names.dns_subdomain(host.removeprefix("*."))]


def _path_errors(entry: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    word: Any = entry.get("pathType")
    types = ("Exact", "ImplementationSpecific", "Prefix")
    if not word:
        errors.append(required(f"{path}.pathType", "pathType must be specified"))
    elif word not in types:
        errors.append(not_supported(f"{path}.pathType", word, types))
    place = entry.get("path") or ""
    if word in ("Exact", "Prefix") and not place.startswith("/"):
        errors.append(invalid(f"{path}.path", place, "must be an absolute path"))
    return [*errors, *_backend_errors(entry.get("backend") or {}, f"{path}.backend")]


def _backend_errors(backend: Object, path: str) -> list[FieldError]:
    service = backend.get("service")
    if service is not None and backend.get("resource") is not None:
        return [invalid(path, "", "cannot set both resource and service backends")]
    if service is None:
        if backend.get("resource"):
            return []
        return [required(path, "must specify a resource or service backend")]
    errors = []
    if not service.get("name"):
        errors.append(required(f"{path}.service.name"))
    port = service.get("port") or {}
    if port.get("name") and port.get("number"):
        errors.append(invalid(path, port["name"], "cannot set both port name & port number"))
    elif not port.get("name") and not port.get("number"):
        errors.append(required(f"{path}.service.port", "port name or number is required"))
    elif port.get("number"):
        errors += port_number_errors(port["number"], f"{path}.service.port.number")
    return errors
