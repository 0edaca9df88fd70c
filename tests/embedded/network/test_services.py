"""Services with real packets: the outcomes that kube-proxy promises."""

import asyncio
import dataclasses
import re
import socket
from ipaddress import ip_address, ip_network

import pytest
from ranges_kit import DUAL

from k8slab.embedded import linux
from k8slab.embedded.config import ClusterConfig
from k8slab.embedded.network import conntrack
from k8slab.embedded.network.model import Endpoint, ServicePort
from k8slab.embedded.network.netlink import ipv6_exists
from k8slab.embedded.network.services import may_leave_flows
from k8slab.errors import KernelError

CONTROL, WORKER, WORKER2 = ClusterConfig().node_names
IP = "10.96.3.4"
LB = "172.18.255.1"
BASE = ServicePort(namespace="default", service="web", cluster_ips=(IP,), port=80)


async def sync(fabric, *ports):
    await fabric.network.sync_services({port.key: port for port in ports})


def endpoint(fabric, name, node=1, port=8080, **more):
    return Endpoint(fabric.address[name], port, fabric.nodes[node], **more)


async def answers(fabric, source, destination, port=80, *, times=12):
    found = await asyncio.gather(*(fabric.ask(source, destination, port) for _ in range(times)))
    return {answer.split()[0] for answer in found}


@pytest.mark.kernel
async def test_a_cluster_ip_spreads_over_the_endpoints_and_keeps_the_pods_address(fabric):
    async with fabric() as f:
        await f.pod("a")
        await f.pod("b", 2)
        client = await f.pod("client")
        await sync(f, dataclasses.replace(BASE, endpoints=(endpoint(f, "a"), endpoint(f, "b", 2))))
        assert await answers(f, "client", IP, times=30) == {"a", "b"}
        assert (await f.ask("client", IP, 80)).endswith(f" {client}")
        # From outside of the pod range: masqueraded.
        assert (await f.ask(CONTROL, IP, 80)).endswith(" 172.18.0.2")


@pytest.mark.kernel
async def test_a_pod_reaches_itself_through_its_service(fabric):
    async with fabric() as f:
        await f.pod("a")
        await sync(f, dataclasses.replace(BASE, endpoints=(endpoint(f, "a"),)))
        assert await f.ask("a", IP, 80) == "a 172.18.0.3"


@pytest.mark.kernel
async def test_without_an_endpoint_and_on_other_ports_a_service_refuses(fabric):
    async with fabric() as f:
        await f.pod("a")
        both = dataclasses.replace(BASE, node_port=30080, endpoints=(endpoint(f, "a"),))
        await sync(f, both)
        assert await f.ask("a", IP, 81) == "refused"
        await sync(f, dataclasses.replace(both, endpoints=()))
        assert await f.ask("a", IP, 80) == "refused"
        assert await f.ask(CONTROL, IP, 80) == "refused"
        assert await f.ask("laptop", "172.18.0.2", 30080) == "refused"
        assert await f.blocked("a", "10.96.77.77", 80)


@pytest.mark.kernel
async def test_a_service_refuses_every_single_time(fabric):
    """The kernel would let one ICMP error a second out to each address (icmp(7))."""
    async with fabric() as f:
        await f.pod("a")
        dns = dataclasses.replace(BASE, protocol="UDP", port=53)
        await sync(f, dns)
        asked = [await f.ask_udp("a", IP, 53) for _ in range(20)]
        asked += [await f.ask_udp(WORKER2, f.address["a"], 9) for _ in range(20)]
        assert set(asked) == {"refused"}


@pytest.mark.kernel
async def test_a_terminating_endpoint_serves_only_when_no_other_is_left(fabric):
    async with fabric() as f:
        await f.pod("old")
        await f.pod("new")
        await f.pod("unready")
        leaving = endpoint(f, "old", terminating=True)
        unready = endpoint(f, "unready", serving=False)
        await sync(f, dataclasses.replace(BASE, endpoints=(leaving, unready)))
        assert await answers(f, "new", IP) == {"old"}
        await sync(f, dataclasses.replace(BASE, endpoints=(leaving, unready, endpoint(f, "new"))))
        assert await answers(f, "old", IP) == {"new"}


@pytest.mark.kernel
async def test_a_node_port_answers_on_every_node_and_hides_the_client(fabric):
    async with fabric() as f:
        await f.pod("a")
        await sync(f, dataclasses.replace(BASE, node_port=30080, endpoints=(endpoint(f, "a"),)))
        for number in (2, 3, 4):
            assert await f.ask("laptop", f"172.18.0.{number}", 30080) == f"a 172.18.0.{number}"
        assert (await f.ask("internet", "172.18.0.4", 30080)) == "a 172.18.0.4"


