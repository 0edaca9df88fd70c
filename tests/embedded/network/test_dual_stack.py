"""Both address families at once: every address field is a list, and nothing else differs."""

import asyncio
import socket

import pytest

from k8slab.embedded import linux
from k8slab.embedded.network.model import (
    Endpoint,
    PolicyDirection,
    PolicyRule,
    ServicePort,
)
from k8slab.embedded.network.netlink import ipv6_exists

DUAL = {
    "pod_cidrs": ["10.244.0.0/16", "fd00:10:244::/56"],
    "node_cidrs": ["172.18.0.0/16", "fc00:f853:ccd:e793::/64"],
    "service_cidrs": ["10.96.0.0/16", "fd00:10:96::/112"],
}
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
        listener.settimeout(5)

        def seen(source, address, port=8080, patience=5.0):
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
