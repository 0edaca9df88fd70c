"""Discovery and OpenAPI: every served kind is told, in every form, and they agree."""

from __future__ import annotations

import pytest

from k8slab.embedded.apiserver.kinds import KindTable
from k8slab.embedded.apiserver.protobuf import _fields
from tests.embedded.apiserver.test_custom import definition

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def test_the_version_is_that_of_the_models(server):
    assert server.request("GET", "/version").json["gitVersion"] == "v1.37.0"


def test_aggregated_and_legacy_discovery_tell_the_same(server):
    found = set()
    for root in ("/api", "/apis"):
        answer = server.request("GET", root, Accept=AGGREGATED)
        assert answer.headers["Content-Type"] == AGGREGATED
        for group in answer.json["items"]:
            name = group["metadata"].get("name", "")
            for version in group["versions"]:
                for row in version["resources"]:
                    found.add((name, version["version"], row["resource"]))
                    for sub in row.get("subresources", ()):
                        place = f"{row['resource']}/{sub['subresource']}"
                        found.add((name, version["version"], place))
    legacy = set()
    groups = server.request("GET", "/apis").json["groups"]
    places = [("", "v1", "/api/v1")]
    places += [
        (group["name"], v["version"], f"/apis/{v['groupVersion']}")
        for group in groups
        for v in group["versions"]
    ]
    for group, version, path in places:
        for row in server.request("GET", path).json["resources"]:
            legacy.add((group, version, row["name"]))
    assert found == legacy
    assert ("", "v1", "pods/exec") in found
    assert ("apps", "v1", "deployments/scale") in found


def test_every_kind_that_can_be_listed_is_listed(server):
    for kind in KindTable.built_in().rows.values():
        if "list" in kind.verbs:
            base = f"/apis/{kind.group}/{kind.version}" if kind.group else "/api/v1"
            body = server.request("GET", f"{base}/{kind.plural}").json
            assert body["kind"] == f"{kind.kind}List", kind.resource
            accept = "application/json;as=Table;g=meta.k8s.io;v=v1"
            table = server.request("GET", f"{base}/{kind.plural}", Accept=accept).json
            wide = len(table["columnDefinitions"])
            assert all(len(row["cells"]) == wide for row in table["rows"]), kind.resource


def test_every_v3_document_closes_over_its_references(server):
    index = server.request("GET", "/openapi/v3").json["paths"]
    assert {"api/v1", "apis/apps/v1"} <= set(index)
    for entry in index.values():
        document = server.request("GET", entry["serverRelativeURL"]).json
        schemas = document["components"]["schemas"]
        for reference in _references(document):
            assert reference.removeprefix("#/components/schemas/") in schemas


def _references(value):
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref" and isinstance(item, str):  # a schema of schemas has such a field
                yield item
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def test_patch_says_that_the_server_validates_fields(server):
    document = server.request("GET", "/openapi/v3/apis/apps/v1").json
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}
    containers = document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"][
        "containers"
    ]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]


@pytest.mark.parametrize("form", ["v2@v1.0", "v2.v1.0"])
def test_v2_is_told_as_gnostic_protobuf_too(server, form):
    accept = f"application/com.github.proto-openapi.spec.{form}+protobuf"
    answer = server.request("GET", "/openapi/v2", Accept=accept)
    fields = dict(_fields(answer.data))
    assert fields[1] == b"2.0"
    names = {dict(_fields(value))[1].decode() for _, value in _fields(fields[9])}
    assert names == set(server.request("GET", "/openapi/v2").json["definitions"])


def test_the_root_lists_what_is_served(server):
    paths = server.request("GET", "/").json["paths"]
    assert paths == sorted(paths)
    wanted = {"/api/v1", "/apis/apps", "/apis/apps/v1", "/openapi/v3", "/version", "/readyz"}
    assert wanted <= set(paths)
    for path in wanted:
        assert server.request("GET", path).status == 200, path


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/api", AGGREGATED),
        ("/apis", AGGREGATED),
        ("/openapi/v2", "application/json"),
        ("/openapi/v3", "application/json"),
        ("/openapi/v3/apis/apps/v1", "application/json"),
    ],
)
def test_a_client_that_has_what_is_served_need_not_get_it_again(server, path, accept):
    first = server.request("GET", path, Accept=accept)
    tag = first.headers["ETag"]
    again = server.request("GET", path, Accept=accept, If_None_Match=tag)
    assert (again.status, again.data, again.headers["ETag"]) == (304, b"", tag)
    other = server.request("GET", path, Accept=accept, If_None_Match='"other"')
    assert (other.status, other.data) == (200, first.data)


def test_another_kind_changes_the_tag_of_what_is_served(server):
    before = server.request("GET", "/apis", Accept=AGGREGATED).headers["ETag"]
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    made = server.request("POST", definitions, definition("tagged"))
    assert made.status == 201
    answer = server.request("GET", "/apis", Accept=AGGREGATED, If_None_Match=before)
    assert answer.status == 200
    assert answer.headers["ETag"] != before
