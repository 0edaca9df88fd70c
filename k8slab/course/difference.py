"""An answer as objects: what differs from the set-up, and how to make it so elsewhere.

`collect` reads everything that stands in an exercise's namespaces, keeps of each object what
people wrote (`authored`), and compares it with the set-up's manifests: what was added, what
was changed, what is gone. It does not matter how it was typed. `replay` brings a fresh set-up
to the same state: it deletes, patches the difference of what people wrote, and makes an object
anew where the API lets nobody change it.

Not part of an answer, since no object says it: what was done inside a running container or on
a node, and what was done to the pods of a controller, which replaces them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any

from k8slab.clusters.media import MERGE
from k8slab.clusters.permitted import permitted
from k8slab.course.setup import LABELS, MARK, SEED
from k8slab.errors import ApiStatusError, ClusterNotReadyError
from k8slab.grading.additions import Given, is_given
from k8slab.grading.context import stuck
from k8slab.grading.interrupted import NOTE
from k8slab.grading.watched import is_clusters_own, pattern_of
from k8slab.objects import meta
from k8slab.objects.authored import authored, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from k8slab.course.lab import Exercise
    from k8slab.objects.meta import Object

Key = tuple[str, str, str, str]
"""API group, kind, namespace and name."""

PASSED_OVER = frozenset({"events", "leases", "controllerrevisions"})
"""Notes of the cluster to itself."""

FIRST = ("Namespace", "ServiceAccount", "ConfigMap", "Secret", "Role", "RoleBinding")
"""What pods need before they start; the rest is made in the order in which it stands."""

SETTLED_SECONDS = 20.0
GONE_SECONDS = 60.0


@dataclass(frozen=True)
class Difference:
    """What an answer did to its set-up."""

    added: tuple[Object, ...] = ()
    changed: tuple[Object, ...] = ()
    """As they are now, not what changed in them."""
    deleted: tuple[Object, ...] = ()
    """Their apiVersion, kind and name."""

    def __bool__(self) -> bool:
        """Say whether anything differs at all."""
        return bool(self.added or self.changed or self.deleted)

    def objects(self) -> list[Object]:
        """Return what has to be made, what others need first."""
        made = [*self.added, *self.changed]
        return sorted(
            made, key=lambda obj: FIRST.index(obj["kind"]) if obj["kind"] in FIRST else 99
        )

    def told(self) -> str:
        """Return how much it is, in words."""
        counts = {"added": self.added, "changed": self.changed, "deleted": self.deleted}
        words = [f"{len(found)} {word}" for word, found in counts.items() if found]
        return ", ".join(words) or "nothing differs from the set-up"


def _rank(obj: Object) -> int:
    return FIRST.index(obj["kind"]) if obj["kind"] in FIRST else len(FIRST)


def key_of(obj: Object) -> Key:
    """Return what identifies an object whatever version of its API it is written in."""
    group = obj["apiVersion"].rpartition("/")[0]
    return group, obj["kind"], meta.namespace_of(obj), meta.name_of(obj)


def may_change(exercise: Exercise, resource: str, name: str) -> bool:
    """Say whether an exercise releases an object by name: with its resource, written in full."""
    patterns = exercise.wishes.may_change or ()
    mine = [one for one in patterns if one.partition("/")[0] == resource]
    return any(fnmatchcase(f"{resource}/{name}", pattern) for pattern in mine)


# Collecting.


@dataclass(frozen=True)
class Estate:
    """Everything that people wrote in a cluster, read once for several exercises."""

    objects: dict[Key, Object]
    resources: dict[tuple[str, str], str]
    """The resource of each API group and kind that is not in a namespace."""

    @classmethod
    def read(cls, cluster: Any, exercises: Sequence[Exercise]) -> Estate:
        """Read all namespaced kinds, and those others that the exercises release by name."""
        wanted = {resource_of(found): found for found in cluster.resources.makeable()}
        wide = _cluster_wide(cluster, exercises)
        names = [
            "namespaces",
            *wide,
            *(n for n, r in wanted.items() if r.plural not in PASSED_OVER),
        ]
        spaces = sorted({space for one in exercises for space in one.namespaces})
        found = (obj for name in names for obj in _listed(cluster, name, spaces))
        written = {key_of(obj): obj for obj in map(_written, found) if obj is not None}
        return cls(written, {(found.group, found.kind): name for name, found in wide.items()})

    def difference(self, exercise: Exercise, given: Given | None = None) -> Difference:
        """Return what differs from the set-up of one exercise, without what the cluster gave.

        Where nobody noted what it gave, that is in it, too.
        """
        every = {key_of(obj): obj for obj in map(_namespace, exercise.namespaces)}
        every |= {key_of(obj): obj for obj in exercise.setup}
        planned = {key: obj for key, obj in every.items() if self._belongs(key, exercise)}
        there = {
            key: _without_given(obj, given)
            for key, obj in self.objects.items()
            if self._belongs(key, exercise) and not _is_given(obj, given)
        }
        return Difference(
            tuple(there[key] for key in there if key not in planned),
            tuple(
                obj for key, obj in there.items() if key in planned and not _same(obj, planned[key])
            ),
            tuple(_identity(planned[key]) for key in planned if key not in there),
        )

    def _belongs(self, key: Key, exercise: Exercise) -> bool:
        group, kind, space, name = key
        if kind == "Namespace":
            return name in exercise.namespaces
        if space:
            return space in exercise.namespaces
        return may_change(exercise, self.resources.get((group, kind), ""), name)


def _same(obj: Object, planned: Object) -> bool:
    """Say whether two objects ask for the same, whoever filled in the defaults.

    Lists that the API keeps whole (the rules of a policy) have its defaults in what people wrote.
    """
    if plain(obj) == plain(planned):
        return True
    from k8slab.embedded.apiserver import offline  # noqa: PLC0415  an API's room, for this case

    return plain(offline.defaulted(obj)) == plain(offline.defaulted(planned))


def _listed(cluster: Any, resource: str, spaces: Sequence[str]) -> list[Object]:
    """Return all objects of a kind; where only some namespaces may be read, those of `spaces`.

    On a cluster of others a learner may have rights in their own namespaces alone. What may
    not be listed there either nobody can have made there.
    """
    every = permitted(lambda: list(cluster.list(resource)))
    if every is not None:
        return every
    if resource == "namespaces":
        found = (cluster.get(resource, space) for space in spaces)
        return [space for space in found if space is not None]
    return [
        obj for space in spaces for obj in permitted(partial(cluster.list, resource, space)) or ()
    ]


def resource_of(found: Any) -> str:
    """Return a resource's name as clusters and `may_change` write it."""
    return f"{found.plural}.{found.group}".rstrip(".")


