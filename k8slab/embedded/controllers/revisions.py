"""ControllerRevisions: the templates that a StatefulSet or DaemonSet has had, numbered.

``kubectl rollout history`` lists them, ``rollout undo`` sends one of them back as a patch. A
template that comes back gets a new number under its old name.
Source: ``pkg/controller/history``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.controllers import pods
from k8slab.embedded.controllers.deployments import template_hash
from k8slab.embedded.controllers.index import Index, controllers
from k8slab.objects.meta import (
    Object,
    annotations_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8slab.embedded.apiserver.api import Api

RESOURCE = "controllerrevisions.apps"
HASH_LABEL = "controller-revision-hash"
KEPT = 10
"""``revisionHistoryLimit`` by default."""

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def revision_name(owner: Object) -> str:
    """Return the name of the revision that the present template is."""
    return f"{name_of(owner)}-{template_hash(owner['spec']['template'])}"


class Revisions:
    """The ControllerRevisions of a cluster, by their owner."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._index = Index(api, RESOURCE, controllers)

    def close(self) -> None:
        """Stop following changes."""
        self._index.close()

    def note(self, owner: Object, in_use: Iterable[str]) -> None:
        """Give the present template the last number; forget old ones that are not `in_use`."""
        owned = sorted(self._index.get(uid_of(owner)), key=lambda r: int(r["revision"]))
        last = int(owned[-1]["revision"]) if owned else 0
        name = revision_name(owner)
        present = next((one for one in owned if name_of(one) == name), None)
        if present is None:
            self._api.create(RESOURCE, _revision(owner, name, last + 1))
        elif int(present["revision"]) != last:
            self._api.update(RESOURCE, {**present, "revision": last + 1})
        limit = owner["spec"].get("revisionHistoryLimit")
        needed = {name, *in_use}
        spare = [one for one in owned if name_of(one) not in needed]
        for one in spare[: max(0, len(spare) - (KEPT if limit is None else limit))]:
            self._api.delete(RESOURCE, name_of(one), namespace_of(one))

    def template(self, owner: Object, name: str) -> Object | None:
        """Return the template of one of the owner's revisions, ``None`` if it is forgotten."""
        for one in self._index.get(uid_of(owner)):
            if name_of(one) == name:
                found = one["data"]["spec"]["template"]
                return {key: value for key, value in found.items() if key != "$patch"}
        return None


def _revision(owner: Object, name: str, number: int) -> Object:
    template = owner["spec"]["template"]
    annotations = {k: v for k, v in annotations_of(owner).items() if k != LAST_APPLIED}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": namespace_of(owner),
            "labels": {**labels_of(template), HASH_LABEL: template_hash(template)},
            "annotations": annotations,
            "ownerReferences": [pods.owner_reference(owner)],
        },
        "data": {"spec": {"template": {**template, "$patch": "replace"}}},
        "revision": number,
    }
