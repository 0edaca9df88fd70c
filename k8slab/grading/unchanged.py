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
from k8slab.probes.targets import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.grading.context import Context
    from k8slab.objects.meta import Object

WATCHED = {
    "Namespace": "namespaces",
    "Pod": "pods",
    "Service": "services",
    "ConfigMap": "configmaps",
    "Deployment": "deployments.apps",
    "StatefulSet": "statefulsets.apps",
    "DaemonSet": "daemonsets.apps",
    "NetworkPolicy": "networkpolicies.networking.k8s.io",
    "ClusterNetworkPolicy": "clusternetworkpolicies.policy.networking.k8s.io",
    "ValidatingWebhookConfiguration": (
        "validatingwebhookconfigurations.admissionregistration.k8s.io"
    ),
}
"""The kinds that a set-up is made of, and under which resource they are found."""

CLUSTERS_OWN = frozenset({"kube-root-ca.crt"})
"""What a cluster puts into every namespace by itself."""


def check_unchanged(
    context: Context, may_change: Sequence[str], there: Snapshot | None = None
) -> Finding:
    """Compare everything that `may_change` does not release with the set-up."""
    kept = [obj for obj in _planned(context) if not released(pattern_of(obj), may_change)]
    there = there or Snapshot(context.cluster)
    for wanted in kept:
        resource = WATCHED.get(wanted["kind"])
        if resource is None:
            continue
        found = _find(there, resource, wanted)
        if found is None:
            return _failed(wanted, "to be there", "it is gone", context)
        if where := difference(_own_fields(wanted), found) or _more(wanted, found):
            return _failed(wanted, "as in the set-up", f"{where} was changed", context)
    if added := _added(context, there, may_change):
        return _failed(added, "not to be there", "it was added", context)
    return Finding("nothing else changed", Status.PASSED)


def _planned(context: Context) -> list[Object]:
    """Return the objects of the set-up, with the namespaces that it makes by itself."""
    given = {meta.name_of(obj) for obj in context.setup if obj["kind"] == "Namespace"}
    implied = [
        {"kind": "Namespace", "metadata": {"name": name}}
        for name in context.namespaces
        if name not in given
    ]
    return [*implied, *context.setup]


def _failed(obj: Object, wanted: str, seen: str, context: Context) -> Finding:
    pattern, space = pattern_of(obj), meta.namespace_of(obj)
    resource, _, name = pattern.partition("/")
    where = f"-n {space} " if space and obj["kind"] != "Namespace" else ""
    command = f"kubectl {where}get {resource} {name} -o yaml"
    if space not in ("", context.namespace):
        pattern += f" in the namespace {space}"
    lines = (f"{pattern}: {seen}, but this exercise is about something else",)
    example = Counterexample(pattern, wanted, seen, replay=command)
    return Finding("nothing else changed", Status.FAILED, lines, example)


def pattern_of(obj: Object) -> str:
    """Return how `may_change` names an object: RESOURCE/NAME."""
    return f"{WATCHED.get(obj['kind'], obj['kind'].lower())}/{meta.name_of(obj)}"


def released(pattern: str, may_change: Sequence[str]) -> bool:
    """Say whether an answer may touch what this pattern names."""
    return any(fnmatchcase(pattern, wish) for wish in may_change)


def _own_fields(obj: Object) -> Object:
    metadata = {key: obj["metadata"][key] for key in ("labels",) if key in obj["metadata"]}
    rest = {key: obj[key] for key in obj if key not in ("metadata", "apiVersion", "kind", "status")}
    return {**rest, "metadata": metadata}


def _more(wanted: Object, found: Object) -> str:
    """Return where an object has more than its manifest, and that decides about flows.

    Elsewhere fields that the API added do not count; but a label more may be what a rule asks
    for, and a rule more opens a policy, without anything of the manifest being missing.
    """
    known = {} if wanted["kind"] != "Namespace" else NAMESPACE_LABELS
    labels = {key: v for key, v in meta.labels_of(found).items() if key not in known}
    own = {key: v for key, v in meta.labels_of(wanted).items() if key not in known}
    if labels != own:
        key = next(iter(sorted(labels.keys() ^ own.keys())), "")
        return f"metadata.labels.{key}" if key else "metadata.labels"
    if wanted["kind"] == "NetworkPolicy":
        return difference(found.get("spec"), _defaulted(wanted.get("spec") or {}), "spec")
    if wanted["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
        one, other = (obj["spec"]["template"].get("metadata") or {} for obj in (wanted, found))
        if (one.get("labels") or {}) != (other.get("labels") or {}):
            return "spec.template.metadata.labels"
    return ""


NAMESPACE_LABELS = frozenset({"kubernetes.io/metadata.name", "app.kubernetes.io/managed-by"})
"""What the API and the set-up put on every namespace."""


def _defaulted(spec: Object) -> Object:
    """Return a NetworkPolicy's spec with what the API fills in: protocols, policyTypes."""

    def rule(found: Object) -> Object:
        if not found.get("ports"):
            return found
        return {**found, "ports": [{"protocol": "TCP", **port} for port in found["ports"]]}

    rules = {
        section: [rule(one) for one in spec[section]]
        for section in ("ingress", "egress")
        if spec.get(section)
    }
    types = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    return {"policyTypes": types, **spec, **rules}


def _find(there: Snapshot, resource: str, wanted: Object) -> Object | None:
    """Look an object up in a list of all, which is asked for anyway."""
    space = "" if wanted["kind"] in CLUSTER_SCOPED else meta.namespace_of(wanted)
    return there.objects(resource, space).get(meta.name_of(wanted))


def _added(context: Context, there: Snapshot, may_change: Sequence[str]) -> Object | None:
    planned = {(pattern_of(obj), meta.namespace_of(obj)) for obj in context.setup}
    for kind, resource in WATCHED.items():
        for space in context.namespaces if kind not in CLUSTER_SCOPED else ():
            for obj in there.objects(resource, space).values():
                pattern = f"{resource}/{meta.name_of(obj)}"
                ours = (
                    (pattern, space) in planned
                    or meta.controller_of(obj)
                    or meta.name_of(obj) in CLUSTERS_OWN
                )
                if not ours and not released(pattern, may_change):
                    return {"kind": kind, **obj}
    return None


CLUSTER_SCOPED = frozenset({"Namespace", "ClusterNetworkPolicy", "ValidatingWebhookConfiguration"})
"""Other exercises on the same cluster have theirs: what was added cannot be told."""


API_ADDS = frozenset({"tolerations", "volumes", "volumeMounts"})
"""Lists of a pod to which admission appends: NoExecute tolerations, the account's token."""


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
        if isinstance(found, list) and path.rpartition(".")[2] in API_ADDS:
            found = found[: len(wanted)]
        if not isinstance(found, list) or len(found) != len(wanted):
            return path
        pairs = enumerate(zip(wanted, found, strict=True))
        steps = (difference(one, other, f"{path}[{n}]") for n, (one, other) in pairs)
        return next((step for step in steps if step), "")
    return "" if wanted == found or wanted is None else path
