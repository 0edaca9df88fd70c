"""The invariants find what is wrong: each sabotage of a whole cluster is noticed."""

import tempfile
import threading

import invariants
import pytest
from faults_kit import until
from ledger import Ledger
from soak import Arena
from views import View

from k8slab import clusters

NODE = "soak-control-plane"
VETH = "ip link add cali0 type veth peer name peer0"
SABOTAGE = {
    "rule": (
        "nft add chain ip network-policy stray",
        "nft delete chain ip network-policy stray",
        "chain ip network-policy stray: should not be there",
    ),
    "element": (
        "nft delete element ip kube-proxy cluster-ips { 10.96.0.10 }",
        "nft add element ip kube-proxy cluster-ips { 10.96.0.10 }",
        "elements ip kube-proxy cluster-ips: missing ['\"10.96.0.10\"']",
    ),
    "route": (
        f"{VETH}; ip link set cali0 up; ip route add 10.244.9.9 dev cali0",
        "ip link del cali0",
        "has routes to ['10.244.0.",
    ),
    "link": (
        VETH,
        "ip link del cali0",
        "has the links ['cali0', ",
    ),
}


@pytest.fixture(scope="module")
def arena():
    home = tempfile.TemporaryDirectory(prefix="k8slab-soak-")
    with home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("K8SLAB_HOME", home.name)
        made = Arena("soak", 1, players=1, nodes=1)
        made.check()
        yield made
        made.close()
        clusters.delete("soak")


def found(arena, *more):
    return invariants.faults(View(arena.cluster), *more)


def settled(arena, *more):
    """Return what stays at fault: what was just made, or undone, may be on its way."""
    return invariants.settle(arena.cluster, *more)


def only(arena, *more):
    """Return the one fault there is, once it is the only one."""

    def alone():
        told = found(arena, *more)
        return told if len(told) == 1 else None

    return until(alone)[0]


def on_node(arena, command):
    done = arena.cluster.node_run(NODE, ["sh", "-c", command])
    assert done.code == 0, done.stderr


@pytest.mark.parametrize("what", SABOTAGE)
def test_what_a_node_should_not_have_and_what_it_lacks_is_found(arena, what):
    do, undo, words = SABOTAGE[what]
    for _ in range(5):  # the network mends itself every 30 s, perhaps just now
        on_node(arena, do)
        try:
            told = found(arena)
        finally:
            on_node(arena, undo)
        if any(words in text for text in told):
            break
    assert any(words in text for text in told), told
    assert settled(arena) == []


def test_a_process_that_belongs_to_no_pod_is_found(arena):
    seen = threading.Event()

    def strays():
        while not seen.is_set():
            on_node(arena, "sleep 2")

    stray = threading.Thread(target=strays)
    stray.start()
    try:
        until(lambda: any("belongs to no pod" in text for text in found(arena)))
    finally:
        seen.set()
        stray.join()
    assert settled(arena) == []


def test_a_write_that_was_acknowledged_and_is_lost_is_found(arena):
    ledger = Ledger()
    (made,) = arena.cluster.apply(
        [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}],
        namespace="default",
    )
    ledger.written(made, {"data": {"a": "1"}})
    assert settled(arena, ledger.check) == []
    ledger.written(made, {"data": {"a": "2"}})
    text = only(arena, ledger.check)
    assert ".data.a is '1', not '2'" in text
    ledger.deleted("ConfigMap", "default", "c")
    told = only(arena, ledger.check)
    assert told == "ConfigMap default/c was deleted and is still there"
    arena.cluster.delete("configmaps", "c", "default")
    assert settled(arena, ledger.check) == []
    ledger.written(made, {})
    text = only(arena, ledger.check)
    assert "was acknowledged at version" in text
