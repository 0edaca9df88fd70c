"""Jobs: what counts, what ends them, and what a pause does."""

import pytest
from controller_world import pod_object

from k8slab.embedded.controllers import job_counts, job_plan, jobs, times
from k8slab.embedded.controllers.job_counts import FINALIZER, INDEX, BackOff, Tally, tally

JOBS = "jobs.batch"


def job_object(*, restart="Never", **spec):
    template = {"spec": {**pod_object("x")["spec"], "restartPolicy": restart}}
    metadata = {"name": "j", "namespace": "default", "uid": "1"}
    return {"metadata": metadata, "spec": {"template": template, **spec}}


def made(world, **spec):
    job = job_object(**spec)
    del job["metadata"]["uid"]
    return world.api.create(JOBS, job)


def job(world):
    return world.api.get(JOBS, "j", "default")


def status(world):
    return job(world).get("status") or {}


def conditions(world):
    return {c["type"]: (c["status"], c["reason"]) for c in status(world).get("conditions") or ()}


def running(world):
    return [pod for pod in world.pods() if world.runtime.of(pod)]


def exit_all(world, code):
    for pod in running(world):
        for container in world.runtime.of(pod):
            world.runtime.exit(container.id, code)


def ended_pod(name, phase="Failed", **metadata):
    metadata = {"name": name, "uid": name, "finalizers": [FINALIZER], **metadata}
    return {"metadata": metadata, "spec": {}, "status": {"phase": phase}}


@pytest.fixture
def no_back_off(monkeypatch):
    monkeypatch.setattr(job_counts, "FIRST_DELAY", 0.0)


@pytest.mark.parametrize("indexed", [False, True])
def test_one_look_makes_five_hundred_pods_at_most(indexed):
    mode = {"completionMode": "Indexed", "completions": 2**31 - 1} if indexed else {}
    found = job_plan.plan(job_object(parallelism=10**6, **mode), [], Tally(0, 0), BackOff())
    assert len(found.creations) == 500


def test_an_indexed_job_of_two_thousand_million_runs_its_first_numbers(in_world):
    async def play(world):
        made(world, completionMode="Indexed", completions=2**31 - 1, parallelism=2)
        await world.until(lambda: len(running(world)) == 2)
        exit_all(world, 0)
        await world.until(lambda: status(world).get("completedIndexes") == "0,1")
        await world.until(lambda: len(running(world)) == 2)
        assert {p["metadata"]["labels"][INDEX] for p in running(world)} == {"2", "3"}

    in_world(play)


def test_a_job_makes_no_more_pods_once_it_is_suspended_in_the_middle(in_world, monkeypatch):
    async def play(world):
        monkeypatch.setattr("k8slab.embedded.controllers.loop.SLICE", 0.0)  # others run after each
        suspend = {"spec": {"suspend": True}}
        added = world.at_third_pod(lambda: world.api.patch(JOBS, "j", "default", suspend))
        made(world, parallelism=50)
        await world.until(lambda: conditions(world).get("Suspended") == ("True", "JobSuspended"))
        await world.until(lambda: not world.pods())
        assert len(added) == 3

    in_world(play)


def test_a_job_that_somebody_called_complete_by_hand_has_ended(in_world):
    async def play(world):
        job = made(world, suspend=True, ttlSecondsAfterFinished=0)
        complete = {"conditions": [{"status": "False"}, {"type": "Complete", "status": "True"}]}
        world.api.update_status(JOBS, {**job, "status": complete})
        await world.until(lambda: world.api.get(JOBS, "j", "default") is None)

    in_world(play)


def test_a_job_makes_no_more_pods_once_it_is_being_deleted(in_world, monkeypatch):
    async def play(world):
        monkeypatch.setattr("k8slab.embedded.controllers.loop.SLICE", 0.0)  # others run after each
        added = world.at_third_pod(
            lambda: world.api.delete(JOBS, "j", "default", propagation="Foreground")
        )
        made(world, parallelism=50)
        await world.until(lambda: job(world) is None)
        assert len(added) == 3

    in_world(play)


def test_a_job_deletes_no_more_pods_once_they_are_wanted_again(in_world, monkeypatch):
    async def play(world):
        made(world, parallelism=8)
        # One that no node has yet would go at once, and not be seen to be going.
        await world.until(lambda: len(running(world)) == 8)
        old = set(world.names())
        monkeypatch.setattr("k8slab.embedded.controllers.loop.SLICE", 0.0)
        wanted = {"spec": {"parallelism": 8}}
        gone = world.count_deletions(3, lambda: world.api.patch(JOBS, "j", "default", wanted))
        world.api.patch(JOBS, "j", "default", {"spec": {"parallelism": 0}})
        await world.until(lambda: len(gone) >= 3)
        await world.until(lambda: len(set(world.names()) - old) == len(gone))
        assert len(gone) == 3

    in_world(play)


