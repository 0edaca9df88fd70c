"""Bindings and evictions: what they name, and when they are refused."""

from __future__ import annotations

import pytest


@pytest.fixture
def created(server, at, make_pod, namespace):
    def made(name, **spec):
        answer = server.request("POST", f"{at}/pods", make_pod(name, namespace, **spec))
        assert answer.status == 201, answer.data
        return answer.json

    return made


@pytest.fixture
def bound(server, at):
    def sent(name, body, query=""):
        whole = {"metadata": {"name": name}, **body}
        return server.request("POST", f"{at}/pods/{name}/binding{query}", whole)

    return sent


NODE = {"target": {"kind": "Node", "name": "n"}}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({**NODE, "metadata": {"name": "b"}}, 400, "name in URL does not match name in Binding"),
        (
            {"target": {"kind": "Shelf", "name": "n"}},
            422,
            'target.kind: Unsupported value: "Shelf"',
        ),
        ({"target": {"kind": "Node"}}, 422, "target.name: Required value"),
    ],
)
def test_a_binding_names_its_pod_and_a_node(created, bound, body, status, message):
    created("a")
    answer = bound("a", body)
    assert answer.status == status
    assert message in answer.json["message"]


def test_a_binding_that_is_only_tried_binds_nothing(server, at, created, bound):
    created("a")
    assert bound("a", NODE, "?dryRun=All").status == 201
    assert "nodeName" not in server.request("GET", f"{at}/pods/a").json["spec"]
    assert bound("a", NODE).status == 201
    again = bound("a", NODE)
    assert again.status == 409
    assert 'pod a is already assigned to node "n"' in again.json["message"]


def test_a_pod_that_is_gated_or_going_is_not_bound(server, at, created, bound):
    created("gated", schedulingGates=[{"name": "x.io/a"}])
    assert "pod gated has non-empty .spec.schedulingGates" in bound("gated", NODE).json["message"]
    created("going")
    held = {"metadata": {"finalizers": ["x.io/held"]}}
    merge = "application/merge-patch+json"
    server.request("PATCH", f"{at}/pods/going", held, kind=merge)
    server.request("DELETE", f"{at}/pods/going")
    assert "pod going is being deleted" in bound("going", NODE).json["message"]


def test_a_pod_cannot_be_made_gated_on_a_node(server, at, make_pod, namespace):
    gated = make_pod("a", namespace, nodeName="n", schedulingGates=[{"name": "x.io/a"}])
    answer = server.request("POST", f"{at}/pods", gated)
    why = "cannot be set until all schedulingGates have been cleared"
    assert f"spec.nodeName: Forbidden: {why}" in answer.json["message"]


def test_an_eviction_names_its_pod_and_keeps_its_preconditions(server, at, created):
    made = created("a")

    def evicted(name="a", **options):
        body = {"metadata": {"name": name}, "deleteOptions": options}
        return server.request("POST", f"{at}/pods/a/eviction", body)

    other = evicted("b")
    assert (other.status, other.json["message"]) == (
        400,
        "name in URL does not match name in Eviction object",
    )
    assert evicted(preconditions={"uid": "x"}).status == 409
    assert evicted(preconditions={"resourceVersion": "1"}).status == 409
    assert server.request("GET", f"{at}/pods/a").json == made
    version = made["metadata"]["resourceVersion"]
    assert evicted(preconditions={"resourceVersion": version}).status == 201
    assert server.request("GET", f"{at}/pods/a").status == 404
