"""Where a challenge's packets are lost, seen by a journey of the flow that the symptom is about.

A pod that loses them may be replaced while somebody looks for it, or move to another node: a
place counts under the name of the pod's workload too, and as a journey sees it now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab.errors import ProbeError
from k8slab.grading.collateral import owner_of
from k8slab.probes.journey import CAPABILITY, journey
from k8slab.probes.targets import Snapshot

if TYPE_CHECKING:
    from k8slab.challenges.recipe import Case


def places(cluster: Any, case: Case) -> list[str]:
    """Return the names of the place that loses packets now, ``str(Place)`` first.

    Empty where none are lost, or where the cluster shows no journeys.
    """
    if case.lost is None or CAPABILITY not in cluster.capabilities:
        return []
    try:
        found = journey(cluster, case.lost.flow, packet=case.lost.packet, predict=False)
    except ProbeError:
        return []
    if not found.lost:
        return []
    place = found.lost.place
    return [str(place), *(_workload(cluster, place.name) if place.kind == "pod" else ())]


def _workload(cluster: Any, key: str) -> list[str]:
    """Return the names of a pod's workload; `key` is NAMESPACE/NAME."""
    namespace, _, name = key.partition("/")
    there = Snapshot(cluster)
    pod = there.objects("pods", namespace).get(name)
    if pod is None:
        return []
    owner = owner_of(there, pod)
    return [f"pod {namespace}/{owner.name}", f"{owner.kind}/{owner.name}"]
