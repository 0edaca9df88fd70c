"""Typed answers that only one cluster could give: what they stand for, and what they are here.

"Which address has the pod near?" is answered by 10.244.1.5 in one cluster and by another
address in the next. So a bundle says for such a text where the learner's cluster told it, for
example ``{object: pods/near, path: status.podIP}``; the replay reads the same field of its own
pod and grades what it finds there. Whoever typed the address of another pod gets the address
of that other pod graded, and is as wrong as before.

Only what differs between clusters is translated: addresses and the names of nodes. Everything
else (a number, yes or no, a name that a manifest gives) is graded as it was typed.

What this proves: that the text belongs to the right object. Not that the learner read it off
the cluster: a forged bundle can name the right field, which everybody can find in the
exercise's file. A report therefore counts translated answers as stated and not as reproduced.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from k8slab.clusters.permitted import permitted
from k8slab.errors import K8slabError
from k8slab.grading import values
from k8slab.objects import meta, paths
from k8slab.probes.steps import is_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from k8slab.course.lab import Exercise
    from k8slab.grading import Context

Symbol = dict[str, str]
"""A value of one object: `object` (RESOURCE/NAME), `path`, and perhaps `namespace`."""

PLACES = {
    "pods": ("status.podIP", "status.podIPs[1].ip", "status.hostIP", "spec.nodeName"),
    "services": ("spec.clusterIP", "spec.clusterIPs[1]", "status.loadBalancer.ingress[0].ip"),
    "nodes": ("metadata.name", "status.addresses[0].address", "status.addresses[1].address"),
}
"""Where clusters tell what differs between them, what is looked at first, first."""


def translate(context: Context, exercise: Exercise, question: str, text: str) -> Symbol | None:
    """Return what a typed text stands for in this cluster, or ``None`` for a text as it is.

    The question's own value is tried first: where two fields tell the same, it was meant.
    """
    found = right(context, exercise, question, text)
    return found or _first(context, exercise, question, text, _told(context, exercise))


def right(context: Context, exercise: Exercise, question: str, text: str) -> Symbol | None:
    """Return where the cluster tells the answer to a question, if it tells this very text."""
    return _first(context, exercise, question, text, _asked(exercise, question))


def _first(
    context: Context, exercise: Exercise, question: str, text: str, symbols: Iterable[Symbol]
) -> Symbol | None:
    """Return the first symbol whose value is the text; most texts are none, and cost one list."""
    asked = next(_values(exercise, question), {})
    nodes = _nodes(context)
    if not _is_address(text.replace(",", " ")) and not any(is_place(text, one) for one in nodes):
        return None
    for symbol in symbols:
        try:
            value = values.read(context, symbol)
        except K8slabError:
            continue
        if _differs(nodes, value) and values.alike(asked, text, value):
            return symbol
    return None


def here(context: Context, exercise: Exercise, text: str, symbol: Mapping[str, Any]) -> str:
    """Return what a symbol is in this cluster; the text itself where it means nothing here.

    An address must be where an address was typed, and a name where a name was.
    """
    resource, _, name = str(symbol.get("object", "")).partition("/")
    space = symbol.get("namespace", exercise.namespace)
    own = resource == "nodes" or space in exercise.namespaces
    if resource not in PLACES or not name or not own or values.fault(symbol):
        return text
    value = values.read(context, symbol)
    nodes = _nodes(context)
    if not _differs(nodes, value) or _is_address(text) != _is_address(value):
        return text
    return values.as_text(value)


def _values(exercise: Exercise, question: str) -> Iterator[dict[str, Any]]:
    """Yield where the cluster tells the answer to a question."""
    for spec in exercise.wishes.checks:
        if spec["check"] == "answer" and spec["id"] == question:
            yield spec["value"]


def _asked(exercise: Exercise, question: str) -> Iterator[Symbol]:
    for value in _values(exercise, question):
        if set(value) <= {"object", "path", "namespace"} and "/" in value.get("object", ""):
            yield dict(value)
        for end in ("to", "from"):  # a packet between pods is lost on the node of one of them
            if "lost" in value:
                yield {"object": f"pods/{value['lost'][end]}", "path": "spec.nodeName"}


def _told(context: Context, exercise: Exercise) -> Iterator[Symbol]:
    for resource, places in PLACES.items():
        spaces = exercise.namespaces if resource != "nodes" else [""]
        for space in spaces:
            for obj in context.cluster.list(resource, space):
                where = {} if space in ("", exercise.namespace) else {"namespace": space}
                for path in places:
                    if paths.at(obj, path) is not None:
                        yield {"object": f"{resource}/{meta.name_of(obj)}", "path": path, **where}


def _differs(nodes: set[str], value: Any) -> bool:
    """Say whether a value is one that the next cluster would tell otherwise."""
    return value is not None and (_is_address(value) or values.as_text(value) in nodes)


def _nodes(context: Context) -> set[str]:
    """Return the names of the nodes; none for whoever may not list them."""
    return set(map(meta.name_of, permitted(lambda: context.cluster.list("nodes")) or ()))


def _is_address(text: Any) -> bool:
    try:
        ipaddress.ip_address(str(text).strip())
    except ValueError:
        return False
    return True
