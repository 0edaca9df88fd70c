"""Who asks for a check: never a program that the answer may have brought along."""

import copy
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from k8slab.errors import ApiStatusError, ClusterError, ProbeError
from k8slab.grading import Context, Status, Wishes, askers, grade, prerequisites
from k8slab.grading.askers import IMAGE, placed
from k8slab.grading.checks import run_check
from k8slab.grading.interrupted import NOTE
from k8slab.grading.lookalikes import MARK, remove
from k8slab.grading.result import Blame
from k8slab.objects import manifests, meta
from k8slab.policy import Party
from k8slab.probes import run_in_pod
from k8slab.probes.targets import Snapshot
from k8slab.programs import Completed
from k8slab.testing.fake import FakeCluster

SETUP = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: crawler, namespace: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: crawler}}
  template:
    metadata: {labels: {app: crawler}}
    spec: {containers: [{name: web, image: k8slab/app}]}
"""
ASKER = "deployment/crawler"
GET = {"check": "http", "from": ASKER, "url": "http://web/", "body_contains": "right"}


class Changing(FakeCluster):
    """A cluster in which something changes the resolver of every pod that is made."""

    def apply(self, objects, *, namespace=""):
        pods = [obj for obj in copy.deepcopy([*objects]) if obj["kind"] == "Pod"]
        for pod in pods:
            pod["spec"]["dnsPolicy"] = "Default"
        return super().apply(pods or objects, namespace=namespace)


def begun(kind=FakeCluster):
    """Return a cluster with the set-up in which a program of an answer says what is wanted."""
    cluster = kind()

    def on_exec(space, pod, argv):
        (container,) = cluster.get("pods", pod, space)["spec"]["containers"]
        body = "right" if container["image"] != IMAGE else "wrong"
        return Completed(tuple(argv), 0, f"HTTP/1.1 200 OK\n\n{body}")

    cluster.on_exec = on_exec
    setup = manifests.load(SETUP)
    cluster.apply(setup)
    return Context(cluster, "shop", setup, deadline=0.1)


def change(context, **spec):
    (deployment,) = [obj for obj in copy.deepcopy(context.setup) if obj["kind"] == "Deployment"]
    deployment["spec"]["template"]["spec"] |= spec
    context.cluster.apply([deployment])


OWN_TOOLS = {"containers": [{"name": "web", "image": "my/curl"}]}


@contextmanager
def asking(context):
    with placed(context, [GET], Snapshot(context.cluster)) as own:
        party = own.asker(ASKER)
        yield context.cluster.get("pods", party.name, party.namespace)


def test_a_pod_as_the_set_up_made_it_asks_itself():
    context = begun()
    with asking(context) as pod:
        assert [pod] == context.cluster.list("pods", "shop")
    assert grade(context, Wishes("one", "One", checks=[GET])).passed


def test_a_tool_of_the_answers_own_gives_no_points():
    context = begun()
    change(context, **OWN_TOOLS)
    result = grade(context, Wishes("one", "One", checks=[GET]))
    (finding,) = result.findings
    assert finding.status is Status.FAILED
    assert "a pod of the grader's own asked" in finding.lines[-1]
    # What the learner is to try is tried in the learner's pod.
    assert "exec crawler-1-0" in finding.counterexample.replay


def test_the_graders_pod_is_known_by_the_same_and_runs_another_program():
    context = begun()
    config = {"options": [{"name": "ndots", "value": "2"}]}
    names = {"dnsPolicy": "None", "dnsConfig": config, "serviceAccountName": "robot"}
    change(context, hostAliases=[{"ip": "10.0.0.1", "hostnames": ["web"]}], **names, **OWN_TOOLS)
    (original,) = context.cluster.list("pods", "shop")
    with asking(context) as pod:
        assert meta.labels_of(pod) == meta.labels_of(original)
        assert meta.annotations_of(pod)[MARK] == "shop"
        spec = pod["spec"]
        assert {key: spec[key] for key in names} == names
        assert spec["nodeName"] == original["spec"]["nodeName"]
        assert "hostAliases" not in spec
        assert [one["image"] for one in spec["containers"]] == [IMAGE]
        assert spec["readinessGates"]
    assert context.cluster.list("pods", "shop") == [original]


class Moving(FakeCluster):
    """A cluster in which a roll-out ends right after the pods were listed, as on a slow machine."""

    def list(self, resource, namespace="", *, selector=""):
        found = super().list(resource, namespace, selector=selector)
        if resource == "pods" and found and self.get("pods", OLD["metadata"]["name"], "shop"):
            self.delete("pods", OLD["metadata"]["name"], "shop")
            self.rolled_out()
        return found

    def rolled_out(self):
        deployment = copy.deepcopy(self.get("deployments.apps", "crawler", "shop"))
        self._put({**deployment, "status": {"replicas": 1, "updatedReplicas": 1}})

    def rolling_out(self):
        """Bring a pod of before the change back, ready, and first in all lists."""
        deployment = copy.deepcopy(self.get("deployments.apps", "crawler", "shop"))
        self._put({**deployment, "status": {"replicas": 2, "updatedReplicas": 1}})
        pods = self._objects["pods"]
        new = dict(pods)
        pods.clear()
        self.apply([OLD])
        pods |= new


OWNER = {"kind": "ReplicaSet", "name": "crawler-1", "controller": True}
OLD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "crawler-0-0", "namespace": "shop", "ownerReferences": [OWNER]},
    "spec": {"dnsPolicy": "Default", "containers": [{"name": "web", "image": "k8slab/app"}]},
}


def test_what_a_roll_out_replaces_is_nobodys_model_though_it_ends_while_the_cluster_is_read():
    context = begun(Moving)
    change(context, dnsPolicy="None", **OWN_TOOLS)
    context.cluster.rolling_out()
    policies = []

    def on_exec(space, pod, argv):
        policies.append(context.cluster.get("pods", pod, space)["spec"]["dnsPolicy"])
        return Completed(tuple(argv), 0, "HTTP/1.1 200 OK\n\nright")

    context.cluster.on_exec = on_exec
    assert grade(context, Wishes("one", "One", checks=[GET])).passed
    assert set(policies) == {"None"}


def asked(context, *checks):
    return grade(context, Wishes("one", "One", checks=[*checks] or [GET])).findings


def test_while_a_roll_out_has_not_ended_nobody_asks_in_place_of_its_pods():
    context = begun(Moving)
    change(context, dnsPolicy="None", **OWN_TOOLS)
    deployment = copy.deepcopy(context.cluster.get("deployments.apps", "crawler", "shop"))
    context.cluster._put({**deployment, "status": {"replicas": 2, "updatedReplicas": 1}})
    (finding,) = asked(context)
    assert (finding.status, finding.blame) == (Status.FAILED, Blame.NOT_READY)
    assert "its roll-out has not ended" in finding.lines[0]


@pytest.mark.parametrize(
    ("kind", "spec", "status", "under_way"),
    [
        ("Deployment", {"replicas": 2}, {"replicas": 2, "updatedReplicas": 2}, False),
        ("Deployment", {"replicas": 2}, {"replicas": 3, "updatedReplicas": 2}, True),
        ("Deployment", {"replicas": 0}, {}, False),
        ("StatefulSet", {"replicas": 2}, {"replicas": 2, "updatedReplicas": 1}, True),
        ("StatefulSet", {"replicas": 2}, {"replicas": 1, "updatedReplicas": 1}, True),
        ("StatefulSet", {"replicas": 2}, {"replicas": 2, "updatedReplicas": 2}, False),
        (
            "StatefulSet",
            {"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}},
            {"replicas": 2, "updatedReplicas": 1},
            False,
        ),
        (
            "StatefulSet",
            {"replicas": 2, "updateStrategy": {"type": "OnDelete"}},
            {"replicas": 2},
            False,
        ),
        ("DaemonSet", {}, {"desiredNumberScheduled": 2, "updatedNumberScheduled": 1}, True),
        ("DaemonSet", {}, {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2}, False),
        (
            "DaemonSet",
            {"updateStrategy": {"type": "OnDelete"}},
            {"desiredNumberScheduled": 2, "currentNumberScheduled": 2},
            False,
        ),
    ],
)
def test_a_roll_out_is_under_way_until_the_status_says_that_all_pods_are_new(
    kind, spec, status, under_way
):
    cluster = FakeCluster()
    metadata = {"name": "web", "namespace": "shop", "generation": 2}
    workload = {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec}
    cluster._put({**workload, "status": {**status, "observedGeneration": 2}})
    context, party = Context(cluster, "shop"), Party(kind.lower(), "web", "shop")
    assert context.under_way(context.read(), party) is under_way
    assert context.settled() is not under_way
    cluster._put({**workload, "status": {**status, "observedGeneration": 1}})
    assert context.under_way(context.read(), party)


ROLLING = {"replicas": 3, "updatedReplicas": 1, "observedGeneration": 1}
LONG_AGO, JUST_NOW = "2026-01-01T00:00:00Z", "2126-01-01T00:00:00Z"
"""The second lies ahead: a slow machine must not make it long ago."""


def member(name, *, ready, since, kind="StatefulSet"):
    owner = {"kind": kind, "name": "db", "controller": True}
    metadata = {"name": name, "namespace": "shop", "ownerReferences": [owner]}
    condition = {"type": "Ready", "status": str(ready)}
    statuses = [{"state": {"running": {"startedAt": since}}}]
    status = {"phase": "Running", "conditions": [condition], "containerStatuses": statuses}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}, "status": status}


@pytest.mark.parametrize(
    ("kind", "spec", "pods", "settled"),
    [
        ("StatefulSet", {}, {"ready": False, "since": LONG_AGO}, True),
        ("StatefulSet", {}, {"ready": False, "since": JUST_NOW}, False),
        ("StatefulSet", {}, {"ready": True, "since": LONG_AGO}, False),
        ("Deployment", {}, {"ready": False, "since": LONG_AGO}, False),
        ("Deployment", {"paused": True}, {"ready": True, "since": LONG_AGO}, True),
    ],
)
def test_nobody_waits_for_a_roll_out_that_waits_for_a_pod_of_which_nothing_is_expected(
    kind, spec, pods, settled
):
    cluster = FakeCluster()
    metadata = {"name": "db", "namespace": "shop", "generation": 1}
    workload = {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata}
    cluster._put({**workload, "spec": {"replicas": 3, **spec}, "status": ROLLING})
    cluster._put(member("db-2", **pods))
    context = Context(cluster, "shop")
    assert context.settled() is settled
    # Whoever would ask in the place of its pods waits all the same.
    assert context.under_way(context.read(), Party(kind.lower(), "db", "shop"))
    cluster._put({**workload, "spec": {"replicas": 3, **spec}, "status": {}})
    assert not context.settled()


def test_a_workload_that_does_not_run_earns_nothing_by_the_pod_that_asks_in_its_place():
    context = begun()
    context.cluster.on_exec = lambda *_: Completed((), 0, "HTTP/1.1 200 OK\n\nright")
    change(context, **OWN_TOOLS)
    assert all(finding.status is Status.PASSED for finding in asked(context))
    (pod,) = context.cluster.list("pods", "shop")
    pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    (finding,) = asked(context)
    assert (finding.status, finding.blame) == (Status.FAILED, Blame.NOT_READY)
    assert "it is not Ready" in finding.lines[0]


def test_a_workload_that_crashes_while_the_graders_pod_asks_earns_nothing():
    context = begun()
    change(context, **OWN_TOOLS)
    (pod,) = context.cluster.list("pods", "shop")

    def on_exec(*_):
        context.cluster._objects["pods"]["shop", "crawler-1-0"] = {
            **pod,
            "status": {**pod["status"], "containerStatuses": [{"restartCount": 1}]},
        }
        return Completed((), 0, "HTTP/1.1 200 OK\n\nright")

    context.cluster.on_exec = on_exec
    (finding,) = asked(context)
    assert (finding.status, finding.blame) == (Status.FAILED, Blame.NOT_READY)
    assert "it was started again" in finding.lines[0]


SET = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: web, image: k8slab/app}]}
"""


