"""From client-side to server-side apply: what ``kubectl apply`` noted in an annotation.

Client-side apply writes what it applied into the object. When ``kubectl apply --server-side``
comes later, a field that is still as it was noted is its own, though another manager owns it: it
is taken without a conflict. The note is kept up to date, so that one may go back.
Source: apimachinery ``managedfields/internal`` (lastappliedmanager.go, lastappliedupdater.go).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from k8slab.embedded.apiserver import fieldsets
from k8slab.embedded.apiserver.fieldsets import ITEM
from k8slab.embedded.apiserver.schema import type_of_kind
from k8slab.embedded.apiserver.validation.metadata import are_too_long

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.fieldsets import Paths
    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.objects.meta import Object

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
MANAGER = "kubectl"
"""Whom the note is for; another field manager opts out of it."""


@dataclass(frozen=True, slots=True)
class LastApplied:
    """What an object says of its last client-side apply."""

    unchanged: Paths
    """The fields that are still as they were applied."""

    @classmethod
    def of(cls, kind: Kind, live: Object, manager: str) -> LastApplied | None:
        """Read the note of an object; ``None`` where it has none, or is not for this manager."""
        text = (live["metadata"].get("annotations") or {}).get(ANNOTATION)
        if manager != MANAGER or not text:
            return None
        try:
            noted = orjson.loads(text)
        except orjson.JSONDecodeError:
            return cls(frozenset())
        if not isinstance(noted, dict) or noted.get("apiVersion") != kind.api_version:
            return cls(frozenset())
        schema = type_of_kind(kind)
        values = fieldsets.leaves(live, schema)
        missing = object()
        return cls(
            frozenset(
                path
                for path, value in fieldsets.leaves(noted, schema).items()
                if value is ITEM or values.get(path, missing) == value
            )
        )


def note(merged: Object, applied: Object) -> None:
    """Write in place what was applied, as client-side apply does; drop what is too long."""
    metadata = dict(applied["metadata"])
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != ANNOTATION}
    metadata["annotations"] = annotations
    text = orjson.dumps({**applied, "metadata": metadata}, option=orjson.OPT_SORT_KEYS).decode()
    noted = {**(merged["metadata"].get("annotations") or {}), ANNOTATION: f"{text}\n"}
    if are_too_long(noted):
        del noted[ANNOTATION]
    merged["metadata"]["annotations"] = noted
