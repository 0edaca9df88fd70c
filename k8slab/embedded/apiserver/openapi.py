"""OpenAPI documents of what is served: v3 by group, v2 as one, from the table of kinds and schemas.

kubectl reads them for ``explain``, to learn that the server validates fields (the
``fieldValidation`` parameter of PATCH), and to merge lists by their keys.
Source of the extensions: ``api/openapi-spec/README.md`` of Kubernetes.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from k8slab.embedded.apiserver import gnostic, schema
from k8slab.embedded.apiserver.etags import tagged
from k8slab.embedded.apiserver.http import Response
from k8slab.embedded.apiserver.list_rules import ATOMIC_MAPS, ATOMIC_TYPES
from k8slab.embedded.apiserver.schema_build import META
from k8slab.embedded.apiserver.views import accepted
from k8slab.embedded.config import KUBERNETES_MINOR

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.custom.resource import Version
    from k8slab.embedded.apiserver.http import Request
    from k8slab.embedded.apiserver.kinds import Kind, KindTable
    from k8slab.embedded.apiserver.schema import Field, Type

QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.Time"

GNOSTIC_V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
GNOSTIC_V3 = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"

_SCALARS: dict[str, dict[str, Any]] = {
    QUANTITY: {"type": "string", "description": "A fixed-point number with a suffix, as 100m."},
    INT_OR_STRING: {
        "type": "string",
        "format": "int-or-string",
        "description": "A whole number or a text.",
    },
    TIME: {"type": "string", "format": "date-time", "description": "A time by RFC 3339."},
}

_WORDS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer", "format": "int32"},
    "number": {"type": "number", "format": "double"},
    "boolean": {"type": "boolean"},
    "bytes": {"type": "string", "format": "byte"},
    "object": {"type": "object"},
}

_REFERENCES = {"quantity": QUANTITY, "intstr": INT_OR_STRING, "time": TIME}

_PATCH_MEDIA = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)


def answer(request: Request, kinds: KindTable) -> Response | None:
    """Answer a request below ``/openapi``; ``None`` when the path is not one."""
    path = request.path.rstrip("/")
    if path == "/openapi/v2":
        return _v2(request, kinds)
    if path == "/openapi/v3":
        return tagged(request, Response(body=orjson.dumps(_index(kinds))))
    if not path.startswith("/openapi/v3/"):
        return None
    wanted = path.removeprefix("/openapi/v3/")
    found = _places(kinds).get(wanted)
    return tagged(request, Response(body=_document_v3(kinds, *found))) if found else None


def _places(kinds: KindTable) -> dict[str, tuple[str, str]]:
    places = {}
    for group, versions in kinds.group_versions().items():
        for version in versions:
            place = f"apis/{group}/{version}" if group else f"api/{version}"
            places[place] = (group, version)
    return places


def _index(kinds: KindTable) -> dict[str, Any]:
    paths = {}
    for place, (group, version) in _places(kinds).items():
        digest = hashlib.sha256(_document_v3(kinds, group, version)).hexdigest().upper()[:32]
        paths[place] = {"serverRelativeURL": f"/openapi/v3/{place}?hash={digest}"}
    return {"paths": paths}


_documents: dict[tuple[int, int, str], bytes] = {}


def _document_v3(kinds: KindTable, group: str, version: str) -> bytes:
    key = (id(kinds), kinds.changes, f"{group}/{version}")
    if key not in _documents:
        _forget_old(kinds)
        rows = kinds.in_group(group, version)
        document = {
            "openapi": "3.0.0",
            "info": _info(),
            "paths": {path: item for kind in rows for path, item in _paths(kind, 3).items()},
            "components": {"schemas": Schemas("#/components/schemas/").of_kinds(rows)},
        }
        _documents[key] = orjson.dumps(document)
    return _documents[key]


def _forget_old(kinds: KindTable) -> None:
    """Drop what was made before the table changed (a CustomResourceDefinition came or went)."""
    for key in [key for key in _documents if key[0] == id(kinds) and key[1] != kinds.changes]:
        del _documents[key]


def _v2(request: Request, kinds: KindTable) -> Response:
    key = (id(kinds), kinds.changes, "v2")
    if key not in _documents:
        _forget_old(kinds)
        rows = list(kinds.rows.values())
        document = {
            "swagger": "2.0",
            "info": _info(),
            "paths": {path: item for kind in rows for path, item in _paths(kind, 2).items()},
            "definitions": Schemas("#/definitions/").of_kinds(rows),
        }
        _documents[key] = orjson.dumps(document)
    for media, _ in accepted(request):
        if "proto-openapi.spec.v2" in media:
            body = _gnostic_v2(_documents[key])
            return tagged(request, Response(body=body, content_type=GNOSTIC_V2))
    return tagged(request, Response(body=_documents[key]))


@lru_cache(maxsize=2)
def _gnostic_v2(document: bytes) -> bytes:
    return gnostic.encode_v2(orjson.loads(document))


def _info() -> dict[str, str]:
    return {"title": "Kubernetes", "version": f"v1.{KUBERNETES_MINOR}.0"}


class Schemas:
    """Collects the schemas that a document needs; `prefix` is where references point."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._v3 = "components" in prefix
        self._made: dict[str, Any] = {}

    def of_kinds(self, kinds: list[Kind]) -> dict[str, Any]:
        """Return the schemas of some kinds and of all that they refer to."""
        for kind in kinds:
            name = schema.root_name(kind.group, kind.version, kind.kind)
            if kind.custom:
                name = kind.custom.name
                self._made[name] = self._custom(kind.custom)
            elif not name:
                continue
            self._add(name)
            gvk = {"group": kind.group, "kind": kind.kind, "version": kind.version}
            self._made[name]["x-kubernetes-group-version-kind"] = [gvk]
            if "list" in kind.verbs:
                self._made[f"{name}List"] = self._list(kind, name)
        self._add(f"{META}.DeleteOptions")
        self._add(f"{META}.Status")
        return dict(sorted(self._made.items()))

    def _custom(self, version: Version) -> dict[str, Any]:
        """Return a custom resource's own schema, with what every object has."""
        made: dict[str, Any] = self._of_structural(version.schema)
        head = {
            "apiVersion": {"type": "string", "description": "The group and version."},
            "kind": {"type": "string", "description": "The kind."},
            "metadata": self._reference(f"{META}.ObjectMeta"),
        }
        made["properties"] = {**made.get("properties", {}), **head}
        return made

    def _of_structural(self, document: Any) -> Any:
        """Copy a schema; OpenAPI v2 knows no ``nullable`` and no alternatives."""
        if not isinstance(document, dict):
            return {}
        lost = () if self._v3 else ("nullable", "oneOf", "anyOf", "allOf", "not", "default")
        made = {key: value for key, value in document.items() if key not in lost}
        if made.get("x-kubernetes-preserve-unknown-fields") and not self._v3:
            return {key: value for key, value in made.items() if key != "properties"}
        for key in ("items", "additionalProperties"):
            if key in made:
                made[key] = self._of_structural(made[key])
        if "properties" in made:
            inner = made["properties"].items()
            made["properties"] = {key: self._of_structural(value) for key, value in inner}
        return made

    def _list(self, kind: Kind, name: str) -> dict[str, Any]:
        self._add(f"{META}.ListMeta")
        gvk = {"group": kind.group, "kind": f"{kind.kind}List", "version": kind.version}
        return {
            "description": f"{kind.kind}List is a list of {kind.kind} objects.",
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": self._reference(f"{META}.ListMeta"),
                "items": {"type": "array", "items": self._reference(name)},
            },
            "x-kubernetes-group-version-kind": [gvk],
        }

    def _add(self, name: str) -> None:
        if name in self._made:
            return
        if name in _SCALARS:
            self._made[name] = _SCALARS[name]
            return
        row = schema.type_of(name)
        made: dict[str, Any] = {"description": _text_of(name), "type": "object"}
        self._made[name] = made
        if row.required:
            made["required"] = list(row.required)
        made["properties"] = {key: self._property(field, row) for key, field in row.fields.items()}
        if row.word in ATOMIC_TYPES:
            made["x-kubernetes-map-type"] = "atomic"

    def _property(self, field: Field, owner: Type) -> dict[str, Any]:
        described = _text_of(owner.name, field.name)
        if not described and field.is_type:
            described = _text_of(field.word)
        one = self._one(field, described="" if field.shape else described)
        if values := _enums().get(owner.name, {}).get(field.name):
            one = {**one, "enum": values}
        if field.shape == "[":
            made = {"description": described, "type": "array", "items": one}
        elif field.shape == "{":
            made = {"description": described, "type": "object", "additionalProperties": one}
        else:
            made = one
        if f"{owner.word}.{field.name}" in ATOMIC_MAPS:
            made["x-kubernetes-map-type"] = "atomic"
        return made | _extensions(field)

    def _one(self, field: Field, *, described: str) -> dict[str, Any]:
        name = field.word if field.is_type else _REFERENCES.get(field.word, "")
        if name:
            return self._reference(name, described)
        if field.word.startswith("["):
            return {"type": "array", "items": {"type": "string"}}
        made = dict(_WORDS[field.word])
        if field.word == "integer" and field.is_wide:
            made["format"] = "int64"
        return {"description": described, **made} if described else made

    def _reference(self, name: str, described: str = "") -> dict[str, Any]:
        self._add(name)
        reference = {"$ref": self._prefix + name}
        made: dict[str, Any] = {"allOf": [reference]} if self._v3 else dict(reference)
        return {"description": described, **made} if described else made