def with_a_set(**metadata):
    """Return an exercise whose set-up has a StatefulSet, with the pod that it made."""
    context = begun()
    wanted = manifests.load(SET)
    done = {"replicas": 1, "updatedReplicas": 1}
    context.cluster.apply([{**obj, "status": done} for obj in wanted])
    owner = {"kind": "StatefulSet", "name": "db", "controller": True}
    template = wanted[0]["spec"]["template"]
    metadata |= {"name": "db-0", "namespace": "shop", "ownerReferences": [owner]}
    labelled = {**template["metadata"], **metadata}
    context.cluster.apply([{"apiVersion": "v1", "kind": "Pod", **template, "metadata": labelled}])
    return replace(context, setup=[*context.setup, *wanted])


def test_a_pod_of_a_workload_of_the_set_up_asks_itself():
    context = with_a_set()
    with placed(context, [{**GET, "from": "db-0"}], Snapshot(context.cluster)) as own:
        assert own.asker("db-0") == Party("pod", "db-0", "shop")


def test_a_pod_that_somebody_gave_another_image_asks_no_more_itself():
    fields = {"f:spec": {"f:containers": {'k:{"name":"web"}': {".": {}, "f:image": {}}}}}
    wrote = {"manager": "kubectl-set", "operation": "Update", "fieldsV1": fields}
    context = with_a_set(managedFields=[wrote])
    with placed(context, [{**GET, "from": "db-0"}], Snapshot(context.cluster)) as own:
        assert own.asker("db-0") != Party("pod", "db-0", "shop")


