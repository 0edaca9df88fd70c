"""What an answer did beside its task: changes and additions that the exercise does not release."""

import pytest

from k8slab.clusters.media import MERGE
from k8slab.grading import Context, Status, additions
from k8slab.grading.context import CLUSTER_POLICIES
from k8slab.grading.lookalikes import MARK, leftovers
from k8slab.grading.unchanged import check_unchanged
from k8slab.objects import manifests
from k8slab.objects.slices import SLICES
from k8slab.probes.targets import Snapshot

SETUP = """
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: web, image: k8slab/app, ports: [{containerPort: 8080}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: web, image: k8slab/app, envFrom: [{configMapRef: {name: settings}}]}]
---
apiVersion: v1
kind: Service
metadata: {name: app}
spec: {selector: {app: app}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {A: b}
"""
OWN = ["networkpolicies.networking.k8s.io/*"]


class Place:
    """A set-up in a namespace, and what a learner does to it, as kubectl would."""

    def __init__(self, cluster, space):
        self.cluster, self.space = cluster, space
        objects = manifests.load(SETUP)
        self.setup = [{**o, "metadata": {**o["metadata"], "namespace": space}} for o in objects]
        cluster.apply(self.setup)

    def patch(self, resource, name, body):
        found = self.cluster.resources.named(resource)
        path = found.path(namespace=self.space, name=name) + "?fieldManager=kubectl-patch"
        self.cluster.request("PATCH", path, body, content_type=MERGE)

    def make(self, text):
        self.cluster.apply(manifests.load(text.replace("SPACE", self.space)), namespace=self.space)

    def check(self, may_change=OWN, **more):
        context = Context(self.cluster, self.space, self.setup, **more)
        found = check_unchanged(context, may_change)
        assert found.status is (Status.FAILED if found.lines else Status.PASSED)
        return " ".join(found.lines)


@pytest.fixture
def place(cluster, namespace):
    return Place(cluster, namespace)


@pytest.fixture
def policy(cluster):
    made = []

    def make(name, subject, *peers):
        spec = {"tier": "Admin", "priority": 7, "subject": {"namespaces": subject}}
        rule = {"action": "Deny", "from": [{"namespaces": peer} for peer in peers]}
        body = {"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy"}
        made.append(name)
        cluster.apply(
            [
                {
                    **body,
                    "metadata": {"name": name},
                    "spec": spec | ({"ingress": [rule]} if peers else {}),
                }
            ]
        )

    yield make
    for name in made:
        cluster.delete(CLUSTER_POLICIES, name)


def test_an_untouched_set_up_with_what_controllers_make_is_unchanged(place):
    cluster, space = place.cluster, place.space
    cluster.wait("deployments.apps", "app", space, until="ready")
    assert cluster.list("endpointslices.discovery.k8s.io", space)
    assert place.check() == ""


@pytest.mark.parametrize(
    ("resource", "name", "body", "where"),
    [
        (
            "deployments.apps",
            "app",
            {"spec": {"template": {"spec": {"hostAliases": [{"ip": "10.0.0.1"}]}}}},
            "deployments.apps/app: spec.template.spec.hostAliases was changed",
        ),
        (
            "services",
            "app",
            {"spec": {"externalIPs": ["192.0.2.7"]}},
            "services/app: spec.externalIPs was changed",
        ),
        (
            "services",
            "app",
            {"spec": {"sessionAffinity": "ClientIP"}},
            "services/app: spec.sessionAffinity was changed",
        ),
        ("configmaps", "settings", {"data": {"C": "d"}}, "configmaps/settings: data.C was changed"),
        (
            "deployments.apps",
            "app",
            {"spec": {"template": {"metadata": {"annotations": {MARK: "x"}}}}},
            f"deployments.apps/app: spec.template.metadata.annotations.{MARK} was changed",
        ),
        (
            "pods",
            "client",
            {"metadata": {"annotations": {MARK: "x"}}},
            f"pods/client: metadata.annotations.{MARK} was changed",
        ),
    ],
)
def test_what_a_manifest_does_not_say_and_somebody_wrote_is_a_change(
    place, resource, name, body, where
):
    place.patch(resource, name, body)
    assert place.check().startswith(where)
    assert place.check([f"{resource}/{name}"]) == ""


def test_a_restart_and_the_same_written_anew_are_no_changes(place):
    note = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    place.patch(
        "deployments.apps", "app", {"spec": {"template": {"metadata": {"annotations": note}}}}
    )
    for number, resource in ((0, "pods"), (2, "services")):
        obj = place.setup[number]
        place.cluster.delete(resource, obj["metadata"]["name"], place.space, grace=0)
        path = f"/api/v1/namespaces/{place.space}/{resource}?fieldManager=kubectl-create"
        place.cluster.request("POST", path, obj)  # it owns the defaults too
    assert place.check() == ""


SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: mine, labels: {kubernetes.io/service-name: app}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.244.1.9]}]
"""
ENDPOINTS = """
{apiVersion: v1, kind: Service, metadata: {name: old}, spec: {ports: [{port: 80}]}}
---
apiVersion: v1
kind: Endpoints
metadata: {name: old}
subsets: [{addresses: [{ip: 10.244.1.9}], ports: [{port: 8080}]}]
"""
REPLICA_SET = """
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: mine}
spec:
  selector: {matchLabels: {app: mine}}
  template:
    metadata: {labels: {app: mine}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: web, image: k8slab/app}]}