@lru_cache(maxsize=1)
def _enums() -> dict[str, dict[str, list[str]]]:
    """Return the values of those fields that have a closed set of them (see `wire_build`)."""
    path = Path(__file__).with_name("enum_table.json")
    table: dict[str, dict[str, list[str]]] = orjson.loads(path.read_bytes())
    return table


def _text_of(name: str, field: str = "") -> str:
    """Return the description of a type or of one of its fields; empty where there is none."""
    own, fields = _texts().get(name, ("", {}))
    text: str = fields.get(field, "") if field else own
    return text


@lru_cache(maxsize=1)
def _texts() -> dict[str, Any]:
    """Return by type its description and those of its fields; without `make setup` there are none.

    See `schema_build`.
    """
    path = Path(__file__).with_name("text_table.json")
    table: dict[str, Any] = orjson.loads(path.read_bytes()) if path.exists() else {}
    return table


def _extensions(field: Field) -> dict[str, Any]:
    rule = field.rule
    if rule is None:
        return {"x-kubernetes-list-type": "atomic"} if field.shape == "[" else {}
    made: dict[str, Any] = {}
    if field.shape == "[":
        kind = "set" if rule.is_set else "map" if rule.keys else "atomic"
        made["x-kubernetes-list-type"] = kind
        if rule.keys:
            made["x-kubernetes-list-map-keys"] = list(rule.keys)
    if rule.merge_key:
        made["x-kubernetes-patch-merge-key"] = rule.merge_key
    if rule.strategy:
        made["x-kubernetes-patch-strategy"] = rule.strategy
    return made


