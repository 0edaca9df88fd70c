"""Server-side apply: ownership, conflicts, removal."""

from __future__ import annotations

import json

import pytest

from k8slab.embedded.apiserver import ownership
from k8slab.embedded.apiserver.apply import merge
from k8slab.embedded.apiserver.lastapplied import ANNOTATION
from k8slab.embedded.apiserver.schema import type_of
from k8slab.embedded.apiserver.validation.metadata import ANNOTATIONS_LIMIT

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


def test_who_scales_a_workload_owns_its_replicas_through_the_scale(
    server, namespace, make_deployment
):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    body = {"apiVersion": "apps/v1", "kind": "Deployment", **make_deployment(namespace=namespace)}
    body["spec"]["replicas"] = 2
    query, merge = "?fieldManager=one", "application/merge-patch+json"
    text = json.dumps(body)
    assert server.request("PATCH", f"{path}{query}", text, kind=APPLY).status == 201
    for count in (5, 3):
        scale = {"spec": {"replicas": count}}
        server.request("PATCH", f"{path}/scale?fieldManager=kubectl", scale, kind=merge)
    found = server.request("GET", path).json["metadata"]["managedFields"]
    (entry,) = (one for one in found if one["manager"] == "kubectl")
    assert entry == {
        "manager": "kubectl",
        "operation": "Update",
        "apiVersion": "apps/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
        "subresource": "scale",
    }
    assert server.request("PATCH", f"{path}{query}", text, kind=APPLY).json["message"] == (
        'Apply failed with 1 conflict: conflict with "kubectl" with subresource "scale" '
        "using apps/v1: .spec.replicas"
    )


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


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"apiVersion": "v2"}, 400, "Specified patch version: v2, expected: v1"),
        ({"apiVersion": None}, 400, "Specified patch version: , expected: v1"),
        ({"metadata": {"name": "b"}}, 400, "the name of the object (b) does not match the name on"),
        (
            {"metadata": {"name": "c", "uid": "1"}},
            409,
            "uid mismatch: the provided object specified",
        ),
    ],
)
def test_a_configuration_is_of_the_object_that_the_path_names(
    server, namespace, body, status, message
):
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, **body}
    path = f"/api/v1/namespaces/{namespace}/configmaps/c?fieldManager=one"
    answer = server.request("PATCH", path, json.dumps(wanted), kind=APPLY)
    assert answer.status == status
    assert message in answer.json["message"]


def test_nobody_owns_what_a_path_cannot_change(server, namespace, make_deployment):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    server.request("POST", path, make_deployment("web", namespace))
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
    body |= {"spec": {"replicas": 2}, "status": {"replicas": 7}}

    def owned(place):
        made = server.request("PATCH", f"{path}/{place}?fieldManager=one&force=1", body, kind=APPLY)
        entries = made.json["metadata"]["managedFields"]
        return next(entry["fieldsV1"] for entry in entries if entry["manager"] == "one")

    assert owned("web") == {"f:spec": {"f:replicas": {}}}
    assert owned("web/status") == {"f:status": {"f:replicas": {}}}


def test_one_empty_entry_strips_the_managed_fields(server, namespace, apply):
    apply({"a": "1"})
    path = f"/api/v1/namespaces/{namespace}/configmaps/c"
    kept = {"metadata": {"managedFields": [{"operation": "Bogus"}]}}
    merge = "application/merge-patch+json"
    assert server.request("PATCH", path, kept, kind=merge).json["metadata"]["managedFields"]
    stripped = {"metadata": {"managedFields": [{}]}}
    assert (
        "managedFields" not in server.request("PATCH", path, stripped, kind=merge).json["metadata"]
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"f:data": {"f:a": "b"}},
        {"data": {}},
        {"f:data": {"k:[]": {}}},
        {"f:data": {"k:{": {}}},
        {"f:data": {"v:x": {}}},
        {"f:data": {"i:0": {}}},
        [],
        None,
    ],
)
def test_managed_fields_that_cannot_be_read_leave_the_old_ones(server, namespace, apply, fields):
    held = apply({"a": "1"}).json["metadata"]["managedFields"]
    path = f"/api/v1/namespaces/{namespace}/configmaps/c"
    entry = {**held[0], "manager": "odd", "fieldsV1": fields}
    sent = {"metadata": {"managedFields": [entry]}}
    kept = server.request("PATCH", path, sent, kind="application/merge-patch+json").json
    assert kept["metadata"]["managedFields"] == held
    assert apply({"a": "2"}).status == 200


