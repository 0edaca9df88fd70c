"""What a real server's admission plugins add or refuse, for those that are always on.

NamespaceLifecycle, ServiceAccount, DefaultTolerationSeconds, Priority.
Source: ``plugin/pkg/admission`` of kube-apiserver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.apiserver.objectmeta import random_suffix
from k8slab.embedded.apiserver.validation.others import SYSTEM_PRIORITIES
from k8slab.objects.meta import is_deleting, name_of, namespace_of

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.objects.meta import Object

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
"""Namespaces that may not be deleted (NamespaceLifecycle)."""

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  - a path
TOKEN_VOLUME = "kube-api-access-"  # noqa: S105  - how its name begins

TOKEN_SECONDS = 3607
"""The life of a pod's token: an hour, with seven seconds to tell it from other requests."""

EVICTED_AFTER = 300
"""Seconds that a pod stays on a node which is not ready (DefaultTolerationSeconds)."""

KEPT = ("priority", "preemptionPolicy", "serviceAccountName", "serviceAccount")
"""Fields of pods that admission fills in, and that stay when an update leaves them out."""

PRIORITIES = "priorityclasses.scheduling.k8s.io"


def check_namespace(api: Api, kind: Kind, namespace: str, name: str) -> None:
    """Refuse to create something in a namespace that is missing or being deleted."""
    if not kind.namespaced:
        return
    found = api.get("namespaces", namespace)
    if found is None:
        raise statuses.not_found("namespaces", namespace)
    if is_deleting(found) or found.get("status", {}).get("phase") == "Terminating":
        why = (
            f"unable to create new content in namespace {namespace} because it is being terminated"
        )
        error = statuses.forbidden_request(kind.resource, name, why)
        error.details["causes"] = [
            {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
        ]
        raise error


def check_delete(kind: Kind, name: str) -> None:
    """Refuse to delete the namespaces without which a cluster does not work."""
    if kind.resource == "namespaces" and name in IMMORTAL:
        raise statuses.forbidden_request("namespaces", name, "this namespace may not be deleted")


def admit(api: Api, kind: Kind, obj: Object) -> None:
    """Complete a new object in place, after its defaults."""
    if kind.resource == PRIORITIES:
        _only_default(api, obj)
    if kind.resource != "pods":
        return
    _service_account(api, obj)
    _tolerations(obj["spec"])
    _priority(api, obj)


def admit_update(api: Api, kind: Kind, new: Object, old: Object) -> None:
    """Complete a changed object in place: what admission added stays where it is left out."""
    if kind.resource == PRIORITIES:
        _only_default(api, new)
    elif kind.resource == "pods":
        for field in KEPT:
            if field in old["spec"]:
                new["spec"].setdefault(field, old["spec"][field])
        _tolerations(new["spec"])
    elif kind.resource == "services":
        _drop_type_dependent(new["spec"], old["spec"])
        _normalize_cluster_ips(new["spec"], old["spec"])


def _drop_type_dependent(spec: dict, before: dict) -> None:
    """Drop what the old type had and the new one cannot have, unless the client changed it.

    Source: ``dropTypeDependentFields`` in kube-apiserver's Service strategy.
    """
    if spec["type"] not in ("NodePort", "LoadBalancer"):
        old_ports = {(p["protocol"], p["port"]): p.get("nodePort") for p in before.get("ports", ())}
        for port in spec.get("ports") or ():
            if port.get("nodePort") == old_ports.get((port["protocol"], port["port"])):
                port.pop("nodePort", None)
        for field in ("externalTrafficPolicy", "healthCheckNodePort"):
            if spec.get(field) == before.get(field):
                spec.pop(field, None)
    if spec["type"] != "LoadBalancer":
        for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if spec.get(field) == before.get(field):
                spec.pop(field, None)
    if spec["type"] == "ExternalName" != before.get("type"):
        for fields in (("clusterIP", "clusterIPs"), ("ipFamilies",), ("ipFamilyPolicy",)):
            if all(spec.get(field) == before.get(field) for field in fields):
                for field in fields:
                    spec.pop(field, None)


def _normalize_cluster_ips(spec: dict, before: dict) -> None:
    """Let ``clusterIPs`` follow a ``clusterIP`` that the client changed alone."""
    changed = spec.get("clusterIP") != before.get("clusterIP")
    if changed and spec.get("clusterIPs") == before.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]] if spec.get("clusterIP") else []