"""


def test_slices_that_somebody_wrote_are_additions(place):
    place.make(SLICE)
    line = "endpointslices.discovery.k8s.io/mine: it was added, but this exercise is about"
    assert place.check().startswith(line)
    assert place.check(["endpointslices.discovery.k8s.io/*"]) == ""


def test_mirrored_slices_are_those_of_the_endpoints(place):
    place.make(ENDPOINTS)
    slices = "endpointslices.discovery.k8s.io"
    place.cluster.wait(
        slices, namespace=place.space, selector="kubernetes.io/service-name=old", until=bool
    )
    assert place.check(["services/old"]).startswith("endpoints/old: it was added")
    assert place.check(["services/old", "endpoints/old"]) == ""


def test_a_replica_set_is_found_by_its_pods(place):
    place.make(REPLICA_SET)
    place.cluster.wait("pods", namespace=place.space, selector="app=mine", until=bool)
    assert place.check().startswith("replicasets.apps/mine: it was added")
    assert place.check(["replicasets.apps/mine"]) == ""


def test_an_owner_that_somebody_wrote_makes_nobodys_object_a_controllers(place):
    service = place.cluster.get("services", "app", place.space)
    owner = {"apiVersion": "v1", "kind": "Service", "name": "app", "controller": True}
    (added,) = manifests.load(SLICE)
    owners = [{**owner, "uid": service["metadata"]["uid"]}]
    metadata = {**added["metadata"], "ownerReferences": owners}
    place.cluster.apply([{**added, "metadata": metadata}], namespace=place.space)
    other = {"name": "other", "ownerReferences": owners}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": other}
    place.cluster.apply([{**body, "spec": {"ports": [{"port": 1}]}}], namespace=place.space)
    assert place.check().startswith("services/other: somebody wrote into it")
    assert "endpointslices" in place.check(["services/other"])


def test_what_the_cluster_gave_to_the_fresh_namespace_is_no_addition(place):
    cluster, space = place.cluster, place.space
    text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: mesh-authority}, data: {a: b}}"
    place.make(text)
    place.patch_space = f"/api/v1/namespaces/{space}?fieldManager=rancher"
    label = {"metadata": {"labels": {"field.cattle.io/projectId": "p-1"}}}
    cluster.request("PATCH", place.patch_space, label, content_type=MERGE)
    assert "mesh-authority" in place.check() or "cattle" in place.check()
    given = additions.given(Context(cluster, space, place.setup), Snapshot(cluster))
    assert given[space] == ["configmaps/mesh-authority", "labels/field.cattle.io/projectId"]
    assert place.check(given=given) == ""
    place.make(text.replace("mesh-authority", "mine"))
    assert place.check(given=given).startswith("configmaps/mine: it was added")


def test_only_on_a_cluster_of_somebody_else_a_policy_of_the_whole_cluster_is_given(place, policy):
    """Else a wrong answer that outlives a reset would count from then on."""
    policy(f"{place.space}-wide", {"matchLabels": {"kubernetes.io/metadata.name": place.space}})
    context = Context(place.cluster, place.space, place.setup)
    assert "" not in additions.given(context, Snapshot(place.cluster))


def test_a_peer_that_is_everybody_else_does_not_make_a_policy_one_about_this_exercise(
    place, policy
):
    elsewhere = {"matchLabels": {"kubernetes.io/metadata.name": "nowhere"}}
    key = "kubernetes.io/metadata.name"
    others = {"matchExpressions": [{"key": key, "operator": "NotIn", "values": ["guests"]}]}
    policy(f"{place.space}-wide", elsewhere, others)
    assert place.check() == ""
    listed = {"matchExpressions": [{"key": key, "operator": "In", "values": [place.space]}]}
    policy(f"{place.space}-wide", elsewhere, listed)
    assert "it was added" in place.check()


def test_a_note_on_a_slice_is_no_change_and_an_edited_pod_is_called_that(place):
    place.cluster.wait("deployments.apps", "app", place.space)
    (made,) = place.cluster.list("pods", place.space, selector="app=app")
    slices = place.cluster.wait(SLICES, namespace=place.space, until=lambda one: True)
    note = {"metadata": {"annotations": {"note": "x"}}}
    place.patch(SLICES, slices[0]["metadata"]["name"], note)
    assert place.check() == ""
    image = {"spec": {"containers": [{**made["spec"]["containers"][0], "image": "busybox"}]}}
    place.patch("pods", made["metadata"]["name"], image)
    told = place.check(["deployments.apps/app"])
    assert "somebody wrote into it, but this exercise is about something else" in told
    assert "what a controller needs it makes again" in told


def test_a_cluster_wide_policy_that_would_not_be_handed_in_is_named(place, policy):
    here = {"matchLabels": {"kubernetes.io/metadata.name": place.space}}
    elsewhere = {"matchLabels": {"kubernetes.io/metadata.name": "nowhere"}}
    name = f"{place.space}-wide"
    policy(f"{name}-others", elsewhere, {})
    assert place.check() == ""
    policy(name, elsewhere, here)
    told = place.check()
    assert told.startswith(f"{CLUSTER_POLICIES}/{name}: it was added, and decides about this")
    policy(name, here)
    told = place.check([f"{CLUSTER_POLICIES}/lab05-*"])
    assert "but only one called lab05-* counts here and is handed in" in told
    assert place.check([f"{CLUSTER_POLICIES}/{name}"]) == ""
    assert place.check(given={"": [f"{CLUSTER_POLICIES}/{name}"]}) == ""


def test_a_pod_of_the_set_up_with_the_graders_mark_is_not_taken_away(place):
    place.patch("pods", "client", {"metadata": {"annotations": {MARK: place.space}}})
    context = Context(place.cluster, place.space, place.setup)
    assert leftovers(context, Snapshot(place.cluster)) == []
