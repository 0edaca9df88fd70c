"""Read and change objects by the rules of Kubernetes; the one door to the store.

The HTTP server and the controllers in this process use the same methods, so both see the same
defaults, the same validation and the same conflicts. Each call is synchronous and is one
transaction: when it returns, the change is committed and every subscriber has been told.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from k8slab.embedded.apiserver import (
    admission,
    defaults,
    deletion,
    objectmeta,
    ownership,
    preconditions,
    scale,
    statuses,
    validation,
)
from k8slab.embedded.apiserver.allocation import Allocator
from k8slab.embedded.apiserver.custom.registry import Registry
from k8slab.embedded.apiserver.kinds import Kind, KindTable
from k8slab.embedded.apiserver.patches import merge_patch
from k8slab.embedded.apiserver.roles import Roles
from k8slab.embedded.apiserver.validation import resizing
from k8slab.embedded.apiserver.webhooks.gate import Webhooks
from k8slab.objects.meta import is_deleting, labels_of, name_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from k8slab.embedded.apiserver.auth import User
    from k8slab.embedded.apiserver.store import Event, Store
    from k8slab.embedded.apiserver.webhooks.ledger import Ledger, Review
    from k8slab.embedded.config import ClusterConfig
    from k8slab.objects.meta import Object
    from k8slab.objects.selectors import Selector

    Hook = Callable[[Object], Awaitable[None] | None]
    Entries = list[Object]
    """Managed fields."""

WITH_GENERATION = frozenset(
    {
        "pods",
        "daemonsets.apps",
        "deployments.apps",
        "replicasets.apps",
        "statefulsets.apps",
        "jobs.batch",
        "cronjobs.batch",
        "replicationcontrollers",
        "poddisruptionbudgets.policy",
        "networkpolicies.networking.k8s.io",
        "ingresses.networking.k8s.io",
        "ingressclasses.networking.k8s.io",
        "endpointslices.discovery.k8s.io",
        "customresourcedefinitions.apiextensions.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
    }
)
"""Kinds whose ``metadata.generation`` counts the changes of what is wanted."""

GENERATIONS = 8
"""How many names are tried for an object with ``generateName``."""


@dataclass(frozen=True, slots=True)
class Writer:
    """How a write is made: who records the fields (``managedFields``), and whether for real."""

    manager: str = ""
    """Empty: the fields' owner is not recorded (controllers in this process)."""
    dry_run: bool = False
    operation: str = "Update"
    user: User | None = None
    """On whose behalf; ``None`` for this process, which may grant what it likes."""
    managed: tuple[Object, ...] | None = None
    """The managed fields after a server-side apply, which computes them itself."""
    ledger: Ledger | None = None
    """What admission webhooks have answered so far (`webhooks`)."""
    reviewed: bool = False
    """Webhooks were asked already, about the subresource through which this is written."""
    through: str = ""
    """The subresource whose owners' entry gets the fields, though the whole object is written."""


INTERNAL = Writer()


