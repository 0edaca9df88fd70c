"""The part of an object that people wrote, without what the cluster put in.

Every API server keeps, for each field, who set it (``metadata.managedFields``, KEP-555). The
fields of everybody but the cluster's own programs are what was typed: in a notebook, with
kubectl, with any other client. An object that nobody typed (a ReplicaSet's pod, a Service's
EndpointSlice) has none and is passed over.

A client that does not use server-side apply is recorded as the owner of defaults and of what
admission added too. Defaults do no harm: the next server fills in the same. What is good for
one cluster only (an allocated address, the node, the mount of a token) is cut out by name.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from k8slab.objects import meta

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8slab.objects.meta import Object

CLUSTERS_OWN = ("kube-", "kubelet", "kubelite", "k3s", "cloud-controller-manager", "calico")
"""How the names of field managers begin that are parts of a cluster.

k3s and MicroK8s (kubelite) run the controllers in one program, which goes by its own name.
"""

_NOISE = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/",
    "endpoints.kubernetes.io/",
    "kubernetes.io/metadata.name",
)
"""How labels and annotations begin that are a client's or controller's notes."""

TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  a path
_TOKEN_VOLUME = "kube-api-access-"  # noqa: S105  how the ServiceAccount admission names it
_DEFAULT_TOLERATIONS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_OF_ONE_CLUSTER = {
    "Pod": ("nodeName", "serviceAccount", "priority", "ephemeralContainers"),
    "Service": ("healthCheckNodePort",),
}


def authored(obj: Object) -> Object | None:
    """Return what people wrote of an object, or ``None`` when it is all the cluster's own."""
    entries = [entry for entry in _managed(obj) if _is_a_persons(entry)]
    if not entries:
        return None
    fields: dict[str, Any] = {}
    for entry in entries:
        fields = _merged(fields, entry.get("fieldsV1") or {})
    if not fields:
        return None
    found: Object = _extract(obj, fields)
    body = {key: found[key] for key in found if key not in ("metadata", "status")}
    metadata = found.get("metadata") or {}
    texts = {key: _without_noise(metadata.get(key) or {}) for key in ("labels", "annotations")}
    identity = {"name": meta.name_of(obj)}
    if space := meta.namespace_of(obj):
        identity["namespace"] = space
    cleaned = {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "metadata": identity | {key: value for key, value in texts.items() if value},
        **body,
    }
    return _portable(cleaned, entries)


def plain(obj: Object) -> Object:
    """Return an object without its version, status, and what says no more than its absence.

    A null is as good as nothing (API conventions, "Nulls"), and so is an empty mapping at the
    top, in the metadata, and in the fields of `_MAPPINGS`. Elsewhere it means something: a peer
    with ``namespaceSelector: {}`` is of every namespace, one without is of the policy's own.
    """
    body = {key: _pruned(obj[key]) for key in obj if key not in ("apiVersion", "status")}
    if isinstance(body.get("metadata"), dict):
        body["metadata"] = _filled(body["metadata"])
    return _filled(body)


_MAPPINGS = frozenset(
    {
        "labels", "annotations", "matchLabels", "nodeSelector", "resources", "limits", "requests",
        "securityContext", "conditions",
    }
)  # fmt: skip
"""Fields of the built-in kinds in which an empty mapping asks for nothing, as none at all."""


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _pruned(inner) for key, inner in value.items() if inner is not None}
        return {key: inner for key, inner in kept.items() if inner != {} or key not in _MAPPINGS}
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return value


def _filled(mapping: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if value not in ({}, None)}


def _managed(obj: Object) -> list[dict[str, Any]]:
    return (obj.get("metadata") or {}).get("managedFields") or []


def _is_a_persons(entry: dict[str, Any]) -> bool:
    manager = entry.get("manager") or ""
    return entry.get("subresource") != "status" and not manager.startswith(CLUSTERS_OWN)


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    keys = {**one, **other}
    return {key: _merged(one.get(key) or {}, other.get(key) or {}) for key in keys}


def _extract(value: Any, fields: dict[str, Any]) -> Any:
    """Return the part of a value that a set of fields names.

    ``f:NAME`` is a key of a mapping, ``k:{...}`` an element of a list by its keys, ``v:...``
    one by its value, ``.`` the thing itself; no fields at all mean all of it
    (structured-merge-diff, "fieldpath").
    """
    if not fields:
        return value
    if isinstance(value, dict):
        named = ((key[2:], sub) for key, sub in fields.items() if key.startswith("f:"))
        return {name: _extract(value[name], sub) for name, sub in named if name in value}
    if isinstance(value, list):
        return [part for item in value for part in _element(item, fields)]
    return value


def _element(item: Any, fields: dict[str, Any]) -> Iterator[Any]:
    for key, sub in fields.items():
        if key.startswith("k:") and isinstance(item, dict):
            identity = json.loads(key[2:])
            if all(item.get(name) == wanted for name, wanted in identity.items()):
                yield _extract(item, sub)
                return
        elif key.startswith("v:") and json.loads(key[2:]) == item:
            yield item
            return


def _without_noise(texts: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in texts.items() if not key.startswith(_NOISE)}


def _portable(obj: Object, entries: list[dict[str, Any]]) -> Object:
    """Cut out what belongs to one cluster: its nodes, its addresses, its tokens."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return obj
    spec = {key: spec[key] for key in spec if key not in _OF_ONE_CLUSTER.get(obj["kind"], ())}
    if obj["kind"] == "Pod":
        spec = _without_token(spec)
    if obj["kind"] == "Service" and not _chose_address(spec, entries):
        spec = {key: spec[key] for key in spec if key not in ("clusterIP", "clusterIPs")}
    return {**obj, "spec": spec}


def _without_token(spec: dict[str, Any]) -> dict[str, Any]:
    found = dict(spec)
    for name in ("containers", "initContainers"):
        if name in spec:
            found[name] = [_without_mount(container) for container in spec[name]]
    _keep(found, "volumes", lambda one: not str(one.get("name", "")).startswith(_TOKEN_VOLUME))
    _keep(found, "tolerations", lambda one: one.get("key") not in _DEFAULT_TOLERATIONS)
    return found


def _without_mount(container: dict[str, Any]) -> dict[str, Any]:
    found = dict(container)
    _keep(found, "volumeMounts", lambda one: one.get("mountPath") != TOKEN_MOUNT)
    return found


def _keep(spec: dict[str, Any], name: str, wanted: Any) -> None:
    """Leave those elements of a list that are wanted, and no list where none is."""
    if name in spec:
        spec[name] = [one for one in spec[name] if wanted(one)]
        if not spec[name]:
            del spec[name]


def _chose_address(spec: dict[str, Any], entries: list[dict[str, Any]]) -> bool:
    """Say whether a Service's address was chosen: none at all, or one that was applied."""
    if spec.get("clusterIP") == "None":
        return True
    applied = [entry for entry in entries if entry.get("operation") == "Apply"]
    return any("f:clusterIP" in (e.get("fieldsV1") or {}).get("f:spec", {}) for e in applied)
