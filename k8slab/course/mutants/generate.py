"""From an answer to its mutants: the same answer with one mistake."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8slab.course.mutants.edits import put
from k8slab.course.mutants.known import Known
from k8slab.course.mutants.objects import spoil_commands, spoil_object, spoil_typed
from k8slab.course.mutants.policies import spoil_cluster_policy, spoil_network_policy
from k8slab.objects import meta

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from k8slab.course.answers import Answer, Document
    from k8slab.course.lab import Exercise
    from k8slab.objects.meta import Object

POLICY = "NetworkPolicy"
CLUSTER_POLICY = "ClusterNetworkPolicy"

BOTH = ["Ingress", "Egress"]
OPEN = {"podSelector": {}, "policyTypes": BOTH, "ingress": [{}], "egress": [{}]}
SHUT = {"podSelector": {}, "policyTypes": BOTH}


@dataclass(frozen=True)
class Mutant:
    """An answer with one mistake; `name` says which, and does not depend on other mutants."""

    name: str
    documents: tuple[Document, ...]


def mutants(exercise: Exercise, answer: Answer) -> list[Mutant]:
    """Return the mutants of an answer, each different from the answer and from the others."""
    documents = list(answer.documents)
    read = [
        [str(want.flow) for want in exercise.wishes.wants],
        [dict(spec) for spec in exercise.wishes.checks],
    ]
    objects = [*exercise.setup, *(d for d in documents if "kind" in d)]
    known = Known.of(objects, exercise.namespaces, read)
    pods = [meta.name_of(obj) for obj in objects if obj["kind"] == "Pod"]
    seen = {_text(documents)}
    found = []
    for mutant in _spoilt(documents, known, list(dict.fromkeys(pods))):
        text = _text(mutant.documents)
        if text not in seen and any(mutant.documents):
            seen.add(text)
            found.append(mutant)
    return found


def _text(documents: Iterable[Document]) -> str:
    return json.dumps(list(documents), sort_keys=True)


def _spoilt(documents: list[Document], known: Known, pods: Sequence[str]) -> Iterator[Mutant]:
    titles = Counter(meta.name_of(d) for d in documents if "kind" in d)
    for number, document in enumerate(documents):
        if "kind" in document:
            title = _title(document, clear=titles[meta.name_of(document)] == 1)
            changes = _of_object(document, known)
            rest = tuple(documents[:number] + documents[number + 1 :])
            yield Mutant(f"{title} left out", rest)
        elif "kubectl" in document:
            title = "kubectl"
            changes = (
                (what, {"kubectl": commands})
                for what, commands in spoil_commands(document["kubectl"])
            )
        else:
            title = "answer"
            changes = (
                (what, {"answers": typed}) for what, typed in spoil_typed(document["answers"], pods)
            )
        for what, changed in changes:
            yield Mutant(f"{title} {what}", tuple(put(documents, (number,), changed)))
    yield from _as_a_whole(documents)


def _title(obj: Object, *, clear: bool) -> str:
    name = meta.name_of(obj) if clear else meta.key_of(obj)
    return name if obj["kind"] in (POLICY, CLUSTER_POLICY) else f"{obj['kind'].lower()} {name}"


def _of_object(obj: Object, known: Known) -> Iterator[tuple[str, Any]]:
    if obj["kind"] == POLICY:
        return spoil_network_policy(obj, known)
    if obj["kind"] == CLUSTER_POLICY:
        return spoil_cluster_policy(obj, known)
    return spoil_object(obj, known)


def _as_a_whole(documents: Sequence[Document]) -> Iterator[Mutant]:
    """Yield a second policy that opens all, and everything shut instead: two great favourites."""
    spaces = dict.fromkeys(meta.namespace_of(one) for one in documents if one.get("kind") == POLICY)
    for space in spaces:
        told = f" in {space}" if len(spaces) > 1 else ""
        yield Mutant(f"beside it everything open{told}", (*documents, _policy("open", space, OPEN)))
    others = [one for one in documents if one.get("kind") != POLICY]
    if spaces:
        walls = (_policy("shut", space, SHUT) for space in spaces)
        yield Mutant("instead everything shut", (*others, *walls))


def _policy(name: str, namespace: str, spec: dict[str, Any]) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": POLICY,
        "metadata": {"name": f"mutant-{name}", "namespace": namespace},
        "spec": spec,
    }
