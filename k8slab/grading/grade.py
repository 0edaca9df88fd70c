"""Grade one exercise: prerequisites once and first, then flows, then the other checks.

What would give points is looked at a second time, with new pods and with pods of the grader's
own, before it does: see `fresh` and `lookalikes`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from k8slab.errors import K8slabError
from k8slab.grading import askers, collateral, flows, fresh, interrupted, lookalikes, readers
from k8slab.grading.checks import CHECKS, run_check
from k8slab.grading.polling import Polling
from k8slab.grading.prerequisites import ground
from k8slab.grading.result import Finding, Result, Status
from k8slab.grading.unchanged import check_unchanged
from k8slab.probes import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from k8slab.grading.context import Context
    from k8slab.grading.lookalikes import Lookalike
    from k8slab.grading.wants import Want
    from k8slab.probes.targets import Snapshot


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
    looked = _look(context, wishes)
    first = Result(
        wishes.exercise,
        wishes.title,
        wishes.points,
        looked.findings,
        wishes.credit,
        _given(context, wishes),
    )
    if not first.points or not (wishes.fresh_pods or wishes.canaries):
        return first
    second = _second_look(context, wishes, first, looked.there)
    return replace(first, findings=(*first.findings, *second))


@dataclass(frozen=True, slots=True)
class _Look:
    findings: tuple[Finding, ...]
    there: Snapshot | None = None
    """What the cluster had when the flows were looked at; ``None`` where they were not."""


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


def _look(context: Context, wishes: Wishes) -> _Look:
    try:
        return _first_look(context, wishes)
    except K8slabError as error:
        return _Look((Finding("the cluster", Status.ERROR, (str(error),)),))


def _first_look(context: Context, wishes: Wishes) -> _Look:
    if missing := missing_capabilities(context.cluster, wishes):
        line = f"this cluster has not what it takes ({', '.join(missing)}): it does not count here"
        hints = [_HOW_TO_GET[name] for name in missing if name in _HOW_TO_GET]
        needs = Finding("what the exercise needs", Status.INCONCLUSIVE, (line, *hints))
        return _Look((needs,))
    space = context.cluster.get("namespaces", context.namespace)
    if space is None:
        line = f"the namespace {context.namespace} is not there: begin it anew"
        return _Look((Finding("begun", Status.NOT_STARTED, (line,)),))
    try:
        interrupted.mend(context, space)
    except K8slabError as error:
        return _Look((Finding("the check before this one", Status.ERROR, (str(error),)),))
    # One moment, for all that is read before the first packet: each kind is listed once.
    there = context.read()
    if left := lookalikes.leftovers(context, there):
        lookalikes.remove(context.cluster, left)
        there = context.read()
    if wishes.may_change is None:
        return _wished(context, wishes, there)
    found = check_unchanged(context, wishes.may_change, there)
    if found.status is not Status.PASSED:
        return _Look((found,))
    wished = _wished(context, wishes, there)
    return replace(wished, findings=(found, *wished.findings))


def _wished(context: Context, wishes: Wishes, there: Snapshot) -> _Look:
    try:
        found = ground(context, wishes.wants, wishes.checks, there)
    except K8slabError as error:
        return _Look((Finding("what the rest needs", Status.ERROR, (str(error),)),))
    if any(not finding.group for finding in found.findings):
        return _Look(found.findings)
    there = _settled(context, found.there)
    if (unread := _unread(context, there)) is not None:
        return _Look((*found.findings, unread))
    wants = [*found.wants, *_collateral(context, wishes)]
    checked = _checked(context, found.checks, there, there)
    return _Look((*found.findings, *_flows(context, wants, there), *checked), there)


def _checked(
    context: Context, specs: Sequence[dict[str, Any]], there: Snapshot, since: Snapshot
) -> list[Finding]:
    """Run checks, with a pod of the grader's own for each asker that the answer wrote.

    `since` is of the first moment that was judged. What was found stands, though something fails
    afterwards, such as taking away the grader's pods: that is one finding more.
    """
    found: dict[int, Finding] = {}
    problem = []
    try:
        _ask(context, specs, there, found)
        _doubt(context, specs, since, found)
    except K8slabError as error:
        problem.append(Finding(askers.TITLE, Status.ERROR, (str(error),)))
    return [*(found[id(spec)] for spec in specs if id(spec) in found), *problem]


def _ask(
    context: Context, specs: Sequence[dict[str, Any]], there: Snapshot, found: dict[int, Finding]
) -> None:
    """Enter into `found` what each check says, or why nobody can be asked for it."""
    for spec in specs:
        if waiting := askers.finding(context, spec, there):
            found[id(spec)] = waiting
    asked = [spec for spec in specs if id(spec) not in found]
    with askers.placed(context, asked, there) as own:
        found |= {id(spec): _told(own, spec, run_check(own, spec)) for spec in asked}


def _doubt(
    context: Context, specs: Sequence[dict[str, Any]], since: Snapshot, found: dict[int, Finding]
) -> None:
    """Take back what somebody else was asked in the place of a workload that did not go on."""
    passed = [spec for spec in specs if found[id(spec)].status is Status.PASSED]
    for spec, fallen in _fallen(context, passed, since):
        found[id(spec)] = fallen


def _fallen(
    context: Context, specs: Sequence[dict[str, Any]], since: Snapshot
) -> list[tuple[dict[str, Any], Finding]]:
    """Return the checks in whose askers' place others asked, and that do not run any more."""
    asked = [spec for spec in specs if askers.replaced(context, spec, since)]
    if not asked:
        return []
    now = context.read()
    looked = [(spec, askers.finding(context, spec, now, since)) for spec in asked]
    return [(spec, found) for spec, found in looked if found]


