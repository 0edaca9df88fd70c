"""Pods of the grader's own that look like those of the exercise: its ``canaries``.

An answer may be fitted to the pods that a learner sees: their addresses, or labels that only
they happen to have. So before an exercise counts as solved, the grader adds pods that were not
there, and wants of them what the task means: the labels of `web` and one more are still `web`;
the labels of `web` in another namespace are somebody else.

Their names are drawn for each check and never told; when the check ends they go. What a killed
check left behind goes at the next one: an annotation says whose they are.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from k8slab.errors import ClusterError, K8slabError
from k8slab.grading.collateral import ports_of
from k8slab.grading.fields import Field, Fields, text
from k8slab.objects import meta
from k8slab.policy import Party
from k8slab.policy.flow import WORKLOADS
from k8slab.probes import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from k8slab.grading.context import Context
    from k8slab.grading.wants import Want
    from k8slab.objects.meta import Object
    from k8slab.probes.targets import Snapshot

MARK = "k8slab.dev/grader"
"""The annotation of what the grader adds for one check; its value is the exercise's namespace."""

IMAGE = "k8slab/app"

SAME = "same"
WISHES = (SAME, "open", "blocked")

FIELDS: Fields = {
    "like": text("the pod (or deployment/NAME) of the set-up that it looks like", required=True),
    "without": Field((list,), "labels that it has not"),
    "labels": Field((dict,), "labels that it has besides"),
    "elsewhere": Field((bool,), "true: in a namespace of the grader's own"),
    "want": text(
        "what its flows are to be: as those of the pod that it is like, open, or blocked",
        allowed=WISHES,
    ),
}


@dataclass(frozen=True)
class Lookalike:
    """One pod that the grader adds: whom it is like, in what it differs, what it may do."""

    like: Party
    without: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    elsewhere: bool = False
    want: str = SAME

    def __str__(self) -> str:
        differs = [f"without the label {name}" for name in self.without]
        differs += [f"with the label {name}={value} too" for name, value in self.labels.items()]
        differs += ["in another namespace"] if self.elsewhere else []
        return f"a pod like {self.like}, {' and '.join(differs) or 'with one label more'}"


@dataclass(frozen=True, slots=True)
class Made:
    """What was added: objects, and what is wanted of them."""

    objects: tuple[Object, ...]
    wants: tuple[Want, ...]


def automatic(context: Context, wants: Sequence[Want]) -> list[Lookalike]:
    """Return for every pod and Deployment of the set-up that flows speak of one like it.

    Each has one label more, which nobody could know: whatever the task is, it is one of them.
    Pods of other workloads would be adopted by their controllers; pods on their node's network
    have its one set of ports, and policies do not select them.
    """
    known = {
        _party_of(obj)
        for obj in context.setup
        if obj["kind"] in ("Pod", "Deployment") and not _on_node_network(obj)
    }
    ends = [end for want in wants for end in (want.flow.source, want.flow.destination)]
    return [Lookalike(party) for party in dict.fromkeys(ends) if party in known]


def _on_node_network(obj: Object) -> bool:
    spec = obj["spec"] if obj["kind"] == "Pod" else obj["spec"]["template"]["spec"]
    return bool(spec.get("hostNetwork"))


def _on_node(obj: Object) -> bool:
    spec = obj["spec"] if obj["kind"] == "Pod" else obj["spec"]["template"]["spec"]
    ports = [port for one in spec.get("containers") or () for port in one.get("ports") or ()]
    return bool(spec.get("hostNetwork")) or any("hostPort" in port for port in ports)


def make(context: Context, wants: Sequence[Want], lookalikes: Sequence[Lookalike]) -> Made:
    """Return the objects to add for these lookalikes, and their flows with what is wanted."""
    objects: list[Object] = []
    found: list[Want] = []
    for one in lookalikes:
        namespace = one.like.namespace
        if one.elsewhere:
            namespace = f"{secrets.token_hex(4)}-elsewhere"
            objects.append(_namespace(context, namespace))
        pod = _pod(context, one, namespace)
        if pod is not None:
            objects.append(pod)
            found += _flows(one, Party("pod", meta.name_of(pod), namespace), wants)
    return Made(tuple(objects), tuple(found))


