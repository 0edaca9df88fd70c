"""The verbs over HTTP: what a client sees."""

from __future__ import annotations

import asyncio
import json

import pytest
import yaml


def space(namespace, plural="configmaps", group="api/v1"):
    return f"/{group}/namespaces/{namespace}/{plural}"


def config(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_create_get_update_delete(server, namespace):
    path = space(namespace)
    made = server.request("POST", path, config("a", x="1"))
    assert made.status == 201
    got = server.request("GET", f"{path}/a").json
    assert got == made.json
    got["data"] = {"x": "2"}
    assert server.request("PUT", f"{path}/a", got).json["data"] == {"x": "2"}
    assert server.request("PUT", f"{path}/a", got).json["reason"] == "Conflict"
    gone = server.request("DELETE", f"{path}/a").json
    assert (gone["kind"], gone["status"]) == ("Status", "Success")
    missing = server.request("GET", f"{path}/a")
    assert missing.status == 404
    assert missing.json["message"] == 'configmaps "a" not found'
    assert missing.json["details"] == {"name": "a", "kind": "configmaps"}


def test_a_paged_list_is_that_of_one_revision(server, namespace):
    path = space(namespace)
    for name in "abcde":
        server.request("POST", path, config(name))
    first = server.request("GET", f"{path}?limit=2").json
    assert [item["metadata"]["name"] for item in first["items"]] == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 3
    server.request("DELETE", f"{path}/d")
    server.request("POST", path, config("c2"))
    rest = server.request("GET", f"{path}?limit=9&continue={first['metadata']['continue']}").json
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c", "d", "e"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    now = server.request("GET", path).json
    assert [item["metadata"]["name"] for item in now["items"]] == ["a", "b", "c", "c2", "e"]


def test_the_finalizers_of_a_namespace_are_changed_by_its_own_subresource_alone(server):
    path = "/api/v1/namespaces"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "held"}}
    made = server.request("POST", path, {**body, "spec": {"finalizers": ["x.io/y"]}}).json
    assert made["spec"]["finalizers"] == ["x.io/y", "kubernetes"]
    for spec in ({"finalizers": []}, {}):
        got = server.request("GET", f"{path}/held").json
        put = server.request("PUT", f"{path}/held", {**got, "spec": spec}).json
        assert put["spec"]["finalizers"] == ["x.io/y", "kubernetes"]
    server.request("DELETE", f"{path}/held")
    got = server.request("GET", f"{path}/held").json
    server.request("PUT", f"{path}/held", {**got, "spec": {}})
    assert server.request("GET", f"{path}/held").status == 200
    for finalizers in (["x.io/y"], []):
        got = server.request("GET", f"{path}/held").json
        done = {**got, "spec": {"finalizers": finalizers}}
        assert server.request("PUT", f"{path}/held/finalize", done).status == 200
    assert server.request("GET", f"{path}/held").status == 404


def test_a_broken_continue_token_is_refused(server, namespace):
    assert server.request("GET", f"{space(namespace)}?continue=%21%21").status == 400


def test_lists_are_selected_by_labels_and_fields(server, namespace):
    path = space(namespace)
    for name, labels in (("a", {"app": "x"}), ("b", {"app": "y"}), ("c", {})):
        body = config(name)
        body["metadata"]["labels"] = labels
        server.request("POST", path, body)

    def names(query):
        listed = server.request("GET", f"{path}?{query}").json
        return [item["metadata"]["name"] for item in listed["items"]]

    assert names("labelSelector=app%3Dx") == ["a"]
    assert names("labelSelector=app+notin+(x)") == ["b", "c"]
    assert names("labelSelector=%21app") == ["c"]
    assert names("fieldSelector=metadata.name%3Db") == ["b"]
    wrong = server.request("GET", f"{path}?fieldSelector=data.x%3Db")
    assert (wrong.status, wrong.json["message"]) == (
        400,
        '"data.x" is not a known field selector: only "metadata.name", "metadata.namespace"',
    )


