"""A pod's quality of service: what it can count on when memory runs out.

CPU and memory alone count. Source: ``ComputePodQOS`` of ``pkg/apis/core/v1/helper/qos``.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from k8slab.objects.quantities import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from k8slab.objects.meta import Object

COUNTED = ("cpu", "memory")


def quality_of_service(spec: Object) -> str:
    """Return ``Guaranteed``, ``Burstable`` or ``BestEffort`` for a pod's spec.

    What is no quantity counts as none: it is asked before the spec is checked.
    """
    owners = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    if any((spec.get("resources") or {}).get(group) for group in ("requests", "limits")):
        owners = [spec]
    requests, limits = (
        [_counted(owner, group) for owner in owners] for group in ("requests", "limits")
    )
    if not any((*requests, *limits)):
        return "BestEffort"
    limited = all(one.keys() == set(COUNTED) for one in limits)
    return "Guaranteed" if limited and _sum(requests) == _sum(limits) else "Burstable"


def _counted(owner: Object, group: str) -> dict[str, Decimal]:
    amounts = (owner.get("resources") or {}).get(group) or {}
    found = {name: _amount(amounts[name]) for name in COUNTED if name in amounts}
    return {name: amount for name, amount in found.items() if amount > 0}


def _amount(text: str) -> Decimal:
    try:
        return number(text)
    except ValueError:
        return Decimal(0)


def _sum(amounts: Iterable[Mapping[str, Decimal]]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for one in amounts:
        for name, amount in one.items():
            total[name] = total.get(name, Decimal(0)) + amount
    return total
