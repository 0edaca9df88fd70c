"""Check Services. Source: ValidateService in ``pkg/apis/core/validation/validation.go``."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver.statuses import (
    FieldError,
    duplicate,
    each,
    forbidden,
    invalid,
    not_supported,
    required,
)
from k8slab.embedded.apiserver.validation import names
from k8slab.embedded.apiserver.validation.common import (
    PROTOCOLS,
    address_errors,
    cidr_errors,
    one_of,
    port_number_errors,
    port_or_name_errors,
    reachable_errors,
)
from k8slab.embedded.apiserver.validation.metadata import label_errors

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
EXTERNAL = ("NodePort", "LoadBalancer")
POLICIES = ("SingleStack", "PreferDualStack", "RequireDualStack")
LONGEST_AFFINITY = 86400
NEAR = ("PreferClose", "PreferSameZone", "PreferSameNode")


def service_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return what is wrong with a Service."""
    spec = new["spec"]
    kind = spec.get("type")
    errors = one_of(kind, TYPES, "spec.type")
    headless = spec.get("clusterIP") == "None"
    if kind == "ExternalName":
        errors += _external_name_errors(spec)
        families = ("ipFamilies", "ipFamilyPolicy") if old is None else ()
        why = "may not be set for ExternalName services"
        errors += [forbidden(f"spec.{field}", why) for field in families if spec.get(field)]
    elif not spec.get("ports") and not headless:
        errors.append(required("spec.ports"))
    errors += _port_errors(spec.get("ports") or [], kind)
    errors += label_errors(spec.get("selector"), "spec.selector")
    errors += _affinity_errors(spec)
    errors += _traffic_errors(spec)
    if kind != "ExternalName":
        errors += _address_errors(spec, kind, new=old is None)
    for number, address in each(spec.get("externalIPs"), errors):
        errors += reachable_errors(address, f"spec.externalIPs[{number}]")
    errors += _balancing_errors(spec, kind, new=old is None)
    for number, cidr in each(spec.get("loadBalancerSourceRanges"), errors):
        errors += cidr_errors(cidr, f"spec.loadBalancerSourceRanges[{number}]")
    if old is not None:
        errors += _change_errors(spec, old["spec"])
    return errors


def _balancing_errors(spec: Object, kind: str | None, *, new: bool) -> list[FieldError]:
    """Refuse what only a load balancer has; who stops being one loses the rest of it."""
    if kind == "LoadBalancer":
        path, word = "spec.loadBalancerClass", spec.get("loadBalancerClass")
        return [invalid(path, word, why) for why in names.qualified_name(word)] if word else []
    why = "may only be used when `type` is 'LoadBalancer'"
    lost = ("loadBalancerClass", "allocateLoadBalancerNodePorts") if new else ()
    errors = [forbidden(f"spec.{field}", why) for field in lost if spec.get(field) is not None]
    if spec.get("loadBalancerSourceRanges"):
        errors.append(forbidden("spec.LoadBalancerSourceRanges", why))  # a real server's spelling
    return errors


def _external_name_errors(spec: Object) -> list[FieldError]:
    why = "may not be set for ExternalName services"
    given = {**spec, "clusterIPs": spec.get("clusterIPs") or spec.get("clusterIP")}
    fields = ("clusterIPs", "ipFamilies", "ipFamilyPolicy")
    errors = [forbidden(f"spec.{field}", why) for field in fields if given.get(field)]
    name = (spec.get("externalName") or "").rstrip(".")
    if not name:
        errors.append(required("spec.externalName"))
        return errors
    wrong = names.dns_subdomain(name)
    return [*errors, *(invalid("spec.externalName", name, why) for why in wrong)]


def _port_errors(ports: list[Object], kind: str | None) -> list[FieldError]:
    errors: list[FieldError] = []
    taken_names: set[str] = set()
    taken_ports: set[tuple[Any, Any]] = set()
    for number, port in each(ports, errors):
        path = f"spec.ports[{number}]"
        name = port.get("name") or ""
        if not name and len(ports) > 1:
            errors.append(required(f"{path}.name"))
        elif name:
            errors += [invalid(f"{path}.name", name, why) for why in names.dns_label(name)]
            if name in taken_names:
                errors.append(duplicate(f"{path}.name", name))
        taken_names.add(name)
        errors += port_number_errors(port.get("port") or 0, f"{path}.port")
        errors += one_of(port.get("protocol"), PROTOCOLS, f"{path}.protocol")
        errors += port_or_name_errors(port.get("targetPort"), f"{path}.targetPort")
        if word := port.get("appProtocol"):
            errors += [
                invalid(f"{path}.appProtocol", word, why) for why in names.qualified_name(word)
            ]
        if port.get("nodePort") and kind not in EXTERNAL:
            why = f"may not be used when `type` is '{kind}'"
            errors.append(forbidden(f"{path}.nodePort", why))
        key = (port.get("protocol"), port.get("port"))
        if key in taken_ports:
            errors.append(duplicate(path, {"port": key[1], "protocol": key[0]}))
        taken_ports.add(key)
    return errors


