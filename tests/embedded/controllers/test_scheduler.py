"""Which node a pod gets, and what is said when it gets none."""

from collections import Counter

import pytest
from controller_world import deployment, is_ready, pod_object

from k8slab.embedded.controllers import affinity
from k8slab.embedded.controllers.scheduler import (
    Candidate,
    Scheduler,
    choose,
    kinship,
    message,
    tolerates,
)

CONTROL_PLANE = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


def node(name, *, taints=(), pods="110", unschedulable=False, **labels):
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        "spec": {"taints": list(taints), "unschedulable": unschedulable},
        "status": {"allocatable": {"pods": pods, "cpu": "2", "memory": "4Gi"}},
    }


NODES = [
    node("cp", taints=[CONTROL_PLANE]),
    node("w1", disk="ssd", cpus="4"),
    node("w2", disk="hdd", cpus="8"),
]


def pod(labels=None, **spec):
    return {
        "metadata": {"name": "p", "namespace": "default", "labels": labels or {}},
        "spec": {"containers": [{"name": "c"}], **spec},
    }


def placed(wanted, on=None):
    candidates = []
    for one in NODES:
        there = (on or {}).get(one["metadata"]["name"], ())
        kin = sum(kinship(wanted)[0] in kinship(other) for other in there)
        apart = [other for other in there if affinity.keeps_apart(other)]
        candidates.append(Candidate(one, there, kin, apart))
    return choose(wanted, candidates)


def required(*terms):
    return {"affinity": {"nodeAffinity": {affinity.REQUIRED: {"nodeSelectorTerms": list(terms)}}}}


def expression(key, operator, *values):
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


CHOICES = {
    "the control plane is tainted": ({}, "w1"),
    "a toleration opens it": (
        {
            "tolerations": [{"key": CONTROL_PLANE["key"], "operator": "Exists"}],
            "nodeSelector": {"kubernetes.io/hostname": "cp"},
        },
        "cp",
    ),
    "a node selector": ({"nodeSelector": {"disk": "hdd"}}, "w2"),
    "an affinity term": (required(expression("disk", "In", "hdd")), "w2"),
    "terms are alternatives": (
        required(expression("disk", "In", "none"), expression("disk", "In", "hdd")),
        "w2",
    ),
    "greater than": (required(expression("cpus", "Gt", "5")), "w2"),
    "an empty term matches nothing": (required({}), ""),
    "a field": (
        required({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["w2"]}]}),
        "w2",
    ),
    "a preference": (
        {
            "affinity": {
                "nodeAffinity": {
                    affinity.PREFERRED: [
                        {"weight": 1, "preference": expression("disk", "In", "hdd")}
                    ]
                }
            }
        },
        "w2",
    ),
}


@pytest.mark.parametrize(("spec", "wanted"), CHOICES.values(), ids=CHOICES)
def test_the_choice(spec, wanted):
    assert placed(pod(**spec))[0] == wanted


def anti(key="kubernetes.io/hostname"):
    term = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": "web"}}}
    return {"affinity": {"podAntiAffinity": {affinity.REQUIRED: [term]}}}


def test_pods_that_keep_apart_and_pods_that_keep_together():
    web = pod({"app": "web"})
    assert placed(pod({"app": "web"}, **anti()), {"w1": [web]})[0] == "w2"
    assert placed(pod({"app": "web"}, **anti()), {"w1": [web], "w2": [web]})[0] == ""
    near = {"affinity": {"podAffinity": anti()["affinity"]["podAntiAffinity"]}}
    assert placed(pod(**near), {"w2": [web]})[0] == "w2"
    assert placed(pod(**near))[0] == ""
    # The first of a group that wants to be together may go anywhere.
    assert placed(pod({"app": "web"}, **near))[0] == "w1"


