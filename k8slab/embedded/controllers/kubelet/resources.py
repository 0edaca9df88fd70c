"""Amounts of CPU and memory: what a pod asks of its node, and the downward API's fields.

Source: apimachinery ``resource.Quantity``; core/v1 ``ResourceFieldSelector``.
"""

from __future__ import annotations

import math
import os
from decimal import Decimal
from typing import TYPE_CHECKING

from k8slab.embedded.config import INSIDE
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
        amount = quantity(machine().get(resource, "0"))  # a limit that is not set
    else:
        amount = Decimal(0)
    divisor = quantity(reference.get("divisor") or "1") or Decimal(1)
    return str(math.ceil(amount / divisor))


def machine() -> dict[str, str]:
    """Return what a node has for its pods, as quantities: all that this machine has."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
    disk = os.statvfs(INSIDE if INSIDE.exists() else "/")
    return {
        "cpu": str(os.cpu_count() or 1),
        "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize // 1024}Ki",
        "hugepages-2Mi": "0",
        "memory": f"{memory}Ki",
    }
