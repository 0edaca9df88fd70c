"""The text of kube-proxy's table: what a learner reads on a node."""

import dataclasses
from contextlib import closing

import pytest

from k8slab.embedded import linux
from k8slab.embedded.network import ruleset_proxy
from k8slab.embedded.network.model import Endpoint, ServicePort
from k8slab.embedded.network.nft import Nft
from k8slab.embedded.network.ruleset import Table
from k8slab.embedded.network.ruleset_proxy import Place

PLACE = Place(
    family="ip",
    node="worker",
    addresses=("172.18.0.3", "fc00::3"),
    pod_cidrs=("10.244.0.0/16",),
    service_cidrs=("10.96.0.0/16",),
)
PLACE6 = dataclasses.replace(
    PLACE, family="ip6", pod_cidrs=("fd00:10:244::/56",), service_cidrs=("fd00:10:96::/112",)
)
WEB = ServicePort(
    namespace="shop",
    service="web",
    port_name="http",
    cluster_ips=("10.96.3.4", "fd00:10:96::4"),
    port=80,
    endpoints=(
        Endpoint("10.244.1.5", 8080, "worker"),
        Endpoint("10.244.2.5", 8080, "worker2"),
        Endpoint("fd00:10:244::5", 8080, "worker"),
    ),
)


def written(port, place=PLACE):
    return (
        Table(place.family, "kube-proxy")
        .plan({port.key: ruleset_proxy.service_port(port, place)})
        .text
    )


def test_a_cluster_ip_leads_to_a_random_endpoint():
    one, two = (
        "endpoint-FDH7QP7U-shop/web/tcp/http__10.244.1.5/8080",
        "endpoint-E3COWV6E-shop/web/tcp/http__10.244.2.5/8080",
    )
    service = "service-KHN6ECMT-shop/web/tcp/http"
    assert (
        written(WEB)
        == f"""\
add chain ip kube-proxy {one}
add chain ip kube-proxy {two}
add chain ip kube-proxy {service}
add element ip kube-proxy cluster-ips {{ 10.96.3.4 }}
add element ip kube-proxy service-ips {{ 10.96.3.4 . tcp . 80 : goto {service} }}
add rule ip kube-proxy {one} ip saddr 10.244.1.5 jump mark-for-masquerade
add rule ip kube-proxy {one} meta l4proto tcp dnat to 10.244.1.5:8080
add rule ip kube-proxy {two} ip saddr 10.244.2.5 jump mark-for-masquerade
add rule ip kube-proxy {two} meta l4proto tcp dnat to 10.244.2.5:8080
add rule ip kube-proxy {service} ip daddr 10.96.3.4 tcp dport 80 \
ip saddr != 10.244.0.0/16 jump mark-for-masquerade
add rule ip kube-proxy {service} numgen random mod 2 vmap {{ 0 : goto {one}, 1 : goto {two} }}
"""
    )


def test_each_family_has_its_own_addresses():
    text = written(WEB, PLACE6)
    assert "dnat to [fd00:10:244::5]:8080" in text
    assert "numgen random mod 1 vmap" in text
    assert "10.96.3.4" not in text
    assert "10.244.1.5" not in text


def test_without_endpoints_everything_is_rejected():
    port = dataclasses.replace(WEB, endpoints=(), node_port=30080, load_balancer_ips=("10.9.9.9",))
    assert (
        written(port)
        == """\
add element ip kube-proxy cluster-ips { 10.96.3.4 }
add element ip kube-proxy no-endpoint-services \
{ 10.96.3.4 . tcp . 80 : goto reject-chain, 10.9.9.9 . tcp . 80 : goto reject-chain }
add element ip kube-proxy no-endpoint-nodeports { tcp . 30080 : goto reject-chain }
"""
    )


