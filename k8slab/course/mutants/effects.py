"""What a changed policy changes: asked of the policy engine, over more than an exercise shows.

Two answers that differ in text alone are one answer, and a grader has to treat them alike. So a
mutant whose connections are those of the answer is *equivalent*, and is expected to be accepted.
The estate for this question is the whole of what exists when the exercise begins (every pod of
its namespaces and of the system's, nodes, the world outside, all ports), and pods that nobody
sees: with each pod's labels in other namespaces, with one label more, one less, one changed,
and with just those labels that a selector of the answers asks for.

A grader sees packets. What differs only on ports where no program listens, or at addresses where
nobody is, no packet tells, and no grader that looks at behaviour can refuse it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from k8slab import policy
from k8slab.course.mutants.generate import CLUSTER_POLICY, POLICY
from k8slab.embedded.config import WORLD_HOSTS
from k8slab.grading.collateral import ports_of
from k8slab.objects import meta
from k8slab.policy.addresses import point

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from k8slab.course.answers import Answer, Document
    from k8slab.course.lab import Exercise
    from k8slab.objects.meta import Object
    from k8slab.policy import Estate

SYSTEM = ("kube-system", "default")
ELSEWHERE = "elsewhere"
EXTRA = {"k8slab.dev/extra": "yes"}
API_VERSIONS = {POLICY: "networking.k8s.io/", CLUSTER_POLICY: "policy.networking.k8s.io/"}
KINDS_OF_POLICIES = tuple(API_VERSIONS)

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One connection that differs, in words; empty where none does."""

    change: str
    tellable: bool
    """Whether packets show a difference."""


