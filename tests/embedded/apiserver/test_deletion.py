"""What a second delete request changes, and what one says of dependents."""

from __future__ import annotations

import pytest

from k8slab.embedded.apiserver import deletion
from k8slab.embedded.apiserver.kinds import KindTable

START, HELD = "2030-01-01T00:00:", "x.test/held"
KINDS = KindTable.built_in()


def marked(obj, *, grace=None, propagation="", resource="pods"):
    return deletion.mark(KINDS.of(resource), obj, grace=grace, propagation=propagation)


def going(seconds, *finalizers):
    """A running pod whose grace period of so many seconds (60 at most) has begun."""
    metadata = {
        "name": "a",
        "generation": 2,
        "deletionTimestamp": f"{START}{seconds:02}Z",
        "deletionGracePeriodSeconds": seconds,
        **({"finalizers": list(finalizers)} if finalizers else {}),
    }
    return {"metadata": metadata, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}}


@pytest.mark.parametrize("grace", [None, 45, 50])
def test_a_period_that_runs_is_not_changed_by_a_longer_one_or_none(grace):
    pod = going(45)
    assert marked(pod, grace=grace, propagation="Foreground") is pod


def test_a_shorter_period_counts_from_the_first_request():
    metadata = marked(going(45), grace=10)["metadata"]
    assert metadata["deletionTimestamp"] == f"{START}10Z"
    assert (metadata["deletionGracePeriodSeconds"], metadata["generation"]) == (10, 2)


def test_no_grace_ends_a_pod_at_once_unless_a_finalizer_holds_it():
    kind = KINDS.of("pods")
    assert deletion.is_finished(kind, marked(going(45), grace=0))
    assert not deletion.is_finished(kind, marked(going(45, HELD), grace=0))


@pytest.mark.parametrize(
    ("policies", "finalizers"),
    [
        (["Foreground", "Background"], [HELD]),
        (["Foreground", "Orphan"], [HELD, "orphan"]),
        (["Orphan", "Foreground"], [HELD, "foregroundDeletion"]),
        (["Orphan", ""], [HELD, "orphan"]),
        (["Foreground", ""], [HELD, "foregroundDeletion"]),
    ],
)
def test_the_last_policy_that_was_given_counts(policies, finalizers):
    obj = {"metadata": {"name": "a", "finalizers": [HELD]}}
    for policy in policies:
        obj = marked(obj, propagation=policy, resource="configmaps")
    assert obj["metadata"]["finalizers"] == finalizers


def test_a_later_request_leaves_the_time_of_the_first():
    obj = going(0, HELD, "foregroundDeletion")
    changed = marked(obj, propagation="Background", resource="configmaps")["metadata"]
    assert changed["deletionTimestamp"] == obj["metadata"]["deletionTimestamp"]
    assert changed["finalizers"] == [HELD]


def test_what_waits_for_its_dependents_goes_when_it_is_deleted_in_the_background(api):
    space = "default"
    api.create("configmaps", {"metadata": {"name": "a", "namespace": space}})
    api.delete("configmaps", "a", space, propagation="Foreground")
    assert api.get("configmaps", "a", space)
    api.delete("configmaps", "a", space, propagation="Background")
    assert api.get("configmaps", "a", space) is None


def test_a_job_leaves_its_pods_behind_unless_the_request_says_otherwise(server, namespace):
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}
    for name, query, left in (
        ("plain", "", ["orphan"]),
        ("policy", "?propagationPolicy=Background", None),
        ("old", "?orphanDependents=false", None),
    ):
        job = {"metadata": {"name": name}, "spec": {"template": template}}
        assert server.request("POST", path, job).status == 201
        server.request("DELETE", f"{path}/{name}{query}")
        found = server.request("GET", f"{path}/{name}")
        assert found.status == (200 if left else 404), name
        assert (found.json.get("metadata") or {}).get("finalizers") == left, name


def test_a_namespace_that_is_being_deleted_is_not_marked_anew():
    space = going(0)
    space["spec"] = {"finalizers": ["kubernetes"]}
    assert marked(space, propagation="Orphan", resource="namespaces") is space
