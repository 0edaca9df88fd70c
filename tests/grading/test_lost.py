"""Where a packet is lost, as a value of the cluster; and answers about the start."""

import pytest

from k8slab.course import Journal, Session, load
from k8slab.errors import ExerciseError
from k8slab.grading import Context, Status, values
from k8slab.grading.checks import CHECKS, run_check
from k8slab.testing.fake import FakeCluster

PODS = """
{apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}, spec: {
 terminationGracePeriodSeconds: 0, containers: [{name: a, image: k8slab/app}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: db, labels: {app: db}}
spec:
  terminationGracePeriodSeconds: 0
  affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [
    {labelSelector: {matchLabels: {app: web}}, topologyKey: kubernetes.io/hostname}]}}
  containers: [{name: a, image: k8slab/app}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shut}
spec: {podSelector: {matchLabels: {app: db}}}
"""
LAB = """
lab: 99-lost
title: Lost
exercises:
  - id: lost
    title: Which hop?
    task: Say it, then let web reach db.
    setup: [pods.yaml]
    needs: [trace]
    flows: [{from: web, to: db, port: 8080, want: open}]
    checks:
      - check: answer
        id: hop
        question: Which node drops the packet?
        value: {lost: {from: web, to: db, port: 8080}}
        at_start: true
"""
HOP = {"lost": {"from": "web", "to": "db", "port": 8080}}
ASKED = {"check": "answer", "id": "hop", "question": "Where?", "value": HOP, "at_start": True}


@pytest.fixture
def session(cluster, tmp_path):
    (tmp_path / "pods.yaml").write_text(PODS)
    (tmp_path / "exercises.yaml").write_text(LAB)
    yield Session(load(tmp_path), cluster, Journal(tmp_path / "progress.sqlite"))
    cluster.delete("namespaces", "lab99-lost")
    cluster.wait("namespaces", "lab99-lost", until="delete")


def test_the_hop_is_told_by_what_was_so_when_the_exercise_began(session):
    cluster, space = session.cluster, "lab99-lost"
    session.begin("lost")
    node = cluster.get("pods", "db", space)["spec"]["nodeName"]
    assert values.read(Context(cluster, space), HOP) == f"node {node}"
    session.answer("hop", f"node {node}")
    assert session.check("lost").status is Status.FAILED  # web does not reach db
    cluster.delete("networkpolicies.networking.k8s.io", "shut", space)
    assert values.read(Context(cluster, space), HOP) is None
    assert session.check("lost").passed
    session.answer("hop", cluster.get("pods", "web", space)["spec"]["nodeName"])
    assert session.check("lost").status is Status.FAILED


def test_where_nobody_listens_the_packet_ends_in_the_pod(session):
    session.begin("lost")
    flow = {"from": "db", "to": "web", "port": 9}
    assert (
        values.read(Context(session.cluster, "lab99-lost"), {"lost": flow}) == "pod lab99-lost/web"
    )


@pytest.mark.parametrize(
    ("typed", "place", "right"),
    [
        ("node lab-worker2", "node lab-worker2", True),
        ("lab-worker2", "node lab-worker2", True),
        ("Worker2", "node lab-worker2", True),
        ("worker", "node lab-worker2", False),
        ("rker2", "node lab-worker2", False),
        ("", "node lab-worker2", False),
        ("node", "node lab-worker2", False),
        ("web", "pod shop/web", True),
        ("pod web", "pod shop/web", True),
        ("shop/web", "pod shop/web", True),
        ("eb", "pod shop/web", False),
        ("the switch", "switch between the nodes", True),
        ("switch between the nodes", "switch between the nodes", True),
        ("nodes", "switch between the nodes", False),
        ("internet", "outside: internet", True),
    ],
)
def test_a_place_is_named_as_a_journey_does_or_by_the_end_of_its_name(typed, place, right):
    context = Context(FakeCluster(), "x", answers={"hop": typed}, told={"hop": place})
    found = run_check(context, ASKED)
    assert found.status is (Status.PASSED if right else Status.FAILED)
    assert place not in "".join(found.lines) or right


def test_what_was_not_measured_at_the_start_is_neither_right_nor_wrong():
    found = run_check(Context(FakeCluster(), "x", answers={"hop": "worker"}), ASKED)
    assert found.status is Status.INCONCLUSIVE
    assert "reset the exercise" in found.lines[0]


@pytest.mark.parametrize(
    "flow", [{"from": "web"}, {"from": "a", "to": "b", "port": 1, "size": 9}]
)  # fmt: skip
def test_a_flow_that_is_not_one_is_refused(flow):
    with pytest.raises(ExerciseError, match="from, to and port"):
        CHECKS["answer"].validate({**ASKED, "value": {"lost": flow}}, "here")
