"""Resizing a pod in place: what may change through ``pods/resize`` (KEP-1287).

Source: ``dropNonResizeUpdates`` of ``registry/core/pod`` and ``ValidatePodResize`` of
``pkg/apis/core/validation``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.qos import quality_of_service
from k8slab.embedded.apiserver.statuses import FieldError, forbidden, invalid
from k8slab.embedded.apiserver.validation.pods import spec_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8slab.objects.meta import Object

GROUPS = ("containers", "initContainers")
RESIZED = ("resources", "resizePolicy")
MUTABLE = ("cpu", "memory")


def resized(new: Object, old: Object) -> Object:
    """Return the old spec with what a resize may change taken from the new one.

    Containers that are others than before are left for `errors` to refuse.
    """
    made = dict(old)
    for group in GROUPS:
        after, before = new.get(group) or [], old.get(group) or []
        if [container.get("name") for container in after] != [c["name"] for c in before]:
            return new
        if before:
            made[group] = [_merged(*pair) for pair in zip(after, before, strict=True)]
    return made


def _merged(after: Object, before: Object) -> Object:
    kept = {key: value for key, value in before.items() if key not in RESIZED}
    return {**kept, **{key: after[key] for key in RESIZED if key in after}}


def errors(new: Object, old: Object) -> list[FieldError]:
    """Return why a pod cannot be resized so."""
    after, before = new["spec"], old["spec"]
    found = spec_errors(after, "spec")
    if quality_of_service(before) != (kind := quality_of_service(after)):
        found.append(invalid("spec", kind, "Pod QOS Class may not change as a result of resizing"))
    if _fixed(after) != _fixed(before):
        found.append(forbidden("spec", "only cpu and memory resources are mutable"))
        return found
    for group in GROUPS:
        pairs = zip(after.get(group) or (), before.get(group) or (), strict=True)
        for number, (container, was) in enumerate(pairs):
            found += _lost(container, was, f"spec.{group}[{number}].resources")
    return found


def _lost(after: Object, before: Object, path: str) -> list[FieldError]:
    return [
        forbidden(f"{path}.{group}", f"resource {group} cannot be removed")
        for group in ("limits", "requests")
        if (_amounts(before, group).keys() - _amounts(after, group).keys()) & set(MUTABLE)
    ]


def _amounts(container: Object, group: str) -> Mapping[str, str]:
    return (container.get("resources") or {}).get(group) or {}


def _fixed(spec: Object) -> Object:
    """Return the spec without what a resize may change."""
    made = dict(spec)
    for group in GROUPS:
        made[group] = [_rest(container) for container in spec.get(group) or ()]
    return made


def _rest(container: Object) -> Object:
    others = [
        sorted(item for item in _amounts(container, group).items() if item[0] not in MUTABLE)
        for group in ("limits", "requests")
    ]
    claims = (container.get("resources") or {}).get("claims")
    return {k: v for k, v in container.items() if k not in RESIZED} | {"fixed": [others, claims]}