def _service_account(api: Api, pod: Object) -> None:
    spec, namespace = pod["spec"], namespace_of(pod)
    name = spec.get("serviceAccountName") or "default"
    account = api.get("serviceaccounts", name, namespace)
    if account is None and name == "default":
        # A real server waits up to a second for the controller that makes it.
        account = api.create(
            "serviceaccounts", {"metadata": {"name": name, "namespace": namespace}}
        )
    if account is None:
        why = (
            f"error looking up service account {namespace}/{name}: "
            f'serviceaccount "{name}" not found'
        )
        raise statuses.forbidden_request("pods", name_of(pod), why)
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = account["imagePullSecrets"]
    wanted = spec.get("automountServiceAccountToken")
    if wanted is None:
        wanted = account.get("automountServiceAccountToken")
    if wanted is not False:
        _mount_token(spec)


def _mount_token(spec: dict) -> None:
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    lacking = [
        container
        for container in containers
        if all(m.get("mountPath") != TOKEN_PATH for m in container.get("volumeMounts") or ())
    ]
    if not lacking:
        return
    volumes = spec.get("volumes") or ()
    own = (v["name"] for v in volumes if v["name"].startswith(TOKEN_VOLUME) and "projected" in v)
    # It is there already when a webhook has added a container.
    found = next(own, "")
    volume = found or f"{TOKEN_VOLUME}{random_suffix()}"
    for container in lacking:
        mount = {"name": volume, "readOnly": True, "mountPath": TOKEN_PATH}
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]
    if not found:
        spec["volumes"] = [*volumes, _token_volume(volume)]


def _token_volume(name: str) -> dict:
    return {
        "name": name,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {
                    "configMap": {
                        "name": "kube-root-ca.crt",
                        "items": [{"key": "ca.crt", "path": "ca.crt"}],
                    }
                },
                {
                    "downwardAPI": {
                        "items": [
                            {
                                "path": "namespace",
                                "fieldRef": {
                                    "apiVersion": "v1",
                                    "fieldPath": "metadata.namespace",
                                },
                            }
                        ]
                    }
                },
            ],
            "defaultMode": 0o644,
        },
    }


def _tolerations(spec: dict) -> None:
    tolerations = list(spec.get("tolerations") or ())
    for condition in ("not-ready", "unreachable"):
        key = f"node.kubernetes.io/{condition}"
        if any(
            toleration.get("key") in (key, None, "")
            and toleration.get("effect") in ("NoExecute", None, "")
            for toleration in tolerations
        ):
            continue
        tolerations.append(
            {
                "key": key,
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": EVICTED_AFTER,
            }
        )
    spec["tolerations"] = tolerations


def _priority(api: Api, pod: Object) -> None:
    """Give a pod what its PriorityClass says, or the one that is marked as default."""
    spec = pod["spec"]
    found = _priority_class(api, pod)
    if name := name_of(found):
        spec["priorityClassName"] = name
    for field, wanted, word in (
        ("priority", found.get("value", 0), "integer value of priority"),
        ("preemptionPolicy", found["preemptionPolicy"], "string value of PreemptionPolicy"),
    ):
        if spec.get(field, wanted) != wanted:
            why = (
                f"the {word} ({spec[field]}) must not be provided in pod spec; priority admission "
                f"controller computed {wanted} from the given PriorityClass name"
            )
            raise statuses.forbidden_request("pods", name_of(pod), why)
        spec[field] = wanted


def _priority_class(api: Api, pod: Object) -> Object:
    """Return the class of a pod; one without a name where there is none."""
    name = pod["spec"].get("priorityClassName")
    nothing = {"metadata": {"name": ""}, "preemptionPolicy": "PreemptLowerPriority"}
    if not name:
        defaults = [found for found in api.list(PRIORITIES) if found.get("globalDefault")]
        return min(defaults, key=lambda one: one.get("value", 0), default=nothing)
    if found := api.get(PRIORITIES, name):
        return found
    if name in SYSTEM_PRIORITIES:
        return {**nothing, "value": SYSTEM_PRIORITIES[name]}
    why = f"no PriorityClass with name {name} was found"
    raise statuses.forbidden_request("pods", name_of(pod), why)


def _only_default(api: Api, new: Object) -> None:
    """Refuse a second PriorityClass that is meant for all pods without one."""
    for held in api.list(PRIORITIES) if new.get("globalDefault") else ():
        if held.get("globalDefault") and name_of(held) != name_of(new):
            why = (
                f"PriorityClass {name_of(held)} is already marked as default. "
                "Only one default can exist"
            )
            raise statuses.forbidden_request(PRIORITIES, name_of(new), why)
