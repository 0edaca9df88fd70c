"""Garbage collection: an object goes when its last owner is gone.

Three ways of deleting an owner (metav1 ``DeletionPropagation``):

- Background: the owner is gone at once; its dependents are found by their references.
- Foreground: the owner waits (finalizer ``foregroundDeletion``) until every dependent that
  blocks it (``blockOwnerDeletion``) is gone.
- Orphan: the owner waits (finalizer ``orphan``) until no dependent refers to it any more.

Keys of this loop are ``resource/UID`` of owners that are gone or waiting, and of new
objects whose owner may not exist. Source: ``pkg/controller/garbagecollector``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.controllers import index
from k8slab.embedded.controllers.index import Index
from k8slab.embedded.controllers.loop import Loop
from k8slab.errors import ApiStatusError
from k8slab.objects.meta import Object, is_deleting, name_of, namespace_of, uid_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.controllers.context import Context

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
IGNORED = ("events", "bindings")
"""Resources that own nothing and are owned by nobody (Events go by age)."""


class Garbage:
    """The loop over owners that are gone or wait for their dependents."""

    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._dependents: dict[str, Index] = {}
        self._uids: dict[str, tuple[str, str, str]] = {}
        self.loop = Loop("garbage", self._reconcile)
        self._unsubscribe: list[Callable[[], None]] = []
        for kind in tuple(self._api.kinds.rows.values()):
            self._follow(kind)
        self._api.kinds.listeners.append(self._follow)
        for resource in self._dependents:
            for obj in self._api.list(resource):
                self._look_at(obj)

    def _follow(self, kind: Kind) -> None:
        """Watch the objects of a kind; custom resources come while this runs."""
        resource = kind.resource
        if "list" not in kind.verbs or kind.stored_as or resource in IGNORED:
            return
        if resource in self._dependents:
            return  # another version, or the definition came back
        self._dependents[resource] = Index(self._api, resource, index.owners)
        for obj in self._api.list(resource):
            self._uids[uid_of(obj)] = (resource, name_of(obj), namespace_of(obj))
        self._unsubscribe.append(self._api.subscribe(resource, self._listener(resource)))

    async def close(self) -> None:
        """Stop the loop."""
        self._api.kinds.listeners.remove(self._follow)
        for unsubscribe in (*self._unsubscribe, *(i.close for i in self._dependents.values())):
            unsubscribe()
        await self.loop.close()

    def _listener(self, resource: str) -> Callable[[Event], None]:
        def changed(event: Event) -> None:
            obj = event.object
            if event.type == "DELETED":
                self._uids.pop(uid_of(obj), None)
                self.loop.add(uid_of(obj))
                for owner in _owners(obj):
                    self._if_waiting(owner["uid"])
                return
            self._uids[uid_of(obj)] = (resource, name_of(obj), namespace_of(obj))
            self._look_at(obj)
            if event.old is not None:
                for owner in _owners(event.old):
                    self._if_waiting(owner["uid"])

        return changed

    def _look_at(self, obj: Object) -> None:
        if is_deleting(obj) and _held(obj):
            self.loop.add(uid_of(obj))
        for owner in _owners(obj):
            if owner["uid"] not in self._uids:
                self.loop.add(owner["uid"])

    def _if_waiting(self, uid: str) -> None:
        if uid in self._uids and (owner := self._get(uid)) and is_deleting(owner):
            self.loop.add(uid)

    def _get(self, uid: str) -> Object | None:
        place = self._uids.get(uid)
        return self._api.get(*place) if place else None

    def _of(self, uid: str) -> Iterator[tuple[str, Object]]:
        for resource, dependents in self._dependents.items():
            for obj in dependents.get(uid):
                yield resource, obj

    def _reconcile(self, uid: str) -> None:
        owner = self._get(uid)
        if owner is None:
            for resource, obj in self._of(uid):
                self._owner_gone(resource, obj, uid)
            return
        held = _held(owner) if is_deleting(owner) else ()
        if ORPHAN in held:
            for resource, obj in self._of(uid):
                self._unlink(resource, obj, {uid})
            self._let_go(uid, ORPHAN)
        elif FOREGROUND in held:
            blocking = False
            for resource, obj in self._of(uid):
                blocking = blocking or _blocks(obj, uid)
                if not is_deleting(obj):
                    self._delete(resource, obj, "Foreground")
            if not blocking or not any(_blocks(obj, uid) for _, obj in self._of(uid)):
                self._let_go(uid, FOREGROUND)

    def _owner_gone(self, resource: str, obj: Object, uid: str) -> None:
        """Delete a dependent, unless another owner is left."""
        others = [o for o in _owners(obj) if o["uid"] != uid and o["uid"] in self._uids]
        if others:
            self._unlink(
                resource, obj, {o["uid"] for o in _owners(obj)} - {o["uid"] for o in others}
            )
        elif not is_deleting(obj):
            self._delete(resource, obj)

    def _delete(self, resource: str, obj: Object, propagation: str = "") -> None:
        try:
            self._api.delete(
                resource,
                name_of(obj),
                namespace_of(obj),
                uid=uid_of(obj),
                propagation=propagation,
            )
        except ApiStatusError as error:
            if error.code not in (404, 409):
                raise

    def _unlink(self, resource: str, obj: Object, gone: set[str]) -> None:
        left = [owner for owner in _owners(obj) if owner["uid"] not in gone]
        metadata = {**obj["metadata"], "ownerReferences": left}
        self._api.update(resource, {**obj, "metadata": metadata})

    def _let_go(self, uid: str, finalizer: str) -> None:
        owner = self._get(uid)
        if owner is None:
            return
        left = [f for f in owner["metadata"].get("finalizers") or () if f != finalizer]
        metadata = {**owner["metadata"], "finalizers": left}
        self._api.update(self._uids[uid][0], {**owner, "metadata": metadata})


def _owners(obj: Object) -> list[Object]:
    owners: list[Object] = obj["metadata"].get("ownerReferences") or []
    return owners


def _held(obj: Object) -> list[str]:
    held: list[str] = obj["metadata"].get("finalizers") or []
    return [finalizer for finalizer in held if finalizer in (FOREGROUND, ORPHAN)]


def _blocks(obj: Object, uid: str) -> bool:
    return any(o["uid"] == uid and o.get("blockOwnerDeletion") for o in _owners(obj))
