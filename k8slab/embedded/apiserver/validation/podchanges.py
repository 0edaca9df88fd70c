"""What a change may do to a pod: little, since it runs already.

Source: ``ValidatePodUpdate`` and ``ValidatePodEphemeralContainersUpdate`` of
``pkg/apis/core/validation``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.statuses import (
    FieldError,
    each,
    forbidden,
    invalid,
    missing,
)
from k8slab.embedded.apiserver.validation.pods import spec_errors

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

UPDATE_MESSAGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)"
)

FREE = (
    "activeDeadlineSeconds",
    "schedulingGates",
    "terminationGracePeriodSeconds",
    "tolerations",
)
"""What may change by rules of its own."""

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def update_errors(new: Object, old: Object, *, internal: bool) -> list[FieldError]:
    """Return what an update may not change in a pod.

    `internal` writes may assign it to a node.
    """
    after, before = new["spec"], old["spec"]
    errors = [
        forbidden(f"spec.{group}", "pod updates may not add or remove containers")
        for group in ("containers", "initContainers")
        if len(after.get(group) or ()) != len(before.get(group) or ())
    ]
    if errors:
        return errors
    errors += _deadline_errors(
        after.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
    )
    errors += _toleration_errors(after.get("tolerations") or [], before.get("tolerations") or [])
    errors += _gate_errors(after, before)
    free = list(FREE)
    if internal and not before.get("nodeName"):
        free.append("nodeName")
    if before.get("schedulingGates"):
        errors += _node_errors(after, before)
        after, before = _without_nodes(after), _without_nodes(before)
    period, wanted = (spec.get("terminationGracePeriodSeconds", 0) for spec in (before, after))
    kept = wanted == period or (period < 0 and wanted == 1)
    if not kept or _comparable(after, free) != _comparable(before, free):
        errors.append(forbidden("spec", UPDATE_MESSAGE))
    return errors


def _comparable(spec: Object, free: list[str]) -> Object:
    """Return the spec without what may change."""
    made = {key: value for key, value in spec.items() if key not in free}
    for group in ("containers", "initContainers"):
        if group in made:
            made[group] = [{**container, "image": ""} for container in made[group]]
    return made


def _deadline_errors(after: int | None, before: int | None) -> list[FieldError]:
    path = "spec.activeDeadlineSeconds"
    if before is None or after == before:
        return []
    if after is None:
        why = "must not update from a positive integer to nil value"
        return [invalid(path, None, why)]
    if after > before:
        return [invalid(path, after, "must be less than or equal to previous value")]
    return []


def _toleration_errors(after: list[Object], before: list[Object]) -> list[FieldError]:
    def lasting(toleration: Object) -> Object:
        return {key: toleration[key] for key in toleration if key != "tolerationSeconds"}

    held = [lasting(toleration) for toleration in after]
    if all(lasting(toleration) in held for toleration in before):
        return []
    why = "existing toleration can not be modified except its tolerationSeconds"
    return [forbidden("spec.tolerations", why)]


def _gate_errors(after: Object, before: Object) -> list[FieldError]:
    """Check that gates are only taken away."""
    old = [gate["name"] for gate in before.get("schedulingGates") or ()]
    return [
        forbidden(
            "spec.schedulingGates",
            f"only deletion is allowed, but found new scheduling gate '{gate['name']}'",
        )
        for gate in after.get("schedulingGates") or ()
        if gate["name"] not in old
    ]


def _node_errors(after: Object, before: Object) -> list[FieldError]:
    """Check that a gated pod's nodes only become fewer (KEP-3838)."""
    errors = []
    wanted, had = after.get("nodeSelector") or {}, before.get("nodeSelector") or {}
    if any(wanted.get(key) != value for key, value in had.items()):
        why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        errors.append(invalid("spec.nodeSelector", wanted, why))
    new, old = _node_terms(after), _node_terms(before)
    path = f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms"
    if old and len(new) != len(old):
        why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        return [*errors, invalid(path, new, why)]
    why = "only additions are allowed (no mutations or deletions)"
    return errors + [
        invalid(f"{path}[{number}]", term, why)
        for number, (term, was) in enumerate(zip(new, old, strict=False))
        if not _is_narrower(term, was)
    ]


def _node_terms(spec: Object) -> list[Object]:
    """Return the terms of the required node affinity: a node has to match one of them."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    return (affinity.get(REQUIRED) or {}).get("nodeSelectorTerms") or []


def _is_narrower(term: Object, was: Object) -> bool:
    """Say whether a term only got more requirements, behind its own.

    An empty one, which matches nothing, stays empty.
    """
    fields = ("matchExpressions", "matchFields")
    if not any(was.get(field) for field in fields):
        return not any(term.get(field) for field in fields)
    return all(
        (term.get(field) or [])[: len(was.get(field) or ())] == (was.get(field) or [])
        for field in fields
    )


def _without_nodes(spec: Object) -> Object:
    """Return the spec of a pod without what says on which nodes it may run."""
    made = {key: value for key, value in spec.items() if key not in ("nodeSelector", "affinity")}
    affinity = spec.get("affinity") or {}
    if others := {key: value for key, value in affinity.items() if key != "nodeAffinity"}:
        made["affinity"] = others
    return made


def ephemeral_errors(new: Object, old: Object) -> list[FieldError]:
    """Return what is wrong with the ephemeral containers of a pod (they can only be added)."""
    after = new["spec"].get("ephemeralContainers") or []
    before = old["spec"].get("ephemeralContainers") or []
    errors = spec_errors(new["spec"], "spec")
    by_name = {container.get("name"): container for container in after}
    for container in before:
        held = by_name.get(container["name"])
        if held is None:
            why = f"existing ephemeral containers {container['name']!r} may not be removed\n"
            errors.append(forbidden("spec.ephemeralContainers", why.replace("'", '"')))
        elif held != container:
            why = f"existing ephemeral containers {container['name']!r} may not be changed\n"
            errors.append(forbidden("spec.ephemeralContainers", why.replace("'", '"')))
    names_of_others = {
        container["name"]
        for group in ("containers", "initContainers")
        for container in new["spec"].get(group) or ()
    }
    for number, container in each(after, errors):
        target = container.get("targetContainerName")
        if target and target not in names_of_others:
            path = f"spec.ephemeralContainers[{number}].targetContainerName"
            errors.append(missing(path, target))
    return errors
