"""Sets of fields: which parts of an object somebody owns (``FieldsV1``).

A field is a path of steps as FieldsV1 writes them: ``f:NAME`` for a field, ``k:{...}`` for the
item of a list with these keys, ``v:VALUE`` for an item of a set. A set of fields is a frozenset of
paths; the leaves of an object are its fields with their values. Source: structured-merge-diff.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from k8slab.embedded.apiserver.list_rules import ATOMIC_MAPS, ATOMIC_TYPES
from k8slab.embedded.apiserver.schema import type_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from k8slab.embedded.apiserver.schema import Field, Type
    from k8slab.objects.meta import Object

    Path = tuple[str, ...]
    Paths = frozenset[Path]

KEY_DEFAULTS = {"protocol": "TCP"}
"""What a missing map key means (``+default`` of the key's field)."""

SERVER_OWNED = frozenset(
    {
        ("f:apiVersion",),
        ("f:kind",),
        *(
            ("f:metadata", f"f:{name}")
            for name in (
                "name",
                "namespace",
                "uid",
                "resourceVersion",
                "generation",
                "creationTimestamp",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
                "selfLink",
                "managedFields",
                "generateName",
            )
        ),
    }
)
"""Fields that nobody owns but the server."""

_NESTED = (dict, list)

ITEM = object()
"""The value of a list item itself, beside its fields."""


def item_key(item: Any, keys: tuple[str, ...]) -> str:
    """Return the step of a list item, e.g. ``k:{"name":"web"}``."""
    fields = item if isinstance(item, dict) else dict.fromkeys(keys)
    kept = {
        key: value for key in keys if (value := fields.get(key, KEY_DEFAULTS.get(key))) is not None
    }
    return "k:" + orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode()


def leaves(obj: Object, schema: Type | None) -> dict[Path, Any]:
    """Return every field of an object that can be owned, with its value."""
    found: dict[Path, Any] = {}
    _structure(obj, schema, (), found)
    for path in SERVER_OWNED & found.keys():
        del found[path]
    for path in [path for path in found if path[:2] == ("f:metadata", "f:managedFields")]:
        del found[path]
    return found


def _structure(value: Object, schema: Type | None, path: Path, found: dict[Path, Any]) -> None:
    for name, item in value.items():
        field = schema.fields.get(name) if schema else None
        here = (*path, f"f:{name}")
        if field is None:
            _untyped(item, here, found)
        else:
            atomic = schema is not None and f"{schema.word}.{name}" in ATOMIC_MAPS
            _field(item, field, here, found, atomic=atomic)


def _field(value: Any, field: Field, path: Path, found: dict[Path, Any], *, atomic: bool) -> None:
    rule = field.rule
    if field.shape == "[" and isinstance(value, list) and rule and (rule.is_set or rule.keys):
        inner = type_of(field.word) if field.is_type else None
        for item in value:
            if rule.is_set:
                found[(*path, f"v:{orjson.dumps(item).decode()}")] = item
                continue
            here = (*path, item_key(item, rule.keys))
            found[here] = ITEM
            if isinstance(item, dict):
                _structure(item, inner, here, found)
        return
    if field.shape == "{" and isinstance(value, dict) and value and not atomic:
        for key, item in value.items():
            found[(*path, f"f:{key}")] = item
        return
    if field.is_type and not field.shape and isinstance(value, dict) and value:
        inner = type_of(field.word)
        if inner.word not in ATOMIC_TYPES:
            _structure(value, inner, path, found)
            return
    found[path] = value


def _untyped(value: Any, path: Path, found: dict[Path, Any]) -> None:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            _untyped(item, (*path, f"f:{key}"), found)
    else:
        found[path] = value


def whole_trie(obj: Object, schema: Type | None) -> Object:
    """Return ``fieldsV1`` of everything in a new object (as `leaves` and `to_trie`, but fast)."""
    made = _trie_of(obj, schema)
    for path in SERVER_OWNED:
        holder = made
        for step in path[:-1]:
            holder = holder.get(step) or {}
        holder.pop(path[-1], None)
    if not made.get("f:metadata"):
        made.pop("f:metadata", None)
    return made


def _trie_of(value: Object, schema: Type | None) -> Object:
    fields = schema.fields if schema else {}
    made: Object = {}
    for name, item in value.items():
        # Most fields hold no structure: these need not be looked up.
        if not isinstance(item, _NESTED):
            made[f"f:{name}"] = {}
        elif schema and (field := fields.get(name)):
            made[f"f:{name}"] = _field_trie(item, field, schema)
        else:
            made[f"f:{name}"] = _trie_of(item, None) if isinstance(item, dict) else {}
    return made


def _field_trie(value: dict | list, field: Field, owner: Type) -> Object:
    if isinstance(value, dict):
        if field.shape == "{" and f"{owner.word}.{field.name}" not in ATOMIC_MAPS:
            return {f"f:{key}": {} for key in value}
        if field.shape or not field.is_type:
            return {}
        inner = type_of(field.word)
        return {} if inner.word in ATOMIC_TYPES else _trie_of(value, inner)
    rule = field.rule
    if field.shape != "[" or not rule:
        return {}
    if rule.is_set:
        return {f"v:{item_value(item)}": {} for item in value}
    if not rule.keys:
        return {}
    inner = type_of(field.word)
    made = {}
    for item in value:  # what is no object is refused later, by its schema
        below = _trie_of(item, inner) if isinstance(item, dict) else {}
        made[item_key(item, rule.keys)] = {".": {}, **below}
    return made


def structures(path: Path, schema: Type | None) -> Iterator[Path]:
    """Yield the structures around a field that have a name in the schema, outermost first.

    Source: structured-merge-diff ``Set.EnsureNamedFieldsAreMembers``.
    """
    for end, step in enumerate(path[:-1], 1):
        if not step.startswith("f:"):
            continue  # an item: its type is the list's
        field = schema.fields.get(step[2:]) if schema else None
        if field is None:
            return
        yield path[:end]
        if not field.is_type or field.shape == "{":
            return
        schema = type_of(field.word)


def to_trie(paths: Iterable[Path]) -> Object:
    """Return a set of fields as ``fieldsV1`` writes it."""
    root: Object = {}
    for path in sorted(paths):
        node = root
        for step in path:
            node = node.setdefault(step, {})
        node["."] = {}
    return _trimmed(root)


def _trimmed(node: Object) -> Object:
    if set(node) == {"."}:
        return {}
    return {key: value if key == "." else _trimmed(value) for key, value in node.items()}


def from_trie(trie: Object, path: Path = ()) -> Paths:
    """Return the set of fields that ``fieldsV1`` describes."""
    found: set[Path] = set()
    for key, value in trie.items():
        if key == ".":
            found.add(path)
        elif value:
            found |= from_trie(value, (*path, key))
        else:
            found.add((*path, key))
    return frozenset(found)


def is_trie(value: Any) -> bool:
    """Say whether something that a client sends can be read as ``fieldsV1``."""
    return isinstance(value, dict) and all(
        _is_step(key) and is_trie(inner) for key, inner in value.items()
    )


def _is_step(step: str) -> bool:
    kind, rest = step[:2], step[2:]
    if kind not in ("k:", "v:"):
        return step == "." or kind == "f:"
    try:
        found = orjson.loads(rest)
    except orjson.JSONDecodeError:
        return False
    return kind == "v:" or isinstance(found, dict)


def shown(path: Path) -> str:
    """Return a path as conflict messages name it, e.g. ``.spec.containers[name="a"].image``."""
    text = ""
    for step in path:
        kind, rest = step[:2], step[2:]
        if kind == "f:":
            text += f".{rest}"
        elif kind == "k:":
            pairs = orjson.loads(rest).items()
            inside = ",".join(f"{key}={orjson.dumps(value).decode()}" for key, value in pairs)
            text += f"[{inside}]"
        else:
            text += f"[={rest}]"
    return text


def item_value(item: Any) -> str:
    """Return how a set's item is written in a ``v:`` step."""
    return orjson.dumps(item).decode()


def matches_key(item: Object, step: str) -> bool:
    """Say whether a list item is the one that a ``k:`` step names."""
    keys = orjson.loads(step[2:])
    return all(item.get(key, KEY_DEFAULTS.get(key)) == value for key, value in keys.items())
