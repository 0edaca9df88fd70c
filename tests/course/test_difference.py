"""An answer is found whatever way it was typed, and is the same answer on a fresh set-up."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from k8slab import programs
from k8slab.clusters.media import MERGE
from k8slab.course import Journal, Session, load, setup
from k8slab.course.difference import Estate, collect, key_of, replay
from k8slab.course.submission import gather
from k8slab.errors import ApiStatusError
from k8slab.grading import Status
from k8slab.objects import manifests

LAB = Path(__file__).parents[1] / "data" / "solutions" / "90-example"
SPACE = "lab90-protect"


@pytest.fixture
def session(cluster, tmp_path):
    session = Session(load(LAB), cluster, Journal(tmp_path / "progress.sqlite"))
    session.begin("protect")
    yield session
    cluster.delete("namespaces", SPACE)
    cluster.wait("namespaces", SPACE, until="delete")


@pytest.fixture
def kubectl(cluster):
    def run(command, stdin=""):
        argv = ["kubectl", "-n", SPACE, *shlex.split(command)]
        return programs.run(argv, env={"KUBECONFIG": str(cluster.kubeconfig)}, stdin=stdin)

    return run


class OfOthers:
    """A cluster in which a learner may read two namespaces, and no Secrets in them."""

    def __init__(self, cluster):
        self.resources, self.get, self._list = cluster.resources, cluster.get, cluster.list

    def list(self, resource, namespace="", **more):
        if not namespace or resource == "secrets":
            raise ApiStatusError("not for you", code=403, reason="Forbidden")
        return self._list(resource, namespace, **more)


def names(objects):
    return sorted(f"{obj['kind']}/{obj['metadata']['name']}" for obj in objects)


def found(session):
    return collect(session.cluster, session.lab.exercise("protect"))


def test_an_untouched_set_up_differs_in_nothing(session):
    difference = found(session)
    assert not difference
    assert difference.told() == "nothing differs from the set-up"


def test_what_the_api_fills_into_a_rule_is_no_work_of_the_learner(session):
    """The rules of a policy are one value to the API (atomic), so its defaults are in it, too."""
    ports = [{"port": 80}]
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "in", "namespace": SPACE},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": ports}]},
    }
    session.cluster.apply([policy])
    exercise = session.lab.exercise("protect")
    exercise = replace(exercise, setup=(*exercise.setup, policy))
    assert collect(session.cluster, exercise).told() == "nothing differs from the set-up"
    policy["spec"]["ingress"][0]["ports"] = [{"port": 80, "protocol": "UDP"}]
    assert collect(session.cluster, exercise).told() == "1 changed"


def test_what_was_typed_with_kubectl_counts_like_what_was_applied(session, kubectl):
    solution = session.lab.exercise("protect").solution
    kubectl("apply -f -", solution)
    kubectl("label pod web checked=yes app-")
    kubectl("expose pod db --port 80 --target-port 8080")
    kubectl("create deployment extra --image=k8slab/app --replicas=2")
    kubectl("run other --image=k8slab/app --restart=Never")
    kubectl("create serviceaccount robot")
    kubectl("delete pod batch --now")
    kubectl("annotate namespace " + SPACE + " mine=yes")
    difference = found(session)
    assert names(difference.added) == [
        "Deployment/extra",
        "NetworkPolicy/only-web",
        "Pod/other",
        "Service/db",
        "ServiceAccount/robot",
    ]
    assert names(difference.changed) == [f"Namespace/{SPACE}", "Pod/web"]
    assert names(difference.deleted) == ["Pod/batch"]
    for obj in (*difference.added, *difference.changed):
        assert set(obj["metadata"]) <= {"name", "namespace", "labels", "annotations"}
        assert "status" not in obj
    (pod,) = (obj for obj in difference.changed if obj["kind"] == "Pod")
    assert pod["metadata"]["labels"] == {"checked": "yes"}
    (service,) = (obj for obj in difference.added if obj["kind"] == "Service")
    assert "clusterIP" not in service["spec"]


def test_a_replay_on_a_fresh_set_up_gives_the_same_difference(session, kubectl):
    kubectl("label pod web checked=yes")
    kubectl("expose pod db --port 80 --target-port 8080")
    kubectl("delete pod batch --now")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "db", "labels": {"app": "db"}}}
    container = {"name": "app", "image": "k8slab/app", "args": ["--port", "9090"]}
    replaced = json.dumps({**pod, "spec": {"containers": [container]}})
    kubectl("replace --force -f -", replaced)
    before = found(session)
    session.reset("protect")
    assert not found(session)
    fresh = session.cluster.get("pods", "web", SPACE)["metadata"]["uid"]
    assert replay(session.cluster, before) == []
    after = found(session)
    assert names(after.added) == names(before.added) == ["Service/db"]
    assert names(after.changed) == names(before.changed) == ["Pod/db", "Pod/web"]
    assert names(after.deleted) == ["Pod/batch"]
    # A label is patched and needs no new pod; a container's arguments cannot be changed in one.
    assert session.cluster.get("pods", "web", SPACE)["metadata"]["uid"] == fresh
    pod = session.cluster.get("pods", "db", SPACE)
    assert pod["spec"]["containers"][0]["args"] == ["--port", "9090"]


def test_a_namespace_that_was_annotated_is_still_the_set_ups_when_that_is_done_again(
    session, kubectl
):
    kubectl("apply -f -", session.lab.exercise("protect").solution)
    kubectl(f"annotate namespace {SPACE} note=mine")
    before = found(session)
    assert names(before.changed) == [f"Namespace/{SPACE}"]
    session.reset("protect")
    marks = {setup.MARK: "forged", setup.SEED: "1"}
    (space,) = before.changed
    forged = {**space, "metadata": {**space["metadata"], "annotations": {"note": "mine", **marks}}}
    assert replay(session.cluster, replace(before, changed=(forged,))) == []
    assert session.cluster.get("namespaces", SPACE)["metadata"]["annotations"]["note"] == "mine"
    assert setup.is_set_up(session.cluster, session.lab.exercise("protect"))
    result = session.check("protect")
    assert result.status is Status.PASSED, result.text()


def test_what_the_cluster_refuses_is_told_and_the_rest_goes_on(session):
    text = """
{apiVersion: v1, kind: Service, metadata: {name: bad, namespace: SPACE}, spec: {ports: [{port: 99999}]}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: good, namespace: SPACE}, data: {a: b}}
"""  # noqa: E501
    answer = type(found(session))(added=tuple(manifests.load(text.replace("SPACE", SPACE))))
    (line,) = replay(session.cluster, answer)
    assert line.startswith(f"Service {SPACE}/bad: ")
    assert session.cluster.get("configmaps", "good", SPACE)["data"] == {"a": "b"}


def test_a_reset_that_keeps_mine_saves_the_own_work_and_does_it_again(session, kubectl):
    kubectl("apply -f -", session.lab.exercise("protect").solution)
    uid = session.cluster.get("pods", "db", SPACE)["metadata"]["uid"]
    begun = session.reset("protect", keep_mine=True)
    assert begun.fresh
    assert begun.refused == ()
    assert session.cluster.get("pods", "db", SPACE)["metadata"]["uid"] != uid
    assert session.check("protect").status is Status.PASSED
    assert begun.told() == [f"your own objects are done again, and saved in {begun.kept}"]
    text = begun.kept.read_text()
    assert text.startswith("# 90-example/protect: 1 added\n")
    assert names(manifests.load(text)) == ["NetworkPolicy/only-web"]


def test_a_reset_that_keeps_mine_makes_no_file_where_nothing_differs(session):
    assert session.reset("protect", keep_mine=True).kept is None


def test_a_peer_of_every_namespace_is_a_change_of_one_of_the_own_namespace():
    peer = {"podSelector": {"matchLabels": {"app": "web"}}}
    policy, wider = (
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "only-web", "namespace": SPACE},
            "spec": {"podSelector": {}, "ingress": [{"from": [found]}]},
        }
        for found in (peer, {"namespaceSelector": {}, **peer})
    )
    exercise = load(LAB).exercise("protect")
    exercise = replace(exercise, setup=(policy,))
    estate = Estate({key_of(wider): wider}, {})
    assert names(estate.difference(exercise).changed) == ["NetworkPolicy/only-web"]


def test_what_the_cluster_gave_to_the_namespace_is_neither_an_addition_nor_handed_in(session):
    cluster = session.cluster
    cluster.delete("namespaces", SPACE)
    cluster.wait("namespaces", SPACE, until="delete")
    # As a service mesh and a console of clusters do it, with every new namespace.
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
    labels = {"metadata": {"labels": {"field.cattle.io/projectId": "p-1"}}}
    metadata = {"name": "mesh-authority", "namespace": SPACE}
    authority = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}}
    cluster.apply([space, authority])
    path = f"/api/v1/namespaces/{SPACE}?fieldManager=rancher"
    cluster.request("PATCH", path, labels, content_type=MERGE)
    session.begin("protect")
    cluster.apply(session.lab.exercise("protect").solution, namespace=SPACE)
    result = session.check("protect")
    assert result.status is Status.PASSED, result.text()
    answers = gather([(session.lab, ["protect"])], cluster, session.journal).answers
    entry = answers["labs"][session.lab.name]["exercises"]["protect"]
    assert names(entry["added"]) == ["NetworkPolicy/only-web"]
    assert entry["changed"] == []


def test_where_only_the_own_namespaces_may_be_read_the_answer_is_found_all_the_same(
    session, kubectl
):
    kubectl("apply -f -", session.lab.exercise("protect").solution)
    kubectl(f"label namespace {SPACE} mine=yes")
    kubectl("create secret generic hidden --from-literal=a=b")
    difference = collect(OfOthers(session.cluster), session.lab.exercise("protect"))
    assert names(difference.added) == ["NetworkPolicy/only-web"]
    assert names(difference.changed) == [f"Namespace/{SPACE}"]
