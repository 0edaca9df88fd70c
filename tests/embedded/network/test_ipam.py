"""Addresses of pods, against a simple model."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8slab.embedded.network.cni import RangeSet
from k8slab.embedded.network.ipam import Ipam
from k8slab.errors import ClusterError, PodNetworkError


def test_the_first_block_of_each_node_is_a_24_of_its_own():
    ipam = Ipam("10.244.0.0/16")
    assert [ipam.add_node(n) for n in "abc"] == ["10.244.0.0/26", "10.244.1.0/26", "10.244.2.0/26"]
    assert ipam.allocate("b") == "10.244.1.1"


def test_a_node_that_comes_back_takes_the_place_that_is_free():
    ipam = Ipam("10.244.0.0/16")
    for name in "abc":
        ipam.add_node(name)
    ipam.remove_node("b")
    assert ipam.add_node("d") == "10.244.1.0/26"


def test_a_freed_address_is_the_last_to_be_given_again():
    ipam = Ipam("10.244.0.0/16")
    ipam.add_node("a")
    first = ipam.allocate("a")
    ipam.free("a", first)
    others = [ipam.allocate("a") for _ in range(62)]
    assert first not in others
    assert ipam.allocate("a") == first
    assert ipam.allocate("a") == "10.244.0.65"


def test_within_a_range_no_block_is_claimed():
    ipam = Ipam("10.244.0.0/16")
    ipam.add_node("a")
    few = RangeSet(0, 4, ((0x0AF40003, 0x0AF40004), (0x0AF40040, 0x0AF40050)))
    assert [ipam.allocate("a", few) for _ in range(2)] == ["10.244.0.3", "10.244.0.4"]
    with pytest.raises(PodNetworkError, match=r"10\.244\.0\.3-10\.244\.0\.4,10\.244\.0\.64-"):
        ipam.allocate("a", few)
    assert ipam.blocks("a") == ["10.244.0.0/26"]
    assert ipam.allocate("a") == "10.244.0.5"


def test_when_the_range_is_full_the_message_says_what_to_do():
    ipam = Ipam("10.244.0.0/25")
    ipam.add_node("a")
    ipam.add_node("b")
    with pytest.raises(ClusterError, match=r"all 2 blocks of 10\.244\.0\.0/25 are taken") as caught:
        ipam.add_node("c")
    assert "--pod-cidr" in caught.value.hint
    for _ in range(63):
        ipam.allocate("a")
    with pytest.raises(ClusterError, match="node a needs a block"):
        ipam.allocate("a")


@given(
    st.sampled_from(["10.244.0.0/23", "10.0.0.0/8", "fd00:10:244::/112", "10.244.0.0/28"]),
    st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.integers(0, 200)), max_size=300),
)
def test_addresses_are_unique_in_the_range_and_in_a_block_of_their_node(cidr, steps):
    ipam = Ipam(cidr)
    nodes = "a" if cidr.endswith("/28") else "ab"
    for node in nodes:
        ipam.add_node(node)
    given_out: dict[str, list[str]] = {node: [] for node in nodes}
    for name, take, pick in steps:
        node = name if name in nodes else "a"
        mine = given_out[node]
        if take or not mine:
            try:
                address = ipam.allocate(node)
            except ClusterError:
                assert len(mine) >= 15
                continue
            assert address not in [a for taken in given_out.values() for a in taken]
            assert any(ip_address(address) in ip_network(block) for block in ipam.blocks(node))
            assert ip_address(address) in ip_network(cidr)
            mine.append(address)
        else:
            ipam.free(node, mine.pop(pick % len(mine)))
    blocks = [ip_network(block) for node in nodes for block in ipam.blocks(node)]
    assert not any(a.overlaps(b) for i, a in enumerate(blocks) for b in blocks[:i])
