"""``k8slab up --no-load-balancer``: as on bare machines, nobody gives out addresses."""

import pytest

from k8slab import clusters

BALANCED = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "lb"},
    "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
}
ORDINARY = {**BALANCED, "metadata": {"name": "np"}, "spec": {"ports": [{"port": 80}]}}


@pytest.fixture
def bare(tmp_path, monkeypatch):
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path))
    yield clusters.up("bare", wanted=clusters.Wanted(nodes=1, no_load_balancer=True))
    clusters.delete("bare")


def test_without_a_load_balancer_addresses_stay_pending(bare):
    (balanced,) = bare.apply([BALANCED], namespace="default")
    # A Service is answered when it is served; this one comes after the other's turn.
    bare.apply([ORDINARY], namespace="default")
    balanced = bare.get("services", "lb", "default")
    assert balanced["status"] == {"loadBalancer": {}}
    assert balanced["spec"]["ports"][0]["nodePort"]
    assert clusters.up("bare").get("services", "lb", "default")["status"] == {"loadBalancer": {}}
