"""Evictions: deletions that a PodDisruptionBudget may refuse for now.

A budget's status says how many pods may go. An eviction takes one off and notes the pod, so that
the next one knows before the controller has counted again. Source: ``registry/core/pod/storage``
(eviction.go) of kube-apiserver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import objectmeta, statuses
from k8slab.embedded.apiserver.api import INTERNAL, Writer
from k8slab.embedded.apiserver.disruption import disrupted
from k8slab.errors import ApiStatusError
from k8slab.objects import selectors
from k8slab.objects.meta import is_deleting, labels_of, name_of, namespace_of

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.api import Api
    from k8slab.objects.meta import Object

BUDGETS = "poddisruptionbudgets.policy"
PROCESSING_SECONDS = 10


def evict(api: Api, pod: Object, options: Object, writer: Writer = INTERNAL) -> Object:
    """Delete a pod unless a budget forbids it (429); returns its last form."""
    dry_run, preconditions = writer.dry_run, options.get("preconditions") or {}
    version = preconditions.get("resourceVersion") or ""
    uid = preconditions.get("uid") or ""
    objectmeta.check_owner(pod, uid=uid, version=version)
    taken = _ask_budget(api, pod)
    if taken and not dry_run:
        api.update_status(BUDGETS, taken)
    if not dry_run:
        target = disrupted(pod, "EvictionByEvictionAPI", "Eviction API: evicting")
        marked = api.update_status("pods", target)
        version = version and marked["metadata"]["resourceVersion"]
    return api.delete(
        "pods",
        name_of(pod),
        namespace_of(pod),
        grace=options.get("gracePeriodSeconds"),
        uid=uid,
        version=version,
        propagation=options.get("propagationPolicy") or "",
        writer=writer,
    )


def _ask_budget(api: Api, pod: Object) -> Object | None:
    """Return the pod's budget with this eviction in it; ``None`` when none minds."""
    phase = (pod.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed", "Pending") or is_deleting(pod):
        return None
    budgets = [b for b in api.list(BUDGETS, namespace_of(pod)) if _selects(b, pod)]
    if len(budgets) > 1:
        raise statuses.internal_error(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does "
            "not support."
        )
    if not budgets or _is_unhealthy_and_free(budgets[0], pod):
        return None
    return _one_less(budgets[0], name_of(pod))


def _selects(budget: Object, pod: Object) -> bool:
    selector = selectors.from_object((budget.get("spec") or {}).get("selector"))
    return selector is not None and selector.matches(labels_of(pod))


def _is_unhealthy_and_free(budget: Object, pod: Object) -> bool:
    """Say whether the pod may go since it is not ready (``unhealthyPodEvictionPolicy``)."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
        return False
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    desired = status.get("desiredHealthy", 0)
    return bool(desired > 0 and status.get("currentHealthy", 0) >= desired)


def _one_less(budget: Object, name: str) -> Object:
    status, word = budget.get("status") or {}, name_of(budget)
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 1):
        why = f"The disruption budget {word} is still being processed by the server."
        raise _too_many(why, PROCESSING_SECONDS)
    allowed = status.get("disruptionsAllowed", 0)
    if allowed < 1:
        raise _too_many(
            f"The disruption budget {word} needs {status.get('desiredHealthy', 0)} healthy pods "
            f"and has {status.get('currentHealthy', 0)} currently"
        )
    noted = {**(status.get("disruptedPods") or {}), name: objectmeta.now_text()}
    left = {**status, "disruptionsAllowed": allowed - 1, "disruptedPods": noted}
    return {**budget, "status": left}


def _too_many(why: str, seconds: int = 0) -> ApiStatusError:
    details: Object = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if seconds:
        details["retryAfterSeconds"] = seconds
    return ApiStatusError(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        code=429,
        reason="TooManyRequests",
        details=details,
    )
