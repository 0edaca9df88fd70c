"""Answers that fit only what a learner sees: new pods and lookalikes find them out."""

import pytest

from k8slab.grading import Context, Status, Want, Wishes, baseline, grade
from k8slab.grading.lookalikes import MARK, Lookalike
from k8slab.objects import manifests
from k8slab.policy import Flow, Party

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: a, image: k8slab/app, ports: [{containerPort: 8080, name: http}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: db, labels: {app: db}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: a, image: k8slab/app, ports: [{containerPort: 8080, name: http}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: batch, labels: {app: batch}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: a, image: k8slab/app, ports: [{containerPort: 8080, name: http}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, labels: {app: api}}
spec:
  replicas: 2
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: a, image: k8slab/app, ports: [{containerPort: 8080, name: http}]}]
"""
RULE = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: only-web}}
spec:
  podSelector: {{matchLabels: {{app: db}}}}
  ingress: [{{from: [{peers}]}}]
"""
LABEL = "{podSelector: {matchLabels: {app: web}}}, {podSelector: {matchLabels: {app: api}}}"
POLICIES = ["networkpolicies.networking.k8s.io/*"]


class Exercise:
    """An exercise about `db`, set up in a namespace of a cluster."""

    def __init__(self, cluster, namespace, **changed):
        self.cluster, self.namespace = cluster, namespace
        objects = manifests.load(PODS)
        self.setup = [
            {**obj, "metadata": {**obj["metadata"], "namespace": namespace}} for obj in objects
        ]
        cluster.apply(self.setup)
        for name in ("web", "db", "batch"):
            cluster.wait("pods", name, namespace, until="ready")
        cluster.wait("deployments.apps", "api", namespace, until="ready")
        wants = [
            self.want("web", "open"),
            self.want("deployment/api", "open"),
            self.want("batch", "blocked"),
        ]
        self.wishes = Wishes("e", "E", 2, wants, may_change=POLICIES, fresh_pods=True, **changed)
        self.context = Context(cluster, namespace, self.setup, deadline=20)
        self.baseline = baseline(self.context, wants)

    def want(self, source, wish, **more):
        return Want(Flow.of(source, "db", 8080, namespace=self.namespace), wish, **more)

    def answer(self, peers):
        policy = manifests.load(RULE.format(peers=peers))
        self.cluster.apply(policy, namespace=self.namespace)

    def check(self):
        context = Context(self.cluster, self.namespace, self.setup, self.baseline, deadline=20)
        return grade(context, self.wishes)

    def addresses(self):
        pods = self.cluster.list("pods", self.namespace)
        return {pod["metadata"]["uid"]: pod["status"]["podIP"] for pod in pods}


@pytest.fixture
def exercise(cluster, namespace):
    return Exercise(cluster, namespace)


def test_a_right_answer_holds_with_new_pods_and_nothing_of_the_grader_stays(exercise):
    exercise.answer(LABEL)
    before = exercise.addresses()
    result = exercise.check()
    assert result.passed, result.text()
    assert "the same with new pods" in result.text()
    after = exercise.addresses()
    assert not before.keys() & after.keys()
    left = [
        pod
        for pod in exercise.cluster.list("pods", exercise.namespace)
        if MARK in (pod["metadata"].get("annotations") or {})
        and "deletionTimestamp" not in pod["metadata"]
    ]
    assert left == []


def test_an_answer_made_of_addresses_does_not_score(exercise):
    pods = exercise.cluster.list("pods", exercise.namespace)
    wanted = [p for p in pods if p["metadata"]["labels"]["app"] in ("web", "api")]
    blocks = [f"{{ipBlock: {{cidr: {pod['status']['podIP']}/32}}}}" for pod in wanted]
    exercise.answer(", ".join(blocks))
    result = exercise.check()
    assert result.status is Status.FAILED, result.text()
    assert "with new pods" in result.text()
    assert result.points == 0


def test_an_answer_that_reads_other_labels_of_the_visible_pods_does_not_score(exercise):
    # "anybody but batch" fits the three that are seen, and lets a fourth in.
    not_batch = "{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [batch]}]}}"
    exercise.answer(not_batch)
    assert exercise.check().passed  # nobody said anything about a fourth
    party = Party("pod", "web", exercise.namespace)
    exercise.wishes = Wishes(
        **{**vars(exercise.wishes), "canaries": [Lookalike(party, ("app",), want="blocked")]}
    )
    result = exercise.check()
    assert result.status is Status.FAILED
    assert f"a pod like {party}, without the label app" in result.text()


