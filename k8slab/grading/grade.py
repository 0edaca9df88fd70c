"""Grade one exercise: prerequisites once and first, then flows, then the other checks.

What would give points is looked at a second time, with new pods and with pods of the grader's
own, before it does: see `fresh` and `lookalikes`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from k8slab.errors import ApiStatusError, K8slabError
from k8slab.grading import collateral, flows, fresh, interrupted, lookalikes, readers
from k8slab.grading.checks import CHECKS, run_check
from k8slab.grading.polling import Polling
from k8slab.grading.prerequisites import ground
from k8slab.grading.result import Finding, Result, Status
from k8slab.grading.unchanged import check_unchanged
from k8slab.probes import Outcome
from k8slab.probes.targets import Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from k8slab.grading.context import Context
    from k8slab.grading.lookalikes import Lookalike
    from k8slab.grading.wants import Want


@dataclass(frozen=True)
class Wishes:
    """What an exercise wants of the cluster, without any text for learners."""

    exercise: str
    title: str
    points: float = 1
    wants: Sequence[Want] = ()
    checks: Sequence[dict[str, Any]] = ()
    may_change: Sequence[str] | None = None
    """``None``: anything may be changed."""
    needs: Sequence[str] = field(default=())
    """Capabilities of the provider, without which nothing can be checked."""
    credit: Mapping[str, float] = field(default_factory=dict)
    """Points of each group of wishes; without any it is all or nothing."""
    no_collateral: bool = False
    """Every flow that `wants` leaves out must stay as it was."""
    fresh_pods: bool = False
    """Look a second time, with new pods and lookalikes, before points are given."""
    canaries: Sequence[Lookalike] = ()
    """The grader's own pods, besides those that it makes by itself."""


def grade(context: Context, wishes: Wishes) -> Result:
    """Look at the cluster and return the result; never raises for the learner's state."""
    first = Result(
        wishes.exercise,
        wishes.title,
        wishes.points,
        tuple(_findings(context, wishes)),
        wishes.credit,
        _given(context, wishes),
    )
    if not first.points or not (wishes.fresh_pods or wishes.canaries):
        return first
    second = _second_look(context, wishes, first)
    return replace(first, findings=(*first.findings, *second))


_HOW_TO_GET = {
    "load-balancer": "a cluster that has it: the embedded one, without --no-load-balancer",
    "dual-stack": "a cluster that has it: k8slab up --name dual --ip-family dual",
}


def missing_capabilities(cluster: Any, wishes: Wishes) -> list[str]:
    """Return what the exercise needs and the cluster has not."""
    return sorted(set(wishes.needs) - set(cluster.capabilities))


def _given(context: Context, wishes: Wishes) -> frozenset[str]:
    """Return the groups whose flows were all as wanted before anything was done.

    Only open flows are remembered: one that is wanted closed, and was not open, counts as given.
    Checks by name are not looked at when an exercise begins: a group that has one is earned.
    """
    earned = {spec.get("group", "") for spec in wishes.checks}
    for want in wishes.wants:
        was_open = str(want.flow) in context.baseline
        if was_open != want.fulfilled_by(Outcome.OPEN):
            earned.add(want.group)
    return frozenset(set(wishes.credit) - earned)


