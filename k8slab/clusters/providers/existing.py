"""Any conformant cluster, by a context of a kubeconfig.

Nothing is started or stopped. A record says which file and context the name stands for;
what the cluster can do is found out by asking it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from k8slab.clusters import kubeconfig as kubeconfigs
from k8slab.clusters import records
from k8slab.clusters.cluster import Cluster
from k8slab.clusters.providers.base import BROKEN, RUNNING, Status
from k8slab.errors import ApiStatusError, K8slabError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.clusters.wanted import Wanted

NAME = "existing"


def up(name: str, wanted: Wanted, progress: Callable[[str], None]) -> None:
    """Record the context and try that its API answers."""
    ranges = wanted.ip_family or wanted.pod_cidr or wanted.service_cidr
    if wanted.nodes or ranges or wanted.no_load_balancer:
        raise UsageError(
            "an existing cluster is as it is",
            hint="leave out --nodes, --ip-family, --pod-cidr, --service-cidr, --no-load-balancer",
        )
    if records.provider_of(name) and not (wanted.kubeconfig or wanted.context):
        record = records.read(name)
        file, context = Path(record["kubeconfig"]), record["context"]
    else:
        file = (wanted.kubeconfig or kubeconfigs.learners_own()).absolute()
        context = kubeconfigs.read(file, wanted.context).context
    progress(f"asking the API server of the context {context}")
    Cluster(name, provider=NAME, kubeconfig=file, context=context).request("GET", "/version")
    records.write(name, {"provider": NAME, "kubeconfig": str(file), "context": context})


def down(name: str) -> None:
    """Do nothing: a cluster that k8slab has not started it does not stop."""
    records.read(name)


def delete(name: str) -> None:
    """Forget the name; the cluster itself is not touched."""
    records.forget(name)


def status(name: str) -> Status:
    """Ask the API server for its version and nodes."""
    cluster_ = cluster(name)
    try:
        version = cluster_.request("GET", "/version", deadline=5)["gitVersion"]
        nodes = [node["metadata"]["name"] for node in cluster_.list("nodes")]
        found = sorted(detect_capabilities(cluster_))
    except K8slabError as error:
        return Status(
            name=name,
            provider=NAME,
            state=BROKEN,
            detail=error.message,
            kubeconfig=str(cluster_.kubeconfig),
        )
    return Status(
        name=name,
        provider=NAME,
        state=RUNNING,
        kubeconfig=str(cluster_.kubeconfig),
        nodes=nodes,
        capabilities=found,
        versions={"kubernetes": version},
    )


def kubeconfig(name: str) -> Path:
    """Return the file that was named at `up`."""
    return Path(records.read(name)["kubeconfig"])


def cluster(name: str) -> Cluster:
    """Return the handle on the recorded context."""
    record = records.read(name)
    return Cluster(
        name, provider=NAME, kubeconfig=Path(record["kubeconfig"]), context=record["context"]
    )


def detect_capabilities(cluster_: Cluster) -> frozenset[str]:
    """Ask a cluster what it can do beyond Kubernetes: those of the API group lab.k8slab.dev."""
    try:
        answer = cluster_.request("GET", "/apis/lab.k8slab.dev/v1/cluster", deadline=5)
    except ApiStatusError as error:
        if error.code in (401, 403, 404):
            return frozenset()
        raise
    return frozenset(answer.get("capabilities") or ())
