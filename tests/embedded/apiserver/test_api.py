"""The in-process Api: metadata, conflicts, defaults, deletion, generations."""

from __future__ import annotations

import pytest

from k8slab.embedded.apiserver import objectmeta
from k8slab.errors import ApiStatusError


def refused(call, *args, **kwargs) -> ApiStatusError:
    with pytest.raises(ApiStatusError) as error:
        call(*args, **kwargs)
    return error.value


def test_a_created_object_has_uid_time_version_and_defaults(api, make_pod):
    made = api.create("pods", make_pod())
    metadata = made["metadata"]
    assert metadata["uid"]
    assert metadata["creationTimestamp"].endswith("Z")
    assert metadata["generation"] == 1
    assert made["spec"]["restartPolicy"] == "Always"
    assert made["spec"]["containers"][0]["imagePullPolicy"] == "Always"
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


def test_the_callers_object_is_left_as_it_was(api, make_pod):
    mine = make_pod()
    api.create("pods", mine)
    assert mine == make_pod()


def test_generate_name_appends_five_letters(api, make_pod):
    mine = make_pod(name="")
    mine["metadata"]["generateName"] = "web-"
    name = api.create("pods", mine)["metadata"]["name"]
    assert name.startswith("web-")
    assert len(name) == 9


def test_a_taken_name_is_refused(api, make_pod):
    api.create("pods", make_pod())
    error = refused(api.create, "pods", make_pod())
    assert (error.code, error.reason) == (409, "AlreadyExists")
    assert error.message == 'pods "web" already exists'


