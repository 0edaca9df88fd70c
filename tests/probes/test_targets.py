"""From the parties of a flow to those that are really asked."""

import pytest

from k8slab.policy import Flow, Party
from k8slab.probes import expand, resolve
from k8slab.testing.fake import NODES, FakeCluster


@pytest.mark.parametrize("name", ["control-plane", "worker", "worker2"])
def test_a_node_may_be_called_by_the_end_of_its_name(name):
    cluster = FakeCluster()
    assert resolve(cluster, [Party("node", name)]) == [Party("node", f"fake-{name}")]
    (flow,) = expand(cluster, [Flow.of(f"node:{name}", "ip:192.0.2.1", 80)])
    assert str(flow.source) == f"node:fake-{name}"


def test_a_full_name_and_one_that_fits_nobody_stay_as_they_are():
    parties = [Party("node", NODES[1]), Party("node", "elsewhere"), Party("world", "laptop")]
    assert resolve(FakeCluster(), parties) == parties
