"""Rows of kinds that a cluster seldom has: CronJob, budgets, ReplicationController, volumes.

Source: ``pkg/printers/internalversion`` of kube-apiserver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver.printtexts import NONE, UNKNOWN, age, map_text, since

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.objects.meta import Object

UNSET = "<unset>"

_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _containers(template: Object) -> list[str]:
    containers = (template.get("spec") or {}).get("containers") or []
    names = ",".join(container.get("name", "") for container in containers)
    return [names, ",".join(container.get("image", "") for container in containers)]


def _cron_job(obj: Object) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    last = status.get("lastScheduleTime")
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    labels = (job.get("selector") or {}).get("matchLabels")
    return [
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        "True" if spec.get("suspend") else "False",
        len(status.get("active") or ()),
        since(last) if last else NONE,
        age(obj),
        *_containers(job.get("template") or {}),
        map_text(labels),
    ]


def _replication_controller(obj: Object) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(obj),
        *_containers(spec.get("template") or {}),
        map_text(spec.get("selector")),
    ]


def _pod_template(obj: Object) -> list[Any]:
    template = obj.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels")
    return [*_containers(template), map_text(labels)]


def _disruption_budget(obj: Object) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    bounds = [str(spec.get(field, "N/A")) for field in ("minAvailable", "maxUnavailable")]
    return [*bounds, status.get("disruptionsAllowed", 0), age(obj)]


def _modes(spec: Object) -> str:
    return ",".join(_MODES.get(mode, mode) for mode in spec.get("accessModes") or ())


def _claim(obj: Object) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    bound = bool(spec.get("volumeName"))
    return [
        status.get("phase", ""),
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "") if bound else "",
        _modes(status) if bound else "",
        spec.get("storageClassName") or "",
        spec.get("volumeAttributesClassName") or UNSET,
        age(obj),
        spec.get("volumeMode") or UNSET,
    ]


def _volume(obj: Object) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    claim = spec.get("claimRef") or {}
    return [
        (spec.get("capacity") or {}).get("storage", UNKNOWN),
        _modes(spec),
        spec.get("persistentVolumeReclaimPolicy", ""),
        status.get("phase", ""),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        spec.get("storageClassName") or "",
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason") or "",
        age(obj),
        spec.get("volumeMode") or UNSET,
    ]


_WORKLOAD = ("+Containers", "+Images", "+Selector")


def _webhooks(obj: Object) -> list[Any]:
    return [len(obj.get("webhooks") or ()), age(obj)]


def _definition(obj: Object) -> list[Any]:
    spec = obj.get("spec") or {}
    names = spec.get("names") or {}
    served = [
        version["name"] + ("(storage)" if version.get("storage") else "")
        for version in spec.get("versions") or ()
        if version.get("served")
    ]
    conditions = (obj.get("status") or {}).get("conditions") or ()
    told = {(one.get("type"), one.get("status")) for one in conditions}
    established = ("Established", "True") in told
    return [
        spec.get("scope", ""),
        ",".join(sorted(served)),
        obj["metadata"].get("creationTimestamp", ""),
        spec.get("group", ""),
        names.get("kind", ""),
        ",".join(names.get("shortNames") or ()),
        established,
    ]


ROWS: dict[str, tuple[tuple[str, ...], Callable[[Object], list[Any]]]] = {
    "customresourcedefinitions.apiextensions.k8s.io": (
        ("Scope", "Versions", "Created At", "+Group", "+Kind", "+ShortNames", "+Established"),
        _definition,
    ),
    "cronjobs.batch": (
        ("Schedule", "Timezone", "Suspend", "Active", "Last Schedule", "Age", *_WORKLOAD),
        _cron_job,
    ),
    "replicationcontrollers": (
        ("Desired", "Current", "Ready", "Age", *_WORKLOAD),
        _replication_controller,
    ),
    "podtemplates": (("Containers", "Images", "Pod Labels"), _pod_template),
    "poddisruptionbudgets.policy": (
        ("Min Available", "Max Unavailable", "Allowed Disruptions", "Age"),
        _disruption_budget,
    ),
    "persistentvolumeclaims": (
        (
            "Status",
            "Volume",
            "Capacity",
            "Access Modes",
            "StorageClass",
            "VolumeAttributesClass",
            "Age",
            "+VolumeMode",
        ),
        _claim,
    ),
    "persistentvolumes": (
        (
            "Capacity",
            "Access Modes",
            "Reclaim Policy",
            "Status",
            "Claim",
            "StorageClass",
            "VolumeAttributesClass",
            "Reason",
            "Age",
            "+VolumeMode",
        ),
        _volume,
    ),
    **{
        f"{word}webhookconfigurations.admissionregistration.k8s.io": (
            ("Webhooks", "Age"),
            _webhooks,
        )
        for word in ("mutating", "validating")
    },
}
"""By resource: the columns after the name, and what makes their cells."""
