"""The two engines agree: all connections at once, and each pair by walking the rules."""

import os
import random
from itertools import product

import pytest

from k8slab import policy
from k8slab.objects import meta
from k8slab.policy import Action, Flow, walk
from k8slab.policy.addresses import point
from k8slab.policy.estate import one_family
from k8slab.policy.model import EGRESS, INGRESS, Side
from k8slab.testing.chance import NAMESPACES, PORTS, Chance

ESTATES = int(os.environ.get("K8SLAB_AGREEMENT", "32"))
OUTSIDE = {4: ("203.0.113.9", "10.244.9.9", "8.8.8.8"), 6: ("2001:db8:113::1", "2400::1")}
FAMILIES = (("v4",), ("v6",), ("v4", "v6"), ("v6", "v4"), ())
PROTOCOLS = ("TCP", "UDP", "SCTP")


def pod(chance, number):
    node = chance.random.randint(1, 2)
    known = {"v4": f"10.244.{node}.{number}", "v6": f"fd00:10:244:{node}::{number}"}
    spec = {"nodeName": f"node{node}", "containers": [{"ports": []}]}
    if chance.often(0.7):
        port = {
            "name": "http",
            "containerPort": chance.one(PORTS),
            "protocol": chance.one(("TCP", "UDP")),
        }
        spec["containers"][0]["ports"].append(port)
    if chance.often(0.2):
        spec["serviceAccountName"] = "robot"
    if chance.often(0.1):
        spec["hostNetwork"] = True
    addresses = [{"ip": known[f]} for f in chance.one(FAMILIES)]
    metadata = {
        "name": f"p{number}",
        "namespace": chance.one(NAMESPACES),
        "labels": chance.labels(),
    }
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"podIPs": addresses}}


def node(number):
    found = [f"172.18.0.{number}", f"fd00:172:18::{number}"]
    addresses = [{"type": "InternalIP", "address": a} for a in found]
    return {
        "kind": "Node",
        "metadata": {"name": f"node{number}"},
        "status": {"addresses": addresses},
    }


def objects(chance):
    account = {
        "kind": "ServiceAccount",
        "metadata": {"name": "robot", "namespace": "one", "labels": {"role": "x"}},
    }
    count = chance.random.randint
    return [
        *(chance.namespace(name) for name in NAMESPACES), account, node(1), node(2),
        *(pod(chance, number) for number in range(1, count(4, 8))),
        *(chance.network_policy(number) for number in range(count(0, 4))),
        *(chance.cluster_policy(number) for number in range(count(0, 2))),
        *(chance.calico_policy(number) for number in range(count(0, 2))),
    ]  # fmt: skip


def walked(estate, source, destination, port, protocol):
    """Decide by walking both directions, without any index."""
    if estate.parties.beyond_policy(source, destination):
        return True
    one, other = one_family(source.side, destination.side)
    asked = [(EGRESS, one, other), (INGRESS, other, one)]
    return all(
        walk.decide(walk.Question(*each, port, protocol), estate.policies).action is Action.ALLOW
        for each in asked
    )


def places(estate):
    found = {key: estate.parties.pod(key) for key in estate.pods}
    for version in estate.profiler.index.outside:
        for address in OUTSIDE[version]:
            bit = estate.profiler.index.bit_of(point(address))
            found[f"ip:{address}"] = policy.estate.Place(Side(address, (point(address),)), bit)
    return found


def can_meet(one, other):
    return not (one.families and other.families) or set(one.families) & set(other.families)


@pytest.mark.parametrize("part", range(4))
def test_all_connections_are_what_walking_each_pair_says(part):
    first = random.randrange(1 << 30)
    for seed in range(first, first + ESTATES // 4):
        made = objects(Chance(seed))
        estate = policy.compile(made)
        connections, everybody = estate.connections(), places(estate)
        for (start, source), (end, destination) in product(everybody.items(), repeat=2):
            outside = start.startswith("ip:") and end.startswith("ip:")
            if start == end or outside or not can_meet(source, destination):
                continue
            ports = connections.between(start, end)
            for port, protocol in product((*PORTS, 9500, 80), PROTOCOLS):
                said = walked(estate, source, destination, port, protocol)
                assert ports.has(protocol, port) == said, (seed, start, end, port, protocol)
                verdict = estate.decide(Flow.of(start, end, port, protocol))
                assert verdict.allowed == said, (seed, verdict.explain())


@pytest.mark.parametrize("part", range(2))
def test_an_estate_with_one_policy_replaced_is_as_one_compiled_anew(part):
    first = random.randrange(1 << 30)
    for seed in range(first, first + ESTATES // 4):
        chance = Chance(seed)
        made = [*objects(chance), chance.network_policy(0), chance.network_policy(1)]
        unique = {(o["kind"], str(o["metadata"])): o for o in made}
        before = policy.compile(unique.values())
        before.connections()
        other = chance.one((chance.network_policy, chance.cluster_policy, chance.calico_policy))(1)
        gone = [p.key for p in before.policies if p.kind == "NetworkPolicy"][:1]
        passing = chance.network_policy(7)
        gone.append(f"NetworkPolicy {meta.key_of(passing)}")
        after = before.replace(passing).replace(other, remove=gone)
        fresh = policy.compile(
            [o for o in unique.values() if not is_policy(o)]
            + [other, *raw(unique.values(), after, other)]
        )
        assert rows(after) == rows(fresh), seed


def is_policy(obj):
    return obj["kind"].endswith("Policy")


def raw(made, estate, other):
    """Return the objects of the estate's policies, without the new one."""
    wanted = {policy.key for policy in estate.policies}
    for obj in made:
        if is_policy(obj) and obj["metadata"] != other["metadata"]:
            kind = obj["kind"] + (".projectcalico.org" if "calico" in obj["apiVersion"] else "")
            space = obj["metadata"].get("namespace", "")
            name = obj["metadata"]["name"]
            if f"{kind} {space}/{name}".replace(" /", " ") in wanted:
                yield obj


def rows(estate):
    return [str(row) for row in estate.connections()]
