"""How lists merge: what the models of the API do not say.

Source: the markers ``patchStrategy``, ``patchMergeKey``, ``listType``, ``listMapKey``,
``structType`` and ``mapType`` in ``k8s.io/api/*/types.go`` and ``k8s.io/apimachinery``. A list
that is not named here is atomic: a patch replaces it as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListRule:
    """How one field merges.

    `merge_key` and `strategy` are for strategic merge patch, `keys` for server-side apply
    (an empty tuple with `is_set` false is atomic there).
    """

    merge_key: str = ""
    keys: tuple[str, ...] = ()
    is_set: bool = False
    strategy: str = "merge"


def _by(key: str, *more: str) -> ListRule:
    return ListRule(merge_key=key, keys=(key, *more))


_NAME = _by("name")
_TYPE = _by("type")
_SET = ListRule(is_set=True, strategy="")
_WEBHOOK = {"matchConditions": _NAME}
_CONTAINER = {
    "env": _NAME,
    "ports": _by("containerPort", "protocol"),
    "volumeMounts": _by("mountPath"),
    "volumeDevices": _by("devicePath"),
}
_WITH_CONDITIONS = {"conditions": _TYPE}

_RULES: dict[str, dict[str, ListRule]] = {
    "ObjectMeta": {
        "ownerReferences": _by("uid"),
        "finalizers": ListRule(is_set=True),
    },
    "PodSpec": {
        "containers": _NAME,
        "initContainers": _NAME,
        "ephemeralContainers": _NAME,
        "imagePullSecrets": _NAME,
        "hostAliases": _by("ip"),
        "schedulingGates": _NAME,
        "resourceClaims": ListRule("name", ("name",), strategy="merge,retainKeys"),
        "topologySpreadConstraints": _by("topologyKey", "whenUnsatisfiable"),
        "evictionResponders": _NAME,
        "volumes": ListRule("name", ("name",), strategy="merge,retainKeys"),
    },
    "Container": _CONTAINER,
    "EphemeralContainer": _CONTAINER,
    "ResourceRequirements": {"claims": ListRule(keys=("name",), strategy="")},
    "PodStatus": {
        "conditions": _TYPE,
        "podIPs": _by("ip"),
        "hostIPs": ListRule(merge_key="ip"),
        "resourceClaimStatuses": ListRule("name", ("name",), strategy="merge,retainKeys"),
        "nodeAllocatableResourceClaimStatuses": _by("resourceClaimName"),
        "volumeHealth": ListRule(keys=("name",), strategy=""),
    },
    "ContainerStatus": {
        "volumeMounts": _by("mountPath"),
        "allocatedResourcesStatus": _NAME,
    },
    "NodeAllocatableResourceClaimStatus": {
        "containers": _SET,
        "mapping": _NAME,
        "overhead": _NAME,
    },
    "PodVolumeHealth": {"healthConditions": _by("status", "reason")},
    "ResourceStatus": {"resources": ListRule(keys=("resourceID",), strategy="")},
    "VolumeMount": {"bindMountOptions": _SET},
    "ContainerRestartRuleOnExitCodes": {"values": _SET},
    "Endpoint": {"addresses": _SET},
    "NodePodPreemptionPolicy": {"disableResizePreemption": _SET},
    "JobSchedulingConfiguration": {"resourceClaims": _NAME},
    "PodFailurePolicyOnExitCodesRequirement": {"values": _SET},
    "UncountedTerminatedPods": {"succeeded": _SET, "failed": _SET},
    "ServiceSpec": {"ports": _by("port", "protocol")},
    "ServiceStatus": {"conditions": ListRule("type", ("type",))},
    "ServiceAccount": {"secrets": _NAME},
    "NodeSpec": {"podCIDRs": ListRule(is_set=True)},
    "NodeStatus": {"conditions": _TYPE, "addresses": _TYPE},
    "NamespaceStatus": _WITH_CONDITIONS,
    "DeploymentSpec": {"strategy": ListRule(strategy="retainKeys")},
    "DeploymentStatus": _WITH_CONDITIONS,
    "ReplicaSetStatus": _WITH_CONDITIONS,
    "DaemonSetStatus": _WITH_CONDITIONS,
    "StatefulSetStatus": _WITH_CONDITIONS,
    "JobStatus": {"conditions": ListRule(merge_key="type")},
    "ReplicationControllerStatus": _WITH_CONDITIONS,
    "PodDisruptionBudgetSpec": {"selector": ListRule(strategy="replace")},
    "PodDisruptionBudgetStatus": _WITH_CONDITIONS,
    "PersistentVolumeClaimStatus": _WITH_CONDITIONS,
    "MutatingWebhookConfiguration": {"webhooks": _NAME},
    "ValidatingWebhookConfiguration": {"webhooks": _NAME},
    "MutatingWebhook": _WEBHOOK,
    "ValidatingWebhook": _WEBHOOK,
}

ATOMIC_TYPES = frozenset(
    {
        "ConfigMapKeySelector",
        "EndpointAddress",
        "EndpointPort",
        "EvictionResponder",
        "FileKeySelector",
        "LabelSelector",
        "LocalObjectReference",
        "NodeSelector",
        "NodeSelectorTerm",
        "ObjectFieldSelector",
        "ObjectReference",
        "OwnerReference",
        "ResourceFieldSelector",
        "RoleRef",
        "SecretKeySelector",
        "ServiceBackendPort",
        "Subject",
    }
)
"""Structures that server-side apply owns as a whole."""

ATOMIC_MAPS = frozenset(
    {"PodSpec.nodeSelector", "ReplicationControllerSpec.selector", "ServiceSpec.selector"}
)
"""Maps that server-side apply owns as a whole."""


def rule_of(type_name: str, field: str) -> ListRule | None:
    """Return the rule of a field; `type_name` may carry its package."""
    fields = _RULES.get(type_name.rpartition(".")[2])
    return fields.get(field) if fields else None