def test_a_pod_that_may_not_be_deleted_keeps_no_other_from_it(in_world):
    async def play(world):
        made(world, parallelism=3)
        await world.until(lambda: status(world).get("active") == 3)
        kept = world.refuse_first_deletion()
        world.api.patch(JOBS, "j", "default", {"spec": {"parallelism": 0}})
        await world.until(lambda: world.names() == kept)
        await world.until(lambda: status(world).get("active") == 1)

    in_world(play)


@pytest.mark.parametrize("indexed", [False, True])
def test_a_pod_that_succeeded_stays_counted_when_it_is_deleted(in_world, indexed):
    async def play(world):
        made(world, completions=2, completionMode="Indexed" if indexed else "NonIndexed")
        await world.until(lambda: running(world))
        (first,) = running(world)
        assert first["metadata"]["finalizers"] == [FINALIZER]
        exit_all(world, 0)
        await world.until(lambda: status(world).get("succeeded") == 1)
        world.api.delete("pods", first["metadata"]["name"], "default")
        assert world.pod(first["metadata"]["name"]) is None
        await world.until(lambda: running(world))
        assert status(world)["succeeded"] == 1
        exit_all(world, 0)
        await world.until(lambda: "Complete" in conditions(world))
        assert status(world)["succeeded"] == 2
        assert status(world)["uncountedTerminatedPods"] == {}

    in_world(play)


def test_pods_that_somebody_deletes_count_as_failed(in_world, no_back_off):
    async def play(world):
        made(world, backoffLimit=1)
        for _ in range(2):
            await world.until(lambda: running(world))
            (pod,) = running(world)
            world.api.delete("pods", pod["metadata"]["name"], "default")
            await world.until(lambda gone=pod: world.pod(gone["metadata"]["name"]) is None)
        await world.until(lambda: "Failed" in conditions(world))
        assert conditions(world)["Failed"] == ("True", "BackoffLimitExceeded")
        assert status(world)["failed"] == 2

    in_world(play)


def test_restarts_of_containers_count_where_pods_do_not_fail(in_world):
    async def play(world):
        made(world, restart="OnFailure", backoffLimit=1)
        await world.until(lambda: running(world))
        exit_all(world, 1)
        await world.until(lambda: "Failed" in conditions(world))
        assert conditions(world)["Failed"] == ("True", "BackoffLimitExceeded")
        assert status(world)["failed"] == 1
        await world.until(lambda: not world.pods())

    in_world(play)


def test_a_job_has_failed_when_its_last_pod_has_gone(in_world):
    async def play(world):
        made(world, parallelism=2, completions=2, backoffLimit=0)
        await world.until(lambda: len(running(world)) == 2)
        one, other = running(world)
        world.runtime.ignores_term = True
        (container,) = world.runtime.of(one)
        world.runtime.exit(container.id, 1)
        await world.until(lambda: status(world).get("terminating") == 1)
        assert conditions(world) == {"FailureTarget": ("True", "BackoffLimitExceeded")}
        exit_all(world, 137)
        await world.until(lambda: "Failed" in conditions(world))
        assert status(world)["failed"] == 2
        assert status(world)["terminating"] == 0
        assert world.pod(other["metadata"]["name"]) is None

    in_world(play)


def test_a_job_is_complete_after_its_success_criteria_are_met(in_world):
    async def play(world):
        world.runtime.ends_at_once["web"] = 0
        made(world)
        await world.until(lambda: "Complete" in conditions(world))
        assert list(conditions(world)) == ["SuccessCriteriaMet", "Complete"]
        assert status(world)["completionTime"]
        assert not any(p["metadata"].get("finalizers") for p in world.pods())

    in_world(play)


def test_a_suspended_job_starts_when_it_is_resumed(in_world):
    async def play(world):
        made(world, activeDeadlineSeconds=1000)
        await world.until(lambda: running(world))
        world.api.patch(JOBS, "j", "default", {"spec": {"suspend": True}})
        await world.until(lambda: not world.pods())
        await world.until(lambda: status(world).get("terminating") == 0)
        assert conditions(world) == {"Suspended": ("True", "JobSuspended")}
        assert "startTime" not in status(world)
        assert not status(world).get("failed")
        world.api.patch(JOBS, "j", "default", {"spec": {"suspend": False}})
        await world.until(lambda: running(world))
        await world.until(lambda: status(world).get("startTime"))
        assert conditions(world) == {"Suspended": ("False", "JobResumed")}
        reasons = {"Suspended", "Resumed"}
        await world.until(lambda: reasons <= {e["reason"] for e in world.api.list("events")})

    in_world(play)


