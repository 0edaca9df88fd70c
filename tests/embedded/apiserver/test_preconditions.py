"""What an update needs to say of the object that it replaces, and what a PUT may create."""

from __future__ import annotations

import pytest

SELECTOR = {"selector": {"matchLabels": {"app": "x"}}}
CONDITIONAL = (
    ("apis/coordination.k8s.io/v1", "leases", "Lease", {"spec": {}}),
    ("apis/policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", {"spec": SELECTOR}),
)
MADE_BY_PUT = (
    ("apis/coordination.k8s.io/v1", "leases", "Lease", {"spec": {}}),
    ("api/v1", "services", "Service", {"spec": {"ports": [{"port": 80}]}}),
    ("api/v1", "endpoints", "Endpoints", {}),
    ("apis/rbac.authorization.k8s.io/v1", "roles", "Role", {"rules": []}),
)


def body(group, kind, more, name="a"):
    version = group.removeprefix("apis/").removeprefix("api/")
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more}


@pytest.mark.parametrize(("group", "plural", "kind", "more"), CONDITIONAL)
def test_what_several_write_at_a_time_is_replaced_only_with_its_version(
    server, namespace, group, plural, kind, more
):
    path = f"/{group}/namespaces/{namespace}/{plural}"
    made = server.request("POST", path, body(group, kind, more)).json
    refused = server.request("PUT", f"{path}/a", body(group, kind, more))
    assert refused.status == 422
    domain = made["apiVersion"].partition("/")[0]
    assert refused.json["message"] == (
        f'{plural}.{domain} "a" is invalid: metadata.resourceVersion: Invalid value: 0: '
        "must be specified for an update"
    )
    assert refused.json["details"]["kind"] == plural
    assert server.request("PUT", f"{path}/a", made).status == 200


def test_a_custom_resource_is_replaced_only_with_its_version(server, namespace):
    names = {"plural": "wheels", "kind": "Wheel"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "wheels.pre.test"},
        "spec": {
            "group": "pre.test",
            "names": names,
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert server.request("POST", definitions, definition).status == 201
    path = f"/apis/pre.test/v1/namespaces/{namespace}/wheels"
    wheel = body("apis/pre.test/v1", "Wheel", {"size": 1})
    made = server.request("POST", path, wheel).json
    assert server.request("PUT", f"{path}/a", wheel).status == 422
    assert server.request("PUT", f"{path}/a", {**made, "size": 2}).status == 200
    nulled = {"metadata": {"resourceVersion": None}, "size": 3}
    merge = "application/merge-patch+json"
    assert server.request("PATCH", f"{path}/a", nulled, kind=merge).status == 422
    assert server.request("PATCH", f"{path}/a", {"size": 4}, kind=merge).status == 200
    assert server.request("PUT", f"{path}/b", {**wheel, "metadata": {"name": "b"}}).status == 404
    assert server.request("PUT", f"{definitions}/wheels.pre.test", definition).status == 422


def test_most_kinds_are_replaced_without_a_version(server, at):
    config = body("api/v1", "ConfigMap", {"data": {"x": "1"}})
    server.request("POST", f"{at}/configmaps", config)
    assert server.request("PUT", f"{at}/configmaps/a", config).status == 200
    assert (
        server.request("PUT", f"{at}/configmaps/b", {**config, "metadata": {"name": "b"}}).status
        == 404
    )


@pytest.mark.parametrize(("group", "plural", "kind", "more"), MADE_BY_PUT)
def test_a_put_makes_what_is_not_there_of_some_kinds(server, namespace, group, plural, kind, more):
    path = f"/{group}/namespaces/{namespace}/{plural}/a"
    wanted = body(group, kind, more)
    wanted["metadata"]["resourceVersion"] = "7"
    tried = server.request("PUT", f"{path}?dryRun=All", wanted)
    assert (tried.status, server.request("GET", path).status) == (201, 404)
    made = server.request("PUT", path, wanted)
    assert made.status == 201
    assert made.json["metadata"]["uid"]
    assert server.request("PUT", path, made.json).status == 200
    server.request("DELETE", path)
    again = server.request("PUT", path, made.json)
    assert (again.status, again.json["reason"]) == (409, "Conflict")


def test_who_may_not_create_makes_nothing_by_a_put(server, namespace, at, stranger, token):
    held = token().json["status"]["token"]
    group = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    rules = [{"apiGroups": [""], "resources": ["services"], "verbs": ["update"]}]
    role = {"metadata": {"name": "changer"}, "rules": rules}
    assert server.request("POST", f"{group}/roles", role).status == 201
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "changer"}
    binding = {"metadata": {"name": "changer"}, "roleRef": reference, "subjects": [subject]}
    assert server.request("POST", f"{group}/rolebindings", binding).status == 201
    service = body("api/v1", "Service", {"spec": {"ports": [{"port": 80}]}})
    status, answer = stranger("PUT", f"{at}/services/a", held, service)
    assert status == 403
    assert 'cannot create resource "services"' in answer["message"]


def test_a_put_names_its_object(server, at):
    config = body("api/v1", "ConfigMap", {})
    server.request("POST", f"{at}/configmaps", config)
    refused = server.request("PUT", f"{at}/configmaps/a", {**config, "metadata": {}})
    assert refused.status == 400
    assert "name must be provided" in refused.json["message"]


def test_a_collection_is_not_changed_and_a_name_is_not_created_in(server, at):
    merge = "application/merge-patch+json"
    assert server.request("PUT", f"{at}/configmaps", {}).status == 405
    assert server.request("PATCH", f"{at}/configmaps", {}, kind=merge).status == 405
    assert server.request("POST", f"{at}/configmaps/a", {}).status == 405