class Api:
    """The in-process API. Objects that go in are copied, objects that come out are the store's."""

    def __init__(self, store: Store, config: ClusterConfig, kinds: KindTable | None = None) -> None:
        self.store = store
        self.config = config
        self.kinds = kinds or KindTable.built_in()
        self.roles = Roles(store)
        self.webhooks = Webhooks(store, self.kinds)
        self._allocator = Allocator(store, config)
        self._hooks: defaultdict[str, list[Hook]] = defaultdict(list)
        Registry(self)

    # --- reading

    def get(self, resource: str, name: str, namespace: str = "") -> Object | None:
        """Return the object, or ``None``."""
        return self.store.get(self.kinds.of(resource).storage, namespace, name)

    def list(
        self, resource: str, namespace: str = "", selector: Selector | None = None
    ) -> list[Object]:
        """Return objects, of all namespaces when none is given, in no particular order."""
        found = self.store.list(self.kinds.of(resource).storage, namespace)
        if selector is None:
            return found
        return [obj for obj in found if selector.matches(labels_of(obj))]

    def require(self, resource: str, name: str, namespace: str = "") -> Object:
        """Return the object, or raise 404."""
        found = self.get(resource, name, namespace)
        if found is None:
            raise statuses.not_found(resource, name)
        return found

    # --- watching

    def subscribe(self, resource: str, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call `callback` after each change of the resource; returns the way to end it."""
        return self.store.subscribe(self.kinds.of(resource).storage, callback)

    def before_answer(self, resource: str, hook: Hook) -> None:
        """Call `hook(object)` between the commit of a change and the HTTP answer to it.

        The answer waits for the awaitable that it returns, and for nothing where it returns
        ``None``: then the answer can be given at once, without a task.
        """
        self._hooks[self.kinds.of(resource).storage].append(hook)

    def outstanding(self, resource: str, obj: Object) -> Awaitable[None] | None:
        """Return what the answer to a change has to wait for; ``None`` when it need not wait."""
        hooks = self._hooks.get(self.kinds.of(resource).storage) or []
        for number, hook in enumerate(hooks, 1):
            if (waits := hook(obj)) is not None:
                return _in_turn(waits, hooks[number:], obj)
        return None

    async def settle(self, resource: str, obj: Object) -> None:
        """Wait for the hooks of a resource (the HTTP server does, before it answers)."""
        if (waits := self.outstanding(resource, obj)) is not None:
            await waits

    # --- writing

    def create(
        self, resource: str, obj: Object, *, writer: Writer = INTERNAL, owned: bool = False
    ) -> Object:
        """Create an object and return it; 409 when the name is taken, 422 when it breaks rules.

        `owned` says that nobody else holds `obj`, so that it need not be copied.
        """
        kind = self._kind_of(resource, obj)
        new = obj if owned else objectmeta.copy(obj)
        review, owners = self.webhooks.about("CREATE", kind, new, writer), None
        if review:
            new, owners = self._mutated(review, kind, new, writer)
        metadata = new.get("metadata") or {}
        namespace = (metadata.get("namespace") or "") if kind.namespaced else ""
        new["metadata"] = objectmeta.new_metadata(
            metadata, namespace=namespace, generation=_has_generation(kind)
        )
        new = _headed(kind, new)
        if not metadata.get("name"):
            self._choose_name(kind, namespace, new["metadata"])
        name = name_of(new)
        admission.check_namespace(self, kind, namespace, name)
        if kind.has_status:
            new.pop("status", None)
        defaults.apply(kind, new)
        if owners is None:
            owners = ownership.owners(kind, new, None, writer)
        ownership.record(new, owners)
        admission.admit(self, kind, new)
        validation.check(kind, new, None)
        self._check_free(kind, namespace, name)
        if writer.user:
            self.roles.check_grant(writer.user, kind, new, None)
        self._allocator.assign(kind, new, None)
        if review:
            new = self._agreed(review, kind, new)
        return new if writer.dry_run else self.store.put(kind.storage, new)

    def _choose_name(self, kind: Kind, namespace: str, metadata: Object) -> None:
        """Generate another name in place while it is somebody's (KEP-4420, eight attempts)."""
        for _ in range(GENERATIONS - 1):
            name = metadata.get("name") or ""
            if not (name and self.store.entry(kind.storage, namespace, name)):
                return
            metadata["name"] = objectmeta.generated_name(metadata["generateName"])

    def _check_free(self, kind: Kind, namespace: str, name: str) -> None:
        if found := self.store.entry(kind.storage, namespace, name):
            error = statuses.already_exists(kind.resource, name)
            if is_deleting(found.object):
                error.message = f"object is being deleted: {error.message}"
            raise error

    def _mutated(
        self, review: Review, kind: Kind, obj: Object, writer: Writer
    ) -> tuple[Object, Entries]:
        """Return a new object as mutating webhooks changed it, and who owns what was sent.

        They see it complete but for its metadata.
        """
        sent = orjson.dumps(obj)
        metadata = {
            key: value
            for key, value in (obj.get("metadata") or {}).items()
            if key not in objectmeta.SERVER_OWNED and value not in (None, {}, [], "")
        }
        namespace = metadata.get("namespace") or ""
        admission.check_namespace(self, kind, namespace, metadata.get("name") or "")
        new = _headed(kind, {**obj, "metadata": metadata})
        if kind.has_status:
            new.pop("status", None)
        defaults.apply(kind, new)
        owners = ownership.owners(kind, new, None, writer)
        admission.admit(self, kind, new)
        return review.mutated(new, None, sent), owners

    def _agreed(self, review: Review, kind: Kind, obj: Object) -> Object:
        """Return a new object to which validating webhooks agreed.

        It was made before they were asked: others may have its name or address by now.
        """
        new = review.validated(obj)
        self._check_free(kind, namespace_of(new), name_of(new))
        self._allocator.assign(kind, new, None)
        return new

    def update(
        self,
        resource: str,
        obj: Object,
        *,
        subresource: str = "",
        writer: Writer = INTERNAL,
        owned: bool = False,
    ) -> Object:
        """Replace an object; 409 when `obj` carries another resourceVersion than the current."""
        kind = self._kind_of(resource, obj)
        name, namespace = name_of(obj), namespace_of(obj) if kind.namespaced else ""
        old = self.require(resource, name, namespace)
        sent = obj.get("metadata") or {}
        preconditions.check_update(kind, sent, old, internal=not writer.manager)
        return self._replace(kind, obj if owned else objectmeta.copy(obj), old, subresource, writer)

    def update_status(self, resource: str, obj: Object) -> Object:
        """Replace the status of an object, and nothing else."""
        return self.update(resource, obj, subresource="status")

    def patch(
        self, resource: str, name: str, namespace: str, patch: dict, *, subresource: str = ""
    ) -> Object:
        """Change an object by a JSON merge patch (RFC 7386) and return it."""
        old = self.require(resource, name, namespace)
        if subresource == "binding":
            return self.bind(old, patch["spec"]["nodeName"])
        patched = merge_patch(old, patch)
        patched["metadata"] = {**patched["metadata"], "name": name, "namespace": namespace}
        return self.update(resource, patched, subresource=subresource)

    def delete(
        self,
        resource: str,
        name: str,
        namespace: str = "",
        *,
        grace: int | None = None,
        uid: str = "",
        propagation: str = "",
        version: str = "",
        writer: Writer = INTERNAL,
    ) -> Object:
        """Delete an object, or mark it for deletion; returns its last form.

        It goes at once unless finalizers hold it, a node still runs it (a pod: `grace` seconds,
        its own grace period by default, 0 removes it), or it is a namespace with contents.
        Without a `propagation` its finalizers say what becomes of its dependents.
        """
        kind = self.kinds.of(resource)
        old = self.require(resource, name, namespace)
        objectmeta.check_owner(old, uid=uid, version=version)
        if review := self.webhooks.about("DELETE", kind, old, writer):
            review.check_deletion(old)
        marked = deletion.mark(kind, old, grace=grace, propagation=propagation)
        if writer.dry_run or marked is old:
            return marked
        if deletion.is_finished(kind, marked):
            return self.store.remove(kind.storage, namespace, name) or old
        return self.store.put(kind.storage, marked)

    def bind(self, pod: Object, node: str) -> Object:
        """Assign a pod to a node, as a scheduler's Binding does."""
        conditions = [
            condition
            for condition in pod.get("status", {}).get("conditions") or ()
            if condition["type"] != "PodScheduled"
        ]
        scheduled = {
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": objectmeta.now_text(),
        }
        bound = {
            **pod,
            "metadata": dict(pod["metadata"]),
            "spec": {**pod["spec"], "nodeName": node},
            "status": {**pod.get("status", {}), "conditions": [*conditions, scheduled]},
        }
        return self.store.put("pods", bound)

    # --- scale

    def get_scale(
        self, resource: str, name: str, namespace: str, *, to_change: bool = False
    ) -> Object:
        """Return the ``autoscaling/v1`` Scale of a workload."""
        obj = self.require(resource, name, namespace)
        return scale.scale_of(self.kinds.of(resource), obj, to_change=to_change)

    def update_scale(
        self, resource: str, name: str, namespace: str, wanted: Object, *, writer: Writer = INTERNAL
    ) -> Object:
        """Set ``spec.replicas`` from a Scale and return the new Scale."""
        old = self.require(resource, name, namespace)
        kind = self.kinds.of(resource)
        if review := self.webhooks.about(
            "UPDATE", kind, old, writer, subresource="scale", body=("autoscaling", "v1", "Scale")
        ):
            wanted = review.mutated(wanted, scale.scale_of(kind, old))
            review.validated(wanted)
            writer = replace(writer, reviewed=True)
        writer = replace(writer, through="scale")
        made = self.update(resource, scale.with_replicas(kind, old, wanted), writer=writer)
        return scale.scale_of(kind, made)

    # --- the common part of every change

    def _kind_of(self, resource: str, obj: Object) -> Kind:
        """Return the kind by which an object is judged: a custom one by its own version."""
        kind = self.kinds.of(resource)
        if not kind.custom:
            return kind
        return self.kinds.of_object(obj.get("apiVersion") or "", kind.kind) or kind

    def _replace(
        self, kind: Kind, new: Object, old: Object, subresource: str, writer: Writer
    ) -> Object:
        new = self._completed(kind, new, old, subresource)
        owners = ownership.owners(kind, new, old, writer, subresource)
        review = self.webhooks.about("UPDATE", kind, old, writer, subresource=subresource)
        if review:
            new = self._completed(kind, review.mutated(new, old), old, subresource)
        ownership.record(new, owners)
        internal = not writer.manager
        validation.check(kind, new, old, subresource=subresource, internal=internal)
        if writer.user:
            self.roles.check_grant(writer.user, kind, new, old)
        if not subresource:
            self._allocator.assign(kind, new, old)
        if _has_generation(kind) and _wanted(new) != _wanted(old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        if review:
            new = review.validated(new)
        if new == old:
            return old
        if writer.dry_run:
            return new
        if new["metadata"].get("deletionTimestamp") and deletion.is_finished(kind, new):
            self.store.remove(kind.storage, namespace_of(old), name_of(old))
            return new
        return self.store.put(kind.storage, new)

    def _completed(self, kind: Kind, new: Object, old: Object, subresource: str) -> Object:
        """Return a changed object with what the server owns and what it may leave out."""
        new["metadata"] = objectmeta.kept_metadata(new.get("metadata") or {}, old["metadata"])
        new = _headed(kind, new)
        new = _separated(kind, new, old, subresource)
        defaults.apply(kind, new)
        if not subresource:
            admission.admit_update(self, kind, new, old)
        return new


async def _in_turn(first: Awaitable[None], hooks: list[Hook], obj: Object) -> None:
    """Wait for one hook, then call and wait for each of the others."""
    await first
    for hook in hooks:
        if (waits := hook(obj)) is not None:
            await waits


def _has_generation(kind: Kind) -> bool:
    return kind.custom is not None or kind.resource in WITH_GENERATION


def _headed(kind: Kind, obj: Object) -> Object:
    """Return the object with its stored ``apiVersion``, ``kind`` and metadata first."""
    head = {"apiVersion": kind.stored_api_version, "kind": kind.kind, "metadata": obj["metadata"]}
    head.update((key, value) for key, value in obj.items() if key not in head)
    return head


def _separated(kind: Kind, new: Object, old: Object, subresource: str) -> Object:
    """Return `new` with only what this subresource may change taken over."""
    if subresource == "status":
        made = dict(old)
        made["metadata"] = old["metadata"]
        made["status"] = new.get("status") or {}
        return {**made, "metadata": dict(old["metadata"])}
    if subresource == "finalize":
        made = {**old, "metadata": dict(old["metadata"])}
        finalizers = (new.get("spec") or {}).get("finalizers") or []
        made["spec"] = {**old.get("spec", {}), "finalizers": finalizers}
        return made
    if subresource == "ephemeralcontainers":
        added = (new.get("spec") or {}).get("ephemeralContainers") or []
        spec = {**old["spec"], "ephemeralContainers": added}
        return {**old, "metadata": dict(old["metadata"]), "spec": spec}
    if subresource == "resize":
        spec = resizing.resized(new.get("spec") or {}, old["spec"])
        return {**old, "metadata": dict(old["metadata"]), "spec": spec}
    if kind.has_status:
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    if kind.storage == "namespaces":
        # Only /finalize changes them (namespace strategy, PrepareForUpdate): else what is in the
        # namespace would outlive it.
        finalizers = (old.get("spec") or {}).get("finalizers") or []
        new["spec"] = {**(new.get("spec") or {}), "finalizers": list(finalizers)}
    return new


def _wanted(obj: Object) -> list[tuple[str, Any]]:
    return sorted((key, value) for key, value in obj.items() if key not in ("metadata", "status"))
