"""What a structural schema does to an object before it is checked: prune and default.

Fields that the schema does not name are dropped, unless ``x-kubernetes-preserve-unknown-fields``
keeps them; what is left out gets its default; ``null`` where it is not allowed means left out.
Source: apiextensions-apiserver ``pkg/apiserver/schema/{pruning,defaulting}``.
"""

from __future__ import annotations

from typing import Any

from k8slab.embedded.apiserver.objectmeta import copy

PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
INT_OR_STRING = "x-kubernetes-int-or-string"
HEAD = ("apiVersion", "kind", "metadata")
"""What every object has, whatever its schema says."""

Schema = dict[str, Any]


def prune(value: Any, schema: Schema, *, is_resource: bool = False, path: str = "") -> list[str]:
    """Drop in place what the schema does not name; returns the paths that were dropped."""
    if isinstance(value, list):
        return _prune_items(value, schema, path)
    if not isinstance(value, dict):
        return []
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    is_resource = is_resource or bool(schema.get(EMBEDDED))
    gone, found = [], []
    for key, item in value.items():
        if is_resource and key in HEAD:
            continue
        here = f"{path}.{key}" if path else key
        if key in properties:
            found += prune(item, properties[key], path=here)
        elif isinstance(additional, dict):
            found += prune(item, additional, path=here)
        elif not (additional or schema.get(PRESERVE)):
            gone.append(key)
            found.append(here)
    for key in gone:
        del value[key]
    return found


def _prune_items(value: list, schema: Schema, path: str) -> list[str]:
    items = schema.get("items")
    if not isinstance(items, dict):
        return []
    return [
        dropped
        for number, item in enumerate(value)
        for dropped in prune(item, items, path=f"{path}[{number}]")
    ]


def default(value: Any, schema: Schema) -> None:
    """Fill in defaults in place, and drop each ``null`` that is not allowed."""
    if isinstance(value, list):
        if isinstance(schema.get("items"), dict):
            for item in value:
                default(item, schema["items"])
        return
    if not isinstance(value, dict):
        return
    properties = schema.get("properties") or {}
    for key, inner in properties.items():
        if value.get(key) is None and not (key in value and inner.get("nullable")):
            value.pop(key, None)
            if "default" in inner:
                value[key] = copy(inner["default"])
        if key in value:
            default(value[key], inner)
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        for key in [key for key in value if key not in properties]:
            if value[key] is None and "default" in additional and not additional.get("nullable"):
                value[key] = copy(additional["default"])
            default(value[key], additional)
