from dataclasses import replace
from pathlib import Path

import pytest

from k8slab.course import load, symbols
from k8slab.grading import Context
from k8slab.objects import manifests
from k8slab.testing.fake import FakeCluster

LAB = Path(__file__).parents[1] / "data" / "solutions" / "90-example"
EXERCISE = load(LAB).exercise("look")


def world(*, other_addresses=False):
    """Return a context of a cluster; a second one that gives other addresses."""
    cluster = FakeCluster()
    if other_addresses:
        cluster._count += 100
    text = (LAB / "manifests" / "shop.yaml").read_text()
    cluster.apply(manifests.load(text), namespace=EXERCISE.namespace)
    return Context(cluster, EXERCISE.namespace, EXERCISE.setup)


def address(context, pod):
    return context.cluster.get("pods", pod, EXERCISE.namespace)["status"]["podIP"]


def test_an_address_is_translated_to_the_same_field_of_another_cluster():
    learners, graders = world(), world(other_addresses=True)
    text = f" {address(learners, 'web')} "
    symbol = symbols.translate(learners, EXERCISE, "web-address", text)
    assert symbol == {"object": "pods/web", "path": "status.podIP"}
    here = symbols.here(graders, EXERCISE, text, symbol)
    assert here == address(graders, "web") != address(learners, "web")


def test_a_wrong_address_stays_wrong():
    learners, graders = world(), world(other_addresses=True)
    symbol = symbols.translate(learners, EXERCISE, "web-address", address(learners, "db"))
    assert symbol["object"] == "pods/db"
    here = symbols.here(graders, EXERCISE, address(learners, "db"), symbol)
    assert here == address(graders, "db")


@pytest.mark.parametrize("text", ["3", "yes", "web", "10.9.9.9", "a pod", "http"])
def test_what_does_not_differ_between_clusters_is_graded_as_it_was_typed(text):
    assert symbols.translate(world(), EXERCISE, "web-address", text) is None


def test_the_name_of_a_node_is_translated():
    learners = world()
    node = learners.cluster.get("pods", "web", EXERCISE.namespace)["spec"]["nodeName"]
    symbol = symbols.translate(learners, EXERCISE, "web-address", node)
    assert symbol["path"] in ("spec.nodeName", "metadata.name")


def test_the_place_of_a_lost_packet_is_the_node_of_one_of_its_ends():
    flow = {"from": "web", "to": "db", "port": 80}
    asked = {"check": "answer", "id": "hop", "question": "Where?", "value": {"lost": flow}}
    exercise = replace(EXERCISE, wishes=replace(EXERCISE.wishes, checks=(asked,)))
    learners = world()
    node = learners.cluster.get("pods", "db", EXERCISE.namespace)["spec"]["nodeName"]
    for typed in (node, f"node {node}", node.partition("-")[2]):
        symbol = symbols.translate(learners, exercise, "hop", typed)
        assert symbol == {"object": "pods/db", "path": "spec.nodeName"}
    assert symbols.translate(learners, exercise, "other", node.partition("-")[2]) is None


@pytest.mark.parametrize(
    "symbol",
    [
        {"object": "secrets/x", "path": "data.password"},
        {"object": "pods/web", "path": "status.podIP", "namespace": "kube-system"},
        {"object": "pods/web", "path": "metadata.name"},
        {"object": "pods/web", "path": "spec.nodeName"},
        {"object": "pods/nobody", "path": "status.podIP"},
        {"object": "pods", "path": "status.podIP"},
        {"object": "pods/web", "path": "a[[["},
    ],
)
def test_a_symbol_that_means_nothing_here_leaves_the_text_as_it_was_typed(symbol):
    assert symbols.here(world(), EXERCISE, "10.1.2.3", symbol) == "10.1.2.3"
