"""Check ``metadata``: names, labels, annotations, owners, finalizers.

Source: apimachinery ``api/validation/objectmeta.go`` and each kind's name function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.statuses import (
    FieldError,
    each,
    forbidden,
    invalid,
    required,
    too_long,
)
from k8slab.embedded.apiserver.validation import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.objects.meta import Object

ANNOTATIONS_LIMIT = 256 * 1024

_NAME_RULES: dict[str, Callable[[str], list[str]]] = {
    "namespaces": names.dns_label,
    "services": names.dns_label,
    "roles.rbac.authorization.k8s.io": names.path_segment,
    "clusterroles.rbac.authorization.k8s.io": names.path_segment,
    "rolebindings.rbac.authorization.k8s.io": names.path_segment,
    "clusterrolebindings.rbac.authorization.k8s.io": names.path_segment,
}


def metadata_errors(kind: Kind, new: Object, old: Object | None) -> list[FieldError]:
    """Return all that is wrong with the metadata of an object."""
    metadata = new["metadata"]
    errors: list[FieldError] = []
    if old is None:
        errors += _name_errors(kind, metadata)
    elif metadata.get("finalizers") != old["metadata"].get("finalizers"):
        errors += _finalizer_errors(metadata, old["metadata"])
    errors += label_errors(metadata.get("labels"), "metadata.labels")
    errors += annotation_errors(metadata.get("annotations"), "metadata.annotations")
    for number, finalizer in each(metadata.get("finalizers"), errors):
        path = f"metadata.finalizers[{number}]"
        errors += [invalid(path, finalizer, why) for why in names.qualified_name(finalizer)]
    errors += _owner_errors(metadata)
    return errors


def _name_errors(kind: Kind, metadata: Object) -> list[FieldError]:
    name = metadata.get("name") or ""
    if not name:
        return [required("metadata.name", "name or generateName is required")]
    rule = _NAME_RULES.get(kind.storage, names.dns_subdomain)
    return [invalid("metadata.name", name, why) for why in rule(name)]


def _finalizer_errors(new: Object, old: Object) -> list[FieldError]:
    if not old.get("deletionTimestamp"):
        return []
    added = [f for f in new.get("finalizers") or () if f not in (old.get("finalizers") or ())]
    if not added:
        return []
    listed = ", ".join(f'"{finalizer}"' for finalizer in added)
    why = (
        "no new finalizers can be added if the object is being deleted, "
        f"found new finalizers []string{{{listed}}}"
    )
    return [forbidden("metadata.finalizers", why)]


def label_errors(labels: Object | None, path: str) -> list[FieldError]:
    """Return what is wrong with a map of labels."""
    errors = []
    for key, value in (labels or {}).items():
        errors += [invalid(path, key, why) for why in names.qualified_name(key)]
        errors += [invalid(path, value, why) for why in names.label_value(value)]
    return errors


def annotation_errors(annotations: Object | None, path: str) -> list[FieldError]:
    """Return what is wrong with annotations: their keys, and their size in all."""
    errors = [
        invalid(path, key, why)
        for key in annotations or {}
        for why in names.qualified_name(key.lower())
    ]
    if are_too_long(annotations or {}):
        errors.append(too_long(path, ANNOTATIONS_LIMIT))
    return errors


def are_too_long(annotations: Object) -> bool:
    """Say whether annotations take more bytes than all of an object's may."""
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    return size > ANNOTATIONS_LIMIT


def _owner_errors(metadata: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    owners = metadata.get("ownerReferences") or []
    for number, owner in each(owners, errors):
        path = f"metadata.ownerReferences[{number}]"
        errors += [
            required(f"{path}.{field}", "must not be empty")
            for field in ("apiVersion", "kind", "name", "uid")
            if not owner.get(field)
        ]
        if (owner.get("apiVersion"), owner.get("kind")) == ("v1", "Event"):
            why = "/v1, Kind=Event is disallowed from being an owner"
            errors.append(invalid(path, owner, why))
    listed = [f"{o.get('kind')}/{o.get('name')}" for o in owners if o.get("controller")]
    if len(listed) > 1:
        why = (
            "Only one reference can have Controller set to true. "
            f'Found "true" in references for {" and ".join(listed)}'
        )
        errors.append(invalid("metadata.ownerReferences", owners, why))
    return errors
