"""One version of a custom resource: what the server does with its objects.

A `Version` hangs on the `Kind` that is served. Objects are stored under the storage version's
``apiVersion``; another version shows the same fields (conversion ``None``), less those that its
schema does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver import printtexts, schema, statuses
from k8slab.embedded.apiserver.custom import jsonpath, rules, structural, validating
from k8slab.embedded.apiserver.list_rules import ListRule
from k8slab.embedded.apiserver.objectmeta import copy
from k8slab.embedded.apiserver.schema import Field, Type
from k8slab.embedded.apiserver.schema_build import META
from k8slab.embedded.apiserver.statuses import FieldError

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.custom.structural import Schema
    from k8slab.objects.meta import Object

AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
BLOCKING = frozenset(
    {
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    }
)
"""With these the rules are not asked (hasBlockingErr of ``registry/customresource``)."""

UNCHECKED = FieldError(
    rules.ROOT,
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)

_META_TYPE = f"{META}.ObjectMeta"
_WORDS = {"string": "string", "integer": "integer", "number": "number", "boolean": "boolean"}


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """One version of one definition."""

    name: str
    """As in OpenAPI documents: the group's parts in reverse, version, kind."""
    stored_as: str
    """The ``apiVersion`` of the storage version."""
    is_only: bool
    """No other version was ever stored or is served: stored bytes can be sent as they are."""
    schema: Schema
    columns: tuple[Object, ...]
    scale: Object | None
    selectable: tuple[str, ...]
    type: Type
    deprecation: str
    """The warning that goes with every answer; empty for a version that may be used."""

    def decode(self, obj: Object) -> list[str]:
        """Clean an object in place; returns the paths of unknown fields, dropped."""
        decoder = schema.Decoder(self.type.word)
        if isinstance(metadata := obj.get("metadata"), dict):
            decoder.structure(metadata, schema.type_of(_META_TYPE), "metadata")
        return decoder.unknown + structural.prune(obj, self.schema, is_resource=True)

    def default(self, obj: Object) -> None:
        """Fill in the schema's defaults in place."""
        structural.default(obj, self.schema)

    def errors(self, new: Object, old: Object | None) -> list[FieldError]:
        """Return all that is wrong with an object; what was wrong before and is left stays.

        An update may leave a field that the schema refuses today as it was (KEP-4008).
        """
        found = validating.errors(new, self.schema)
        if found and old is not None:
            before = {str(error) for error in validating.errors(old, self.schema)}
            found = [error for error in found if str(error) not in before]
        if any(error.reason in BLOCKING for error in found):
            return found + ([UNCHECKED] if rules.are_in(self.schema) else [])
        return found + rules.errors(new, old, self.schema)

    def seen(self, obj: Object, api_version: str) -> Object:
        """Return an object, stored by whichever version, as this version shows it."""
        if obj["apiVersion"] == api_version:
            return obj
        shown: Object = copy(obj)
        shown["apiVersion"] = api_version
        structural.prune(shown, self.schema, is_resource=True)
        self.default(shown)
        return shown

    # --- tables

    def column_definitions(self) -> list[Object]:
        """Return the columns after the name's."""
        return [
            {
                "name": column["name"],
                "type": column["type"],
                "format": column.get("format", ""),
                "description": column.get("description")
                or f"Custom resource definition column (in JSONPath format): {column['jsonPath']}",
                "priority": column.get("priority", 0),
            }
            for column in self.columns
        ]

    def cells(self, obj: Object) -> list[Any]:
        """Return the cells after the name's."""
        return [_cell(jsonpath.find(obj, c["jsonPath"]), c["type"]) for c in self.columns]

    # --- scale

    def scale_of(self, obj: Object, *, to_change: bool = False) -> Object:
        """Return ``spec`` and ``status`` of the Scale of an object.

        One without replicas has none to show, and 0 where it is read `to_change` it.
        """
        paths = self.scale or {}
        wanted = jsonpath.find(obj, paths["specReplicasPath"])
        if not wanted and not to_change:
            raise statuses.internal_error(
                f'the spec replicas field "{paths["specReplicasPath"]}" does not exist'
            )
        found = jsonpath.find(obj, paths["statusReplicasPath"])
        status: Object = {"replicas": found[0] if found else 0}
        if path := paths.get("labelSelectorPath"):
            selector = jsonpath.find(obj, path)
            status |= {"selector": selector[0]} if selector else {}
        return {"spec": {"replicas": wanted[0] if wanted else 0}, "status": status}

    def with_replicas(self, obj: Object, replicas: int) -> Object:
        """Return a copy of an object with this many replicas."""
        made: Object = copy(obj)
        path = (self.scale or {})["specReplicasPath"]
        *parents, last = (str(step.name) for step in jsonpath.parse(path))
        place = made
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = replicas
        return made


def _cell(values: list[Any], word: str) -> Any:
    if not values:
        return None
    value = values[0]
    if word == "date":
        return printtexts.since(value) if _is_time(value) else printtexts.UNKNOWN
    if word in ("integer", "number"):
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if word == "boolean":
        return value if isinstance(value, bool) else None
    return _text(value)  # a column shows the first of several


def _is_time(value: Any) -> bool:
    try:
        return bool(datetime.fromisoformat(value).replace(tzinfo=UTC))
    except (TypeError, ValueError):
        return False


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return statuses.shown(value)


# --- the schema as the types that server-side apply and managed fields know


def type_of_schema(name: str, document: Schema) -> Type:
    """Make and register the `schema.Type` of an object with this structural schema."""
    root = _structure(name, document)
    meta = {
        "apiVersion": Field("apiVersion", "", "string", None, is_type=False),
        "kind": Field("kind", "", "string", None, is_type=False),
        "metadata": Field("metadata", "", _META_TYPE, None, is_type=True),
    }
    made = Type(root.name, root.word, {**root.fields, **meta}, root.required)
    schema.add_type(made)
    return made


def _structure(name: str, document: Schema) -> Type:
    fields = {}
    for key, inner in (document.get("properties") or {}).items():
        field = _field(key, f"{name}~{key}", inner)
        if field is not None:
            fields[key] = field
    made = Type(
        name,
        name.rpartition(".")[2],
        fields,
        tuple(document.get("required") or ()),
    )
    schema.add_type(made)
    return made


def _field(key: str, name: str, inner: Schema) -> Field | None:
    """Return one field; ``None`` where nothing is known, so that it is owned leaf by leaf."""
    kind = inner.get("type")
    if inner.get("x-kubernetes-map-type") == "atomic":
        return Field(key, "", "object", None, is_type=False)
    if kind == "array":
        items = inner.get("items") or {}
        rule = _rule(inner)
        if items.get("type") == "object" and items.get("properties"):
            return Field(key, "[", _structure(name, items).name, rule, is_type=True)
        return Field(key, "[", _WORDS.get(items.get("type", ""), "object"), rule, is_type=False)
    if kind == "object":
        if inner.get("properties"):
            return Field(key, "", _structure(name, inner).name, None, is_type=True)
        return None
    return Field(key, "", _WORDS.get(kind or "", "object"), None, is_type=False)


def _rule(inner: Schema) -> ListRule | None:
    kind = inner.get("x-kubernetes-list-type")
    if kind == "set":
        return ListRule(is_set=True, strategy="")
    if kind == "map":
        return ListRule(keys=tuple(inner.get("x-kubernetes-list-map-keys") or ()), strategy="")
    return None
