"""ControllerRevisions of StatefulSets and DaemonSets, surges, and Events that expire."""

import pytest
from controller_world import deployment

from k8slab.embedded.controllers.daemonsets import eligible, spare_pods
from k8slab.embedded.controllers.deployments import template_hash
from k8slab.embedded.controllers.event_expiry import last_written
from k8slab.embedded.controllers.revisions import HASH_LABEL, revision_name

REVISIONS = "controllerrevisions.apps"
SETS = "statefulsets.apps"
DAEMONS = "daemonsets.apps"


def owner(kind, name, replicas=1, **spec):
    made = deployment(name, replicas, **spec)
    if kind == "DaemonSet":
        del made["spec"]["replicas"]
    return {**made, "kind": kind}


def numbers(world):
    found = world.api.list(REVISIONS, "default")
    return sorted((r["revision"], r["data"]["spec"]["template"]["$patch"]) for r in found)


def with_image(obj, image):
    containers = [{"name": "main", "image": image}]
    template = {**obj["spec"]["template"], "spec": {"containers": containers}}
    return {"spec": {"template": template}}


@pytest.mark.parametrize(("kind", "resource"), [("StatefulSet", SETS), ("DaemonSet", DAEMONS)])
def test_each_template_is_a_revision_and_one_that_comes_back_is_the_last(in_world, kind, resource):
    async def play(world):
        made = world.api.create(resource, owner(kind, "db"))
        first = revision_name(made)
        await world.until(lambda: numbers(world) == [(1, "replace")])
        world.api.patch(resource, "db", "default", with_image(made, "other"))
        await world.until(lambda: [n for n, _ in numbers(world)] == [1, 2])
        world.api.patch(resource, "db", "default", with_image(made, "web"))
        await world.until(lambda: [n for n, _ in numbers(world)] == [2, 3])
        back = world.api.get(REVISIONS, first, "default")
        assert back["revision"] == 3
        assert back["metadata"]["ownerReferences"][0]["name"] == "db"
        assert back["metadata"]["labels"]["app"] == "db"

    in_world(play)


def test_only_so_many_revisions_are_kept_besides_those_in_use(in_world):
    async def play(world):
        made = world.api.create(SETS, owner("StatefulSet", "db", revisionHistoryLimit=2))
        await world.until(lambda: numbers(world) == [(1, "replace")])
        for number in range(5):
            image = f"web:{number}"
            world.api.patch(SETS, "db", "default", with_image(made, image))
            await world.until(
                lambda image=image: any(
                    p["spec"]["containers"][0]["image"] == image for p in world.ready(app="db")
                )
            )
        await world.until(lambda: [n for n, _ in numbers(world)] == [4, 5, 6])

    in_world(play)


def test_a_pod_below_the_partition_comes_back_as_it_was(in_world):
    async def play(world):
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
        made = world.api.create(SETS, owner("StatefulSet", "db", 2, updateStrategy=strategy))
        await world.until(
            lambda: world.api.get(SETS, "db", "default").get("status", {}).get("readyReplicas") == 2
        )
        world.api.patch(SETS, "db", "default", with_image(made, "other"))

        def images():
            found = sorted(world.ready(app="db"), key=lambda p: p["metadata"]["name"])
            return [p["spec"]["containers"][0]["image"] for p in found]

        await world.until(lambda: images() == ["web", "other"])
        before = world.pod("db-0")["metadata"]["uid"]
        world.api.delete("pods", "db-0", "default", grace=0)
        await world.until(
            lambda: images() == ["web", "other"] and world.pod("db-0")["metadata"]["uid"] != before
        )

    in_world(play)


@pytest.mark.parametrize(
    ("taints", "begins", "stays"),
    [
        ([], True, True),
        ([("mine", "NoSchedule")], False, True),
        ([("mine", "NoExecute")], False, False),
        (
            [("node.kubernetes.io/unreachable", effect) for effect in ("NoSchedule", "NoExecute")],
            False,
            True,
        ),
    ],
)
def test_a_daemon_stays_on_a_node_that_takes_no_new_ones(taints, begins, stays):
    spec = {"taints": [{"key": key, "effect": effect} for key, effect in taints]}
    node = {"metadata": {"name": "n"}, "spec": spec}
    daemon = owner("DaemonSet", "d")
    assert eligible(daemon, node) is begins
    assert eligible(daemon, node, effects=("NoExecute",)) is stays