def test_dry_run_stores_nothing(server, namespace):
    path = space(namespace)
    assert server.request("POST", f"{path}?dryRun=All", config("a")).status == 201
    assert server.request("GET", f"{path}/a").status == 404
    server.request("POST", path, config("a", x="1"))
    patched = server.request(
        "PATCH", f"{path}/a?dryRun=All", {"data": {"x": "2"}}, kind="application/merge-patch+json"
    )
    assert patched.json["data"] == {"x": "2"}
    server.request("DELETE", f"{path}/a?dryRun=All")
    assert server.request("GET", f"{path}/a").json["data"] == {"x": "1"}


def test_unknown_and_repeated_fields_are_refused_told_or_ignored(server, namespace):
    path = space(namespace)
    body = '{"metadata":{"name":"%s"},"dat":{},"data":{"x":"1"},"data":{"x":"2"}}'
    strict = server.request("POST", f"{path}?fieldValidation=Strict", body % "a")
    assert strict.status == 400
    assert strict.json["message"] == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: '
        'duplicate field "data", unknown field "dat"'
    )
    warned = server.request("POST", path, body % "b")
    assert warned.status == 201
    assert 'unknown field \\"dat\\"' in warned.headers["Warning"]
    ignored = server.request("POST", f"{path}?fieldValidation=Ignore", body % "c")
    assert "Warning" not in ignored.headers
    assert "dat" not in ignored.json


def test_a_wrong_type_is_a_bad_request(server, namespace):
    answer = server.request("POST", space(namespace), {"metadata": {"name": "a"}, "data": []})
    assert answer.status == 400
    assert answer.json["reason"] == "BadRequest"
    assert "cannot unmarshal array into Go struct field ConfigMap.data" in answer.json["message"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("{", "application/json", 400),
        ("[]", "application/json", 400),
        ("null", "application/json", 400),
        ('{"metadata": 7}', "application/json", 400),
        ('{"kind": "Pod", "metadata": {"name": "x"}}', "application/json", 400),
        ('{"apiVersion": "v2", "metadata": {"name": "x"}}', "application/json", 400),
        ('{"metadata": {"name": "x", "namespace": "other"}}', "application/json", 400),
        ("[" * 100000, "application/json", 400),
        ('{"data":' * 500 + "{}" + "}" * 500, "application/json", 400),
        ("a: [", "application/yaml", 400),
        ("a: &a [x]\nb: *b", "application/yaml", 400),
        ("x", "text/plain", 415),
        ("x", "application/vnd.kubernetes.protobuf", 400),
        ("k8s\0\xff\xff\xff", "application/vnd.kubernetes.protobuf", 400),
    ],
)
def test_malformed_bodies_are_refused_with_a_status(server, namespace, body, kind, status):
    answer = server.request("POST", space(namespace), body, kind=kind)
    assert answer.status == status
    assert answer.json["kind"] == "Status"


def test_yaml_bodies_are_read(server, namespace):
    text = "metadata:\n  name: y\ndata:\n  x: '1'\n"
    made = server.request("POST", space(namespace), text, kind="application/yaml")
    assert made.json["data"] == {"x": "1"}


def test_a_body_of_more_than_3_mib_is_too_large(server, namespace):
    answer = server.request("POST", space(namespace), config("a", x="y" * (3 << 20)))
    assert answer.status == 413
    assert answer.json["message"] == "Request entity too large: limit is 3145728"


def test_a_client_that_takes_only_protobuf_gets_406(server, namespace):
    answer = server.request("GET", space(namespace), Accept="application/vnd.kubernetes.protobuf")
    assert (answer.status, answer.json["reason"]) == (406, "NotAcceptable")


@pytest.mark.parametrize("accept", ["application/yaml", "application/yaml, application/json"])
def test_who_asks_for_yaml_gets_it(server, namespace, accept):
    path, text = space(namespace), "one\ntwo: 3\n"
    server.request("POST", path, config("a", x=text, y="true"))
    plain = server.request("GET", f"{path}/a").json
    for asked, wanted in (
        (f"{path}/a", plain),
        (path, server.request("GET", path).json),
        (f"{path}/nobody", server.request("GET", f"{path}/nobody").json),
        ("/api/v1", server.request("GET", "/api/v1").json),
        ("/apis", server.request("GET", "/apis").json),
    ):
        answer = server.request("GET", asked, Accept=accept)
        assert answer.headers["Content-Type"] == "application/yaml"
        assert yaml.safe_load(answer.data) == wanted
    changed = {**plain, "data": {"x": "2"}}
    put = server.request("PUT", f"{path}/a", changed, Accept=accept)
    assert yaml.safe_load(put.data)["data"] == {"x": "2"}
    assert (
        b"x: |\n    one\n    two: 3\n"
        in server.request(
            "PUT", f"{path}/a", {"metadata": {"name": "a"}, "data": {"x": text}}, Accept=accept
        ).data
    )