def test_managed_fields_that_a_client_sends_are_kept(server, namespace, apply):
    (entry,) = apply({"a": "1"}).json["metadata"]["managedFields"]
    path = f"/api/v1/namespaces/{namespace}/configmaps/c"
    sent = {"metadata": {"managedFields": [{**entry, "manager": "heir"}]}}
    server.request("PATCH", path, sent, kind="application/merge-patch+json")
    refused = apply({"a": "2"})
    assert refused.json["message"] == 'Apply failed with 1 conflict: conflict with "heir": .data.a'


@pytest.mark.parametrize(
    ("live", "applied", "merged"),
    [
        ("ab", "c", "abc"),
        ("ab", "cab", "cab"),
        ("ab", "ba", "ba"),
        ("axb", "ba", "xba"),
        ("cx", "nc", "ncx"),
        ("xcy", "cn", "xcyn"),
        ("", "ab", "ab"),
        ("abc", "", "abc"),
    ],
)
def test_what_is_applied_comes_after_what_is_there(live, applied, merged):
    schema = type_of("io.k8s.api.core.v1.PodSpec")

    def spec(names, image):
        return {"containers": [{"name": name, "image": image} for name in names]}

    made = merge(spec(live, "old"), spec(applied, "new"), schema)["containers"]
    assert "".join(item["name"] for item in made) == merged
    assert all(item["image"] == ("new" if item["name"] in applied else "old") for item in made)
    held = {"metadata": {"finalizers": list(live)}}
    wanted = {"metadata": {"finalizers": list(applied)}}
    pod = type_of("io.k8s.api.core.v1.Pod")
    assert "".join(merge(held, wanted, pod)["metadata"]["finalizers"]) == merged


MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: moved, namespace: SPACE}
data: {changed: "1", dropped: "1", foreign: "1"}
"""


def test_kubectl_goes_from_client_side_to_server_side_apply_and_back(server, namespace, kubectl):
    first = MANIFEST.replace("SPACE", namespace)
    assert kubectl("apply", "-f", "-", stdin=first).returncode == 0
    second = first.replace('changed: "1", dropped: "1"', 'changed: "2"')
    moved = kubectl("apply", "--server-side", "-f", "-", stdin=second)
    assert moved.returncode == 0, moved.stderr
    path = f"/api/v1/namespaces/{namespace}/configmaps/moved"
    found = server.request("GET", path).json
    assert found["data"] == {"changed": "2", "foreign": "1"}
    managers = {entry["manager"] for entry in found["metadata"]["managedFields"]}
    assert "kubectl-client-side-apply" not in managers
    third = second.replace('changed: "2", ', "")
    assert kubectl("apply", "-f", "-", stdin=third).returncode == 0
    assert server.request("GET", path).json["data"] == {"foreign": "1"}


def test_what_another_has_changed_since_client_side_apply_stays_a_conflict(
    server, namespace, kubectl
):
    first = MANIFEST.replace("SPACE", namespace)
    assert kubectl("apply", "-f", "-", stdin=first).returncode == 0
    path = f"/api/v1/namespaces/{namespace}/configmaps/moved"
    theirs = {"data": {"foreign": "2"}}
    merge = "application/merge-patch+json"
    server.request("PATCH", f"{path}?fieldManager=other", theirs, kind=merge)
    second = first.replace('changed: "1"', 'changed: "2"')
    refused = kubectl("apply", "--server-side", "-f", "-", stdin=second)
    assert 'Apply failed with 1 conflict: conflict with "other"' in refused.stderr
    assert ".data.foreign" in refused.stderr


def noted(server, namespace, note):
    """Make a ConfigMap with a note of a client-side apply; return its path."""
    metadata = {"name": "c", "annotations": {ANNOTATION: note, "mine": "1"}}
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert server.request("POST", path, {"metadata": metadata}).status == 201
    return f"{path}/c"


@pytest.mark.parametrize("letter", ["x", "\N{LATIN SMALL LETTER U WITH DIAERESIS}"])
def test_a_note_of_client_side_apply_for_which_there_is_no_room_is_dropped(
    server, namespace, apply, letter
):
    path = noted(server, namespace, json.dumps({"apiVersion": "v1", "kind": "ConfigMap"}))
    assert apply({"a": "1"}, manager="kubectl").status == 200
    annotations = server.request("GET", path).json["metadata"]["annotations"]
    assert json.loads(annotations[ANNOTATION])["data"] == {"a": "1"}
    text = letter * (ANNOTATIONS_LIMIT // len(letter.encode()))
    larger = apply({"a": text}, manager="kubectl")
    assert larger.status == 200, larger.json
    assert larger.json["metadata"]["annotations"] == {"mine": "1"}


def test_an_empty_note_of_client_side_apply_is_none(server, namespace, apply):
    noted(server, namespace, "")
    applied = apply({"a": "1"}, manager="kubectl").json
    assert applied["metadata"]["annotations"] == {ANNOTATION: "", "mine": "1"}


def test_nobody_owns_what_admission_adds_to_a_new_pod(server, namespace, make_pod):
    path = f"/api/v1/namespaces/{namespace}/pods"
    made = server.request("POST", path, make_pod("a", namespace)).json
    (entry,) = made["metadata"]["managedFields"]
    owned = entry["fieldsV1"]["f:spec"]
    assert made["spec"]["tolerations"]
    assert "f:dnsPolicy" in owned
    assert not {"f:tolerations", "f:priority", "f:serviceAccountName", "f:volumes"} & owned.keys()


def test_nobody_owns_the_port_that_is_allocated_for_a_changed_service(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/services"
    spec = {"ports": [{"port": 80}], "selector": {"app": "x"}}
    new = {"metadata": {"name": "s"}, "spec": spec}
    assert server.request("POST", f"{path}?fieldManager=one", new).status == 201
    merge, node_port = "application/merge-patch+json", {"spec": {"type": "NodePort"}}
    changed = server.request("PATCH", f"{path}/s?fieldManager=two", node_port, kind=merge).json
    assert changed["spec"]["ports"][0]["nodePort"]
    first, second = changed["metadata"]["managedFields"]
    assert (first["manager"], second["manager"]) == ("one", "two")
    assert "f:nodePort" not in json.dumps([first, second])
    assert "f:type" in second["fieldsV1"]["f:spec"]
    # Who leaves out what was allocated changes nothing: it was nobody's.
    bare = {**changed, "spec": {**spec, "type": "NodePort"}}
    again = server.request("PUT", f"{path}/s?fieldManager=one", bare).json
    assert again["spec"]["clusterIP"] == changed["spec"]["clusterIP"]
    assert again["metadata"]["managedFields"] == changed["metadata"]["managedFields"]
    assert again["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]


_CONTAINERS = ".spec.template.spec.containers"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"replicas": "2"}, ".spec.replicas: expected numeric (int or float), got string"),
        ({"paused": "no"}, ".spec.paused: expected boolean, got &{no}"),
        ({"template": 1}, ".spec.template: expected map, got &{1}"),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": [1]}}},
            ".spec.strategy.rollingUpdate.maxSurge: expected any scalar, got &{[1]}",
        ),
        (
            {"template": {"metadata": {"labels": {"a": 1}}}},
            (
                ".spec.template.metadata.labels.a: expected string, "
                "got &value.valueUnstructured{Value:1}"
            ),
        ),
        (
            {"template": {"spec": {"containers": "x"}}},
            f"{_CONTAINERS}: expected list, got &{{x}}",
        ),
        (
            {"template": {"spec": {"containers": [{"image": "x"}]}}},
            (
                f"{_CONTAINERS}: element 0: associative list with keys has an element that omits "
                'all key fields ["name"] (and doesn\'t have default values for any key fields)'
            ),
        ),
        (
            {"template": {"spec": {"containers": [{"name": "a", "env": [{"name": "E"}] * 2}]}}},
            f'{_CONTAINERS}[name="a"].env: duplicate entries for key [name="E"]',
        ),
        (
            {
                "foo": 1,
                "template": {
                    "spec": {"containers": [{"name": "a", "env": [{"name": "E", "value": True}]}]}
                },
            },
            (
                "errors:\n  .spec.foo: field not declared in schema\n"
                f'  {_CONTAINERS}[name="a"].env[name="E"].value: expected string, '
                "got &value.valueUnstructured{Value:true}"
            ),
        ),
    ],
)
def test_what_does_not_fit_the_schema_is_told_by_the_keys_of_lists(server, namespace, spec, words):
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web?fieldManager=me"
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
    answer = server.request("PATCH", path, json.dumps({**body, "spec": spec}), kind=APPLY)
    place = "(/web; apps/v1, Kind=Deployment)"
    assert answer.status == 400
    assert answer.json["message"] == f"failed to create typed patch object {place}: {words}"


def test_metadata_that_is_no_object_is_told_and_breaks_nothing(server, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps/c?fieldManager=me"
    body = '{"apiVersion":"v1","kind":"ConfigMap","metadata":[]}'
    answer = server.request("PATCH", path, body, kind=APPLY)
    assert answer.status == 400
    assert answer.json["message"].endswith(".metadata: expected map, got &{[]}")
