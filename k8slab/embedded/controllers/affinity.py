"""Affinity: which nodes a pod wants, and which pods it wants near or far; pure.

Sources: core/v1 ``NodeSelectorTerm``, ``PodAffinityTerm``, ``TopologySpreadConstraint``;
terms of a node selector are alternatives, what stands in one term holds together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.objects import selectors
from k8slab.objects.meta import labels_of, name_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from k8slab.embedded.controllers.scheduler import Candidate
    from k8slab.objects.meta import Object

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def required_node_terms(pod: Object) -> list[Object] | None:
    """Return the terms of the required node affinity, ``None`` when there is none."""
    wanted = _part(pod, "nodeAffinity").get(REQUIRED)
    return None if wanted is None else wanted.get("nodeSelectorTerms") or []


def matches_node(terms: Iterable[Object], node: Object) -> bool:
    """Say whether a node fulfils one of the terms; an empty term matches no node."""
    return any(_term(term, node) for term in terms)


def preference(pod: Object, node: Object) -> int:
    """Return the sum of the weights of the preferred terms that the node fulfils."""
    preferred = _part(pod, "nodeAffinity").get(PREFERRED) or ()
    return sum(entry["weight"] for entry in preferred if _term(entry["preference"], node))


def keeps_apart(pod: Object) -> bool:
    """Say whether a pod requires that some pods are not near it."""
    return bool(_far(pod))


def between_pods(
    pod: Object, fitting: Sequence[Candidate], everywhere: Sequence[Candidate]
) -> list[tuple[Candidate, str]]:
    """Return each fitting node with the reason for which pods forbid it, or ``""``."""
    near = _part(pod, "podAffinity").get(REQUIRED) or ()
    far = _far(pod)
    spread = [
        c
        for c in pod["spec"].get("topologySpreadConstraints") or ()
        if c.get("whenUnsatisfiable") == "DoNotSchedule"
    ]
    found = []
    for candidate in fitting:
        why = ""
        if any(not _together(pod, term, candidate, everywhere) for term in near):
            why = "node(s) didn't match pod affinity rules"
        elif any(_meets(pod, term, candidate, everywhere) for term in far):
            why = "node(s) didn't match pod anti-affinity rules"
        elif _unwelcome(pod, candidate, everywhere):
            why = "node(s) didn't satisfy existing pods anti-affinity rules"
        elif any(_skewed(pod, c, candidate, fitting) for c in spread):
            why = "node(s) didn't match pod topology spread constraints"
        found.append((candidate, why))
    return found


def _together(
    pod: Object, term: Object, candidate: Candidate, everywhere: Sequence[Candidate]
) -> bool:
    if _meets(pod, term, candidate, everywhere):
        return True
    # The first pod of a group that wants to be together may go anywhere.
    anyone = any(_selected(pod, term, other) for c in everywhere for other in c.pods)
    return not anyone and _selected(pod, term, pod)


def _meets(
    pod: Object, term: Object, candidate: Candidate, everywhere: Sequence[Candidate]
) -> bool:
    key = term["topologyKey"]
    domain = labels_of(candidate.node).get(key)
    return domain is not None and any(
        _selected(pod, term, other)
        for c in everywhere
        if labels_of(c.node).get(key) == domain
        for other in c.pods
    )


def _unwelcome(pod: Object, candidate: Candidate, everywhere: Sequence[Candidate]) -> bool:
    """Say whether a pod that is there does not want this one near: the rule binds both ways."""
    here = labels_of(candidate.node)
    return any(
        _selected(other, term, pod)
        for c in everywhere
        for other in c.keeping_apart
        for term in _far(other)
        if labels_of(c.node).get(term["topologyKey"]) == here.get(term["topologyKey"], "")
    )


def _selected(pod: Object, term: Object, other: Object) -> bool:
    selector = selectors.from_object(term.get("labelSelector"))
    namespaces = term.get("namespaces") or [namespace_of(pod)]
    return (
        selector is not None
        and namespace_of(other) in namespaces
        and selector.matches(labels_of(other))
    )


def _skewed(
    pod: Object, constraint: Object, candidate: Candidate, fitting: Sequence[Candidate]
) -> bool:
    """Say whether the pod on this node would make its domain too full against the emptiest."""
    key = constraint["topologyKey"]
    counts: dict[str, int] = {}
    for other in fitting:
        domain = labels_of(other.node).get(key)
        if domain is not None:
            alike = sum(1 for p in other.pods if _selected(pod, constraint, p))
            counts[domain] = counts.get(domain, 0) + alike
    domain = labels_of(candidate.node).get(key)
    if domain is None:
        return True
    return counts[domain] + 1 - min(counts.values()) > int(constraint["maxSkew"])


def _term(term: Object, node: Object) -> bool:
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    labels = labels_of(node)
    named = {"metadata.name": name_of(node)}
    return all(_expression(e, labels) for e in expressions) and all(
        _expression(e, named) for e in fields
    )


def _expression(expression: Object, labels: dict[str, str]) -> bool:
    operator: str = expression["operator"]
    values: list[str] = expression.get("values") or []
    value = labels.get(expression["key"])
    if operator in ("Gt", "Lt"):
        if value is None or not value.lstrip("-").isdigit():
            return False
        left, right = int(value), int(values[0])
        return left > right if operator == "Gt" else left < right
    return selectors.Requirement(expression["key"], operator, tuple(values)).matches(labels)


def _far(pod: Object) -> Sequence[Object]:
    return _part(pod, "podAntiAffinity").get(REQUIRED) or ()


def _part(pod: Object, name: str) -> Object:
    part: Object = (pod["spec"].get("affinity") or {}).get(name) or {}
    return part
