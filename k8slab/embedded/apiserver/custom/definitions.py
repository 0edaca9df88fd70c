"""CustomResourceDefinitions themselves: their defaults and what is wrong with them.

Source: apiextensions-apiserver ``pkg/apis/apiextensions/{v1/defaults.go,validation}``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver.custom import jsonpath, patterns, rules, validating
from k8slab.embedded.apiserver.custom.structural import INT_OR_STRING, PRESERVE
from k8slab.embedded.apiserver.statuses import (
    FieldError,
    forbidden,
    invalid,
    not_supported,
    required,
)
from k8slab.embedded.apiserver.validation import names

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.custom.structural import Schema
    from k8slab.objects.meta import Object

RESOURCE = "customresourcedefinitions.apiextensions.k8s.io"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer that holds a definition until its objects are gone."""

APPROVED = "api-approved.kubernetes.io"
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_BREAK = re.compile(r"[\n\r]")
_LONGEST_MESSAGE = 2048
"""Characters of a rule's message (``validateCustomResourceDefinitionOpenAPISchema``)."""


def default(obj: Object) -> None:
    """Fill in what a definition may leave out."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        obj["spec"] = spec = {}
    names_of = spec.setdefault("names", {})
    if kind := names_of.get("kind"):
        names_of.setdefault("singular", kind.lower())
        names_of.setdefault("listKind", f"{kind}List")
    conversion = spec.setdefault("conversion", {})
    conversion.setdefault("strategy", "None")


def definition_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return all that is wrong with a definition."""
    spec = new["spec"]
    words, group = spec.get("names") or {}, spec.get("group") or ""
    found = _name_errors(new["metadata"], words, group)
    if not spec.get("scope"):
        found.append(required("spec.scope"))
    elif spec["scope"] not in ("Cluster", "Namespaced"):
        found.append(not_supported("spec.scope", spec["scope"], ("Cluster", "Namespaced")))
    if spec.get("preserveUnknownFields"):
        why = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
            "spec.versions[*].schema instead"
        )
        found.append(invalid("spec.preserveUnknownFields", True, why))
    strategy = spec["conversion"].get("strategy")
    if strategy != "None":
        # A real server knows Webhook, too; here nothing would call it.
        found.append(not_supported("spec.conversion.strategy", strategy, ("None",)))
    versions = spec.get("versions") or []
    found += _version_errors(versions)
    if not found:  # what is no schema says nothing of a default
        found += [
            error
            for number, version in enumerate(versions)
            for error in _default_errors(
                version["schema"]["openAPIV3Schema"],
                f"spec.versions[{number}].schema.openAPIV3Schema",
            )
        ]
    if old is not None:
        found += [
            invalid(f"spec.{path}", after, "field is immutable")
            for path, after, before in (
                ("group", group, old["spec"].get("group")),
                ("scope", spec.get("scope"), old["spec"].get("scope")),
                ("names.kind", words.get("kind"), old["spec"]["names"].get("kind")),
                ("names.plural", words.get("plural"), old["spec"]["names"].get("plural")),
            )
            if after != before
        ]
    return found


def _name_errors(metadata: Object, words: Object, group: str) -> list[FieldError]:
    found = []
    wanted = f"{words.get('plural') or ''}.{group}"
    if metadata.get("name") != wanted:
        why = 'must be spec.names.plural+"."+spec.group'
        found.append(invalid("metadata.name", metadata.get("name"), why))
    if not group:
        found.append(required("spec.group"))
    else:
        found += [invalid("spec.group", group, why) for why in names.dns_subdomain(group)]
        if "." not in group:
            why = "should be a domain with at least one dot"
            found.append(invalid("spec.group", group, why))
    protected = group.endswith((".k8s.io", ".kubernetes.io"))
    if protected and APPROVED not in (metadata.get("annotations") or {}):
        why = (
            f'protected groups must have approval annotation "{APPROVED}", '
            "see https://github.com/kubernetes/enhancements/pull/1111"
        )
        found.append(required(f"metadata.annotations[{APPROVED}]", why))
    for key in ("plural", "singular", "kind", "listKind"):
        value = words.get(key)
        if not value:
            found.append(required(f"spec.names.{key}"))
        elif whys := names.dns_1035_label(value.lower()):
            why = f"may have mixed case, but should otherwise match: {whys[0]}"
            if key in ("plural", "singular"):
                why = whys[0]
            found.append(invalid(f"spec.names.{key}", value, why))
    return found


