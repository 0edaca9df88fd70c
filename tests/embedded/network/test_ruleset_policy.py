"""The text of policies, and the arithmetic of blocks and ports under it."""

import dataclasses
from contextlib import closing
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8slab.embedded import linux
from k8slab.embedded.network import ruleset_policy
from k8slab.embedded.network.model import Block, PolicyDirection, PolicyRule, PortRange
from k8slab.embedded.network.nft import Nft
from k8slab.embedded.network.ruleset import Table
from k8slab.embedded.network.ruleset_policy import block_ranges, merged_ports

ALLOW = PolicyDirection(
    policy="shop/allow-front",
    direction="ingress",
    subjects=frozenset(["uid"]),
    rules=(
        PolicyRule(
            addresses=frozenset(["10.244.1.7", "fd00::7"]),
            blocks=(Block("10.0.0.0/8", ("10.128.0.0/9",)),),
            ports=(PortRange("TCP", 80, 80), PortRange("TCP", 8000, 8080), PortRange("UDP")),
        ),
    ),
)


def written(*fragments, family="ip"):
    changes = {(str(number),): fragment for number, fragment in enumerate(fragments)}
    return Table(family, "network-policy").plan(changes).text


def test_a_policy_has_a_rule_for_each_way_of_naming_peers_and_ports():
    pods = "pods-WKTVMB4K-shop/allow-front/ingress/0"
    blocks = "blocks-G67QBU2Z-shop/allow-front/ingress/0"
    chain = "ingress-WY6IOVDU-shop/allow-front"
    note = 'accept comment "shop/allow-front spec.ingress[0]"'
    assert (
        written(ruleset_policy.policy_fragment(ALLOW, "ip"))
        == f"""\
add set ip network-policy {pods} {{ type ipv4_addr; }}
add set ip network-policy {blocks} {{ type ipv4_addr; flags interval; \
elements = {{ 10.0.0.0/9 }}; }}
add chain ip network-policy {chain}
add element ip network-policy {pods} {{ 10.244.1.7 }}
add rule ip network-policy {chain} ip saddr @{pods} tcp dport {{ 80, 8000-8080 }} {note}
add rule ip network-policy {chain} ip saddr @{pods} meta l4proto udp {note}
add rule ip network-policy {chain} ip saddr @{blocks} tcp dport {{ 80, 8000-8080 }} {note}
add rule ip network-policy {chain} ip saddr @{blocks} meta l4proto udp {note}
"""
    )


def test_an_isolated_pod_asks_its_policies_then_reports_and_drops():
    fragment = ruleset_policy.pod_fragment("cali0123456789a", "ingress", [ALLOW])
    chain = "to-pod-cali0123456789a"
    assert (
        written(fragment)
        == f"""\
add chain ip network-policy {chain}
add element ip network-policy to-pod {{ "cali0123456789a" : goto {chain} }}
add rule ip network-policy {chain} jump ingress-WY6IOVDU-shop/allow-front \
comment "shop/allow-front"
add rule ip network-policy {chain} log prefix "ingress cali0123456789a" group 1 \
snaplen 128 queue-threshold 1
add rule ip network-policy {chain} counter drop comment "no policy allows this ingress"
"""
    )


def test_accepted_egress_still_has_to_pass_ingress():
    out = dataclasses.replace(ALLOW, direction="egress", rules=(PolicyRule(),))
    text = written(ruleset_policy.policy_fragment(out, "ip"))
    assert text.splitlines()[-1].endswith('accept comment "shop/allow-front spec.egress[0]"')


addresses = st.integers(0, 2**32 - 1)
networks = st.builds(
    lambda number, bits: str(ip_network((number, bits), strict=False)),
    addresses,
    st.integers(0, 32),
)


@given(st.lists(st.tuples(networks, st.lists(networks, max_size=3)), max_size=4), addresses)
def test_blocks_become_exactly_their_addresses_without_overlap(blocks, number):
    found = block_ranges([Block(cidr, tuple(holes)) for cidr, holes in blocks], "ip")
    probes = [ip_address(number)]
    probes += [ip_network(text)[0] for cidr, holes in blocks for text in (cidr, *holes)]
    probes += [ip_network(text)[-1] for cidr, holes in blocks for text in (cidr, *holes)]
    for probe in probes:
        wanted = any(
            probe in ip_network(cidr) and not any(probe in ip_network(hole) for hole in holes)
            for cidr, holes in blocks
        )
        assert sum(probe in ip_network(text) for text in found) == int(wanted)


ports = st.tuples(st.integers(1, 99), st.integers(0, 20)).map(lambda p: (p[0], p[0] + p[1]))


@given(st.lists(ports, max_size=6))
def test_port_ranges_become_exactly_their_ports_without_overlap(ranges):
    found = merged_ports(PortRange("TCP", first, last) for first, last in ranges)
    seen = []
    for text in found:
        first, _, last = text.partition("-")
        seen += range(int(first), int(last or first) + 1)
    assert seen == sorted({n for first, last in ranges for n in range(first, last + 1)})


@pytest.mark.kernel
def test_the_kernel_accepts_every_kind_of_rule_in_both_families():
    everything = PolicyRule(
        addresses=frozenset(["10.244.1.7", "fd00::7"]),
        blocks=(Block("0.0.0.0/0", ("10.0.0.0/8", "10.1.0.0/16")), Block("::/0", ("fd00::/8",))),
        ports=tuple(PortRange(p, 1, n) for p in ("TCP", "UDP", "SCTP") for n in (80, 65535)),
        named=frozenset([("TCP", "10.244.1.7", 80), ("UDP", "fd00::7", 53)]),
    )
    with closing(Nft(linux.new_netns())) as nft:
        for family in ("ip", "ip6"):
            nft.run(ruleset_policy.base(family))
            table = Table(family, ruleset_policy.TABLE)
            changes = {}
            for direction in ("ingress", "egress"):
                policy = dataclasses.replace(
                    ALLOW,
                    direction=direction,
                    policy=f"{'n' * 63}/{'p' * 253}",
                    rules=(everything, PolicyRule(), PolicyRule(addresses=frozenset())),
                )
                pod = ruleset_policy.pod_fragment("cali0", direction, [policy])
                changes[direction,] = ruleset_policy.policy_fragment(policy, family)
                changes["pod", direction] = pod
            plan = table.plan(changes)
            nft.run(plan.text)
            table.commit(plan)
            nft.run(table.plan(dict.fromkeys(changes)).text)
