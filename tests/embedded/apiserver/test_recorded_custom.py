"""Custom resources: answers recorded from kube-apiserver 1.37.0, to the same requests."""

from __future__ import annotations

import pytest

from k8slab.errors import ApiStatusError

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
MERGE = "application/merge-patch+json"
SPEC = {
    "type": "object",
    "required": ["size"],
    "x-kubernetes-validations": [
        {"rule": "self.size <= self.max", "message": "size beyond max"},
    ],
    "properties": {
        "size": {"type": "integer"},
        "max": {"type": "integer", "default": 50},
        "replicas": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "color": {
            "type": "string",
            "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "stays"}],
        },
    },
}


def definition(plural: str = "widgets", schema: dict | None = None, **spec) -> dict:
    document = {"type": "object", "properties": {"spec": schema or SPEC}}
    first = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": document},
        "additionalPrinterColumns": [{"name": "T", "type": "string", "jsonPath": ".spec.tags[*]"}],
        "subresources": {
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
            }
        },
    }
    old = {**first, "name": "v1beta1", "storage": False, "deprecated": True}
    return {
        "metadata": {"name": f"{plural}.e.test"},
        "spec": {
            "group": "e.test",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": plural.capitalize()[:-1], "shortNames": ["wd"]},
            "versions": [first, old],
            **spec,
        },
    }


@pytest.fixture(scope="module")
def widgets(server):
    assert server.request("POST", CRDS, definition()).status == 201
    return "/apis/e.test/v1/namespaces/default/widgets"


def widget(name: str, **spec) -> dict:
    body = {"apiVersion": "e.test/v1", "kind": "Widget", "metadata": {"name": name}}
    return {**body, "spec": spec}


def test_a_rule_tells_a_plain_value_and_leaves_out_an_object(server, widgets):
    answer = server.request("POST", widgets, widget("a", size=60))
    assert answer.json["message"].endswith("is invalid: spec: Invalid value: size beyond max")
    server.request("POST", widgets, widget("a", size=1, color="red"))
    answer = server.request("PATCH", f"{widgets}/a", {"spec": {"color": "green"}}, kind=MERGE)
    assert answer.json["message"].endswith('spec.color: Invalid value: "green": stays')


def test_rules_that_were_not_asked_are_told(server, widgets):
    answer = server.request("POST", widgets, widget("b"))
    assert answer.json["message"].endswith(
        "is invalid: [spec.size: Required value, <nil>: Invalid value: null: some validation rules "
        "were not checked because the object was invalid; correct the existing errors to complete "
        "validation]"
    )


def test_an_object_that_never_had_replicas_is_scaled(server, widgets):
    """It was an internal error, 500."""
    server.request("POST", widgets, widget("c", size=1))
    assert server.request("GET", f"{widgets}/c/scale").status == 500
    change = {"spec": {"replicas": 4}}
    answer = server.request("PATCH", f"{widgets}/c/scale", change, kind=MERGE)
    assert (answer.status, answer.json["spec"]) == (200, {"replicas": 4})


def test_a_column_shows_the_first_of_several_values(server, widgets):
    server.request("POST", widgets, widget("d", size=1, tags=["x", "y"]))
    answer = server.request("GET", f"{widgets}/d", Accept=TABLE)
    assert answer.json["rows"][0]["cells"] == ["d", "x"]


def test_a_deprecated_version_says_which_one_to_use(server, widgets):
    old = server.request("GET", widgets.replace("/v1/", "/v1beta1/"))
    warning = '299 - "e.test/v1beta1 Widget is deprecated; use e.test/v1 Widget"'
    assert old.headers["Warning"] == warning
    assert "Warning" not in server.request("GET", widgets).headers


def test_definitions_are_listed_with_scope_and_versions(server, widgets):
    answer = server.request("GET", f"{CRDS}/widgets.e.test", Accept=TABLE).json
    assert [c["name"] for c in answer["columnDefinitions"]] == [
        *("Name", "Scope", "Versions", "Created At", "Group", "Kind", "ShortNames", "Established"),
    ]
    cells = answer["rows"][0]["cells"]
    assert cells[:3] == ["widgets.e.test", "Namespaced", "v1(storage),v1beta1"]
    assert cells[4:] == ["e.test", "Widget", "wd", True]


def typed(**properties) -> dict:
    return {"type": "object", "properties": properties}


ITEMS = {"type": "object", "properties": {"k": {"type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (
            typed(a={"type": "integer", "default": "x"}),
            'properties[a].default: Invalid value: "string": ',
        ),
        (
            typed(a={"type": "string", "enum": ["a", "b"], "default": "c"}),
            'properties[a].default: Unsupported value: "c": supported values: "a", "b"',
        ),
        (
            typed(
                a={
                    "type": "array",
                    "items": ITEMS,
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["k"],
                }
            ),
            "must have a default or be a required property",
        ),
        (
            {"type": "object", "x-kubernetes-preserve-unknown-fields": False},
            "must be true or undefined",
        ),
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(api, schema, message):
    with pytest.raises(ApiStatusError) as error:
        api.create("customresourcedefinitions.apiextensions.k8s.io", definition("odds", schema))
    assert error.value.code == 422
    assert message in error.value.message


def test_all_fields_are_preserved_by_schemas_alone(api):
    body = definition(preserveUnknownFields=True)
    with pytest.raises(ApiStatusError) as error:
        api.create("customresourcedefinitions.apiextensions.k8s.io", body)
    assert "spec.preserveUnknownFields: Invalid value: true: cannot set to" in error.value.message
