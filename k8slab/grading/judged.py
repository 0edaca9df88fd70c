"""One flow three times: what was wanted, what the policies say, what was seen.

Where policies and kernel agree, the answer alone decides. Where they do not, the difference
is somebody's: `blame` says whose, and asks the controls before it says "ours".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from k8slab import policy
from k8slab.errors import K8slabError
from k8slab.grading.canaries import Canaries
from k8slab.grading.controls import inside_flows, nodes_of
from k8slab.grading.result import Blame, FlowResult
from k8slab.policy import Party
from k8slab.probes import Outcome
from k8slab.probes.targets import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.grading.context import Context
    from k8slab.grading.wants import Pairs, Want
    from k8slab.policy import Estate, Flow, Verdict
    from k8slab.probes import Observation


@dataclass(frozen=True)
class Judged:
    """One wanted flow with its prediction (``None``: policies do not decide) and observation."""

    want: Want
    seen: Observation
    verdict: Verdict | None = None

    @property
    def fulfilled(self) -> bool:
        """Say whether what was seen is what was wanted."""
        return self.want.fulfilled_by(self.seen.outcome)

    @property
    def predicted(self) -> str:
        """Return the policies' word, ``allow`` or ``deny``; empty where they say nothing."""
        return self.verdict.action.value if self.verdict else ""

    @property
    def contradicted(self) -> bool:
        """Say whether the kernel did what the policies do not say.

        A refusal fits both: nobody listens, or a network that rejects instead of dropping. But
        where a server is known to listen, an allowed flow cannot be refused: whoever counts a
        refusal as "blocked" has asked the controls before.
        """
        outcome = self.seen.outcome
        if self.verdict is None:
            return False
        if self.verdict.allowed:
            closed = (Outcome.SILENT, Outcome.REFUSED)
            return outcome in closed if self.want.needs_controls else outcome is Outcome.SILENT
        return outcome is Outcome.OPEN

    @property
    def isolated(self) -> bool:
        """Say whether some policy selects an end of the flow."""
        return bool(self.verdict) and any(reason.isolated_by for reason in self.verdict.reasons)  # type: ignore[union-attr]

    def result(self, blame: Blame | None = None) -> FlowResult:
        """Return the three as a value for reports."""
        return FlowResult(
            str(self.want), self.want.wish, self.predicted, self.seen.outcome.value, blame
        )


@dataclass(frozen=True)
class Predictor:
    """The policies of the cluster as they are now; makes one question of many."""

    context: Context

    @cached_property
    def estate(self) -> Estate | None:
        """Return the compiled policies, or ``None`` where the engine does not understand them."""
        try:
            return policy.compile(self.context.policy_objects())
        except K8slabError:
            return None  # foreign kinds of policies: observation alone decides then

    @cached_property
    def snapshot(self) -> Snapshot:
        """Return the objects that the flows speak of."""
        return Snapshot(self.context.cluster)

    def judge(self, pairs: Pairs) -> list[Judged]:
        """Set the prediction beside each observation."""
        return [Judged(want, seen, self._verdict(want, seen)) for want, seen in pairs]

    def _verdict(self, want: Want, seen: Observation) -> Verdict | None:
        if self.estate is None or not want.predicted:
            return None
        flow = want.flow
        if flow.destination.kind == "name":
            if not seen.address:
                return None  # policies are about addresses
            flow = replace(flow, destination=Party("ip", seen.address))
        try:
            if next(self.estate.parties.legs(flow), None) is None:
                return None  # a Service without pods: there is nothing to decide
            verdict = self.estate.decide(flow)
            if not verdict.allowed and flow.destination.kind == "svc":
                return verdict if self._all_denied(self.estate, flow) else None
        except K8slabError:
            return None  # a party that policies know nothing about, such as the world outside
        return verdict if flow.destination.kind != "node" else None

    def _all_denied(self, estate: Estate, flow: Flow) -> bool:
        """Say whether a Service's pods are denied one and all: else it depends on the draw."""
        behind = inside_flows(self.snapshot, flow) or []
        each = (replace(one, source=flow.source) for one in behind)
        return not any(estate.decide(one).allowed for one in each)


def blame(context: Context, row: Judged) -> tuple[Blame, str]:
    """Say whose matter it is that a flow is not as it should be, and why in a sentence.

    The sentence is empty where the walk through the policies says all there is.
    """
    outcome = row.seen.outcome
    if outcome is Outcome.FAILED:
        gone = "there is no " in row.seen.detail or "has no pod" in row.seen.detail
        return (Blame.ANSWER, "") if gone else (Blame.NOT_READY, _WAIT)
    if row.contradicted:
        return _contradiction(context, row)
    if outcome is Outcome.REFUSED and row.want.wish == Outcome.OPEN.value:
        where = f"on port {row.want.flow.port}/{row.want.flow.protocol}"
        if row.want.flow.destination.kind == "svc":
            where += ", or the Service has no ready pod"
        return Blame.NOT_READY, f"it gets there and is refused: nobody listens {where}"
    return Blame.ANSWER, ""


_WAIT = "not ready yet: the probe itself did not work; look at the pod, then check again"


def _contradiction(context: Context, row: Judged) -> tuple[Blame, str]:
    assert row.verdict is not None
    if row.verdict.allowed and not _dropped_by_policy(context, row):
        return Blame.ANSWER, (
            "no policy stops this flow: something else does, for example a rule set by hand, a "
            "route, or an address where nobody is"
        )
    nodes = sorted(nodes_of(Snapshot(context.cluster), row.want.flow))
    if nodes and (why := Canaries(context.cluster).failing(nodes, context.deadline)):
        return Blame.NOT_ENFORCED, f"not enforced: {why[0]}"
    says = "let it pass" if row.verdict.allowed else "deny it"
    return Blame.BUG, f"the policies {says}, the kernel does otherwise, and all controls are fine"


def _dropped_by_policy(context: Context, row: Judged) -> bool:
    """Say whether it was a policy's rule that dropped a flow which the policies allow.

    A kernel that reports its drops says so. Of another one it is believed where a policy
    selects an end of the flow, which was open before there were policies.
    """
    if row.seen.denial or "denials" in context.cluster.capabilities:
        return bool(row.seen.denial)
    return row.isolated and row.want.origin in context.baseline


def worst_first(blamed: Sequence[tuple[Judged, Blame, str]]) -> list[tuple[Judged, Blame, str]]:
    """Order rows so that the first shows best what is wrong: a broken probe, then the answer."""
    order = (Blame.ANSWER, Blame.NOT_READY, Blame.NOT_ENFORCED, Blame.BUG)
    return sorted(
        blamed, key=lambda one: (one[0].seen.outcome is not Outcome.FAILED, order.index(one[1]))
    )
