"""Check PersistentVolumeClaims, their changes, and StorageClasses.

Source: ``ValidatePersistentVolumeClaim`` and ``ValidatePersistentVolumeClaimUpdate`` of
``pkg/apis/core/validation``.
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
from k8slab.embedded.apiserver.validation.common import IMMUTABLE, one_of, quantity_errors
from k8slab.objects.quantities import number

if TYPE_CHECKING:
    from collections.abc import Collection

    from k8slab.objects.meta import Object

STORAGE = "storage"
MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
UPDATE_MESSAGE = (
    "spec is immutable after creation except resources.requests and "
    "volumeAttributesClassName for bound claims"
)


def claim_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return what is wrong with a PersistentVolumeClaim."""
    spec = new.get("spec") or {}
    errors = []
    if not spec.get("accessModes"):
        errors.append(required("spec.accessModes", "at least 1 access mode is required"))
    modes = spec.get("accessModes") or []
    errors += [
        not_supported("spec.accessModes", mode, MODES) for mode in modes if mode not in MODES
    ]
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        why = "may not use ReadWriteOncePod with other access modes"
        errors.append(forbidden("spec.accessModes", why))
    volume = spec.get("volumeMode")
    if volume and volume not in VOLUME_MODES:
        errors.append(not_supported("spec.volumeMode", volume, VOLUME_MODES))
    requests = _requests(spec)
    if STORAGE not in requests:
        return [*errors, required("spec.resources[storage]")]
    if wrong := quantity_errors(requests[STORAGE], "spec.resources[storage]"):
        return errors + wrong
    return errors + (_change_errors(spec, old) if old else [])


def _change_errors(after: Object, old: Object) -> list[FieldError]:
    """Check that only a bound claim changes its size, and hardly anything else of a claim changes.

    It is bound to a volume, and given a class where it has none, once.
    """
    before, status = old["spec"], old.get("status") or {}
    bound = status.get("phase") == "Bound"
    free = {f for f in ("volumeName", "storageClassName") if before.get(f) is None}
    if bound and after.get("volumeAttributesClassName"):
        free.add("volumeAttributesClassName")
    errors = []
    if _fixed(after, free, bound=bound) != _fixed(before, free, bound=bound):
        errors.append(forbidden("spec", UPDATE_MESSAGE))
    wanted, had = (number(_requests(spec).get(STORAGE, 0)) for spec in (after, before))
    # Less may be asked for after a growth that failed, but not what is there (KEP-1790).
    if wanted < had and wanted <= number((status.get("capacity") or {}).get(STORAGE, 0)):
        why = "field can not be less than status.capacity"
        errors.append(forbidden("spec.resources.requests.storage", why))
    return errors


def _fixed(spec: Object, free: Collection[str], *, bound: bool) -> Object:
    """Return the part of a claim's spec that may not change, sizes as numbers."""
    made = {key: value for key, value in spec.items() if key not in free}
    requests = {name: number(amount) for name, amount in _requests(spec).items()}
    if bound:
        requests.pop(STORAGE, None)
    made["resources"] = {**(spec.get("resources") or {}), "requests": requests}
    return made


def _requests(spec: Object) -> Object:
    return (spec.get("resources") or {}).get("requests") or {}


def storage_class_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return what is wrong with a StorageClass; nearly all of it stays as it was made."""
    errors = [] if new.get("provisioner") else [required("provisioner")]
    if old is not None:
        if (new.get("parameters") or {}) != (old.get("parameters") or {}):
            errors.append(forbidden("parameters", "updates to parameters are forbidden."))
        errors += [
            invalid(field, new.get(field), IMMUTABLE)
            for field in ("provisioner", "reclaimPolicy", "volumeBindingMode")
            if new.get(field) != old.get(field)
        ]
    for field, words in (
        ("reclaimPolicy", ("Delete", "Retain")),
        ("volumeBindingMode", ("Immediate", "WaitForFirstConsumer")),
    ):
        errors += one_of(new.get(field), words, field)
    return errors
