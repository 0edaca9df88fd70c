"""Kinds that a cluster seldom has: their controllers start with the first object, and work."""

import asyncio
import errno
import importlib
import os
from functools import partial

import pytest
from controller_world import deployment, pod_object

from k8slab.embedded.apiserver import evictions
from k8slab.embedded.controllers import cronjobs, times
from k8slab.embedded.controllers.cronjobs import CronJobs
from k8slab.embedded.controllers.seldom import CONTROLLERS, JOB_TRACKING, Seldom
from k8slab.errors import ApiStatusError

NOON = times.seconds("2027-01-01T12:00:30Z")


def cron_job(schedule="* * * * *", image="ends", **spec):
    template = {
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}
    }
    return {
        "metadata": {"name": "tick", "namespace": "default"},
        "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": template}}, **spec},
    }


def budget(**spec):
    selector = {"matchLabels": {"app": "web"}}
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": selector, **spec},
    }


def seldom(world):
    return next(one for one in world.controllers.others if isinstance(one, Seldom))


def test_a_controller_starts_with_the_first_object_of_its_kind(in_world):
    async def play(world):
        assert seldom(world).running == []
        world.api.create("cronjobs.batch", cron_job())
        found = await world.until(lambda: seldom(world).running)
        assert [type(one) for one in found] == [CronJobs]

    in_world(play)


def test_a_pod_that_is_held_for_a_job_that_is_no_more_is_let_go(in_world):
    async def play(world):
        pod = pod_object("left")
        pod["metadata"]["finalizers"] = [JOB_TRACKING]
        world.api.create("pods", pod_object("other"))
        assert seldom(world).running == []
        world.api.create("pods", pod)
        await world.until(lambda: not world.pod("left")["metadata"].get("finalizers"))
        assert [type(one).__name__ for one in seldom(world).running] == ["Jobs"]

    in_world(play)


def test_it_is_let_go_when_the_daemon_ended_before(in_world):
    async def play(world):
        pod = pod_object("left")
        pod["metadata"]["finalizers"] = [JOB_TRACKING]
        world.api.create("pods", pod)
        again = Seldom(seldom(world)._context)
        await world.until(lambda: again.running)
        assert [type(one).__name__ for one in again.running] == ["Jobs"]
        await again.close()

    in_world(play)


def test_every_controller_named_is_one(in_world):
    async def play(world):
        for resource in CONTROLLERS:
            await seldom(world)._start(resource)
        assert len(seldom(world).running) == len(CONTROLLERS)

    in_world(play)


def test_a_controller_that_cannot_start_hinders_no_write_and_is_tried_again(
    in_world, monkeypatch, caplog
):
    missing = [1, 2]

    def too_many_files(module):
        if missing:
            missing.pop()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), module)
        return real(module)

    real = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", too_many_files)

    async def play(world):
        assert world.api.create("cronjobs.batch", cron_job())
        await world.until(lambda: seldom(world).running)

    in_world(play)
    assert caplog.text.count("seldom: cronjobs.batch failed; will be retried") == 2