def _findings(context: Context, wishes: Wishes) -> list[Finding]:
    if missing := missing_capabilities(context.cluster, wishes):
        line = f"this cluster has not what it takes ({', '.join(missing)}): it does not count here"
        hints = [_HOW_TO_GET[name] for name in missing if name in _HOW_TO_GET]
        return [Finding("what the exercise needs", Status.INCONCLUSIVE, (line, *hints))]
    try:
        space = context.cluster.get("namespaces", context.namespace)
    except ApiStatusError as error:
        return [Finding("the cluster", Status.ERROR, (str(error),))]
    if space is None:
        line = f"the namespace {context.namespace} is not there: begin the exercise first"
        return [Finding("begun", Status.NOT_STARTED, (line,))]
    try:
        interrupted.mend(context, space)
    except K8slabError as error:
        return [Finding("the check before this one", Status.ERROR, (str(error),))]
    findings = []
    # One moment, for all that is read before the first packet: each kind is listed once.
    there = Snapshot(context.cluster)
    if wishes.may_change is not None:
        if left := lookalikes.leftovers(context, there):
            lookalikes.remove(context.cluster, left)
            there = Snapshot(context.cluster)
        found = check_unchanged(context, wishes.may_change, there)
        if found.status is not Status.PASSED:
            return [found]
        findings.append(found)
    return [*findings, *_wished(context, wishes, there)]


def _wished(context: Context, wishes: Wishes, there: Snapshot) -> list[Finding]:
    try:
        found = ground(context, wishes.wants, wishes.checks, there)
    except K8slabError as error:
        return [Finding("what the rest needs", Status.ERROR, (str(error),))]
    if any(not finding.group for finding in found.findings):
        return list(found.findings)
    there = _settled(context, found.there)
    if (unread := _unread(context, there)) is not None:
        return [*found.findings, unread]
    wants = [*found.wants, *_collateral(context, wishes)]
    checked = [run_check(context, spec) for spec in found.checks]
    return [*found.findings, *_flows(context, wants, there), *checked]


def _settled(context: Context, there: Snapshot) -> Snapshot:
    """Wait until no pod comes or goes; return what there is then.

    Until a roll-out ends, pods of the answer before this one still serve.
    """
    return Polling(
        look=context.looks(there),
        good=context.settled,
        quiet=lambda _: False,
        deadline=context.deadline,
        settled=1,
    ).run()


def _unread(context: Context, there: Snapshot) -> Finding | None:
    """Wait until what was changed is in force; return a finding where it never will be."""
    try:
        return readers.check(context, there)
    except K8slabError as error:
        return Finding(readers.TITLE, Status.ERROR, (str(error),))


def _collateral(context: Context, wishes: Wishes) -> list[Want]:
    return collateral.wants_of(context.measured) if wishes.no_collateral else []


def _flows(context: Context, wants: Sequence[Want], there: Snapshot) -> list[Finding]:
    if not wants:
        return []
    try:
        return flows.findings(context, wants, there)
    except K8slabError as error:
        return [Finding("flows", Status.ERROR, (str(error),))]


SECOND = "the same with new pods"


def _second_look(context: Context, wishes: Wishes, first: Result) -> list[Finding]:
    """Return what is wrong with new pods; if nothing is, one finding that says so."""
    counts = {name for name, passed in first.groups.items() if passed} | {""}
    wants = [want for want in wishes.wants if first.passed or want.group in counts]
    try:
        found = _with_new_pods(context, wishes, wants)
    except K8slabError as error:
        return [Finding(SECOND, Status.ERROR, (str(error),))]
    bad = [finding for finding in found if finding.status is not Status.PASSED]
    if not bad:
        line = "new addresses, and pods that were not there before, make no difference"
        return [Finding(SECOND, Status.PASSED, (line,))]
    return [replace(one, check=f"{one.check}, with new pods") for one in bad]


def _with_new_pods(context: Context, wishes: Wishes, wants: Sequence[Want]) -> list[Finding]:
    own = lookalikes.automatic(context, wants) if wishes.fresh_pods else []
    made = lookalikes.make(context, wants, [*own, *wishes.canaries])
    new_pods = fresh.new_pods(context, wishes.may_change or (), made, replace=wishes.fresh_pods)
    with new_pods as there:
        every = [*wants, *_collateral(context, wishes), *made.wants]
        again = [spec for spec in wishes.checks if CHECKS[spec["check"]].depends_on_pods]
        return [*_flows(context, every, there), *(run_check(context, spec) for spec in again)]
