"""NetworkPolicy with real packets: what passes, what is dropped and what is reported."""

import asyncio
import dataclasses
import socket
import time

import pytest
from ranges_kit import DUAL

from k8slab.embedded import linux
from k8slab.embedded.config import ClusterConfig
from k8slab.embedded.network.model import (
    Block,
    Endpoint,
    PolicyDirection,
    PolicyRule,
    PortRange,
    ServicePort,
)
from k8slab.embedded.network.netlink import ipv6_exists

CONTROL, WORKER, WORKER2 = ClusterConfig().node_names
TCP8080 = (PortRange("TCP", 8080, 8080),)


def ingress(*subjects, rules=(), policy="default/p"):
    return PolicyDirection(
        policy=policy, direction="ingress", subjects=frozenset(subjects), rules=tuple(rules)
    )


def egress(*subjects, rules=(), policy="default/p"):
    return dataclasses.replace(ingress(*subjects, rules=rules, policy=policy), direction="egress")


def peers(fabric, *names, **more):
    return PolicyRule(addresses=frozenset(fabric.address[name] for name in names), **more)


@pytest.mark.kernel
async def test_deny_all_ingress_drops_and_reports_every_packet(fabric):
    async with fabric() as f:
        await f.pod("server")
        near, far = await f.pod("near"), await f.pod("far", 2)
        await f.network.sync_policies([ingress("server")])
        for source, address in (("near", near), ("far", far)):
            assert await f.blocked(source, "server")
            denial = await f.denial(source=address)
            assert (denial.pod_uid, denial.direction, denial.node) == ("server", "ingress", WORKER)
            assert (denial.protocol, denial.destination_port) == ("TCP", 8080)
            assert denial.destination == f.address["server"]
            assert denial.source_port > 0
        assert (await f.ask("server", "near")).startswith("near ")
        assert f.network.lost_denials == 0


@pytest.mark.kernel
async def test_egress_is_decided_where_the_client_is(fabric):
    async with fabric() as f:
        await f.pod("client")
        await f.pod("near")
        await f.pod("far", 2)
        await f.network.sync_policies([egress("client", rules=[peers(f, "near")])])
        assert (await f.ask("client", "near")).startswith("near ")
        assert await f.blocked("client", "far")
        denial = await f.denial(direction="egress")
        assert (denial.pod_uid, denial.node) == ("client", WORKER)
        # Also towards its own node and the world outside.
        assert await f.blocked("client", "172.18.0.3", 10250)
        assert await f.blocked("client", "203.0.113.10", 80)
        assert (await f.ask("far", "client")).startswith("client ")


@pytest.mark.kernel
async def test_on_one_node_both_directions_must_allow(fabric):
    async with fabric() as f:
        await f.pod("server")
        await f.pod("client")
        out, into = egress("client"), ingress("server")
        out_ok = egress("client", rules=[peers(f, "server")])
        in_ok = ingress("server", rules=[peers(f, "client")])
        for policies, passes in (
            ([out_ok, into], False),
            ([out, in_ok], False),
            ([out_ok, in_ok], True),
        ):
            await f.network.sync_policies(policies)
            assert await (f.passes if passes else f.blocked)("client", "server")


@pytest.mark.kernel
async def test_the_own_node_reaches_its_pods_always_and_other_nodes_do_not(fabric):
    async with fabric() as f:
        await f.pod("server")
        await f.network.sync_policies([ingress("server")])
        assert await f.ask(WORKER, "server") == "server 172.18.0.3"
        assert await f.blocked(WORKER2, "server")


@pytest.mark.kernel
async def test_several_policies_add_up(fabric):
    async with fabric() as f:
        for name in ("server", "a", "b", "c"):
            await f.pod(name)
        first = ingress("server", rules=[peers(f, "a")], policy="default/first")
        second = ingress("server", rules=[peers(f, "b")], policy="default/second")
        await f.network.sync_policies([first, second])
        assert (await f.ask("a", "server")).startswith("server ")
        assert (await f.ask("b", "server")).startswith("server ")
        assert await f.blocked("c", "server")
        await f.network.sync_policies([second])
        assert await f.blocked("a", "server")


@pytest.mark.kernel
async def test_ports_and_ranges_are_matched_after_the_service(fabric):
    async with fabric() as f:
        await f.pod("server", serve=(8080, 8081, 9000), udp=(8080,))
        await f.pod("client", 2)
        service = ServicePort(
            namespace="default",
            service="web",
            cluster_ips=("10.96.0.80",),
            port=80,
            endpoints=(Endpoint(f.address["server"], 8080, WORKER),),
        )
        await f.network.sync_services({service.key: service})
        for first, last, port80, udp in ((8080, 8081, True, False), (80, 80, False, False)):
            rule = PolicyRule(ports=(PortRange("TCP", first, last),))
            await f.network.sync_policies([ingress("server", rules=[rule])])
            patience = 30.0 if port80 else 0.3  # an answer may take long, and ends the waiting
            answer = await f.ask("client", "10.96.0.80", 80, patience=patience)
            assert (answer != "silent") is port80
            answer = await f.ask("client", "server", 8081, patience=patience)
            assert (answer != "silent") is port80
            assert await f.blocked("client", "server", 9000)
            answer = await f.ask_udp("client", f.address["server"], 8080, patience=0.2)
            assert (answer != "silent") is udp


