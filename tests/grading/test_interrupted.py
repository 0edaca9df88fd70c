"""A check that is interrupted takes nothing from the set-up: whoever comes next gives it back."""

import json
import signal
import subprocess
import sys

import pytest

from k8slab.errors import ClusterNotReadyError
from k8slab.grading import Context, Status, Want, Wishes, fresh, grade, interrupted, lookalikes
from k8slab.grading.lookalikes import MARK
from k8slab.objects import manifests
from k8slab.policy import Flow
from k8slab.testing.fake import FakeCluster

SHOP = """
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: a, image: k8slab/app, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: a, image: k8slab/app, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: batch, namespace: shop, labels: {app: batch}}
spec: {containers: [{name: a, image: k8slab/app, ports: [{containerPort: 8080}]}]}
"""

WANTS = [
    Want(Flow.of("web", "db", 8080, namespace="shop"), "open"),
    Want(Flow.of("batch", "db", 8080, namespace="shop"), "open"),
]
WISHES = Wishes("e", "E", 1, WANTS, may_change=["networkpolicies/*"], fresh_pods=True)
CALLS = ("request", "delete", "apply")
"""What changes the cluster."""


class Interrupting(FakeCluster):
    """A cluster at whose n-th change the learner presses Ctrl-C, before it or after it."""

    left = -1
    after = False

    def _count_down(self):
        self.left -= 1
        return self.left == 0


def _interrupting(name):
    def change(self, *given, **more):
        probing = name == "request" and given[0] == "POST"
        hit = not probing and self._count_down()
        if hit and not self.after:
            raise KeyboardInterrupt
        answer = getattr(FakeCluster, name)(self, *given, **more)
        if hit:
            raise KeyboardInterrupt
        return answer

    return change


for name in CALLS:
    setattr(Interrupting, name, _interrupting(name))


def shop():
    cluster = Interrupting()
    cluster.apply(manifests.load(SHOP))
    return cluster, Context(cluster, "shop", manifests.load(SHOP), deadline=0.1)


def noted(cluster):
    space = cluster.get("namespaces", "shop")
    return interrupted.NOTE in (space["metadata"].get("annotations") or {})


def changes_of_a_check():
    cluster, context = shop()
    cluster.left = 1000
    assert grade(context, WISHES).passed
    return 1000 - cluster.left


def names(cluster):
    return sorted(pod["metadata"]["name"] for pod in cluster.list("pods", "shop"))


@pytest.mark.parametrize("after", [False, True])
def test_wherever_a_check_is_interrupted_the_next_one_finds_all_pods(after):
    number = changes_of_a_check()
    assert number > 6  # the note and its end, three pods, what is made anew and added
    for step in range(1, number + 1):
        cluster, context = shop()
        cluster.left, cluster.after = step, after
        with pytest.raises(KeyboardInterrupt):
            grade(context, WISHES)
        result = grade(context, WISHES)
        assert result.passed, (step, result.text())
        assert names(cluster) == ["batch", "db", "web"]
        assert not noted(cluster)


def test_ctrl_c_gives_the_pods_back_at_once(monkeypatch):
    cluster, context = shop()
    before = {pod["metadata"]["uid"] for pod in cluster.list("pods", "shop")}
    monkeypatch.setattr(fresh, "_until", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        grade(context, WISHES)
    assert names(cluster) == ["batch", "db", "web"]
    assert before.isdisjoint(pod["metadata"]["uid"] for pod in cluster.list("pods", "shop"))
    assert not noted(cluster)


def _interrupt(*_given):
    raise KeyboardInterrupt


def test_pods_that_do_not_go_in_time_come_back_with_the_next_check(monkeypatch):
    cluster, context = shop()

    def delete(resource, name, namespace="", *, grace=None):
        del grace
        pod = cluster.get(resource, name, namespace)
        if pod and MARK not in (pod["metadata"].get("annotations") or {}):
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"  # no kubelet: it stays
        else:
            FakeCluster.delete(cluster, resource, name, namespace)

    def not_gone(_context, _holds, what, _deadline=60.0):
        raise ClusterNotReadyError(f"not {what} in time")

    with monkeypatch.context() as patched:
        patched.setattr(cluster, "delete", delete)
        patched.setattr(fresh, "_until", not_gone)
        assert grade(context, WISHES).status is Status.ERROR
    assert noted(cluster)
    for name in names(cluster):
        FakeCluster.delete(cluster, "pods", name, "shop")  # the kubelet is back
    assert grade(context, WISHES).passed


def test_what_a_learner_deleted_does_not_come_back():
    cluster, context = shop()
    cluster.delete("pods", "batch", "shop")
    interrupted.mend(context)
    assert names(cluster) == ["db", "web"]


def test_lookalikes_of_an_interrupted_check_go_with_its_note():
    cluster, context = shop()
    made = lookalikes.make(context, WANTS, lookalikes.automatic(context, WANTS))
    cluster.apply(made.objects)
    cluster.request(
        "PATCH", "/api/v1/namespaces/shop", {"metadata": {"annotations": {interrupted.NOTE: ""}}}
    )
    interrupted.mend(context)
    assert names(cluster) == ["batch", "db", "web"]


KILLED = """
import json, os, signal, sys
from pathlib import Path
from k8slab import clusters
from k8slab.grading import Context, Want, Wishes, grade
from k8slab.policy import Flow

kubeconfig, provider, space = sys.argv[1:]
cluster = clusters.Cluster(
    "c", provider=provider, kubeconfig=Path(kubeconfig), capabilities=frozenset({"probe"})
)
delete = cluster.delete

def killed(resource, name, *given, **more):
    delete(resource, name, *given, **more)
    if name == "db":
        os.kill(os.getpid(), signal.SIGKILL)

cluster.delete = killed
wants = [Want(Flow.of("web", "db", 8080, namespace=space), "open")]
wishes = Wishes("e", "E", 1, wants, may_change=["networkpolicies/*"], fresh_pods=True)
print(grade(Context(cluster, space, json.load(sys.stdin), deadline=20), wishes).text())
"""


def placed(space):
    found = [obj for obj in manifests.load(SHOP) if obj["kind"] == "Pod"]
    return [{**obj, "metadata": {**obj["metadata"], "namespace": space}} for obj in found]


def test_a_check_whose_process_is_killed_is_mended_by_the_next_one(cluster, namespace):
    setup = placed(namespace)
    cluster.apply(setup)
    for name in ("web", "db", "batch"):
        cluster.wait("pods", name, namespace, until="ready")
    argv = [sys.executable, "-c", KILLED, str(cluster.kubeconfig), cluster.provider, namespace]
    given = json.dumps(setup)
    done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    assert cluster.get("pods", "db", namespace) is None
    wants = [Want(Flow.of("web", "db", 8080, namespace=namespace), "open")]
    wishes = Wishes("e", "E", 1, wants, may_change=["networkpolicies/*"], fresh_pods=True)
    result = grade(Context(cluster, namespace, setup, deadline=20), wishes)
    assert result.passed, result.text()
    assert cluster.get("pods", "db", namespace) is not None
