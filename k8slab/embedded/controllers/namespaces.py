"""Namespaces: what each has from the start, and how one ends.

Every namespace has the ServiceAccount ``default`` and the ConfigMap ``kube-root-ca.crt``.
One that is being deleted is emptied; only then its finalizer goes, and with it the object. The
system's own are made again: without kube-node-lease every node would be taken for dead.
Sources: ``pkg/controller/namespace`` (deletion and its conditions), ``serviceaccount``,
``certificates/rootcacertpublisher``, ``pkg/controlplane/controller/systemnamespaces``.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from k8slab.embedded.controllers import conditions
from k8slab.embedded.controllers.bootstrap import NAMESPACES
from k8slab.embedded.controllers.loop import Loop
from k8slab.errors import ApiStatusError
from k8slab.objects.meta import Object, is_deleting, name_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from k8slab.embedded.apiserver.store import Event
    from k8slab.embedded.controllers.context import Context

ROOT_CA = "kube-root-ca.crt"
LOOK_AGAIN = 0.5
"""Seconds until the rest of a namespace is counted again, should no event tell."""


class Namespaces:
    """The loop over namespaces."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.loop = Loop("namespaces", self._reconcile)
        api = context.api
        self._unsubscribe: list[Callable[[], None]] = [
            api.subscribe("namespaces", lambda event: self.loop.add(name_of(event.object))),
            api.subscribe("serviceaccounts", self._content_event),
            api.subscribe("configmaps", self._content_event),
            api.subscribe("pods", self._content_event),
        ]
        api.before_answer("namespaces", self._answer)
        for namespace in api.list("namespaces"):
            self.loop.add(name_of(namespace))

    async def close(self) -> None:
        """Stop the loop."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        await self.loop.close()

    async def _answer(self, namespace: Object) -> None:
        if not is_deleting(namespace):
            await self.loop.settle(name_of(namespace))

    def _content_event(self, event: Event) -> None:
        obj = event.object
        if event.type == "DELETED" or name_of(obj) == ROOT_CA:
            self.loop.add(namespace_of(obj))

    def _reconcile(self, name: str) -> float | None:
        namespace = self._context.api.get("namespaces", name)
        if namespace is None:
            if name in NAMESPACES:
                self._context.api.create("namespaces", {"metadata": {"name": name}})
            return None
        if is_deleting(namespace):
            return self._empty(namespace)
        self._furnish(name)
        return None

    def _furnish(self, name: str) -> None:
        api = self._context.api
        if api.get("serviceaccounts", "default", name) is None:
            account = {"metadata": {"name": "default", "namespace": name}}
            api.create("serviceaccounts", account)
        data = {"ca.crt": self._context.credentials.ca_certificate}
        present = api.get("configmaps", ROOT_CA, name)
        if present is None:
            about = "Contains a CA bundle that can be used to verify the kube-apiserver."
            api.create(
                "configmaps",
                {
                    "metadata": {
                        "name": ROOT_CA,
                        "namespace": name,
                        "annotations": {"kubernetes.io/description": about},
                    },
                    "data": data,
                },
            )
        elif present.get("data") != data:
            api.update("configmaps", {**present, "data": data})

    def _empty(self, namespace: Object) -> float | None:
        """Delete everything in a namespace; when nothing is left, let it go."""
        api, name = self._context.api, name_of(namespace)
        left: dict[str, Sequence[Object]] = {}
        for kind in tuple(api.kinds.rows.values()):
            if not kind.namespaced or kind.stored_as or "list" not in kind.verbs:
                continue
            for obj in api.list(kind.resource, name):
                self._delete(kind.resource, obj)
            if rest := api.list(kind.resource, name):
                left[kind.resource] = rest
        if left:
            self._tell(namespace, left)
            return LOOK_AGAIN
        if "kubernetes" in (namespace.get("spec") or {}).get("finalizers", ()):
            latest = api.get("namespaces", name)
            if latest is not None:
                rest_of = [f for f in latest["spec"]["finalizers"] if f != "kubernetes"]
                spec = {**latest["spec"], "finalizers": rest_of}
                api.update("namespaces", {**latest, "spec": spec}, subresource="finalize")
        return None

    def _delete(self, resource: str, obj: Object) -> None:
        if is_deleting(obj):
            return
        try:
            self._context.api.delete(resource, name_of(obj), namespace_of(obj))
        except ApiStatusError as error:
            if error.code != 404:
                raise

    def _tell(self, namespace: Object, left: dict[str, Sequence[Object]]) -> None:
        """Say in the status what is left; ``kubectl describe namespace`` shows it."""
        found: list[Object] = (namespace.get("status") or {}).get("conditions") or []
        for condition in _said_of(left):
            found = conditions.put(found, condition)
        latest = self._context.api.get("namespaces", name_of(namespace))
        if latest is not None:
            status = {**(latest.get("status") or {}), "phase": "Terminating", "conditions": found}
            self._context.api.update_status("namespaces", {**latest, "status": status})


_DONE = (
    (
        "NamespaceDeletionDiscoveryFailure",
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
)
"""Failures that do not happen here: types, reasons and messages."""


def _said_of(left: dict[str, Sequence[Object]]) -> list[Object]:
    """Return the conditions of a namespace in which something is left, by resource."""
    held: dict[str, int] = {}
    for obj in chain.from_iterable(left.values()):
        for finalizer in obj["metadata"].get("finalizers") or ():
            held[finalizer] = held.get(finalizer, 0) + 1
    counts = sorted(
        # The group follows a dot, also where it is empty.
        f"{name if '.' in name else name + '.'} has {len(rest)} resource instances"
        for name, rest in left.items()
    )
    remain = f"Some resources are remaining: {', '.join(counts)}"
    finalizers = ("False", "ContentHasNoFinalizers", "All content-preserving finalizers finished")
    if held:
        waiting = sorted(f"{name} in {count} resource instances" for name, count in held.items())
        text = f"Some content in the namespace has finalizers remaining: {', '.join(waiting)}"
        finalizers = ("True", "SomeFinalizersRemain", text)
    rows = [
        *((kind, "False", reason, text) for kind, reason, text in _DONE),
        ("NamespaceContentRemaining", "True", "SomeResourcesRemain", remain),
        ("NamespaceFinalizersRemaining", *finalizers),
    ]
    return [
        {"type": kind, "status": status, "reason": reason, "message": text}
        for kind, status, reason, text in rows
    ]
