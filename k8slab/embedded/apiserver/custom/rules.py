"""Validation rules in the Common Expression Language (``x-kubernetes-validations``).

The language is the package ``common-expression-language`` (optional: without it a definition
with rules is refused, and says so). It is imported when the first rule is met. Of the functions
that Kubernetes adds to the language, those of `_FUNCTIONS` are there; a rule that uses another
one is refused with the definition, never skipped with the object.

What a rule may cost is bounded, since nothing can interrupt one: the length of its text, and the
steps that its loops over one object may take (`_steps`), which are counted before it is run.
Source: apiextensions-apiserver ``pkg/apiserver/schema/cel`` and KEP-2876.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver.custom import patterns
from k8slab.embedded.apiserver.statuses import FieldError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from k8slab.embedded.apiserver.custom.structural import Schema
    from k8slab.objects.meta import Object

ROOT = "<nil>"
"""How a real server writes the path of the object itself."""

PACKAGE = "common-expression-language"
LONGEST = 5000
"""Characters of a rule; the library's parser recurses, and ends the process far beyond this."""

BUDGET = 1_000_000
"""Steps of all rules for one object: some two seconds."""

OVER_BUDGET = (
    "validation failed due to running out of cost budget, no further validation rules will be run"
)
_LOOP = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(|[()]")
_FAILURES = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
_OLD = re.compile(r"\boldSelf\b")
REASONS = frozenset(
    {"FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"}
)
"""What a rule may give as the reason of its error."""

_SAID_BY_CEL_GO = {
    "division by zero": "division by zero",
    "modulo by zero": "modulus by zero",
    "Arithmetic overflow": "integer overflow",
    "No such overload": "no such overload",
}
"""How failures begin here, and what kube-apiserver's CEL says of them."""

_FUNCTIONS: dict[str, Any] = {
    "lowerAscii": lambda text: text.lower(),
    "upperAscii": lambda text: text.upper(),
    "trim": lambda text: text.strip(),
    "split": lambda text, separator: text.split(separator),
    "replace": lambda text, old, new: text.replace(old, new),
    "indexOf": lambda where, what: (
        where.find(what) if isinstance(where, str) else _index(where, what)
    ),
    "find": lambda text, pattern: m[0] if (m := patterns.search(pattern, text)) else "",
    "findAll": lambda text, pattern: [m[0] for m in re.finditer(pattern, text)],
    "substring": lambda text, start, end=None: text[start:end],
    "join": lambda items, separator="": separator.join(items),
    "isSorted": lambda items: list(items) == sorted(items),
    "sum": sum,
    "isURL": lambda text: bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s]+", text)),
}


def _index(items: list, wanted: Any) -> int:
    return items.index(wanted) if wanted in items else -1


@cache
def _language() -> ModuleType:
    """Load the package's native module alone: its ``__init__`` imports a command line (0.5 s)."""
    package = find_spec("cel")
    places = package.submodule_search_locations if package else None
    found = PathFinder.find_spec("cel.cel", places) if places else None
    if found is None or found.loader is None:
        raise ModuleNotFoundError(f"the package {PACKAGE} is not installed")
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


@lru_cache(maxsize=512)
def _program(rule: str) -> Any:
    return _language().compile(rule)


def problem(rule: str) -> str:
    """Return why a rule cannot be used, or an empty text."""
    if len(rule) > LONGEST:
        return f"Too long: this cluster reads at most {LONGEST} characters of an expression"
    try:
        program = _program(rule)
    except ImportError:
        return (
            f"validation rules need the Python package {PACKAGE}; install it where k8slab runs "
            f"(pip install {PACKAGE}), or leave the rule out"
        )
    except ValueError as error:
        return f"compilation failed: {str(error).splitlines()[0]}"
    unknown = sorted(set(_called(program)) - _FUNCTIONS.keys() - _STANDARD)
    if unknown:
        return f"compilation failed: undeclared reference to {', '.join(unknown)} in this cluster"
    return ""


_STANDARD = frozenset(
    {
        *("size", "has", "all", "exists", "exists_one", "map", "filter", "contains", "matches"),
        *("startsWith", "endsWith", "int", "uint", "double", "string", "bool", "bytes", "type"),
        *("duration", "timestamp", "dyn", "max", "min", "getFullYear", "getMonth", "getDate"),
        *("getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getHours", "getMinutes", "getSeconds"),
        "getMilliseconds",
    }
)


def _called(program: Any) -> list[str]:
    return [name for name in program.functions() if name.isidentifier()]


def are_in(schema: Schema) -> bool:
    """Say whether a schema has rules anywhere."""
    inner = [*(schema.get("properties") or {}).values()]
    inner += [schema.get(word) for word in ("items", "additionalProperties")]
    own = bool(schema.get("x-kubernetes-validations"))
    return own or any(isinstance(part, dict) and are_in(part) for part in inner)


