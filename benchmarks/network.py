"""How fast the network room is: nodes, pods, Services, policies; p50, p99 and worst, in ms.

Runs in user and network namespaces of its own, so it needs no root and touches nothing:

    python benchmarks/network.py [SERVICES]

SERVICES is how many Services are there already while one of them changes (default 20).
"Event loop late by" is how long a timer had to wait for its turn.
"""

import asyncio
import dataclasses
import os
import socket
import sys
import time
from pathlib import Path

from k8slab.embedded import linux
from k8slab.embedded.config import ClusterConfig
from k8slab.embedded.network.model import Endpoint, PolicyDirection, PolicyRule, ServicePort
from k8slab.embedded.network.network import Network

PODS = 100
ROUNDS = 200


def enter_namespaces():
    uid, gid = os.getuid(), os.getgid()
    linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def show(name, seconds):
    ordered = sorted(seconds)
    picked = (ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], ordered[-1])
    print(f"{name:44}" + "".join(f"{value * 1000:10.2f}" for value in picked))


async def timed(coroutine):
    start = time.perf_counter()
    result = await coroutine
    return time.perf_counter() - start, result


async def lateness(found):
    """Note how late the event loop comes back to a timer."""
    while True:
        due = time.perf_counter() + 0.001
        await asyncio.sleep(0.001)
        found.append(max(0.0, time.perf_counter() - due))


def busy(loop, until):
    """Keep the event loop busy, as an API under load does, until `until` is done."""
    if not until.done():
        loop.call_soon(busy, loop, until)


def service(name, number, pods, nodes):
    return ServicePort(
        namespace="default",
        service=name,
        cluster_ips=(f"10.96.{number // 250}.{number % 250 + 1}",),
        port=80,
        endpoints=tuple(
            Endpoint(pods[(number + i) % len(pods)][1], 8080, nodes[1 + i % 2]) for i in range(3)
        ),
    )


async def attach_all(network, nodes):
    attached, connected, pods = [], [], []
    for number in range(PODS):
        netns = linux.new_netns()
        node = nodes[1 + number % 2]
        seconds, answer = await timed(
            network.attach_pod(node=node, uid=f"pod{number}", netns=netns)
        )
        with linux.in_netns(netns):
            server = socket.create_server(("0.0.0.0", 8080))
        with linux.in_netns(network.node_netns(nodes[0])):
            client = socket.socket()
        start = time.perf_counter()
        client.connect((answer[0], 8080))
        connected.append(time.perf_counter() - start)
        client.close()
        server.close()
        attached.append(seconds)
        pods.append((netns, answer[0]))
    show("attach a pod", attached)
    show("first connection to it, across nodes", connected)
    return pods


async def services(network, pods, nodes, count):
    wanted = {}
    for number in range(count):
        port = service(f"s{number}", number, pods, nodes)
        wanted[port.key] = port
    seconds, _ = await timed(network.sync_services(wanted))
    show(f"{count} Services at once, 3 nodes", [seconds])
    changes = []
    for number in range(ROUNDS // 2):
        port = service("one", number, pods, nodes)
        seconds, _ = await timed(network.sync_services({**wanted, port.key: port}))
        changes.append(seconds)
    show(f"one Service among {count} changes, 3 nodes", changes)


async def policies(network):
    deny = PolicyDirection(policy="default/deny", direction="ingress", subjects=frozenset(["pod0"]))
    added, removed, changed = [], [], []
    for _ in range(ROUNDS):
        added.append((await timed(network.sync_policies([deny])))[0])
        removed.append((await timed(network.sync_policies([])))[0])
    for number in range(ROUNDS):
        rule = PolicyRule(addresses=frozenset([f"10.244.1.{number % 60}"]))
        policy = dataclasses.replace(deny, rules=(rule,))
        changed.append((await timed(network.sync_policies([policy])))[0])
    show("a policy on one pod, to enforced", added)
    show("the policy removed", removed)
    show("one peer address changed", changed)
    everyone = dataclasses.replace(deny, subjects=frozenset(f"pod{n}" for n in range(PODS)))
    many = []
    for _ in range(20):
        many.append((await timed(network.sync_policies([everyone])))[0])
        await network.sync_policies([])
    show(f"a policy on {PODS} pods of 2 nodes", many)


async def under_load(network, nodes):
    loop = asyncio.get_running_loop()
    enough = loop.create_future()
    busy(loop, enough)
    deny = PolicyDirection(policy="a/b", direction="ingress", subjects=frozenset(["pod0"]))
    attached, changed = [], []
    for number in range(20):
        netns = linux.new_netns()
        attach = network.attach_pod(node=nodes[1], uid=f"loaded{number}", netns=netns)
        attached.append((await timed(attach))[0])
        changed.append((await timed(network.sync_policies([deny])))[0])
        await network.sync_policies([])
    enough.set_result(None)
    show("attach a pod, event loop never idle", attached)
    show("a policy on one pod, event loop never idle", changed)


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = [line.split(": ")[1] for line in lines if line.startswith("model name")]
    return f"{model[0] if model else os.uname().machine}, {os.cpu_count()} cores"


async def main(count):
    print(machine())
    print(f"{'':44}{'p50':>10}{'p99':>10}{'worst':>10}")
    config = ClusterConfig()
    network = Network(config)
    show("switch, router and world outside", [(await timed(network.start()))[0]])
    show("a node", [(await timed(network.add_node(name)))[0] for name in config.node_names])
    found = []
    watcher = asyncio.create_task(lateness(found))
    await asyncio.sleep(0)
    found.clear()
    pods = await attach_all(network, config.node_names)
    await services(network, pods, config.node_names, count)
    await policies(network)
    watcher.cancel()
    show("event loop late by, meanwhile", found)
    await under_load(network, config.node_names)
    show("detach a pod", [(await timed(network.detach_pod(f"pod{n}")))[0] for n in range(PODS)])
    show("close", [(await timed(network.close()))[0]])


if __name__ == "__main__":
    enter_namespaces()
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