def _cluster_wide(cluster: Any, exercises: Sequence[Exercise]) -> dict[str, Any]:
    patterns = [one for each in exercises for one in each.wishes.may_change or ()]
    names = {pattern.partition("/")[0] for pattern in patterns}
    exact = sorted(name for name in names if not set("*?[") & set(name))
    found = {name: cluster.resources.named(name) for name in exact}
    return {name: one for name, one in found.items() if not one.namespaced and name != "namespaces"}


def collect(cluster: Any, exercise: Exercise, given: Given | None = None) -> Difference:
    """Return what differs now from the set-up of one exercise."""
    return Estate.read(cluster, [exercise]).difference(exercise, given)


def without_given(found: Difference, given: Given | None) -> Difference:
    """Return a difference without what a cluster gave: what it gives anew is nobody's work."""
    added = tuple(obj for obj in found.added if not _is_given(obj, given))
    return replace(
        found, added=added, changed=tuple(_without_given(obj, given) for obj in found.changed)
    )


def _is_given(obj: Object, given: Given | None) -> bool:
    return is_given(given, meta.namespace_of(obj), pattern_of(obj))


def _without_given(obj: Object, given: Given | None) -> Object:
    if obj["kind"] != "Namespace":
        return obj
    metadata, name = obj["metadata"], meta.name_of(obj)
    labels = {
        key: value
        for key, value in meta.labels_of(obj).items()
        if not is_given(given, name, f"labels/{key}")
    }
    rest = {key: value for key, value in metadata.items() if key != "labels"}
    return {**obj, "metadata": {**rest, **({"labels": labels} if labels else {})}}


def _written(obj: Object) -> Object | None:
    if meta.controller_of(obj) or meta.is_deleting(obj) or is_clusters_own(obj):
        return None
    found = authored(obj)
    if found is None and obj["kind"] == "ServiceAccount" and meta.name_of(obj) != "default":
        found = _identity(obj)  # a ServiceAccount has no field that anybody would have to set
    if found is not None and obj["kind"] == "Namespace":
        found = _own_texts(found)
    return found


