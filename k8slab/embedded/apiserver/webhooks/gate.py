"""The gate that every write passes: is there any webhook at all.

Most clusters have none. Then this is all that runs, and the modules behind it are not imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.api import Writer
    from k8slab.embedded.apiserver.kinds import Kind, KindTable
    from k8slab.embedded.apiserver.store import Event, Store
    from k8slab.embedded.apiserver.webhooks.calling import Dial
    from k8slab.embedded.apiserver.webhooks.ledger import Review, Reviews
    from k8slab.objects.meta import Object

GROUP = "admissionregistration.k8s.io"
MUTATING = f"mutatingwebhookconfigurations.{GROUP}"
VALIDATING = f"validatingwebhookconfigurations.{GROUP}"

FROM_CONTROLLERS = frozenset({"pods", "replicasets.apps", "jobs.batch"})
"""What webhooks see of the writes of this process: what workload controllers create."""


class Webhooks:
    """The webhooks of one API."""

    def __init__(self, store: Store, kinds: KindTable) -> None:
        self._store, self._kinds = store, kinds
        self.dial: Dial | None = None
        """How to reach an address from the control plane's node; set by the server."""
        self.are_there = False
        self._reviews: Reviews | None = None
        self._look()
        for resource in (MUTATING, VALIDATING):
            store.subscribe(resource, self._look)

    def _look(self, _event: Event | None = None) -> None:
        self.are_there = any(self._store.list(resource) for resource in (MUTATING, VALIDATING))

    def about(
        self,
        operation: str,
        kind: Kind,
        obj: Object,
        writer: Writer,
        *,
        subresource: str = "",
        body: tuple[str, str, str] | None = None,
    ) -> Review | None:
        """Return the review of a write, or ``None`` when no rule of a webhook names such writes.

        `obj` is whom it is about; `body` is the kind of what is sent to a subresource.
        """
        if not self.are_there or writer.reviewed:
            return None
        from_controller = operation == "CREATE" and kind.resource in FROM_CONTROLLERS
        if writer.user is None and not from_controller:
            return None
        if self._reviews is None:
            from k8slab.embedded.apiserver.webhooks.ledger import Reviews  # noqa: PLC0415

            assert self.dial is not None, "the server gives the way to the pods"
            self._reviews = Reviews(self._store, self._kinds, self.dial)
        return self._reviews.about(operation, kind, obj, writer, subresource=subresource, body=body)
