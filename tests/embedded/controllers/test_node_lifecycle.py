"""Nodes that fall silent, taints and what they evict, nodes that are deleted and come back."""

import time

import pytest
from controller_world import deployment, is_ready, pod_object
from test_job_policies import ON_DISRUPTION, rules
from test_jobs import conditions, exit_all, made, running, status

from k8slab.embedded.apiserver import evictions
from k8slab.embedded.controllers import pod_garbage
from k8slab.embedded.controllers.loop import LONG
from k8slab.embedded.controllers.node_lifecycle import (
    ALL,
    GRACE_SECONDS,
    MONITOR_SECONDS,
    ready_state,
    wanted_taints,
)
from k8slab.embedded.controllers.pod_garbage import ORPHAN_SECONDS, OUT_OF_SERVICE
from k8slab.embedded.controllers.taint_eviction import evicted_after

WORKER = "k8slab-worker"
SLICES = "endpointslices.discovery.k8s.io"


class Clock:
    """Time that passes when a test says so."""

    def __init__(self, world):
        self.now = 1000.0
        self.world = world
        for controller in (world.controllers.lifecycle, world.controllers.evictions):
            controller.clock = lambda: self.now
        world.controllers.lifecycle._last = self.now

    async def passes(self, seconds):
        """Let the kubelets renew their leases, and the lifecycle look, as often as they would."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + MONITOR_SECONDS, end)
            for name in self.world.controllers.nodes.addresses:
                await self.world.controllers.nodes.loop.settle(name)
            await self.world.controllers.lifecycle.loop.settle(ALL)


def node(*, ready="True", unschedulable=False, taints=()):
    conditions = [{"type": "Ready", "status": ready}] if ready else []
    spec = {"taints": list(taints)}
    if unschedulable:
        spec["unschedulable"] = True
    return {"metadata": {"name": "n"}, "spec": spec, "status": {"conditions": conditions}}


def keys(taints):
    return [(taint["key"].removeprefix("node.kubernetes.io/"), taint["effect"]) for taint in taints]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, []),
        ({"unschedulable": True}, [("unschedulable", "NoSchedule")]),
        ({"ready": "False"}, [("not-ready", "NoSchedule"), ("not-ready", "NoExecute")]),
        ({"ready": "Unknown"}, [("unreachable", "NoSchedule"), ("unreachable", "NoExecute")]),
        ({"ready": ""}, [("not-ready", "NoSchedule")]),
    ],
)
def test_a_nodes_state_is_told_by_taints_beside_those_of_others(given, wanted):
    own = {"key": "mine", "effect": "NoSchedule"}
    taints = wanted_taints(node(taints=[own], **given), "now")
    assert taints[0] == own
    assert keys(taints[1:]) == wanted
    again = wanted_taints(node(taints=taints, **given), "later")
    assert again == taints
    assert wanted_taints(node(taints=taints), "later") == [own]


def toleration(key, seconds=None):
    made = {"key": key, "operator": "Exists", "effect": "NoExecute"}
    return made if seconds is None else {**made, "tolerationSeconds": seconds}


@pytest.mark.parametrize(
    ("taints", "tolerations", "seconds"),
    [
        ([], [], None),
        ([("a", "NoSchedule")], [], None),
        ([("a", "NoExecute")], [], 0),
        ([("a", "NoExecute")], [toleration("a")], None),
        ([("a", "NoExecute")], [toleration("a", 300)], 300),
        ([("a", "NoExecute"), ("b", "NoExecute")], [toleration("a", 300)], 0),
        (
            [("a", "NoExecute"), ("b", "NoExecute")],
            [toleration("a", 300), toleration("b", 30)],
            30,
        ),
        ([("a", "NoExecute")], [{"operator": "Exists"}], None),
    ],
)
def test_a_pod_stays_as_long_as_its_tolerations_say(taints, tolerations, seconds):
    found = [{"key": key, "effect": effect} for key, effect in taints]
    assert evicted_after(found, tolerations) == seconds


def test_a_silent_node_becomes_not_ready_and_its_pods_leave_the_slices(in_world):
    async def play(world):
        clock = Clock(world)
        spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
        world.api.create(
            "services", {"metadata": {"name": "web", "namespace": "default"}, "spec": spec}
        )
        world.api.create("pods", pod_object("a", labels={"app": "web"}, nodeName=WORKER))
        await world.until(lambda: world.ready(app="web"))
        world.controllers.stop_agent(WORKER)
        await clock.passes(GRACE_SECONDS)
        assert ready_state(world.api.get("nodes", WORKER)) == "True"
        await clock.passes(2 * MONITOR_SECONDS)
        silent = world.api.get("nodes", WORKER)
        states = {c["type"]: c for c in silent["status"]["conditions"]}
        assert {c["status"] for c in states.values()} == {"Unknown"}
        assert states["Ready"]["message"] == "Kubelet stopped posting node status."
        assert keys(silent["spec"]["taints"]) == [
            ("unreachable", "NoSchedule"),
            ("unreachable", "NoExecute"),
        ]
        assert not is_ready(world.pod("a"))

        def ready():
            slices = world.api.list(SLICES, "default")
            found = [e for s in slices for e in s["endpoints"] if "targetRef" in e]
            return [e["conditions"]["ready"] for e in found]

        await world.until(lambda: ready() == [False])
        world.controllers.start_agent(WORKER)
        await world.until(lambda: ready() == [True])
        await clock.passes(MONITOR_SECONDS)
        assert not world.api.get("nodes", WORKER)["spec"].get("taints")

    in_world(play)


def test_the_pods_of_a_dead_node_are_replaced_when_their_time_is_up(in_world):
    async def play(world):
        clock = Clock(world)
        world.api.create("deployments.apps", deployment("web", 2))
        await world.until(lambda: len(world.ready(app="web")) == 2)
        lost = next(p for p in world.pods(app="web") if p["spec"]["nodeName"] == WORKER)
        world.controllers.stop_agent(WORKER)
        await clock.passes(GRACE_SECONDS + 2 * MONITOR_SECONDS)
        name = lost["metadata"]["name"]
        await world.controllers.evictions.loop.settle(f"default/{name}")  # its time begins
        await clock.passes(290)
        assert "deletionTimestamp" not in world.pod(name)["metadata"]
        clock.now += 20
        await world.controllers.evictions.loop.settle(f"default/{name}")
        assert "deletionTimestamp" in world.pod(name)["metadata"]
        await world.until(lambda: len(world.ready(app="web")) == 2)
        # Nobody tells that it has stopped until the kubelet is back.
        assert world.pod(name)
        world.controllers.start_agent(WORKER)
        await world.until(lambda: world.pod(name) is None)

    in_world(play)


def test_a_suspended_computer_does_not_wake_up_with_dead_nodes(in_world):
    async def play(world):
        clock = Clock(world)
        clock.now += 3600
        await world.controllers.lifecycle.loop.settle(ALL)
        assert {ready_state(n) for n in world.api.list("nodes")} == {"True"}

    in_world(play)


def test_a_taint_that_is_not_tolerated_evicts_at_once_finished_pods_too(in_world):
    async def play(world):
        world.api.create("pods", pod_object("a", nodeName=WORKER))
        done = world.api.create("pods", pod_object("done", schedulerName="nobody"))
        world.api.update_status("pods", {**done, "status": {"phase": "Succeeded"}})
        world.api.patch(
            "pods", "done", "default", {"spec": {"nodeName": WORKER}}, subresource="binding"
        )
        stays = [{"key": "k", "operator": "Exists"}]
        world.api.create("pods", pod_object("b", nodeName=WORKER, tolerations=stays))
        await world.until(lambda: len(world.ready()) == 2)
        found = world.api.get("nodes", WORKER)
        taint = {"key": "k", "value": "v", "effect": "NoExecute"}
        world.api.update("nodes", {**found, "spec": {**found["spec"], "taints": [taint]}})
        await world.until(lambda: world.pod("a") is None and world.pod("done") is None)
        assert is_ready(world.pod("b"))

    in_world(play)


def test_a_deleted_node_takes_its_pods_along_and_may_come_back(in_world):
    async def play(world):
        clock = Clock(world)
        world.api.create("pods", pod_object("a", nodeName=WORKER))
        await world.until(world.ready)
        world.api.delete("nodes", WORKER)
        await clock.passes(ORPHAN_SECONDS)
        assert world.pod("a")
        await clock.passes(2 * MONITOR_SECONDS)
        assert world.pod("a") is None
        await world.until(lambda: not world.runtime.containers)
        world.api.create("nodes", {"metadata": {"name": WORKER}})
        await world.until(lambda: ready_state(world.api.get("nodes", WORKER)) == "True")
        assert world.api.get("nodes", WORKER)["spec"]["podCIDRs"]
        world.api.create("pods", pod_object("a", nodeName=WORKER))
        await world.until(world.ready)

    in_world(play)


@pytest.mark.parametrize("deleted", [False, True])
def test_a_job_goes_on_when_the_node_of_its_pod_is_gone(in_world, deleted):
    """It replaces only pods that have ended, and no kubelet says of this one that it has."""

    async def play(world):
        clock = Clock(world)
        made(world, completions=1, backoffLimit=0, **rules(ON_DISRUPTION))
        (lost,) = await world.until(lambda: running(world))
        node = lost["spec"]["nodeName"]
        world.controllers.stop_agent(node)
        if deleted:
            world.api.delete("pods", lost["metadata"]["name"], "default")
        seen = []
        world.api.subscribe("pods", lambda event: seen.append(event.object["status"]))
        world.api.delete("nodes", node)
        await clock.passes(ORPHAN_SECONDS + 2 * MONITOR_SECONDS)
        ended = next(one for one in seen if one["phase"] == "Failed")
        (target,) = (c for c in ended["conditions"] if c["type"] == "DisruptionTarget")
        assert (target["reason"], target["message"]) == (
            "DeletionByPodGC",
            "PodGC: node no longer exists",
        )
        await world.until(
            lambda: [p["spec"]["nodeName"] for p in running(world)] not in ([], [node])
        )
        exit_all(world, 0)
        await world.until(lambda: "Complete" in conditions(world))
        assert "failed" not in status(world)

    in_world(play)


def test_the_pods_of_a_node_that_is_out_of_service_go_without_its_kubelet(in_world):
    async def play(world):
        clock = Clock(world)
        world.api.create("pods", pod_object("a", nodeName=WORKER))
        await world.until(world.ready)
        world.controllers.stop_agent(WORKER)
        await clock.passes(GRACE_SECONDS + 2 * MONITOR_SECONDS)
        silent = world.api.get("nodes", WORKER)
        off = {"key": OUT_OF_SERVICE, "value": "nodeshutdown", "effect": "NoExecute"}
        taints = [*silent["spec"]["taints"], off]
        world.api.update("nodes", {**silent, "spec": {**silent["spec"], "taints": taints}})
        # It may be gone between two looks: the lifecycle looks when the node changes, too.
        await world.until(
            lambda: (pod := world.pod("a")) is None or "deletionTimestamp" in pod["metadata"]
        )
        await clock.passes(MONITOR_SECONDS)
        assert world.pod("a") is None

    in_world(play)


def test_a_deleted_pod_that_never_had_a_node_fails_for_its_job(in_world):
    async def play(world):
        clock = Clock(world)
        spec = pod_object("x", restartPolicy="Never", nodeSelector={"disk": "none"})["spec"]
        made(world, podReplacementPolicy="Failed", template={"spec": spec})
        (pod,) = await world.until(world.pods)
        world.api.delete("pods", pod["metadata"]["name"], "default")
        await clock.passes(MONITOR_SECONDS)
        await world.until(lambda: status(world).get("failed") == 1)

    in_world(play)


def test_the_nodes_are_looked_at_as_often_when_a_lost_pod_may_not_be_removed(in_world, caplog):
    async def play(world):
        clock = Clock(world)
        world.api.create("pods", pod_object("a", nodeName=WORKER))
        await world.until(world.ready)
        kept = world.refuse_first_deletion()
        world.controllers.stop_agent(WORKER)
        world.api.delete("nodes", WORKER)
        await clock.passes(ORPHAN_SECONDS + 2 * MONITOR_SECONDS)
        assert kept == ["a"]
        assert world.controllers.lifecycle.loop._failures == {}

    in_world(play)
    assert "the pod default/a was not removed" in caplog.text


def test_a_long_look_at_many_nodes_is_followed_by_a_rest(in_world, monkeypatch):
    async def play(world):
        lifecycle, counted = world.controllers.lifecycle, []

        def check(_node, _elapsed):
            begun = time.perf_counter()
            while time.perf_counter() < begun + LONG:
                pass  # as long as hundreds of nodes would take

        monkeypatch.setattr(lifecycle, "_check", check)
        monkeypatch.setattr(lifecycle.loop, "_rest", lambda _key, seconds: counted.append(seconds))
        await lifecycle.loop.settle(ALL)
        assert counted[-1] > LONG

    in_world(play)


def test_a_pod_that_was_evicted_and_lost_its_node_tells_of_the_node_since_the_eviction(in_world):
    async def play(world):
        clock = Clock(world)
        pod = pod_object("a", nodeName=WORKER)
        pod["metadata"]["finalizers"] = ["example.com/held"]
        world.api.create("pods", pod)
        await world.until(world.ready)
        world.controllers.stop_agent(WORKER)
        evictions.evict(world.api, world.pod("a"), {})
        evicted = world.pod("a")
        (before,) = disruptions(evicted)
        assert before["reason"] == "EvictionByEvictionAPI"
        before["lastTransitionTime"] = LONG_AGO
        world.api.update_status("pods", evicted)
        world.api.delete("nodes", WORKER)
        await clock.passes(ORPHAN_SECONDS + 2 * MONITOR_SECONDS)
        assert world.pod("a")["status"]["phase"] == "Failed"
        (after,) = disruptions(world.pod("a"))
        assert after["reason"] == "DeletionByPodGC"
        assert after["lastTransitionTime"] == LONG_AGO

    in_world(play)


LONG_AGO = "2020-01-01T00:00:00Z"


def disruptions(pod):
    return [c for c in pod["status"]["conditions"] if c["type"] == "DisruptionTarget"]


def test_of_too_many_pods_that_have_ended_evicted_ones_go_first_and_then_the_oldest(
    in_world, monkeypatch
):
    monkeypatch.setattr(pod_garbage, "MOST_TERMINATED", 2)

    async def play(world):
        clock = Clock(world)
        for name in ("old", "evicted", "new", "runs"):
            world.api.create("pods", pod_object(name, restartPolicy="Never"))
        await world.until(lambda: len(world.ready()) == 4)
        for name in ("old", "new"):
            (container,) = world.runtime.of(world.pod(name))
            world.runtime.exit(container.id, 0)
        await world.until(lambda: world.pod("new")["status"]["phase"] == "Succeeded")
        await clock.passes(MONITOR_SECONDS)
        assert sorted(world.names()) == ["evicted", "new", "old", "runs"]
        gone = {"phase": "Failed", "reason": "Evicted"}
        (container,) = world.runtime.of(world.pod("evicted"))
        world.runtime.exit(container.id, 1)
        await world.until(lambda: world.pod("evicted")["status"]["phase"] == "Failed")
        pod = world.pod("evicted")
        world.api.update_status("pods", {**pod, "status": {**pod["status"], **gone}})
        await clock.passes(MONITOR_SECONDS)
        assert sorted(world.names()) == ["new", "old", "runs"]

    in_world(play)


def test_pods_that_have_ended_go_by_age_and_then_by_name():
    def ended(name, second, **status):
        made = {"name": name, "creationTimestamp": f"2026-01-01T00:00:0{second}Z"}
        return {"metadata": made, "status": {"phase": "Failed", **status}}

    found = [ended("b", 1), ended("a", 1), ended("c", 0), ended("d", 5, reason="Evicted")]
    order = sorted(found, key=pod_garbage._by_eviction_and_age)
    assert [pod["metadata"]["name"] for pod in order] == ["d", "c", "a", "b"]
