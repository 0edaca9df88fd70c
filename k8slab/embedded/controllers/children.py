"""Owners and what they control: finding it, adopting it, letting it go.

Source: ``pkg/controller`` ControllerRefManager: an owner claims what matches its selector
and has no controller, and releases what it controls but no longer matches. It claims
nothing while it is being deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from k8slab.embedded.controllers import index, pods
from k8slab.embedded.controllers.index import Index
from k8slab.objects import selectors
from k8slab.objects.meta import (
    Object,
    controller_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.controllers.loop import Loop
    from k8slab.objects.selectors import Selector

Item = TypeVar("Item")


class Children:
    """The objects of `resource` that owners of `owner_resource` control.

    Every change of an owner, of what it controls, or of an orphan that it could adopt adds
    the owner's key to `loop`. What is adopted gets `finalizer`, what is released loses it.
    Owners that know theirs by more than labels say it by `belongs`, given owner and child.
    """

    def __init__(
        self,
        api: Api,
        owner_resource: str,
        resource: str,
        loop: Loop,
        *,
        finalizer: str = "",
        belongs: Callable[[Object, Object], bool] = lambda _owner, _child: True,
    ) -> None:
        self._api = api
        self._finalizer = finalizer
        self._belongs = belongs
        self._owner_resource = owner_resource
        self._resource = resource
        self._loop = loop
        self._kind = api.kinds.of(owner_resource).kind
        self._index = Index(api, resource, index.controllers)
        self._orphans = Index(api, resource, _orphan_namespace)
        self._unsubscribe: list[Callable[[], None]] = [
            self._index.close,
            self._orphans.close,
            api.subscribe(owner_resource, lambda event: loop.add(key_of(event.object))),
            api.subscribe(resource, self._changed),
        ]
        for owner in api.list(owner_resource):
            loop.add(key_of(owner))

    def close(self) -> None:
        """Stop following changes."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()

    def of(self, owner: Object) -> list[Object]:
        """Return what `owner` controls."""
        return self._index.get(uid_of(owner))

    def claim(self, owner: Object) -> list[Object]:
        """Adopt and release, then return what `owner` controls and its selector matches."""
        selector = selector_of(owner)
        if selector is None or is_deleting(owner):
            return self.of(owner)

        def matches(child: Object) -> bool:
            return selector.matches(labels_of(child)) and self._belongs(owner, child)

        for child in self._orphans.get(namespace_of(owner)):
            wanted = matches(child) and not is_deleting(child)
            if wanted and not (self._resource == "pods" and pods.is_finished(child)):
                self._adopt(owner, child)
        for child in self.of(owner):
            if not matches(child) and not is_deleting(child):
                self._release(owner, child)
        return self.of(owner)

    def _adopt(self, owner: Object, child: Object) -> None:
        others = child["metadata"].get("ownerReferences") or []
        held = [*(child["metadata"].get("finalizers") or ())]
        if self._finalizer and self._finalizer not in held:
            held.append(self._finalizer)
        self._write(child, [*others, pods.owner_reference(owner)], held)

    def _release(self, owner: Object, child: Object) -> None:
        references = child["metadata"].get("ownerReferences") or []
        held = [f for f in child["metadata"].get("finalizers") or () if f != self._finalizer]
        self._write(child, [r for r in references if r["uid"] != uid_of(owner)], held)

    def _write(self, child: Object, references: list[Object], finalizers: list[str]) -> None:
        metadata = {**child["metadata"], "ownerReferences": references}
        if finalizers != (child["metadata"].get("finalizers") or []):
            metadata["finalizers"] = finalizers
        self._api.update(self._resource, {**child, "metadata": metadata})

    def _changed(self, event: Event) -> None:
        for child in (event.object, event.old):
            owner = controller_of(child) if child is not None else None
            if owner is not None and owner["kind"] == self._kind:
                self._loop.add(f"{namespace_of(event.object)}/{owner['name']}")
        if controller_of(event.object) is None and event.type != "DELETED":
            for owner in self._api.list(self._owner_resource, namespace_of(event.object)):
                selector = selector_of(owner)
                if selector is not None and selector.matches(labels_of(event.object)):
                    self._loop.add(key_of(owner))


def while_unchanged(
    api: Api, resource: str, owner: Object, items: Iterable[Item]
) -> Iterator[Item]:
    """Yield what is to be done for `owner` as long as its spec is the one that was looked at.

    For `each_in_turn`: others run in between, and may delete or change the owner, which is then
    looked at again.
    """
    for item in items:
        now = api.get(resource, name_of(owner), namespace_of(owner))
        if now is None or uid_of(now) != uid_of(owner) or now["spec"] != owner["spec"]:
            return
        if is_deleting(now) and not is_deleting(owner):
            return
        yield item


def selector_of(owner: Object) -> Selector | None:
    """Return what an owner selects; a ReplicationController's selector is a map of labels."""
    selector = owner["spec"].get("selector")
    if owner["kind"] == "ReplicationController":
        return selectors.from_labels(selector) if selector else None
    return selectors.from_object(selector)


def _orphan_namespace(obj: Object) -> list[str]:
    return [] if controller_of(obj) else [namespace_of(obj)]
