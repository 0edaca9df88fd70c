"""Server-side apply: ownership, conflicts, removal."""

from __future__ import annotations

import json

import pytest

from k8slab.embedded.apiserver import ownership

APPLY = "application/apply-patch+yaml"


@pytest.fixture
def apply(server, namespace):
    def applied(data, manager="one", query="", name="c"):
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": data,
        }
        path = f"/api/v1/namespaces/{namespace}/configmaps/{name}?fieldManager={manager}{query}"
        return server.request("PATCH", path, json.dumps(body), kind=APPLY)

    return applied


def test_the_first_apply_creates_and_owns(apply):
    made = apply({"a": "1"})
    assert made.status == 201
    entry = made.json["metadata"]["managedFields"][0]
    assert (entry["manager"], entry["operation"]) == ("one", "Apply")
    assert entry["fieldsV1"] == {"f:data": {"f:a": {}}}


def test_a_field_that_is_no_longer_stated_is_removed(apply):
    apply({"a": "1", "b": "2"})
    assert apply({"b": "2"}).json["data"] == {"b": "2"}


def test_another_managers_field_with_another_value_is_a_conflict(apply):
    apply({"a": "1"})
    answer = apply({"a": "2"}, "two")
    assert answer.status == 409
    assert answer.json["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    assert answer.json["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "one"',
            "field": ".data.a",
        }
    ]


def test_another_value_gives_a_field_managers_entry_another_time(apply, monkeypatch):
    times = (f"2026-01-01T00:00:{second:02}Z" for second in range(60))
    monkeypatch.setattr(ownership, "now_text", lambda: next(times))

    def stamp(data):
        return apply(data).json["metadata"]["managedFields"][0]["time"]

    first = stamp({"a": "1"})
    assert stamp({"a": "1"}) == first
    assert stamp({"a": "2"}) > first


def test_force_takes_a_field_over(apply):
    apply({"a": "1", "b": "1"})
    forced = apply({"a": "2"}, "two", "&force=true").json
    assert forced["data"] == {"a": "2", "b": "1"}
    owners = {e["manager"]: e["fieldsV1"] for e in forced["metadata"]["managedFields"]}
    assert owners == {"one": {"f:data": {"f:b": {}}}, "two": {"f:data": {"f:a": {}}}}


def test_the_same_value_is_owned_together_and_goes_with_the_last_owner(apply):
    apply({"a": "1"})
    apply({"a": "1"}, "two")
    assert apply({}, "one").json["data"] == {"a": "1"}
    assert "a" not in apply({}, "two").json.get("data", {})


def test_an_update_takes_the_fields_that_it_changes(server, namespace, apply):
    apply({"a": "1"})
    path = f"/api/v1/namespaces/{namespace}/configmaps/c?fieldManager=editor"
    server.request("PATCH", path, {"data": {"a": "2"}}, kind="application/merge-patch+json")
    answer = apply({"a": "3"})
    assert answer.status == 409
    assert 'conflict with "editor" using v1 at ' in answer.json["message"]


def test_applying_the_same_again_writes_nothing(server, apply):
    first = apply({"a": "1"}).json
    assert apply({"a": "1"}).json == first


def test_lists_with_keys_merge_by_item(server, namespace, make_deployment):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    mine = make_deployment(namespace=namespace)
    container = mine["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    container["ports"] = [{"containerPort": 80}, {"containerPort": 81}]
    server.request("PATCH", f"{path}?fieldManager=one", json.dumps(mine), kind=APPLY)
    other = make_deployment(namespace=namespace)
    other["spec"]["template"]["spec"]["containers"].append({"name": "side", "image": "busybox"})
    both = server.request("PATCH", f"{path}?fieldManager=two", json.dumps(other), kind=APPLY).json
    names = [c["name"] for c in both["spec"]["template"]["spec"]["containers"]]
    assert names == ["main", "side"]
    container["env"].pop(0)
    container["ports"].pop(1)
    left = server.request("PATCH", f"{path}?fieldManager=one", json.dumps(mine), kind=APPLY).json
    main = left["spec"]["template"]["spec"]["containers"][0]
    assert main["env"] == [{"name": "B", "value": "2"}]
    assert main["ports"] == [{"containerPort": 80, "protocol": "TCP"}]


PROBE = {"httpGet": {"path": "/ready", "port": 8080}}


def deployment(name, **container):
    template = {"labels": {"app": name}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": template,
                "spec": {"containers": [{"name": "c", "image": "i", **container}]},
            },
        },
    }


def test_a_structure_goes_with_the_defaults_in_it_when_nobody_states_it_any_more(server, namespace):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/probed"

    def container(manager="one", **fields):
        body = json.dumps(deployment("probed", **fields))
        answer = server.request("PATCH", f"{path}?fieldManager={manager}", body, kind=APPLY)
        assert answer.status in {200, 201}, answer.json
        [made] = answer.json["spec"]["template"]["spec"]["containers"]
        return made

    assert container(readinessProbe=PROBE)["readinessProbe"]["periodSeconds"] == 10
    assert "readinessProbe" not in container()
    container(readinessProbe=PROBE)
    container("two", readinessProbe={"periodSeconds": 10})
    assert server.request("PATCH", f"{path}?fieldManager=one",
                          json.dumps(deployment("probed")), kind=APPLY).status == 422, (
        "another manager still wants a period, and a probe needs a handler"
    )  # fmt: skip


def test_the_only_label_goes_and_the_rest_of_the_metadata_stays(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps/labelled?fieldManager=one"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "labelled"}}
    labelled = {**body, "metadata": {"name": "labelled", "labels": {"a": "1"}}}
    server.request("PATCH", path, json.dumps({**labelled, "data": {"k": "v"}}), kind=APPLY)
    answer = server.request("PATCH", path, json.dumps(body), kind=APPLY)
    assert answer.status == 200
    assert not answer.json["metadata"].get("labels")
    assert not answer.json.get("data")
    assert answer.json["metadata"]["uid"]


def test_a_manager_is_required(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps/c"
    body = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}'
    answer = server.request("PATCH", path, body, kind=APPLY)
    assert answer.status == 422
    assert "fieldManager: Required value: is required for apply patch" in answer.json["message"]
