"""Wanted flows: what they are, and how they are looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from k8slab.grading.polling import Polling
from k8slab.probes import Outcome, observe
from k8slab.probes.observe import DEADLINE
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
    """The flow under which the baseline knows it: with its workload and not with one pod of it,
    and of the grader's own pod with the pod that it is like."""
    group: str = ""
    """The group of the exercise's `credit` that it belongs to."""
    predicted: bool = True
    """False: something else than policies decides about it, so they are not asked."""
    collateral: bool = False
    """Wanted as it was at the start, because it is none of the exercise's business."""
    told: str = ""
    """What a learner is told instead of the flow, which names a pod that nobody should see."""

    def fulfilled_by(self, outcome: Outcome) -> bool:
        """Say whether this outcome is what was wanted; `FAILED` never is."""
        return outcome in WISHES[self.wish]

    @property
    def needs_controls(self) -> bool:
        """Say whether silence would count, which a dead server gives for nothing.

        What was silent at the start and still is gives nothing.
        """
        return self.wish in (BLOCKED, Outcome.SILENT.value) and not self.collateral

    def __str__(self) -> str:
        return self.told or str(self.flow)


Pairs = list[tuple[Want, "Observation"]]


def expand(cluster: Any, wants: Sequence[Want], snapshot: Snapshot | None = None) -> list[Want]:
    """Replace workloads by their pods."""
    snapshot = snapshot or Snapshot(cluster)
    return [
        replace(want, flow=flow, origin=want.origin or str(want.flow))
        for want in wants
        for flow in snapshot.expand(want.flow)
    ]


def look(
    cluster: Any,
    wants: Sequence[Want],
    snapshot: Snapshot | None = None,
    *,
    deadline: float = DEADLINE,
) -> Pairs:
    """Observe all flows of the wants now, with all pods of their workloads.

    After `deadline` seconds silence is believed.
    """
    snapshot = snapshot or Snapshot(cluster)
    each = expand(cluster, wants, snapshot)
    seen = observe(cluster, [want.flow for want in each], deadline, snapshot=snapshot)
    return list(zip(each, seen, strict=True))


def baseline(context: Context, wants: Sequence[Want]) -> frozenset[str]:
    """Return the wanted flows (as text) that are open now, with all pods of their workloads.

    Where "blocked" will need that a flow was open, a server that was started just now is given
    the time to listen.
    """
    pairs = Polling(
        look=lambda: look(context.cluster, wants),
        good=lambda pairs: not _unready(pairs),
        quiet=lambda _: context.quiet(listening=False),
        deadline=context.deadline,
        same=lambda one, other: [s.outcome for _, s in one] == [s.outcome for _, s in other],
        settled=1,
    ).run()
    closed = {want.origin for want, seen in pairs if seen.outcome is not Outcome.OPEN}
    return frozenset(want.origin for want, _ in pairs) - closed


def _unready(pairs: Pairs) -> bool:
    return any(want.needs_controls and seen.outcome is Outcome.REFUSED for want, seen in pairs)
