"""Controls: what must hold before silence counts as "blocked".

That nothing answers proves nothing by itself: the server may be dead, the client deleted,
the network broken, policies not enforced. So a blocked flow counts only if

- destination: on the wanted port something answers at the pod's own address from inside
  that pod, where no policy applies (an outside address: it was reached in the baseline);
- source: its agent works, and the same flow was open in the set-up's baseline, or the
  source reaches somebody now;
- enforcement: the drop was reported by the kernel, or canaries show on each node concerned
  that an allowed flow passes and a denied one does not.

None of these depends on the learner's policies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from k8slab.grading.canaries import Canaries
from k8slab.grading.polling import Polling
from k8slab.grading.result import Blame
from k8slab.objects.slices import SLICES, service_of
from k8slab.probes import Flow, Outcome, Party, observe
from k8slab.probes.targets import Snapshot, named_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from k8slab.grading.context import Context
    from k8slab.probes import Observation

Lines = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failing:
    """A control that does not hold: why, in lines for a learner, and whose matter that is."""

    blame: Blame
    lines: Lines


def failing_control(
    context: Context, blocked: Sequence[Observation], seen: Sequence[Observation]
) -> Failing | None:
    """Return why the blocked flows prove nothing; ``None`` if they do.

    `seen` holds every observation of the check, `blocked` those whose silence should count.
    """
    snapshot = Snapshot(context.cluster)
    flows = [one.flow for one in blocked]
    inside = {flow: inside_flows(snapshot, flow) for flow in flows}
    # A pod to itself on a port where nobody listens: any outcome shows a working agent.
    alive = [Flow(s, s, 1) for s in sorted({f.source for f in flows}) if s.kind == "pod"]
    asked = list(dict.fromkeys([*(f for found in inside.values() for f in found or ()), *alive]))
    servers = {flow for found in inside.values() for flow in found or ()}
    now = context.looks(snapshot)
    answers = Polling(
        look=lambda: _ask(asked, now()),
        good=lambda seen: all(seen[flow].outcome is Outcome.OPEN for flow in servers),
        quiet=lambda _: context.quiet(listening=False),
        deadline=context.deadline,
        settled=1,
    ).run()
    lines = _destination(context, inside, answers) or _source(context, flows, alive, answers, seen)
    if lines:
        return Failing(Blame.NOT_READY, lines)
    lines = _enforcement(context, snapshot, blocked)
    return Failing(Blame.NOT_ENFORCED, lines) if lines else None


def _ask(flows: Sequence[Flow], snapshot: Snapshot) -> dict[Flow, Observation]:
    seen = observe(snapshot.cluster, flows, snapshot=snapshot)
    return dict(zip(flows, seen, strict=True))


def _destination(
    context: Context,
    inside: Mapping[Flow, list[Flow] | None],
    answers: Mapping[Flow, Observation],
) -> Lines:
    for flow, found in inside.items():
        if found is None and str(flow) not in context.baseline:
            return (
                f"it is not known that {flow.destination} ever answered {flow.source}",
                "set the exercise up again, so that the baseline is measured",
            )
        if found == []:
            return (f"no pod stands behind {flow.destination}: is it blocked, or not there?",)
        for one in found or ():
            if answers[one].outcome is not Outcome.OPEN:
                return (
                    f"nothing answers on port {one.port}/{one.protocol} inside {one.source}",
                    "a dead server is not a blocked one: bring it back, then check again",
                )
    return ()


def _source(
    context: Context,
    flows: list[Flow],
    alive: list[Flow],
    answers: Mapping[Flow, Observation],
    seen: Sequence[Observation],
) -> Lines:
    for flow in alive:
        if answers[flow].outcome is Outcome.FAILED:
            return (f"the client {flow.source} cannot be used: {answers[flow].detail}",)
    reaching = {one.flow.source for one in seen if one.outcome is Outcome.OPEN}
    for flow in flows:
        if flow.source not in reaching and str(flow) not in context.baseline:
            return (
                f"{flow.source} reaches nobody; did it ever reach {flow.destination}?",
                "set the exercise up again, so that the baseline is measured",
            )
    return ()


def _enforcement(context: Context, snapshot: Snapshot, blocked: Sequence[Observation]) -> Lines:
    unproved = [one.flow for one in blocked if not one.denial]
    if not unproved:
        return ()
    nodes = sorted({node for flow in unproved for node in nodes_of(snapshot, flow)})
    return Canaries(context.cluster).failing(nodes, context.deadline)


def inside_flows(snapshot: Snapshot, flow: Flow) -> list[Flow] | None:
    """Return for each pod behind the destination the flow from itself to its own port.

    ``None`` for a destination that is no pod of this cluster: nobody can ask its inside.
    """
    destination = flow.destination
    if destination.kind == "svc":
        return _service_backends(snapshot, flow)
    if destination.kind != "pod":
        return None
    pod = snapshot.objects("pods", destination.namespace).get(destination.name)
    if pod is None:
        return []
    port = flow.port if isinstance(flow.port, int) else named_port(pod, flow)
    return [replace(flow, source=destination, port=port)]


def _service_backends(snapshot: Snapshot, flow: Flow) -> list[Flow] | None:
    """Return the flows inside the pods behind a Service; ``None`` where no pod is meant.

    Behind ``default/kubernetes`` are addresses of nodes, behind others some of the world outside.
    """
    space, name = flow.destination.namespace, flow.destination.name
    service = snapshot.objects("services", space).get(name) or {}
    names = {
        port.get("name") or ""
        for port in (service.get("spec") or {}).get("ports") or ()
        if flow.port in (port.get("port"), port.get("name"))
    }
    every = snapshot.objects(SLICES, space).values()
    slices = [one for one in every if service_of(one) == name]
    found, others = [], False
    for part in slices:
        numbers = [p["port"] for p in part.get("ports") or () if (p.get("name") or "") in names]
        for endpoint in part.get("endpoints") or ():
            reference = endpoint.get("targetRef") or {}
            if reference.get("kind") == "Pod" and numbers:
                pod = Party("pod", reference["name"], reference.get("namespace") or space)
                found.append(Flow(pod, pod, numbers[0], flow.protocol))
            others = others or (bool(numbers) and not reference)
    return None if others and not found else found


def nodes_of(snapshot: Snapshot, flow: Flow) -> set[str]:
    """Return the nodes of a flow's pods."""
    parties = [flow.source, *(one.source for one in inside_flows(snapshot, flow) or ())]
    pods = [snapshot.objects("pods", p.namespace).get(p.name) for p in parties if p.kind == "pod"]
    return {pod["spec"]["nodeName"] for pod in pods if pod and pod["spec"].get("nodeName")}
