"""What a rule means, in the words of Services and policies."""

import pytest

from k8slab.embedded.network.meanings import meaning
from k8slab.embedded.network.tracing import Met


@pytest.mark.parametrize(
    ("family", "written", "address", "told"),
    [
        ("ip", "10.244.2.7", "10.244.2.7", "10.244.2.7:8080"),
        ("ip6", "fd00.10.244..201", "fd00:10:244::201", "[fd00:10:244::201]:8080"),
    ],
)
def test_an_endpoint_is_told_by_its_address_as_everywhere_else(family, written, address, told):
    chain = f"endpoint-RLB5SF2R-shop/web/tcp/__{written}/8080"
    met = Met(1, family, "kube-proxy", "service-A", 1, "rule", "goto", chain)
    found = meaning(met, "numgen random mod 1 vmap {}")
    assert found.text == f"endpoint {told}, the only one"
    assert found.facts["address"] == address