@pytest.mark.kernel
async def test_external_policy_local_keeps_the_client_and_drops_elsewhere(fabric):
    async with fabric() as f:
        await f.pod("a")
        await f.pod("client", 2)
        port = dataclasses.replace(
            BASE, node_port=30080, external_local=True, endpoints=(endpoint(f, "a"),)
        )
        await sync(f, port)
        assert await f.ask("laptop", "172.18.0.3", 30080) == "a 172.18.0.250"
        assert await f.blocked("laptop", "172.18.0.4", 30080)
        # Pods and the node itself are not "external": they reach any endpoint.
        assert (await f.ask("client", "172.18.0.4", 30080)).startswith("a ")
        assert (await f.ask(WORKER2, "172.18.0.4", 30080)).startswith("a ")


@pytest.mark.kernel
async def test_internal_policy_local_uses_only_the_clients_own_node(fabric):
    async with fabric() as f:
        await f.pod("a")
        await f.pod("b", 2)
        ends = (endpoint(f, "a"), endpoint(f, "b", 2))
        await sync(f, dataclasses.replace(BASE, internal_local=True, endpoints=ends))
        assert await answers(f, "a", IP) == {"a"}
        assert await answers(f, "b", IP) == {"b"}
        assert await f.blocked(CONTROL, IP, 80)


@pytest.mark.kernel
async def test_endpoints_that_are_meant_for_a_node_are_used_there_and_everybody_elsewhere(fabric):
    async with fabric() as f:
        await f.pod("a")
        await f.pod("b", 2)
        near, far = (frozenset({f.nodes[number]}) for number in (1, 2))
        ends = (endpoint(f, "a", for_nodes=near), endpoint(f, "b", 2, for_nodes=far))
        await sync(f, dataclasses.replace(BASE, endpoints=ends))
        assert await answers(f, "a", IP) == {"a"}
        assert await answers(f, "b", IP) == {"b"}
        assert await answers(f, CONTROL, IP, times=30) == {"a", "b"}


@pytest.mark.kernel
async def test_a_load_balancer_is_answered_by_one_node_and_can_move(fabric):
    async with fabric() as f:
        await f.pod("a")
        port = dataclasses.replace(BASE, load_balancer_ips=(LB,), endpoints=(endpoint(f, "a"),))
        await sync(f, port)
        assert await f.ask("laptop", LB, 80, patience=0.2) in ("silent", "unreachable")
        await f.network.announce_load_balancer(LB, WORKER2)
        assert await f.ask("laptop", LB, 80) == "a 172.18.0.4"
        await f.network.announce_load_balancer(LB, CONTROL)
        assert await f.ask("laptop", LB, 80) == "a 172.18.0.2"
        assert await f.ask("a", LB, 80) == "a 172.18.0.3"
        await f.network.announce_load_balancer(LB, None)
        await sync(f)
        assert await f.blocked("laptop", LB, 80)


def solicited(netns, address):
    """Ask an address itself whether it is still there; return whose the advertisement is."""
    with linux.in_netns(netns):
        asking = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    with asking:
        asking.settimeout(30)
        asking.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
        packed = ip_address(address).packed
        asking.sendto(bytes([135, 0]) + bytes(6) + packed, (address, 0))
        while (answer := asking.recv(100))[0] != 136:
            pass
        return str(ip_address(answer[8:24]))


@pytest.mark.kernel
@pytest.mark.skipif(not ipv6_exists(), reason="this kernel has no IPv6")
async def test_a_load_balancer_has_the_ports_of_its_services_and_no_other_one_of_the_node(fabric):
    async with fabric(**DUAL) as f:
        await f.pod("a")
        node = f.network.node_netns(WORKER)
        await f.serve(node, "the node", 22)
        both = tuple(str(ip_network(cidr)[10]) for cidr in f.config.load_balancer_cidrs)
        ends = tuple(Endpoint(own, 8080, WORKER) for own in f.network._pods["a"].addresses)
        port = dataclasses.replace(BASE, load_balancer_ips=both, endpoints=ends, node_port=30080)
        await sync(f, port, dataclasses.replace(port, service="empty", port=81, endpoints=()))
        own = f.network._nodes[WORKER].addresses
        for address, of_node in zip(both, own, strict=True):
            await f.network.announce_load_balancer(address, WORKER)
            for client in ("laptop", "internet", CONTROL, WORKER, "a"):
                assert (await f.ask(client, address, 80)).startswith("a "), (client, address)
            assert (await f.ask("laptop", of_node, 22)).startswith("the node ")
        for client in ("laptop", "internet", CONTROL, WORKER, "a"):
            assert await f.ask(client, both[0], 81) == "refused"
            for other in (22, 30080):
                assert await f.ask(client, both[0], other) == "unreachable", client
        # With IPv6 the kernel believes an error only when it comes a second time, after 1 s.
        assert await f.ask("laptop", both[1], 22) == "unreachable"
        assert solicited(f.network.world["laptop"], both[1]) == both[1]


