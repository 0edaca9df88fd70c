"""What nodes tell about the shape of a cluster."""

from k8slab.clusters.shape import workers


def node(name, *effects):
    taints = [{"key": "k", "effect": effect} for effect in effects]
    return {"metadata": {"name": name}, "spec": {"taints": taints}}


def test_a_node_that_only_prefers_no_pods_is_a_worker():
    control_plane = node("cp", "NoSchedule")
    nodes = [control_plane, node("b", "PreferNoSchedule"), node("a"), node("c", "NoExecute")]
    assert workers(nodes) == ["a", "b"]
    assert workers([control_plane]) == ["cp"]
