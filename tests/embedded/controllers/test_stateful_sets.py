"""Which pods of a StatefulSet come and go, and what its status counts meanwhile."""

import pytest
from controller_world import deployment

from k8slab.embedded.controllers.revisions import HASH_LABEL, revision_name
from k8slab.embedded.controllers.stateful_plan import plan

SETS = "statefulsets.apps"


def stateful(replicas, *, rolling=None, **spec):
    made = deployment("db", replicas, serviceName="db", **spec)
    if rolling is not None:
        made["spec"]["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": rolling}
    return {**made, "kind": "StatefulSet"}


def pod(ordinal, *, revision="old", ready=True, phase="Running", going=False):
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    metadata = {"name": f"db-{ordinal}", "labels": {HASH_LABEL: revision}}
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata, "status": {"phase": phase, "conditions": [condition]}}


def steps(owner, *found):
    present = {int(p["metadata"]["name"].removeprefix("db-")): p for p in found}
    made = plan(owner, present, "new")
    return list(made.creations), [p["metadata"]["name"] for p in made.deletions]


PARALLEL = {"podManagementPolicy": "Parallel"}
THREE = [pod(0), pod(1), pod(2)]


def test_a_million_pods_are_wanted_five_hundred_at_a_look():
    creations, _ = steps(stateful(10**6, **PARALLEL), pod(0), pod(2))
    assert creations == [1, *range(3, 502)]


def test_a_thousand_pods_too_many_are_deleted_five_hundred_at_a_look():
    _, deletions = steps(stateful(0, **PARALLEL), *(pod(number) for number in range(1000)))
    assert deletions == [f"db-{number}" for number in range(999, 499, -1)]


@pytest.mark.parametrize(
    ("owner", "found", "going"),
    [
        (stateful(3), THREE, ["db-2"]),
        (stateful(3, rolling={"maxUnavailable": 2}), THREE, ["db-2", "db-1"]),
        (stateful(3, rolling={"maxUnavailable": "70%"}), THREE, ["db-2", "db-1"]),
        (stateful(3, rolling={"maxUnavailable": "1%"}), THREE, ["db-2"]),
        (stateful(3, rolling={"partition": 2, "maxUnavailable": 3}), THREE, ["db-2"]),
        (stateful(3, rolling={"partition": 3}), THREE, []),
        (
            stateful(3, rolling={"partition": 2, "maxUnavailable": 3}, ordinals={"start": 5}),
            [pod(5), pod(6), pod(7)],
            ["db-7"],
        ),
        (stateful(3), [pod(0), pod(1), pod(2, revision="new")], ["db-1"]),
        (stateful(3), [pod(0), pod(1), pod(2, revision="new", ready=False)], []),
        (stateful(2, updateStrategy={"type": "OnDelete"}), [pod(0), pod(1)], []),
        (stateful(2, **PARALLEL), [pod(0), pod(1, revision="new", going=True)], []),
        # What serves nobody may go in any case; what serves only within the limit.
        (
            stateful(4, **PARALLEL),
            [pod(0, ready=False), pod(1, ready=False), pod(2), pod(3)],
            ["db-1", "db-0"],
        ),
        (
            stateful(4, rolling={"maxUnavailable": 2}, **PARALLEL),
            [pod(0), pod(1), pod(2), pod(3, ready=False)],
            ["db-3", "db-2"],
        ),
    ],
)
def test_an_update_replaces_the_last_pods_within_its_limits(owner, found, going):
    assert steps(owner, *found) == ([], going)


@pytest.mark.parametrize(
    ("owner", "found", "wanted"),
    [
        (stateful(3), [pod(0), pod(1, ready=False)], ([], [])),
        (stateful(3), [pod(0), pod(1, going=True)], ([], [])),
        (stateful(3), [pod(0)], ([1], [])),
        (stateful(3), [pod(0), pod(1, phase="Failed", ready=False)], ([], ["db-1"])),
        (stateful(1), [pod(0), pod(1), pod(2)], ([], ["db-2"])),
        (stateful(1), [pod(0), pod(1), pod(2, ready=False)], ([], ["db-2"])),
        (stateful(1), [pod(0), pod(1, ready=False), pod(2, ready=False)], ([], [])),
        (stateful(1, **PARALLEL), [pod(1, ready=False), pod(2)], ([0], ["db-2", "db-1"])),
        (stateful(1, **PARALLEL), [pod(0, phase="Failed", ready=False)], ([], ["db-0"])),
    ],
)
def test_pods_come_in_order_and_go_from_the_end(owner, found, wanted):
    assert steps(owner, *found) == wanted


