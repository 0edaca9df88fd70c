"""Server-side apply: a manager states the fields that it wants, and owns them (KEP-555).

A field that another manager owns with another value is a conflict, unless ``force`` takes it. A
field that the manager applied before and no longer states is removed, unless others own it too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from k8slab.embedded.apiserver import (
    bodies,
    eventsview,
    fieldsets,
    lastapplied,
    objectmeta,
    ownership,
    statuses,
    typed,
)
from k8slab.embedded.apiserver.auth import authorize
from k8slab.embedded.apiserver.fieldsets import ITEM, item_key
from k8slab.embedded.apiserver.list_rules import ATOMIC_MAPS, ATOMIC_TYPES
from k8slab.embedded.apiserver.options import validation_of, writer_of
from k8slab.embedded.apiserver.routes import action_of
from k8slab.embedded.apiserver.schema import type_of, type_of_kind
from k8slab.embedded.apiserver.strategic import check_length
from k8slab.errors import ApiStatusError

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.apiserver.fieldsets import Path, Paths
    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.embedded.apiserver.routes import Target
    from k8slab.embedded.apiserver.schema import Field, Type
    from k8slab.objects.meta import Object

    Keyed = tuple[Any, Any]
    """An item of a list, after its key."""

_UNKNOWN = re.compile(r'unknown field "([^"]+)"')


def apply(
    api: Api, request: Request, target: Target, body: bodies.Body
) -> tuple[Object, int, list[str]]:
    """Apply a configuration; returns the object, 201 when it is new, and warnings."""
    kind = target.kind
    manager = request.parameter("fieldManager")
    if not manager:
        error = statuses.required("fieldManager", "is required for apply patch")
        raise statuses.invalid_object("PatchOptions", "meta.k8s.io", "", [error])
    validation_of(request)  # refused where it is none, and without effect: all must be known
    writer = writer_of(request)
    schema = type_of_kind(kind)
    applied, complaints = _read(body, kind, schema)
    metadata = {"name": target.name, **(applied.get("metadata") or {})}
    objectmeta.check_place(metadata, target.name, target.namespace)
    if target.namespace:
        metadata["namespace"] = target.namespace
    if metadata.get("managedFields"):
        raise statuses.bad_request("metadata.managedFields must be nil")
    version = metadata.pop("resourceVersion", "")
    applied["metadata"] = metadata
    applied = _own_part(applied, target)
    if kind.stored_as:
        applied = eventsview.to_core(applied)
    owner = (manager, target.subresource)
    wanted = fieldsets.leaves(applied, schema)
    live = api.get(kind.resource, target.name, target.namespace)
    if live is None:
        if target.subresource:
            raise statuses.not_found(kind.resource, target.name)
        if uid := metadata.get("uid"):
            why = (
                f"uid mismatch: the provided object specified uid {uid}, "
                "and no existing object was found"
            )
            raise statuses.conflict(kind.resource, target.name, why)
        entry = ownership.entry_of(kind, owner, "Apply", frozenset(wanted), None)
        create = replace(action_of(request), verb="create")
        authorize(api.roles, request.user, create)
        writer = replace(writer, managed=(entry,))
        _complete(kind, applied)
        return api.create(kind.resource, applied, writer=writer, owned=True), 201, complaints
    last = lastapplied.LastApplied.of(kind, live, manager)
    allowed = last.unchanged if last else frozenset()
    force = request.flag("force")
    entries = _entries(kind, live, Wish(wanted, owner, allowed), force=force)
    removed = _removed(live, frozenset(wanted), owner, schema)
    merged = merge(objectmeta.copy(live), applied, schema)
    # Items before their fields: an item is found by the fields that are its key.
    for path in sorted(removed, key=len):
        _remove(merged, path)
    if version:
        merged["metadata"]["resourceVersion"] = version
    if last:
        lastapplied.note(merged, applied)
    _complete(kind, merged)
    writer = replace(writer, managed=tuple(entries))
    made = api.update(
        kind.resource, merged, subresource=target.subresource, writer=writer, owned=True
    )
    return made, 200, complaints


def _read(body: bodies.Body, kind: Kind, schema: Type | None) -> tuple[Object, list[str]]:
    """Return the configuration and the decoder's warnings; 400 for one that does not fit."""
    _check_version(body, kind)
    refused = _refusal(body, kind)
    if schema and not kind.custom and (why := typed.misfit(body.value, schema)):
        raise refused(why)
    return bodies.read_object(body, kind, validation="Strict", complete=False, refused=refused)


