"""What a cluster puts into namespaces by itself is nobody's answer, and nobody is blamed for it."""

import pytest

from k8slab.course import Journal, Session, setup, start
from k8slab.course.difference import Estate, key_of
from k8slab.course.lab import load
from k8slab.grading import Context, Status, additions
from k8slab.grading.unchanged import check_unchanged
from k8slab.grading.watched import is_clusters_own
from k8slab.probes.targets import Snapshot
from k8slab.testing.fake import PLURALS, FakeCluster

LAB = load("tests/data/solutions/90-example")
EXERCISE = LAB.exercise("protect")
SPACE = EXERCISE.namespace
PERSON = [{"manager": "pilot-discovery", "operation": "Update", "fieldsV1": {"f:data": {}}}]


def obj(kind, name, **more):
    metadata = {"name": name, "namespace": SPACE, "managedFields": PERSON}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **more}


@pytest.fixture
def there(monkeypatch):
    """Give a cluster of others with the exercise set up in it."""
    for kind, plural in (("Secret", "secrets"), ("ServiceAccount", "serviceaccounts")):
        monkeypatch.setitem(PLURALS, kind, plural)
    cluster = FakeCluster(provider="existing")
    setup.set_up(cluster, EXERCISE)
    return cluster


def judged(cluster, given):
    context = Context(cluster, SPACE, EXERCISE.setup, given=given)
    return check_unchanged(context, EXERCISE.wishes.may_change)


def test_accounts_and_secrets_of_every_namespace_are_noted_as_given(there):
    account = obj("ServiceAccount", "pipeline", imagePullSecrets=[{"name": "x"}])
    there.apply([obj("Secret", "mesh-key"), account, obj("ConfigMap", "mesh")])
    default = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    there.apply([default], namespace=SPACE)
    found = additions.given(Context(there, SPACE, EXERCISE.setup), Snapshot(there))
    assert found[SPACE] == ["configmaps/mesh", "secret/mesh-key", "serviceaccount/pipeline"]
    written = {key_of(one): one for one in (obj("Secret", "mesh-key"), account, *EXERCISE.setup)}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
    estate = Estate(written | {key_of(space): space}, {})
    assert not estate.difference(EXERCISE, found)


@pytest.mark.parametrize(
    ("one", "own"),
    [
        (obj("ConfigMap", "openshift-service-ca.crt"), True),
        (obj("ConfigMap", "istio-ca-root-cert"), True),
        (obj("ConfigMap", "mine"), False),
        (obj("Secret", "builder-dockercfg-x7k2p", type="kubernetes.io/dockercfg"), True),
        (obj("Secret", "my-dockercfg-x", type="Opaque"), False),
        (obj("Secret", "istio-ca-root-cert"), False),
        (
            obj(
                "ServiceAccount", "builder", imagePullSecrets=[{"name": "builder-dockercfg-x7k2p"}]
            ),
            True,
        ),
        (obj("ServiceAccount", "builder"), False),
        (obj("ServiceAccount", "default", imagePullSecrets=[{"name": "mine"}]), False),
    ],
)
def test_what_distributions_add_later_too_is_known_by_its_name_and_form(one, own):
    assert is_clusters_own(one) is own


def test_where_nobody_noted_what_was_given_nobody_is_blamed_and_told_what_helps(there):
    there.apply([obj("ConfigMap", "mesh")])
    found = judged(there, None)
    assert found.status is Status.INCONCLUSIVE
    assert found.lines[0].startswith("configmaps/mesh: it was added, by you or by the cluster")
    assert "--keep-mine" in found.lines[0]
    assert judged(there, {}).status is Status.FAILED
    assert judged(there, {SPACE: ["configmaps/mesh"]}).status is Status.PASSED


def test_a_label_that_nobody_noted_is_in_doubt_too_and_one_of_the_set_up_is_not(there):
    space = there.get("namespaces", SPACE)
    labels = {**space["metadata"]["labels"], "field.cattle.io/projectId": "p-1"}
    there.apply([{**space, "metadata": {**space["metadata"], "labels": labels}}])
    found = judged(there, None)
    assert found.status is Status.INCONCLUSIVE
    assert "the label field.cattle.io/projectId was added" in found.lines[0]
    assert judged(there, {}).status is Status.FAILED


def test_what_no_cluster_gives_is_an_addition_beside_what_is_in_doubt(there):
    there.apply([obj("ConfigMap", "mesh"), obj("NetworkPolicy", "own")])
    there.apply([{**EXERCISE.setup[0], "metadata": {"name": "mine", "namespace": SPACE}}])
    found = judged(there, None)
    assert found.status is Status.FAILED
    assert found.lines[0].startswith("pods/mine: it was added")


def test_a_cluster_that_k8slab_made_gives_nothing(there):
    there.provider = "embedded"
    there.apply([obj("ConfigMap", "mine")])
    assert judged(there, None).status is Status.FAILED


def test_a_journal_that_saw_the_set_up_knows_that_nothing_was_given(tmp_path, monkeypatch):
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path / "home"))
    cluster = FakeCluster(provider="existing")
    session = Session(LAB, cluster, Journal(tmp_path / "one.sqlite"))
    session.begin("protect")
    assert session._context(EXERCISE).given == {}
    other = Session(LAB, cluster, Journal(tmp_path / "other.sqlite"))
    other.begin("protect")
    assert other._context(EXERCISE).given is None
    assert start.given(other._attempt(EXERCISE)) is None
    other.reset("protect")
    assert other._context(EXERCISE).given == {}
