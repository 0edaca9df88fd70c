"""Check pods and pod templates. Source: ``pkg/apis/core/validation/validation.go``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver.scalars import fits
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
from k8slab.embedded.apiserver.validation.affinity import affinity_errors
from k8slab.embedded.apiserver.validation.common import address_errors, one_of
from k8slab.embedded.apiserver.validation.containers import (
    Surroundings,
    container_errors,
    ephemeral_errors,
    init_errors,
    security_errors,
)
from k8slab.embedded.apiserver.validation.metadata import annotation_errors, label_errors
from k8slab.embedded.apiserver.validation.volumes import volume_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.objects.meta import Object

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

SYSTEMS = ("linux", "windows")
MOST_SERVERS = 3
MOST_SEARCHES = 32
LONGEST_SEARCH = 2048
"""What a resolver's configuration may have (MaxDNSNameservers and others)."""

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_COST = re.compile(r"(?:0|[1-9][0-9]{0,10}|-[0-9]{1,20})\Z")

_GROUPS: dict[str, Callable[[Object, str], list[FieldError]]] = {
    "initContainers": init_errors,
    "containers": lambda _container, _path: [],
    "ephemeralContainers": ephemeral_errors,
}
"""The groups of containers, and what is checked in each besides."""


def pod_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return what is wrong with a pod."""
    errors = spec_errors(new["spec"], "spec")
    if old is None and new["spec"].get("ephemeralContainers"):
        errors.append(forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if old is None and new["spec"].get("nodeName") and new["spec"].get("schedulingGates"):
        why = "cannot be set until all schedulingGates have been cleared"
        errors.append(forbidden("spec.nodeName", why))
    annotations = new["metadata"].get("annotations") or {}
    before = (old or {}).get("metadata", {}).get("annotations") or {}
    if old is None or _has_deletion_cost(before):  # what was wrong before may stay so
        errors += _deletion_cost_errors(annotations, "metadata.annotations")
    return errors


def template_errors(template: Object, path: str) -> list[FieldError]:
    """Return what is wrong with a pod template."""
    metadata = template.get("metadata") or {}
    errors = [
        *label_errors(metadata.get("labels"), f"{path}.metadata.labels"),
        *annotation_errors(metadata.get("annotations"), f"{path}.metadata.annotations"),
        *_deletion_cost_errors(metadata.get("annotations") or {}, f"{path}.annotations"),
        *spec_errors(template.get("spec") or {}, f"{path}.spec"),
    ]
    if (template.get("spec") or {}).get("ephemeralContainers"):
        why = "ephemeral containers not allowed in pod template"
        errors.append(forbidden(f"{path}.spec.ephemeralContainers", why))
    return errors


def _has_deletion_cost(annotations: Object) -> bool:
    """Say whether the cost is a number of 32 bits, or is not given.

    Source: GetDeletionCostFromPodAnnotations of ``pkg/apis/core/helper``.
    """
    cost = annotations.get(DELETION_COST)
    return cost is None or (bool(_COST.match(cost)) and fits(int(cost), wide=False))


def _deletion_cost_errors(annotations: Object, path: str) -> list[FieldError]:
    if _has_deletion_cost(annotations):
        return []
    return [invalid(f"{path}[{DELETION_COST}]", "", "must be a 32bit integer")]


def spec_errors(spec: Object, path: str) -> list[FieldError]:
    """Return what is wrong with a pod's spec."""
    errors, volumes = volume_errors(spec.get("volumes") or [], f"{path}.volumes")
    if not spec.get("containers"):
        errors.append(required(f"{path}.containers"))
    pod = Surroundings(volumes, spec.get("terminationGracePeriodSeconds") or 0)
    for group, more_errors in _GROUPS.items():
        for number, container in each(spec.get(group), errors):
            where = f"{path}.{group}[{number}]"
            errors += container_errors(container, where, pod)
            errors += more_errors(container, where)
            if spec.get("hostNetwork"):
                errors += _host_port_errors(container, where)
    errors += _port_conflicts(spec, path)
    errors += one_of(spec.get("restartPolicy"), RESTART_POLICIES, f"{path}.restartPolicy")
    errors += one_of(spec.get("dnsPolicy"), DNS_POLICIES, f"{path}.dnsPolicy")
    errors += label_errors(spec.get("nodeSelector"), f"{path}.nodeSelector")
    errors += _small_errors(spec, path)
    return errors