@pytest.mark.kernel
async def test_source_ranges_drop_other_clients_of_the_load_balancer_only(fabric):
    async with fabric() as f:
        await f.pod("a")
        port = dataclasses.replace(
            BASE,
            load_balancer_ips=(LB,),
            source_ranges=("203.0.113.0/24", "192.0.2.2/32"),
            endpoints=(endpoint(f, "a"),),
        )
        await sync(f, port)
        await f.network.announce_load_balancer(LB, WORKER)
        assert (await f.ask("internet", LB, 80)).startswith("a ")
        assert await f.blocked("laptop", LB, 80)
        assert (await f.ask("a", IP, 80)).startswith("a ")


@pytest.mark.kernel
async def test_a_node_in_the_source_ranges_is_admitted_also_where_it_answers_for_the_address(
    fabric,
):
    async with fabric() as f:
        await f.pod("a")
        nodes = ("172.18.0.2/32", "172.18.0.3/32")
        port = dataclasses.replace(
            BASE, load_balancer_ips=(LB,), source_ranges=nodes, endpoints=(endpoint(f, "a"),)
        )
        await sync(f, port)
        await f.network.announce_load_balancer(LB, WORKER)
        for node in (CONTROL, WORKER):
            assert (await f.ask(node, LB, 80)).startswith("a ")
        assert await f.blocked(WORKER2, LB, 80)
        assert await f.blocked("laptop", LB, 80)


@pytest.mark.kernel
async def test_client_affinity_stays_with_one_endpoint(fabric):
    async with fabric() as f:
        for name in ("a", "b", "c"):
            await f.pod(name)
        ends = tuple(endpoint(f, name) for name in ("a", "b", "c"))
        port = dataclasses.replace(BASE, affinity_seconds=60, endpoints=ends)
        await sync(f, port)
        (chosen,) = await answers(f, WORKER2, IP, times=8)
        # Another endpoint joining or leaving does not move the client.
        others = tuple(e for e in ends if e.address != f.address[chosen])
        rest = (next(e for e in ends if e.address == f.address[chosen]), others[0])
        await sync(f, dataclasses.replace(port, endpoints=rest))
        assert await answers(f, WORKER2, IP, times=8) == {chosen}
        await sync(f, dataclasses.replace(port, endpoints=others))
        assert len(await answers(f, WORKER2, IP, times=8)) == 1


@pytest.mark.kernel
async def test_a_udp_client_that_keeps_its_port_follows_the_endpoints(fabric):
    async with fabric() as f:
        await f.pod("a", udp=(53,))
        await f.pod("b", 2, udp=(53,))
        await f.pod("client")
        dns = dataclasses.replace(BASE, protocol="UDP", port=53)

        async def ask():
            return (await f.ask_udp("client", IP, 53, from_port=5353)).split()[0]

        await sync(f, dataclasses.replace(dns, endpoints=(endpoint(f, "a", port=53),)))
        assert [await ask(), await ask()] == ["a", "a"]
        await sync(f, dataclasses.replace(dns, endpoints=(endpoint(f, "b", 2, port=53),)))
        assert await ask() == "b"
        await sync(f, dataclasses.replace(dns, endpoints=()))
        assert await ask() == "refused"
        await sync(f, dataclasses.replace(dns, endpoints=(endpoint(f, "a", port=53),)))
        assert await ask() == "a"


@pytest.mark.kernel
async def test_a_udp_client_of_a_node_port_is_served_although_it_asked_before_there_was_one(fabric):
    async with fabric() as f:
        await f.pod("a", udp=(53,))

        async def ask():
            answer = await f.ask_udp("laptop", "172.18.0.3", 30053, from_port=5353)
            return answer.split()[0]

        assert await ask() == "refused"  # by the node itself, which remembers the flow
        dns = dataclasses.replace(BASE, protocol="UDP", port=53, node_port=30053)
        await sync(f, dataclasses.replace(dns, endpoints=(endpoint(f, "a", port=53),)))
        assert await ask() == "a"


