"""Check what keeps pods running, and budgets.

Source: ``validation`` in ``pkg/apis/apps``, ``core`` and ``policy``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver.statuses import (
    FieldError,
    forbidden,
    invalid,
    not_supported,
    required,
)
from k8slab.embedded.apiserver.validation import names
from k8slab.embedded.apiserver.validation.common import (
    IMMUTABLE,
    at_least_zero,
    count_or_percent_errors,
    one_of,
    selector_errors,
)
from k8slab.embedded.apiserver.validation.pods import template_errors
from k8slab.objects import selectors

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

_STATEFUL_FIXED = ("selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy")


def _common(new: Object, old: Object | None, word: str) -> list[FieldError]:
    spec = new["spec"]
    errors = at_least_zero(spec.get("replicas"), "spec.replicas")
    errors += at_least_zero(spec.get("minReadySeconds"), "spec.minReadySeconds")
    errors += at_least_zero(spec.get("revisionHistoryLimit"), "spec.revisionHistoryLimit")
    errors += _selector(spec, word)
    template = spec.get("template") or {}
    errors += template_errors(template, "spec.template")
    policy = (template.get("spec") or {}).get("restartPolicy")
    if policy and policy != "Always":
        path = "spec.template.spec.restartPolicy"
        errors.append(not_supported(path, policy, ["Always"]))
    if old is not None and spec.get("selector") != old["spec"].get("selector"):
        errors.append(invalid("spec.selector", spec.get("selector"), IMMUTABLE))
    return errors


def _selector(spec: Object, word: str) -> list[FieldError]:
    selector = spec.get("selector")
    if selector is None:
        return [required("spec.selector")]
    errors = selector_errors(selector, "spec.selector")
    if errors:
        return errors
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        return [invalid("spec.selector", selector, f"empty selector is invalid for {word}")]
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    compiled = selectors.from_object(selector)
    if compiled and not compiled.matches(labels):
        path = "spec.template.metadata.labels"
        return [invalid(path, labels, "`selector` does not match template `labels`")]
    return []


def deployment_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return what is wrong with a Deployment."""
    spec = new["spec"]
    errors = _common(new, old, "deployment")
    strategy = spec.get("strategy") or {}
    path = "spec.strategy"
    errors += one_of(strategy.get("type"), ("Recreate", "RollingUpdate"), f"{path}.type")
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate" and rolling is not None:
        why = "may not be specified when strategy `type` is 'Recreate'"
        errors.append(forbidden(f"{path}.rollingUpdate", why))
    elif strategy.get("type") == "RollingUpdate":
        errors += _rolling_errors(rolling or {}, f"{path}.rollingUpdate")
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
    if deadline is not None and deadline <= ready:
        why = "must be greater than minReadySeconds"
        errors.append(invalid("spec.progressDeadlineSeconds", deadline, why))
    return errors


def _rolling_errors(rolling: Object, path: str) -> list[FieldError]:
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    errors = count_or_percent_errors(unavailable, f"{path}.maxUnavailable")
    errors += count_or_percent_errors(surge, f"{path}.maxSurge")
    if unavailable in (0, "0%") and surge in (0, "0%"):
        why = "may not be 0 when `maxSurge` is 0"
        errors.append(invalid(f"{path}.maxUnavailable", unavailable, why))
    return [*errors, *_share_errors(unavailable, f"{path}.maxUnavailable")]


def replica_set_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return what is wrong with a ReplicaSet."""
    return _common(new, old, "deployment")


def daemon_set_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return what is wrong with a DaemonSet."""
    errors = _common(new, old, "daemonset")
    strategy = new["spec"].get("updateStrategy") or {}
    types = ("OnDelete", "RollingUpdate")
    errors += one_of(strategy.get("type"), types, "spec.updateStrategy.type")
    if strategy.get("type") == "RollingUpdate":
        path = "spec.updateStrategy.rollingUpdate"
        errors += _daemon_rolling_errors(strategy.get("rollingUpdate") or {}, path)
    return errors


