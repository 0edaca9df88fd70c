"""Check a custom object by its structural schema, with the messages of a real server.

Source: kube-openapi ``pkg/validation`` (the sentences) and apiextensions-apiserver
``pkg/apiserver/validation`` (which of them become which cause).
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import orjson

from k8slab.embedded.apiserver.custom import patterns
from k8slab.embedded.apiserver.custom.structural import INT_OR_STRING
from k8slab.embedded.apiserver.statuses import (
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.apiserver.custom.structural import Schema

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def errors(value: Any, schema: Schema, path: str = "") -> list[FieldError]:
    """Return all that is wrong with a value; `path` names it, e.g. ``spec.replicas``."""
    if value is None and schema.get("nullable"):
        return []
    if wrong := _type_error(value, schema, path):
        return [wrong]
    found = _limits(value, schema, path)
    if isinstance(value, dict):
        found += _object_errors(value, schema, path)
    elif isinstance(value, list):
        found += _list_errors(value, schema, path)
    if (enum := schema.get("enum")) and value not in enum:
        found.append(not_supported(path, value, list(enum)))
    return found + _junctors(value, schema, path)


def word_of(value: Any) -> str:
    """Return the JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    for word, types in _PYTHON_TYPES.items():
        if isinstance(value, types):
            return word
    return "object"


def _type_error(value: Any, schema: Schema, path: str) -> FieldError | None:
    wanted = ("integer", "string") if schema.get(INT_OR_STRING) else (schema.get("type"),)
    if wanted == (None,):
        return None
    found = word_of(value)
    if found in wanted or (found == "integer" and "number" in wanted):
        return None
    if found == "number" and "integer" in wanted and float(value).is_integer():
        return None
    word = ",".join(str(part) for part in wanted)
    return FieldError(
        path,
        "FieldValueTypeInvalid",
        f'Invalid value: "{found}": {path} in body must be of type {word}: "{found}"',
    )


# --- limits of one value


def _limits(value: Any, schema: Schema, path: str) -> list[FieldError]:
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int | float):
        return _number_errors(value, schema, path)
    if isinstance(value, str):
        return _text_errors(value, schema, path)
    key = "Properties" if isinstance(value, dict) else "Items"
    found, count = [], len(value)
    if (most := schema.get(f"max{key}")) is not None and count > most:
        found.append(too_many(path, count, most))
    if (least := schema.get(f"min{key}")) is not None and count < least:
        why = f"{path} in body should have at least {least} {key.lower()}"
        found.append(invalid(path, count if key == "Items" else value, why))
    return found


def _number_errors(value: float, schema: Schema, path: str) -> list[FieldError]:
    found = []
    bits = _BITS.get(schema.get("format") or "") if schema.get("type") == "integer" else None
    if bits and not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        # A real server has no field for it: IsValueValidAgainstRange of kube-openapi says where.
        why = f"Checked value must be of type integer with format int{bits} in {path}"
        found.append(invalid("<nil>", "", why))
    most, least = schema.get("maximum"), schema.get("minimum")
    strict_most, strict_least = schema.get("exclusiveMaximum"), schema.get("exclusiveMinimum")
    if most is not None and (value > most or (strict_most and value == most)):
        words = "less than" if strict_most else "less than or equal to"
        found.append(invalid(path, value, f"{path} in body should be {words} {_go_number(most)}"))
    if least is not None and (value < least or (strict_least and value == least)):
        words = "greater than" if strict_least else "greater than or equal to"
        found.append(invalid(path, value, f"{path} in body should be {words} {_go_number(least)}"))
    if (step := schema.get("multipleOf")) and value % step:
        why = f"{path} in body should be a multiple of {_go_number(step)}"
        found.append(invalid(path, value, why))
    return found


_BITS = {"int32": 32, "int64": 64}


def _go_number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def _text_errors(value: str, schema: Schema, path: str) -> list[FieldError]:
    found = []
    if (most := schema.get("maxLength")) is not None and len(value) > most:
        found.append(too_long(path, most))
    if (least := schema.get("minLength")) is not None and len(value) < least:
        why = f"{path} in body should be at least {least} chars long"
        found.append(invalid(path, value, why))
    if pattern := schema.get("pattern"):
        found += _pattern_errors(value, pattern, path)
    check = _FORMATS.get(schema.get("format") or "")
    if check and not _passes(check, value):
        why = f'{path} in body must be of type {schema["format"]}: "{value}"'
        found.append(invalid(path, value, why))
    return found


def _pattern_errors(value: str, pattern: str, path: str) -> list[FieldError]:
    why = f"{path} in body should match '{pattern}'"
    try:
        if patterns.search(pattern, value):
            return []
    except patterns.PatternTimeError as error:
        why += f": {error}"
    return [invalid(path, value, why)]


def _passes(check: Callable[[str], object], value: str) -> bool:
    try:
        return check(value) is not False
    except ValueError:
        return False


_FORMATS: dict[str, Callable[[str], object]] = {
    "date-time": lambda text: datetime.fromisoformat(text) if "T" in text.upper() else False,
    "date": date.fromisoformat,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "cidr": lambda text: ipaddress.ip_network(text, strict=False) if "/" in text else False,
    "uuid": uuid.UUID,
    "email": lambda text: bool(re.fullmatch(r"[^@\s]+@[^@\s]+", text)),
    "hostname": lambda text: bool(re.fullmatch(r"[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?", text)),
    "duration": lambda text: bool(re.fullmatch(r"-?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h|d|w))+", text)),
}


# --- objects and lists


def _object_errors(value: dict, schema: Schema, path: str) -> list[FieldError]:
    found = [
        required(_join(path, name)) for name in schema.get("required") or () if name not in value
    ]
    properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
    for key, item in value.items():
        inner = properties.get(key, additional)
        if isinstance(inner, dict):
            found += errors(item, inner, _join(path, key))
    return found


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _list_errors(value: list, schema: Schema, path: str) -> list[FieldError]:
    found = []
    items = schema.get("items")
    if isinstance(items, dict):
        for number, item in enumerate(value):
            found += errors(item, items, f"{path}[{number}]")
    kind = schema.get("x-kubernetes-list-type")
    if kind not in ("set", "map"):
        return found
    seen = set()
    for number, item in enumerate(value):
        shown = item
        if kind == "map":
            keys = schema.get("x-kubernetes-list-map-keys") or ()
            shown = {key: item.get(key) for key in keys} if isinstance(item, dict) else {}
        name = orjson.dumps(shown, option=orjson.OPT_SORT_KEYS)
        if name in seen:
            found.append(duplicate(f"{path}[{number}]", shown))
        seen.add(name)
    return found


def _junctors(value: Any, schema: Schema, path: str) -> list[FieldError]:
    found = []
    for part in schema.get("allOf") or ():
        found += errors(value, part, path)
    if schema.get(INT_OR_STRING):
        return found  # the form of its anyOf is prescribed, and its type was checked
    quoted = f'"{path}"'
    if (options := schema.get("anyOf")) and all(errors(value, part, path) for part in options):
        found.append(invalid(path, value, f"{quoted} must validate at least one schema (anyOf)"))
    if options := schema.get("oneOf"):
        valid = sum(not errors(value, part, path) for part in options)
        if valid != 1:
            number = f"Found {valid} valid alternatives" if valid else "Found none valid"
            why = f"{quoted} must validate one and only one schema (oneOf). {number}"
            found.append(invalid(path, value, why))
    if (refused := schema.get("not")) is not None and not errors(value, refused, path):
        found.append(invalid(path, value, f"{quoted} must not validate the schema (not)"))
    return found