def daemon_pod(name, daemon, *, current, ready):
    word = template_hash(daemon["spec"]["template"]) if current else "old"
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "metadata": {"name": name, "labels": {HASH_LABEL: word}},
        "status": {"conditions": [condition]},
    }


@pytest.mark.parametrize(
    ("pods", "gone"),
    [
        ([("old", True)], []),
        ([("old", True), ("new", False)], []),
        ([("old", False), ("new", False)], ["old"]),
        ([("old", True), ("new", True)], ["old"]),
        ([("new", True), ("new", True)], ["new"]),
    ],
)
def test_an_old_daemon_stays_until_the_new_one_is_available(pods, gone):
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}
    daemon = owner("DaemonSet", "d", updateStrategy=rolling)
    here = [daemon_pod(n, daemon, current=n == "new", ready=ready) for n, ready in pods]
    assert [pod["metadata"]["name"] for pod in spare_pods(daemon, here)] == gone


def test_a_surging_daemon_set_never_has_a_node_without_a_ready_pod(in_world):
    async def play(world):
        strategy = {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        }
        made = world.api.create(DAEMONS, owner("DaemonSet", "d", updateStrategy=strategy))
        await world.until(lambda: len(world.ready(app="d")) == 2)
        seen = []
        world.api.subscribe(
            "pods",
            lambda _: seen.append(len({p["spec"]["nodeName"] for p in world.ready(app="d")})),
        )
        world.api.patch(DAEMONS, "d", "default", with_image(made, "other"))
        await world.until(
            lambda: (
                [p["spec"]["containers"][0]["image"] for p in world.pods(app="d")]
                == ["other", "other"]
            )
        )
        assert min(seen) == 2

    in_world(play)


def test_an_event_goes_an_hour_after_it_was_last_seen(in_world):
    async def play(world):
        def event(name, last):
            return {
                "metadata": {"name": name, "namespace": "default"},
                "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
                "lastTimestamp": last,
            }

        expiry = next(c for c in world.controllers.others if type(c).__name__ == "EventExpiry")
        made = world.api.create("events", event("old", None))
        world.api.create("events", event("seen", "2126-01-01T00:00:00Z"))
        await expiry.loop.settle("events")
        assert last_written(made) == made["metadata"]["creationTimestamp"]
        elapsed = expiry.elapsed
        expiry.elapsed = lambda moment: elapsed(moment) + 3700
        await expiry.loop.settle("events")
        names = {e["metadata"]["name"] for e in world.api.list("events", "default")}
        assert "old" not in names
        assert "seen" in names

    in_world(play)


def test_the_oldest_pod_of_a_node_counts_while_another_surges_beside_it(in_world):
    async def play(world):
        rolling = {"maxSurge": 1, "maxUnavailable": 0}
        strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
        world.api.create(DAEMONS, owner("DaemonSet", "d", updateStrategy=strategy))
        await world.until(lambda: len(world.ready(app="d")) == 2)
        changed = {"template": {"spec": {"schedulerName": "nobody"}}}  # the new pod never starts
        world.api.patch(DAEMONS, "d", "default", {"spec": changed})
        await world.until(lambda: len(world.pods(app="d")) == 3)
        await world.until(
            lambda: world.api.get(DAEMONS, "d", "default")["status"].get("observedGeneration") == 2
        )
        status = world.api.get(DAEMONS, "d", "default")["status"]
        assert (status["numberReady"], status["currentNumberScheduled"]) == (2, 2)

    in_world(play)


def test_a_daemon_set_tells_which_pods_it_deleted_and_which_it_found_at_their_end(in_world):
    async def play(world):
        made = world.api.create(DAEMONS, owner("DaemonSet", "d"))
        await world.until(lambda: len(world.ready(app="d")) == 2)
        world.api.patch(DAEMONS, "d", "default", with_image(made, "other"))
        await world.until(lambda: len(told(world, "SuccessfulDelete")) == 2)
        assert all(text.startswith("Deleted pod: d-") for text in told(world, "SuccessfulDelete"))
        await world.until(lambda: len(world.ready(app="d")) == 2)
        pod = world.pods(app="d")[0]
        ended = {**pod, "status": {**pod["status"], "phase": "Failed"}}
        world.api.update_status("pods", ended)
        await world.until(lambda: told(world, "FailedDaemonPod"))
        name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
        assert told(world, "FailedDaemonPod") == [
            f"Found failed daemon pod default/{name} on node {node}, will try to kill it"
        ]

    in_world(play)


def told(world, reason):
    found = [e for e in world.api.list("events", "default") if e["reason"] == reason]
    return [event["message"] for event in found]