A, B = Endpoint("10.244.1.5", 53), Endpoint("10.244.1.6", 53)
UDP = dataclasses.replace(BASE, protocol="UDP", endpoints=(A,))


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        (None, {}, False),  # a new ClusterIP: packets to it were dropped
        (None, {"node_port": 30053}, True),
        (None, {"external_ips": ("198.18.0.1",)}, True),
        ({"endpoints": ()}, {}, False),  # packets were rejected
        ({}, {"endpoints": (A, B)}, False),
        ({"endpoints": (A, B)}, {}, True),
        ({}, {"endpoints": (B,)}, True),
        ({}, {"endpoints": (dataclasses.replace(A, serving=False),)}, True),
        ({}, {"endpoints": (dataclasses.replace(A, terminating=True),)}, False),
        ({}, {"node_port": 30053}, True),
        ({"external_ips": ("198.18.0.1",)}, {}, True),
        ({}, {"cluster_ips": ("10.96.3.5",)}, True),
        ({}, None, True),
        ({"endpoints": ()}, None, False),
        (None, None, False),
    ],
)
def test_the_table_of_connections_is_walked_only_when_flows_may_lead_astray(before, after, wanted):
    ports = [None if port is None else dataclasses.replace(UDP, **port) for port in (before, after)]
    assert may_leave_flows(*ports) is wanted


@pytest.mark.kernel
def test_where_there_is_no_connection_none_is_looked_for(monkeypatch):
    monkeypatch.setattr(conntrack, "_flows", None)
    assert conntrack.forget_udp(linux.open_netns(), lambda _: True) == 0


@pytest.mark.kernel
async def test_a_new_node_serves_what_was_there_before(fabric):
    async with fabric() as f:
        await f.pod("a")
        await sync(f, dataclasses.replace(BASE, endpoints=(endpoint(f, "a"),)))
        await f.network.add_node("late")
        assert await f.ask("late", IP, 80) == "a 172.18.0.5"


@pytest.mark.kernel
async def test_when_the_last_service_goes_the_table_is_as_it_was(fabric):
    async with fabric(nodes=2) as f:
        await f.pod("a")
        empty = f.rules(f.nodes[1], "kube-proxy")
        ends = (endpoint(f, "a"),)
        await sync(
            f,
            dataclasses.replace(BASE, endpoints=ends, node_port=30080, external_local=True),
            dataclasses.replace(BASE, service="two", affinity_seconds=5, endpoints=ends),
            dataclasses.replace(BASE, service="three", cluster_ips=("10.96.1.1",)),
        )
        assert f.rules(f.nodes[1], "kube-proxy") != empty
        await sync(f)
        assert f.rules(f.nodes[1], "kube-proxy") == empty


@pytest.mark.kernel
async def test_of_two_services_with_one_external_address_the_first_by_name_has_it(fabric):
    async with fabric() as f:
        await f.pod("a")
        await f.pod("b")
        outside = {"external_ips": ("198.18.0.1",), "cluster_ips": ()}
        first = dataclasses.replace(BASE, service="a", endpoints=(endpoint(f, "a"),), **outside)
        second = dataclasses.replace(BASE, service="b", endpoints=(endpoint(f, "b"),), **outside)
        await sync(f, second)
        assert await answers(f, "b", "198.18.0.1") == {"b"}
        await sync(f, first, second)
        assert await answers(f, "b", "198.18.0.1") == {"a"}
        await sync(f, second)
        assert await answers(f, "a", "198.18.0.1") == {"b"}


@pytest.mark.kernel
async def test_what_the_kernel_refuses_keeps_nothing_else_out_and_is_tried_again(fabric):
    async with fabric(nodes=2) as f:
        await f.pod("a")
        good = dataclasses.replace(BASE, endpoints=(endpoint(f, "a"),))
        await sync(f, good)
        other = dataclasses.replace(good, service="other", port=82)
        bad = dataclasses.replace(BASE, service="bad", port=99_999, endpoints=good.endpoints)
        with pytest.raises(KernelError, match="service-ips: 99999 is not a port"):
            await sync(f, good, bad, other)
        assert "default/bad" not in f.rules(f.nodes[1], "kube-proxy")
        assert await f.ask("a", IP, 82) == "a 172.18.0.3"
        await sync(f, good, dataclasses.replace(bad, port=81))
        assert await f.ask("a", IP, 82) == "refused"
        assert await f.ask("a", IP, 81) == "a 172.18.0.3"


@pytest.mark.kernel
async def test_hundreds_of_services_fit_through_a_socket_without_privileges(fabric):
    async with fabric(nodes=1) as f:
        ports = [
            dataclasses.replace(
                BASE,
                service=f"s{number}",
                cluster_ips=(f"10.96.1.{number}",),
                endpoints=(Endpoint("10.244.9.1", 80), Endpoint("10.244.9.2", 80)),
            )
            for number in range(200)
        ]
        await sync(f, *ports)
        chain = re.compile(r"chain service-[A-Z2-7]{8}-")
        assert len(chain.findall(f.rules(f.nodes[0], "kube-proxy"))) == 200
        await sync(f)
        assert not chain.findall(f.rules(f.nodes[0], "kube-proxy"))
