"""For which pods of a set-up the grader adds one that looks like them."""

from k8slab.grading import Context, Want
from k8slab.grading.lookalikes import automatic
from k8slab.objects import manifests
from k8slab.policy import Flow

PODS = manifests.load(
    """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec: {containers: [{name: a, image: k8slab/app}]}
---
apiVersion: v1
kind: Pod
metadata: {name: agent, namespace: shop}
spec: {hostNetwork: true, containers: [{name: a, image: k8slab/app}]}
"""
)


def test_pods_on_their_nodes_network_are_not_doubled_since_ports_are_there_once(shop):
    wants = [Want(Flow.of("agent", "web", 80, namespace="shop"), "open")]
    found = automatic(Context(shop, "shop", PODS), wants)
    assert [str(one.like) for one in found] == ["shop/web"]
