"""What the policies of Jobs do: failures that end a Job, do not count, or end one number alone."""

import pytest
from test_jobs import conditions, ended_pod, job_object, made, running, status

from k8slab.embedded.apiserver import evictions
from k8slab.embedded.controllers import job_counts, job_indexes, job_plan, job_policies, times
from k8slab.embedded.controllers.indexes import Indexes
from k8slab.embedded.controllers.job_counts import INDEX, BackOff, tally
from k8slab.errors import ApiStatusError


@pytest.fixture(autouse=True)
def no_back_off(monkeypatch):
    monkeypatch.setattr(job_counts, "FIRST_DELAY", 0.0)


def rules(*found):
    return {"podFailurePolicy": {"rules": [*found]}}


def on_code(action, *values, operator="In", **more):
    return {"action": action, "onExitCodes": {"operator": operator, "values": [*values], **more}}


def failed_pod(code=1, *, name="a", container="main", conditions=(), **metadata):
    pod = ended_pod(name, namespace="default", **metadata)
    ended = {"name": container, "state": {"terminated": {"exitCode": code}}}
    pod["status"] |= {"containerStatuses": [ended], "conditions": [*conditions]}
    return pod


DISRUPTED = {"type": "DisruptionTarget", "status": "True"}
ON_DISRUPTION = {"action": "Ignore", "onPodConditions": [{**DISRUPTED}]}


@pytest.mark.parametrize(
    ("rule", "pod", "action"),
    [
        (on_code("FailJob", 42), failed_pod(42), "FailJob"),
        (on_code("FailJob", 42), failed_pod(1), ""),
        (on_code("Ignore", 42, operator="NotIn"), failed_pod(1), "Ignore"),
        (on_code("Ignore", 42, operator="NotIn"), failed_pod(0), ""),  # a success is no failure
        (on_code("Count", 42, containerName="main"), failed_pod(42), "Count"),
        (on_code("Count", 42, containerName="main"), failed_pod(42, container="other"), ""),
        (ON_DISRUPTION, failed_pod(1, conditions=[DISRUPTED]), "Ignore"),
        (ON_DISRUPTION, failed_pod(1, conditions=[{**DISRUPTED, "status": "False"}]), ""),
        (ON_DISRUPTION, ended_pod("a"), ""),
    ],
)
def test_a_rule_matches_by_exit_codes_or_conditions(rule, pod, action):
    assert job_policies.failure(job_object(**rules(rule)), pod).action == action


def test_the_first_rule_that_matches_decides():
    job = job_object(**rules(on_code("Ignore", 7), on_code("FailJob", 7, 8)))
    assert job_policies.fatal(job, [failed_pod(7)]) == ""
    assert job_policies.fatal(job, [failed_pod(7), failed_pod(8, name="b")]) == (
        "Container main for pod default/b failed with exit code 8 matching FailJob rule at index 1"
    )


def test_one_exit_code_may_end_the_job_at_once(in_world):
    async def play(world):
        made(world, parallelism=2, **rules(on_code("FailJob", 42)))
        first, _ = await world.until(lambda: len(running(world)) == 2 and running(world))
        exit_one(world, first, 42)
        await world.until(lambda: conditions(world).get("Failed") == ("True", "PodFailurePolicy"))
        assert conditions(world)["FailureTarget"] == ("True", "PodFailurePolicy")
        assert not running(world)
        assert status(world)["failed"] == 2

    in_world(play)


def test_a_failure_that_is_ignored_counts_for_nothing(in_world):
    async def play(world):
        made(world, completions=1, parallelism=1, backoffLimit=0, **rules(on_code("Ignore", 3)))
        for _ in range(3):
            (pod,) = await world.until(lambda: running(world))
            exit_one(world, pod, 3)
            await gone(world, pod)
        (pod,) = await world.until(lambda: running(world))
        exit_one(world, pod, 0)
        await world.until(lambda: "Complete" in conditions(world))
        assert "failed" not in status(world)

    in_world(play)