def errors(new: Object, old: Object | None, schema: Schema) -> list[FieldError]:
    """Return the rules that an object breaks."""
    found: list[FieldError] = []
    left = BUDGET
    for path, value, before, rule, kind in _uses(new, old, schema, ""):
        left -= _steps(rule["rule"], value)
        if left < 0:
            return [*found, FieldError(path or ROOT, "FieldValueInvalid", OVER_BUDGET)]
        if error := _broken(path, value, before, rule, kind):
            found.append(error)
    return found


def _steps(rule: str, value: Any) -> int:
    """Return the most steps that the loops of a rule can take over a value.

    Each loop inside another one multiplies by what a loop can have at most: the items of the
    largest list or map.
    """
    depth = _loops(rule)
    return int(_largest(value) ** depth) if depth else 1


@lru_cache(maxsize=512)
def _loops(rule: str) -> int:
    """Return how deep loops are nested in each other."""
    most = 0
    open_loops: list[bool] = []
    for match in _LOOP.finditer(rule):
        if match[0] == ")":
            del open_loops[-1:]
        else:
            open_loops.append(match[0] != "(")
            most = max(most, sum(open_loops))
    return most


def _largest(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 1
    inside = value.values() if isinstance(value, dict) else value
    return max(len(value), max((_largest(item) for item in inside), default=1), 1)


def _uses(value: Any, old: Any, schema: Schema, path: str) -> Iterator[tuple]:
    """Yield each rule where it applies: path, value, old value, rule, type."""
    if value is None:
        return
    for rule in schema.get("x-kubernetes-validations") or ():
        yield path, value, old, rule, schema.get("type", "")
    if isinstance(value, dict):
        properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
        for key, item in value.items():
            inner = properties.get(key, additional)
            if isinstance(inner, dict):
                before = old.get(key) if isinstance(old, dict) else None
                yield from _uses(item, before, inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for number, item in enumerate(value):
            before = _partner(item, old, schema)
            yield from _uses(item, before, schema["items"], f"{path}[{number}]")


def _partner(item: Any, old: Any, schema: Schema) -> Any:
    """Return the item of the old list that this one was: only map lists can tell."""
    keys = schema.get("x-kubernetes-list-map-keys")
    if not keys or not isinstance(old, list) or not isinstance(item, dict):
        return None
    wanted = [item.get(key) for key in keys]
    return next((o for o in old if [o.get(key) for key in keys] == wanted), None)


def _broken(path: str, value: Any, old: Any, rule: Object, kind: str) -> FieldError | None:
    text = rule["rule"]
    needs_old = bool(_OLD.search(text))
    if needs_old and old is None and not rule.get("optionalOldSelf"):
        return None  # a transition rule says nothing about what is new
    context = _language().Context(variables={"self": value, "oldSelf": old})
    for name, function in _FUNCTIONS.items():
        context.add_function(name, function)
    try:
        if _program(text).execute(context):
            return None
        message = _message(rule, context)
    except _FAILURES as error:
        asked = rule.get("message") or text
        said = _failure(error)
        message = f"{said} evaluating rule: {asked}"
        if said == "no such overload":
            message = (
                f"'{said}': call arguments did not match a supported operator, function or macro "
                f"signature for rule: {asked}"
            )
        told = f'Invalid value: "{kind or "object"}": {message}'
        return FieldError(path.lstrip(".") or ROOT, "FieldValueInvalid", told)
    reason = rule.get("reason") if rule.get("reason") in REASONS else "FieldValueInvalid"
    where = (path + (rule.get("fieldPath") or "")).lstrip(".") or ROOT
    # Objects and lists are left out of what is told (field.OmitValueType).
    told = "" if isinstance(value, dict | list) else f"{shown(value)}: "
    words = {
        "FieldValueForbidden": f"Forbidden: {message}",
        "FieldValueRequired": f"Required value: {message}",
        "FieldValueDuplicate": f"Duplicate value{': ' + told[:-2] if told else ''}",
    }
    return FieldError(where, str(reason), words.get(str(reason), f"Invalid value: {told}{message}"))


def evaluate(expression: str, variables: Object) -> Any:
    """Return what an expression comes to; `ValueError` says why it comes to nothing."""
    context = _language().Context(variables=variables)
    for name, function in _FUNCTIONS.items():
        context.add_function(name, function)
    try:
        return _program(expression).execute(context)
    except _FAILURES as error:
        raise ValueError(_failure(error)) from error


def _failure(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"no such key: {error.args[0]}"
    text = str(error)
    return next((word for start, word in _SAID_BY_CEL_GO.items() if text.startswith(start)), text)


def _message(rule: Object, context: Any) -> str:
    if expression := rule.get("messageExpression"):
        try:
            said = _program(expression).execute(context)
        except _FAILURES:
            said = None
        if isinstance(said, str) and said.strip() and "\n" not in said:
            return said
    return str(rule.get("message") or f"failed rule: {rule['rule']}")