def _version_errors(versions: list[Object]) -> list[FieldError]:
    found = []
    if sum(1 for version in versions if version.get("storage")) != 1:
        why = "must have exactly one version marked as storage version"
        found.append(invalid("spec.versions", _go_versions(versions), why))
    known = [version.get("name") for version in versions]
    if len(set(known)) != len(known):
        why = "must contain unique version names"
        found.append(invalid("spec.versions", _go_versions(versions), why))
    for number, version in enumerate(versions):
        path = f"spec.versions[{number}]"
        name = version.get("name") or ""
        found += [invalid(f"{path}.name", name, why) for why in names.dns_1035_label(name)]
        document = (version.get("schema") or {}).get("openAPIV3Schema")
        where = f"{path}.schema.openAPIV3Schema"
        if document is None:
            found.append(required(where, "schemas are required"))
        else:
            found += _root_errors(document, where)
        found += _column_errors(version, path)
    return found


def _go_versions(versions: list[Object]) -> list[Any]:
    return [version.get("name") for version in versions]


def _root_errors(document: Schema, path: str) -> list[FieldError]:
    if document.get("type") != "object":
        if not document.get("type"):
            return [required(f"{path}.type", "must not be empty at the root")]
        return [invalid(f"{path}.type", document["type"], "must be object at the root")]
    if document.get(PRESERVE) and document.get("x-kubernetes-int-or-string"):
        return [forbidden(f"{path}.{INT_OR_STRING}", "must be false at the root")]
    return _structure_errors(document, path)


def _structure_errors(document: Schema, path: str) -> list[FieldError]:
    """Return why a schema is not structural: every place must say its type."""
    found = _keyword_errors(document, path)
    for key, inner in (document.get("properties") or {}).items():
        where = f"{path}.properties[{key}]"
        found += _typed(inner, where, "object fields") + _structure_errors(inner, where)
    items = document.get("items")
    if isinstance(items, dict):
        found += _typed(items, f"{path}.items", "array items")
        found += _structure_errors(items, f"{path}.items")
    elif isinstance(items, list):
        why = "items must be a schema object and not an array"
        found.append(forbidden(f"{path}.items", why))
    elif document.get("type") == "array":
        found.append(required(f"{path}.items", "must be specified"))
    additional = document.get("additionalProperties")
    if isinstance(additional, dict):
        where = f"{path}.additionalProperties"
        found += _typed(additional, where, "object fields")
        found += _structure_errors(additional, where)
    if additional and document.get("properties"):
        why = "additionalProperties and properties are mutual exclusive"
        found.append(forbidden(f"{path}.additionalProperties", why))
    return found


def _default_errors(document: Schema, path: str) -> list[FieldError]:
    """Return which defaults of a schema the schema itself refuses."""
    found = []
    if document.get("default") is not None:
        found += validating.errors(document["default"], document, f"{path}.default")
    for key, inner in (document.get("properties") or {}).items():
        found += _default_errors(inner, f"{path}.properties[{key}]")
    for word in ("items", "additionalProperties"):
        if isinstance(inner := document.get(word), dict):
            found += _default_errors(inner, f"{path}.{word}")
    return found


def _typed(inner: Schema, path: str, what: str) -> list[FieldError]:
    if inner.get("type") or inner.get(INT_OR_STRING) or inner.get(PRESERVE):
        return []
    return [required(f"{path}.type", f"must not be empty for specified {what}")]


