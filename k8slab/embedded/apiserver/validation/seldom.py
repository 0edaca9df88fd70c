"""Check kinds that are seldom written: IngressClass, ControllerRevision, PodTemplate, volumes.

Source: ``pkg/apis/networking/validation``, ``pkg/apis/apps/validation``,
``pkg/apis/core/validation``; what is said was recorded from kube-apiserver 1.37.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.statuses import (
    FieldError,
    forbidden,
    invalid,
    not_supported,
    required,
)
from k8slab.embedded.apiserver.validation import names
from k8slab.embedded.apiserver.validation.common import IMMUTABLE, at_least_zero
from k8slab.embedded.apiserver.validation.pods import template_errors

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

LONGEST_CONTROLLER = 250
RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
SECURITY_LEVELS = ("privileged", "baseline", "restricted")
SECURITY_LABELS = tuple(
    f"pod-security.kubernetes.io/{mode}" for mode in ("enforce", "audit", "warn")
)

_OF_EVERY_VOLUME = frozenset(
    {
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    }
)
"""What a PersistentVolume has whatever its type; the other fields each are a type."""


def prefixed_path_errors(word: str, path: str) -> list[FieldError]:
    """Check a domain with a path, such as the name of a controller (IsDomainPrefixedPath)."""
    domain, slash, rest = word.partition("/")
    if not slash or not domain or not rest:
        return [invalid(path, word, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    return [invalid(path, domain, why) for why in names.dns_subdomain(domain)]


def ingress_class_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return what is wrong with an IngressClass; its controller stays."""
    spec = new.get("spec") or {}
    path, controller = "spec.controller", spec.get("controller") or ""
    errors: list[FieldError] = []
    if old is not None and controller != (old.get("spec") or {}).get("controller"):
        errors.append(invalid(path, controller, IMMUTABLE))
    if not controller:
        errors.append(required(path))
    else:
        if len(controller) > LONGEST_CONTROLLER:
            why = f"Too long: may not be more than {LONGEST_CONTROLLER} bytes"
            errors.append(FieldError(path, "FieldValueTooLong", why))
        errors += prefixed_path_errors(controller, path)
    given = spec.get("parameters")
    if given is None:
        return errors
    path = "spec.parameters"
    errors += [required(f"{path}.{field}") for field in ("kind", "name") if not given.get(field)]
    scope = given.get("scope")
    if scope not in ("Cluster", "Namespace"):
        errors.append(not_supported(f"{path}.scope", scope, ("Cluster", "Namespace")))
    elif scope == "Namespace" and not given.get("namespace"):
        errors.append(required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'"))
    elif scope == "Cluster" and given.get("namespace"):
        errors.append(forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'"))
    return errors


def revision_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return what is wrong with a ControllerRevision; its data stay."""
    errors = at_least_zero(new.get("revision"), "revision")
    if new.get("data") is None:
        errors.append(required("data", "data is mandatory"))
    if old is not None and new.get("data") != old.get("data"):
        errors.append(invalid("data", new.get("data"), IMMUTABLE))
    return errors


def pod_template_errors(new: Object, _old: Object | None) -> list[FieldError]:
    """Return what is wrong with a PodTemplate."""
    return template_errors(new.get("template") or {}, "template")


def volume_errors(new: Object, _old: Object | None) -> list[FieldError]:
    """Return what is wrong with a PersistentVolume: it has a size, access modes and one type."""
    spec = new.get("spec") or {}
    errors: list[FieldError] = []
    if not spec.get("accessModes"):
        errors.append(required("spec.accessModes"))
    size = spec.get("capacity")
    if not size:
        errors.append(required("spec.capacity"))
    if set(size or ()) != {"storage"}:
        errors.append(not_supported("spec.capacity", size, ("storage",)))
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy and policy not in RECLAIM_POLICIES:
        path = "spec.persistentVolumeReclaimPolicy"
        errors.append(not_supported(path, policy, RECLAIM_POLICIES))
    types = [field for field in spec if field not in _OF_EVERY_VOLUME and spec[field] is not None]
    if not types:
        errors.append(required("spec", "must specify a volume type"))
    why = "may not specify more than 1 volume type"
    return errors + [forbidden(f"spec.{field}", why) for field in types[1:]]


def namespace_errors(new: Object, _old: Object | None) -> list[FieldError]:
    """Return what is wrong with a Namespace: finalizers, and levels of pod security."""
    errors: list[FieldError] = []
    labels = new["metadata"].get("labels") or {}
    for label in SECURITY_LABELS:
        if (level := labels.get(label)) is not None and level not in SECURITY_LEVELS:
            why = f"must be one of {', '.join(SECURITY_LEVELS)}"
            errors.append(invalid(f"metadata.labels[{label}]", level, why))
    for word in (new.get("spec") or {}).get("finalizers") or ():
        if "/" not in word and word != "kubernetes":
            why = "name is neither a standard finalizer name nor is it fully qualified"
            errors.append(invalid("spec.finalizers", word, why))
    return errors