# --- paths


def _paths(kind: Kind, version: int) -> dict[str, Any]:
    base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    space = f"{base}/namespaces/{{namespace}}" if kind.namespaced else base
    made: dict[str, Any] = {}
    collection: dict[str, Any] = {}
    for verb, method in (("list", "get"), ("create", "post"), ("deletecollection", "delete")):
        if verb in kind.verbs:
            collection[method] = _operation(kind, verb, version)
    made[f"{space}/{kind.plural}"] = collection
    if kind.namespaced and "list" in kind.verbs:
        made[f"{base}/{kind.plural}"] = {"get": _operation(kind, "list", version)}
    one = {
        method: _operation(kind, verb, version)
        for verb, method in (
            ("get", "get"),
            ("update", "put"),
            ("patch", "patch"),
            ("delete", "delete"),
        )
        if verb in kind.verbs
    }
    if one:
        made[f"{space}/{kind.plural}/{{name}}"] = one
    return made


_PARAMETERS = {
    "create": ("dryRun", "fieldManager", "fieldValidation", "pretty"),
    "update": ("dryRun", "fieldManager", "fieldValidation", "pretty"),
    "patch": ("dryRun", "fieldManager", "fieldValidation", "force", "pretty"),
    "delete": ("dryRun", "gracePeriodSeconds", "propagationPolicy", "pretty"),
    "list": (
        "allowWatchBookmarks",
        "continue",
        "fieldSelector",
        "labelSelector",
        "limit",
        "resourceVersion",
        "resourceVersionMatch",
        "sendInitialEvents",
        "timeoutSeconds",
        "watch",
        "pretty",
    ),
    "deletecollection": ("dryRun", "fieldSelector", "labelSelector", "pretty"),
    "get": ("pretty",),
}

_PARAMETER_TYPES = {
    "allowWatchBookmarks": "boolean",
    "force": "boolean",
    "gracePeriodSeconds": "integer",
    "limit": "integer",
    "sendInitialEvents": "boolean",
    "timeoutSeconds": "integer",
    "watch": "boolean",
}


def _operation(kind: Kind, verb: str, version: int) -> dict[str, Any]:
    gvk = {"group": kind.group, "kind": kind.kind, "version": kind.version}
    action = {"create": "post", "update": "put"}.get(verb, verb)
    made: dict[str, Any] = {
        "operationId": f"{verb}{kind.group.partition('.')[0].title() or 'Core'}"
        f"{kind.version.title()}{'Namespaced' if kind.namespaced else ''}{kind.kind}",
        "parameters": [_parameter(name, version) for name in _PARAMETERS[verb]],
        "responses": {"200": {"description": "OK"}, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk,
    }
    if verb == "patch" and version == 2:
        made["consumes"] = _patch_media(kind)
    elif verb == "patch":
        content = {media: {"schema": {"type": "object"}} for media in _patch_media(kind)}
        made["requestBody"] = {"required": True, "content": content}
    return made


def _patch_media(kind: Kind) -> list[str]:
    """Return the forms of PATCH; a strategic one needs the Go type, which custom ones have not."""
    return [form for form in _PATCH_MEDIA if not (kind.custom and "strategic" in form)]


def _parameter(name: str, version: int) -> dict[str, Any]:
    word = _PARAMETER_TYPES.get(name, "string")
    if version == 2:
        return {"name": name, "in": "query", "type": word, "uniqueItems": True}
    return {"name": name, "in": "query", "schema": {"type": word, "uniqueItems": True}}
