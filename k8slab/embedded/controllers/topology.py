"""Topology spread: how many equal pods the domains of a cluster have, and where one more may go.

A constraint counts on all nodes that it includes, also those on which the pod itself does not fit
for another reason: by default those of the pod's node selector and affinity, tainted ones too.
Source: core/v1 ``TopologySpreadConstraint``; kube-scheduler's plugin PodTopologySpread (filtering).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.embedded.controllers import affinity, taints
from k8slab.objects import selectors
from k8slab.objects.meta import Object, is_deleting, labels_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from k8slab.embedded.controllers.scheduler import Candidate

SKEWED = "node(s) didn't match pod topology spread constraints"
UNLABELLED = f"{SKEWED} (missing required label)"


@dataclass(frozen=True, slots=True)
class Spread:
    """What a constraint leaves open: domains with more than `most` equal pods are full."""

    key: str
    counts: Mapping[str, int]
    most: int


def required(pod: Object) -> list[Object]:
    """Return the constraints that have to be fulfilled."""
    constraints = pod["spec"].get("topologySpreadConstraints") or ()
    return [c for c in constraints if c.get("whenUnsatisfiable") == "DoNotSchedule"]


def spreads(pod: Object, everywhere: Sequence[Candidate]) -> list[Spread]:
    """Count for each constraint what is in the domains."""
    constraints = required(pod)
    keys = {constraint["topologyKey"] for constraint in constraints}
    labelled = [c for c in everywhere if keys <= labels_of(c.node).keys()]
    return [_spread(pod, constraint, labelled) for constraint in constraints]


def why_not(found: Sequence[Spread], labels: Mapping[str, str]) -> str:
    """Return the reason for which a node with these labels does not do, or ``""``."""
    for spread in found:
        domain = labels.get(spread.key)
        if domain is None:
            return UNLABELLED
        if spread.counts.get(domain, 0) > spread.most:
            return SKEWED
    return ""


def looks_at(pod: Object, other: Object) -> bool:
    """Say whether it matters to the place of a pod where this other one is."""
    return any(selects(pod, constraint, other) for constraint in required(pod))


def selects(pod: Object, constraint: Object, other: Object) -> bool:
    """Say whether a constraint of `pod` counts another pod."""
    selector = selectors.from_object(constraint.get("labelSelector"))
    return (
        selector is not None
        and namespace_of(other) == namespace_of(pod)
        and selector.matches(labels_of(other))
        and _own_values(pod, constraint).items() <= labels_of(other).items()
    )


def _spread(pod: Object, constraint: Object, labelled: Sequence[Candidate]) -> Spread:
    key = constraint["topologyKey"]
    counts: dict[str, int] = {}
    for candidate in labelled:
        if _includes(pod, constraint, candidate.node):
            domain = labels_of(candidate.node)[key]
            counts[domain] = counts.get(domain, 0) + _equal_pods(pod, constraint, candidate)
    few = len(counts) < (constraint.get("minDomains") or 1)
    least = 0 if few else min(counts.values())
    own = 1 if selects(pod, constraint, pod) else 0
    return Spread(key, counts, int(constraint["maxSkew"]) + least - own)


def _includes(pod: Object, constraint: Object, node: Object) -> bool:
    affine, tainted = constraint.get("nodeAffinityPolicy"), constraint.get("nodeTaintsPolicy")
    if affine != "Ignore" and not affinity.wants_node(pod, node):
        return False
    return tainted != "Honor" or taints.untolerated(node, pod) is None


def _equal_pods(pod: Object, constraint: Object, candidate: Candidate) -> int:
    """Count the pods on a node that are like `pod`; an empty selector counts none."""
    chosen = constraint.get("labelSelector") or {}
    if not (chosen.get("matchLabels") or chosen.get("matchExpressions")) and not _own_values(
        pod, constraint
    ):
        return 0
    return sum(1 for p in candidate.pods if not is_deleting(p) and selects(pod, constraint, p))


def _own_values(pod: Object, constraint: Object) -> dict[str, str]:
    """Return the labels in which equal pods are like `pod` (``matchLabelKeys``)."""
    labels = labels_of(pod)
    return {key: labels[key] for key in constraint.get("matchLabelKeys") or () if key in labels}
