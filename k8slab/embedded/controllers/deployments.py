"""Deployments: one ReplicaSet for each revision of the template, and the way between them.

The loop finds or makes the ReplicaSet of the present template, asks `rollout` how many
replicas each should have next, writes that down, and is called again when pods have come
or gone. Source: ``pkg/controller/deployment``.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import orjson

from k8slab.embedded.controllers import pods, rollout, times
from k8slab.embedded.controllers import replicasets as sets
from k8slab.embedded.controllers.children import Children
from k8slab.embedded.controllers.controller import Controller
from k8slab.embedded.controllers.deployment_status import deployment_status
from k8slab.objects.meta import (
    Object,
    annotations_of,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from k8slab.embedded.controllers.context import Context

RESOURCE = "deployments.apps"
COMPONENT = "deployment-controller"
HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MOST = "deployment.kubernetes.io/max-replicas"
NOT_COPIED = (
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    DESIRED,
    MOST,
    "deployment.kubernetes.io/revision-history",
)
LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""apimachinery ``rand.SafeEncodeString``: no vowels, no digits that look like letters."""


def template_hash(template: Object, collisions: int = 0) -> str:
    """Return the word that tells the revisions of a template apart."""
    digest = zlib.crc32(orjson.dumps(template, option=orjson.OPT_SORT_KEYS))
    if collisions:
        digest = zlib.crc32(str(collisions).encode(), digest)
    return "".join(LETTERS[ord(digit) % len(LETTERS)] for digit in str(digest))


def plain_template(replica_set: Object) -> Object:
    """Return a ReplicaSet's template as its Deployment has it: without the hash label."""
    template = replica_set["spec"]["template"]
    metadata = dict(template.get("metadata") or {})
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != HASH_LABEL}
    return {**template, "metadata": {**metadata, "labels": labels}}


def revision_of(replica_set: Object) -> int:
    """Return the revision that a ReplicaSet stands for; 0 when none is written."""
    text = annotations_of(replica_set).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


