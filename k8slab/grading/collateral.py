"""What an exercise does not speak of must stay as it was: ``no_collateral: true``.

When an exercise begins, every flow between two different pods of its namespaces is tried, on
the ports that the destination's containers declare. Each of them that the exercise's own flows
leave out is wanted later as it was then. Pods of a workload stand under its name, since they
change; where they did not agree, or a probe did not work, nothing is wanted.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from k8slab.grading.controls import inside_flows
from k8slab.grading.wants import Want, expand
from k8slab.objects import meta
from k8slab.policy import Flow, Party
from k8slab.probes import Outcome, observe
from k8slab.probes.targets import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from k8slab.objects.meta import Object

Measured = list[list[Any]]
"""Rows of source, destination, port, protocol, outcome: plain values for the journal."""


def measure(cluster: Any, namespaces: Sequence[str], wants: Sequence[Want]) -> Measured:
    """Try every flow that the wants leave out, and return what was seen."""
    snapshot = Snapshot(cluster)
    pods = [
        pod
        for space in namespaces
        for pod in snapshot.objects("pods", space).values()
        if not meta.is_deleting(pod)
    ]
    parties = {_party(pod): owner_of(snapshot, pod) for pod in pods}
    left_out = set(_spoken_of(cluster, snapshot, wants, parties))
    flows = [
        Flow(source, destination, number, protocol)
        for pod in pods
        for number, protocol in ports_of(pod)
        for source in parties
        if parties[source] != parties[destination := _party(pod)]
    ]
    told: dict[tuple[Party, Party, int | str, str], set[Outcome]] = defaultdict(set)
    for seen in observe(cluster, flows):
        flow = seen.flow
        key = (parties[flow.source], parties[flow.destination], flow.port, flow.protocol)
        told[key].add(seen.outcome)
    return [
        [str(source), str(destination), port, protocol, next(iter(found)).value]
        for (source, destination, port, protocol), found in told.items()
        if len(found) == 1
        and Outcome.FAILED not in found
        and (source, destination, port, protocol) not in left_out
    ]


def wants_of(measured: Sequence[Sequence[Any]]) -> list[Want]:
    """Return what was measured as wants."""
    return [
        Want(Flow.of(source, destination, port, protocol), outcome, collateral=True)
        for source, destination, port, protocol, outcome in measured
    ]


def _spoken_of(
    cluster: Any, snapshot: Snapshot, wants: Sequence[Want], parties: dict[Party, Party]
) -> Iterable[tuple[Party, Party, int | str, str]]:
    """Yield the flows between pods that wanted flows lead to, through Services too."""
    for want in expand(cluster, wants, snapshot):
        source = parties.get(want.flow.source, want.flow.source)
        for inside in inside_flows(snapshot, want.flow) or ():
            yield source, parties.get(inside.source, inside.source), inside.port, inside.protocol


def _party(pod: Object) -> Party:
    return Party("pod", meta.name_of(pod), meta.namespace_of(pod))


def owner_of(snapshot: Snapshot, pod: Object) -> Party:
    """Return the workload that keeps a pod; the pod itself where there is none."""
    party, owner = _party(pod), meta.controller_of(pod)
    while owner:
        party = Party(owner["kind"].lower(), owner["name"], party.namespace)
        sets = snapshot.objects("replicasets.apps", party.namespace)
        above = sets.get(owner["name"]) if owner["kind"] == "ReplicaSet" else None
        owner = meta.controller_of(above) if above else None
    return party


def ports_of(pod: Object) -> list[tuple[int, str]]:
    """Return the ports that a pod's containers declare, with their protocols."""
    found = [
        (int(port["containerPort"]), port.get("protocol") or "TCP")
        for container in (pod.get("spec") or {}).get("containers") or ()
        for port in container.get("ports") or ()
    ]
    return list(dict.fromkeys(found))