def test_an_update_under_way_has_an_old_revision_and_a_new_one(in_world):
    async def play(world):
        made = world.api.create(SETS, stateful(3))
        rolling = made["spec"]["updateStrategy"]["rollingUpdate"]
        assert rolling == {"partition": 0, "maxUnavailable": 1}
        old = revision_name(made)

        def status():
            return world.api.get(SETS, "db", "default").get("status") or {}

        def counts():
            fields = ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas")
            return tuple(status().get(field, 0) for field in fields)

        await world.until(lambda: counts() == (3, 3, 3, 3))
        assert world.api.get("pods", "db-0", "default")["metadata"]["generateName"] == "db-"
        world.api.patch(SETS, "db", "default", {"spec": {"updateStrategy": {
            "rollingUpdate": {"partition": 2}}}})  # fmt: skip
        container = {**made["spec"]["template"]["spec"]["containers"][0], "image": "web:2"}
        template = {"spec": {"template": {"spec": {"containers": [container]}}}}
        new = revision_name(world.api.patch(SETS, "db", "default", template))
        await world.until(lambda: counts() == (3, 3, 2, 1))
        assert (status()["currentRevision"], status()["updateRevision"]) == (old, new)
        world.api.patch(SETS, "db", "default", {"spec": {"updateStrategy": {
            "rollingUpdate": {"partition": 0}}}})  # fmt: skip
        await world.until(lambda: counts() == (3, 3, 3, 3))
        assert status()["currentRevision"] == new

    in_world(play)


def test_an_update_on_delete_is_never_complete(in_world):
    async def play(world):
        def status():
            return world.api.get(SETS, "db", "default").get("status") or {}

        def counts():
            fields = ("readyReplicas", "currentReplicas", "updatedReplicas")
            return tuple(status().get(field, 0) for field in fields)

        made = world.api.create(SETS, stateful(2, updateStrategy={"type": "OnDelete"}, **PARALLEL))
        await world.until(lambda: counts() == (2, 2, 2))
        container = {**made["spec"]["template"]["spec"]["containers"][0], "image": "web:2"}
        template = {"spec": {"template": {"spec": {"containers": [container]}}}}
        changed = world.api.patch(SETS, "db", "default", template)
        await world.until(lambda: counts() == (2, 2, 0))
        for name in ("db-0", "db-1"):
            world.api.delete("pods", name, "default")
        await world.until(lambda: counts() == (2, 0, 2))
        assert status()["currentRevision"] == revision_name(made)
        assert status()["updateRevision"] == revision_name(changed)

    in_world(play)


def test_a_stateful_set_deletes_no_more_pods_once_they_are_wanted_again(in_world, monkeypatch):
    async def play(world):
        def ready():
            return (world.api.get(SETS, "db", "default").get("status") or {}).get("readyReplicas")

        world.api.create(SETS, stateful(8, **PARALLEL))
        await world.until(lambda: ready() == 8)
        old = {p["metadata"]["uid"] for p in world.pods()}
        monkeypatch.setattr("k8slab.embedded.controllers.loop.SLICE", 0.0)  # others run after each
        wanted = {"spec": {"replicas": 8}}
        gone = world.count_deletions(3, lambda: world.api.patch(SETS, "db", "default", wanted))
        world.api.patch(SETS, "db", "default", {"spec": {"replicas": 0}})
        await world.until(lambda: len(gone) >= 3)
        await world.until(
            lambda: len({p["metadata"]["uid"] for p in world.pods()} - old) == len(gone)
        )
        assert gone == ["db-7", "db-6", "db-5"]

    in_world(play)


def test_a_pod_that_may_not_be_deleted_keeps_nothing_else_from_being_done(in_world):
    async def play(world):
        def status(field):
            return (world.api.get(SETS, "db", "default").get("status") or {}).get(field, 0)

        world.api.create(SETS, stateful(3, **PARALLEL))
        await world.until(lambda: status("readyReplicas") == 3)
        kept = world.refuse_first_deletion()
        world.api.patch(SETS, "db", "default", {"spec": {"replicas": 1}})
        await world.until(lambda: sorted(world.names()) == ["db-0", "db-2"])
        assert kept == ["db-2"]
        await world.until(lambda: status("replicas") == 2)

    in_world(play)
