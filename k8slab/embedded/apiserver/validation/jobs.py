"""Check Jobs and CronJobs. Source: ``pkg/apis/batch/validation``, ``pkg/registry/batch/job``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver.statuses import FieldError, invalid, not_supported, required
from k8slab.embedded.apiserver.validation import job_policies, names
from k8slab.embedded.apiserver.validation.common import (
    IMMUTABLE,
    at_least_zero,
    one_of,
    selector_errors,
)
from k8slab.embedded.apiserver.validation.pods import template_errors
from k8slab.embedded.apiserver.validation.seldom import prefixed_path_errors
from k8slab.errors import UsageError
from k8slab.objects import selectors

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

CRON_NAME_LIMIT = 52
"""A CronJob's Jobs have eleven characters more in their names, of 63."""

MOST_PARALLEL = 100_000
"""Pods of an Indexed Job at a time: ``completedIndexes`` may have a gap for each of them."""

MANY_COMPLETIONS = 100_000
MOST_PARALLEL_OF_MANY = 10_000
"""Where each of more than `MANY_COMPLETIONS` numbers has a back-off limit of its own."""

_COUNTS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_FIXED = (
    "selector",
    "completionMode",
    "podFailurePolicy",
    "backoffLimitPerIndex",
    "managedBy",
    "successPolicy",
)
_DIRECTIVES = ("nodeSelector", "tolerations", "schedulingGates")
"""What says where pods go, besides the node affinity."""


def job_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return what is wrong with a Job."""
    spec = new["spec"]
    errors = _spec_errors(spec)
    selector, template = spec.get("selector"), spec.get("template") or {}
    if selector is None:
        errors.append(required("spec.selector"))
    errors += selector_errors(selector, "spec.selector")
    labels = (template.get("metadata") or {}).get("labels") or {}
    chosen = None if errors else selectors.from_object(selector)
    if chosen is not None and not chosen.matches(labels):
        path = "spec.template.metadata.labels"
        errors.append(invalid(path, labels, "`selector` does not match template `labels`"))
    if old is not None:
        errors += _change_errors(spec, old)
    return [*errors, *_host_name_errors(new)]


def _spec_errors(spec: Object) -> list[FieldError]:
    """Check what the Jobs of a CronJob have to fulfil as well."""
    errors = []
    for field in _COUNTS:
        errors += at_least_zero(spec.get(field), f"spec.{field}")
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        errors.append(required("spec.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    mode = spec.get("completionMode")
    if mode is not None and mode not in ("Indexed", "NonIndexed"):
        errors.append(not_supported("spec.completionMode", mode, ["NonIndexed", "Indexed"]))
    errors += _indexed_errors(spec) if mode == "Indexed" else _plain_errors(spec)
    errors += job_policies.errors(spec)
    if manager := spec.get("managedBy"):
        errors += prefixed_path_errors(manager, "spec.managedBy")
    template = spec.get("template") or {}
    errors += template_errors(template, "spec.template")
    return [*errors, *_restart_errors(spec, (template.get("spec") or {}).get("restartPolicy"))]


def _indexed_errors(spec: Object) -> list[FieldError]:
    errors = []
    completions, parallelism = spec.get("completions"), spec.get("parallelism") or 0
    if completions is None:
        errors.append(required("spec.completions", "when completion mode is Indexed"))
    if parallelism > MOST_PARALLEL:
        why = f"must be less than or equal to {MOST_PARALLEL} when completion mode is Indexed"
        errors.append(invalid("spec.parallelism", parallelism, why))
    allowed = spec.get("maxFailedIndexes")
    path = "spec.maxFailedIndexes"
    if allowed is not None and completions is not None and allowed > completions:
        errors.append(invalid(path, allowed, "must be less than or equal to completions"))
    if allowed is not None and allowed > MOST_PARALLEL:
        errors.append(invalid(path, allowed, f"must be less than or equal to {MOST_PARALLEL}"))
    if (completions or 0) > MANY_COMPLETIONS and spec.get("backoffLimitPerIndex") is not None:
        most = f"must be less than or equal to {MOST_PARALLEL_OF_MANY} when completions are above "
        most += f"{MANY_COMPLETIONS} and used with backoff limit per index"
        if allowed is None:
            why = f"must be specified when completions is above {MANY_COMPLETIONS}"
            errors.append(required(path, why))
        if parallelism > MOST_PARALLEL_OF_MANY:
            errors.append(invalid("spec.parallelism", parallelism, most))
        if (allowed or 0) > MOST_PARALLEL_OF_MANY:
            errors.append(invalid(path, allowed, most))
    return errors


def _plain_errors(spec: Object) -> list[FieldError]:
    return [
        invalid(f"spec.{field}", spec[field], "requires indexed completion mode")
        for field in ("backoffLimitPerIndex", "maxFailedIndexes", "successPolicy")
        if spec.get(field) is not None
    ]


def _restart_errors(spec: Object, policy: str | None) -> list[FieldError]:
    path, known = "spec.template.spec.restartPolicy", ["OnFailure", "Never"]
    if policy in (None, "", "Always"):  # the default of a template, which a Job cannot have
        return [required(path, 'valid values: "OnFailure", "Never"')]
    if policy not in known:
        return [not_supported(path, policy, known)]
    if policy != "Never" and spec.get("podFailurePolicy") is not None:
        why = 'only "Never" is supported when podFailurePolicy is specified'
        return [invalid(path, policy, why)]
    return []


def _host_name_errors(new: Object) -> list[FieldError]:
    """Check that the last pod of an Indexed Job can be called after the Job and its number."""
    spec, name = new["spec"], new["metadata"].get("name") or ""
    completions = spec.get("completions") or 0
    last = f"{name}-{completions - 1}"
    if spec.get("completionMode") != "Indexed" or completions <= 0 or not names.dns_label(last):
        return []
    why = f"will not able to create pod with invalid DNS label: {last}"
    return [invalid("metadata.name", name, why)]


def _change_errors(spec: Object, old: Object) -> list[FieldError]:
    """Check what may be changed of a Job: of its pods' template little, and only while it rests."""
    before = old["spec"]
    errors = []
    completions = spec.get("completions")
    if completions != before.get("completions"):
        path = "spec.completions"
        if spec.get("completionMode") != "Indexed":
            errors.append(invalid(path, completions, IMMUTABLE))
        elif completions is not None and completions != spec.get("parallelism"):
            why = "can only be modified in tandem with spec.parallelism"
            errors.append(invalid(path, completions, why))
    template, known = spec.get("template") or {}, before.get("template") or {}
    if not _rests(old):
        errors += _unchanged(template, known, "spec.template")
    else:
        errors += _unchanged(
            template.get("spec"), _with_directives(known["spec"], template), "spec.template.spec"
        )
    for field in _FIXED:
        errors += _unchanged(spec.get(field), before.get(field), f"spec.{field}")
    return errors