def test_an_old_version_conflicts(api, make_deployment):
    first = api.create("deployments.apps", make_deployment())
    api.patch("deployments.apps", "web", "default", {"spec": {"replicas": 2}})
    error = refused(api.update, "deployments.apps", first)
    assert error.code == 409
    assert error.message == (
        'Operation cannot be fulfilled on deployments.apps "web": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


def test_an_update_that_changes_nothing_writes_nothing(api, make_deployment):
    made = api.create("deployments.apps", make_deployment())
    revision = api.store.revision
    assert api.update("deployments.apps", made) is made
    assert api.store.revision == revision


def test_generation_counts_changes_of_the_spec_only(api, make_deployment):
    made = api.create("deployments.apps", make_deployment())
    labelled = api.patch("deployments.apps", "web", "default", {"metadata": {"labels": {"a": "b"}}})
    scaled = api.patch("deployments.apps", "web", "default", {"spec": {"replicas": 3}})
    told = api.update_status("deployments.apps", {**scaled, "status": {"replicas": 3}})
    assert [o["metadata"]["generation"] for o in (made, labelled, scaled, told)] == [1, 1, 2, 2]


def test_status_and_the_rest_are_written_apart(api, make_deployment):
    made = api.create("deployments.apps", {**make_deployment(), "status": {"replicas": 9}})
    assert made.get("status") is None
    spec = {**made["spec"], "replicas": 7}
    told = api.update_status("deployments.apps", {**made, "spec": spec, "status": {"replicas": 1}})
    assert told["spec"]["replicas"] == 1
    assert told["status"] == {"replicas": 1}
    changed = api.update("deployments.apps", {**told, "spec": spec, "status": {"replicas": 5}})
    assert changed["spec"]["replicas"] == 7
    assert changed["status"] == {"replicas": 1}


def test_uid_and_creation_time_cannot_be_changed(api, make_pod):
    made = api.create("pods", make_pod())
    forged = {**made, "metadata": {**made["metadata"], "creationTimestamp": "2001-01-01T00:00:00Z"}}
    forged["metadata"]["labels"] = {"a": "b"}
    stamp = api.update("pods", forged)["metadata"]["creationTimestamp"]
    assert stamp == made["metadata"]["creationTimestamp"]
    forged = {**made, "metadata": {**made["metadata"], "uid": "other", "resourceVersion": ""}}
    assert refused(api.update, "pods", forged).code == 409


def test_nothing_can_be_made_in_a_missing_or_ending_namespace(api, make_pod):
    assert refused(api.create, "pods", make_pod(namespace="x")).message == (
        'namespaces "x" not found'
    )
    api.create("namespaces", {"metadata": {"name": "x"}})
    api.delete("namespaces", "x")
    error = refused(api.create, "pods", make_pod(namespace="x"))
    assert error.code == 403
    assert error.message == (
        'pods "web" is forbidden: unable to create new content in namespace x '
        "because it is being terminated"
    )


def test_a_namespace_stays_until_it_is_finalized(api):
    api.create("namespaces", {"metadata": {"name": "x"}})
    api.delete("namespaces", "x")
    ending = api.get("namespaces", "x")
    assert ending["status"]["phase"] == "Terminating"
    api.patch("namespaces", "x", "", {"spec": {"finalizers": None}}, subresource="finalize")
    assert api.get("namespaces", "x") is None


def test_an_unscheduled_pod_goes_at_once(api, make_pod):
    api.create("pods", make_pod())
    api.delete("pods", "web", "default")
    assert api.get("pods", "web", "default") is None


def test_a_running_pod_stays_until_its_node_says_that_it_has_ended(api, make_pod):
    api.bind(api.create("pods", make_pod()), "node-1")
    marked = api.delete("pods", "web", "default")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
    assert api.get("pods", "web", "default")["metadata"]["deletionTimestamp"]
    sooner = api.delete("pods", "web", "default", grace=5)
    assert sooner["metadata"]["deletionGracePeriodSeconds"] == 5
    later = api.delete("pods", "web", "default", grace=60)
    assert later["metadata"]["deletionGracePeriodSeconds"] == 5
    api.delete("pods", "web", "default", grace=0)
    assert api.get("pods", "web", "default") is None


def test_finalizers_hold_an_object_until_they_are_gone(api):
    metadata = {"name": "c", "namespace": "default", "finalizers": ["example.com/hold"]}
    api.create("configmaps", {"metadata": metadata})
    api.delete("configmaps", "c", "default")
    held = api.get("configmaps", "c", "default")
    assert held["metadata"]["deletionTimestamp"]
    more = {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}
    assert "no new finalizers" in refused(api.patch, "configmaps", "c", "default", more).message
    api.patch("configmaps", "c", "default", {"metadata": {"finalizers": None}})
    assert api.get("configmaps", "c", "default") is None


@pytest.mark.parametrize(
    ("propagation", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")]
)
def test_propagation_leaves_a_finalizer_for_the_garbage_collector(
    api, make_deployment, propagation, finalizer
):
    api.create("deployments.apps", make_deployment())
    api.delete("deployments.apps", "web", "default", propagation=propagation)
    held = api.get("deployments.apps", "web", "default")
    assert held["metadata"]["finalizers"] == [finalizer]


def test_a_delete_with_another_uid_is_refused(api, make_pod):
    api.create("pods", make_pod())
    error = refused(api.delete, "pods", "web", "default", uid="other")
    assert error.code == 409
    assert 'on Pod "web": the UID in the precondition (other) does not match' in error.message


def test_a_pod_gets_its_service_account_and_token_volume(api, make_pod):
    made = api.create("pods", make_pod())
    assert made["spec"]["serviceAccountName"] == "default"
    assert made["spec"]["volumes"][0]["name"].startswith("kube-api-access-")
    mounts = made["spec"]["containers"][0]["volumeMounts"]
    assert mounts[0]["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    plain = api.create("pods", make_pod("plain", automountServiceAccountToken=False))
    assert "volumes" not in plain["spec"]
    assert (
        "not found"
        in refused(api.create, "pods", make_pod("z", serviceAccountName="nobody")).message
    )


def test_scale_reads_and_writes_the_replicas(api, make_deployment):
    api.create("deployments.apps", make_deployment())
    scaled = api.update_scale("deployments.apps", "web", "default", {"spec": {"replicas": 4}})
    assert scaled["spec"] == {"replicas": 4}
    assert scaled["status"]["selector"] == "app=web"
    assert api.get("deployments.apps", "web", "default")["spec"]["replicas"] == 4
    error = refused(
        api.update_scale, "deployments.apps", "web", "default", {"spec": {"replicas": -1}}
    )
    assert "must be greater than or equal to 0" in error.message


def test_replicas_below_zero_are_refused_with_the_message_of_a_real_server(api, make_deployment):
    error = refused(api.create, "deployments.apps", make_deployment(replicas=-1))
    assert error.code == 422
    assert error.message == (
        'Deployment.apps "web" is invalid: spec.replicas: Invalid value: -1: '
        "must be greater than or equal to 0"
    )
    assert error.details["causes"][0]["field"] == "spec.replicas"


def test_a_generated_name_that_is_taken_is_generated_anew(api, monkeypatch):
    letters = iter(["aaaaa", "aaaaa", "aaaaa", "bbbbb"])
    monkeypatch.setattr(objectmeta, "random_suffix", lambda: next(letters))
    body = {"metadata": {"generateName": "c-", "namespace": "default"}}
    names = [api.create("configmaps", body)["metadata"]["name"] for _ in range(2)]
    assert names == ["c-aaaaa", "c-bbbbb"]
    monkeypatch.setattr(objectmeta, "random_suffix", lambda: "aaaaa")
    assert refused(api.create, "configmaps", body).code == 409


def test_a_name_of_what_is_still_being_deleted_is_told_as_such(api):
    metadata = {"name": "c", "namespace": "default", "finalizers": ["example.com/hold"]}
    api.create("configmaps", {"metadata": metadata})
    api.delete("configmaps", "c", "default")
    taken = refused(api.create, "configmaps", {"metadata": {"name": "c", "namespace": "default"}})
    assert taken.message == 'object is being deleted: configmaps "c" already exists'