def test_whoever_has_the_labels_in_another_namespace_is_somebody_else(exercise):
    party = Party("pod", "web", exercise.namespace)
    canary = Lookalike(party, elsewhere=True, want="blocked")
    exercise.wishes = Wishes(**{**vars(exercise.wishes), "canaries": [canary]})
    exercise.answer(LABEL.replace("{podSelector: {matchLabels: {app: web}}}", (
        "{namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}"
    )))  # fmt: skip
    before = {space["metadata"]["name"] for space in exercise.cluster.list("namespaces")}
    result = exercise.check()
    assert result.status is Status.FAILED
    assert "in another namespace" in result.text()
    added = {
        space["metadata"]["name"]
        for space in exercise.cluster.list("namespaces")
        if MARK in (space["metadata"].get("annotations") or {})
        and "deletionTimestamp" not in space["metadata"]
    }
    assert not added - before
    exercise.answer(LABEL)
    assert exercise.check().passed


def test_the_name_of_a_pod_that_nobody_should_see_is_never_told(exercise):
    party = Party("pod", "web", exercise.namespace)
    canary = Lookalike(party, elsewhere=True, want="blocked")
    exercise.wishes = Wishes(**{**vars(exercise.wishes), "canaries": [canary]})
    exercise.answer("{namespaceSelector: {}}")
    exercise.wishes = Wishes(**{**vars(exercise.wishes), "wants": exercise.wishes.wants[:2]})
    seen = set()
    apply = exercise.cluster.apply

    def remember(objects, **more):
        seen.update(
            name
            for obj in objects
            if MARK in (obj["metadata"].get("annotations") or {})
            for name in (obj["metadata"]["name"], obj["metadata"].get("namespace", ""))
        )
        return apply(objects, **more)

    exercise.cluster.apply = remember
    try:
        result = exercise.check()
    finally:
        del exercise.cluster.apply
    assert result.status is Status.FAILED
    hidden = seen - {exercise.namespace, ""}
    assert len(hidden) >= 3
    told = result.text() + repr(result.to_dict())
    assert [name for name in hidden if name in told] == []


def test_what_a_killed_check_left_behind_goes_with_the_next_one(exercise):
    exercise.cluster.apply([
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "left-over",
                "namespace": exercise.namespace,
                "annotations": {MARK: exercise.namespace},
            },
            "spec": {"containers": [{"name": "a", "image": "k8slab/app"}]},
        }
    ])  # fmt: skip
    assert "left-over" not in exercise.check().text()
    exercise.cluster.wait("pods", "left-over", exercise.namespace, until="delete")


@pytest.mark.parametrize(
    ("command", "where"),
    [
        ("relabel", "metadata.labels.role was changed"),
        ("namespace", "metadata.labels.team was changed"),
    ],
)
def test_a_label_that_was_added_by_hand_does_not_score(exercise, command, where):
    cluster, space = exercise.cluster, exercise.namespace
    if command == "relabel":
        pod = exercise.setup[0]
        labels = {**pod["metadata"]["labels"], "role": "reader"}
        cluster.apply([{**pod, "metadata": {**pod["metadata"], "labels": labels}}])
    else:
        metadata = {"name": space, "labels": {"team": "web"}}
        cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}])
    result = exercise.check()
    assert result.status is Status.FAILED
    assert result.counterexample.seen == where


def test_deny_all_in_both_directions_is_graded(cluster, namespace):
    exercise = Exercise(cluster, namespace)
    wants = [exercise.want(name, "silent") for name in ("web", "batch", "deployment/api")]
    exercise.wishes = Wishes("e", "E", 1, wants, may_change=POLICIES, fresh_pods=True)
    deny = (
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny},"
        " spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}"
    )
    cluster.apply(manifests.load(deny), namespace=namespace)
    result = exercise.check()
    assert result.passed, result.text()


def test_a_deleted_client_gives_no_points(exercise):
    exercise.answer(LABEL)
    exercise.cluster.delete("pods", "batch", exercise.namespace, grace=0)
    result = exercise.check()
    assert result.status is Status.FAILED
    assert result.counterexample.what == "pods/batch"