def test_a_pod_that_is_evicted_is_told_from_one_that_fails(in_world):
    async def play(world):
        made(world, completions=1, parallelism=1, backoffLimit=0, **rules(ON_DISRUPTION))
        (pod,) = await world.until(lambda: running(world))
        world.runtime.ignores_term = True
        version = {"preconditions": {"resourceVersion": pod["metadata"]["resourceVersion"]}}
        with pytest.raises(ApiStatusError, match="ResourceVersion in the precondition"):
            evictions.evict(world.api, pod, {"preconditions": {"resourceVersion": "1"}})
        evictions.evict(world.api, pod, version)
        (going,) = world.pods()
        (target,) = (c for c in going["status"]["conditions"] if c["type"] == "DisruptionTarget")
        assert (target["status"], target["reason"]) == ("True", "EvictionByEvictionAPI")
        exit_one(world, pod, 143)
        await gone(world, pod)
        (pod,) = await world.until(lambda: running(world))
        exit_one(world, pod, 0)
        await world.until(lambda: "Complete" in conditions(world))
        assert "failed" not in status(world)

    in_world(play)


def test_a_number_that_fails_too_often_is_given_up_alone(in_world):
    async def play(world):
        alone = {"backoffLimitPerIndex": 1, "completionMode": "Indexed"}
        job = made(world, completions=2, parallelism=2, **alone)
        assert job["spec"]["backoffLimit"] == 2**31 - 1
        for count in ("0", "1"):
            pod = await numbered(world, 0, count)
            exit_one(world, pod, 1)
        await world.until(lambda: status(world).get("failedIndexes") == "0")
        assert not conditions(world)
        exit_one(world, await numbered(world, 1, "0"), 0)
        await world.until(lambda: conditions(world).get("Failed") == ("True", "FailedIndexes"))
        found = status(world)
        assert (found["completedIndexes"], found["failedIndexes"]) == ("1", "0")
        assert (found["succeeded"], found["failed"]) == (1, 2)

    in_world(play)


def test_a_rule_may_give_up_a_number_at_once_and_too_many_of_them_end_the_job(in_world):
    async def play(world):
        alone = {"backoffLimitPerIndex": 5, "maxFailedIndexes": 0, "completionMode": "Indexed"}
        made(world, completions=3, parallelism=2, **alone, **rules(on_code("FailIndex", 9)))
        exit_one(world, await numbered(world, 1, "0"), 9)
        await world.until(
            lambda: conditions(world).get("Failed") == ("True", "MaxFailedIndexesExceeded")
        )
        assert status(world)["failedIndexes"] == "1"
        assert not running(world)

    in_world(play)


def test_an_ignored_failure_of_a_number_is_counted_apart():
    job = job_object(backoffLimitPerIndex=1, **rules(on_code("Ignore", 3)))
    before = failed_pod(3, annotations={INDEX: "0", job_indexes.FAILURES: "1"})
    assert not job_indexes.is_lost(job, before)
    assert job_indexes.told(job, before) == {
        job_indexes.FAILURES: "1",
        job_indexes.IGNORED: "1",
    }
    assert job_indexes.failures(before) == 2


@pytest.mark.parametrize("text", ["", "-1", "x", "9" * 11, str(2**31), "٣"])
def test_what_is_no_count_in_the_annotation_is_none(text):
    pod = failed_pod(1, annotations={INDEX: "0", job_indexes.FAILURES: text})
    assert job_indexes.failures(pod) == 1


def test_of_the_failed_pods_of_a_number_the_latest_waits_for_its_successor():
    job = job_object(backoffLimitPerIndex=5, completionMode="Indexed", completions=3)

    def pod(name, number, count):
        notes = {INDEX: str(number), job_indexes.FAILURES: str(count)}
        return failed_pod(1, name=name, annotations=notes, creationTimestamp="2026-01-01T00:00:00Z")

    going = pod("d", 1, 1)
    going["status"] = {"phase": "Running"}
    found = tally(job, [pod("b", 0, 1), pod("a", 0, 0), pod("c", 1, 0), going, pod("e", 2, 5)])
    assert {number: one["metadata"]["name"] for number, one in found.held.items()} == {0: "b"}
    assert str(found.lost) == "2"


def test_each_number_waits_for_its_own_back_off_and_its_failed_pod_is_kept_meanwhile(monkeypatch):
    monkeypatch.setattr(job_counts, "FIRST_DELAY", 600.0)
    job = job_object(backoffLimitPerIndex=5, completionMode="Indexed", completions=2, parallelism=2)
    notes = {INDEX: "0", job_indexes.FAILURES: "0"}
    pod = failed_pod(1, annotations=notes, creationTimestamp=times.text())
    found = tally(job, [pod])
    plan = job_plan.plan(job, [pod], found, BackOff().after(found))
    assert plan.creations == [1]
    assert 500 < plan.wait <= 600
    assert not job_plan.can_be_counted(job, pod, None, found)
    other = {**pod, "metadata": {**pod["metadata"], "uid": "earlier"}}
    assert job_plan.can_be_counted(job, other, None, found)
    assert job_plan.can_be_counted(job, pod, {"type": "FailureTarget"}, found)