def test_local_traffic_without_a_local_endpoint_is_dropped_not_rejected():
    far = tuple(e for e in WEB.endpoints if e.node == "worker2")
    port = dataclasses.replace(
        WEB, endpoints=far, node_port=30080, internal_local=True, external_local=True
    )
    text = written(port)
    assert "no-endpoint-services { 10.96.3.4 . tcp . 80 : drop }" in text
    assert "no-endpoint-nodeports { tcp . 30080 : drop }" in text
    # Pods and the node itself still reach the endpoint on the other node.
    assert "short-circuit pod traffic" in text
    assert "add chain ip kube-proxy local-" not in text


def test_endpoints_are_chosen_by_hints_where_all_have_one_and_some_is_meant_for_the_node():
    nodes = {name: frozenset({name}) for name in ("worker", "worker2", "worker3")}
    both = frozenset({"worker", "worker2"})

    def chosen(node, *hints):
        found = [
            Endpoint(f"10.244.1.{number}", 8080, for_nodes=for_nodes, for_zones=for_zones)
            for number, (for_nodes, for_zones) in enumerate(hints)
        ]
        return [found.index(one) for one in ruleset_proxy.nearest(found, node)]

    by_node = [(nodes["worker"], None), (nodes["worker2"], None)]
    assert chosen("worker", *by_node) == [0]
    assert chosen("worker3", *by_node) == [0, 1]
    assert chosen("worker", *by_node, (None, None)) == [0, 1, 2]
    by_both = [(nodes["worker2"], both), (nodes["worker3"], nodes["worker3"])]
    assert chosen("worker2", *by_both) == [0]
    assert chosen("worker", *by_both) == [0]
    assert chosen("elsewhere", *by_both) == [0, 1]
    hinted = (Endpoint("10.244.1.5", 8080, for_zones=both),)
    assert ruleset_proxy.depends_on_node(dataclasses.replace(WEB, endpoints=hinted))
    assert not ruleset_proxy.depends_on_node(WEB)


def test_source_ranges_are_a_firewall_in_front_of_the_load_balancer():
    port = dataclasses.replace(
        WEB, load_balancer_ips=("172.18.255.1",), source_ranges=("10.0.0.0/8", "fd00::/8")
    )
    text = written(port)
    assert "saddr != 10.0.0.0/8 drop" in text
    assert "firewall-ips { 172.18.255.1 . tcp . 80 : goto firewall-" in text


def test_affinity_keeps_a_set_of_clients_for_each_endpoint():
    text = written(dataclasses.replace(WEB, affinity_seconds=60))
    assert text.count("flags dynamic,timeout; timeout 60s;") == 2
    assert text.count("update @affinity-") == 2
    assert text.count("ip saddr @affinity-") == 2


def test_the_place_of_an_endpoint_matters_only_for_local_policies():
    assert not ruleset_proxy.depends_on_node(WEB)
    assert ruleset_proxy.depends_on_node(dataclasses.replace(WEB, internal_local=True))
    other = dataclasses.replace(PLACE, node="worker2")
    assert written(WEB) == written(WEB, other)


@pytest.mark.kernel
def test_the_kernel_accepts_every_kind_of_service_in_both_families():
    ports = [
        WEB,
        dataclasses.replace(WEB, service="b", endpoints=(), node_port=30001),
        dataclasses.replace(WEB, service="c", affinity_seconds=7, node_port=30002),
        dataclasses.replace(WEB, service="d", external_local=True, internal_local=True),
        dataclasses.replace(
            WEB,
            service="e" * 63,
            namespace="n" * 63,
            protocol="UDP",
            node_port=30004,
            external_local=True,
            load_balancer_ips=("172.18.255.1", "fc00::99"),
            source_ranges=("10.0.0.0/8", "fd00::/8"),
        ),
        dataclasses.replace(WEB, service="f", protocol="SCTP", external_ips=("198.18.0.9",)),
    ]
    with closing(Nft(linux.new_netns())) as nft:
        for place in (PLACE, PLACE6):
            table = Table(place.family, ruleset_proxy.TABLE)
            nft.run(ruleset_proxy.base(place))
            for port in ports:
                plan = table.plan({port.key: ruleset_proxy.service_port(port, place)})
                nft.run(plan.text)
                table.commit(plan)
            nft.run(table.plan(dict.fromkeys(port.key for port in ports)).text)