def _affinity_errors(spec: Object) -> list[FieldError]:
    affinity = spec.get("sessionAffinity")
    errors = one_of(affinity, ("ClientIP", "None"), "spec.sessionAffinity")
    if affinity == "ClientIP":
        config = spec.get("sessionAffinityConfig") or {}
        seconds = (config.get("clientIP") or {}).get("timeoutSeconds", 0)
        if not 0 < seconds <= LONGEST_AFFINITY:
            path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
            why = f"must be greater than 0 and less than {LONGEST_AFFINITY}"
            errors.append(invalid(path, seconds, why))
    return errors


def _traffic_errors(spec: Object) -> list[FieldError]:
    errors = []
    external, internal = spec.get("externalTrafficPolicy"), spec.get("internalTrafficPolicy")
    accessible = spec.get("type") in EXTERNAL or spec.get("externalIPs")
    if external and not accessible:
        why = "may only be set for externally-accessible services"
        errors.append(invalid("spec.externalTrafficPolicy", external, why))
    for field, value in (("externalTrafficPolicy", external), ("internalTrafficPolicy", internal)):
        if value and value not in ("Cluster", "Local"):
            errors.append(not_supported(f"spec.{field}", value, ["Cluster", "Local"]))
    near = spec.get("trafficDistribution")
    if near is not None and near not in NEAR:
        errors.append(not_supported("spec.trafficDistribution", near, NEAR))
    if spec.get("healthCheckNodePort") and not (
        spec.get("type") == "LoadBalancer" and external == "Local"
    ):
        why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        errors.append(invalid("spec.healthCheckNodePort", spec["healthCheckNodePort"], why))
    return errors


def _address_errors(spec: Object, kind: str | None, *, new: bool) -> list[FieldError]:
    errors = []
    address, addresses = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    if new and addresses and not address:
        why = "must be empty when `clusterIP` is not specified"
        return [invalid("spec.clusterIPs", addresses, why)]
    if addresses and address and addresses[0] != address:
        why = "first value must match `clusterIP`"
        errors.append(invalid("spec.clusterIPs", addresses, why))
    if len(addresses) > 2:
        # Nothing is said of each of them: the list is in the message once.
        return [*errors, invalid("spec.clusterIPs", addresses, "may only hold up to 2 values")]
    families = set()
    for number, value in each(addresses or ([address] if address else []), errors):
        path = f"spec.clusterIPs[{number}]"
        if value == "None":
            if kind in EXTERNAL:
                why = f"may not be set to 'None' for {kind} services"
                errors.append(invalid(path, value, why))
            continue
        wrong = address_errors(value, path)
        errors += wrong
        if not wrong:
            family = ip_address(value).version
            if family in families:
                why = "may specify no more than one IP for each IP family"
                errors.append(invalid("spec.clusterIPs", addresses, why))
            families.add(family)
    policy = spec.get("ipFamilyPolicy")
    if policy and policy not in POLICIES:
        errors.append(not_supported("spec.ipFamilyPolicy", policy, POLICIES))
    seen: set[str] = set()
    for number, family in each(spec.get("ipFamilies"), errors):
        path = f"spec.ipFamilies[{number}]"
        if family not in ("IPv4", "IPv6"):
            errors.append(not_supported(path, family, ["IPv4", "IPv6"]))
        elif family in seen:
            errors.append(duplicate(path, family))
        seen.add(family)
    return errors


def _change_errors(spec: Object, before: Object) -> list[FieldError]:
    """Addresses stay as they are, unless the Service is or was an ExternalName; its class stays."""
    errors = []
    if spec.get("type") == before.get("type") == "LoadBalancer":
        word = spec.get("loadBalancerClass")
        if word != before.get("loadBalancerClass"):
            errors.append(invalid("spec.loadBalancerClass", word, "may not change once set"))
    if "ExternalName" in (spec.get("type"), before.get("type")):
        return errors
    was, now = before.get("clusterIPs") or [], spec.get("clusterIPs") or []
    asked = spec.get("clusterIP") or ""
    if was and ((now and now[0] != was[0]) or (asked and asked != was[0])):
        path = "spec.clusterIPs[0]"
        errors.append(invalid(path, now or [asked], "may not change once set"))
    return errors
