"""Affinity: which nodes a pod wants, and which pods it wants near or far; pure.

Sources: core/v1 ``NodeSelectorTerm``, ``PodAffinityTerm``; kube-scheduler's plugins NodeAffinity
and InterPodAffinity. Terms of a node selector are alternatives, what stands in one term holds
together; of required pod affinity one and the same pod has to fulfil all terms.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from k8slab.objects import selectors
from k8slab.objects.meta import labels_of, name_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from k8slab.embedded.controllers.scheduler import Candidate
    from k8slab.objects.meta import Object

    NamespaceLabels = Callable[[str], Mapping[str, str]]

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def no_labels(_: str) -> Mapping[str, str]:
    """Return the labels of a namespace where nobody knows of any."""
    return {}


def required_node_terms(pod: Object) -> list[Object] | None:
    """Return the terms of the required node affinity, ``None`` when there is none."""
    wanted = _part(pod, "nodeAffinity").get(REQUIRED)
    return None if wanted is None else wanted.get("nodeSelectorTerms") or []


def matches_node(terms: Iterable[Object], node: Object) -> bool:
    """Say whether a node fulfils one of the terms; an empty term matches no node."""
    return any(_term(term, node) for term in terms)


def wants_node(pod: Object, node: Object) -> bool:
    """Say whether a node has what the pod's node selector and required affinity ask for."""
    terms = required_node_terms(pod)
    chosen = selectors.from_labels(pod["spec"].get("nodeSelector") or {})
    return chosen.matches(labels_of(node)) and (terms is None or matches_node(terms, node))


def preference(pod: Object, node: Object) -> int:
    """Return the sum of the weights of the preferred terms that the node fulfils."""
    preferred = _part(pod, "nodeAffinity").get(PREFERRED) or ()
    return sum(entry["weight"] for entry in preferred if _term(entry["preference"], node))


def keeps_apart(pod: Object) -> bool:
    """Say whether a pod requires that some pods are not near it."""
    return bool(_far(pod))


def between_pods(
    pod: Object,
    fitting: Sequence[Candidate],
    everywhere: Sequence[Candidate],
    where: NamespaceLabels = no_labels,
) -> list[tuple[Candidate, str]]:
    """Return each fitting node with the reason for which pods forbid it, or ``""``."""
    near, far = _near(pod), _far(pod)
    asks = _Question(pod, where)
    attracted = _domains(everywhere, near, lambda p: all(asks.selects(t, p) for t in near))
    repelled = {
        pair
        for term in far
        for pair in _domains(everywhere, [term], functools.partial(asks.selects, term))
    }
    unwelcome = _unwelcome(pod, everywhere, where)
    if not (near or repelled or unwelcome):
        return [(candidate, "") for candidate in fitting]
    # The first pod of a group that wants to be together may go anywhere.
    first = not attracted and all(asks.selects(term, pod) for term in near)
    found = []
    for candidate in fitting:
        labels = labels_of(candidate.node)
        here = set(labels.items())
        wanted = {(t["topologyKey"], labels.get(t["topologyKey"])) for t in near}
        why = ""
        if not (wanted <= here if first else wanted <= attracted):
            why = "node(s) didn't match pod affinity rules"
        elif here & repelled:
            why = "node(s) didn't match pod anti-affinity rules"
        elif here & unwelcome:
            why = "node(s) didn't satisfy existing pods anti-affinity rules"
        found.append((candidate, why))
    return found


def looks_at_pods(pod: Object) -> bool:
    """Say whether a pod requires that others are, or are not, near it."""
    return bool(_near(pod) or _far(pod))


def looks_at(pod: Object, other: Object, where: NamespaceLabels = no_labels) -> bool:
    """Say whether it matters to the place of a pod where this other one is."""
    asks = _Question(pod, where)
    return any(asks.selects(term, other) for term in (*_near(pod), *_far(pod)))


class _Question:
    """Whom the terms of one pod mean; the labels of namespaces are asked for where they count."""

    def __init__(self, pod: Object, where: NamespaceLabels) -> None:
        self._own = namespace_of(pod)
        self._labels = labels_of(pod)
        self._where = where

    def selects(self, term: Object, other: Object) -> bool:
        """Say whether a term means a pod: by its labels and by its namespace."""
        selector = selectors.from_object(term.get("labelSelector"))
        if selector is None or not selector.matches(labels_of(other)):
            return False
        return self._is_like(term, labels_of(other)) and self._is_where(term, namespace_of(other))

    def _is_like(self, term: Object, labels: Mapping[str, str]) -> bool:
        """Compare the labels that a term names with those of the pod which has the term."""
        own = self._labels
        return all(
            labels.get(key) == own[key] for key in term.get("matchLabelKeys") or () if key in own
        ) and all(
            labels.get(key) != own[key] for key in term.get("mismatchLabelKeys") or () if key in own
        )

    def _is_where(self, term: Object, namespace: str) -> bool:
        names, spaces = term.get("namespaces") or (), term.get("namespaceSelector")
        if not names and spaces is None:
            return namespace == self._own
        chosen = selectors.from_object(spaces)
        return namespace in names or (chosen is not None and chosen.matches(self._where(namespace)))


def _domains(
    everywhere: Sequence[Candidate], terms: Sequence[Object], means: Callable[[Object], bool]
) -> set[tuple[str, str]]:
    """Return the topology domains, key and value, in which a pod is that is meant."""
    if not terms:
        return set()
    keys = {term["topologyKey"] for term in terms}
    return {
        (key, value)
        for candidate in everywhere
        if any(means(other) for other in candidate.pods)
        for key, value in labels_of(candidate.node).items()
        if key in keys
    }


def _unwelcome(
    pod: Object, everywhere: Sequence[Candidate], where: NamespaceLabels
) -> set[tuple[str, str]]:
    """Return the domains of pods that do not want this one near: the rule binds both ways."""
    found = set()
    for candidate in everywhere:
        labels = labels_of(candidate.node)
        for other in candidate.keeping_apart:
            asks = _Question(other, where)
            for term in _far(other):
                key = term["topologyKey"]
                if key in labels and asks.selects(term, pod):
                    found.add((key, labels[key]))
    return found


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


def _near(pod: Object) -> Sequence[Object]:
    return _part(pod, "podAffinity").get(REQUIRED) or ()


def _far(pod: Object) -> Sequence[Object]:
    return _part(pod, "podAntiAffinity").get(REQUIRED) or ()


def _part(pod: Object, name: str) -> Object:
    part: Object = (pod["spec"].get("affinity") or {}).get(name) or {}
    return part
