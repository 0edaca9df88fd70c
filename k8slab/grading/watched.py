"""The kinds of which a grader says whether an answer touched them, and how `may_change` names them.

`may_change` lists patterns RESOURCE/NAME, for example ``networkpolicies.networking.k8s.io/*``.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from k8slab.objects import meta
from k8slab.objects.slices import SLICES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.objects.meta import Object

WATCHED = {
    "Namespace": "namespaces",
    "Pod": "pods",
    "Service": "services",
    "ConfigMap": "configmaps",
    "Deployment": "deployments.apps",
    "StatefulSet": "statefulsets.apps",
    "DaemonSet": "daemonsets.apps",
    "EndpointSlice": SLICES,
    "NetworkPolicy": "networkpolicies.networking.k8s.io",
    "ClusterNetworkPolicy": "clusternetworkpolicies.policy.networking.k8s.io",
    "ValidatingWebhookConfiguration": (
        "validatingwebhookconfigurations.admissionregistration.k8s.io"
    ),
}
"""The kinds that a set-up is made of, and under which resource they are found."""

CLUSTER_SCOPED = frozenset({"Namespace", "ClusterNetworkPolicy", "ValidatingWebhookConfiguration"})

CLUSTERS_OWN = frozenset({"kube-root-ca.crt", "openshift-service-ca.crt", "istio-ca-root-cert"})
"""ConfigMaps that clusters put into every namespace by themselves: authorities to trust."""

NAMESPACE_LABELS = frozenset({"kubernetes.io/metadata.name", "app.kubernetes.io/managed-by"})
"""What the API and the set-up put on every namespace."""


def pattern_of(obj: Object) -> str:
    """Return how `may_change` names an object: RESOURCE/NAME."""
    return f"{WATCHED.get(obj['kind'], obj['kind'].lower())}/{meta.name_of(obj)}"


def released(pattern: str, may_change: Sequence[str]) -> bool:
    """Say whether an answer may touch what this pattern names."""
    return any(fnmatchcase(pattern, wish) for wish in may_change)


_PULL = "-dockercfg-"


def is_clusters_own(obj: Object) -> bool:
    """Say whether a cluster makes such an object in every namespace, early or late, by itself.

    OpenShift gives each ServiceAccount a Secret to pull images with, and each namespace the
    accounts of its builds, which name theirs (OpenShift, "Understanding and creating service
    accounts"). What else a cluster gives is seen right after the set-up (`additions.given`).
    """
    kind, name = obj["kind"], meta.name_of(obj)
    if kind == "ConfigMap":
        return name in CLUSTERS_OWN
    if kind == "Secret":
        pulls = obj.get("type") == "kubernetes.io/dockercfg" and _PULL in name
        return pulls or obj.get("type") == "kubernetes.io/service-account-token"
    if kind == "ServiceAccount" and name in ("default", "builder", "deployer"):
        pull = obj.get("imagePullSecrets") or ()
        return any(one.get("name", "").startswith(f"{name}{_PULL}") for one in pull)
    return False
