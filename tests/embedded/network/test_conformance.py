"""The engine that predicts and the kernel that enforces agree, on random small estates.

Policies of both kinds are made at random, compiled by the controllers' code, enforced in a
real network with two nodes and both address families, and every pair of pods is tried by
real packets on two ports. The pure engine (`k8slab.policy`) must have said the same. The
seed is in the message; ``K8SLAB_CONFORMANCE=SECONDS`` makes the run longer.
"""

import asyncio
import os
import random
import time

import pytest

from k8slab import policy
from k8slab.embedded.config import IP_FAMILIES, RANGES
from k8slab.embedded.controllers.cluster_policy_values import read_cluster_policy
from k8slab.embedded.controllers.policy_values import (
    Estate,
    compile_policy,
    pod_facts,
    read_policy,
)
from k8slab.embedded.daemon.exchanges import Exchange, Ports, Run
from k8slab.embedded.network.netlink import ipv6_exists

SECONDS = float(os.environ.get("K8SLAB_CONFORMANCE", "3"))
NAMESPACES = {"blue": {"team": "x"}, "green": {"team": "y"}}
PODS = [("blue", "web", 1), ("blue", "db", 2), ("green", "web", 1), ("green", "db", 2)]
PORTS = (8080, 9090)
OUTSIDE = {4: "203.0.113.10", 6: "2001:db8:113::10"}
VERSIONS = IP_FAMILIES["dual" if ipv6_exists() else "ipv4"]
CIDRS = [
    *("0.0.0.0/0", "10.244.0.0/16", "10.244.1.0/26", "10.244.2.1/32", "203.0.113.0/24"),
    *("::/0", "fd00:10:244::/56", "fd00:10:244::100/122", "2001:db8::/32"),
]


