"""Who set which field (``metadata.managedFields``).

Each writer has one entry for each way of writing (Update, Apply) and subresource. An update takes
the fields that it changed from everyone else; a field that is gone belongs to nobody. Writes of
the controllers in this process are not recorded. Source: KEP-555.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import fieldsets
from k8slab.embedded.apiserver.objectmeta import now_text
from k8slab.embedded.apiserver.schema import type_of_kind

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.api import Writer
    from k8slab.embedded.apiserver.fieldsets import Paths
    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.objects.meta import Object


def record(
    kind: Kind, new: Object, old: Object | None, writer: Writer, subresource: str = ""
) -> None:
    """Record in place whose fields the change touched."""
    if writer.managed is not None:
        entries = list(writer.managed)
    else:
        entries = list(old["metadata"].get("managedFields") or ()) if old else []
        if writer.manager:
            entries = _updated(kind, new, old, entries, (writer.manager, subresource))
    if entries:
        new["metadata"]["managedFields"] = entries
    else:
        new["metadata"].pop("managedFields", None)


def _updated(
    kind: Kind, new: Object, old: Object | None, entries: list[Object], owner: tuple[str, str]
) -> list[Object]:
    schema = type_of_kind(kind)
    if old is None:
        return [_entry(kind, owner, "Update", fieldsets.whole_trie(new, schema))]
    after = fieldsets.leaves(new, schema)
    before = fieldsets.leaves(old, schema)
    missing = object()
    changed = frozenset(p for p, value in after.items() if before.get(p, missing) != value)
    gone = frozenset(before.keys() - after.keys())
    if not changed and not gone:
        return entries
    made, mine = [], None
    for entry in entries:
        if identity(entry) == (owner[0], "Update", owner[1]):
            mine = entry
        elif kept := without(entry, changed | gone):
            made.append(kept)
    held = (fields_of(mine) if mine else frozenset()) - gone
    if held | changed:
        made.append(entry_of(kind, owner, "Update", held | changed, None if changed else mine))
    return made


def identity(entry: Object) -> tuple[str, str, str]:
    """Return what tells entries apart: manager, operation, subresource."""
    return (entry.get("manager", ""), entry.get("operation", ""), entry.get("subresource", ""))


def fields_of(entry: Object) -> Paths:
    """Return the fields of an entry."""
    return fieldsets.from_trie(entry.get("fieldsV1") or {})


def without(entry: Object, paths: Paths) -> Object | None:
    """Return an entry less some fields; ``None`` when nothing is left."""
    held = fields_of(entry)
    left = held - paths
    if left == held:
        return entry
    return {**entry, "fieldsV1": fieldsets.to_trie(left)} if left else None


def entry_of(
    kind: Kind, owner: tuple[str, str], operation: str, fields: Paths, before: Object | None
) -> Object:
    """Return an entry; the one `before` with the same fields keeps its time.

    Give none where a value of the fields changed: that is a new time too (ManagedFieldsEntry,
    meta/v1).
    """
    if before and fields_of(before) == fields:
        return before
    return _entry(kind, owner, operation, fieldsets.to_trie(fields))


def _entry(kind: Kind, owner: tuple[str, str], operation: str, trie: Object) -> Object:
    made = {
        "manager": owner[0],
        "operation": operation,
        "apiVersion": kind.api_version,
        "time": now_text(),
        "fieldsType": "FieldsV1",
        "fieldsV1": trie,
    }
    if owner[1]:
        made["subresource"] = owner[1]
    return made
