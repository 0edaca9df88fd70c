"""Check an object before it is stored; every error names the field, as a real server's do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.apiserver.validation.metadata import metadata_errors
from k8slab.objects.meta import name_of

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.objects.meta import Object


def check(kind: Kind, new: Object, old: Object | None, *, subresource: str = "") -> None:
    """Raise 422 with all that is wrong with `new`; `old` is ``None`` when it is being created."""
    errors = metadata_errors(kind, new, old)
    if errors:
        raise statuses.invalid_object(kind.kind, kind.group, name_of(new), errors)