class Clock:
    """Time as the test says."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """Return the clock of the loop over CronJobs; no time has come before the test says so."""
    clock = Clock(0)
    monkeypatch.setattr(cronjobs, "CronJobs", partial(CronJobs, clock=clock))
    return clock


async def ticking(world, clock, now):
    """Return the loop over CronJobs when it has looked at this time."""
    (loop,) = await world.until(lambda: seldom(world).running)
    clock.now = now
    await loop.loop.settle("default/tick")
    return loop


def jobs(world):
    return sorted(j["metadata"]["name"] for j in world.api.list("jobs.batch", "default"))


def status(world):
    return world.api.get("cronjobs.batch", "tick", "default").get("status", {})


async def later(loop, clock, minutes):
    clock.now += 60 * minutes
    await loop.loop.settle("default/tick")


def test_a_cron_job_makes_a_job_at_each_time_and_keeps_the_last_three(in_world, clock):
    async def play(world):
        world.runtime.ends_at_once["ends"] = 0
        made = world.api.create("cronjobs.batch", cron_job())
        created = times.seconds(made["metadata"]["creationTimestamp"])
        loop = await ticking(world, clock, created // 60 * 60 + 61)
        for number in (1, 2, 3, 3, 3):
            await world.until(lambda kept=number: len(jobs(world)) >= kept)
            await world.until(lambda: not status(world).get("active"))
            await later(loop, clock, 1)
        await world.until(lambda: not status(world).get("active"))
        await world.until(lambda: len(jobs(world)) == 3)
        minute = int(clock.now) // 60
        assert jobs(world) == [f"tick-{minute - age}" for age in (2, 1, 0)]
        assert status(world)["lastScheduleTime"] == times.text(minute * 60)
        assert "lastSuccessfulTime" in status(world)
        newest = world.api.get("jobs.batch", f"tick-{minute}", "default")
        when = newest["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
        assert when == times.text(minute * 60)

    in_world(play)


@pytest.mark.parametrize(("policy", "running"), [("Allow", 2), ("Forbid", 1), ("Replace", 1)])
def test_the_concurrency_policy_decides_when_the_last_job_still_runs(
    in_world, clock, policy, running
):
    async def play(world):
        made = world.api.create("cronjobs.batch", cron_job(image="web", concurrencyPolicy=policy))
        created = times.seconds(made["metadata"]["creationTimestamp"])
        loop = await ticking(world, clock, created // 60 * 60 + 61)
        (first,) = await world.until(lambda: jobs(world))
        await later(loop, clock, 1)
        found = await world.until(lambda: len(jobs(world)) == running and jobs(world))
        assert (first in found) is (policy != "Replace")

    in_world(play)


def from_cron_job(cron, name, template):
    """Return what ``kubectl create job --from=cronjob/...`` makes."""
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "controller": True}
    reference = {**owner, "name": cron["metadata"]["name"], "uid": cron["metadata"]["uid"]}
    metadata = {
        "name": name,
        "namespace": "default",
        "annotations": {"cronjob.kubernetes.io/instantiate": "manual"},
        "ownerReferences": [reference],
    }
    return {"metadata": metadata, "spec": template["spec"]}


def test_a_job_that_somebody_makes_of_a_cron_job_is_not_its_active_one(in_world, clock):
    async def play(world):
        made = world.api.create("cronjobs.batch", cron_job(image="web", concurrencyPolicy="Forbid"))
        created = times.seconds(made["metadata"]["creationTimestamp"])
        loop = await ticking(world, clock, created // 60 * 60 + 1)
        template = made["spec"]["jobTemplate"]
        world.api.create("jobs.batch", from_cron_job(made, "by-hand", template))
        await loop.loop.settle("default/tick")
        assert not status(world).get("active")
        await later(loop, clock, 1)
        name = f"tick-{int(clock.now) // 60}"
        assert jobs(world) == ["by-hand", name]
        assert [one["name"] for one in status(world)["active"]] == [name]
        await world.until(
            lambda: any(e["reason"] == "UnexpectedJob" for e in world.api.list("events"))
        )

    in_world(play)


def test_a_job_made_just_before_the_daemon_ended_is_noted(in_world, clock):
    async def play(world):
        made = world.api.create("cronjobs.batch", cron_job(image="web"))
        created = times.seconds(made["metadata"]["creationTimestamp"])
        loop = await ticking(world, clock, created // 60 * 60 + 61)
        (name,) = jobs(world)
        found = world.api.get("cronjobs.batch", "tick", "default")
        world.api.update_status("cronjobs.batch", {**found, "status": {}})
        await loop.loop.settle("default/tick")
        assert jobs(world) == [name]
        assert [one["name"] for one in status(world)["active"]] == [name]

    in_world(play)


def test_a_status_that_somebody_wrote_by_hand_stops_no_cron_job(in_world, clock):
    async def play(world):
        made = world.api.create("cronjobs.batch", cron_job(image="web", concurrencyPolicy="Forbid"))
        active = {"active": [{"kind": "Job"}], "lastSuccessfulTime": None}
        world.api.update_status("cronjobs.batch", {**made, "status": active})
        created = times.seconds(made["metadata"]["creationTimestamp"])
        await ticking(world, clock, created // 60 * 60 + 61)
        assert [one["name"] for one in status(world)["active"]] == jobs(world)
        assert len(jobs(world)) == 1

    in_world(play)


def test_a_suspended_cron_job_rests_and_a_late_one_is_told(in_world, clock):
    async def play(world):
        made = world.api.create("cronjobs.batch", cron_job("0 * * * *", suspend=True))
        created = times.seconds(made["metadata"]["creationTimestamp"])
        loop = await ticking(world, clock, created + 7200)
        assert jobs(world) == []
        spec = {"spec": {"suspend": False, "startingDeadlineSeconds": 10}}
        clock.now = created // 3600 * 3600 + 2 * 3600 + 100
        world.api.patch("cronjobs.batch", "tick", "default", spec)
        await loop.loop.idle()
        assert jobs(world) == []
        clock.now = created // 3600 * 3600 + 3 * 3600 + 5
        await later(loop, clock, 0)
        assert len(jobs(world)) == 1

    in_world(play)


def test_after_a_long_pause_only_the_last_time_is_made_up_for(in_world, clock):
    async def play(world):
        made = world.api.create("cronjobs.batch", cron_job())
        created = times.seconds(made["metadata"]["creationTimestamp"])
        await ticking(world, clock, created + 40 * 86400)
        assert jobs(world) == [f"tick-{int(clock.now) // 60}"]

    in_world(play)


def test_a_replication_controller_keeps_its_pods_and_scales(in_world):
    async def play(world):
        template = {
            "metadata": {"labels": {"app": "old"}},
            "spec": {"containers": [{"name": "main", "image": "web"}]},
        }
        made = world.api.create(
            "replicationcontrollers",
            {
                "metadata": {"name": "old", "namespace": "default"},
                "spec": {"replicas": 2, "template": template},
            },
        )
        assert made["spec"]["selector"] == {"app": "old"}
        await world.until(lambda: len(world.ready(app="old")) == 2)
        world.api.update_scale(
            "replicationcontrollers", "old", "default", {"spec": {"replicas": 1}}
        )
        await world.until(lambda: len(world.pods(app="old")) == 1)

        def counted():
            found = world.api.get("replicationcontrollers", "old", "default")["status"]
            return found.get("replicas") == found.get("readyReplicas") == 1 and found

        found = await world.until(counted)
        assert "terminatingReplicas" not in found

    in_world(play)


def counts(world):
    found = world.api.get("poddisruptionbudgets.policy", "web", "default").get("status") or {}
    fields = ("expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed")
    return tuple(found.get(field) for field in fields)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"minAvailable": 2}, (3, 2, 3, 1)),
        ({"minAvailable": "50%"}, (3, 2, 3, 1)),  # rounded up
        ({"maxUnavailable": 2}, (3, 1, 3, 2)),
        ({"maxUnavailable": "34%"}, (3, 1, 3, 2)),
        ({"minAvailable": 5}, (3, 5, 3, 0)),
        ({"maxUnavailable": 0}, (3, 3, 3, 0)),
    ],
)
def test_a_budget_counts_how_many_pods_may_go(in_world, spec, expected):
    async def play(world):
        world.api.create("deployments.apps", deployment("web", 3))
        await world.until(lambda: len(world.ready(app="web")) == 3)
        world.api.create("poddisruptionbudgets.policy", budget(**spec))
        await world.until(lambda: counts(world) == expected)

    in_world(play)


def test_evictions_stop_where_the_budget_says(in_world):
    async def play(world):
        world.api.create("deployments.apps", deployment("web", 3))
        await world.until(lambda: len(world.ready(app="web")) == 3)
        world.api.create("poddisruptionbudgets.policy", budget(minAvailable=2))
        await world.until(lambda: counts(world)[3] == 1)
        first, second, _ = world.ready(app="web")
        evictions.evict(world.api, first, {})
        with pytest.raises(ApiStatusError, match="violate the pod's disruption budget") as caught:
            evictions.evict(world.api, second, {})
        assert (caught.value.code, caught.value.reason) == (429, "TooManyRequests")
        (cause,) = caught.value.details["causes"]
        assert cause["message"].startswith("The disruption budget web needs 2 healthy pods and has")
        await world.until(lambda: counts(world)[2:] == (3, 1))  # the new pod is ready
        evictions.evict(world.api, second, {})

    in_world(play)


def test_nothing_is_evicted_before_a_new_budget_is_counted(in_world):
    async def play(world):
        made = world.api.create("pods", pod_object("web", labels={"app": "web"}))
        world.api.create("poddisruptionbudgets.policy", budget(minAvailable=0))
        await world.until(lambda: world.ready(app="web"))
        await world.until(lambda: counts(world)[3] == 1)
        stale = world.api.get("poddisruptionbudgets.policy", "web", "default")
        world.api.update(
            "poddisruptionbudgets.policy", {**stale, "spec": {**stale["spec"], "minAvailable": 1}}
        )
        # In this very turn of the loop nobody has counted yet.
        with pytest.raises(ApiStatusError) as caught:
            evictions.evict(world.api, world.pod(made["metadata"]["name"]), {})
        assert "still being processed" in caught.value.details["causes"][0]["message"]

    in_world(play)


def test_a_claim_says_why_it_is_pending(in_world):
    async def play(world):
        claim = {
            "metadata": {"name": "data", "namespace": "default"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
        made = world.api.create("persistentvolumeclaims", claim)
        assert made["status"]["phase"] == "Pending"
        event = await world.until(
            lambda: [e for e in world.api.list("events") if e["reason"] == "FailedBinding"]
        )
        assert "no storage class is set" in event[0]["message"]

    in_world(play)


def test_a_stopped_loop_of_cron_jobs_leaves_nothing_behind(in_world):
    async def play(world):
        world.api.create("cronjobs.batch", cron_job())
        await world.until(lambda: seldom(world).running)
        await seldom(world).close()
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert "cronjobs" not in names

    in_world(play)
