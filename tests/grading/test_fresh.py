"""New pods before the verdict: whose roll-out is waited for, and what the next look is given."""

import copy

import pytest

from k8slab.errors import ClusterNotReadyError
from k8slab.grading import Context, Wishes, fresh, grade
from k8slab.grading.fresh import new_pods
from k8slab.grading.lookalikes import Made
from k8slab.objects import manifests
from k8slab.policy import Party
from k8slab.testing.fake import FakeCluster

SETUP = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop}
spec: {containers: [{name: web, image: k8slab/app}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: dns, namespace: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: dns}}
  template:
    metadata: {labels: {app: dns}}
    spec: {containers: [{name: web, image: k8slab/app}]}
"""
DNS = Party("deployment", "dns", "shop")
FREE = ["deployments.apps/dns"]
OLD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "dns-0-0",
        "namespace": "shop",
        "ownerReferences": [{"kind": "ReplicaSet", "name": "dns-1", "controller": True}],
    },
    "spec": {"containers": [{"name": "web", "image": "k8slab/app"}]},
}


class Moving(FakeCluster):
    """A cluster in which a roll-out ends right after the pods and a lookalike were listed."""

    def list(self, resource, namespace="", *, selector=""):
        found = super().list(resource, namespace, selector=selector)
        if resource == "pods" and self.get("pods", "beside", "shop"):
            self.delete("pods", "dns-0-0", "shop")
            roll(self, replicas=1, updatedReplicas=1)
        return found


def roll(cluster, **status):
    deployment = copy.deepcopy(cluster.get("deployments.apps", "dns", "shop"))
    cluster._put({**deployment, "status": status})


def begun(kind=FakeCluster):
    cluster = kind()
    setup = manifests.load(SETUP)
    cluster.apply(setup)
    return Context(cluster, "shop", setup, deadline=0.1)


def test_a_workload_that_the_answer_may_write_and_that_never_ends_its_roll_out_is_not_waited_for(
    monkeypatch,
):
    context = begun()
    roll(context.cluster, replicas=1, updatedReplicas=0)  # paused, say, with a new template
    monkeypatch.setattr(fresh, "SECONDS", 0.0)
    checks = [{"check": "field", "object": "pods/client", "path": "kind", "equals": "Pod"}]
    result = grade(context, Wishes("e", "E", checks=checks, may_change=FREE, fresh_pods=True))
    assert result.passed, result.text()


def test_what_the_next_look_is_given_says_of_its_own_pods_whether_a_roll_out_has_ended():
    context = begun(Moving)
    context.cluster.apply([OLD])
    roll(context.cluster, replicas=2, updatedReplicas=1)
    beside = {**OLD, "metadata": {"name": "beside", "namespace": "shop"}}
    with new_pods(context, FREE, Made((beside,), ()), replace=False) as there:
        there_are = there.objects("pods", "shop")
        assert there_are.keys() >= {"beside", "dns-1-0"}
        assert "dns-0-0" not in there_are or context.under_way(there, DNS)


class Ending(FakeCluster):
    """A cluster in which a pod of the answer ends while the set-up's are replaced."""

    def delete(self, resource, name, namespace="", *, grace=None):
        super().delete(resource, name, namespace, grace=grace)
        pod = copy.deepcopy(self.get("pods", "dns-1-0", "shop"))
        self._put({**pod, "status": {"phase": "Succeeded", "conditions": []}})


def test_a_pod_that_is_not_replaced_may_end_meanwhile(monkeypatch):
    context = begun(Ending)
    monkeypatch.setattr(fresh, "SECONDS", 0.0)
    before = context.cluster.get("pods", "client", "shop")["metadata"]["uid"]
    with new_pods(context, FREE, Made((), ()), replace=True) as there:
        client = there.objects("pods", "shop")["client"]
        assert client["metadata"]["uid"] != before
        assert there.objects("pods", "shop")["dns-1-0"]["status"]["phase"] == "Succeeded"
    monkeypatch.setattr(fresh, "_bare", lambda *_: [])
    with (
        pytest.raises(ClusterNotReadyError, match="not on a node"),
        new_pods(context, FREE, Made((), ()), replace=True),
    ):
        raise AssertionError
