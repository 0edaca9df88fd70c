"""Which pod of a set goes first."""

import pytest
from controller_world import deployment

from k8slab.embedded.controllers.deletion_order import DELETION_COST, first_of_set, first_to_go

NOON = 1_800_000_000.0
STAMPS = {  # 2027-01-15T08:00:00Z is NOON
    "now": "2027-01-15T07:59:59Z",
    "seconds": "2027-01-15T07:59:30Z",
    "minutes": "2027-01-15T07:50:00Z",
    "some minutes": "2027-01-15T07:48:00Z",
    "days": "2027-01-12T08:00:00Z",
}


def pod(name, *, node="n", ready="", created="days", restarts=0, sidecar=0, cost="0"):
    metadata = {"name": name, "uid": name, "annotations": {DELETION_COST: cost}}
    status = {"phase": "Running", "containerStatuses": [{"name": "c", "restartCount": restarts}]}
    status["initContainerStatuses"] = [{"name": "s", "restartCount": sidecar}]
    if ready:
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": STAMPS[ready]}
        status["conditions"] = [condition]
    metadata["creationTimestamp"] = STAMPS[created]
    spec = {"nodeName": node, "initContainers": [{"name": "s", "restartPolicy": "Always"}]}
    return {"metadata": metadata, "spec": spec, "status": status}


def names(found):
    return [one["metadata"]["name"] for one in found]


@pytest.mark.parametrize("cost", ["high", "", "1.5"])
def test_a_deletion_cost_that_is_no_number_counts_as_none(cost):
    found = [pod("dear", cost="5"), pod("odd", cost=cost), pod("cheap", cost="-5")]
    assert names(first_of_set(found, (), NOON)) == ["cheap", "odd", "dear"]


ORDERS = [
    [pod("b", node=""), pod("a")],
    [pod("b"), pod("a", ready="days")],
    [pod("b", cost="1", ready="days"), pod("a", cost="2", ready="now")],
    [pod("b", ready="seconds"), pod("a", ready="minutes"), pod("c", ready="days")],
    # About the same age: the UID decides, whichever is older, and no more restarts count.
    [pod("a", ready="some minutes"), pod("b", ready="minutes", restarts=3)],
    [pod("b", ready="minutes", restarts=1), pod("a", ready="minutes", sidecar=2)],
    [pod("b", ready="minutes", sidecar=1), pod("a", ready="minutes")],
    [pod("b", created="now"), pod("a", created="minutes")],
    [pod("a", created="some minutes"), pod("b", created="minutes")],
]


@pytest.mark.parametrize("order", ORDERS)
def test_who_goes_first(order):
    assert first_of_set(order[::-1], (), NOON) == order
    assert first_of_set(order, (), NOON) == order


def test_pods_that_share_a_node_with_others_of_their_deployment_go_first():
    crowded = [pod(name, node="full", ready="days") for name in ("c", "d")]
    alone = pod("a", node="free", ready="now")
    found = [alone, *crowded]
    assert names(first_of_set(found, found, NOON)) == ["c", "d", "a"]
    assert names(first_of_set(found, (), NOON))[0] == "a"


def test_a_job_compares_times_exactly_and_knows_no_cost():
    older, newer = pod("a", ready="some minutes", cost="-9"), pod("b", ready="minutes")
    assert names(first_to_go([older, newer])) == ["b", "a"]


def test_a_deployment_that_shrinks_stays_spread_over_its_nodes(in_world):
    async def play(world):
        world.api.create("deployments.apps", deployment("web", 6))
        await world.until(lambda: len(world.ready(app="web")) == 6)
        world.api.patch("deployments.apps", "web", "default", {"spec": {"replicas": 5}})
        await world.until(lambda: len(world.pods(app="web")) == 5)
        crowd = [p for p in world.pods(app="web") if p["spec"]["nodeName"] == "k8slab-worker"]
        fuller = "k8slab-worker" if len(crowd) == 3 else "k8slab-worker2"
        world.api.patch("deployments.apps", "web", "default", {"spec": {"replicas": 4}})
        await world.until(lambda: len(world.pods(app="web")) == 4)
        left = [p for p in world.pods(app="web") if p["spec"]["nodeName"] == fuller]
        assert len(left) == 2

    in_world(play)