def _small_errors(spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in ("hostname", "subdomain"):
        if value := spec.get(field):
            errors += [invalid(f"{path}.{field}", value, why) for why in names.dns_label(value)]
    if (name := spec.get("serviceAccountName")) and (wrong := names.dns_subdomain(name)):
        errors += [invalid(f"{path}.serviceAccountName", name, why) for why in wrong]
    seconds = spec.get("activeDeadlineSeconds")
    if seconds is not None and seconds < 1:
        why = "must be between 1 and 2147483647, inclusive"
        errors.append(invalid(f"{path}.activeDeadlineSeconds", seconds, why))
    errors += _dns_errors(spec.get("dnsConfig"), spec.get("dnsPolicy"), f"{path}.dnsConfig")
    for number, alias in each(spec.get("hostAliases"), errors):
        where = f"{path}.hostAliases[{number}]"
        errors += address_errors(alias.get("ip") or "", f"{where}.ip")
        for place, name in each(alias.get("hostnames"), errors):
            wrong = names.dns_subdomain(name)
            errors += [invalid(f"{where}.hostnames[{place}]", name, why) for why in wrong]
    for number, toleration in each(spec.get("tolerations"), errors):
        errors += _toleration_errors(toleration, f"{path}.tolerations[{number}]")
    errors += _gate_errors(spec, path)
    errors += _together_errors(spec, path)
    security = spec.get("securityContext") or {}
    errors += security_errors(security, f"{path}.securityContext")
    return errors + affinity_errors(spec, path)


def _dns_errors(config: Object | None, policy: str | None, path: str) -> list[FieldError]:
    """Check how a pod resolves names. Source: validatePodDNSConfig."""
    if policy == "None" and config is None:
        return [required(path, "must provide `dnsConfig` when `dnsPolicy` is None")]
    config = config or {}
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if policy == "None" and not servers:
        why = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        return [required(f"{path}.nameservers", why)]
    errors: list[FieldError] = []
    if len(servers) > MOST_SERVERS:
        why = f"must not have more than {MOST_SERVERS} nameservers"
        errors.append(invalid(f"{path}.nameservers", servers, why))
    for number, server in each(servers, errors):
        errors += address_errors(server, f"{path}.nameservers[{number}]")
    if len(searches) > MOST_SEARCHES:
        why = f"must not have more than {MOST_SEARCHES} search paths"
        errors.append(invalid(f"{path}.searches", searches, why))
    if len(" ".join(searches)) > LONGEST_SEARCH:
        why = f"must not have more than {LONGEST_SEARCH} characters (including spaces) in the "
        errors.append(invalid(f"{path}.searches", searches, f"{why}search list"))
    for number, search in each(searches, errors):
        if search != ".":
            wrong = names.dns_subdomain(search.removesuffix("."), underscores=True)
            errors += [invalid(f"{path}.searches[{number}]", search, why) for why in wrong]
    for number, option in each(config.get("options"), errors):
        if not option.get("name"):
            errors.append(required(f"{path}.options[{number}]", "must not be empty"))
    return errors


def _gate_errors(spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for number, gate in each(spec.get("readinessGates"), errors):
        where, word = f"{path}.readinessGates[{number}].conditionType", gate.get("conditionType")
        errors += [invalid(where, word, why) for why in names.qualified_name(word or "")]
    taken: set[str] = set()
    for number, gate in each(spec.get("schedulingGates"), errors):
        where, word = f"{path}.schedulingGates[{number}]", gate.get("name") or ""
        errors += [invalid(where, word, why) for why in names.qualified_name(word)]
        if word in taken:
            errors.append(duplicate(where, word))
        taken.add(word)
    return errors


def _together_errors(spec: Object, path: str) -> list[FieldError]:
    """Check fields that exclude each other, and words of closed sets."""
    errors = []
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        why = "ShareProcessNamespace and HostPID cannot both be enabled"
        errors.append(invalid(f"{path}.shareProcessNamespace", True, why))
    if spec.get("hostUsers") is False:
        errors += [
            forbidden(f"{path}.{field}", "when `hostUsers` is false")
            for field in ("hostNetwork", "hostPID", "hostIPC")
            if spec.get(field)
        ]
    if (system := spec.get("os")) is not None and system.get("name") not in SYSTEMS:
        errors.append(not_supported(f"{path}.os", system.get("name"), SYSTEMS))
    if (name := spec.get("nodeName")) and (wrong := names.dns_subdomain(name)):
        errors += [invalid(f"{path}.nodeName", name, why) for why in wrong]
    return errors


def _toleration_errors(toleration: Object, path: str) -> list[FieldError]:
    errors = []
    key, operator = toleration.get("key"), toleration.get("operator") or "Equal"
    value, effect = toleration.get("value") or "", toleration.get("effect") or ""
    if key:
        errors += [invalid(f"{path}.key", key, why) for why in names.qualified_name(key)]
    elif operator != "Exists":
        why = (
            "operator must be Exists when `key` is empty, "
            'which means "match all values and all keys"'
        )
        errors.append(invalid(f"{path}.operator", toleration.get("operator") or "", why))
    if "tolerationSeconds" in toleration and effect != "NoExecute":
        why = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        errors.append(invalid(f"{path}.effect", effect, why))
    if operator not in ("Equal", "Exists"):
        errors.append(not_supported(f"{path}.operator", operator, ["Equal", "Exists"]))
    elif operator == "Equal" and (wrong := names.label_value(value)):
        errors.append(invalid(f"{path}.operator", value, ";".join(wrong)))
    elif operator == "Exists" and value:
        why = "value must be empty when `operator` is 'Exists'"
        errors.append(invalid(f"{path}.operator", value, why))
    if effect and effect not in EFFECTS:
        errors.append(not_supported(f"{path}.effect", effect, EFFECTS))
    return errors


def _host_port_errors(container: Object, path: str) -> list[FieldError]:
    return [
        invalid(
            f"{path}.ports[{number}].hostPort",
            port["hostPort"],
            "must match `containerPort` when `hostNetwork` is true",
        )
        for number, port in enumerate(container.get("ports") or ())
        if port.get("hostPort") and port["hostPort"] != port.get("containerPort")
    ]


def _port_conflicts(spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    taken: set[tuple[Any, ...]] = set()
    for number, container in each(spec.get("containers"), errors):
        for place, port in each(container.get("ports"), errors):
            if not port.get("hostPort"):
                continue
            key = (port.get("protocol"), port.get("hostIP") or "", port["hostPort"])
            if key in taken:
                where = f"{path}.containers[{number}].ports[{place}].hostPort"
                text = "/".join(str(part) for part in key)
                errors.append(duplicate(where, text))
            taken.add(key)
    return errors