def test_a_watch_has_no_yaml_and_what_is_json_anyway_stays_json(server, namespace):
    yaml_only = {"Accept": "application/yaml"}
    answer = server.request("GET", f"{space(namespace)}?watch=1&timeoutSeconds=1", **yaml_only)
    assert answer.status == 406
    refused = yaml.safe_load(answer.data)
    assert refused["message"] == "only the following media types are accepted: application/json"
    both = {"Accept": "application/json, application/yaml"}
    assert server.request("GET", f"{space(namespace)}", **both).json["kind"] == "ConfigMapList"
    assert server.request("GET", "/version", **yaml_only).json["major"] == "1"


def test_paths_that_are_not_served_are_not_found(server):
    for path in (
        "/api/v1/nothings",
        "/apis/x.y/v1/z",
        "/api/v2/pods",
        "/nothing",
        "/api/v1/nodes/a/b",
    ):
        assert server.request("GET", path).status == 404, path
    assert server.request("DELETE", "/api/v1/namespaces").status == 405
    assert server.request("PUT", "/api/v1/nodes", {}).status in (404, 405)


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("application/merge-patch+json", {"data": {"x": "2"}}),
        ("application/strategic-merge-patch+json", {"data": {"x": "2"}}),
        ("application/json-patch+json", [{"op": "replace", "path": "/data/x", "value": "2"}]),
    ],
)
def test_patches_change_an_object(server, namespace, kind, patch):
    path = space(namespace)
    server.request("POST", path, config("a", x="1", y="1"))
    assert server.request("PATCH", f"{path}/a", patch, kind=kind).json["data"] == {
        "x": "2",
        "y": "1",
    }


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"metadata": {"name": "b"}}, 400, "the name of the object (b) does not match the name on"),
        ({"metadata": {"name": None}}, 400, "name must be provided"),
        ({"metadata": {"namespace": "x"}}, 400, "the namespace of the object (x) does not match"),
        ({"metadata": {"uid": "x"}}, 422, 'metadata.uid: Invalid value: "x": field is immutable'),
        ({"kind": "Secret"}, 400, 'no kind "Secret" is registered for version "v1"'),
        ({"apiVersion": "v2"}, 400, 'no kind "ConfigMap" is registered for version "v2"'),
        ({"kind": None}, 400, "Object 'Kind' is missing"),
    ],
)
def test_a_patch_makes_no_other_object_of_it(server, namespace, change, status, message):
    path = space(namespace)
    server.request("POST", path, config("a"))
    answer = server.request("PATCH", f"{path}/a", change, kind="application/merge-patch+json")
    assert answer.status == status
    assert message in answer.json["message"]


def test_only_an_apply_is_forced(server, namespace):
    path = space(namespace)
    server.request("POST", path, config("a"))
    merge = "application/merge-patch+json"
    answer = server.request("PATCH", f"{path}/a?force=true", {}, kind=merge)
    assert answer.status == 422
    assert "force: Forbidden: may not be specified for non-apply patch" in answer.json["message"]


def test_delete_collection_deletes_what_is_selected(server, namespace):
    path = space(namespace)
    for name in "ab":
        body = config(name)
        body["metadata"]["labels"] = {"name": name}
        server.request("POST", path, body)
    gone = server.request("DELETE", f"{path}?labelSelector=name%3Da").json
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a"]
    left = server.request("GET", path).json["items"]
    assert [item["metadata"]["name"] for item in left] == ["b"]


def test_hooks_are_awaited_before_the_answer(server, namespace):
    seen = []

    async def hook(obj):
        seen.append(obj["metadata"]["name"])

    server.call(server.api.before_answer, "leases.coordination.k8s.io", hook)
    group = "apis/coordination.k8s.io/v1"
    server.request("POST", space(namespace, "leases", group), {"metadata": {"name": "a"}})
    assert seen == ["a"]
    server.request("DELETE", space(namespace, "leases", group) + "/a")
    assert seen == ["a", "a"]


