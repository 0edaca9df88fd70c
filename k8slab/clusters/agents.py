"""The agents of a node: which run, and how to stop and start them (capability ``agents``).

``kubelet``, ``kube-proxy``, ``network-agent`` (Calico's Felix) and ``cni``, the configuration of
the network plugin. On a real cluster kube-proxy and calico-node are pods of DaemonSets: an affinity
that leaves a node out takes the pod away, and what it wrote into the kernel stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab.clusters.media import MERGE
from k8slab.errors import UsageError

if TYPE_CHECKING:
    from k8slab.clusters.cluster import Cluster

CAPABILITY = "agents"
_DAEMONSETS = {"kube-proxy": "kube-proxy", "network-agent": "calico-node"}
AGENTS = ("kubelet", *_DAEMONSETS, "cni")


def agents(cluster: Cluster, node: str) -> dict[str, bool]:
    """Return which agents of a node run; raises `UsageError` where nobody can say."""
    if CAPABILITY not in cluster.capabilities:
        raise UsageError(
            f"the cluster {cluster.name} ({cluster.provider}) does not tell of its agents",
            hint="look at its pods: kubectl -n kube-system get pods -o wide",
        )
    found: dict[str, bool] = cluster.request("GET", _path(node))["agents"]
    return found


def run_agent(cluster: Cluster, node: str, agent: str, *, running: bool) -> None:
    """Stop or start an agent; started once more, it writes all it keeps in the kernel anew."""
    if agent not in AGENTS:
        raise UsageError(f"there is no agent {agent!r}", hint=f"there are: {', '.join(AGENTS)}")
    if CAPABILITY in cluster.capabilities:
        cluster.request("POST", _path(node), {"agent": agent, "running": running})
        return
    if agent not in _DAEMONSETS:
        raise UsageError(f"the cluster {cluster.name} ({cluster.provider}) cannot stop a {agent}")
    found = cluster.resources.named("daemonsets.apps")
    path = found.path(namespace="kube-system", name=_DAEMONSETS[agent])
    affinity = None if running else {"nodeAffinity": _all_but(node)}
    patch = {"spec": {"template": {"spec": {"affinity": affinity}}}}
    cluster.request("PATCH", path, patch, content_type=MERGE)


def _path(node: str) -> str:
    return f"/apis/lab.k8slab.dev/v1/nodes/{node}/agent"


def _all_but(node: str) -> dict[str, Any]:
    match = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [node]}
    terms = [{"matchExpressions": [match]}]
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