@pytest.mark.kernel
async def test_a_block_with_exceptions_matches_the_rest(fabric):
    async with fabric() as f:
        await f.pod("server")
        for name in ("in", "out"):
            await f.pod(name, 2)
        block = Block("10.244.0.0/16", (f"{f.address['out']}/32",))
        await f.network.sync_policies([ingress("server", rules=[PolicyRule(blocks=(block,))])])
        assert (await f.ask("in", "server")).startswith("server ")
        assert await f.blocked("out", "server")
        # Not a deny: another rule may still allow it.
        rules = [PolicyRule(blocks=(block,)), peers(f, "out")]
        await f.network.sync_policies([ingress("server", rules=rules)])
        assert (await f.ask("out", "server")).startswith("server ")


@pytest.mark.kernel
async def test_a_named_port_is_each_destinations_own(fabric):
    async with fabric() as f:
        await f.pod("a", serve=(8080, 9090))
        await f.pod("b", 2, serve=(8080, 9090))
        await f.pod("client")
        named = frozenset([("TCP", f.address["a"], 8080), ("TCP", f.address["b"], 9090)])
        for policy in (ingress("a", "b"), egress("client")):
            await f.network.sync_policies(
                [dataclasses.replace(policy, rules=(PolicyRule(named=named),))]
            )
            assert (await f.ask("client", "a", 8080)).startswith("a ")
            assert (await f.ask("client", "b", 9090)).startswith("b ")
            assert await f.blocked("client", "a", 9090)
            assert await f.blocked("client", "b", 8080)


@pytest.mark.kernel
async def test_nobody_is_not_everyone(fabric):
    async with fabric() as f:
        await f.pod("server")
        await f.pod("client")
        nobody = PolicyRule(addresses=frozenset(), blocks=())
        no_port = PolicyRule(ports=(), named=frozenset())
        for rule, passes in ((nobody, False), (no_port, False), (PolicyRule(), True)):
            await f.network.sync_policies([ingress("server", rules=[rule])])
            assert await (f.passes if passes else f.blocked)("client", "server")


@pytest.mark.kernel
async def test_a_pod_through_its_own_service_is_a_peer_like_any_other(fabric):
    async with fabric() as f:
        await f.pod("server")
        service = ServicePort(
            namespace="default",
            service="web",
            cluster_ips=("10.96.0.80",),
            port=80,
            endpoints=(Endpoint(f.address["server"], 8080, WORKER),),
        )
        await f.network.sync_services({service.key: service})
        await f.network.sync_policies([ingress("server")])
        assert (await f.ask("server", "server")).startswith("server ")  # never leaves the pod
        assert await f.blocked("server", "10.96.0.80", 80)
        await f.network.sync_policies([ingress("server", rules=[peers(f, "server")])])
        assert (await f.ask("server", "10.96.0.80", 80)).startswith("server ")


@pytest.mark.kernel
async def test_an_established_connection_survives_a_new_deny(fabric):
    async with fabric() as f:
        await f.pod("server", serve=())
        await f.pod("client", 2)
        loop = asyncio.get_running_loop()
        with linux.in_netns(f.netns["server"]):
            listener = socket.create_server(("0.0.0.0", 8080))
        with linux.in_netns(f.netns["client"]):
            client = socket.create_connection((f.address["server"], 8080), timeout=30)
        server, _ = listener.accept()
        await f.network.sync_policies([ingress("server"), egress("client")])
        client.send(b"still here")
        server.setblocking(False)
        assert await asyncio.wait_for(loop.sock_recv(server, 100), 30) == b"still here"
        for sock in (client, server, listener):
            sock.close()


@pytest.mark.kernel
async def test_no_packet_leaks_after_the_policy_is_in_force(fabric):
    async with fabric() as f:
        address = await f.pod("server", serve=(), udp=())
        await f.pod("client", 2)
        with linux.in_netns(f.netns["server"]):
            server = socket.socket(type=socket.SOCK_DGRAM)
        server.bind(("0.0.0.0", 9))
        server.settimeout(30)
        for number in range(100):
            with linux.in_netns(f.netns["client"]):
                before = socket.socket(type=socket.SOCK_DGRAM)
                after = socket.socket(type=socket.SOCK_DGRAM)
            with before, after:
                before.sendto(b"before %d" % number, (address, 9))
                # A busy machine leaves packets to ksoftirqd: each is waited for.
                assert server.recv(100) == b"before %d" % number
                await f.network.sync_policies([ingress("server")])
                after.sendto(b"after", (address, 9))
                await f.denial(source_port=after.getsockname()[1])
                await f.network.sync_policies([])
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.recv(100)
        server.close()
        assert len([d for d in f.denials if d.protocol == "UDP"]) == 100


