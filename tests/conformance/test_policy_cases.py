"""The table of named cases (tests/policy/test_cases.py), judged once more by packets.

Its world is built on a real cluster, each case's policy is applied, and its flow is tried.
Left out are the cases whose flow begins at an address outside, where nothing can be sent
from. SCTP is skipped where no socket opens.
"""

import re
import sys
from pathlib import Path

import pytest
import yaml
from estates_kit import sctp_opens
from pods_kit import READY

from k8slab import policy
from k8slab.policy import Flow, Party
from k8slab.probes import Outcome, observe

sys.path.insert(0, str(Path(__file__).parents[1] / "policy"))

from shop import WORLD
from test_cases import CASES

needs_sctp = pytest.mark.skipif(not sctp_opens(), reason="no SCTP socket opens on this kernel")
PATIENCE = 30.0
"""Seconds until silence is believed: a drop is reported at once, unless the machine is busy."""

HERE = [
    pytest.param(name, marks=[needs_sctp] if "SCTP" in flow else [])
    for name, (_, flow, _, _) in CASES.items()
    if not flow.startswith("ip:")
]


@pytest.fixture(scope="module")
def places(cluster):
    """Build the world; return what its node names and addresses are on this cluster."""
    workers = [n["metadata"]["name"] for n in cluster.list("nodes")][1:3]
    objects = [obj for obj in yaml.safe_load(WORLD) if obj["kind"] != "Node"]
    for obj in objects:
        obj["apiVersion"] = "v1"
        if obj["kind"] == "Pod":
            obj.pop("status")
            obj["spec"]["nodeName"] = dict(zip(("n1", "n2"), workers, strict=True))[
                obj["spec"]["nodeName"]
            ]
            obj["spec"]["terminationGracePeriodSeconds"] = 0
            obj["spec"]["containers"][0] |= {"name": "web", "image": "k8slab/app"}
            obj["spec"]["containers"][0]["readinessProbe"] = READY  # it listens when it is ready
    cluster.apply(objects)
    for name in ("shop", "other"):
        cluster.wait("pods", "", name, until="ready")
    nodes = {obj["metadata"]["name"]: obj for obj in cluster.list("nodes")}
    found = {"node:n1": f"node:{workers[0]}", "node:n2": f"node:{workers[1]}"}
    for text, worker in zip(("172.18.0.2", "172.18.0.3"), workers, strict=True):
        found[text] = nodes[worker]["status"]["addresses"][0]["address"]
    found["10.244.0.2"] = cluster.get("pods", "db", "shop")["status"]["podIP"]
    yield found
    for name in ("shop", "other"):
        cluster.delete("namespaces", name)
        cluster.wait("namespaces", name, until="delete")


def translated(text, places):
    """Put this cluster's names and addresses in, in one pass: they may be words themselves."""
    words = "|".join(map(re.escape, places))
    return re.sub(rf"(?:{words})\b", lambda found: places[found[0]], text)


def read_flow(text, places):
    source, destination, rest = translated(text, places).split()
    port, _, protocol = rest.partition("/")
    return Flow.of(source, destination, int(port), protocol or "TCP")


@pytest.mark.parametrize("name", HERE)
def test_packets_do_what_the_table_says(cluster, places, name):
    spec, flow, verdict, _source = CASES[name]
    made = []
    if spec is not None:
        body = {"podSelector": {}, **yaml.safe_load("{" + translated(spec, places) + "}")}
        metadata = {"name": "case", "namespace": "shop"}
        made = [{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                 "metadata": metadata, "spec": body}]  # fmt: skip
    cluster.apply(made)
    try:
        (seen,) = observe(cluster, [read_flow(flow, places)], PATIENCE)
    finally:
        cluster.delete("networkpolicies.networking.k8s.io", "case", "shop")
    passed = (Outcome.OPEN, Outcome.REFUSED)
    assert seen.outcome in (passed if verdict == "allow" else (Outcome.SILENT,)), seen
    assert verdict == "allow" or seen.denial


def node_port(local):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "ported", "namespace": "shop"},
        "spec": {
            "type": "NodePort",
            "externalTrafficPolicy": "Local" if local else "Cluster",
            "selector": {"app": "db"},
            "ports": [{"port": 80, "targetPort": 8080, "nodePort": PORT}],
        },
    }


PORT = 30043
"""Of those that are given only to who asks for one (the low part of the range, KEP-3668)."""

INTERNET = "ip:192.0.2.2"
"""What the internet sends probes from: its end of the link to the cluster's router."""

BLOCKS = {
    "the internet": ["192.0.2.0/24"],
    "nodes": ["172.18.0.0/16"],
    "pods": ["10.244.0.0/16"],
}


@pytest.mark.parametrize("admitted", BLOCKS)
@pytest.mark.parametrize("local", [False, True], ids=["Cluster", "Local"])
def test_node_ports_are_predicted_as_packets_go(cluster, places, local, admitted):
    """Who asks a node port, and through which node, decides what the pod's policies see."""
    peers = [{"ipBlock": {"cidr": cidr}} for cidr in BLOCKS[admitted]]
    isolating = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                 "metadata": {"name": "case", "namespace": "shop"},
                 "spec": {"podSelector": {"matchLabels": {"app": "db"}},
                          "ingress": [{"from": peers}]}}  # fmt: skip
    cluster.apply([node_port(local), isolating])
    kinds = ("namespaces", "nodes", "pods", "services", "networkpolicies.networking.k8s.io")
    try:
        estate = policy.compile([obj for kind in kinds for obj in cluster.list(kind)])
        nodes = [places["node:n2"], *([] if local else [places["node:n1"]])]  # the pod is on n2
        sources = {"world:internet": INTERNET, "shop/web": "shop/web"}
        asked = [
            (real, Flow.of(told, node, PORT)) for real, told in sources.items() for node in nodes
        ]
        tried = [Flow(Party.parse(real), flow.destination, PORT) for real, flow in asked]
        for (_, flow), seen in zip(asked, observe(cluster, tried, PATIENCE), strict=True):
            verdict = estate.decide(flow)
            assert seen.outcome in (Outcome.OPEN, Outcome.SILENT), seen
            assert verdict.allowed is (seen.outcome is Outcome.OPEN), (verdict.explain(), seen)
    finally:
        cluster.delete("networkpolicies.networking.k8s.io", "case", "shop")
        cluster.delete("services", "ported", "shop")
