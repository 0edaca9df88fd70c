"""An exercise at its start, again and again: what an answer changed is undone.

A full reset deletes the namespaces and makes them anew, with all pods, which takes most of the
time of a trial. Most answers change a policy or two. So what the start consists of is noted
once; afterwards what was added is deleted, what was changed or deleted is made again, and only
when the cluster then does not look as it did, or when an answer did what is not looked at (some
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
from k8slab.grading.polling import Polling
from k8slab.grading.watched import CLUSTERS_OWN, WATCHED
from k8slab.objects import meta
from k8slab.objects.slices import SLICES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from k8slab.course.answers import Document
    from k8slab.course.lab import Exercise, Lab
    from k8slab.objects.meta import Object

Place = tuple[str, str, str]
"""Resource, namespace and name of an object."""

WITH_PODS = frozenset(
    WATCHED[kind] for kind in ("Pod", "Deployment", "StatefulSet", "DaemonSet", "Namespace")
)
"""Resources of which a change brings pods, and takes them."""

READY_SECONDS = 60.0

LEAVING_SECONDS = 10.0
"""How long pods that an answer made may take to go before everything is made anew."""


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
        self._unclear = any(
            document.get("kind", "Pod") not in WATCHED
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
        wrong = {place for place in now.keys() | self._start.keys() if self._differs(place, now)}
        if not wrong:
            return True
        own = [place for place in wrong & now.keys() if "/" not in place[2]]
        for place in own:
            self._delete(place)
        for _, space, name in [place for place in own if place[0] == "pods"]:
            self.cluster.wait("pods", name, space, until="delete", deadline=READY_SECONDS)
        planned = [obj for obj in self.exercise.setup if self._place(obj) in wrong]
        self.cluster.apply(planned)
        wait_ready(self.cluster, planned, READY_SECONDS)
        return self._is_there_again({place[0] for place in wrong})

    def _is_there_again(self, resources: set[str]) -> bool:
        """Say whether the start is there again, where objects of these resources were undone.

        Nothing else of what is compared depends on them but pods, and these take their time.
        """
        if not resources & WITH_PODS:
            return self._as_at_start(resources)
        resources = {*resources, "pods"}
        return Polling(
            look=lambda: self._as_at_start(resources),
            good=bool,
            quiet=lambda _: not self._end_leaving(),
            deadline=LEAVING_SECONDS,
            settled=1,
        ).run()

    def _as_at_start(self, resources: set[str]) -> bool:
        start = {place: obj for place, obj in self._start.items() if place[0] in resources}
        return self._now(resources) == start

    def _end_leaving(self) -> bool:
        """End pods that go anyway without their grace; say whether some come or go."""
        found = [pod for space in self.namespaces for pod in self.cluster.list("pods", space)]
        for pod in found:
            if meta.is_deleting(pod):
                self.cluster.delete("pods", meta.name_of(pod), meta.namespace_of(pod), grace=0)
        return not self.context().settled()

    def _differs(self, place: Place, now: dict[Place, Object]) -> bool:
        return now.get(place) != self._start.get(place)

    def _place(self, obj: Object) -> Place:
        return WATCHED.get(obj["kind"], ""), meta.namespace_of(obj), meta.name_of(obj)

    def _delete(self, place: Place) -> None:
        resource, space, name = place
        self.cluster.delete(resource, name, space, grace=0 if resource == "pods" else None)

    def _now(self, resources: Iterable[str] = tuple(WATCHED.values())) -> dict[Place, Object]:
        """Return what there is, without what changes by itself or differs each time."""
        found: dict[Place, Object] = {}
        for resource in resources:
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
        made_by_itself = resource == SLICES and meta.controller_of(obj) is not None
        return (
            meta.namespace_of(obj) in self.namespaces
            and name not in CLUSTERS_OWN
            and not made_by_itself
        )

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


VERBS = {"run": -1, "expose": -1}
VERBS |= dict.fromkeys(("annotate", "create", "delete", "label", "patch", "scale"), 0)
VERBS |= {"set": 1, "rollout": 1}
"""What kubectl commands change: which word names the kind; -1 where it is always compared."""


def _is_watched(command: str) -> bool:
    """Say whether all that a kubectl command can change is compared afterwards."""
    verb, *rest = shlex.split(command)
    plain = [word for word in rest if not word.startswith("-")]
    number = VERBS.get(verb, len(plain))
    return number < 0 or (number < len(plain) and plain[number].partition("/")[0] in WORDS)


GIVEN = frozenset({"clusterIP", "clusterIPs", "nodeName", "healthCheckNodePort"})
"""Fields of a spec that the cluster fills in, another time with other values."""


COUNTED = frozenset(
    {"deployment.kubernetes.io/revision", "endpoints.kubernetes.io/last-change-trigger-time"}
)
"""Annotations that a controller writes, another time with other values."""


def _lasting(obj: Object) -> Object:
    rest = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    if obj["kind"] == "Pod":
        rest["phase"] = (obj.get("status") or {}).get("phase")
    if "spec" in rest:
        rest["spec"] = _without_tokens(
            {key: value for key, value in rest["spec"].items() if key not in GIVEN}
        )
    written = {k: v for k, v in meta.annotations_of(obj).items() if k not in COUNTED}
    labels = meta.labels_of(obj)
    return {**rest, "labels": labels, "annotations": written, "leaving": meta.is_deleting(obj)}


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