class Chance:
    """Random objects from one seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def some(self, make, most, least=0):
        return [make() for _ in range(self.random.randint(least, most))]

    def selector(self, key, values):
        return self.random.choice(
            [
                {},
                {"matchLabels": {key: self.random.choice(values)}},
                {
                    "matchExpressions": [
                        {"key": key, "operator": "NotIn", "values": [self.random.choice(values)]}
                    ]
                },
                {"matchExpressions": [{"key": key, "operator": "Exists"}]},
            ]
        )

    def namespaces(self):
        return self.selector("team", ["x", "y"])

    def pods(self):
        return self.selector("app", ["web", "db"])

    def network_policy(self, number):
        spec = {"podSelector": self.pods()}
        types = self.random.choice([["Ingress"], ["Egress"], ["Ingress", "Egress"], None])
        if types:
            spec["policyTypes"] = types
        for section, side in (("ingress", "from"), ("egress", "to")):
            if self.random.random() < 0.7:
                spec[section] = self.some(lambda side=side: self.rule(side), 2)
        metadata = {"name": f"np{number}", "namespace": self.random.choice([*NAMESPACES])}
        return {"kind": "NetworkPolicy", "metadata": metadata, "spec": spec}

    def rule(self, side):
        made = {}
        if self.random.random() < 0.8:
            made[side] = self.some(self.peer, 2)
        if self.random.random() < 0.5:
            made["ports"] = self.some(self.port, 2)
        return made

    def peer(self):
        kind = self.random.randrange(4)
        if kind == 0:
            cidr = self.random.choice(CIDRS)
            holes = {"0.0.0.0/0": ["10.244.1.0/26"], "fd00:10:244::/56": ["fd00:10:244::200/122"]}
            return {"ipBlock": {"cidr": cidr, "except": holes.get(cidr, [])}}
        peer = {}
        if kind in (1, 3):
            peer["podSelector"] = self.pods()
        if kind in (2, 3):
            peer["namespaceSelector"] = self.namespaces()
        return peer

    def port(self):
        return self.random.choice(
            [
                *({"port": 8080}, {"port": 9090}, {"port": "http"}, {"protocol": "TCP"}),
                *({"port": 8000, "endPort": 8999}, {"protocol": "UDP", "port": 8080}),
            ]
        )

    def cluster_policy(self, number):
        subject = self.random.choice([{"namespaces": self.namespaces()}, {"pods": self.both()}])
        spec = {
            "tier": self.random.choice(["Admin", "Admin", "Baseline"]),
            "priority": self.random.randrange(3),
            "subject": subject,
        }
        for section, side in (("ingress", "from"), ("egress", "to")):
            spec[section] = self.some(lambda side=side: self.cluster_rule(side), 2)
        metadata = {"name": f"cnp{number}"}
        return {"kind": "ClusterNetworkPolicy", "metadata": metadata, "spec": spec}

    def both(self):
        return {"namespaceSelector": self.namespaces(), "podSelector": self.pods()}

    def cluster_rule(self, side):
        peers = [lambda: {"namespaces": self.namespaces()}, lambda: {"pods": self.both()}]
        networks = side == "to" and self.random.random() < 0.3
        if networks:
            peers = [lambda: {"networks": self.random.sample(CIDRS, 2)}]
        made = {
            "action": self.random.choice(["Accept", "Deny", "Pass"]),
            side: [self.random.choice(peers)() for _ in range(self.random.randint(1, 2))],
        }
        if self.random.random() < 0.5:
            ports = [
                {"tcp": {"destinationPort": {"number": 8080}}},
                {"tcp": {"destinationPort": {"range": {"start": 9000, "end": 9999}}}},
                {"udp": {"destinationPort": {"number": 8080}}},
                *([] if networks else [{"destinationNamedPort": "http"}]),
            ]
            made["protocols"] = [self.random.choice(ports)]
        return made

    def policies(self):
        count = self.random.randint
        return [
            *(self.network_policy(number) for number in range(count(0, 3))),
            *(self.cluster_policy(number) for number in range(count(0, 3))),
        ]


def pod_object(fabric, place, addresses):
    namespace, app, node = place
    # The port named http is not the same number on every pod.
    port = {"name": "http", "containerPort": PORTS[app == "db"]}
    return {
        "kind": "Pod",
        "metadata": {
            "name": app,
            "namespace": namespace,
            "uid": f"{namespace}-{app}",
            "labels": {"app": app},
        },
        "spec": {
            "nodeName": fabric.nodes[node],
            "containers": [{"name": "main", "ports": [port]}],
        },
        "status": {"podIPs": [{"ip": a} for a in addresses], "phase": "Running"},
    }


def enforced(pods, policies):
    estate = Estate()
    estate.namespaces.update(NAMESPACES)
    for pod in pods:
        estate.put(pod_facts(pod))
    readers = {"NetworkPolicy": read_policy, "ClusterNetworkPolicy": read_cluster_policy}
    compiled = [readers[one["kind"]](one) for one in policies]
    return [direction for one in compiled for direction in compile_policy(one, estate)]


def flows(fabric, pods):
    """Return (source pod, source namespace's descriptor, address, port) of every flow."""
    found = []
    for source in pods:
        netns = fabric.netns[source["metadata"]["uid"]]
        targets = [
            entry["ip"] for pod in pods if pod is not source for entry in pod["status"]["podIPs"]
        ]
        targets += [OUTSIDE[version] for version in VERSIONS]
        found += [(source, netns, address, port) for address in targets for port in PORTS]
    return found


def predicted(pods, policies, tried):
    spaces = [{"kind": "Namespace", "metadata": {"name": n, "labels": labels}}
              for n, labels in NAMESPACES.items()]  # fmt: skip
    estate = policy.compile([*spaces, *pods, *policies])
    found = []
    for source, _, address, port in tried:
        metadata = source["metadata"]
        name = f"{metadata['namespace']}/{metadata['name']}"
        found.append(estate.decide(policy.Flow.of(name, f"ip:{address}", port)))
    return found


async def observed(fabric, tried):
    exchanges = [
        Exchange(netns=netns, source=str(netns), address=address, port=port)
        for _, netns, address, port in tried
    ]
    run = Run(exchanges, 30.0, fabric.ports)
    fabric.network.on_denial = run.deny
    try:
        return await asyncio.to_thread(run.run)
    finally:
        run.close()


async def build(fabric):
    fabric.ports = Ports()
    pods = []
    for place in PODS:
        uid = f"{place[0]}-{place[1]}"
        await fabric.pod(uid, place[2], serve=PORTS)
        pods.append(pod_object(fabric, place, fabric.network._pods[uid].addresses))
    return pods


@pytest.mark.kernel
async def test_the_engine_predicts_what_the_kernel_does(fabric):
    chosen = [RANGES[version] for version in VERSIONS]
    ranges = {
        "pod_cidrs": [each.pods for each in chosen],
        "node_cidrs": [each.nodes for each in chosen],
        "service_cidrs": [each.services for each in chosen],
    }
    first = random.randrange(1 << 30)
    async with fabric(**ranges) as f:
        pods = await build(f)
        tried = flows(f, pods)
        end, count, blocked = time.monotonic() + SECONDS, 0, 0
        while count < 2 or time.monotonic() < end:
            seed = first + count
            policies = Chance(seed).policies()
            await f.network.sync_policies(enforced(pods, policies))
            said = predicted(pods, policies, tried)
            seen = await observed(f, tried)
            for flow, verdict, result in zip(tried, said, seen, strict=True):
                assert result.outcome in ("open", "refused", "silent"), (seed, flow, result)
                passed = result.outcome != "silent"
                assert verdict.allowed is passed, (seed, policies, verdict.explain(), result)
                assert passed or result.denial, (seed, flow, "dropped without a report")
                blocked += not passed
            count += 1
        print(f"{count} estates, {count * len(tried)} flows, {blocked} of them blocked")