def test_a_place_that_nobody_can_take_hides_no_other_check():
    context = begun(Full)
    change(context, **OWN_TOOLS)
    field = {"check": "field", "object": "deployments.apps/crawler", "path": "kind"}
    checks = [{**GET, "title": "it asks", "group": "asks"}, {**field, "equals": "Deployment"}]
    asks, reads = asked(context, *checks)
    assert (asks.status, asks.check, asks.group) == (Status.ERROR, "it asks", "asks")
    assert "exceeded quota: tiny" in asks.lines[0]
    assert reads.status is Status.PASSED


def test_a_pod_that_a_value_is_measured_in_is_looked_for_first():
    context = begun()
    value = {"queries": "www.example.com", "from": "gone"}
    answer = {"check": "answer", "id": "cost", "question": "How many?", "value": value}
    (finding,) = asked(replace(context, answers={"cost": "2"}), answer)
    assert finding.check == prerequisites.TITLE
    assert "the pod shop/gone: it is not there" in finding.lines[0]


@pytest.mark.parametrize(("variable", "refused"), [("OTEL_SERVICE", False), ("LD_PRELOAD", True)])
def test_only_variables_that_steer_programs_spoil_the_graders_pod(variable, refused):
    class Tracing(FakeCluster):
        def apply(self, objects, *, namespace=""):
            objects = copy.deepcopy([*objects])
            for obj in objects:
                if MARK in meta.annotations_of(obj):
                    obj["spec"]["containers"][0]["env"] = [{"name": variable, "value": "x"}]
            return super().apply(objects, namespace=namespace)

    context = begun(Tracing)
    context.cluster.on_exec = lambda *_: Completed((), 0, "HTTP/1.1 200 OK\n\nright")
    change(context, **OWN_TOOLS)
    (finding,) = asked(context)
    assert (finding.status is Status.ERROR) == refused