class Effects:
    """The estate of an exercise at its start, to which answers are added."""

    def __init__(
        self, objects: Iterable[Object], exercise: Exercise, answers: Sequence[Answer] = ()
    ) -> None:
        """Take all `objects` of a cluster; those of other exercises' namespaces are left out.

        The first of the `answers` is what effects are told against.
        """
        self.namespaces = tuple(exercise.namespaces)
        wanted = {*self.namespaces, *SYSTEM}
        self.answers = answers
        flows = [want.flow for want in exercise.wishes.wants]
        # Not every program that listens is declared: what flows ask of a pod may be there too.
        self._asked: dict[str, set[tuple[str, int]]] = defaultdict(set)
        for flow in flows:
            if flow.destination.kind == "pod" and isinstance(flow.port, int):
                self._asked[str(flow.destination)].add((flow.protocol, flow.port))
        ends = {end.name for f in flows for end in (f.source, f.destination) if end.kind == "ip"}
        self._hosts = [point(host) for host in ends | {host.address for host in WORLD_HOSTS}]
        self._listening: dict[str, set[tuple[str, int]]] = {}
        self._bases: dict[str, Estate] = {}
        self.objects = [
            obj
            for obj in objects
            if (meta.name_of(obj) if obj["kind"] == "Namespace" else meta.namespace_of(obj))
            in {*wanted, ""}
            or obj["kind"] in ("Node", CLUSTER_POLICY)
        ]

    def difference(
        self, answer: Sequence[Document], mutant: Sequence[Document]
    ) -> Difference | None:
        """Return one connection that differs, if possible one that packets tell.

        ``None`` where the engine cannot know: it does when the two differ in policies alone.
        """
        if _others(answer) != _others(mutant) or any("kubectl" in one for one in answer):
            return None
        asked = [*_policies(answer), *_policies(mutant)]
        estates = self._estates(answer, mutant, asked)
        if change := policy.any_change(*estates, wanted=self._tellable):
            return Difference(str(change), tellable=True)
        return Difference(str(policy.any_change(*estates) or ""), tellable=False)

    def _tellable(self, change: policy.Change) -> bool:
        """Say whether somebody is at both ends, and a program listens where the change is."""
        source, destination = change.source, change.destination
        if isinstance(source, policy.AddressSet):
            return any(point in source for point in self._hosts)
        if isinstance(destination, policy.AddressSet):
            return any(point in destination for point in self._hosts)
        ports = (change.before - change.after) | (change.after - change.before)
        open_ = {port for key in destination.pods for port in self._listening.get(key, ())}
        return any(ports.has(protocol, number) for protocol, number in open_)

    def of(self, documents: Sequence[Document]) -> tuple[str, ...] | None:
        """Return what an answer or mutant does to what there is, to find those that do the same.

        It is told as the changes from the first answer, without imagined pods; ``None`` where the
        engine cannot know, and where it is nothing.
        """
        first = self.answers[0].documents
        if _others(first) != _others(documents) or any("kubectl" in one for one in first):
            return None
        found = policy.diff(*self._estates(first, documents))
        return tuple(str(change) for change in found) or None

    def _estates(
        self, one: Sequence[Document], other: Sequence[Document], asked: Iterable[Object] = ()
    ) -> tuple[Estate, Estate]:
        """Return the estates of two answers, with the pods that the policies `asked` suggest."""
        shapes = self._shapes(asked)
        key = json.dumps([_others(one), shapes], sort_keys=True)
        if key not in self._bases:
            self._bases[key] = self._base(one, shapes)
        base = self._bases[key]
        return base.replace(*_policies(one)), base.replace(*_policies(other))

    def _base(self, documents: Sequence[Document], shapes: Sequence[dict[str, str]]) -> Estate:
        """Return the estate at the start, with what an answer adds besides policies."""
        given = [document for document in _others(documents) if "kind" in document]
        keys = {_key(obj) for obj in given}
        kept = [obj for obj in self.objects if _key(obj) not in keys]
        every = [*kept, *given, *(self._imagined(shapes) if shapes else ())]
        for obj in every:
            if obj["kind"] == "Pod":
                declared = {(protocol, number) for number, protocol in ports_of(obj)}
                key = meta.key_of(obj)
                self._listening[key] = declared | self._asked.get(key, set())
        return policy.compile(every)

    @staticmethod
    def _shapes(policies: Iterable[Object]) -> list[dict[str, str]]:
        """Return the sets of labels that the selectors of policies ask for, each once."""
        found = {_sorted(labels): labels for labels in _selectors(list(policies))}
        return [found[key] for key in sorted(found)]

    def _imagined(self, asked: Sequence[dict[str, str]]) -> Iterator[Object]:
        """Yield namespaces and pods that nobody made, each set of labels once."""
        pods = [o for o in self.objects if o["kind"] == "Pod"]
        own = [pod for pod in pods if meta.namespace_of(pod) in self.namespaces]
        shapes: dict[Labels, Object] = {(): {"containers": []}}
        for pod in own:
            for labels in _near(meta.labels_of(pod)):
                shapes.setdefault(_sorted(labels), pod["spec"])
        for labels in asked:
            shapes.setdefault(_sorted(labels), {"containers": []})
        spaces: dict[str, dict[str, str]] = {name: {} for name in (*self.namespaces, ELSEWHERE)}
        spaces |= {f"{ELSEWHERE}-{n}": dict(found) for n, found in enumerate(asked) if found}
        for name, labels in spaces.items():
            if labels or name == ELSEWHERE:
                metadata = {"name": name, "labels": labels}
                yield {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        for number, (space, (found, spec)) in enumerate(product(spaces, shapes.items())):
            words = "".join(f"-{value}" for _, value in found)
            name = f"imagined{words}-{number}"
            metadata = {"name": name, "namespace": space, "labels": dict(found)}
            plain = {"containers": spec.get("containers") or []}
            yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": plain}


def _others(documents: Iterable[Document]) -> list[Document]:
    return [document for document in documents if document.get("kind") not in KINDS_OF_POLICIES]


def _policies(documents: Iterable[Document]) -> list[Document]:
    return [document for document in documents if document.get("kind") in KINDS_OF_POLICIES]


def _key(obj: Object) -> tuple[str, str, str]:
    return obj["kind"], meta.namespace_of(obj), meta.name_of(obj)


def _sorted(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _near(labels: Mapping[str, str]) -> Iterator[dict[str, str]]:
    yield dict(labels)
    yield {**labels, **EXTRA}
    for key in labels:
        yield {other: labels[other] for other in labels if other != key}
        yield {**labels, key: f"{labels[key]}-x"}


def _selectors(value: Any) -> Iterator[dict[str, str]]:
    """Yield for every label selector in a value the labels that fulfil it plainly."""
    if isinstance(value, list):
        for one in value:
            yield from _selectors(one)
    elif isinstance(value, dict):
        if "matchLabels" in value or "matchExpressions" in value:
            wanted = dict(value.get("matchLabels") or {})
            for found in value.get("matchExpressions") or ():
                if found.get("operator") == "In":
                    wanted[found["key"]] = found["values"][0]
                elif found.get("operator") == "Exists":
                    wanted[found["key"]] = "any"
            yield wanted
        for one in value.values():
            yield from _selectors(one)