def test_a_job_ends_when_its_leaders_have_succeeded(in_world):
    async def play(world):
        leaders = {"successPolicy": {"rules": [{"succeededIndexes": "0"}]}}
        made(world, completions=3, parallelism=3, completionMode="Indexed", **leaders)
        await world.until(lambda: len(running(world)) == 3)
        exit_one(world, next(p for p in running(world) if number(p) == "0"), 0)
        await world.until(lambda: conditions(world).get("Complete") == ("True", "SuccessPolicy"))
        assert conditions(world)["SuccessCriteriaMet"] == ("True", "SuccessPolicy")
        assert status(world)["completedIndexes"] == "0"
        assert not running(world)

    in_world(play)


@pytest.mark.parametrize(
    ("rule", "enough"),
    [
        ({"succeededIndexes": "0,2-3"}, True),
        ({"succeededIndexes": "0-3"}, False),
        ({"succeededIndexes": "0-3", "succeededCount": 3}, True),
        ({"succeededIndexes": "1-3", "succeededCount": 3}, False),
        ({"succeededCount": 3}, True),
        ({"succeededCount": 4}, False),
        ({"succeededIndexes": "7-9"}, False),  # none of the Job's
    ],
)
def test_enough_are_these_numbers_or_so_many(rule, enough):
    job = job_object(completions=5, completionMode="Indexed", successPolicy={"rules": [rule]})
    found = job_policies.success(job, Indexes.parse("0,2-3", 5))
    assert found == ("Matched rules at index 0" if enough else "")


@pytest.mark.parametrize("rule", [{}, {"succeededIndexes": "0-3"}])
def test_nothing_succeeded_is_never_enough(rule):
    policy = {"rules": [{"succeededCount": 0, **rule}]}
    job = job_object(completions=5, successPolicy=policy)
    assert job_policies.success(job, Indexes()) == ""


def test_a_deleted_pod_is_replaced_once_it_has_ended_where_the_job_says_so(in_world):
    async def play(world):
        made(world, parallelism=1, podReplacementPolicy="Failed")
        (pod,) = await world.until(lambda: running(world))
        world.runtime.ignores_term = True
        world.api.delete("pods", pod["metadata"]["name"], "default")
        await world.until(lambda: status(world).get("terminating") == 1)
        assert [p["metadata"]["uid"] for p in world.pods()] == [pod["metadata"]["uid"]]
        assert "failed" not in status(world)
        exit_one(world, pod, 1)
        await world.until(lambda: status(world).get("failed") == 1)
        await world.until(lambda: len(running(world)) == 1)

    in_world(play)


@pytest.mark.parametrize("restart", ["Never", "OnFailure"])
def test_a_pod_that_ends_as_it_is_deleted_ends_for_its_job_too(in_world, restart):
    async def play(world):
        made(world, parallelism=1, restart=restart, podReplacementPolicy="Failed")
        (pod,) = await world.until(lambda: running(world))
        exit_one(world, pod, 0 if restart == "OnFailure" else 1)
        world.api.delete("pods", pod["metadata"]["name"], "default")
        word = "succeeded" if restart == "OnFailure" else "failed"
        await world.until(lambda: status(world).get(word) == 1)
        assert pod["metadata"]["uid"] not in {p["metadata"]["uid"] for p in running(world)}

    in_world(play)


def test_one_whose_container_would_start_again_fails_when_it_is_deleted(in_world):
    async def play(world):
        made(world, parallelism=1, restart="OnFailure", podReplacementPolicy="Failed")
        (pod,) = await world.until(lambda: running(world))
        world.api.delete("pods", pod["metadata"]["name"], "default")
        await world.until(lambda: status(world).get("failed") == 1)
        await world.until(lambda: len(running(world)) == 1)

    in_world(play)


def number(pod):
    return pod["metadata"]["labels"][INDEX]


async def numbered(world, index, count):
    """Return the running pod of a number, before which it has failed so often."""

    def found():
        for pod in running(world):
            notes = pod["metadata"]["annotations"]
            if notes[INDEX] == str(index) and notes[job_indexes.FAILURES] == count:
                return pod
        return None

    return await world.until(found)


def exit_one(world, pod, code):
    for container in world.runtime.of(pod):
        world.runtime.exit(container.id, code)


async def gone(world, pod):
    await world.until(
        lambda: pod["metadata"]["uid"] not in {p["metadata"]["uid"] for p in running(world)}
    )
