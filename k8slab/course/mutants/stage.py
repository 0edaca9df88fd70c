"""An exercise at its start, again and again: what an answer changed is undone.

A full reset deletes the namespaces and makes them anew, with all pods, which takes most of the
time of a trial. Most answers change a policy or two. So what the start consists of is noted
once; afterwards what was added is deleted, what was changed or deleted is made again, and only
when the cluster then does not look as it did, or when an answer did what is not looked at (most
of what kubectl can), is the exercise reset.
"""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from k8slab.course.journal import Journal
from k8slab.course.session import Session
from k8slab.course.setup import wait_ready
from k8slab.grading.canaries import NAMESPACE as CANARIES
from k8slab.grading.context import CLUSTER_POLICIES, Context, cluster_policies
from k8slab.grading.unchanged import CLUSTERS_OWN, WATCHED
from k8slab.objects import meta

if TYPE_CHECKING:
    from pathlib import Path

    from k8slab.course.answers import Document
    from k8slab.course.lab import Exercise, Lab
    from k8slab.objects.meta import Object

Place = tuple[str, str, str]
"""Resource, namespace and name of an object."""

POLICIES = frozenset({"NetworkPolicy", "ClusterNetworkPolicy"})
READY_SECONDS = 60.0


@dataclass
class Stage:
    """One exercise on one cluster; `scratch` holds the journals."""

    lab: Lab
    exercise: Exercise
    cluster: Any
    scratch: Path
    resets: int = 0
    _start: dict[Place, Object] = field(default_factory=dict)
    _journal: Journal | None = None
    _trials: int = 0
    _unclear: bool = True
    """Whether something may have been changed that is not looked at."""

    @property
    def namespaces(self) -> list[str]:
        """The exercise's namespaces."""
        return self.exercise.namespaces

    def session(self) -> Session:
        """Return the session of a learner who has just begun; what came before is undone."""
        if self._journal is None or self._unclear or not self._undone():
            self._reset()
        self._trials += 1
        assert self._journal is not None
        # The journal of the start is closed after each event: its file is all of it.
        copy = self.scratch / f"{self.exercise.id}-{self._trials}.sqlite"
        shutil.copyfile(self._journal.path, copy)
        return Session(self.lab, self.cluster, Journal(copy))

    def touched(self, documents: tuple[Document, ...]) -> None:
        """Note what an answer did, before it is given."""
        known = {*WATCHED, *POLICIES}
        self._unclear = any(
            document.get("kind", "Pod") not in known
            or not all(_is_watched(command) for command in document.get("kubectl", ()))
            for document in documents
        )

    def close(self) -> None:
        """Delete everything of the exercise, without waiting."""
        for place in self._now().keys() - self._start.keys():
            if not place[1]:
                self._delete(place)
        for space in self.namespaces:
            self._end_pods(space)
            self.cluster.delete("namespaces", space)

    def context(self) -> Context:
        """Return the cluster as the graders see it."""
        return Context(self.cluster, self.exercise.namespace, self.exercise.setup)

    def _reset(self) -> None:
        self.resets += 1
        for place in self._now() if self._start else {}:
            if not place[1] and place not in self._start:
                self._delete(place)
        for space in self.namespaces:
            self._end_pods(space)
        self._journal = Journal(self.scratch / f"{self.exercise.id}-start-{self.resets}.sqlite")
        Session(self.lab, self.cluster, self._journal).reset(self.exercise.id)
        self._start = self._now()
        self._unclear = False

    def _end_pods(self, space: str) -> None:
        """End pods without their grace, a second and more each."""
        for pod in self.cluster.list("pods", space):
            self.cluster.delete("pods", meta.name_of(pod), space, grace=0)

    def _undone(self) -> bool:
        """Undo what can be undone; say whether the start is there again."""
        now = self._now()
        if now == self._start:
            return True
        wrong = {place for place in now.keys() | self._start.keys() if self._differs(place, now)}
        for place in wrong & now.keys():
            self._delete(place)
        planned = [obj for obj in self.exercise.setup if self._place(obj) in wrong]
        pods = [place for place in wrong & now.keys() if place[0] == "pods"]
        for _, space, name in pods:
            self.cluster.wait("pods", name, space, until="delete", deadline=READY_SECONDS)
        self.cluster.apply(planned)
        wait_ready(self.cluster, planned, READY_SECONDS)
        return self._now() == self._start

    def _differs(self, place: Place, now: dict[Place, Object]) -> bool:
        return now.get(place) != self._start.get(place)

    def _place(self, obj: Object) -> Place:
        resource = CLUSTER_POLICIES if obj["kind"] == "ClusterNetworkPolicy" else ""
        return resource or WATCHED.get(obj["kind"], ""), meta.namespace_of(obj), meta.name_of(obj)

    def _delete(self, place: Place) -> None:
        resource, space, name = place
        self.cluster.delete(resource, name, space, grace=0 if resource == "pods" else None)

    def _now(self) -> dict[Place, Object]:
        """Return what there is, without what changes by itself or differs each time."""
        found: dict[Place, Object] = {}
        for resource in WATCHED.values():
            # All namespaces at once: one request instead of one for each.
            for obj in self._listed(resource):
                if self._matters(resource, obj):
                    place = resource, meta.namespace_of(obj), _lasting_name(obj)
                    found[place] = _lasting(obj)
        return found

    def _matters(self, resource: str, obj: Object) -> bool:
        """Say whether an object is of this exercise: no other one runs on this cluster."""
        name = meta.name_of(obj)
        if resource == CLUSTER_POLICIES:
            return True
        if resource == "namespaces":  # what others left may still be going
            others = meta.is_deleting(obj) or name == CANARIES
            return name in self.namespaces or not others
        return meta.namespace_of(obj) in self.namespaces and name not in CLUSTERS_OWN

    def _listed(self, resource: str) -> list[Object]:
        if resource == CLUSTER_POLICIES:
            return cluster_policies(self.cluster)
        return list(self.cluster.list(resource))