def _daemon_rolling_errors(rolling: Object, path: str) -> list[FieldError]:
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    errors = count_or_percent_errors(unavailable, f"{path}.maxUnavailable")
    errors += count_or_percent_errors(surge, f"{path}.maxSurge")
    some, more = (value not in (0, "0%", None) for value in (unavailable, surge))
    if some and more:
        why = "may not be set when maxUnavailable is non-zero"
        errors.append(invalid(f"{path}.maxSurge", surge, why))
    elif not some and not more:
        errors.append(required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is not set"))
    return errors


def stateful_set_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return what is wrong with a StatefulSet."""
    spec = new["spec"]
    errors = _common(new, None, "statefulset")
    types = ("OnDelete", "RollingUpdate")
    errors += one_of(
        (spec.get("updateStrategy") or {}).get("type"), types, "spec.updateStrategy.type"
    )
    errors += _stateful_rolling_errors(spec.get("updateStrategy") or {}, "spec.updateStrategy")
    policies = ("OrderedReady", "Parallel")
    errors += one_of(spec.get("podManagementPolicy"), policies, "spec.podManagementPolicy")
    if name := spec.get("serviceName"):
        errors += [invalid("spec.serviceName", name, why) for why in names.dns_label(name)]
    start = (spec.get("ordinals") or {}).get("start")
    errors += at_least_zero(start, "spec.ordinals.start")
    if old is None:
        return errors
    return errors + [
        invalid(f"spec.{field}", spec.get(field), IMMUTABLE)
        for field in _STATEFUL_FIXED
        if spec.get(field) != old["spec"].get(field)
    ]


def _stateful_rolling_errors(strategy: Object, path: str) -> list[FieldError]:
    rolling = strategy.get("rollingUpdate")
    if rolling is None:
        return []
    if strategy.get("type") == "OnDelete":
        why = "only allowed for updateStrategy 'RollingUpdate'"
        return [invalid(f"{path}.rollingUpdate", rolling, why)]
    most, where = rolling.get("maxUnavailable"), f"{path}.rollingUpdate.maxUnavailable"
    errors = at_least_zero(rolling.get("partition"), f"{path}.rollingUpdate.partition")
    errors += count_or_percent_errors(most, where)
    if most in (0, "0%"):
        errors.append(invalid(where, most, "cannot be 0"))
    return [*errors, *_share_errors(most, where)]


def _share_errors(value: Any, path: str) -> list[FieldError]:
    """Check that a percentage is one of what there is."""
    share = value.removesuffix("%") if isinstance(value, str) else ""
    if share.isdigit() and len(share.lstrip("0")) > 2 and share.lstrip("0") != "100":
        return [invalid(path, value, "must not be greater than 100%")]
    return []


def replication_controller_errors(new: Object, _old: Object | None) -> list[FieldError]:
    """Return what is wrong with a ReplicationController."""
    spec = new["spec"]
    errors = at_least_zero(spec.get("replicas"), "spec.replicas")
    errors += at_least_zero(spec.get("minReadySeconds"), "spec.minReadySeconds")
    selector, template = spec.get("selector") or {}, spec.get("template")
    if not selector:
        errors.append(required("spec.selector"))
    if template is None:
        return [*errors, required("spec.template")]
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not selector.items() <= labels.items():
        path = "spec.template.metadata.labels"
        errors.append(invalid(path, labels, "`selector` does not match template `labels`"))
    return [*errors, *template_errors(template, "spec.template")]


def disruption_budget_errors(new: Object, _old: Object | None) -> list[FieldError]:
    """Return what is wrong with a PodDisruptionBudget."""
    spec = new.get("spec") or {}
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    errors = count_or_percent_errors(least, "spec.minAvailable")
    errors += count_or_percent_errors(most, "spec.maxUnavailable")
    errors += _share_errors(least, "spec.minAvailable")
    errors += _share_errors(most, "spec.maxUnavailable")
    if least is not None and most is not None:
        why = "minAvailable and maxUnavailable cannot be both set"
        errors.append(invalid("spec", spec, why))
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None:
        path = "spec.unhealthyPodEvictionPolicy"
        errors += one_of(policy, ("AlwaysAllow", "IfHealthyBudget"), path)
    return [*errors, *selector_errors(spec.get("selector"), "spec.selector")]
