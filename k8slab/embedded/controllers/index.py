"""Objects of one resource by a key of ours, kept right by the API's events.

A controller asks "the pods of this owner" often; a scan of all pods for each question
would make the cost of a rollout quadratic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.objects.meta import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.apiserver.store import Event
    from k8slab.objects.meta import Object


class Index:
    """The objects of `resource` under each key that `keys` gives them."""

    def __init__(self, api: Api, resource: str, keys: Callable[[Object], Iterable[str]]) -> None:
        self._keys = keys
        self._groups: dict[str, dict[str, Object]] = {}
        for obj in api.list(resource):
            self._put(obj)
        self.close = api.subscribe(resource, self._changed)

    def get(self, key: str) -> list[Object]:
        """Return the objects under `key`, in order of their arrival."""
        return list(self._groups.get(key, {}).values())

    def count(self, key: str) -> int:
        """Return how many objects are under `key`."""
        return len(self._groups.get(key, ()))

    def _changed(self, event: Event) -> None:
        if event.old is not None:
            self._drop(event.old)
        elif event.type == "DELETED":
            self._drop(event.object)
        if event.type != "DELETED":
            self._put(event.object)

    def _put(self, obj: Object) -> None:
        for key in self._keys(obj):
            self._groups.setdefault(key, {})[key_of(obj)] = obj

    def _drop(self, obj: Object) -> None:
        for key in self._keys(obj):
            group = self._groups.get(key)
            if group is not None:
                group.pop(key_of(obj), None)
                if not group:
                    del self._groups[key]


def owners(obj: Object) -> list[str]:
    """Return the UIDs of all owners: the index of the garbage collector."""
    return [owner["uid"] for owner in obj["metadata"].get("ownerReferences") or ()]


def controllers(obj: Object) -> list[str]:
    """Return the UID of the controlling owner: the index of the workload controllers."""
    return [
        owner["uid"]
        for owner in obj["metadata"].get("ownerReferences") or ()
        if owner.get("controller")
    ]


def node_name(pod: Object) -> list[str]:
    """Return the node that a pod is bound to: the index of scheduler and kubelets."""
    name = pod.get("spec", {}).get("nodeName")
    return [name] if name else []
