"""Many pods at once: until all are Ready, what they take, whether they stay, how they go.

That all are Ready is seen by the API's watch of their Deployment; the pods themselves are
asked for once, at the end.
"""

import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from cluster import IMAGE, state
from harness import Limits, bench

from k8slab import clusters
from k8slab.clusters.wanted import Wanted

NAMESPACE = "many"
DEPLOYMENT = "deployments.apps"
STAY = 20.0
"""Seconds for which the pods have to stay as they are while the daemon's work is measured."""


def deployment(replicas):
    labels = {"app": "many"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "many", "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": IMAGE}]},
            },
        },
    }


def start(cluster, replicas):
    """Apply a Deployment and return the seconds until all its pods are Ready."""

    def all_ready(found):
        return (found.get("status") or {}).get("readyReplicas") == replicas

    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}])
    began = time.perf_counter()
    cluster.apply([deployment(replicas)])
    cluster.wait(DEPLOYMENT, "many", NAMESPACE, until=all_ready, deadline=120)
    took = time.perf_counter() - began
    check(cluster, replicas)
    return took


def check(cluster, replicas):
    """See that so many pods are there, each on its own address, and that none was restarted."""
    pods = cluster.list("pods", NAMESPACE)
    addresses = {pod["status"]["podIP"] for pod in pods}
    assert len(pods) == len(addresses) == replicas
    for pod in pods:
        [container] = pod["status"]["containerStatuses"]
        assert container["ready"], pod
        assert not container["restartCount"], pod


def end(cluster):
    """Delete the namespace and return the seconds until it is gone with everything in it."""
    began = time.perf_counter()
    cluster.delete("namespaces", NAMESPACE)
    cluster.wait("namespaces", NAMESPACE, until="delete", deadline=120)
    return time.perf_counter() - began


def cpu_seconds(pid):
    """Return the processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle_percent():
    """Return the daemon's part of one processor while nothing happens."""
    pid = clusters.status().pid
    before, began = cpu_seconds(pid), time.perf_counter()
    time.sleep(STAY)  # what is measured is that nothing happens
    return (cpu_seconds(pid) - before) / (time.perf_counter() - began) * 100


def tell(text):
    print(f"  {text}", file=sys.stderr, flush=True)


@contextmanager
def cluster_of(nodes):
    with state():
        yield clusters.up(wanted=Wanted(nodes=nodes))


@bench("deployment-200", "Deployment of 200 pods on 3 nodes, apply to all Ready", Limits("s", 4, 1))
def deployment_of_200():
    with cluster_of(3) as cluster:
        for _ in range(3):
            yield start(cluster, 200)
            tell(f"namespace gone after {end(cluster):.2f} s")


# Ten nodes for pods, beside the control plane, which takes none: 100 to a node.
@bench("pods-1000", "1,000 pods on ten nodes, apply to all Ready", Limits("s", 30, 5))
def thousand_pods():
    with cluster_of(11) as cluster:
        yield start(cluster, 1000)
        tell(f"namespace gone after {end(cluster):.2f} s")


@bench("pods-1000-memory", "memory of a cluster with 1,000 pods (PSS)", Limits("GB", 6, 1.5))
def memory_of_a_thousand_pods():
    with cluster_of(11) as cluster:
        start(cluster, 1000)
        yield clusters.status().memory_bytes / 1e9
        tell(f"daemon, idle: {idle_percent():.2f} % of a processor")
        check(cluster, 1000)


@bench("idle", "processor time of the idle daemon, 200 pods", Limits("%", 5, 1))
def idle():
    with cluster_of(3) as cluster:
        tell(f"without pods of a user: {idle_percent():.2f} %")
        start(cluster, 200)
        yield idle_percent()
        check(cluster, 200)
