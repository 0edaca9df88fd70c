"""What an answer may hold: its own namespaces, and no more of the machine than labs teach."""

from dataclasses import replace
from pathlib import Path

import pytest

from k8slab.clusters.resources import Resources
from k8slab.course import load
from k8slab.course.admission import admit, on_the_node
from k8slab.course.answers import WRONG, answer_files
from k8slab.course.bundle import BundleError
from k8slab.course.difference import Difference

LAB = load(Path(__file__).parents[1] / "data" / "solutions" / "90-example")
SOLUTIONS = Path(__file__).parents[2] / "solutions"


class NothingElse:
    """An API that serves no kinds but those that everybody knows."""

    def get(self, path):
        return {"resources": []} if path != "/apis" else {"groups": []}


class Cluster:
    resources = Resources(NothingElse())

    def list(self, resource):
        assert resource == "nodes"
        return [{}] * 3


def one(kind="Pod", space="lab90-protect", version="v1", **body):
    metadata = {"name": "a"} | ({"namespace": space} if space else {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **body}


RBAC = "rbac.authorization.k8s.io/v1"
POD = {"spec": {"containers": [{"name": "c", "image": "k8slab/app"}]}}
JOBS = {"schedule": "* * * * *", "jobTemplate": {"spec": {"parallelism": 51, "template": POD}}}


def refused(obj, **wishes):
    exercise = LAB.exercise("protect")
    exercise = replace(exercise, wishes=replace(exercise.wishes, **wishes))
    with pytest.raises(BundleError) as raised:
        admit(Cluster(), exercise, Difference(added=(obj,)))
    return raised.value.message


MORE = {"capabilities": {"add": ["NET_ADMIN"]}}


def container(**context):
    return {"name": "c", "image": "k8slab/app", "securityContext": context}


@pytest.mark.parametrize(
    ("obj", "why"),
    [
        (one(space="kube-system"), "outside of the exercise's namespaces"),
        (one(space=""), "outside of the exercise's namespaces"),
        (one("Namespace", ""), "none of the exercise's namespaces"),
        (one("ClusterRole", "", "rbac.authorization.k8s.io/v1"), "an object of the whole cluster"),
        (one("ClusterRole", "lab90-protect", "rbac.authorization.k8s.io/v1"), "in no namespace"),
        (one("Node", ""), "an object of the whole cluster"),
        (one("CustomResourceDefinition", "", "apiextensions.k8s.io/v1"), "the whole cluster"),
        (one("ClusterNetworkPolicy", "", "policy.networking.k8s.io/v1alpha2"), "whole cluster"),
        (one("Gadget", version="example.com/v1"), "does not serve Gadget"),
        (one("Secret", type="kubernetes.io/service-account-token"), "tokens are not part"),
        (one("RoleBinding", version=RBAC), "a right on the API is not part"),
        (one("ConfigMap", data={"x": "y" * 300_000}), "larger than 256 KiB"),
        (one("Deployment", version="apps/v1", spec={"replicas": 51}), "more than 50 pods"),
        (one("Job", version="batch/v1", spec={"parallelism": 10**9}), "more than 50 pods"),
        (one("CronJob", version="batch/v1", spec=JOBS), "more than 50 pods"),
        (one(spec={"hostPID": True}), "hostPID"),
        (one(spec={"hostNetwork": True}), "a pod on the network of its node"),
        (one(spec={"hostIPC": True}), "hostIPC"),
        (one(spec={"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}), "hostPath"),
        (one(spec={"containers": [container(privileged=True)]}), "privileged"),
        (one(spec={"initContainers": [container(privileged=True)]}), "privileged"),
    ],
)
def test_what_reaches_beyond_the_exercise_is_refused_by_name(obj, why):
    told = refused(obj)
    assert why in told
    assert f"exercise protect: {obj['kind']} " in told


@pytest.mark.parametrize(
    ("kind", "version", "steps"),
    [
        ("Deployment", "apps/v1", ("template", "spec")),
        ("DaemonSet", "apps/v1", ("template", "spec")),
        ("Job", "batch/v1", ("template", "spec")),
        ("CronJob", "batch/v1", ("jobTemplate", "spec", "template", "spec")),
    ],
)
def test_templates_of_pods_are_looked_into(kind, version, steps):
    spec = {"hostPID": True}
    for step in reversed(steps):
        spec = {step: spec}
    assert "hostPID" in refused(one(kind, version=version, spec=spec))


@pytest.mark.parametrize("group", ["containers", "initContainers"])
def test_capabilities_on_the_network_of_the_node_are_refused_everywhere(group):
    pod = one(spec={"hostNetwork": True, group: [container(**MORE)]})
    exercise = replace(LAB.exercise("protect"), solution="spec: {hostNetwork: true}")
    with pytest.raises(BundleError, match="further capabilities on the network of its node"):
        admit(Cluster(), exercise, Difference(added=(pod,)))


@pytest.mark.parametrize("where", ["setup", "solution"])
def test_a_pod_on_the_network_of_its_node_is_admitted_where_the_exercise_has_one(where):
    pod = one(spec={"hostNetwork": True})
    has = {"setup": (pod,), "solution": "spec:\n  hostNetwork: true\n"}
    exercise = replace(LAB.exercise("protect"), **{where: has[where]})
    admit(Cluster(), exercise, Difference(added=(pod,)))


def test_every_right_answer_of_the_course_may_have_the_pods_that_it_has():
    wanting = []
    for file in sorted(SOLUTIONS.glob("*/exercises.yaml")):
        lab = load(file.parent)
        for exercise in lab.exercises.values():
            for answer in answer_files(lab.directory, exercise.id):
                takes = "hostNetwork" in answer.read_text(encoding="utf-8")
                if takes and not answer.name.startswith(WRONG) and not on_the_node(exercise):
                    wanting.append(answer)
    assert wanting == []


def test_what_labs_teach_is_admitted():
    dropped = container(runAsUser=1, capabilities={"drop": ["ALL"]})
    spec = {"containers": [dropped]}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab90-protect"}}
    exercise = LAB.exercise("protect")
    admit(Cluster(), exercise, Difference(added=(one(spec=spec),), changed=(space,)))


def test_a_cluster_wide_object_is_admitted_where_the_exercise_releases_it_by_name():
    policy = one("ClusterNetworkPolicy", "", "policy.networking.k8s.io/v1alpha2")
    exercise = LAB.exercise("protect")
    released = ["clusternetworkpolicies.policy.networking.k8s.io/a"]
    wishes = replace(exercise.wishes, may_change=released)
    admit(Cluster(), replace(exercise, wishes=wishes), Difference(added=(policy,)))
    wider = ["*/*", "clusternetworkpolicies.policy.networking.k8s.io/b"]
    assert "whole cluster" in refused(policy, may_change=wider)


@pytest.mark.parametrize("shape", [{"spec": []}, {"spec": {"containers": 1}}, {"spec": None}])
def test_odd_shapes_are_left_to_the_api(shape):
    admit(Cluster(), LAB.exercise("protect"), Difference(added=(one(**shape),)))


def test_a_deletion_is_held_to_the_same_places():
    exercise = LAB.exercise("protect")
    with pytest.raises(BundleError, match="outside"):
        admit(Cluster(), exercise, Difference(deleted=(one(space="kube-system"),)))


def test_many_small_objects_ask_for_no_more_pods_than_a_replay_can_make():
    def named(number):
        deployment = one("Deployment", version="apps/v1", spec={"replicas": 50, "template": POD})
        return {**deployment, "metadata": {**deployment["metadata"], "name": f"d-{number}"}}

    exercise = LAB.exercise("protect")
    admit(Cluster(), exercise, Difference(added=tuple(map(named, range(3)))))
    with pytest.raises(BundleError, match="all of it together asks for more than 150 pods"):
        admit(Cluster(), exercise, Difference(added=tuple(map(named, range(4)))))
    alone = [
        {**one("Pod", **POD), "metadata": {**one()["metadata"], "name": f"{n}"}} for n in range(151)
    ]
    with pytest.raises(BundleError, match="more than 150 pods"):
        admit(Cluster(), exercise, Difference(changed=tuple(alone)))


def test_the_pods_of_daemonsets_are_as_many_as_nodes():
    def named(number):
        daemons = one("DaemonSet", version="apps/v1", spec={"template": POD})
        return {**daemons, "metadata": {**daemons["metadata"], "name": f"d-{number}"}}

    exercise = LAB.exercise("protect")
    admit(Cluster(), exercise, Difference(added=tuple(map(named, range(50)))))
    with pytest.raises(BundleError, match="more than 150 pods"):
        admit(Cluster(), exercise, Difference(added=tuple(map(named, range(51)))))
