"""Check the small kinds: ConfigMap, Secret, claims, Event, endpoints, RBAC, classes, Lease."""

from __future__ import annotations

import base64
import binascii
from ipaddress import ip_address
from typing import TYPE_CHECKING

import orjson

from k8slab.embedded.apiserver import rbac
from k8slab.embedded.apiserver.statuses import (
    FieldError,
    duplicate,
    each,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from k8slab.embedded.apiserver.validation import names
from k8slab.embedded.apiserver.validation.common import (
    IMMUTABLE,
    PROTOCOLS,
    at_least_zero,
    at_most,
    one_of,
    port_number_errors,
    reachable_errors,
    selector_errors,
)

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

DATA_LIMIT = 1024 * 1024
"""Bytes in a ConfigMap or Secret (``MaxSecretSize``)."""

MOST_ENDPOINTS = 1000
"""Of one EndpointSlice (``maxEndpoints``)."""

HIGHEST_PRIORITY = 1_000_000_000
"""Of a user's PriorityClass (HighestUserDefinablePriority)."""

SYSTEM_PRIORITIES = {
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
}

REQUIRED_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def config_map_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return what is wrong with a ConfigMap."""
    data, binary = new.get("data") or {}, new.get("binaryData") or {}
    errors = []
    for field, values in (("data", data), ("binaryData", binary)):
        for key in values:
            errors += [invalid(f"{field}[{key}]", key, why) for why in names.config_key(key)]
    errors += [
        invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
        for key in data
        if key in binary
    ]
    size = sum(len(value.encode()) for value in data.values())
    size += sum(len(value) * 3 // 4 for value in binary.values())
    if size > DATA_LIMIT:
        # What a real server writes for the object itself: field.NewPath("").
        errors.append(too_long("[]", DATA_LIMIT))
    return [*errors, *_immutable_errors(new, old, ("data", "binaryData"))]


def _immutable_errors(new: Object, old: Object | None, fields: tuple[str, ...]) -> list[FieldError]:
    if not old or not old.get("immutable"):
        return []
    why = "field is immutable when `immutable` is set"
    errors = [] if new.get("immutable") else [forbidden("immutable", why)]
    return errors + [forbidden(field, why) for field in fields if new.get(field) != old.get(field)]


def secret_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return what is wrong with a Secret."""
    data = new.get("data") or {}
    errors: list[FieldError] = []
    size = 0
    for key, value in data.items():
        errors += [invalid(f"data[{key}]", key, why) for why in names.config_key(key)]
        try:
            size += len(base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError):
            errors.append(invalid(f"data[{key}]", "<secret contents redacted>", "illegal base64"))
    if size > DATA_LIMIT:
        errors.append(too_long("data", DATA_LIMIT))
    kind = new.get("type", "")
    errors += [required(f"data[{key}]") for key in REQUIRED_KEYS.get(kind, ()) if key not in data]
    errors += _typed_secret_errors(kind, data)
    if kind == "kubernetes.io/service-account-token":
        account = "kubernetes.io/service-account.name"
        if not (new["metadata"].get("annotations") or {}).get(account):
            errors.append(required(f"metadata.annotations[{account}]"))
    if old is not None and kind != old.get("type", ""):
        errors.append(invalid("type", kind, IMMUTABLE))
    return [*errors, *_immutable_errors(new, old, ("data",))]


def _typed_secret_errors(kind: str, data: Object) -> list[FieldError]:
    """Check what is inside of a Secret for a registry, and that a log-in names somebody."""
    errors: list[FieldError] = []
    if kind == "kubernetes.io/basic-auth" and not data.keys() & {"username", "password"}:
        errors += [required("data[username]"), required("data[password]")]
    if kind in ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"):
        (key,) = REQUIRED_KEYS[kind]
        try:
            orjson.loads(base64.b64decode(data.get(key) or "e30="))  # {}: that it lacks is told
        except (ValueError, binascii.Error) as error:
            path = f"data[{key}]"
            errors.append(invalid(path, "<secret contents redacted>", str(error)))
    return errors


def event_errors(new: Object, _old: Object | None) -> list[FieldError]:
    """Return what is wrong with an Event."""
    involved = (new.get("involvedObject") or {}).get("namespace") or ""
    own = new["metadata"].get("namespace") or ""
    # Events about cluster-scoped objects live in the default namespace.
    if involved != own and not (not involved and own in ("default", "kube-system")):
        path = "involvedObject.namespace"
        return [invalid(path, involved, "does not match event.namespace")]
    return []


def endpoint_slice_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return what is wrong with an EndpointSlice."""
    kind = new.get("addressType")
    errors = one_of(kind, ("FQDN", "IPv4", "IPv6"), "addressType")
    if old is not None and kind != old.get("addressType"):
        errors.append(invalid("addressType", kind, IMMUTABLE))
    errors += at_most(new.get("endpoints") or (), MOST_ENDPOINTS, "endpoints")
    for number, endpoint in each(new.get("endpoints"), errors):
        path = f"endpoints[{number}].addresses"
        if not endpoint.get("addresses"):
            errors.append(required(path, "must contain at least 1 address"))
        for place, address in each(endpoint.get("addresses"), errors):
            errors += _slice_address_errors(address, kind, f"{path}[{place}]")
    taken: set[str] = set()
    for number, port in each(new.get("ports"), errors):
        path = f"ports[{number}]"
        if port.get("name", "") in taken:
            errors.append(duplicate(f"{path}.name", port.get("name", "")))
        taken.add(port.get("name", ""))
        if port.get("protocol") not in PROTOCOLS:
            errors.append(not_supported(f"{path}.protocol", port.get("protocol"), PROTOCOLS))
    return errors


def _slice_address_errors(address: str, kind: str | None, path: str) -> list[FieldError]:
    if kind not in ("IPv4", "IPv6"):
        return []
    try:
        fits = f"IPv{ip_address(address).version}" == kind
    except ValueError:
        fits = False
    if not fits:
        return [invalid(path, address, f"must be a valid {kind} address")]
    return reachable_errors(address, path)


def endpoints_errors(new: Object, _old: Object | None) -> list[FieldError]:
    """Return what is wrong with an Endpoints object."""
    errors: list[FieldError] = []
    for number, subset in each(new.get("subsets"), errors):
        path = f"subsets[{number}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            errors.append(required(path, "must specify `addresses` or `notReadyAddresses`"))
        for field in ("addresses", "notReadyAddresses"):
            for place, address in each(subset.get(field), errors):
                ip = address.get("ip") or ""
                errors += reachable_errors(ip, f"{path}.{field}[{place}].ip")
        for place, port in each(subset.get("ports"), errors):
            where = f"{path}.ports[{place}]"
            errors += port_number_errors(port.get("port"), f"{where}.port")
            errors += one_of(port.get("protocol"), PROTOCOLS, f"{where}.protocol")
            if len(subset["ports"]) > 1 and not port.get("name"):
                errors.append(required(f"{where}.name"))
    return errors


def role_errors(new: Object, _old: Object | None) -> list[FieldError]:
    """Return what is wrong with a Role or ClusterRole."""
    errors: list[FieldError] = []
    namespaced = bool(new["metadata"].get("namespace"))
    errors += _aggregation_errors(new.get("aggregationRule"))
    for number, rule in each(new.get("rules"), errors):
        path = f"rules[{number}]"
        urls = rule.get("nonResourceURLs") or []
        if not rule.get("verbs"):
            errors.append(required(f"{path}.verbs", "verbs must contain at least one value"))
        if urls and namespaced:
            why = "namespaced rules cannot apply to non-resource URLs"
            errors.append(invalid(f"{path}.nonResourceURLs", urls, why))
        elif urls and any(rule.get(f) for f in ("apiGroups", "resources", "resourceNames")):
            why = "rules cannot apply to both regular resources and non-resource URLs"
            errors.append(invalid(f"{path}.nonResourceURLs", urls, why))
        if urls:
            continue
        for field, one in (("apiGroups", "api group"), ("resources", "resource")):
            if not rule.get(field):
                why = f"resource rules must supply at least one {one}"
                errors.append(required(f"{path}.{field}", why))
    return errors


def _aggregation_errors(rule: Object | None) -> list[FieldError]:
    if rule is None:
        return []
    path = "aggregationRule.clusterRoleSelectors"
    chosen = rule.get("clusterRoleSelectors") or []
    if not chosen:
        why = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        return [required(path, why)]
    return [
        error
        for number, selector in enumerate(chosen)
        for error in selector_errors(selector, f"{path}[{number}]")
    ]


def binding_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return what is wrong with a RoleBinding or ClusterRoleBinding."""
    role = new.get("roleRef") or {}
    roles = ("Role", "ClusterRole") if new["metadata"].get("namespace") else ("ClusterRole",)
    errors = one_of(role.get("apiGroup"), (rbac.GROUP,), "roleRef.apiGroup")
    errors += one_of(role.get("kind"), roles, "roleRef.kind")
    if not role.get("name"):
        errors.append(required("roleRef.name"))
    if old is not None and role != old.get("roleRef"):
        errors.append(invalid("roleRef", role, IMMUTABLE))
    for number, subject in each(new.get("subjects"), errors):
        path = f"subjects[{number}]"
        kinds = ("ServiceAccount", "User", "Group")
        errors += one_of(subject.get("kind"), kinds, f"{path}.kind")
        if not subject.get("name"):
            errors.append(required(f"{path}.name"))
        if subject.get("kind") == "ServiceAccount":
            if not subject.get("namespace"):
                errors.append(required(f"{path}.namespace"))
            group = ""
        else:
            group = rbac.GROUP
        if subject.get("kind") in kinds and subject.get("apiGroup", "") != group:
            errors.append(not_supported(f"{path}.apiGroup", subject["apiGroup"], (group,)))
    return errors


def priority_class_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return what is wrong with a PriorityClass."""
    errors: list[FieldError] = []
    name, value = new["metadata"]["name"], new.get("value", 0)
    policies = ("PreemptLowerPriority", "Never")
    errors += one_of(new.get("preemptionPolicy"), policies, "preemptionPolicy")
    if name.startswith("system-"):
        if wrong := _system_class_error(name, value, new):
            why = "priority class names with 'system-' prefix are reserved for system use only."
            errors.append(forbidden("metadata.name", f"{why} error: {wrong}"))
    elif value > HIGHEST_PRIORITY:
        why = f"maximum allowed value of a user defined priority is {HIGHEST_PRIORITY}"
        errors.append(forbidden("value", why))
    if old is not None and value != old.get("value", 0):
        errors.append(forbidden("value", "may not be changed in an update."))
    if old is not None and new.get("preemptionPolicy") != old.get("preemptionPolicy"):
        errors.append(invalid("preemptionPolicy", new.get("preemptionPolicy"), IMMUTABLE))
    return errors


def _system_class_error(name: str, value: int, new: Object) -> str:
    known = SYSTEM_PRIORITIES.get(name)
    if known is None:
        return f"{name} is not a known system priority class"
    if value != known:
        return f"value of {name} PriorityClass must be {known}"
    if new.get("globalDefault"):
        return f"globalDefault of {name} PriorityClass must be false"
    return ""


def lease_errors(new: Object, _old: Object | None) -> list[FieldError]:
    """Return what is wrong with a Lease. Source: ``pkg/apis/coordination/validation``."""
    spec = new.get("spec") or {}
    errors = at_least_zero(spec.get("leaseTransitions"), "spec.leaseTransitions")
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        errors.append(invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    return errors
