"""Wanted flows: observed until they are stable, compared, and counted only with controls."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from k8slab import policy
from k8slab.errors import K8slabError
from k8slab.grading.controls import failing_control
from k8slab.grading.polling import Polling
from k8slab.grading.result import Counterexample, Finding, Status
from k8slab.probes import Outcome, observe
from k8slab.probes.targets import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.grading.context import Context
    from k8slab.probes import Flow, Observation

BLOCKED = "blocked"
"""The wish that is fulfilled by silence (dropped) and by refusal (rejected)."""

WISHES = {outcome.value: (outcome,) for outcome in Outcome if outcome is not Outcome.FAILED} | {
    BLOCKED: (Outcome.SILENT, Outcome.REFUSED)
}


@dataclass(frozen=True, slots=True)
class Want:
    """One wanted flow: `wish` is an outcome's word or ``blocked``."""

    flow: Flow
    wish: str
    because: str = ""
    """Why the task wants it, in the words of the task."""
    origin: str = ""
    """The flow as the task wrote it, where a workload was replaced by its pods."""

    def fulfilled_by(self, outcome: Outcome) -> bool:
        """Say whether this outcome is what was wanted; `FAILED` never is."""
        return outcome in WISHES[self.wish]

    @property
    def needs_controls(self) -> bool:
        """Say whether silence would count, which a dead server gives for nothing."""
        return self.wish in (BLOCKED, Outcome.SILENT.value)


Pairs = list[tuple[Want, "Observation"]]


def baseline(cluster: Any, wants: Sequence[Want]) -> frozenset[str]:
    """Return the wanted flows (as text) that are open now, with all pods of their workloads."""
    pairs = _look(cluster, wants)
    closed = {want.origin for want, seen in pairs if seen.outcome is not Outcome.OPEN}
    return frozenset(want.origin for want, _ in pairs) - closed


def check_flows(context: Context, wants: Sequence[Want]) -> Finding:
    """Observe all wanted flows until they are stable, and compare."""
    pairs = Polling(
        look=lambda: _look(context.cluster, wants),
        good=lambda pairs: not _unfulfilled(pairs),
        quiet=lambda pairs: context.quiet(listening=not _refused(pairs)),
        deadline=context.deadline,
        same=lambda one, other: _outcomes(one) == _outcomes(other),
    ).run()
    if bad := _unfulfilled(pairs):
        return _failed(context, bad, len(pairs))
    blocked = [seen for want, seen in pairs if want.needs_controls]
    known = frozenset(str(want.flow) for want, _ in pairs if want.origin in context.baseline)
    context = replace(context, baseline=known)
    if blocked and (why := failing_control(context, blocked, [seen for _, seen in pairs])):
        return Finding("flows", Status.INCONCLUSIVE, why)
    told = "the flow is" if len(pairs) == 1 else f"all {len(pairs)} flows are"
    return Finding("flows", Status.PASSED, (f"{told} as wanted",))


def _look(cluster: Any, wants: Sequence[Want]) -> Pairs:
    snapshot = Snapshot(cluster)
    each = [
        replace(want, flow=flow, origin=str(want.flow))
        for want in wants
        for flow in snapshot.expand(want.flow)
    ]
    return list(zip(each, observe(cluster, [w.flow for w in each]), strict=True))


def _unfulfilled(pairs: Pairs) -> Pairs:
    return [(want, seen) for want, seen in pairs if not want.fulfilled_by(seen.outcome)]


def _refused(pairs: Pairs) -> bool:
    """Say whether a flow that should be open was refused: its server may be about to listen."""
    return any(seen.outcome is Outcome.REFUSED for _, seen in _unfulfilled(pairs))


def _outcomes(pairs: Pairs) -> list[tuple[Flow, Outcome]]:
    return [(want.flow, seen.outcome) for want, seen in pairs]


def _failed(context: Context, bad: Pairs, total: int) -> Finding:
    # One probe that did not work says more about the state than any comparison.
    broken = [(want, seen) for want, seen in bad if seen.outcome is Outcome.FAILED]
    want, seen = (broken or bad)[0]
    told = f"{len(bad)} of {total} flows {'is' if len(bad) == 1 else 'are'} not as wanted"
    if total == 1:
        told = "the flow is not as wanted"
    lines = (told, f"it is wanted because {want.because}") if want.because else (told,)
    example = Counterexample(
        what=str(want.flow),
        wanted=want.wish,
        seen=f"{seen.outcome.value} ({seen.detail or seen.outcome.meaning})",
        why=_walk(context, want.flow, seen),
        replay=replay(context.cluster, want.flow),
    )
    return Finding("flows", Status.FAILED, lines, example)


def _walk(context: Context, flow: Flow, seen: Observation) -> tuple[str, ...]:
    """Say what the policies say about the flow; where they cannot say, be silent."""
    if seen.outcome not in (Outcome.SILENT, Outcome.OPEN):
        return ()
    try:
        verdict = policy.compile(context.policy_objects()).decide(flow)
    except K8slabError:
        return ()  # a party that policies know nothing about, such as a name
    lines = [line for reason in verdict.reasons for line in reason.lines()]
    if verdict.allowed and seen.outcome is Outcome.SILENT:
        lines.append("no policy stops this flow: look at the pod, its port and the address instead")
    return tuple(lines)


def replay(cluster: Any, flow: Flow) -> str:
    """Return a command that tries the flow by hand; empty where there is none."""
    if flow.source.kind != "pod":
        return ""
    try:
        target = Snapshot(cluster).target(flow)
    except K8slabError:
        return f"kubectl -n {flow.source.namespace} get pods -o wide"
    udp = "u" if target.protocol == "UDP" else ""
    words = ["kubectl", "-n", flow.source.namespace, "exec", flow.source.name, "--"]
    return shlex.join([*words, "nc", f"-zv{udp}w", "2", target.host, str(target.port)])
