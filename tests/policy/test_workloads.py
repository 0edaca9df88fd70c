"""Workloads: templates count where nothing runs, and pods are found by their owners."""

import json

import pytest

from k8slab import policy
from k8slab.errors import ManifestError
from k8slab.objects.manifests import load_text
from k8slab.policy import Flow, Party

POD = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}]}}
CLOSED = {
    "kind": "NetworkPolicy",
    "metadata": {"name": "closed", "namespace": "shop"},
    "spec": {"podSelector": {"matchLabels": {"app": "web"}}},
}


def workload(kind, name="web", owner=None, **spec):
    template = {"spec": {"template": POD}} if kind == "CronJob" else POD
    place = "jobTemplate" if kind == "CronJob" else "template"
    metadata = {"name": name, "namespace": "shop"}
    if owner:
        metadata["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
    return {"kind": kind, "metadata": metadata, "spec": {place: template, **spec}}


def pod(name, owner=None, labels=(), **status):
    metadata = {"name": name, "namespace": "shop", "labels": dict(labels)}
    if owner:
        metadata["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
    return {"kind": "Pod", "metadata": metadata, "spec": POD["spec"], "status": status}


KINDS = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob",
         "ReplicationController"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_workload_without_pods_counts_as_its_template(kind):
    estate = policy.compile([workload(kind), pod("client"), CLOSED])
    party = f"shop/{kind.lower()}/web"
    assert estate.pods[party].template
    assert estate.pods[party].labels == {"app": "web"}
    assert not estate.decide(Flow.of("shop/client", party, 80)).allowed
    assert estate.decide(Flow.of(party, "shop/client", 80)).allowed


def test_a_workload_with_pods_is_its_pods():
    sets = workload("ReplicaSet", "web-1", ("Deployment", "web"))
    running = pod("web-1-a", ("ReplicaSet", "web-1"))
    estate = policy.compile([workload("Deployment"), sets, running])
    assert estate.workloads[Party("deployment", "web", "shop")] == ("shop/web-1-a",)
    assert estate.workloads[Party("replicaset", "web-1", "shop")] == ("shop/web-1-a",)
    assert [*estate.pods] == ["shop/web-1-a"]


def test_a_deployment_is_found_without_its_replica_sets():
    labels = {"app": "web", "pod-template-hash": "5d9f"}
    running = pod("web-5d9f-x", ("ReplicaSet", "web-5d9f"), labels)
    estate = policy.compile([workload("Deployment"), running])
    assert estate.workloads[Party("deployment", "web", "shop")] == ("shop/web-5d9f-x",)
    assert len(estate.pods) == 1


def test_what_an_owner_makes_is_left_to_the_owner():
    estate = policy.compile([
        workload("CronJob", "night"), workload("Job", "night-1", ("CronJob", "night")),
        workload("Deployment"), workload("ReplicaSet", "web-old", ("Deployment", "web")),
    ])  # fmt: skip
    assert sorted(estate.pods) == ["shop/cronjob/night", "shop/deployment/web"]


def test_finished_jobs_and_pods_are_nobody():
    job = workload("Job")
    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    done = pod("done", phase="Succeeded")
    assert not policy.compile([job, done]).pods


def test_pods_that_end_or_are_not_ready_are_still_isolated():
    leaving = pod("leaving", labels={"app": "web"}, phase="Running")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    estate = policy.compile([leaving, pod("client"), CLOSED])
    assert not estate.decide(Flow.of("shop/client", "shop/leaving", 80)).allowed


def test_an_address_block_holds_a_template_only_where_it_holds_every_private_address():
    def admits(block):
        spec = {"podSelector": {}, "ingress": [{"from": [{"ipBlock": block}]}]}
        made = {**CLOSED, "spec": spec}
        estate = policy.compile([workload("Deployment"), workload("Deployment", "db"), made])
        return estate.decide(Flow.of("shop/deployment/db", "shop/deployment/web", 80)).allowed

    assert admits({"cidr": "0.0.0.0/0"})
    assert admits({"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]})
    assert not admits({"cidr": "10.0.0.0/8"})
    assert not admits({"cidr": "0.0.0.0/0", "except": ["10.1.0.0/16"]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": {"app": 5}}, "metadata.labels.app: must be text, not 5"),
        ({"labels": ["app"]}, "a field has a value of the wrong type"),
    ],
)
def test_a_pod_that_cannot_be_read_is_named_with_its_place(change, message):
    metadata = {"name": "web", "namespace": "shop", **change}
    text = "\n" * 6 + json.dumps({"apiVersion": "v1", **pod("web"), "metadata": metadata})
    (placed,) = load_text(text, "pods.yaml")
    with pytest.raises(ManifestError) as caught:
        policy.compile([placed])
    assert str(caught.value).startswith("pods.yaml:7: Pod shop/web: ")
    assert message in str(caught.value)