def _refusal(body: bodies.Body, kind: Kind) -> bodies.Refusal:
    """Return what makes an error of a field that the kind does not have, or not so.

    The words are those of structured-merge-diff; a real server answers with 500.
    """

    def refused(why: str) -> ApiStatusError:
        given = body.value.get("metadata")
        metadata = given if isinstance(given, dict) else {}
        place = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}"
        what = f"{place}; {kind.api_version}, Kind={kind.kind}"
        words = why.removeprefix("strict decoding error: ")
        told = _UNKNOWN.sub(r".\1: field not declared in schema", words)
        return statuses.bad_request(f"failed to create typed patch object ({what}): {told}")

    return refused


def _complete(kind: Kind, obj: Object) -> None:
    """Give an object the zero values that what was applied does not state."""
    if not kind.stored_as:
        bodies.decode_object(bodies.Body(obj), obj, kind, validation="Ignore")


def _check_version(body: bodies.Body, kind: Kind) -> None:
    """Refuse a configuration of another version, or of none: its fields may mean others."""
    sent = body.value.get("apiVersion") or "" if isinstance(body.value, dict) else ""
    if sent != kind.api_version:
        raise statuses.bad_request(
            "Incorrect version specified in apply patch. "
            f"Specified patch version: {sent}, expected: {kind.api_version}"
        )


def _own_part(applied: Object, target: Target) -> Object:
    """Return what is applied without what this path cannot change, and so does not own.

    Source: GetResetFields of the strategies.
    """
    if target.subresource == "status":
        place = {
            f: applied["metadata"][f] for f in ("name", "namespace") if f in applied["metadata"]
        }
        kept: Object = {f: applied[f] for f in ("apiVersion", "kind", "status") if f in applied}
        return {**kept, "metadata": place}
    if not target.subresource and target.kind.has_status:
        return {key: value for key, value in applied.items() if key != "status"}
    return applied


@dataclass(frozen=True, slots=True)
class Wish:
    """What a manager wants to own."""

    fields: dict[Path, Any]
    owner: tuple[str, str]
    """Manager and subresource."""
    allowed: Paths = frozenset()
    """Fields that it may take from others."""


def _entries(kind: Kind, live: Object, wish: Wish, *, force: bool) -> list[Object]:
    """Return the managed fields after the apply; 409 when there are conflicts."""
    wanted, owner = wish.fields, wish.owner
    schema = type_of_kind(kind)
    values = fieldsets.leaves(live, schema)
    differing = frozenset(
        path
        for path, value in wanted.items()
        if value is not ITEM and path in values and values[path] != value
    )
    conflicts: list[tuple[Object, Paths]] = []
    made, mine = [], None
    for entry in live["metadata"].get("managedFields") or ():
        if ownership.identity(entry) == (owner[0], "Apply", owner[1]):
            mine = entry
            continue
        clash = ownership.fields_of(entry) & differing
        if disputed := clash - wish.allowed:
            conflicts.append((entry, disputed))
        if kept := ownership.without(entry, clash):
            made.append(kept)
    if conflicts and not force:
        raise _conflict(conflicts)
    before = None if differing else mine
    made.insert(0, ownership.entry_of(kind, owner, "Apply", frozenset(wanted), before))
    return made


def _removed(live: Object, wanted: Paths, owner: tuple[str, str], schema: Type | None) -> Paths:
    """Return what goes: fields that nobody states any more, and structures in which nobody has one.

    So a probe goes with the defaults in it, which nobody owns.
    """
    before: Paths = frozenset()
    others: Paths = frozenset()
    for entry in live["metadata"].get("managedFields") or ():
        if ownership.identity(entry) == (owner[0], "Apply", owner[1]):
            before = ownership.fields_of(entry)
        else:
            others |= ownership.fields_of(entry)
    held = {path[:end] for path in others | wanted for end in range(1, len(path) + 1)}
    held.add(("f:metadata",))  # the name in it is stated, and nobody's
    gone = before - wanted
    around = {whole for path in gone for whole in fieldsets.structures(path, schema)}
    return frozenset(path for path in gone | around if path not in held)


