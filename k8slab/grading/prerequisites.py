"""What everything else needs, said once and first.

When a pod is gone, each flow and each check that begins there fails, and ten findings say the
same thing. So the parties of all wishes are looked for before anything is tried; what is
missing is one finding, and the wishes that need it are left out.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8slab.grading import askers
from k8slab.grading.polling import Polling
from k8slab.grading.result import Blame, Counterexample, Finding, Status
from k8slab.grading.starting import is_ready
from k8slab.objects import meta
from k8slab.policy.flow import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from k8slab.grading.context import Context
    from k8slab.grading.wants import Want
    from k8slab.policy import Party
    from k8slab.probes.targets import Snapshot

TITLE = "what the rest needs"


@dataclass(frozen=True, slots=True)
class Ground:
    """What can be judged: findings about what is missing, and the wishes that do not need it."""

    findings: tuple[Finding, ...]
    wants: tuple[Want, ...]
    checks: tuple[dict[str, Any], ...]
    there: Snapshot
    """What the cluster had when this was seen."""


def ground(
    context: Context,
    wants: Sequence[Want],
    checks: Sequence[dict[str, Any]],
    there: Snapshot | None = None,
) -> Ground:
    """Look for every pod, workload and Service that wishes name, until nothing is under way.

    The first look is at `there`, which was read just now, if it is given.
    """
    needs: dict[Party, list[str]] = defaultdict(list)
    for want in wants:
        for party in _parties(want):
            needs[party].append(want.group)
    asking = {party for spec in checks for party in askers.parties(context, spec)}
    for spec in checks:
        for asker in dict.fromkeys(askers.parties(context, spec)):
            needs[asker].append(spec.get("group", ""))

    def missing(found: Snapshot) -> dict[Party, str]:
        """Return what is missing and why; empty when everything is there."""
        faults = {party: _fault(found, party) for party in needs}
        late = {
            party: askers.unready(context, found, party) for party in asking if not faults[party]
        }
        return {party: fault for party, fault in (faults | late).items() if fault}

    there = Polling(
        look=context.looks(there),
        good=lambda found: not missing(found),
        quiet=lambda found: context.quiet() and not any(_may_be_ready(found, p) for p in asking),
        deadline=context.deadline,
        same=lambda one, other: missing(one) == missing(other),
        settled=1,  # what is there now may be used now
    ).run()
    gone = missing(there)
    return Ground(
        tuple(_findings(gone, needs, there)),
        tuple(want for want in wants if not gone.keys() & set(_parties(want))),
        tuple(spec for spec in checks if gone.keys().isdisjoint(askers.parties(context, spec))),
        there,
    )


def _parties(want: Want) -> list[Party]:
    ends = (want.flow.source, want.flow.destination)
    return [end for end in ends if end.kind in ("pod", "svc", *WORKLOADS)]


def _may_be_ready(snapshot: Snapshot, party: Party) -> bool:
    """Say whether a pod that is not Ready runs: its readiness probe may succeed at any time."""
    pods = [
        snapshot.objects("pods", one.namespace).get(one.name) for one in snapshot.parties(party)
    ]
    return any(
        not is_ready(pod) and all("running" in (one.get("state") or {}) for one in containers)
        for pod in pods
        if pod and (containers := (pod.get("status") or {}).get("containerStatuses"))
    )


def _fault(snapshot: Snapshot, party: Party) -> str:
    if party.kind == "svc":
        there = party.name in snapshot.objects("services", party.namespace)
        return "" if there else "it is not there"
    if party.kind in WORKLOADS:
        pods = snapshot.parties(party)
        if pods == [party]:
            return _NO_POD
        return next((fault for pod in pods if (fault := _fault(snapshot, pod))), "")
    pod = snapshot.objects("pods", party.namespace).get(party.name)
    if pod is None:
        return "it is not there"
    if meta.is_deleting(pod):
        return "it is being deleted"
    phase = (pod.get("status") or {}).get("phase") or "Pending"
    return "" if phase == "Running" else f"it is {phase}"


_NO_POD = "it has no pod"


def _findings(
    missing: Mapping[Party, str], needs: Mapping[Party, list[str]], there: Snapshot
) -> list[Finding]:
    by_group: dict[str, list[Party]] = defaultdict(list)
    for party in missing:
        for group in dict.fromkeys(needs[party]):
            by_group[group].append(party)
    # What belongs to no group stops everything: it is said alone.
    groups = [""] if "" in by_group else [*by_group]
    return [_finding(group, by_group[group], missing, needs, there) for group in groups]


def _finding(
    group: str,
    parties: Sequence[Party],
    missing: Mapping[Party, str],
    needs: Mapping[Party, list[str]],
    there: Snapshot,
) -> Finding:
    lines = [f"{_word(party)}: {missing[party]} ({_count(len(needs[party]))})" for party in parties]
    first = parties[0]
    waiting = "not there" not in missing[first] and missing[first] != _NO_POD
    command = f"kubectl -n {first.namespace} get services"
    if first.kind != "svc":
        command = askers.replay(there, first, missing[first])
    example = Counterexample(_word(first), "to be there and to run", missing[first], (), command)
    blame = Blame.NOT_READY if waiting else Blame.ANSWER
    return Finding(TITLE, Status.FAILED, tuple(lines), example, blame=blame, group=group)


def _word(party: Party) -> str:
    return f"the pod {party}" if party.kind == "pod" else str(party)


def _count(number: int) -> str:
    return "one wish needs it" if number == 1 else f"{number} wishes need it"
