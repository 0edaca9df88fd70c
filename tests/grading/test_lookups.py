"""What a look-up costs, as a value of the cluster."""

import json

import pytest

from k8slab.embedded import wire
from k8slab.errors import ExerciseError
from k8slab.grading import Status, values
from k8slab.grading.checks import CHECKS, run_check
from k8slab.grading.context import Context
from k8slab.programs import Completed
from k8slab.testing.fake import FakeCluster

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"containers": [{"name": "web"}]},
    "status": {"phase": "Running"},
}


def on_exec(_space, _pod, argv):
    packets = [
        [True, "10.1.1.1", 4000 + number, "10.96.0.10", 53, payload]
        for number, payload in enumerate(
            [wire.question("example.com", kind, number=1).hex() for kind in (wire.A, wire.AAAA)]
        )
    ]
    found = {"code": 0, "said": "203.0.113.10", "seconds": 5.2, "packets": packets, "lost": 0}
    return Completed(tuple(argv), 0, "options ndots:1\n" + json.dumps(found), "")


@pytest.fixture
def context():
    cluster = FakeCluster(on_exec=on_exec)
    cluster.apply([POD], namespace="shop")
    return Context(cluster, "shop", deadline=0.1)


def test_queries_and_seconds_are_values_that_are_measured(context):
    assert values.read(context, {"queries": "example.com", "from": "web"}) == 2
    assert values.read(context, {"seconds": "example.com", "from": "web"}) == 5


def test_a_field_check_can_bound_the_cost(context):
    spec = {"check": "field", "title": "cheap", "queries": "example.com", "from": "web"}
    assert run_check(context, {**spec, "at_most": 2}).status is Status.PASSED
    finding = run_check(context, {**spec, "equals": 1})
    assert finding.status is Status.FAILED
    assert finding.lines == ("example.com costs 2 queries in shop/web",)
    assert finding.counterexample.replay == 'in a notebook: lab.resolve("web", "example.com")'


@pytest.mark.parametrize(
    "spec", [{"queries": "a"}, {"seconds": "a"}, {"count": "pods", "from": "web"}]
)
def test_a_look_up_needs_its_pod_and_nothing_else_has_one(spec):
    with pytest.raises(ExerciseError, match="`from` belongs to queries and seconds"):
        CHECKS["field"].validate({"check": "field", "equals": 1, **spec}, "here")