def _keyword_errors(document: Schema, path: str) -> list[FieldError]:
    found = []
    word = document.get("type")
    if word and word not in _TYPES:
        found.append(not_supported(f"{path}.type", word, _TYPES))
    if document.get("$ref"):
        found.append(forbidden(f"{path}.$ref", "$ref is not supported"))
    if document.get("uniqueItems"):
        why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        found.append(forbidden(f"{path}.uniqueItems", why))
    if (pattern := document.get("pattern")) and (wrong := patterns.problem(pattern)):
        why = f"must be a valid regular expression, but isn't: {wrong}"
        found.append(invalid(f"{path}.pattern", pattern, why))
    kind = document.get("x-kubernetes-list-type")
    keys = document.get("x-kubernetes-list-map-keys")
    if kind and kind not in ("atomic", "map", "set"):
        found.append(
            not_supported(f"{path}.x-kubernetes-list-type", kind, ("atomic", "map", "set"))
        )
    if document.get(PRESERVE) is False:
        found.append(invalid(f"{path}.{PRESERVE}", False, "must be true or undefined"))
    items = document.get("items") or {}
    for key in keys or () if kind == "map" else ():
        item = (items.get("properties") or {}).get(key) or {}
        if key not in (items.get("required") or ()) and "default" not in item:
            why = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be "
                "a required property"
            )
            found.append(required(f"{path}.items.properties[{key}].default", why))
    if kind == "map" and not keys:
        why = "must not be empty if x-kubernetes-list-type is map"
        found.append(required(f"{path}.x-kubernetes-list-map-keys", why))
    for number, rule in enumerate(document.get("x-kubernetes-validations") or ()):
        found += _rule_errors(rule, f"{path}.x-kubernetes-validations[{number}]")
    return found


def _rule_errors(rule: Object, path: str) -> list[FieldError]:
    """Say what is wrong with one rule; only one that is well-formed is compiled."""
    text, message = rule.get("rule") or "", rule.get("message") or ""
    shown = message.strip()
    found = []
    if not text.strip():
        found.append(required(f"{path}.rule", "rule is not specified"))
    elif message and not shown:
        why = "message must be non-empty if specified"
        found.append(invalid(f"{path}.message", message, why))
    elif len(message) > _LONGEST_MESSAGE:
        why = f"message must have a maximum length of {_LONGEST_MESSAGE} characters"
        found.append(invalid(f"{path}.message", f"{message[:10]}...", why))
    elif _BREAK.search(shown):
        why = "message must not contain line breaks"
        found.append(invalid(f"{path}.message", message, why))
    elif _BREAK.search(text.strip()) and not shown:
        why = "message must be specified if rule contains line breaks"
        found.append(required(f"{path}.message", why))
    expression = rule.get("messageExpression") or ""
    if expression and not expression.strip():
        why = "messageExpression must be non-empty if specified"
        found.append(required(f"{path}.messageExpression", why))
    if (reason := rule.get("reason")) is not None and reason not in rules.REASONS:
        found.append(not_supported(f"{path}.reason", reason, sorted(rules.REASONS)))
    if found:
        return found
    return [
        invalid(f"{path}.{key}", given, why)
        for key, given in (("rule", text), ("messageExpression", expression))
        if given and (why := rules.problem(given))
    ]


def _column_errors(version: Object, path: str) -> list[FieldError]:
    found = []
    for number, column in enumerate(version.get("additionalPrinterColumns") or ()):
        where = f"{path}.additionalPrinterColumns[{number}]"
        if column.get("type") not in _COLUMN_TYPES:
            found.append(not_supported(f"{where}.type", column.get("type"), _COLUMN_TYPES))
        if not column.get("name"):
            found.append(required(f"{where}.name"))
        found += _path_errors(column.get("jsonPath"), f"{where}.jsonPath")
    for number, field in enumerate(version.get("selectableFields") or ()):
        where = f"{path}.selectableFields[{number}].jsonPath"
        found += _path_errors(field.get("jsonPath"), where)
    scale = (version.get("subresources") or {}).get("scale") or {}
    for key in ("specReplicasPath", "statusReplicasPath"):
        if scale or key in scale:
            where = f"{path}.subresources.scale.{key}"
            found += _path_errors(scale.get(key), where)
    return found


def _path_errors(text: str | None, path: str) -> list[FieldError]:
    if not text:
        return [required(path)]
    try:
        jsonpath.parse(text)
    except ValueError as error:
        return [invalid(path, text, str(error))]
    return []
