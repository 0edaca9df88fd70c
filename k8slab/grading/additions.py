"""What was added to an exercise that it does not release.

Made by the cluster, and no addition: what a controller made (a ReplicaSet's pods, a Service's
slices), and what stood there right after the set-up, since some clusters put something of their
own into every namespace (`given`). The works of a controller count as those of whoever made it:
a pod of a Job that is nobody's is the Job's addition, mirrored slices are those of Endpoints.

Objects of the whole cluster may be another exercise's answer. Of ClusterNetworkPolicies those
count that decide about this exercise's namespaces: they are in force here, and would not be
handed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from k8slab.clusters.permitted import permitted
from k8slab.grading.collateral import owner_of
from k8slab.grading.context import CLUSTER_POLICIES, cluster_policies
from k8slab.grading.watched import (
    CLUSTER_SCOPED,
    NAMESPACE_LABELS,
    WATCHED,
    is_clusters_own,
    pattern_of,
    released,
)  # fmt: skip
from k8slab.objects import meta, selectors
from k8slab.objects.authored import authored
from k8slab.objects.slices import SLICES, service_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.grading.context import Context
    from k8slab.objects.meta import Object
    from k8slab.probes.targets import Snapshot

Given = Mapping[str, Sequence[str]]
"""What a cluster gave, by namespace: RESOURCE/NAME."""

GIVEN = (
    "configmaps", "secrets", "serviceaccounts", "rolebindings.rbac.authorization.k8s.io"
)  # fmt: skip
"""What clusters put into every new namespace."""

ABOUT = "but this exercise is about something else"
REPLACED = f"{ABOUT}: delete it; what a controller needs it makes again"
_MIRRORED = "endpointslicemirroring-controller.k8s.io"
_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_OWNERS = {
    "replicaset": "replicasets.apps",
    "job": "jobs.batch",
    "replicationcontroller": "replicationcontrollers",
}
"""Kinds that make pods and are not watched themselves: their pods tell of them."""
_IDENTITY = ("apiVersion", "kind", "metadata")
_IN_DOUBT = ("configmaps/", "namespaces/", "secret/", "serviceaccount/", "rolebinding/")
"""How `pattern_of` calls what clusters give, and namespaces, for their labels."""


@dataclass(frozen=True, slots=True)
class Added:
    """One object that is not wanted: as `may_change` would call it, where, and why not."""

    pattern: str
    namespace: str
    why: str = ABOUT
    seen: str = "it was added"


def first(context: Context, there: Snapshot, may_change: Sequence[str]) -> Added | None:
    """Return something that was added and that the exercise does not release, or ``None``.

    What is `doubtful` is named where nothing else was added.
    """
    found = (*_in_namespaces(context, there), *_policies(context, there, may_change))
    counted = [one for one in found if _counts(one, context, may_change)]
    return min(counted, key=lambda one: doubtful(context, one), default=None)


def _counts(one: Added, context: Context, may_change: Sequence[str]) -> bool:
    return not released(one.pattern, may_change) and not is_given(
        context.given, one.namespace, one.pattern
    )


# What the cluster gave.


def given(context: Context, there: Snapshot) -> dict[str, list[str]]:
    """Return what a cluster put into a fresh set-up, by namespace: for `Context.given`.

    These are ConfigMaps (authorities of a service mesh), accounts with their Secrets and roles,
    labels of namespaces (``labels/KEY``), and under the empty name the ClusterNetworkPolicies of
    its administrators: a cluster that k8slab made has none but those of its learner.
    """
    found = {space: _objects(context, there, space) for space in context.namespaces}
    planned = {meta.name_of(obj): obj for obj in context.setup if obj["kind"] == "Namespace"}
    for space, names in found.items():
        obj = there.objects("namespaces", "").get(space) or {}
        own = NAMESPACE_LABELS | meta.labels_of(planned.get(space) or {}).keys()
        names += [f"labels/{key}" for key in meta.labels_of(obj).keys() - own]
    if context.cluster.provider == "existing":
        policies = _listed_policies(context)
        found[""] = [f"{CLUSTER_POLICIES}/{meta.name_of(obj)}" for obj in policies]
    return {space: sorted(names) for space, names in found.items() if names}


def is_given(known: Given | None, namespace: str, pattern: str) -> bool:
    """Say whether the cluster gave this, and nobody who answered; not where nobody noted it."""
    return pattern in (known or {}).get(namespace, ())


def given_labels(context: Context, namespace: str) -> set[str]:
    """Return the labels that the cluster put on a namespace."""
    pairs = [one.partition("/") for one in (context.given or {}).get(namespace, ())]
    return {name for resource, _, name in pairs if resource == "labels"}


def _objects(context: Context, there: Snapshot, space: str) -> list[str]:
    planned = {(obj["kind"], meta.key_of(obj)) for obj in context.setup}
    return [
        pattern_of(obj)
        for resource in GIVEN
        for obj in (permitted(partial(there.objects, resource, space)) or {}).values()
        if (obj["kind"], meta.key_of(obj)) not in planned and not _made_for_all(obj)
    ]


def _made_for_all(obj: Object) -> bool:
    """Say whether every namespace has this; so it has a `default` that nobody wrote into."""
    default = obj["kind"] == "ServiceAccount" and meta.name_of(obj) == "default"
    return is_clusters_own(obj) or (default and authored(obj) is None)


def doubtful(context: Context, added: Added) -> bool:
    """Say whether something may have come from the cluster, since nobody noted what it gave.

    So it is with journals of before that was noted, and where another journal saw the set-up.
    A cluster that k8slab made gives nothing.
    """
    if context.given is not None or context.cluster.provider == "embedded":
        return False
    if added.pattern.startswith(f"{CLUSTER_POLICIES}/"):
        return bool(context.cluster.provider == "existing")
    return added.pattern.startswith(_IN_DOUBT)


# In the exercise's namespaces.


def _in_namespaces(context: Context, there: Snapshot) -> Iterator[Added]:
    planned = {(pattern_of(obj), meta.namespace_of(obj)) for obj in context.setup}
    for kind, resource in WATCHED.items():
        for space in context.namespaces if kind not in CLUSTER_SCOPED else ():
            for name, obj in there.objects(resource, space).items():
                pattern = f"{resource}/{name}"
                if (pattern, space) not in planned and not is_clusters_own(obj):
                    yield from _origin(context, there, obj, pattern)


def _origin(context: Context, there: Snapshot, obj: Object, pattern: str) -> Iterator[Added]:
    """Yield the object, or what of somebody's made it; nothing where it is the cluster's own."""
    space = meta.namespace_of(obj)
    resource = pattern.partition("/")[0]
    if resource == SLICES:
        if meta.labels_of(obj).get(_MANAGED_BY) == _MIRRORED:
            yield Added(f"endpoints/{service_of(obj)}", space)
        elif not meta.controller_of(obj) and authored(obj) is not None:
            yield Added(pattern, space)
        elif written_into(obj):
            yield Added(pattern, space, REPLACED, "somebody wrote into it")
    elif not meta.controller_of(obj):
        yield Added(pattern, space)
    elif written_into(obj):
        yield Added(pattern, space, REPLACED, "somebody wrote into it")
    elif resource == "pods" and not meta.is_deleting(obj):
        owner = owner_of(there, obj)
        maker = _OWNERS.get(owner.kind)
        # An owner that has just gone takes its pods with it.
        if maker and context.cluster.get(maker, owner.name, space) is not None:
            yield Added(f"{maker}/{owner.name}", space)


def written_into(obj: Object) -> bool:
    """Say whether somebody wrote more than labels into what a controller made and writes itself."""
    return any(value for key, value in (authored(obj) or {}).items() if key not in _IDENTITY)


# Of the whole cluster.


def _policies(context: Context, there: Snapshot, may_change: Sequence[str]) -> Iterator[Added]:
    wishes = [wish for wish in may_change if wish.startswith(f"{CLUSTER_POLICIES}/")]
    names = " or ".join(wish.partition("/")[2] for wish in wishes)
    why = (
        f"but only one called {names} counts here and is handed in: delete it, and give what it "
        "says to one with such a name"
        if names
        else "and decides about this exercise's namespaces: delete it, or narrow its subject"
    )
    planned = {meta.name_of(obj) for obj in context.setup if obj["kind"] == "ClusterNetworkPolicy"}
    every = there.objects("namespaces", "")
    own = [every[space] for space in context.namespaces if space in every]
    for policy in _listed_policies(context):
        if meta.name_of(policy) not in planned and _is_about(policy, own):
            yield Added(f"{CLUSTER_POLICIES}/{meta.name_of(policy)}", "", why)


def _listed_policies(context: Context) -> list[Object]:
    """Return all, or none where they may not be listed: whoever may not see them makes none."""
    return permitted(lambda: cluster_policies(context.cluster)) or []


def _is_about(policy: Object, spaces: Sequence[Object]) -> bool:
    """Say whether a policy's subject is in these namespaces, or a peer that it does not share.

    A peer in all namespaces, or in all but some, is of no exercise's own: the subject decides
    whom it is about.
    """
    spec = policy.get("spec") or {}
    rules = [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]
    peers = [peer for rule in rules for side in ("from", "to") for peer in rule.get(side) or ()]
    meant = [one for one in map(_namespaces, peers) if one and _names_some(one)]
    chosen = [_namespaces(spec.get("subject") or {}), *meant]
    found = [selectors.from_object(one) for one in chosen]
    return any(one.matches(meta.labels_of(space)) for one in found if one for space in spaces)


def _names_some(selector: Object) -> bool:
    """Say whether a selector asks for a label, and not only for the lack of one."""
    operators = {one.get("operator") for one in selector.get("matchExpressions") or ()}
    return bool(selector.get("matchLabels") or operators & {"In", "Exists"})


def _namespaces(party: Object) -> Object | None:
    """Return the selector of namespaces of a subject or peer; ``None`` where it has none."""
    pods = party.get("pods") or {}
    selector: Object | None = party.get("namespaces", pods.get("namespaceSelector"))
    return selector
