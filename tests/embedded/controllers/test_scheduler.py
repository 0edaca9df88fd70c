"""Which node a pod gets, and what is said when it gets none."""

import asyncio
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
)
from k8slab.embedded.controllers.taints import tolerates

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


def spread_over(key="kubernetes.io/hostname", **more):
    constraint = {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
        **more,
    }
    return pod({"app": "web", "rev": "2"}, topologySpreadConstraints=[constraint])


WEB = pod({"app": "web", "rev": "1"})
LEAVING = {**WEB, "metadata": {**WEB["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
SPREADS = {
    "tainted nodes count": ({}, {"w1": [WEB], "w2": [WEB]}, ""),
    "unless they are left out": ({"nodeTaintsPolicy": "Honor"}, {"w1": [WEB], "w2": [WEB]}, "w1"),
    "pods that leave do not count": ({}, {"w1": [LEAVING], "w2": [WEB]}, "w1"),
    "pods of another revision do not": (
        {"matchLabelKeys": ["rev"], "nodeTaintsPolicy": "Honor"},
        {"w1": [WEB, WEB], "w2": [WEB]},
        "w2",
    ),
    "an empty selector counts nobody": ({"labelSelector": {}}, {"w1": [WEB], "w2": [WEB]}, "w1"),
    "too few domains have an empty one": (
        {"minDomains": 4, "nodeTaintsPolicy": "Honor"},
        {"w1": [WEB], "w2": [WEB]},
        "",
    ),
    "a pod that is not counted itself goes anywhere": (
        {"labelSelector": {"matchLabels": {"app": "other"}}},
        {"w1": [pod({"app": "other"})]},
        "w2",
    ),
}


@pytest.mark.parametrize(("more", "on", "wanted"), SPREADS.values(), ids=SPREADS)
def test_what_a_constraint_counts(more, on, wanted):
    assert placed(spread_over(**more), on)[0] == wanted


def test_nodes_that_the_pod_does_not_want_are_not_counted():
    wanted = spread_over()
    wanted["spec"]["nodeSelector"] = {"disk": "ssd"}
    assert placed(wanted, {"w1": [WEB, WEB]})[0] == "w1"
    (constraint,) = wanted["spec"]["topologySpreadConstraints"]
    constraint["nodeAffinityPolicy"] = "Ignore"
    assert placed(wanted, {"w1": [WEB, WEB]})[0] == ""


def test_a_node_without_the_label_of_a_constraint_cannot_be_made_to_fit():
    _, reasons = placed(spread_over("disk"), {"w1": [WEB], "w2": [WEB]})
    assert "w1" not in reasons
    _, reasons = placed(spread_over("rack"))
    told = message(3, reasons.values())
    assert "2 node(s) didn't match pod topology spread constraints (missing required label)" in told
    assert told.endswith(": 3 Preemption is not helpful for scheduling.")


def test_one_pod_has_to_fulfil_all_terms_of_a_required_affinity():
    terms = [
        {"topologyKey": key, "labelSelector": {"matchLabels": {app: "yes"}}}
        for key, app in (("kubernetes.io/hostname", "a"), ("kubernetes.io/hostname", "b"))
    ]
    near = pod(affinity={"podAffinity": {affinity.REQUIRED: terms}})
    a, b, both = pod({"a": "yes"}), pod({"b": "yes"}), pod({"a": "yes", "b": "yes"})
    assert placed(near, {"w1": [a, b]})[0] == ""
    assert placed(near, {"w1": [a, b], "w2": [both]})[0] == "w2"


@pytest.mark.parametrize(
    ("keys", "wanted"), [("matchLabelKeys", "w2"), ("mismatchLabelKeys", "w1")]
)
def test_a_term_may_mean_pods_of_the_same_revision_or_of_another(keys, wanted):
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}, keys: ["rev", "none"]}
    apart = pod({"rev": "1"}, affinity={"podAntiAffinity": {affinity.REQUIRED: [term]}})
    there = {"w1": [pod({"rev": "1"})], "w2": [pod({"rev": "2"})]}
    assert placed(apart, there)[0] == wanted


def test_a_term_may_choose_namespaces_by_their_labels():
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app": "web"}},
        "namespaceSelector": {"matchLabels": {"team": "a"}},
    }
    near = pod(affinity={"podAffinity": {affinity.REQUIRED: [term]}})
    there = pod({"app": "web"})
    there["metadata"] = {**there["metadata"], "namespace": "shop"}
    candidates = [Candidate(one, [there] * (one["metadata"]["name"] == "w2")) for one in NODES]
    teams = {"shop": {"team": "a"}}
    assert choose(near, candidates, lambda name: teams.get(name, {}))[0] == "w2"
    assert choose(near, candidates)[0] == ""


def near_web(name):
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    return pod_object(name, affinity={"podAffinity": {affinity.REQUIRED: [term]}})


@pytest.mark.parametrize("how", ["bound", "relabelled"])
def test_a_pod_that_waits_for_another_is_tried_again_when_that_one_is_there(in_world, how):
    async def play(world):
        if how == "relabelled":
            world.api.create("pods", pod_object("web"))
            await world.until(lambda: is_ready(world.pod("web")))
        world.api.create("pods", near_web("a"))
        await world.until(lambda: (world.pod("a")["status"] or {}).get("conditions"))
        if how == "bound":
            world.api.create("pods", pod_object("web", labels={"app": "web"}))
        else:
            world.api.patch("pods", "web", "default", {"metadata": {"labels": {"app": "web"}}})
        await world.until(lambda: is_ready(world.pod("a")))
        assert world.pod("a")["spec"]["nodeName"] == world.pod("web")["spec"]["nodeName"]

    in_world(play)


def test_a_pod_that_fits_nowhere_is_tried_again_after_five_minutes(in_world):
    async def play(world):
        world.api.create("pods", pod_object("a", nodeSelector={"disk": "ssd"}))
        await world.until(lambda: (world.pod("a")["status"] or {}).get("conditions"))
        scheduler = next(o for o in world.controllers.others if isinstance(o, Scheduler))
        loop = asyncio.get_running_loop()
        left = scheduler.loop._timers["default/a"].when() - loop.time()
        assert 200 < left <= 300

    in_world(play)