def _lasting_name(obj: Object) -> str:
    """Return the name of an object; pods of a workload go by their owner and their labels."""
    owner = meta.controller_of(obj)
    if owner is None:
        return meta.name_of(obj)
    return f"{owner['kind']}/{owner['name']}/{obj['metadata'].get('generateName', '')}"


WORDS = frozenset(
    word for kind, name in WATCHED.items() for word in (kind.lower(), name, name.partition(".")[0])
)
"""What kubectl calls the kinds that are compared."""


def _is_watched(command: str) -> bool:
    """Say whether all that a kubectl command can change is compared afterwards."""
    verb, *rest = shlex.split(command)
    plain = next((word for word in rest if not word.startswith("-")), "")
    return verb in ("run", "expose") or (
        verb in ("label", "delete", "scale") and plain.partition("/")[0] in WORDS
    )


GIVEN = frozenset({"clusterIP", "clusterIPs", "nodeName", "healthCheckNodePort"})
"""Fields of a spec that the cluster fills in, another time with other values."""


def _lasting(obj: Object) -> Object:
    rest = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    if obj["kind"] == "Pod":
        rest["phase"] = (obj.get("status") or {}).get("phase")
    if "spec" in rest:
        rest["spec"] = _without_tokens(
            {key: value for key, value in rest["spec"].items() if key not in GIVEN}
        )
    return {**rest, "labels": meta.labels_of(obj), "leaving": meta.is_deleting(obj)}


def _without_tokens(value: Any) -> Any:
    """Leave out the volumes of service-account tokens, whose names are drawn for each pod."""
    if isinstance(value, list):
        return [
            _without_tokens(one)
            for one in value
            if not (isinstance(one, dict) and str(one.get("name")).startswith("kube-api-access-"))
        ]
    if isinstance(value, dict):
        return {key: _without_tokens(one) for key, one in value.items()}
    return value