def test_hooks_follow_each_other_and_one_without_work_holds_nothing_up(server, namespace):
    seen = []

    async def slow(obj):
        await asyncio.sleep(0)
        seen.append("slow")

    def quick(obj):
        seen.append("quick")

    resource = "ingressclasses.networking.k8s.io"
    for hook in (quick, slow, quick):
        server.call(server.api.before_answer, resource, hook)
    body = {"metadata": {"name": namespace}, "spec": {"controller": "example.com/x"}}
    path = "/apis/networking.k8s.io/v1/ingressclasses"
    assert server.request("POST", path, body).status == 201
    assert seen == ["quick", "slow", "quick"]


def test_events_are_one_store_in_two_groups(server, namespace):
    body = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": namespace},
        "reason": "Started",
        "message": "hello",
        "type": "Normal",
    }
    assert server.request("POST", space(namespace, "events"), body).status == 201
    new = server.request("GET", space(namespace, "events", "apis/events.k8s.io/v1") + "/e").json
    assert new["apiVersion"] == "events.k8s.io/v1"
    assert (new["regarding"]["name"], new["note"]) == ("p", "hello")
    listed = server.request(
        "GET", space(namespace, "events") + "?fieldSelector=involvedObject.name%3Dp"
    )
    assert len(listed.json["items"]) == 1


def test_a_scale_names_its_workload(server, namespace, make_deployment):
    path = space(namespace, "deployments", "apis/apps/v1")
    server.request("POST", path, make_deployment("named", namespace))
    for metadata in ({}, {"name": "other"}):
        body = {"metadata": metadata, "spec": {"replicas": 3}}
        assert server.request("PUT", f"{path}/named/scale", body).status == 400


def test_scale_over_http(server, namespace, make_deployment):
    path = space(namespace, "deployments", "apis/apps/v1")
    server.request("POST", path, make_deployment(namespace=namespace))
    assert server.request("GET", f"{path}/web/scale").json["spec"] == {"replicas": 1}
    patched = server.request(
        "PATCH", f"{path}/web/scale", {"spec": {"replicas": 3}}, kind="application/merge-patch+json"
    )
    assert patched.json["spec"] == {"replicas": 3}
    assert server.request("GET", f"{path}/web").json["spec"]["replicas"] == 3