def _flows(one: Lookalike, party: Party, wants: Sequence[Want]) -> Iterator[Want]:
    for want in wants:
        source, destination = want.flow.source, want.flow.destination
        wish = want.wish if one.want == SAME or want.wish != Outcome.OPEN.value else one.want
        port = f"port {want.flow.port}/{want.flow.protocol}"
        if source == one.like:
            flow = replace(want.flow, source=party)
            told = f"{one} -> {destination} {port}"
            yield replace(want, flow=flow, wish=wish, origin=str(want.flow), told=told)
        elif destination == one.like and one.want == SAME and not one.elsewhere:
            flow = replace(want.flow, destination=party)
            told = f"{source} -> {one} {port}"
            yield replace(want, flow=flow, origin=str(want.flow), told=told)


def _pod(context: Context, one: Lookalike, namespace: str) -> Object | None:
    template = _template(context, one.like)
    if template is None:
        return None
    labels = {k: v for k, v in meta.labels_of(template).items() if k not in one.without}
    if not one.without and not one.elsewhere and not one.labels:
        labels[f"k8slab.dev/{secrets.token_hex(4)}"] = "more"
    spec = {key: value for key, value in template["spec"].items() if key != "nodeName"}
    if one.elsewhere:  # ConfigMaps and accounts of the original are not there
        ports = [{"containerPort": n, "protocol": p} for n, p in ports_of(template)]
        spec = {"containers": [{"name": "app", "image": IMAGE, "ports": ports}]}
    metadata = {
        "name": f"{one.like.name[:40]}-x{secrets.token_hex(4)}",  # no name of a StatefulSet's
        "namespace": namespace,
        "labels": {**labels, **one.labels},
        "annotations": {MARK: context.namespace},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _template(context: Context, like: Party) -> Object | None:
    for obj in context.setup:
        if _party_of(obj) == like:
            template: Object = obj["spec"]["template"] if like.kind in WORKLOADS else obj
            return template
    found: Object | None = None
    if like.kind == "pod":
        found = context.cluster.get("pods", like.name, like.namespace)
    return found


def _party_of(obj: Object) -> Party:
    return Party(obj["kind"].lower(), meta.name_of(obj), meta.namespace_of(obj))


def _namespace(context: Context, name: str) -> Object:
    metadata = {
        "name": name,
        "labels": {"app.kubernetes.io/managed-by": "k8slab"},
        "annotations": {MARK: context.namespace},
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


@contextmanager
def added(context: Context, made: Made) -> Iterator[None]:
    """Add the objects for the length of a block, and take them away at its end."""
    with removed(context.cluster, made.objects):
        context.cluster.apply(made.objects)
        yield


@contextmanager
def removed(cluster: Any, objects: Iterable[Object]) -> Iterator[None]:
    """Take away what a block adds when it ends; an error that ends it is the one that is told."""
    try:
        yield
    except BaseException:
        with suppress(K8slabError):
            remove(cluster, objects)
        raise
    remove(cluster, objects)


def leftovers(context: Context, there: Snapshot) -> list[Object]:
    """Return what an earlier check of this exercise added and did not take away.

    A check has the exercise to itself, so nothing of it stands before it has added its own. The
    mark on a pod of the set-up or of a controller is somebody else's: see `unchanged`.
    """
    planned = {(obj["kind"], meta.key_of(obj)) for obj in context.setup}
    spaces = [("Namespace", obj) for obj in there.objects("namespaces", "").values()]
    pods = [("Pod", obj) for obj in context.listed(there, "pods")]
    return [
        {"kind": kind, **obj}
        for kind, obj in [*spaces, *pods]
        if meta.annotations_of(obj).get(MARK) == context.namespace and not meta.is_deleting(obj)
        if (kind, meta.key_of(obj)) not in planned and not meta.controller_of(obj)
    ]


def remove(cluster: Any, objects: Iterable[Object]) -> None:
    """Delete what was added; a namespace takes its pods with it.

    What cannot be deleted keeps nothing else back: `ClusterError` names it at the end.
    """
    failed = []
    for obj in objects:
        name, space = meta.name_of(obj), meta.namespace_of(obj)
        try:
            if obj["kind"] == "Namespace":
                cluster.delete("namespaces", name)
            else:
                cluster.delete("pods", name, space, grace=0)
        except K8slabError as error:
            failed.append(f"{space or 'namespace'}/{name}: {error.message}")
    if failed:
        raise ClusterError(
            f"what the check added cannot be taken away: {'; '.join(failed)}",
            hint="the next check of this exercise tries it again",
        )
