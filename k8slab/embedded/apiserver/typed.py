"""Does what somebody applies fit its schema: the errors of structured-merge-diff, in its words.

A real server reads an apply twice. This is the first time, in which fields are known by their
paths (``.spec.containers[name="web"].image``) and values by their simple types alone; what a number
or a quantity may be is seen the second time, as for any other body.
Source: structured-merge-diff, ``typed/validate.go`` and ``typed/helpers.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from k8slab.embedded.apiserver import fieldsets
from k8slab.embedded.apiserver.schema import type_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.embedded.apiserver.list_rules import ListRule
    from k8slab.embedded.apiserver.schema import Field, Type
    from k8slab.objects.meta import Object

_TEXTS = ("string", "bytes")
_NUMBERS = ("integer", "number")
_SCALARS = ("intstr", "quantity", "time")
"""Values of these are texts or numbers: the schema takes any that is no list and no map."""


def misfit(obj: Object, schema: Type) -> str:
    """Return what is wrong with an applied object, one line each; empty when all fits."""
    errors = list(_structure(obj, schema, ""))
    return "\n  ".join(["errors:", *errors]) if len(errors) > 1 else "".join(errors)


def _structure(value: Object, schema: Type, path: str) -> Iterator[str]:
    for name, item in value.items():
        here = f"{path}.{name}"
        if known := schema.fields.get(name):
            yield from _field(item, known, here)
        else:
            yield f"{here}: field not declared in schema"


def _field(value: Any, known: Field, path: str) -> Iterator[str]:
    if value is None:
        return
    if known.shape == "[":
        if isinstance(value, list):
            yield from _list(value, known, path)
        else:
            yield f"{path}: expected list, got &{{{plain(value)}}}"
    elif known.shape == "{":
        if isinstance(value, dict):
            for key, item in value.items():
                yield from _one(item, known, f"{path}.{key}")
        else:
            yield f"{path}: expected map, got &{{{plain(value)}}}"
    else:
        yield from _one(value, known, path)


def _list(value: list, known: Field, path: str) -> Iterator[str]:
    rule = known.rule
    seen = set()
    for number, item in enumerate(value):
        step = f"[{number}]"
        if rule and (rule.is_set or rule.keys):
            if why := _not_an_item(item, rule):
                yield f"{path}: element {number}: associative list {why}"
                return
            step = _step(item, rule)
            if step in seen:
                yield f"{path}: duplicate entries for key {step}"
            seen.add(step)
        yield from _one(item, known, path + step)


def _not_an_item(item: Any, rule: ListRule) -> str:
    """Say why an item cannot be told from others of its list; empty when it can."""
    if rule.is_set:
        return "without keys has an element that's an explicit null" if item is None else ""
    if item is None:
        return "with keys may not have a null element"
    if not isinstance(item, dict):
        return "with keys may not have non-map elements"
    if any(key in item or key in fieldsets.KEY_DEFAULTS for key in rule.keys):
        return ""
    keys = " ".join(f'"{key}"' for key in rule.keys)
    return (
        f"with keys has an element that omits all key fields [{keys}] "
        "(and doesn't have default values for any key fields)"
    )


def _step(item: Any, rule: ListRule) -> str:
    step = f"v:{fieldsets.item_value(item)}" if rule.is_set else fieldsets.item_key(item, rule.keys)
    return fieldsets.shown((step,))


def _one(value: Any, known: Field, path: str) -> Iterator[str]:
    if value is None or known.word == "object":
        return
    if known.is_type:
        if isinstance(value, dict):
            yield from _structure(value, type_of(known.word), path)
        else:
            yield f"{path}: expected map, got &{{{plain(value)}}}"
    elif why := _not_a_scalar(value, known.word):
        yield f"{path}: expected {why}"


def _not_a_scalar(value: Any, word: str) -> str:
    if word in _TEXTS and not isinstance(value, str):
        return f"string, got &value.valueUnstructured{{Value:{literal(value)}}}"
    if word in _NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float)):
        return f"numeric (int or float), got {_go_type(value)}"
    if word == "boolean" and not isinstance(value, bool):
        return f"boolean, got &{{{plain(value)}}}"
    if word in _SCALARS and isinstance(value, list | dict):
        return f"any scalar, got &{{{plain(value)}}}"
    return ""


def _go_type(value: Any) -> str:
    """Return the type of a JSON value in Go (``%T``)."""
    if isinstance(value, bool | str):
        return "bool" if isinstance(value, bool) else "string"
    return "[]interface {}" if isinstance(value, list) else "map[string]interface {}"


def literal(value: Any) -> str:
    """Return a JSON value as Go's source has it (``%#v``)."""
    if isinstance(value, dict):
        pairs = (f"{literal(key)}:{literal(value[key])}" for key in sorted(value))
        return f"map[string]interface {{}}{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[]interface {{}}{{{', '.join(literal(item) for item in value)}}}"
    if value is None:
        return "interface {}(nil)"
    return orjson.dumps(value).decode()


def plain(value: Any) -> str:
    """Return a JSON value as Go prints a map (``%v``), in which real servers show a patch."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{plain(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(plain(item) for item in value)}]"
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)
