"""After the cluster went away: what the store has is made true again."""

import asyncio

import pytest
from controller_world import deployment, is_ready, pod_object, world


def replay(folder, before, after):
    """Run `before`, stop everything without a word to the pods, start anew, run `after`."""

    async def main():
        async with asyncio.timeout(60):
            async with world(folder) as first:
                kept = await before(first)
            async with world(folder) as second:
                await after(second, kept)

    asyncio.run(main())


def test_a_pod_keeps_its_identity_and_counts_a_restart(tmp_path):
    async def before(world):
        world.api.create("pods", pod_object("a"))
        await world.until(lambda: is_ready(world.pod("a")))
        return world.pod("a")

    async def after(world, kept):
        await world.until(lambda: world.runtime.containers and is_ready(world.pod("a")))
        pod = world.pod("a")
        assert pod["metadata"]["uid"] == kept["metadata"]["uid"]
        assert pod["status"]["podIP"] == world.network.pods[pod["metadata"]["uid"]][0]
        (status,) = pod["status"]["containerStatuses"]
        assert status["restartCount"] == 1
        assert status["containerID"] in {f"k8slab://{c}" for c in world.runtime.containers}
        assert status["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"

    replay(tmp_path, before, after)


def test_what_was_ready_before_is_not_taken_for_ready_now(tmp_path):
    async def before(world):
        world.api.create("pods", pod_object("a", labels={"app": "a"}))
        await world.until(lambda: is_ready(world.pod("a")))

    async def after(world, _):
        assert await world.controllers.pods_ready("default", {"app": "a"}, deadline=30)
        assert world.runtime.containers

    replay(tmp_path, before, after)


def test_logs_of_a_pod_that_nobody_removed_go_and_those_of_others_stay(tmp_path):
    logs = tmp_path / "logs" / "pods"

    async def before(world):
        world.api.create("pods", pod_object("a"))
        await world.until(lambda: is_ready(world.pod("a")))
        (logs / "default_b_11111111-2222-3333-4444-555555555555" / "main").mkdir(parents=True)
        return world.pod("a")["metadata"]["uid"]

    async def after(world, uid):
        await world.until(lambda: [f.name for f in logs.iterdir()] == [f"default_a_{uid}"])

    replay(tmp_path, before, after)


def test_a_pod_that_may_not_restart_has_failed(tmp_path):
    async def before(world):
        world.api.create("pods", pod_object("a", restartPolicy="Never"))
        await world.until(lambda: is_ready(world.pod("a")))

    async def after(world, _):
        await world.until(lambda: world.pod("a")["status"]["phase"] == "Failed")
        assert not world.runtime.containers

    replay(tmp_path, before, after)


def test_a_pod_whose_deletion_was_under_way_goes(tmp_path):
    async def before(world):
        world.api.create("pods", pod_object("a"))
        await world.until(lambda: is_ready(world.pod("a")))
        world.runtime.ignores_term = True
        world.api.delete("pods", "a", "default")

    async def after(world, _):
        await world.until(lambda: world.pod("a") is None)

    replay(tmp_path, before, after)


def test_a_finished_pod_stays_as_it_was(tmp_path):
    async def before(world):
        world.runtime.ends_at_once = {"job": 0}
        world.api.create("pods", pod_object("a", image="job", restartPolicy="Never"))
        await world.until(lambda: (world.pod("a").get("status") or {}).get("phase") == "Succeeded")
        return world.pod("a")

    async def after(world, kept):
        world.api.create("pods", pod_object("b"))
        await world.until(lambda: is_ready(world.pod("b")))
        assert world.pod("a") == kept

    replay(tmp_path, before, after)


@pytest.mark.parametrize("replicas", [3])
def test_a_deployment_keeps_its_pods(tmp_path, replicas):
    async def before(world):
        world.api.create("deployments.apps", deployment("web", replicas))
        await world.until(lambda: len(world.ready(app="web")) == replicas)
        return {p["metadata"]["uid"] for p in world.pods(app="web")}

    async def after(world, kept):
        await world.until(
            lambda: (
                len(world.runtime.containers) == replicas
                and len(world.ready(app="web")) == replicas
            )
        )
        assert {p["metadata"]["uid"] for p in world.pods(app="web")} == kept
        assert len(world.api.list("nodes")) == 3

    replay(tmp_path, before, after)


def test_init_containers_run_again_in_the_new_sandbox(tmp_path):
    async def before(world):
        world.runtime.ends_at_once = {"done": 0}
        inits = [{"name": "one", "image": "done"}]
        world.api.create("pods", pod_object("a", initContainers=inits))
        await world.until(lambda: is_ready(world.pod("a")))

    async def after(world, _):
        world.runtime.ends_at_once = {"done": 0}
        await world.until(lambda: world.runtime.containers and is_ready(world.pod("a")))
        starts = [h for h in world.runtime.history if h.startswith("start")]
        assert starts == ["start one", "start main"]

    replay(tmp_path, before, after)