class Deployments(Controller):
    """The loop over Deployments."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, "deployments")
        self._sets = self._own(Children(context.api, RESOURCE, sets.RESOURCE, self.loop))

    def _reconcile(self, key: str) -> float | None:
        namespace, name = key.split("/", 1)
        deployment = self._context.api.get(RESOURCE, name, namespace)
        if deployment is None:
            return None
        owned = sorted(self._sets.claim(deployment), key=_age)
        if not is_deleting(deployment):
            self._advance(deployment, owned)
        return self._write_status(deployment)

    def _advance(self, deployment: Object, owned: Sequence[Object]) -> None:
        new = _current(deployment, owned)
        if deployment["spec"].get("paused"):
            self._rescale(deployment, new, owned)
            return
        if new is None:
            new = self._create_set(deployment, owned)
            if new is None:
                return
        old = [s for s in owned if name_of(s) != name_of(new)]
        new = self._note_revision(deployment, new, old)
        if self._rescale(deployment, new, [*old, new]):
            return
        changes = self._next(deployment, new, old)
        for one in (new, *old):
            if name_of(one) in changes:
                self._scale_set(deployment, one, changes[name_of(one)])
        if not changes:
            self._forget_old(deployment, new, old)

    def _next(self, deployment: Object, new: Object, old: Sequence[Object]) -> dict[str, int]:
        replicas = deployment["spec"].get("replicas", 1)
        if deployment["spec"].get("strategy", {}).get("type") == "Recreate":
            living = sum(self._living_pods(one) for one in old)
            return rollout.recreate(_view(new), [_view(s) for s in old], replicas, old_pods=living)
        return rollout.rolling(_view(new), [_view(s) for s in old], limits_of(deployment))

    def _living_pods(self, replica_set: Object) -> int:
        """Count pods that exist at all: ``Recreate`` waits until the old ones are gone."""
        status = replica_set.get("status") or {}
        living: int = status.get("replicas", 0) + status.get("terminatingReplicas", 0)
        return living

    # --- changes of ReplicaSets

    def _create_set(self, deployment: Object, owned: Sequence[Object]) -> Object | None:
        template = deployment["spec"]["template"]
        collisions = (deployment.get("status") or {}).get("collisionCount") or 0
        word = template_hash(template, collisions)
        name = f"{name_of(deployment)}-{word}"
        api, namespace = self._context.api, namespace_of(deployment)
        if api.get(sets.RESOURCE, name, namespace) is not None:
            status = {**(deployment.get("status") or {}), "collisionCount": collisions + 1}
            api.update_status(RESOURCE, {**deployment, "status": status})
            return None  # the change of status brings the key back
        labels = {**labels_of(template), HASH_LABEL: word}
        selector = dict(deployment["spec"]["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: word}
        revision = max((revision_of(s) for s in owned), default=0) + 1
        replica_set: Object = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": labels,
                "annotations": self._annotations(deployment, revision),
                "ownerReferences": [pods.owner_reference(deployment)],
            },
            "spec": {
                "replicas": 0,
                "selector": selector,
                "template": {
                    **template,
                    "metadata": {**(template.get("metadata") or {}), "labels": labels},
                },
            },
        }
        if deployment["spec"].get("minReadySeconds"):
            replica_set["spec"]["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
        return api.create(sets.RESOURCE, replica_set)

    def _annotations(self, deployment: Object, revision: int) -> dict[str, str]:
        copied = {k: v for k, v in annotations_of(deployment).items() if k not in NOT_COPIED}
        return {**copied, REVISION: str(revision), **_sizes(deployment)}

    def _note_revision(self, deployment: Object, new: Object, old: Sequence[Object]) -> Object:
        """Give the present revision the last number, also when it is an old one come back."""
        last = max((revision_of(s) for s in old), default=0)
        revision = max(last + 1, revision_of(new))
        wanted = self._annotations(deployment, revision)
        minimum = deployment["spec"].get("minReadySeconds") or 0
        api = self._context.api
        changed = {
            **new,
            "metadata": {**new["metadata"], "annotations": {**annotations_of(new), **wanted}},
        }
        # Whether it is a scaling event is judged by the sizes as they were written before.
        for key in (DESIRED, MOST):
            changed["metadata"]["annotations"][key] = annotations_of(new).get(key, wanted[key])
        if minimum != (new["spec"].get("minReadySeconds") or 0):
            changed["spec"] = {**new["spec"], "minReadySeconds": minimum}
        if changed != new:
            new = api.update(sets.RESOURCE, changed)
        if annotations_of(deployment).get(REVISION) != str(revision):
            latest = api.get(RESOURCE, name_of(deployment), namespace_of(deployment))
            if latest is not None:
                noted = {**annotations_of(latest), REVISION: str(revision)}
                metadata = {**latest["metadata"], "annotations": noted}
                api.update(RESOURCE, {**latest, "metadata": metadata})
        return new

    def _rescale(self, deployment: Object, new: Object | None, owned: Sequence[Object]) -> bool:
        """Follow a change of ``spec.replicas`` in all ReplicaSets that have pods."""
        active = [s for s in owned if s["spec"].get("replicas", 0) > 0]
        wanted = str(deployment["spec"].get("replicas", 1))
        if all(annotations_of(s).get(DESIRED, wanted) == wanted for s in active):
            return False
        if len(active) == 1 or not active:
            alone = active[0] if active else new
            changes = {name_of(alone): int(wanted)} if alone else {}
        elif deployment["spec"].get("strategy", {}).get("type") == "Recreate":
            changes = {name_of(new): int(wanted)} if new else {}
        else:
            changes = rollout.proportional([_view(s) for s in active], limits_of(deployment))
        for one in active:
            self._scale_set(deployment, one, changes.get(name_of(one), one["spec"]["replicas"]))
        return True

    def _scale_set(self, deployment: Object, replica_set: Object, replicas: int) -> None:
        before = replica_set["spec"].get("replicas", 0)
        annotations = {**annotations_of(replica_set), **_sizes(deployment)}
        changed = {
            **replica_set,
            "metadata": {**replica_set["metadata"], "annotations": annotations},
            "spec": {**replica_set["spec"], "replicas": replicas},
        }
        self._context.api.update(sets.RESOURCE, changed)
        if before != replicas:
            way = "up" if replicas > before else "down"
            text = f"Scaled {way} replica set {name_of(replica_set)} from {before} to {replicas}"
            record = self._context.events.record
            record(deployment, "ScalingReplicaSet", text, component=COMPONENT)

    def _forget_old(self, deployment: Object, new: Object, old: Sequence[Object]) -> None:
        """Delete what goes beyond ``revisionHistoryLimit``, once the rollout is complete."""
        if not _is_complete(deployment, new, old):
            return
        limit = deployment["spec"].get("revisionHistoryLimit")
        kept = 10 if limit is None else limit
        spare = [s for s in old if not self._living_pods(s) and not is_deleting(s)]
        spare.sort(key=revision_of)
        for one in spare[: max(0, len(spare) - kept)]:
            self._context.api.delete(sets.RESOURCE, name_of(one), namespace_of(one))

    def _write_status(self, deployment: Object) -> float | None:
        api = self._context.api
        latest = api.get(RESOURCE, name_of(deployment), namespace_of(deployment))
        if latest is None:
            return None
        owned = sorted(self._sets.of(latest), key=_age)
        new = _current(latest, owned)
        status, wait = deployment_status(latest, new, owned)
        if status != latest.get("status"):
            api.update_status(RESOURCE, {**latest, "status": status})
        return wait


def limits_of(deployment: Object) -> rollout.Limits:
    """Return the limits that a Deployment's strategy sets."""
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    return rollout.limits(
        deployment["spec"].get("replicas", 1),
        rolling.get("maxSurge", "25%"),
        rolling.get("maxUnavailable", "25%"),
    )


def _sizes(deployment: Object) -> Mapping[str, str]:
    allowed = limits_of(deployment)
    if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        return {DESIRED: str(allowed.replicas), MOST: str(allowed.replicas)}
    return {DESIRED: str(allowed.replicas), MOST: str(allowed.most)}


def _current(deployment: Object, owned: Sequence[Object]) -> Object | None:
    """Return the ReplicaSet of the present template: the oldest, if several match."""
    template = plain_template(deployment)
    return next((s for s in owned if plain_template(s) == template), None)


def _view(replica_set: Object) -> rollout.Set:
    status = replica_set.get("status") or {}
    return rollout.Set(
        name=name_of(replica_set),
        replicas=replica_set["spec"].get("replicas", 0),
        available=status.get("availableReplicas", 0),
        pods=status.get("replicas", 0),
    )


def _is_complete(deployment: Object, new: Object, old: Sequence[Object]) -> bool:
    replicas = deployment["spec"].get("replicas", 1)
    return _view(new).available >= replicas and not any(_view(s).pods for s in old)


def _age(obj: Object) -> tuple[float, str]:
    return times.seconds(obj["metadata"].get("creationTimestamp")), name_of(obj)