def _conflict(conflicts: list[tuple[Object, Paths]]) -> ApiStatusError:
    causes, parts = [], []
    for entry, paths in conflicts:
        shown = sorted(fieldsets.shown(path) for path in paths)
        who = _who(entry)
        causes += [
            {
                "reason": "FieldManagerConflict",
                "message": f"conflict with {who}",
                "field": field,
            }
            for field in shown
        ]
        if len(shown) == 1:
            parts.append(f"conflict with {who}: {shown[0]}")
        else:
            parts.append(f"conflicts with {who}:\n" + "\n".join(f"- {field}" for field in shown))
    count = len(causes)
    return ApiStatusError(
        f"Apply failed with {count} conflict{'s' if count > 1 else ''}: " + "\n".join(parts),
        code=409,
        reason="Conflict",
        details={"causes": causes},
    )


def _who(entry: Object) -> str:
    text = f'"{entry.get("manager", "")}"'
    if entry.get("subresource"):
        text += f' with subresource "{entry["subresource"]}"'
    if entry.get("operation") == "Update":
        text += f" using {entry.get('apiVersion', '')}"
        if entry.get("time"):
            text += f" at {entry['time']}"
    return text


# --- merging


def merge(live: Any, applied: Object, schema: Type | None) -> Object:
    """Return `live` (which is consumed) with the applied fields set."""
    merged: Object = live if isinstance(live, dict) else {}
    for name, value in applied.items():
        field = schema.fields.get(name) if schema else None
        atomic = schema is not None and f"{schema.word}.{name}" in ATOMIC_MAPS
        merged[name] = value if atomic else _merged(merged.get(name), value, field)
    return merged


def _merged(old: Any, new: Any, field: Field | None) -> Any:
    if isinstance(new, dict):
        inner = type_of(field.word) if field and field.is_type and not field.shape else None
        if inner and inner.word in ATOMIC_TYPES:
            return new
        return merge(old, new, inner)
    rule = field.rule if field else None
    if not isinstance(new, list) or field is None or rule is None:
        return new
    before = old if isinstance(old, list) else []
    if rule.is_set or rule.keys:
        check_length(new)
    if rule.is_set:
        both = ([(fieldsets.item_value(item), item) for item in items] for items in (before, new))
        return [item for _, item in _interleaved(*both)]
    if not rule.keys:
        return new
    inner = type_of(field.word) if field.is_type else None
    live = [(item_key(item, rule.keys), item) for item in before]
    held = dict(reversed(live))
    order = _interleaved(live, [(item_key(item, rule.keys), item) for item in new])
    wanted = {id(item) for item in new}
    return [
        merge(held.pop(key), item, inner) if id(item) in wanted and key in held else item
        for key, item in order
    ]


def _interleaved(live: list[Keyed], new: list[Keyed]) -> list[Keyed]:
    """Return the items of two lists: what is in both is the new one, in the new order.

    What only the live list has keeps its place before what is new there, so a container that
    somebody adds comes after those that are there (structured-merge-diff, mergeListItems).
    """
    theirs = {key for key, _ in live}
    ours = {key for key, _ in new}
    shared = [key for key, _ in new if key in theirs]
    made: list[Keyed] = []
    place = 0
    for key, item in new:
        while place < len(live):
            held = live[place]
            if held[0] not in ours:
                made.append(held)
            elif shared and held[0] == shared[0]:
                break
            place += 1
        if shared and key == shared[0]:
            del shared[0]
        made.append((key, item))
    return [*made, *(held for held in live[place:] if held[0] not in ours)]


def _remove(obj: Any, path: Path) -> None:
    """Remove one field in place; what is not there is no matter."""
    for step in path[:-1]:
        obj = _child(obj, step)
        if obj is None:
            return
    last = path[-1]
    if len(path) > 1 and path[-2].startswith("k:") and last[2:] in orjson.loads(path[-2][2:]):
        return
    if isinstance(obj, dict) and last.startswith("f:"):
        obj.pop(last[2:], None)
    elif isinstance(obj, list):
        item = _child(obj, last)
        if item is not None:
            obj.remove(item)


def _child(obj: Any, step: str) -> Any:
    if isinstance(obj, dict):
        return obj.get(step[2:])
    if not isinstance(obj, list):
        return None
    for item in obj:
        if step.startswith("v:"):
            if fieldsets.item_value(item) == step[2:]:
                return item
        elif isinstance(item, dict) and fieldsets.matches_key(item, step):
            return item
    return None