def test_a_pod_that_the_cluster_changes_is_no_grader():
    context = begun(Changing)
    change(context, dnsPolicy="None", **OWN_TOOLS)
    with pytest.raises(ProbeError, match="something changed its dnsPolicy"), asking(context):
        pass
    (finding,) = grade(context, Wishes("one", "One", checks=[GET])).findings
    assert finding.status is Status.ERROR


class Full(FakeCluster):
    """A cluster in which a quota admits no pod of the grader's."""

    def apply(self, objects, *, namespace=""):
        if any(MARK in meta.annotations_of(obj) for obj in objects):
            raise ApiStatusError("exceeded quota: tiny", code=403, reason="Forbidden")
        return super().apply(objects, namespace=namespace)


def test_where_the_graders_pod_is_refused_there_are_no_points_and_it_is_said_why():
    context = begun(Full)
    change(context, **OWN_TOOLS)
    result = grade(context, Wishes("one", "One", checks=[GET]))
    (finding,) = result.findings
    assert (finding.status, result.points) == (Status.ERROR, 0)
    assert "exceeded quota: tiny" in finding.lines[0]


def right(*_):
    return Completed((), 0, "HTTP/1.1 200 OK\n\nright")


def test_what_was_found_stands_though_the_graders_pods_cannot_be_taken_away():
    class Keeping(FakeCluster):
        def delete(self, resource, name, namespace="", *, grace=None):
            raise ApiStatusError("the disk is full", code=500, reason="InternalError")

    context = begun(Keeping)
    change(context, **OWN_TOOLS)
    context.cluster.on_exec = right
    result = grade(context, Wishes("one", "One", checks=[GET]))
    asks, problem = result.findings
    assert (asks.check, asks.status) == ("http", Status.PASSED)
    assert (problem.check, problem.status, result.points) == (askers.TITLE, Status.ERROR, 0)
    assert "the disk is full" in problem.lines[0]


