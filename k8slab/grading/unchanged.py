"""What an answer must leave alone: everything of the set-up that the exercise does not release.

`may_change` lists patterns RESOURCE/NAME, for example ``networkpolicies.networking.k8s.io/*``.
Every other object of the set-up must still hold what its manifest says (fields that the API
added do not count), and nothing of these kinds may have been added.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from k8slab.grading.result import Counterexample, Finding, Status
from k8slab.objects import meta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.grading.context import Context
    from k8slab.objects.meta import Object

WATCHED = {
    "Pod": "pods",
    "Service": "services",
    "ConfigMap": "configmaps",
    "Deployment": "deployments.apps",
    "StatefulSet": "statefulsets.apps",
    "DaemonSet": "daemonsets.apps",
    "NetworkPolicy": "networkpolicies.networking.k8s.io",
}
"""The kinds that a set-up is made of, and under which resource they are found."""

CLUSTERS_OWN = frozenset({"kube-root-ca.crt"})
"""What a cluster puts into every namespace by itself."""


def check_unchanged(context: Context, may_change: Sequence[str]) -> Finding:
    """Compare everything that `may_change` does not release with the set-up."""
    kept = {_pattern(obj): obj for obj in context.setup if not _released(_pattern(obj), may_change)}
    for pattern, wanted in kept.items():
        resource = WATCHED.get(wanted["kind"])
        if resource is None:
            continue
        found = context.cluster.get(resource, meta.name_of(wanted), meta.namespace_of(wanted))
        if found is None:
            return _failed(pattern, "to be there", "it is gone", context)
        if where := difference(_own_fields(wanted), found):
            return _failed(pattern, "as in the set-up", f"{where} was changed", context)
    if added := _added(context, may_change):
        return _failed(added, "not to be there", "it was added", context)
    return Finding("nothing else changed", Status.PASSED)


def _failed(pattern: str, wanted: str, seen: str, context: Context) -> Finding:
    resource, _, name = pattern.partition("/")
    command = f"kubectl -n {context.namespace} get {resource} {name} -o yaml"
    lines = (f"{pattern}: {seen}, but this exercise is about something else",)
    example = Counterexample(pattern, wanted, seen, replay=command)
    return Finding("nothing else changed", Status.FAILED, lines, example)


def _pattern(obj: Object) -> str:
    return f"{WATCHED.get(obj['kind'], obj['kind'].lower())}/{meta.name_of(obj)}"


def _released(pattern: str, may_change: Sequence[str]) -> bool:
    return any(fnmatchcase(pattern, wish) for wish in may_change)


def _own_fields(obj: Object) -> Object:
    metadata = {key: obj["metadata"][key] for key in ("labels",) if key in obj["metadata"]}
    rest = {key: obj[key] for key in obj if key not in ("metadata", "apiVersion", "kind", "status")}
    return {**rest, "metadata": metadata}


def _added(context: Context, may_change: Sequence[str]) -> str:
    planned = {_pattern(obj) for obj in context.setup}
    for resource in WATCHED.values():
        for obj in context.cluster.list(resource, context.namespace):
            pattern = f"{resource}/{meta.name_of(obj)}"
            ours = (
                pattern in planned or meta.controller_of(obj) or meta.name_of(obj) in CLUSTERS_OWN
            )
            if not ours and not _released(pattern, may_change):
                return pattern
    return ""


def difference(wanted: Any, found: Any, path: str = "") -> str:
    """Return where `found` lacks something of `wanted`; empty when it has all of it."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return path or "it"
        steps = (
            difference(value, found.get(key), f"{path}.{key}" if path else key)
            for key, value in wanted.items()
        )
        return next((step for step in steps if step), "")
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            return path
        pairs = enumerate(zip(wanted, found, strict=True))
        steps = (difference(one, other, f"{path}[{n}]") for n, (one, other) in pairs)
        return next((step for step in steps if step), "")
    return "" if wanted == found or wanted is None else path