def test_the_same_host_port_is_free_once_on_each_node():
    port = {"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]}
    taken = pod(**port)
    assert placed(pod(**port), {"w1": [taken]})[0] == "w2"
    assert placed(pod(**port), {"w1": [taken], "w2": [taken]})[0] == ""


def test_a_skew_that_may_not_grow():
    web = pod({"app": "web"})
    constraint = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    spread = pod({"app": "web"}, topologySpreadConstraints=[constraint])
    assert placed(spread, {"w1": [web]})[0] == "w2"


def test_the_reasons_of_all_nodes_are_counted():
    name, reasons = placed(pod(nodeSelector={"disk": "tape"}))
    assert name == ""
    assert message(3, reasons.values()) == (
        "0/3 nodes are available: 1 node(s) had untolerated taint(s) "
        "{node-role.kubernetes.io/control-plane: }, "
        "2 node(s) didn't match Pod's node affinity/selector. "
        "no new claims to deallocate, preemption: 0/3 nodes are available: "
        "3 Preemption is not helpful for scheduling."
    )
    assert message(0, []) == "no nodes available to schedule pods"


def test_a_pod_that_keeps_others_away_is_asked_when_one_comes():
    loner, web = pod({"app": "loner"}, **anti()), pod({"app": "web"})
    assert placed(web, {"w1": [loner]})[0] == "w2"
    assert placed(pod({"app": "other"}), {"w1": [loner]})[0] == "w2", "spread only"
    nowhere, reasons = placed(web, {"w1": [loner], "w2": [loner]})
    assert nowhere == ""
    assert reasons["w1"] == "node(s) didn't satisfy existing pods anti-affinity rules"
    assert placed(web, {"w1": [pod({"app": "loner"}, **anti("rack"))]})[0] == "w2", "no rack"
    elsewhere = {**loner, "metadata": {**loner["metadata"], "namespace": "other"}}
    assert placed(web, {"w1": [elsewhere], "w2": [elsewhere]})[0] == "w1", "its namespace alone"


@pytest.mark.parametrize("reason", ["pod anti-affinity rules", "pod topology spread constraints"])
def test_what_other_pods_forbid_could_be_had_by_preemption(reason):
    told = message(3, ["node(s) had a taint", *2 * [f"node(s) didn't match {reason}"]])
    assert told.endswith(
        ": 1 Preemption is not helpful for scheduling, "
        "2 No preemption victims found for incoming pod."
    )


def test_full_and_cordoned_nodes_are_named():
    full = [Candidate(node("a", pods="0")), Candidate(node("b", unschedulable=True))]
    assert choose(pod(), full) == (
        "",
        {"a": "Too many pods", "b": "node(s) were unschedulable"},
    )


TOLERATIONS = [
    ({"operator": "Exists"}, True),
    ({"key": "k", "operator": "Exists"}, True),
    ({"key": "k", "operator": "Exists", "effect": "NoExecute"}, False),
    ({"key": "k", "value": "v"}, True),
    ({"key": "k", "value": "w"}, False),
    ({"key": "other", "operator": "Exists"}, False),
]


@pytest.mark.parametrize(("toleration", "wanted"), TOLERATIONS)
def test_tolerations(toleration, wanted):
    assert tolerates(toleration, {"key": "k", "value": "v", "effect": "NoSchedule"}) is wanted


def test_a_pod_that_fits_nowhere_waits_and_is_placed_when_it_fits(in_world):
    async def play(world):
        world.api.create("pods", pod_object("a", nodeSelector={"disk": "ssd"}))
        await world.until(lambda: (world.pod("a")["status"] or {}).get("conditions"))
        (condition,) = world.pod("a")["status"]["conditions"]
        assert (condition["type"], condition["status"]) == ("PodScheduled", "False")
        assert condition["reason"] == "Unschedulable"
        await world.controllers.events.settle()
        (told,) = [
            e for e in world.api.list("events", "default") if e["reason"] == "FailedScheduling"
        ]
        assert told["message"] == condition["message"]
        world.api.patch("nodes", "k8slab-worker", "", {"metadata": {"labels": {"disk": "ssd"}}})
        await world.until(lambda: is_ready(world.pod("a")))
        assert world.pod("a")["spec"]["nodeName"] == "k8slab-worker"

    in_world(play)


def asking(cpu="0", memory="0", **spec):
    container = {"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}
    return pod(containers=[container], **spec)


def test_a_pod_gets_a_node_that_has_what_it_requests():
    full = {"w1": [asking(cpu="1500m")], "w2": [asking(cpu="500m")]}
    assert placed(asking(cpu="1"), full)[0] == "w2"
    assert placed(asking(cpu="0.5"), full)[0] != ""
    needs_much_before = [{"name": "i", "resources": {"limits": {"memory": "5Gi"}}}]
    node_name, reasons = placed(asking(initContainers=needs_much_before))
    assert node_name == ""
    assert message(3, reasons.values()) == (
        "0/3 nodes are available: 1 node(s) had untolerated taint(s) "
        "{node-role.kubernetes.io/control-plane: }, 2 Insufficient memory. no new claims to "
        "deallocate, preemption: 0/3 nodes are available: 1 Preemption is not helpful for "
        "scheduling, 2 No preemption victims found for incoming pod."
    )


def test_each_owners_pods_are_spread_and_those_without_one_by_their_namespace(in_world):
    async def play(world):
        def nodes(**labels):
            return Counter(p["spec"].get("nodeName") for p in world.pods(**labels))

        for name in ("one", "two"):
            world.api.create("deployments.apps", deployment(name, 4))
            await world.until(lambda name=name: len(world.ready(app=name)) == 4)
            assert nodes(app=name) == {"k8slab-worker": 2, "k8slab-worker2": 2}
        for number in range(4):
            world.api.create("pods", pod_object(f"p{number}", labels={"app": "none"}))
            await world.until(lambda number=number: len(world.ready(app="none")) == number + 1)
        assert nodes(app="none") == {"k8slab-worker": 2, "k8slab-worker2": 2}
        for number in range(4):
            world.api.delete("pods", f"p{number}", "default", grace=0)
        await world.until(lambda: not world.pods(app="none"))
        index = world.controllers.others
        scheduler = next(one for one in index if isinstance(one, Scheduler))
        assert scheduler._kin.count("k8slab-worker/default") == 4

    in_world(play)
