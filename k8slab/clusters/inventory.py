"""List everything of a cluster that says who may reach whom.

Which groups there are is asked once (``/apis``): Calico's policies, ClusterNetworkPolicy and
the Gateway API are there or not. Of a group that serves its kinds in several versions the one
that the policy engine reads is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.errors import ApiStatusError

if TYPE_CHECKING:
    from typing import Any, Protocol

    from k8slab.objects.meta import Object

    class Api(Protocol):
        """The part of a `Cluster` that is needed here."""

        def request(self, method: str, path: str) -> Any:
            """Send one request and return the decoded answer."""


CORE = ("namespaces", "nodes", "pods", "services", "replicationcontrollers", "serviceaccounts")

GROUPS = {
    "apps/v1": ("deployments", "replicasets", "statefulsets", "daemonsets"),
    "batch/v1": ("jobs", "cronjobs"),
    "networking.k8s.io/v1": ("networkpolicies", "ingresses"),
    "discovery.k8s.io/v1": ("endpointslices",),
    "policy.networking.k8s.io/v1alpha2": ("clusternetworkpolicies",),
    "gateway.networking.k8s.io/v1": ("gateways", "httproutes"),
    "projectcalico.org/v3": ("networkpolicies", "globalnetworkpolicies", "networksets",
                             "globalnetworksets", "tiers"),
    "crd.projectcalico.org/v1": ("networkpolicies", "globalnetworkpolicies", "networksets",
                                 "globalnetworksets", "tiers"),
}  # fmt: skip
"""What is listed of which group and version, where the cluster serves it."""

INSTEAD = {"crd.projectcalico.org/v1": "projectcalico.org/v3"}
"""The same objects under another group; they are read once."""


def inventory(cluster: Api) -> list[Object]:
    """Return the objects that policies, and what they protect, are made of.

    Raises `ApiStatusError` when the reader may not list one of the kinds.
    """
    groups = cluster.request("GET", "/apis")["groups"]
    served = {version["groupVersion"] for group in groups for version in group["versions"]}
    served -= {other for other, first in INSTEAD.items() if first in served}
    found = [obj for plural in CORE for obj in _list(cluster, "/api/v1", plural)]
    for version, plurals in GROUPS.items():
        if version in served:
            there = _served(cluster, version)
            for plural in plurals:
                if plural in there:
                    found += _list(cluster, f"/apis/{version}", plural)
    return found


def _served(cluster: Api, version: str) -> set[str]:
    return {entry["name"] for entry in cluster.request("GET", f"/apis/{version}")["resources"]}


def _list(cluster: Api, root: str, plural: str) -> list[Object]:
    try:
        answer = cluster.request("GET", f"{root}/{plural}")
    except ApiStatusError as error:
        if error.code != 403:
            raise
        raise ApiStatusError(
            f"{error.message}; to judge policies everything of this kind has to be read",
            code=error.code,
            reason=error.reason,
            details=error.details,
        ) from error
    implied = {"apiVersion": answer["apiVersion"], "kind": answer["kind"].removesuffix("List")}
    return [implied | item for item in answer["items"] or ()]
