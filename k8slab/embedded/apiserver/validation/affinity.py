"""Check where a pod wants to run: affinity and topology spread.

Source: ValidateNodeSelector, validateAffinity and validateTopologySpreadConstraints in
``pkg/apis/core/validation/validation.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.statuses import (
    FieldError,
    duplicate,
    each,
    forbidden,
    invalid,
    not_supported,
    required,
)
from k8slab.embedded.apiserver.validation import names
from k8slab.embedded.apiserver.validation.common import selector_errors

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
UNSATISFIABLE = ("DoNotSchedule", "ScheduleAnyway")


def affinity_errors(spec: Object, path: str) -> list[FieldError]:
    """Return what is wrong with a pod's affinity and its topology spread constraints."""
    wanted = spec.get("affinity") or {}
    errors = _node_errors(wanted.get("nodeAffinity") or {}, f"{path}.affinity.nodeAffinity")
    for word in ("podAffinity", "podAntiAffinity"):
        errors += _pod_errors(wanted.get(word) or {}, f"{path}.affinity.{word}")
    taken: set[str] = set()
    for number, constraint in each(spec.get("topologySpreadConstraints"), errors):
        where = f"{path}.topologySpreadConstraints[{number}]"
        errors += _spread_errors(constraint, where)
        pair = f"{{{constraint.get('topologyKey')}, {constraint.get('whenUnsatisfiable')}}}"
        if pair in taken:
            errors.append(duplicate(f"{where}.{{topologyKey, whenUnsatisfiable}}", pair))
        taken.add(pair)
    return errors


def _node_errors(affinity: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    selector = affinity.get(REQUIRED)
    if selector is not None:
        where = f"{path}.{REQUIRED}.nodeSelectorTerms"
        if not selector.get("nodeSelectorTerms"):
            errors.append(required(where, "must have at least one node selector term"))
        for number, term in each(selector.get("nodeSelectorTerms"), errors):
            errors += _term_errors(term, f"{where}[{number}]")
    for number, preferred in each(affinity.get(PREFERRED), errors):
        where = f"{path}.{PREFERRED}[{number}]"
        errors += _weight_errors(preferred, where)
        errors += _term_errors(preferred.get("preference") or {}, f"{where}.preference")
    return errors


def _weight_errors(preferred: Object, path: str) -> list[FieldError]:
    weight = preferred.get("weight") or 0
    if 1 <= weight <= 100:
        return []
    return [invalid(f"{path}.weight", weight, "must be in the range 1-100")]


def _term_errors(term: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for number, expression in each(term.get("matchExpressions"), errors):
        where = f"{path}.matchExpressions[{number}]"
        errors += _expression_errors(expression, where)
        key = expression.get("key") or ""
        errors += [invalid(f"{where}.key", key, why) for why in names.qualified_name(key)]
    for number, expression in each(term.get("matchFields"), errors):
        errors += _field_errors(expression, f"{path}.matchFields[{number}]")
    return errors


def _expression_errors(expression: Object, path: str) -> list[FieldError]:
    operator, values = expression.get("operator") or "", expression.get("values") or []
    match operator:
        case "In" | "NotIn":
            why = "must be specified when `operator` is 'In' or 'NotIn'"
            return [] if values else [required(f"{path}.values", why)]
        case "Exists" | "DoesNotExist":
            why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            return [forbidden(f"{path}.values", why)] if values else []
        case "Gt" | "Lt":
            why = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            return [] if len(values) == 1 else [required(f"{path}.values", why)]
    return [invalid(f"{path}.operator", operator, "not a valid selector operator")]


def _field_errors(expression: Object, path: str) -> list[FieldError]:
    errors = []
    if expression.get("operator") not in ("In", "NotIn"):
        why = "not a valid selector operator"
        errors.append(invalid(f"{path}.operator", expression.get("operator") or "", why))
    elif len(expression.get("values") or ()) != 1:
        why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        errors.append(required(f"{path}.values", why))
    if expression.get("key") != "metadata.name":
        why = "not a valid field selector key"
        errors.append(invalid(f"{path}.key", expression.get("key") or "", why))
    return errors


def _pod_errors(affinity: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for number, term in each(affinity.get(REQUIRED), errors):
        errors += _pod_term_errors(term, f"{path}.{REQUIRED}[{number}]")
    for number, preferred in each(affinity.get(PREFERRED), errors):
        where = f"{path}.{PREFERRED}[{number}]"
        errors += _weight_errors(preferred, where)
        term = preferred.get("podAffinityTerm") or {}
        errors += _pod_term_errors(term, f"{where}.podAffinityTerm")
    return errors


def _pod_term_errors(term: Object, path: str) -> list[FieldError]:
    errors = selector_errors(term.get("labelSelector"), f"{path}.labelSelector")
    errors += selector_errors(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    return errors + _topology_errors(term, path)


def _topology_errors(term: Object, path: str) -> list[FieldError]:
    key = term.get("topologyKey") or ""
    if not key:
        return [required(f"{path}.topologyKey", "can not be empty")]
    return [invalid(f"{path}.topologyKey", key, why) for why in names.qualified_name(key)]


def _spread_errors(constraint: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    skew = constraint.get("maxSkew") or 0
    if skew <= 0:
        errors.append(invalid(f"{path}.maxSkew", skew, "must be greater than zero"))
    errors += _topology_errors(constraint, path)
    word = constraint.get("whenUnsatisfiable") or ""
    if word not in UNSATISFIABLE:
        errors.append(not_supported(f"{path}.whenUnsatisfiable", word, UNSATISFIABLE))
    domains = constraint.get("minDomains")
    if domains is not None and domains <= 0:
        errors.append(invalid(f"{path}.minDomains", domains, "must be greater than zero"))
    return errors + selector_errors(constraint.get("labelSelector"), f"{path}.labelSelector")