def test_a_gated_pod_says_that_it_is_not_scheduled(server, namespace, make_pod):
    path = space(namespace, "pods")
    body = make_pod("gated", namespace=namespace, schedulingGates=[{"name": "x.io/a"}])
    made = server.request("POST", path, body).json
    (condition,) = made["status"]["conditions"]
    assert condition["lastTransitionTime"] >= made["metadata"]["creationTimestamp"]
    assert (condition["type"], condition["status"]) == ("PodScheduled", "False")
    assert condition["message"] == "Scheduling is blocked due to non-empty scheduling gates"
    asked = {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
    table = server.request("GET", f"{path}/gated", **asked).json
    assert table["rows"][0]["cells"][2] == "SchedulingGated"


def test_tables_and_metadata_only(server, namespace, make_pod):
    path = space(namespace, "pods")
    server.request("POST", path, make_pod(namespace=namespace))
    table = server.request("GET", path, Accept="application/json;as=Table;g=meta.k8s.io;v=v1").json
    assert [column["name"] for column in table["columnDefinitions"]][:5] == [
        "Name",
        "Ready",
        "Status",
        "Restarts",
        "Age",
    ]
    assert table["rows"][0]["cells"][:4] == ["web", "0/1", "Pending", "0"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    partial = server.request(
        "GET", path, Accept="application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    ).json
    assert partial["kind"] == "PartialObjectMetadataList"
    assert set(partial["items"][0]) == {"kind", "apiVersion", "metadata"}


def test_a_running_pod_can_be_bound_and_evicted(server, namespace, make_pod):
    path = space(namespace, "pods")
    server.request("POST", path, make_pod(namespace=namespace))
    binding = {"metadata": {"name": "web"}, "target": {"name": "n"}}
    bound = server.request("POST", f"{path}/web/binding", binding)
    assert bound.status == 201
    assert server.request("POST", f"{path}/web/binding", binding).status == 409
    eviction = {"metadata": {"name": "web"}}
    assert server.request("POST", f"{path}/web/eviction", eviction).status == 201
    assert server.request("GET", f"{path}/web").json["metadata"]["deletionTimestamp"]
    gone = server.request("DELETE", f"{path}/web", json.dumps({"gracePeriodSeconds": 0}))
    assert gone.json["kind"] == "Pod"
    assert server.request("GET", f"{path}/web").status == 404


def test_amounts_are_answered_in_their_one_spelling(server, namespace, make_pod):
    body = make_pod("amounts", namespace)
    amounts = {"requests": {"cpu": 0.5, "memory": "0.5Gi"}, "limits": {"cpu": "1000m"}}
    body["spec"]["containers"][0]["resources"] = amounts
    made = server.request("POST", space(namespace, "pods"), body).json
    assert made["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "500m", "memory": "512Mi"},
        "limits": {"cpu": "1"},
    }


def test_a_page_is_of_the_first_pages_version_and_any_version_is_given_whole(server, namespace):
    path = space(namespace)
    for name in "abc":
        server.request("POST", path, config(name))
    first = server.request("GET", f"{path}?limit=1").json["metadata"]
    following = f"{path}?limit=1&continue={first['continue']}"
    assert server.request("GET", f"{following}&resourceVersion=0").status == 200
    refused = server.request("GET", f"{following}&resourceVersion={first['resourceVersion']}")
    assert refused.status == 400
    assert "not allowed when using continue" in refused.json["message"]
    whole = server.request("GET", f"{path}?limit=1&resourceVersion=0").json
    assert (len(whole["items"]), "continue" in whole["metadata"]) == (3, False)


def test_a_version_that_is_still_to_come_is_not_got(server, namespace):
    path = space(namespace)
    server.request("POST", path, config("a"))
    later = server.request("GET", f"{path}/a?resourceVersion=999999999")
    assert (later.status, later.json["reason"]) == (504, "Timeout")
    assert server.request("GET", f"{path}/a?resourceVersion=x").status == 400
    assert server.request("GET", f"{path}/a?resourceVersion=0").status == 200


@pytest.mark.parametrize(
    ("plural", "group", "selector", "message"),
    [
        ("pods", "api/v1", "spec.x=1", "field label not supported: spec.x"),
        ("jobs", "apis/batch/v1", "spec.x=1", 'field label "spec.x" not supported for Job'),
        (
            "deployments",
            "apis/apps/v1",
            "spec.x=1",
            '"spec.x" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        ("pods", "api/v1", "a=1,foo", "field label not supported: a"),
        (
            "pods",
            "api/v1",
            "metadata.name=1,foo",
            "invalid selector: 'metadata.name=1,foo'; can't understand 'foo'",
        ),
    ],
)
def test_a_field_that_selects_nothing_is_named(server, namespace, plural, group, selector, message):
    path = space(namespace, plural, group)
    answer = server.request("GET", f"{path}?fieldSelector={selector}")
    assert (answer.status, answer.json["message"]) == (400, message)


def test_a_deletion_that_is_only_tried_is_answered_as_one(server, namespace):
    path = space(namespace)
    server.request("POST", path, config("a"))
    tried = server.request("DELETE", f"{path}/a?dryRun=All").json
    assert (tried["kind"], tried["status"], tried["details"]["name"]) == ("Status", "Success", "a")
    assert server.request("GET", f"{path}/a").status == 200


@pytest.mark.parametrize(
    ("query", "agent", "indented"),
    [
        ("", "kubectl/v1.37.0", False),
        ("?pretty=true", "kubectl/v1.37.0", True),
        ("", "curl/8.5.0", True),
        ("", "Mozilla/5.0 (X11)", True),
        ("?pretty=false", "curl/8.5.0", False),
    ],
)
def test_what_people_read_is_indented(server, namespace, query, agent, indented):
    path = space(namespace)
    for answer in (
        server.request("POST", f"{path}{query}", config("a"), User_Agent=agent),
        server.request("GET", f"{path}/a{query}", User_Agent=agent),
        server.request("GET", f"{path}/missing{query}", User_Agent=agent),
    ):
        assert (b'{\n  "' in answer.data) is indented
        assert answer.json["apiVersion"] == "v1"
