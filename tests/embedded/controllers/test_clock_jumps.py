"""The machine's clock is set by an hour, back or forward: nothing hurries and nothing stalls."""

import time

import pytest
from controller_world import deployment, pod_object

from k8slab.embedded import clock
from k8slab.embedded.controllers.kubelet import records
from k8slab.embedded.controllers.node_lifecycle import ALL, ready_state

HOUR = 3600.0
JOBS = "jobs.batch"
DEPLOYMENTS = "deployments.apps"


@pytest.fixture
def machine(monkeypatch):
    """A machine's clock that a test can set, by seconds."""
    ahead = [0.0]
    monkeypatch.setattr(clock, "CLOCK", clock.Clock(lambda: time.time() + ahead[0]))

    def set_by(seconds):
        ahead[0] += seconds

    return set_by


def job(name, **spec):
    containers = [{"name": "main", "image": "work"}]
    template = {"spec": {"restartPolicy": "Never", "containers": containers}}
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"template": template, **spec},
    }


def condition(obj, kind):
    found = (obj.get("status") or {}).get("conditions") or ()
    return next((c for c in found if c["type"] == kind), None)


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_nodes_stay_ready_and_pods_stay(in_world, machine, jump):
    async def play(world):
        world.api.create("pods", pod_object("a"))
        await world.until(world.ready)
        machine(jump)
        for name in world.controllers.nodes.addresses:
            await world.controllers.nodes.loop.settle(name)
        await world.controllers.lifecycle.loop.settle(ALL)
        assert {ready_state(node) for node in world.api.list("nodes")} == {"True"}
        assert world.ready()

    in_world(play)


def test_a_job_is_given_its_time_though_the_clock_is_set_forward(in_world, machine):
    async def play(world):
        world.api.create(JOBS, job("j", activeDeadlineSeconds=600))
        running = await world.until(world.pods)
        machine(HOUR)
        await world.controller("Jobs").loop.settle("default/j")
        assert condition(world.api.get(JOBS, "j", "default"), "Failed") is None
        assert [p["metadata"]["uid"] for p in world.pods()] == [
            p["metadata"]["uid"] for p in running
        ]

    in_world(play)


def test_a_rollout_that_waits_for_ready_seconds_goes_on_though_the_clock_is_set_back(
    in_world, machine
):
    async def play(world):
        world.api.create(DEPLOYMENTS, deployment("web", 1, minReadySeconds=1))
        await world.until(lambda: world.ready(app="web"))
        machine(-HOUR)

        def available():
            made = world.api.get(DEPLOYMENTS, "web", "default")
            return (made.get("status") or {}).get("availableReplicas") == 1

        await world.until(available)

    in_world(play)


def test_a_container_restarts_after_its_back_off_though_the_clock_is_set_back(
    in_world, machine, monkeypatch
):
    monkeypatch.setattr(records, "FIRST_BACK_OFF", 0.5)

    async def play(world):
        world.api.create("pods", pod_object("a", image="crash"))
        world.runtime.ends_at_once = {"crash": 3}
        await world.until(lambda: world.runtime.history.count("start main") == 2)
        machine(-HOUR)
        await world.until(lambda: world.runtime.history.count("start main") == 3)

    in_world(play)


def test_events_last_an_hour_and_not_until_the_clock_is_set(in_world, machine):
    async def play(world):
        involved = {"kind": "Pod", "name": "x", "namespace": "default"}
        event = {"metadata": {"name": "e", "namespace": "default"}, "involvedObject": involved}
        world.api.create("events", event)
        expiry = next(c for c in world.controllers.others if type(c).__name__ == "EventExpiry")
        machine(2 * HOUR)
        await expiry.loop.settle("events")
        assert world.api.get("events", "e", "default")
        elapsed = expiry.elapsed
        expiry.elapsed = lambda moment: elapsed(moment) + HOUR + 1
        await expiry.loop.settle("events")
        assert world.api.get("events", "e", "default") is None

    in_world(play)


def test_later_objects_are_not_older_though_the_clock_is_set_back(in_world, machine):
    async def play(world):
        first = world.api.create("configmaps", {"metadata": {"name": "a", "namespace": "default"}})
        machine(-HOUR)
        later = world.api.create("configmaps", {"metadata": {"name": "b", "namespace": "default"}})
        stamps = [obj["metadata"]["creationTimestamp"] for obj in (first, later)]
        assert stamps == sorted(stamps)

    in_world(play)
