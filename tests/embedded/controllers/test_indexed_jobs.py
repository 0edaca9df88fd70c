"""Jobs whose pods have numbers."""

from controller_world import pod_object

from k8slab.embedded.controllers.job_counts import INDEX

JOBS = "jobs.batch"


def test_an_indexed_job_runs_one_pod_for_each_number_and_repeats_failures(in_world):
    async def play(world):
        template = {"spec": {**pod_object("x")["spec"], "restartPolicy": "Never"}}
        spec = {
            "completionMode": "Indexed",
            "completions": 3,
            "parallelism": 2,
            "template": template,
        }
        world.api.create(JOBS, {"metadata": {"name": "j", "namespace": "default"}, "spec": spec})

        def running():
            return {
                int(pod["metadata"]["labels"][INDEX]): pod
                for pod in world.pods()
                if world.runtime.of(pod)
            }

        await world.until(lambda: set(running()) == {0, 1})
        first = running()[0]
        assert first["metadata"]["name"].startswith("j-0-")
        (container,) = world.runtime.of(first)
        assert container.spec.environment["JOB_COMPLETION_INDEX"] == "0"
        assert world.runtime.sandboxes[first["metadata"]["uid"]].hostname == "j-0"
        world.runtime.exit(container.id, 0)
        await world.until(lambda: set(running()) == {1, 2})
        for pod in running().values():
            (container,) = world.runtime.of(pod)
            world.runtime.exit(container.id, 0)

        def status():
            return world.api.get(JOBS, "j", "default").get("status") or {}

        await world.until(lambda: status().get("completionTime"))
        assert status()["completedIndexes"] == "0-2"
        assert status()["succeeded"] == 3

    in_world(play)
