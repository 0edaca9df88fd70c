"""Both address families at once: every address field is a list, and nothing else differs."""

import asyncio
import socket

import pytest
from ranges_kit import DUAL, ranges

from k8slab.embedded import linux
from k8slab.embedded.config import world_hosts
from k8slab.embedded.network.model import (
    Endpoint,
    PolicyDirection,
    PolicyRule,
    ServicePort,
)
from k8slab.embedded.network.netlink import ipv6_exists

pytestmark = pytest.mark.skipif(not ipv6_exists(), reason="no IPv6 here")


async def attach(fabric, name, node):
    fabric.netns[name] = linux.new_netns()
    return await fabric.network.attach_pod(
        node=fabric.nodes[node], uid=name, netns=fabric.netns[name]
    )


@pytest.mark.kernel
async def test_pods_services_and_policies_work_in_both_families(fabric):
    async with fabric(**DUAL) as f:
        server = await attach(f, "server", 1)
        near, far = await attach(f, "near", 1), await attach(f, "far", 2)
        assert f.network.pod_cidrs(f.nodes[1]) == ["10.244.1.0/26", "fd00:10:244::100/122"]
        with linux.in_netns(f.netns["server"]):
            listener = socket.create_server(
                ("::", 8080), family=socket.AF_INET6, dualstack_ipv6=True
            )
        listener.settimeout(30)

        def seen(source, address, port=8080, patience=30.0):
            """Return the client's address as the server sees it."""
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with linux.in_netns(f.place(source)), socket.socket(family) as client:
                client.settimeout(patience)
                client.connect((address, port))
                connection, peer = listener.accept()
                connection.close()
                return peer[0].removeprefix("::ffff:")

        service = ServicePort(
            namespace="default",
            service="web",
            cluster_ips=("10.96.3.4", "fd00:10:96::4"),
            port=80,
            endpoints=tuple(Endpoint(address, 8080, f.nodes[1]) for address in server),
        )
        await f.network.sync_services({service.key: service})
        for index in (0, 1):
            for name, own in (("near", near), ("far", far)):
                assert seen(name, server[index]) == own[index]
                assert seen(name, service.cluster_ips[index], 80) == own[index]
            node = f.network._nodes[f.nodes[0]]
            assert seen(f.nodes[0], server[index]) == node.addresses[index]

        policy = PolicyDirection(
            policy="default/near",
            direction="ingress",
            subjects=frozenset(["server"]),
            rules=(PolicyRule(addresses=frozenset(near)),),
        )
        await f.network.sync_policies([policy])
        for index in (0, 1):
            assert seen("near", server[index]) == near[index]
            with pytest.raises(TimeoutError):
                await asyncio.to_thread(seen, "far", server[index], 8080, 0.2)
            denial = await f.denial(source=far[index])
            assert denial.destination == server[index]
        listener.close()


@pytest.mark.kernel
async def test_an_ipv6_load_balancer_is_answered_by_one_node_and_can_move(fabric):
    balancer = "fc00:f853:ccd:e793::ff01"
    async with fabric(**ranges("ipv6")) as f:
        address = await f.pod("a")
        assert address == "fd00:10:244::101"
        port = ServicePort(
            namespace="default",
            service="web",
            cluster_ips=("fd00:10:96::4",),
            port=80,
            load_balancer_ips=(balancer,),
            endpoints=(Endpoint(address, 8080, f.nodes[1]),),
        )
        await f.network.sync_services({port.key: port})
        assert await f.ask("laptop", balancer, 80, patience=0.2) in ("silent", "unreachable")
        for index in (2, 0):
            await f.network.announce_load_balancer(balancer, f.nodes[index])
            node = f.network._nodes[f.nodes[index]].addresses[0]
            assert await f.ask("laptop", balancer, 80) == f"a {node}"
        await f.network.announce_load_balancer(balancer, None)
        await f.network.sync_services({})
        assert await f.ask("laptop", balancer, 80, patience=0.2) in ("silent", "unreachable")


@pytest.mark.kernel
async def test_the_first_packet_over_ipv6_is_not_held_back_by_neighbours_or_duplicate_detection(
    fabric,
):
    async with fabric(**DUAL) as f:
        for number in range(5):
            await f.pod(f"server{number}", 1)
            await f.pod(f"client{number}", 2)
            address = f.network._pods[f"server{number}"].addresses[1]
            assert (await f.ask(f"client{number}", address)).startswith(f"server{number} fd00:")
        # Duplicate detection and a lost solicitation each take a second: the kernel sends again.
        assert f.retransmitted == 0


@pytest.mark.kernel
async def test_the_world_outside_has_both_families_and_sees_the_node(fabric):
    async with fabric(**DUAL) as f:
        await f.pod("client")
        node = f.network._nodes[f.nodes[1]].addresses
        for host in world_hosts([4, 6]):
            if host.role == "web" and host.network == "internet":
                await f.serve(f.network.world["internet"], host.address, 8000)
                break
        for host in world_hosts([4, 6]):
            if host.network == "internet":
                seen = await f.ask("client", host.address, 8000)
                assert seen.split()[1] == node[":" in host.address]
        # What is in the range and nowhere else is said to be unreachable, and soon.
        assert await f.ask("client", "2001:db8:dead::1", 8000) in ("unreachable", "refused")
