"""Check what a container asks for and what it is limited to.

Source: ``ValidateContainerResourceRequirements`` of ``pkg/apis/core/validation`` and the helpers of
``pkg/apis/core/helper``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.statuses import FieldError, forbidden, invalid, required
from k8slab.embedded.apiserver.validation import names
from k8slab.embedded.apiserver.validation.common import quantity_errors
from k8slab.objects.quantities import number

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

OF_CONTAINERS = ("cpu", "memory", "ephemeral-storage")
OF_QUOTAS = frozenset(
    {
        "configmaps",
        "persistentvolumeclaims",
        "pods",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "services",
        "services.loadbalancers",
        "services.nodeports",
        "storage",
        *(f"{part}.{name}" for part in ("limits", "requests") for name in OF_CONTAINERS),
        "requests.storage",
    }
)
"""Names that are standard too, though not for containers."""

HUGE = "hugepages-"


def resource_errors(resources: Object, path: str) -> list[FieldError]:
    """Return what is wrong with the ``resources`` of a container."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    errors = [
        error
        for part, amounts in (("limits", limits), ("requests", requests))
        for name, amount in amounts.items()
        for error in _amount_errors(name, amount, f"{path}.{part}[{name}]")
    ]
    if errors:  # amounts that are none cannot be compared
        return errors
    for name, amount in requests.items():
        errors += _limit_errors(name, amount, limits.get(name), path)
    asked = {*limits, *requests}
    if any(name.startswith(HUGE) for name in asked) and not asked & {"cpu", "memory"}:
        errors.append(forbidden(path, "HugePages require cpu or memory"))
    return errors


def _limit_errors(name: str, amount: str, limit: str | None, path: str) -> list[FieldError]:
    """Compare a request with its limit; what cannot be shared must be asked for in full."""
    shared = _is_native(name) and not name.startswith(HUGE)
    if limit is None:
        why = "Limit must be set for non overcommitable resources"
        return [] if shared else [required(f"{path}.limits", why)]
    where = f"{path}.requests"
    if not shared and number(amount) != number(limit):
        return [invalid(where, amount, f"must be equal to {name} limit of {limit}")]
    if number(amount) > number(limit):
        return [invalid(where, amount, f"must be less than or equal to {name} limit of {limit}")]
    return []


def _amount_errors(name: str, amount: str, path: str) -> list[FieldError]:
    errors = [invalid(path, name, why) for why in names.qualified_name(name)]
    if "/" not in name and name not in OF_CONTAINERS and not name.startswith(HUGE):
        if name not in OF_QUOTAS:
            why = "must be a standard resource type or fully qualified"
            errors.append(invalid(path, name, why))
        errors.append(invalid(path, name, "must be a standard resource for containers"))
    if wrong := quantity_errors(amount, path):
        return errors + wrong
    if not _is_native(name) and number(amount) % 1:
        errors.append(invalid(path, amount, "must be an integer"))
    if name.startswith(HUGE) and not _is_multiple(amount, name.removeprefix(HUGE)):
        why = f"{amount} is not positive integer multiple of {name}"
        errors.append(invalid(path, amount, why))
    return errors


def _is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


def _is_multiple(amount: str, size: str) -> bool:
    if quantity_errors(size, "") or number(size) <= 0:
        return False
    return number(amount) % number(size) == 0