def _own_texts(space: Object) -> Object:
    """Return a namespace without what our set-up writes into each: its marks."""
    metadata = dict(space["metadata"])
    for part, ours in (("labels", LABELS), ("annotations", {MARK: "", SEED: "", NOTE: ""})):
        kept = {key: value for key, value in (metadata.get(part) or {}).items() if key not in ours}
        metadata[part] = kept
    kept = {key: value for key, value in metadata.items() if value}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": kept}


def _namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _identity(obj: Object) -> Object:
    metadata = {"name": meta.name_of(obj)}
    if space := meta.namespace_of(obj):
        metadata["namespace"] = space
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}


# Replaying.


def replay(
    cluster: Any, difference: Difference, *, told: Callable[[str], None] = lambda _line: None
) -> list[str]:
    """Bring a fresh set-up to where the answer was; returns what the cluster refused.

    Waits until the pods of the answer run or are stuck: a broken answer is an answer too.
    """
    refused: list[str] = []
    for obj in difference.deleted:
        told(f"deleting {_name(obj)}")
        refused += _attempt(_delete, cluster, obj)
    for obj in difference.objects():
        told(f"making {_name(obj)}")
        refused += _attempt(_make, cluster, obj)
    spaces = {meta.namespace_of(obj) for obj in [*difference.objects(), *difference.deleted]}
    for space in sorted(spaces - {""}):
        told(f"waiting for the pods of {space}")
        _settle(cluster, space)
    return refused


def _attempt(act: Callable[[Any, Object], None], cluster: Any, obj: Object) -> list[str]:
    try:
        act(cluster, obj)
    except (ApiStatusError, ClusterNotReadyError) as error:
        return [f"{_name(obj)}: {error.message}"]
    return []


def _name(obj: Object) -> str:
    return f"{obj['kind']} {meta.key_of(obj)}"


def _delete(cluster: Any, obj: Object) -> None:
    resource, space, name = _address(cluster, obj)
    cluster.delete(resource, name, space, grace=0 if obj["kind"] == "Pod" else None)
    cluster.wait(resource, name, space, until="delete", deadline=GONE_SECONDS)


def _make(cluster: Any, obj: Object) -> None:
    resource, space, name = _address(cluster, obj)
    found = cluster.get(resource, name, space)
    if found is None:
        cluster.apply([obj])
        return
    old = authored(found) or _identity(found)
    if obj["kind"] == "Namespace":  # what marks the set-up is no answer's to take away or to give
        old, obj = _own_texts(old), _own_texts(obj)
    patch = _patch(old, obj)
    if not patch:
        return
    path = cluster.resources.of(obj).path(namespace=space, name=name)
    try:
        cluster.request("PATCH", path, patch, content_type=MERGE)
    except ApiStatusError as error:
        if error.code not in (400, 409, 422) or obj["kind"] == "Namespace":
            raise
        _delete(cluster, obj)  # a field that nobody may change: kubectl replace --force
        cluster.apply([obj])


def _address(cluster: Any, obj: Object) -> tuple[str, str, str]:
    found = cluster.resources.of(obj)
    return resource_of(found), meta.namespace_of(obj), meta.name_of(obj)


def _patch(old: Any, new: Any) -> dict[str, Any]:
    """Return the JSON merge patch (RFC 7396) that makes `old` `new`; empty where they agree."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, wanted in new.items():
        had = old.get(key)
        if had == wanted or key in ("apiVersion", "kind"):
            continue
        both = isinstance(had, dict) and isinstance(wanted, dict)
        patch[key] = _patch(had, wanted) if both else wanted
    return patch


def _settle(cluster: Any, space: str) -> None:
    """Wait until every pod is ready, has ended, or waits for good; not longer than bounded."""
    if not cluster.list("pods", space):
        return
    try:
        cluster.wait("pods", namespace=space, until=_at_rest, deadline=SETTLED_SECONDS)
    except ClusterNotReadyError:
        return  # the check says what is missing, and to whom


def _at_rest(pod: Object) -> bool:
    status = pod.get("status") or {}
    ready = any(
        c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()
    )
    return ready or status.get("phase") in ("Succeeded", "Failed") or stuck(pod) or _crashes(pod)


def _crashes(pod: Object) -> bool:
    found = (pod.get("status") or {}).get("containerStatuses") or ()
    return any(container.get("restartCount", 0) > 0 for container in found)
