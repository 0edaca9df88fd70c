"""Agents of nodes: by the lab's API where there is one, else by their DaemonSets."""

from types import SimpleNamespace

import pytest

from k8slab.clusters.agents import agents, run_agent
from k8slab.errors import UsageError


class Recorded:
    """A cluster that writes down what is asked of it."""

    name, provider = "x", "kind"
    resources = SimpleNamespace(
        named=lambda _: SimpleNamespace(path=lambda namespace, name: f"/{namespace}/{name}")
    )

    def __init__(self, *capabilities):
        self.capabilities = frozenset(capabilities)
        self.asked = []

    def request(self, method, path, body=None, *, content_type=""):
        self.asked.append((method, path, body))
        return {"agents": {"kubelet": True}}


def test_the_labs_api_is_asked_where_the_cluster_has_it():
    cluster = Recorded("agents")
    assert agents(cluster, "w") == {"kubelet": True}
    run_agent(cluster, "w", "kube-proxy", running=False)
    path = "/apis/lab.k8slab.dev/v1/nodes/w/agent"
    stop = {"agent": "kube-proxy", "running": False}
    assert cluster.asked == [("GET", path, None), ("POST", path, stop)]


def test_elsewhere_a_daemonset_leaves_the_node_out_and_takes_it_back():
    cluster = Recorded()
    run_agent(cluster, "w", "network-agent", running=False)
    run_agent(cluster, "w", "network-agent", running=True)
    (stop, start) = cluster.asked
    assert stop[:2] == start[:2] == ("PATCH", "/kube-system/calico-node")
    spec = stop[2]["spec"]["template"]["spec"]
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (match,) = terms["nodeSelectorTerms"][0]["matchExpressions"]
    assert match == {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["w"]}
    assert start[2]["spec"]["template"]["spec"] == {"affinity": None}


def test_what_nobody_can_do_is_refused_with_what_one_can():
    with pytest.raises(UsageError, match="cannot stop a kubelet"):
        run_agent(Recorded(), "w", "kubelet", running=False)
    with pytest.raises(UsageError, match="kubectl -n kube-system get pods"):
        agents(Recorded(), "w")
    with pytest.raises(UsageError, match="no agent 'cron'"):
        run_agent(Recorded("agents"), "w", "cron", running=True)