def test_what_cannot_be_taken_away_keeps_nothing_else_back():
    class Picky(FakeCluster):
        def delete(self, resource, name, namespace="", *, grace=None):
            if name == "one":
                raise ApiStatusError("the disk is full", code=500, reason="InternalError")
            super().delete(resource, name, namespace, grace=grace)

    cluster = Picky()
    pods = [{**OLD, "metadata": {"name": name, "namespace": "shop"}} for name in ("one", "two")]
    cluster.apply(pods)
    with pytest.raises(ClusterError, match="shop/one: the disk is full"):
        remove(cluster, pods)
    assert [meta.name_of(pod) for pod in cluster.list("pods", "shop")] == ["one"]


@pytest.mark.parametrize("resource", ["namespaces", "deployments.apps", "pods", "services"])
def test_a_cluster_that_may_not_be_read_is_told_of_and_nothing_is_raised(resource):
    class Closed(FakeCluster):
        closed = ""

        def list(self, resource, namespace="", *, selector=""):
            if resource == self.closed:
                raise ApiStatusError("not yours", code=403, reason="Forbidden")
            return super().list(resource, namespace, selector=selector)

    context = begun(Closed)
    context.cluster.closed = resource
    (finding,) = grade(context, Wishes("one", "One", checks=[GET], may_change=[])).findings
    assert (finding.check, finding.status) == ("the cluster", Status.ERROR)
    assert "not yours" in finding.lines[0]


def crashes_after_the_second_look(context):
    pods = context.cluster._objects["pods"]

    def annotate(name, annotations):
        if annotations[NOTE] is None:  # the second look is over
            crash()
        return type(context.cluster)._annotate(context.cluster, name, annotations)

    def crash():
        pod = pods["shop", "crawler-1-0"]
        crashed = {**pod["status"], "containerStatuses": [{"restartCount": 1}]}
        pods["shop", "crawler-1-0"] = {**pod, "status": crashed}

    context.cluster._annotate = annotate


def test_a_workload_that_crashes_after_the_first_look_earns_nothing_either():
    context = begun()
    change(context, **OWN_TOOLS)
    context.cluster.on_exec = right
    crashes_after_the_second_look(context)
    free = ["deployments.apps/crawler"]
    wishes = Wishes("one", "One", checks=[GET], may_change=free, fresh_pods=True)
    result = grade(context, wishes)
    assert result.status is Status.FAILED, result.text()
    assert "it was started again" in result.findings[-1].lines[0]


def test_nor_does_it_where_another_part_of_the_exercise_fails_with_new_pods():
    context = begun()
    change(context, **OWN_TOOLS)
    asked_before = []

    def on_exec(space, pod, argv):
        if "http://other/" in argv:
            asked_before.append(pod)
        if len(asked_before) < 2 or "http://other/" not in argv:
            return right(space, pod, argv)
        return Completed(tuple(argv), 0, "HTTP/1.1 200 OK\n\nno more")

    context.cluster.on_exec = on_exec
    crashes_after_the_second_look(context)
    checks = [{**GET, "group": "web"}, {**GET, "url": "http://other/", "group": "other"}]
    free, credit = ["deployments.apps/crawler"], {"web": 1, "other": 1}
    result = grade(context, Wishes("one", "One", 2, (), checks, free, (), credit, fresh_pods=True))
    assert result.groups == {"web": False, "other": False}, result.text()
    assert "it was started again" in result.findings[-1].lines[0]


def test_a_paused_roll_out_is_named_with_what_ends_it():
    context = begun()
    change(context, **OWN_TOOLS)
    deployment = copy.deepcopy(context.cluster.get("deployments.apps", "crawler", "shop"))
    deployment["spec"]["paused"] = True
    context.cluster._put({**deployment, "status": {"replicas": 1, "updatedReplicas": 0}})
    (finding,) = asked(context)
    assert "kubectl rollout resume" in finding.lines[0]
    command = "kubectl -n shop rollout status deployment/crawler --watch=false"
    assert finding.counterexample.replay == command


