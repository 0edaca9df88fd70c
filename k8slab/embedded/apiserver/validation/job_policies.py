"""Check the policies of a Job: when a pod's failure counts, and when enough has succeeded.

Source: ``pkg/apis/batch/validation`` (validatePodFailurePolicy, validateSuccessPolicy).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.statuses import (
    FieldError,
    duplicate,
    each,
    invalid,
    not_supported,
    required,
    shown,
    too_long,
)
from k8slab.embedded.apiserver.validation import names
from k8slab.embedded.apiserver.validation.common import at_least_zero, at_most

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.objects.meta import Object

ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
OPERATORS = ("In", "NotIn")
STATUSES = ("False", "True", "Unknown")
REPLACEMENTS = ("Failed", "TerminatingOrFailed")
MOST_RULES = 20
MOST_CODES = 255
MOST_INDEX_TEXT = 64 * 1024
MOST_DIGITS = 18
"""More are no number of 64 bits."""


def errors(spec: Object) -> list[FieldError]:
    """Return what is wrong with the policies of a Job's spec."""
    found: list[FieldError] = []
    failure, success = spec.get("podFailurePolicy"), spec.get("successPolicy")
    if failure is not None:
        found += _failure_errors(spec, failure, "spec.podFailurePolicy.rules")
    if success is not None and spec.get("completionMode") == "Indexed":
        found += _success_errors(spec, success, "spec.successPolicy.rules")
    word = spec.get("podReplacementPolicy")
    known = REPLACEMENTS if failure is None else REPLACEMENTS[:1]
    if word is not None and word not in known:
        found.append(not_supported("spec.podReplacementPolicy", word, known))
    return found


def _word_errors(word: str | None, known: Sequence[str], path: str) -> list[FieldError]:
    if not word:
        return [required(path, f"valid values: [{' '.join(shown(one) for one in known)}]")]
    return [] if word in known else [not_supported(path, word, known)]


def _failure_errors(spec: Object, policy: Object, path: str) -> list[FieldError]:
    rules = policy.get("rules") or []
    found = at_most(rules, MOST_RULES, path)
    pod = (spec.get("template") or {}).get("spec") or {}
    known = {
        container.get("name")
        for field in ("containers", "initContainers")
        for container in pod.get(field) or ()
    }
    for number, rule in each(rules, found):
        where = f"{path}[{number}]"
        found += _word_errors(rule.get("action"), ACTIONS, f"{where}.action")
        if rule.get("action") == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            why = "requires the backoffLimitPerIndex to be set"
            found.append(invalid(f"{where}.action", "FailIndex", why))
        codes, patterns = rule.get("onExitCodes"), rule.get("onPodConditions") or []
        if codes is not None:
            found += _code_errors(codes, known, f"{where}.onExitCodes")
        found += _pattern_errors(patterns, f"{where}.onPodConditions")
        if (codes is not None) == bool(patterns):
            which = "both OnExitCodes and OnPodConditions is not supported"
            if not patterns:
                which = "one of OnExitCodes and OnPodConditions is required"
            text = f"Invalid value: specifying {which}"
            found.append(FieldError(where, "FieldValueInvalid", text))
    return found


def _code_errors(codes: Object, known: set[str | None], path: str) -> list[FieldError]:
    found = _word_errors(codes.get("operator"), OPERATORS, f"{path}.operator")
    container = codes.get("containerName")
    if container is not None and container not in known:
        why = "must be one of the container or initContainer names in the pod template"
        found.append(invalid(f"{path}.containerName", container, why))
    values = codes.get("values") or []
    where = f"{path}.values"
    if not values:
        found.append(invalid(where, values, "at least one value is required"))
    found += at_most(values, MOST_CODES, where)
    seen: set[int] = set()
    for number, value in each(values, found):
        if value == 0 and codes.get("operator") == "In":
            found.append(invalid(f"{where}[{number}]", 0, "must not be 0 for the In operator"))
        if value in seen:
            found.append(duplicate(f"{where}[{number}]", value))
        seen.add(value)
    if values != sorted(values):
        found.append(invalid(where, values, "must be ordered"))
    return found


def _pattern_errors(patterns: Sequence[Object], path: str) -> list[FieldError]:
    found = at_most(patterns, MOST_RULES, path)
    for number, pattern in each(patterns, found):
        where = f"{path}[{number}]"
        kind = pattern.get("type") or ""
        found += [invalid(f"{where}.type", kind, why) for why in names.qualified_name(kind)]
        found += _word_errors(pattern.get("status"), STATUSES, f"{where}.status")
    return found


def _success_errors(spec: Object, policy: Object, path: str) -> list[FieldError]:
    rules = policy.get("rules") or []
    found = at_most(rules, MOST_RULES, path)
    if not rules:
        why = "at least one rules must be specified when the successPolicy is specified"
        found.append(required(path, why))
    for number, rule in each(rules, found):
        found += _success_rule_errors(spec.get("completions") or 0, rule, f"{path}[{number}]")
    return found


def _success_rule_errors(completions: int, rule: Object, path: str) -> list[FieldError]:
    count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
    if count is None and indexes is None:
        why = "at least one of succeededCount or succeededIndexes must be specified"
        return [required(path, why)]
    found: list[FieldError] = []
    total = 0
    if indexes is not None:
        where = f"{path}.succeededIndexes"
        if len(indexes) > MOST_INDEX_TEXT:
            found.append(too_long(where, MOST_INDEX_TEXT))
        total, why = _total(indexes, completions)
        if why:
            found.append(invalid(where, indexes, f"error parsing succeededIndexes: {why}"))
    if count is None:
        return found
    where = f"{path}.succeededCount"
    found += at_least_zero(count, where)
    limits = [(completions, "specified completions")]
    if indexes is not None:
        limits.append((total, "indexes in the specified succeededIndexes field"))
    for most, what in limits:
        if count > most:
            why = f"must be less than or equal to {most} (the number of {what})"
            found.append(invalid(where, count, why))
    return found


def _total(text: str, completions: int) -> tuple[int, str]:
    """Return how many numbers ``0-4,7`` are, and what is wrong with it (validateIndexesFormat)."""
    total, last = 0, -1
    for part in text.split(",") if text else ():
        limits = part.split("-")
        if len(limits) > 2:
            rule = "violates the requirement that an index interval can have at most two parts"
            return 0, f"the fragment {shown(part)} {rule} separated by '-'"
        for limit in limits:
            if not (limit.isascii() and limit.isdigit()) or len(limit) > MOST_DIGITS:
                return 0, f"cannot convert string to integer for index: {shown(limit)}"
            if int(limit) >= completions:
                return 0, f"too large index: {shown(limit)}"
        first, end = int(limits[0]), int(limits[-1])
        if len(limits) > 1 and first >= end:
            return 0, f"non-increasing order, previous: {first}, current: {end}"
        if last >= first:
            return 0, f"non-increasing order, previous: {last}, current: {first}"
        total, last = total + end - first + 1, end
    return total, ""
