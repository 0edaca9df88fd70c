"""The scale subresource: the one number of a workload, as ``autoscaling/v1`` Scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import statuses
from k8slab.objects import selectortext

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.objects.meta import Object

_COPIED = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(kind: Kind, obj: Object, *, to_change: bool = False) -> Object:
    """Return the Scale of a workload, or of a custom resource that has one, or may get one."""
    if kind.custom:
        return {**_head(obj), **kind.custom.scale_of(obj, to_change=to_change)}
    status: dict = {"replicas": obj.get("status", {}).get("replicas", 0)}
    if selector := selectortext.written(obj["spec"].get("selector") or {}):
        status["selector"] = selector
    return {**_head(obj), "spec": {"replicas": obj["spec"].get("replicas", 0)}, "status": status}


def _head(obj: Object) -> Object:
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: obj["metadata"][key] for key in _COPIED if key in obj["metadata"]},
    }


def with_replicas(kind: Kind, obj: Object, wanted: Object) -> Object:
    """Return the workload with the replicas, and the resourceVersion if given, of a Scale."""
    replicas = (wanted.get("spec") or {}).get("replicas", 0)
    name = obj["metadata"]["name"]
    if replicas < 0:
        error = statuses.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise statuses.invalid_object("Scale", "autoscaling", name, [error])
    sent = wanted.get("metadata") or {}
    version = sent.get("resourceVersion") or obj["metadata"]["resourceVersion"]
    metadata = {**obj["metadata"], "resourceVersion": version}
    if kind.custom:
        return {**kind.custom.with_replicas(obj, replicas), "metadata": metadata}
    return {**obj, "metadata": metadata, "spec": {**obj["spec"], "replicas": replicas}}
