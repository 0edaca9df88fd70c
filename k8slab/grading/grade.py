"""Grade one exercise: prerequisites once and first, then flows, then the other checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from k8slab.errors import ApiStatusError, K8slabError
from k8slab.grading.checks import run_check
from k8slab.grading.flows import check_flows
from k8slab.grading.result import Finding, Result, Status
from k8slab.grading.unchanged import check_unchanged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.grading.context import Context
    from k8slab.grading.flows import Want


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


def grade(context: Context, wishes: Wishes) -> Result:
    """Look at the cluster and return the result; never raises for the learner's state."""
    return Result(wishes.exercise, wishes.title, wishes.points, tuple(_findings(context, wishes)))


_HOW_TO_GET = {
    "dual-stack": "a cluster that has it: k8slab up --name dual --ip-family dual",
}


def missing_capabilities(cluster: Any, wishes: Wishes) -> list[str]:
    """Return what the exercise needs and the cluster has not."""
    return sorted(set(wishes.needs) - set(cluster.capabilities))


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
    findings = []
    if wishes.may_change is not None:
        found = check_unchanged(context, wishes.may_change)
        if found.status is not Status.PASSED:
            return [found]
        findings.append(found)
    if wishes.wants:
        findings.append(_flows(context, wishes))
    return [*findings, *(run_check(context, spec) for spec in wishes.checks)]


def _flows(context: Context, wishes: Wishes) -> Finding:
    try:
        return check_flows(context, wishes.wants)
    except K8slabError as error:
        return Finding("flows", Status.ERROR, (str(error),))
