"""Many Services and policies: a change costs what changes, and holds for the next packet."""

import dataclasses

import pytest

from k8slab.embedded.config import ClusterConfig
from k8slab.embedded.network.model import (
    Block,
    Endpoint,
    PolicyDirection,
    PolicyRule,
    PortRange,
    ServicePort,
)

CONTROL, WORKER, WORKER2 = ClusterConfig().node_names
IP = "10.96.200.1"
SERVICE = ServicePort(namespace="default", service="one", cluster_ips=(IP,), port=80)


def recorded(node):
    """Return the list to which a node's messages to the kernel are added."""
    sent, transactions = [], node.rules._transactions
    send = transactions.run
    transactions.run = lambda batch: (sent.extend(m.what for m in batch), send(batch))[1]
    return sent


def services(count):
    ends = tuple(Endpoint(f"10.244.9.{number}", 80) for number in (1, 2, 3))
    ports = (
        dataclasses.replace(
            SERVICE, service=f"s{n}", cluster_ips=(f"10.96.{n >> 8}.{n & 255}",), endpoints=ends
        )
        for n in range(1, count + 1)
    )
    return {port.key: port for port in ports}


@pytest.mark.kernel
async def test_one_service_changes_with_the_same_few_messages_among_400_as_alone(fabric):
    async with fabric() as f:
        await f.pod("a")
        await f.pod("b", 2)
        await f.pod("client")
        sent = recorded(f.network._nodes[WORKER])
        costs = []
        for others in ({}, services(400)):
            for name, node in (("a", WORKER), ("b", WORKER2)):
                ends = (Endpoint(f.address[name], 8080, node),)
                one = dataclasses.replace(SERVICE, endpoints=ends)
                await f.network.sync_services({**others, one.key: one})
                assert (await f.ask("client", IP, 80)).startswith(f"{name} ")
                costs.append(sent.copy())
                sent.clear()
        assert len(costs[1]) == len(costs[3]) < 15
        assert len(costs[2]) > 400  # the others came with it


def among(number, subjects):
    rules = (
        PolicyRule(
            addresses=frozenset([f"10.244.{number % 200}.9"]),
            blocks=(Block(f"192.168.{number % 256}.0/24"),),
            ports=(PortRange("TCP", 9000, 9000 + number),),
        ),
    )
    return [
        PolicyDirection(policy=f"n/p{number}", direction=way, subjects=subjects, rules=rules)
        for way in ("ingress", "egress")
    ]


@pytest.mark.kernel
async def test_among_500_policies_a_new_one_holds_for_the_next_packet(fabric):
    async with fabric() as f:
        names = [f"p{number}" for number in range(10)]
        for number, name in enumerate(names):
            await f.pod(name, 1 + number % 2, serve=())
        await f.pod("client")
        await f.pod("server", 2)
        many = [
            direction
            for number in range(500)
            for direction in among(number, frozenset(names[number % 10 :][:1]))
        ]
        await f.network.sync_policies(many)
        sent = recorded(f.network._nodes[WORKER2])
        deny = PolicyDirection(policy="n/z", direction="ingress", subjects=frozenset(["server"]))
        for _ in range(5):
            await f.network.sync_policies([*many, deny])
            assert await f.blocked("client", "server")
            await f.network.sync_policies(many)
            assert (await f.ask("client", "server")).startswith("server ")
        assert len(sent) < 5 * 15