@pytest.mark.parametrize(("suspended", "verdict"), [(False, "FailureTarget"), (True, None)])
def test_the_deadline_does_not_pass_for_a_suspended_job(suspended, verdict):
    job = job_object(activeDeadlineSeconds=1, suspend=suspended)
    job["status"] = {"startTime": times.text(times.seconds("2026-01-01T00:00:00Z"))}
    found = job_plan.plan(job, [], Tally(0, 0), BackOff()).verdict
    assert (found and found["type"]) == verdict


@pytest.mark.parametrize("propagation", ["Background", "Foreground", "Orphan"])
def test_a_deleted_job_holds_no_pods(in_world, propagation):
    async def play(world):
        made(world)
        await world.until(lambda: running(world))
        world.api.delete(JOBS, "j", "default", propagation=propagation)
        await world.until(lambda: job(world) is None)
        if propagation == "Orphan":
            await world.until(lambda: not world.pods()[0]["metadata"].get("finalizers"))
        else:
            await world.until(lambda: not world.pods())

    in_world(play)


def test_a_pod_that_is_released_by_its_labels_is_not_held(in_world):
    async def play(world):
        made(world)
        await world.until(lambda: running(world))
        (pod,) = running(world)
        name = pod["metadata"]["name"]
        labels = dict.fromkeys(pod["metadata"]["labels"])
        world.api.patch("pods", name, "default", {"metadata": {"labels": labels}})
        await world.until(lambda: not world.pod(name)["metadata"].get("finalizers"))
        await world.until(lambda: len(running(world)) == 2)

    in_world(play)


def test_what_was_noted_before_the_daemon_ended_is_counted_once():
    noted = {"succeeded": ["a", "b"], "failed": ["c"]}
    status = {"succeeded": 1, "uncountedTerminatedPods": noted}
    job = {**job_object(), "status": status}
    held = ended_pod("b", "Succeeded")
    found = tally(job, [held, ended_pod("d", "Succeeded")])
    assert (found.succeeded, found.failed) == (4, 1)
    settled = job_counts.settle(status, {"b", "d"}.__contains__)
    assert (settled["succeeded"], settled["failed"]) == (2, 1)
    assert settled["uncountedTerminatedPods"] == {"succeeded": ["b"]}


def test_a_pod_that_succeeds_after_it_was_noted_as_deleted_has_failed():
    job = job_object(parallelism=1)
    going = ended_pod("a", "Running", deletionTimestamp="2026-01-01T00:00:00Z")
    assert tally(job, [going]).failed == 1
    status = job_counts.note({}, failed=[going])
    ended = ended_pod("a", "Succeeded", deletionTimestamp="2026-01-01T00:00:00Z")
    found = tally({**job, "status": status}, [ended])
    assert (found.succeeded, found.failed) == (0, 1)
    status = job_counts.note(status, succeeded=[ended])
    assert status["uncountedTerminatedPods"] == {"failed": ["a"]}


def test_a_failure_that_is_noted_at_a_later_look_counts_once_for_the_back_off(
    in_world, monkeypatch
):
    monkeypatch.setattr(jobs, "MOST_NOTED", 1)

    async def play(world):
        made(world, parallelism=3)
        await world.until(lambda: len(running(world)) == 3)
        exit_all(world, 1)
        await world.until(lambda: status(world).get("failed") == 3)
        assert world.controller("Jobs")._back_offs["default/j"].failures == 3

    in_world(play)


def test_a_success_ends_the_back_off_of_earlier_failures():
    early = ended_pod("a", creationTimestamp="2026-01-01T00:00:00Z")
    late = ended_pod("b", creationTimestamp="2026-01-01T00:00:09Z")
    success = ended_pod("c", "Succeeded", creationTimestamp="2026-01-01T00:00:05Z")
    failing = BackOff().after(Tally(0, 2, (), (early, late)))
    assert failing.failures == 2
    assert failing.after(Tally(1, 2, (success,), ())).failures == 0
    assert failing.after(Tally(1, 4, (success,), (early, late))).failures == 1


def test_of_two_pods_with_one_number_the_better_one_stays():
    job = job_object(completionMode="Indexed", completions=2, parallelism=2)

    def pod(name, number, **spec):
        annotations = {INDEX: str(number)}
        return {"metadata": {"name": name, "uid": name, "annotations": annotations}, "spec": spec}

    found = [pod("a", 0), pod("b", 0, nodeName="n"), pod("c", 5), pod("d", 1)]
    plan = job_plan.plan(job, found, Tally(0, 0), BackOff())
    assert {p["metadata"]["name"] for p in plan.deletions} == {"a", "c"}