def _told(context: Context, spec: dict[str, Any], found: Finding) -> Finding:
    if found.status is Status.PASSED:
        return found
    return replace(found, lines=(*found.lines, *askers.told(context, spec)))


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


def _counting(result: Result) -> set[str]:
    """Return the groups that give points as yet, with the one of what belongs to none."""
    return {name for name, passed in result.groups.items() if passed} | {""}


def _second_look(
    context: Context, wishes: Wishes, first: Result, since: Snapshot | None
) -> list[Finding]:
    """Return what is wrong with new pods; if nothing is, one finding that says so."""
    assert since is not None  # without a look at flows and checks there are no points
    counts = _counting(first)
    wants = [want for want in wishes.wants if first.passed or want.group in counts]
    found: list[Finding] = []
    try:
        _with_new_pods(context, wishes, wants, since, found)
        left = replace(first, findings=(*first.findings, *found))
        if left.points:
            counts = _counting(left)
            specs = [one for one in wishes.checks if left.passed or one.get("group", "") in counts]
            found += [fallen for _, fallen in _fallen(context, specs, since)]
    except K8slabError as error:  # what was found before stands
        found.append(Finding(SECOND, Status.ERROR, (str(error),)))
    bad = [finding for finding in found if finding.status is not Status.PASSED]
    if not bad:
        line = "new addresses, and pods that were not there before, make no difference"
        return [Finding(SECOND, Status.PASSED, (line,))]
    return [
        one if one.check == SECOND else replace(one, check=f"{one.check}, with new pods")
        for one in bad
    ]


def _with_new_pods(
    context: Context,
    wishes: Wishes,
    wants: Sequence[Want],
    since: Snapshot,
    found: list[Finding],
) -> None:
    own = lookalikes.automatic(context, wants) if wishes.fresh_pods else []
    made = lookalikes.make(context, wants, [*own, *wishes.canaries])
    new_pods = fresh.new_pods(context, wishes.may_change or (), made, replace=wishes.fresh_pods)
    with new_pods as there:
        every = [*wants, *_collateral(context, wishes), *made.wants]
        again = [spec for spec in wishes.checks if CHECKS[spec["check"]].depends_on_pods]
        found += _flows(context, every, there)
        found += _checked(context, again, there, since)