def _unchanged(new: Any, old: Any, path: str) -> list[FieldError]:
    return [] if new == old else [invalid(path, new, IMMUTABLE)]


def _rests(job: Object) -> bool:
    """Say whether a Job is suspended and has no pods (shouldAllowMutablePodTemplate)."""
    status = job.get("status") or {}
    suspended = any(
        c["type"] == "Suspended" and c["status"] == "True" for c in status.get("conditions") or ()
    )
    begun = bool(status.get("startTime")) and not suspended
    return bool(job["spec"].get("suspend")) and not begun and not status.get("active")


def _with_directives(old: Object, template: Object) -> Object:
    """Return the old pods' spec with all from the new one that may change while a Job rests."""
    new = template.get("spec") or {}
    made = {key: value for key, value in old.items() if key not in _DIRECTIVES}
    made.update((key, new[key]) for key in _DIRECTIVES if key in new)
    affinity = {**(old.get("affinity") or {}), "nodeAffinity": None}
    affinity["nodeAffinity"] = (new.get("affinity") or {}).get("nodeAffinity")
    made["affinity"] = {key: value for key, value in affinity.items() if value is not None}
    if not made["affinity"] and not new.get("affinity"):
        made.pop("affinity")
        if "affinity" in new:
            made["affinity"] = new["affinity"]
    for field in ("containers", "initContainers"):
        ours, theirs = made.get(field) or [], new.get(field) or []
        if field in made and len(ours) == len(theirs):
            made[field] = [_with_resources(*pair) for pair in zip(ours, theirs, strict=True)]
    return made


def _with_resources(old: Object, new: Object) -> Object:
    if old.get("name") != new.get("name"):
        return old
    made = {key: value for key, value in old.items() if key != "resources"}
    return {**made, "resources": new["resources"]} if "resources" in new else made


def cron_job_errors(new: Object, old: Object | None) -> list[FieldError]:
    """Return what is wrong with a CronJob."""
    spec = new["spec"]
    errors = _schedule_errors(spec)
    for field in (
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    ):
        errors += at_least_zero(spec.get(field), f"spec.{field}")
    policies = ("Allow", "Forbid", "Replace")
    errors += one_of(spec.get("concurrencyPolicy"), policies, "spec.concurrencyPolicy")
    if old is None and len(new["metadata"].get("name") or "") > CRON_NAME_LIMIT:
        why = "must be no more than 52 characters"
        errors.append(invalid("metadata.name", new["metadata"]["name"], why))
    return [*errors, *_job_template_errors(spec["jobTemplate"]["spec"])]


def _job_template_errors(spec: Object) -> list[FieldError]:
    found = _spec_errors(spec)
    if spec.get("selector") is not None:
        why = "`selector` will be auto-generated"
        found.append(invalid("spec.selector", spec["selector"], why))
    if spec.get("manualSelector"):
        found.append(not_supported("spec.manualSelector", True, ["nil", "false"]))
    return [replace(error, path=f"spec.jobTemplate.{error.path}") for error in found]


def _schedule_errors(spec: Object) -> list[FieldError]:
    from k8slab.objects import schedules  # noqa: PLC0415  nothing but a CronJob needs it

    schedule, zone = spec.get("schedule") or "", spec.get("timeZone")
    if not schedule:
        return [required("spec.schedule")]
    errors: list[FieldError] = []
    if "TZ" in schedule:
        why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        errors.append(invalid("spec.schedule", schedule, why))
    else:
        try:
            schedules.parse(schedule)
        except UsageError as error:
            errors.append(invalid("spec.schedule", schedule, error.message))
    if zone is not None and not _is_time_zone(zone):
        errors.append(invalid("spec.timeZone", zone, f"unknown time zone {zone}"))
    return errors


def _is_time_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo  # noqa: PLC0415  nothing but a CronJob needs it

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # no such file; a path upwards; a directory
        return False
    return True
