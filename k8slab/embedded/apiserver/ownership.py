"""Who set which field (``metadata.managedFields``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.api import Writer
    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.objects.meta import Object


def record(
    kind: Kind, new: Object, old: Object | None, writer: Writer, subresource: str = ""
) -> None:
    """Record in place whose fields the change touched."""
    del kind, new, old, writer, subresource