@pytest.mark.kernel
async def test_a_pod_is_isolated_from_its_first_moment(fabric):
    async with fabric() as f:
        await f.pod("client", 2)
        await f.network.sync_policies([ingress("server")])
        await f.pod("server")
        assert await f.blocked("client", "server")
        assert (await f.denial(pod_uid="server")).source == f.address["client"]


@pytest.mark.kernel
async def test_only_changed_peers_change_in_the_kernel(fabric):
    async with fabric() as f:
        for name in ("server", "a", "b"):
            await f.pod(name)
        written = []
        node = f.network._nodes[WORKER]
        send = node.rules._transactions.run
        node.rules._transactions.run = lambda batch: (written.extend(batch), send(batch))[1]
        await f.network.sync_policies([ingress("server", rules=[peers(f, "a", ports=TCP8080)])])
        written.clear()
        await f.network.sync_policies(
            [ingress("server", rules=[peers(f, "a", "b", ports=TCP8080)])]
        )
        (message,) = written
        assert message.what.startswith("add element ip network-policy pods-")
        assert message.what.endswith(f"{{ {f.address['b']} }}")
        assert (await f.ask("b", "server")).startswith("server ")


@pytest.mark.kernel
async def test_when_policies_and_pods_go_the_table_is_as_it_was(fabric):
    async with fabric(nodes=2) as f:
        await f.pod("other")
        empty = f.rules(f.nodes[1], "network-policy")
        await f.pod("server")
        rule = peers(f, "other", ports=TCP8080)
        block = PolicyRule(blocks=(Block("10.0.0.0/8"),))
        policies = [
            ingress("server", rules=[rule, block]),
            egress("server", rules=[rule], policy="default/q"),
        ]
        await f.network.sync_policies(policies)
        assert f.rules(f.nodes[1], "network-policy") != empty
        await f.network.detach_pod("server")
        assert f.rules(f.nodes[1], "network-policy") == empty
        await f.pod("server")
        assert "jump ingress-" in f.rules(f.nodes[1], "network-policy")
        await f.network.sync_policies([])
        assert f.rules(f.nodes[1], "network-policy") == empty


@pytest.mark.kernel
async def test_after_a_failure_the_next_sync_makes_everything_true(fabric):
    async with fabric(nodes=2) as f:
        await f.pod("server")
        await f.pod("client")
        rules = [PolicyRule(blocks=(Block("no range"),))]
        bad = ingress("server", policy="default/bad", rules=rules)
        with pytest.raises(ValueError, match="no range"):
            await f.network.sync_policies([ingress("server"), bad])
        await f.network.sync_policies([ingress("server")])
        assert await f.blocked("client", "server")


@pytest.mark.kernel
async def test_a_flood_of_denied_packets_does_not_stop_the_loop(fabric):
    async with fabric(nodes=2) as f:
        await f.pod("server")
        await f.pod("client")
        await f.network.sync_policies([ingress("server")])
        with linux.in_netns(f.netns["client"]):
            flood = socket.socket(type=socket.SOCK_DGRAM)
        with flood:
            for _ in range(3000):
                flood.sendto(b"x", (f.address["server"], 9))
        worst, last = 0.0, time.thread_time()
        while len(f.denials) + f.network.lost_denials < 3000 and not f.network.lost_denials:
            await asyncio.sleep(0)
            worst, last = max(worst, time.thread_time() - last), time.thread_time()
        assert worst < 0.1  # of the processor's time; a batch takes about a millisecond


FREE_SOURCE = {4: (socket.IPPROTO_IP, 19), 6: (socket.IPPROTO_IPV6, 75)}
"""IP_TRANSPARENT and IPV6_TRANSPARENT: bind to an address that is not one's own (ip(7))."""


@pytest.mark.kernel
@pytest.mark.skipif(not ipv6_exists(), reason="this kernel has no IPv6")
async def test_a_pod_cannot_send_with_the_address_of_one_that_a_policy_admits(fabric):
    async with fabric(**DUAL) as f:
        for name, node in (("server", 1), ("friend", 2), ("near", 1), ("far", 2)):
            await f.pod(name, node, serve=())
        both = {name: f.network._pods[name].addresses for name in f.netns}
        admitted = PolicyRule(addresses=frozenset(both["friend"]))
        await f.network.sync_policies([ingress("server", rules=[admitted])])
        with linux.in_netns(f.netns["server"]):
            server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        server.bind(("::", 9))
        server.settimeout(30)

        def send(source, number, address):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with linux.in_netns(f.netns[source]), socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.setsockopt(*FREE_SOURCE[6 if ":" in address else 4], 1)
                sock.bind((address, 0))
                sock.sendto(source.encode(), (both["server"][number], 9))

        for number in (0, 1):
            friend = both["friend"][number]
            for source in ("near", "far", "friend"):
                send(source, number, friend)
            data, peer = server.recvfrom(100)
            assert (data, peer[0].removeprefix("::ffff:")) == (b"friend", friend)
        server.close()