def test_what_is_paused_is_not_rolled_out_by_a_check():
    context = begun()
    deployment = copy.deepcopy(context.cluster.get("deployments.apps", "crawler", "shop"))
    deployment["spec"]["paused"] = True
    context.cluster._put(deployment)
    spec = {"check": "rollout", "deployment": "crawler", "from": ASKER, "url": "http://web/"}
    found = run_check(context, spec)
    assert (found.status, found.counterexample.seen) == (Status.FAILED, "it is paused")


def test_a_graders_pod_that_ends_is_not_waited_for():
    class Evicting(FakeCluster):
        def wait(self, resource, name="", namespace="", *, until="ready", deadline=60.0):
            (found,) = super().wait(resource, name, namespace, until=until, deadline=deadline)
            if not callable(until):
                return [found]
            gone = {**found, "status": {"phase": "Failed", "message": "Pod was rejected"}}
            assert until(gone)
            return [gone]

    context = begun(Evicting)
    change(context, **OWN_TOOLS)
    (finding,) = asked(replace(context, deadline=0.0))
    assert finding.status is Status.ERROR
    assert "Pod was rejected" in finding.lines[0]


def test_who_cannot_be_asked_is_not_tried_again():
    context = begun(Full)
    change(context, **OWN_TOOLS)
    moving = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"}}
    with placed(context, [GET], Snapshot(context.cluster)) as own:
        context.cluster._put({**moving, "spec": {}, "status": {"phase": "Pending"}})
        began = time.monotonic()
        found = run_check(replace(own, deadline=30.0), GET)
    assert found.status is Status.ERROR
    assert time.monotonic() - began < 15


def test_no_pod_is_put_beside_one_whose_workload_would_adopt_it():
    context = with_a_set()
    pod = context.cluster.get("pods", "db-0", "shop")
    owner = {"kind": "DaemonSet", "name": "db", "controller": True}
    pod["metadata"]["ownerReferences"] = [owner]
    checks = [{**GET, "from": "db-0"}]
    with placed(context, checks, Snapshot(context.cluster)) as own:
        with pytest.raises(ProbeError, match="daemonset db would take it for one of its pods"):
            own.asker("db-0")
        assert context.cluster.list("pods", "shop")[1:] == [pod]


def test_what_a_killed_check_left_behind_goes_though_anything_may_be_changed():
    context = begun()
    left = {"name": "crawler-0a1b", "namespace": "shop", "annotations": {MARK: "shop"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": left, "spec": OWN_TOOLS}
    context.cluster.apply([pod])
    grade(context, Wishes("one", "One", checks=[GET]))
    assert context.cluster.get("pods", "crawler-0a1b", "shop") is None


@pytest.mark.parametrize(
    ("named", "taken"), [("side", "side"), ("mine", "tools"), ("no-such", "tools"), ("", "tools")]
)
def test_a_sidecar_is_asked_where_an_annotation_says_so_and_no_ephemeral_container(named, taken):
    asked = []

    class Cluster(FakeCluster):
        def exec(self, namespace, pod, argv, *, container="", **_):
            asked.append(container)
            return Completed(tuple(argv), 0, "")

    cluster = Cluster()
    key = "kubectl.kubernetes.io/default-container"
    metadata = {"name": "client", "namespace": "shop", "annotations": {key: named}}
    spec = {
        "initContainers": [{"name": "side", "restartPolicy": "Always"}],
        "containers": [{"name": "tools"}],
        "ephemeralContainers": [{"name": "mine"}],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    cluster.apply([pod])
    run_in_pod(cluster, Party("pod", "client", "shop"), ["true"])
    assert asked == [taken]


def test_nobody_is_said_to_have_asked_where_nobody_could():
    context = begun(Changing)
    change(context, dnsPolicy="None", **OWN_TOOLS)
    (finding,) = asked(context)
    assert finding.status is not Status.PASSED
    assert "something changed its dnsPolicy" in "".join(finding.lines)
    assert not any("of the grader's own asked" in line for line in finding.lines)


def test_the_name_of_the_graders_pod_is_never_that_of_a_stateful_sets_member(monkeypatch):
    monkeypatch.setattr(askers.secrets, "token_hex", lambda number: "1" * 2 * number)
    context = begun()
    change(context, **OWN_TOOLS)
    with asking(context) as pod:
        assert not meta.name_of(pod).rpartition("-")[2].isdigit()
