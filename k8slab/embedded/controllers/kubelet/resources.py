"""Amounts of CPU and memory: what a pod asks of its node, and the downward API's fields.

Source: apimachinery ``resource.Quantity``; core/v1 ``ResourceFieldSelector``.
"""

from __future__ import annotations

import math
import os
from decimal import Decimal
from typing import TYPE_CHECKING

from k8slab.objects.quantities import number as quantity

if TYPE_CHECKING:
    from k8slab.objects.meta import Object


def requests(pod: Object) -> dict[str, Decimal]:
    """Return what a pod asks of its node, by resource.

    The sum over what runs at once, or what one init container needs before, whichever is
    more (concept page "Init Containers", "Resource sharing within containers").
    """
    spec = pod["spec"]
    total: dict[str, Decimal] = {}
    before: list[dict[str, Decimal]] = []
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        amounts = container.get("resources") or {}
        wanted = {**(amounts.get("limits") or {}), **(amounts.get("requests") or {})}
        numbers = {name: quantity(amount) for name, amount in wanted.items()}
        if container.get("restartPolicy") == "Always" or container in spec["containers"]:
            for name, number in numbers.items():
                total[name] = total.get(name, Decimal(0)) + number
        else:
            before.append(numbers)
    for numbers in before:
        for name, number in numbers.items():
            total[name] = max(total.get(name, Decimal(0)), number)
    return total


def field(reference: Object, container: Object, pod: Object) -> str:
    """Return what a ``resourceFieldRef`` names, in units of its divisor, rounded up."""
    name = reference.get("containerName")
    if name:
        container = next((c for c in pod["spec"]["containers"] if c["name"] == name), container)
    group, _, resource = reference["resource"].partition(".")
    amounts = (container.get("resources") or {}).get(group) or {}
    if resource in amounts:
        amount = quantity(amounts[resource])
    elif group == "limits":
        amount = _machine(resource)
    else:
        amount = Decimal(0)
    divisor = quantity(reference.get("divisor") or "1") or Decimal(1)
    return str(math.ceil(amount / divisor))


def _machine(resource: str) -> Decimal:
    """Return what the node has: the meaning of a limit that is not set."""
    if resource == "cpu":
        return Decimal(os.cpu_count() or 1)
    if resource == "memory":
        return Decimal(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return Decimal(0)
