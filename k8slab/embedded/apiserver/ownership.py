"""Who set which field (``metadata.managedFields``).

Each writer has one entry for each way of writing (Update, Apply) and subresource. An update takes
the fields that it changed from everyone else; a field that is gone belongs to nobody. Writes of
the controllers in this process are not recorded.

What admission, webhooks and allocation add belongs to nobody, so that no apply takes it away:
owners are found in what was sent, with its defaults, before any of them sees it. Source: KEP-555;
k8s.io/apiserver ``endpoints/handlers`` (create.go, update.go, patch.go).
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


def owners(
    kind: Kind, new: Object, old: Object | None, writer: Writer, subresource: str = ""
) -> list[Object]:
    """Return the managed fields after a change: whose fields it touches."""
    if writer.managed is not None:
        return list(writer.managed)
    entries = _before(new, old, writer, subresource) if old else []
    if not writer.manager:
        return entries
    return _updated(kind, new, old, entries, (writer.manager, subresource or writer.through))


def record(new: Object, entries: list[Object]) -> None:
    """Write the managed fields into an object, in place."""
    if entries:
        new["metadata"]["managedFields"] = entries
    else:
        new["metadata"].pop("managedFields", None)


def _before(new: Object, old: Object, writer: Writer, subresource: str) -> list[Object]:
    """Return the entries to which an update adds: those that it sends, if they are any.

    So kubectl hands the fields of its client-side apply over to its server-side apply, and one
    empty entry strips all of them (docs: "Clearing managedFields"). What cannot be read leaves the
    old ones (managedfields ``decodeLiveOrNew``).
    """
    live = list(old["metadata"].get("managedFields") or ())
    sent = new["metadata"].get("managedFields") or []
    if subresource or not writer.manager or not sent:
        return live
    if sent == [{}]:
        return []
    return sent if all(map(_is_readable, sent)) else live


def _is_readable(entry: Object) -> bool:
    return (
        entry.get("operation") in ("Apply", "Update")
        and entry.get("fieldsType") == "FieldsV1"
        and fieldsets.is_trie(entry.get("fieldsV1"))
        and bool(entry.get("apiVersion"))
    )


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
    mine = next((e for e in entries if identity(e) == (owner[0], "Update", owner[1])), None)
    held = (fields_of(mine) if mine else frozenset()) - gone
    if mine and not changed and held == fields_of(mine):
        return [kept for entry in entries if (kept := without(entry, gone))]
    others = [entry for entry in entries if entry is not mine]
    made = [kept for entry in others if (kept := without(entry, changed | gone))]
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
    if owner[1] == "scale":
        del made["time"]  # as ScaleHandler.ToParent makes them (managedfields, scalehandler.go)
    return made
